"""Does the search metric predict the retrained one, and does DATA beat random at equal budget?

    python benchmarks/fidelity.py --cifar10 CIFAR10 --camvid CAMVID --out fidelity --size cpu
    python benchmarks/fidelity.py --summary --results docs/results/fidelity.jsonl

Every search takes as many weight steps of as many samples. Once a row that alternates has warmed up
it looks at as many again, of the other half of the data, for its logits; the others take one batch
a step, of all of the data. Every child is trained from scratch by one recipe, at the width whose
multiply-adds come nearest to a common number. A run is one method and one seed, in
OUT/DATA/ROW/SEED. What is finished is skipped and what is unfinished goes on, so the command may be
stopped (Ctrl-C) and given again at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout that this file stands in
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before torch is imported, here and in every run

from fidelity_record import (
    Record,
    check_claim,
    check_same,
    finished_runs,
    settings_of,
    write_results,
)
from fidelity_run import Task, carry_out
from fidelity_schedule import LOG, Name, planned, seconds_left, work_off
from fidelity_sizes import ROWS, SIZES
from fidelity_tables import report, summary_of

from datac.errors import BadInput, DatacError


@dataclass
class Progress:
    """What is finished, and what is told of it. results: the file that gets every result."""

    options: argparse.Namespace
    names: list[Name]
    finished: dict[Name, Record]
    failed: list[Name]

    def ended(self, name: Name, well: bool, minutes: float) -> None:
        """A run came to its end."""
        options = self.options
        self.finished |= finished_runs(options.out, None, options.size)
        if not well or name not in self.finished:
            self.failed.append(name)
            self.say(f"{name} FAILED; {options.out / str(name) / LOG} says why")
            return
        if options.results:
            write_results(options.results, self.finished.values(), options.size)
        self.say(f"{name}: {sentence(self.finished[name])}, {minutes:.1f} min")

    def say(self, text: str) -> None:
        """With how far it is and what is left."""
        left = [n for n in self.names if n not in self.finished and n not in self.failed]
        seconds = seconds_left(left, self.finished, self.options.jobs)
        time_left = "" if seconds is None else f"; about {seconds / 3600:.1f} h left"
        done = len(self.names) - len(left)
        print(f"[{done} of {len(self.names)}] {text}{time_left}", file=sys.stderr, flush=True)


def sentence(record: Record) -> str:
    """A run in a line."""
    retrained = f"{record.trained.metric} {record.metric:.4f} retrained"
    if record.searched is None:
        return retrained
    gap, decided = record.searched.gap, record.searched.decided
    inside = "" if gap is None else f", {gap.supernet:.4f} sampled, {gap.derived:.4f} derived"
    word = {True: ", decided", False: ", not decided", None: ""}[decided]
    return f"{retrained}{inside}{word}"


def run_all(options: argparse.Namespace) -> Progress:
    """All that is planned and not finished."""
    studies = {data: SIZES[options.size][data] for data in options.data}
    names = planned(studies, options.row, options.seeds, options.first_seed)
    finished = finished_runs(options.out, options.results, options.size)
    for name in names:
        settings = settings_of(studies[name.data], name.row)
        check_claim(options.out / str(name), settings)
        if name in finished:
            check_same(finished[name].settings, settings, f"the result of {name}")
    progress = Progress(options, names, finished, [])
    if options.results and finished:
        write_results(options.results, finished.values(), options.size)
    progress.say("going on" if finished else "beginning")

    def start(name: Name) -> tuple[Callable[..., None], tuple[object, ...]]:
        source = getattr(options, name.data)
        folder = options.out / str(name)
        return carry_out, (Task(name, options.size, source, folder, options.device),)

    left = [name for name in names if name not in finished]
    for data in {name.data for name in left}:
        if getattr(options, data) is None:
            raise BadInput(f"--{data} FOLDER is missing; give it, or leave {data} out by --data")
    work_off(left, options.jobs, lambda name: options.out / str(name), start, progress.ended)
    return progress


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", metavar="FOLDER")
    parser.add_argument("--camvid", metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("fidelity"), help="where runs are kept")
    parser.add_argument("--results", type=Path, metavar="FILE", help="finished runs, a line each")
    parser.add_argument("--size", choices=list(SIZES), default="cpu")
    parser.add_argument("--data", nargs="+", choices=["cifar10", "camvid"])
    parser.add_argument("--row", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, metavar="N", help="at most so many of each row")
    parser.add_argument(
        "--first-seed", type=int, default=0, metavar="SEED", help="to tune sizes by other seeds"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at once")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--summary", action="store_true", help="print the tables, run nothing")
    options = parser.parse_args()
    given = [data for data in ("cifar10", "camvid") if getattr(options, data)]
    options.data = options.data or given or ["cifar10", "camvid"]
    return options


def main() -> int:
    """The command line."""
    options = parsed()
    try:
        progress = None if options.summary else run_all(options)
        finished = finished_runs(options.out, options.results, options.size)
    except DatacError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted and saved; the same command goes on", file=sys.stderr)
        return 130
    shown = {name: r for name, r in sorted(finished.items()) if name.data in options.data}
    print(report(shown.values()))
    if options.json:
        options.json.write_text(json.dumps(summary_of(shown), indent=1))
    return 1 if progress is not None and progress.failed else 0


if __name__ == "__main__":
    sys.exit(main())
