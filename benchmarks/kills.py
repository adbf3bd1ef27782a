"""Is a run that was killed and resumed the run that nobody killed, bit for bit?

    python benchmarks/kills.py
    python benchmarks/kills.py --train --runs 10 --kills 4 --seed 1 --json kills.json

A reference runs undisturbed. Each further run is killed (SIGKILL, which no program can answer) at
moments drawn uniformly from those at which the reference had its folder and had not ended, and
resumed after each until it ends.
Some runs are killed at the sight of a half-written checkpoint instead. Then every file is compared
with the reference's. Exit code 1 where one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout that this file stands in

import torch

from datac.output_folder import MARKER, state_of

CHECKPOINT = "checkpoint.pt"
TIMES = ("seconds", "resume", "restart")
"""What may differ between equal runs: how long it took, and how the command was given."""
NOT_COMPARED = "tensorboard"
"""Its files carry the time of every entry, and a resumed run begins another one."""
HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}")
MOST_TRIES = 5
GLANCE_S = 0.0002
"""Between two looks for a half-written checkpoint, which stands for some milliseconds."""


@dataclass
class Row:
    """One run.

    moments_s: when it was killed, counted from each start. half: kills that left a file half
    written. anew: starts at which there was nothing to resume. files: how many are compared.
    """

    aimed: bool
    moments_s: list[float] = field(default_factory=list)
    half: int = 0
    anew: int = 0
    files: int = 0
    differing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Runs:
    """What is run: `datac` with these arguments, each time in a folder of its own."""

    command: tuple[str, ...]
    out: str

    def start(self, folder: Path, *more: str) -> subprocess.Popen[str]:
        """In the background."""
        arguments = [sys.executable, "-m", "datac", *self.command, "--out", self.out, *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def go_on(self, folder: Path, row: Row) -> subprocess.Popen[str]:
        """Resumed where there is something to resume."""
        if not (folder / self.out / MARKER).is_file():
            row.anew += bool(row.moments_s)
            return self.start(folder)
        if not (folder / self.out / CHECKPOINT).is_file():
            row.anew += 1
            return self.start(folder, "--restart")
        return self.start(folder, "--resume")


# ---------------------------------------------------------------- kills


Wait = Callable[[subprocess.Popen[str]], None]
"""Comes back when the process shall be killed, or has ended."""


def until(moment_s: float) -> Wait:
    """So many seconds after the start."""

    def wait(process: subprocess.Popen[str]) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moment_s)

    return wait


def until_half_written(folder: Path, ordinal: int) -> Wait:
    """At the sight of the checkpoint of this number that is being written, counted from 1."""

    def wait(process: subprocess.Popen[str]) -> None:
        before, seen = half_written(folder), set[str]()
        while process.poll() is None:
            new = half_written(folder) - before
            seen |= {name for name in new if name.startswith(f".{CHECKPOINT}.")}
            if len(seen) >= ordinal:
                return
            time.sleep(GLANCE_S)

    return wait


def half_written(folder: Path) -> set[str]:
    """The names of files that were not yet renamed to what they shall be."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if HALF_WRITTEN.fullmatch(name)}


def kill(process: subprocess.Popen[str], wait: Wait) -> float | None:
    """The second after its start at which it was killed; None where it had ended well before."""
    begun = time.monotonic()
    wait(process)
    moment = time.monotonic() - begun
    process.kill()
    _, errors = process.communicate()
    if process.returncode == -signal.SIGKILL:
        return moment
    if process.returncode != 0:
        raise SystemExit(f"a run failed by itself: {errors}")
    return None


def run_with_kills(runs: Runs, folder: Path, waits: Iterable[Wait], *, aimed: bool) -> Row:
    """One run, killed as often as `waits` says unless it ends before, and then left alone."""
    row = Row(aimed)
    out = folder / runs.out
    for wait in waits:
        before = half_written(out)
        moment = kill(runs.go_on(folder, row), wait)
        if moment is None:
            return row
        row.moments_s.append(moment)
        half = not half_written(out) <= before
        row.half += half
        print(
            f"  killed after {moment:.3f} s, with {epochs_of(out)} epochs logged"
            f"{', a file half written' if half else ''}",
            file=sys.stderr,
            flush=True,
        )
        if (state_of(out) or ("", False))[1]:
            return row  # killed between its last file and its end: there is nothing to resume
    ended = runs.go_on(folder, row)
    _, errors = ended.communicate()
    if ended.returncode != 0:
        raise SystemExit(f"a resumed run failed: {errors}")
    return row


def epochs_of(out: Path) -> int:
    """Lines of the history so far."""
    metrics = out / "metrics.jsonl"
    return len(metrics.read_bytes().splitlines()) if metrics.is_file() else 0


# ---------------------------------------------------------------- comparison


