"""Results are kept, found again, and never mixed with those of other settings."""

from dataclasses import replace

import pytest
from fidelity_record import RESULT, check_same, claim, finished_runs, settings_of, write_results
from fidelity_sizes import SIZES
from made_up_runs import record

from datac.errors import BadInput

STUDY = SIZES["tiny"]["cifar10"]


def test_a_result_is_found_in_its_folder_and_in_the_file(tmp_path):
    ours, other = record(seed=1), record("darts")
    folder = tmp_path / "out" / "cifar10" / "data-m4" / "1"
    folder.mkdir(parents=True)
    (folder / RESULT).write_text(ours.to_json())
    write_results(tmp_path / "results.jsonl", [other], "tiny")
    found = finished_runs(tmp_path / "out", tmp_path / "results.jsonl", "tiny")
    assert found == {ours.name: ours, other.name: other}


def test_the_file_holds_a_line_a_run_and_keeps_those_of_other_sizes(tmp_path):
    path = tmp_path / "docs" / "results.jsonl"
    write_results(path, [record(size="gpu")], "gpu")
    write_results(path, [record(seed=1), record(seed=0)], "tiny")
    write_results(path, [record(seed=1), record(seed=0)], "tiny")
    assert len(path.read_text().splitlines()) == 3
    assert [name.seed for name in finished_runs(tmp_path, path, "tiny")] == [0, 1]
    assert list(finished_runs(tmp_path, path, "gpu")) == [record().name]


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(record().model_dump_json() + '\n{"size": "tiny"}\n')
    with pytest.raises(BadInput, match=r"results\.jsonl: line 2: "):
        finished_runs(tmp_path, path, "tiny")


def test_settings_say_by_what_two_runs_differ():
    longer = replace(STUDY, training=replace(STUDY.training, epochs=9))
    with pytest.raises(BadInput, match="was made with training epochs 1, not 9"):
        check_same(settings_of(STUDY, "darts"), settings_of(longer, "darts"), "it")
    with pytest.raises(BadInput, match="method draws 4, not 7"):
        check_same(settings_of(STUDY, "data-m4"), settings_of(STUDY, "data-m7"), "it")


def test_more_seeds_and_another_wording_are_no_other_settings():
    other = replace(STUDY, seeds={"darts": 99}, training=replace(STUDY.training, source="?"))
    check_same(settings_of(STUDY, "darts"), settings_of(other, "darts"), "it")


def test_a_folder_is_claimed_once(tmp_path):
    claim(tmp_path / "run", settings_of(STUDY, "darts"))
    claim(tmp_path / "run", settings_of(STUDY, "darts"))
    with pytest.raises(BadInput, match="move it away"):
        claim(tmp_path / "run", settings_of(STUDY, "snas"))
