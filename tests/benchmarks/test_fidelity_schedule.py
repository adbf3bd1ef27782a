"""The order of runs, what is left, and processes that end, fail or are interrupted."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from fidelity_schedule import Name, alone_in, planned, seconds_left, work_off
from fidelity_sizes import SIZES
from made_up_runs import record

from datac.errors import BadInput

CPU = SIZES["cpu"]
NAMES = [Name("cifar10", "darts", seed) for seed in range(3)]


def test_runs_come_seed_by_seed_in_the_order_of_the_tables():
    names = planned(CPU, ("data-m4", "darts", "snas", "fastscnn"))
    assert [str(name) for name in names[:6]] == [
        "cifar10/data-m4/0",
        "cifar10/darts/0",
        "cifar10/snas/0",
        "camvid/data-m4/0",
        "camvid/darts/0",
        "camvid/snas/0",
    ]
    assert [name.seed for name in names] == sorted(name.seed for name in names)


def test_every_row_has_the_seeds_that_were_asked_for():
    names = planned(CPU, CPU["camvid"].seeds)
    count = {data: sum(name.data == data for name in names) for data in CPU}
    assert count == {"cifar10": 8 * 4 + 3 + 2 * 3, "camvid": 3 * 5 + 5}
    assert len(planned(CPU, ("darts",), most_seeds=2)) == 4


def test_what_is_left_is_judged_by_the_row_then_by_the_data_set():
    known = [record("darts", seed=0), record("random", seed=0)]
    known[0] = known[0].model_copy(
        update={"trained": known[0].trained.model_copy(update={"seconds": 970.0})}
    )
    done = {each.name: each for each in known}
    assert seconds_left([Name("cifar10", "darts", 1)], done, jobs=2) == 500
    assert seconds_left([Name("cifar10", "snas", 1)], done, jobs=1) == (1000 + 90) / 2
    assert seconds_left([Name("cifar10", "snas", 1)], {}, jobs=1) is None


def test_all_runs_are_carried_out_and_one_that_fails_stops_no_other(tmp_path):
    ended = {}

    def start(name: Name):
        return (os._exit, (3,)) if name.seed == 1 else (Path.touch, (tmp_path / f"{name.seed}",))

    work_off(
        NAMES, 2, lambda n: tmp_path / str(n), start, lambda n, well, _: ended.update({n: well})
    )
    assert ended == {NAMES[0]: True, NAMES[1]: False, NAMES[2]: True}
    assert (tmp_path / "0").exists()
    assert (tmp_path / "2").exists()


def test_an_interruption_reaches_what_runs_and_waits_for_it(tmp_path):
    begun = time.monotonic()
    threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        work_off(
            NAMES,
            2,
            lambda name: tmp_path / str(name),
            lambda _: (time.sleep, (120,)),
            lambda *_: None,
        )
    assert time.monotonic() - begun < 60


def test_an_interruption_is_heard_where_a_shell_has_switched_it_off(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        test_an_interruption_reaches_what_runs_and_waits_for_it(tmp_path)
    finally:
        assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_two_processes_never_work_in_one_folder(tmp_path):
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(BadInput, match="another process"),
        alone_in(tmp_path / "run"),
    ):
        pass
    with alone_in(tmp_path / "run"):
        pass