def differing(reference: Path, folder: Path) -> list[str]:
    """The files that are not equal, or that one of the two does not have."""
    first, second = (files_of(each) for each in (reference, folder))
    return sorted(
        name
        for name in first | second
        if not (name in first and name in second)
        or digest(reference / name) != digest(folder / name)
    )


def files_of(folder: Path) -> set[str]:
    """All that are compared."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != NOT_COMPARED}


def digest(path: Path) -> str:
    """SHA-256 of the bytes; of documents and checkpoints without the times in them."""
    if path.suffix == ".json":
        content = repr(timeless(json.loads(path.read_bytes())))
    elif path.suffix == ".jsonl":
        content = repr([timeless(json.loads(line)) for line in path.read_bytes().splitlines()])
    elif path.suffix == ".pt":
        content = repr(timeless(torch.load(path, weights_only=True)))
    else:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(content.encode()).hexdigest()


def timeless(value: Any) -> Any:
    """Without the entries in TIMES; a tensor as its type, its shape and the digest of its bytes."""
    if isinstance(value, Mapping):
        return {key: timeless(each) for key, each in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [timeless(each) for each in value]
    if isinstance(value, torch.Tensor):
        flat = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return [str(value.dtype), tuple(value.shape), hashlib.sha256(flat).hexdigest()]
    return value


# ---------------------------------------------------------------- the whole


def undisturbed(runs: Runs, folder: Path) -> tuple[float, float]:
    """One run that nobody kills: (when it had its folder, when it ended), in seconds."""
    begun = time.monotonic()
    process = runs.start(folder)
    while not (folder / runs.out).is_dir() and process.poll() is None:
        time.sleep(0.01)
    opened = time.monotonic() - begun
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the reference failed: {errors}")
    return opened, time.monotonic() - begun


def run_until_killed(
    runs: Runs, folder: Path, waits: Callable[[], Sequence[Wait]], *, aimed: bool
) -> Row:
    """A run that was killed at least once: those that end before are made again."""
    for _ in range(MOST_TRIES):
        folder.mkdir()
        row = run_with_kills(runs, folder, waits(), aimed=aimed)
        if row.moments_s:
            return row
        shutil.rmtree(folder)
    raise SystemExit(f"{MOST_TRIES} runs ended before they were killed; give more --epochs")


def measure(runs: Runs, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The duration of the reference, and a row a run."""
    reference, chance = folder / "reference", random.Random(options.seed)
    reference.mkdir()
    opened_s, ended_s = undisturbed(runs, reference)
    print(f"reference: {opened_s:.1f} to {ended_s:.1f} s", file=sys.stderr, flush=True)
    rows, often = [], max(options.epochs // options.kills, 1)
    for number in range(options.runs + options.half_written):
        place, aimed = folder / str(number), number >= options.runs
        out = place / runs.out

        def waits(out: Path = out, aimed: bool = aimed) -> list[Wait]:
            return [
                until_half_written(out, chance.randint(1, often))
                if aimed
                else until(chance.uniform(opened_s, ended_s))
                for _ in range(options.kills)
            ]

        print(f"run {number + 1}", file=sys.stderr, flush=True)
        row = run_until_killed(runs, place, waits, aimed=aimed)
        row.files = len(files_of(reference / runs.out))
        row.differing = differing(reference / runs.out, out)
        rows.append(row)
        shutil.rmtree(place)
    return {"opened_s": opened_s, "ended_s": ended_s, "rows": [asdict(row) for row in rows]}


def table_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| run | killed after (s) | with a file half written | begun anew | files that differ |",
        "|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows, 1):
        moments = ", ".join(f"{moment:.2f}" for moment in row["moments_s"]) or "never"
        wrong = ", ".join(row["differing"]) or f"none of {row['files']}"
        aim = " (aimed)" if row["aimed"] else ""
        lines.append(f"| {number}{aim} | {moments} | {row['half']} | {row['anew']} | {wrong} |")
    return "\n".join(lines)


def command_of(options: argparse.Namespace) -> Runs:
    """A search on the embedded data, or the training of a published cell."""
    sizes = ["--channels", options.channels, "--cells", options.cells, "--crop", options.crop]
    sizes += ["--head-channels", options.head_channels, "--batch-size", options.batch_size]
    sizes += ["--epochs", options.epochs, "--seed", options.seed]
    what = ["train", "data-m4"] if options.train else ["search"]
    given = [*what, "--data", "shapes", "--device", "cpu", *sizes]
    return Runs(tuple(map(str, given)), "child" if options.train else "run")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="of datac train, not search")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--half-written", type=int, default=2, help="runs with aimed kills")
    parser.add_argument("--kills", type=int, default=3, help="of a run, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the runs and of the moments")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--head-channels", type=int, default=8)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.kills < 1:
        parser.error("--kills: a run that nobody kills is the reference")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(command_of(options), Path(folder), options)
    print(table_of(found["rows"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    if any(row["differing"] for row in found["rows"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
