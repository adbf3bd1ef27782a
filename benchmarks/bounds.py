"""Are bounds held, and what do they cost: `datac search --max-macs` for some bounds and seeds.

    python benchmarks/bounds.py --data CAMVID --max-macs 52e6 55e6 58e6 --seeds 3 --out bounds

Each search is followed by a training of its child from scratch; everything by the command line, as
a user would. Runs stand in OUT/BOUND/SEED; what is finished is not run again, and what was
interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout that this file stands in

from datac.documents.read import read_json
from datac.documents.search_result import SearchResult
from datac.documents.train_result import TrainResult

RUN, CHILD = "run", "child"


@dataclass(frozen=True)
class Row:
    """What became of one search, and of its child."""

    bound: int
    seed: int
    child: float
    unbounded: float
    expected: float
    misses_by: float
    metric: str
    retrained: float
    search_seconds: float
    training_seconds: float


def datac(folder: Path, *arguments: str) -> None:
    """Run it; its log is FOLDER/COMMAND.log."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    path = folder / f"{arguments[0]}.log"
    with path.open("a") as log:
        command = [sys.executable, "-m", "datac", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise SystemExit(f"datac {arguments[0]} answered {done.returncode}; {path} says why")


def begun(out: Path) -> tuple[str, ...]:
    """What lets a folder that may be unfinished go on."""
    return ("--resume",) if (out / "checkpoint.pt").exists() else ("--restart",)


def carry_out(bound: int, seed: int, options: argparse.Namespace) -> Row:
    """Search and train what is not finished, then read both results."""
    folder: Path = options.out.resolve() / str(bound) / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    common = ("--data", str(Path(options.data).resolve()) if options.folder else options.data)
    common += ("--seed", str(seed), "--device", "cpu")
    searched, trained = folder / RUN / "search_result.json", folder / CHILD / "train_result.json"
    if not searched.exists():
        bounded = ("--max-macs", str(bound), *options.search, *begun(folder / RUN))
        datac(folder, "search", *common, *bounded)
    if not trained.exists():
        genotype = str(folder / RUN / "genotype.json")
        datac(folder, "train", genotype, *common, *options.train, *begun(folder / CHILD))
    row = row_of(bound, seed, read_json(searched, SearchResult), read_json(trained, TrainResult))
    print(
        f"bound {bound}, seed {seed}: {row.child:.0f}, {row.metric} {row.retrained:.4f}",
        file=sys.stderr,
    )
    return row


def row_of(bound: int, seed: int, searched: SearchResult, trained: TrainResult) -> Row:
    """Both results in one line of the table."""
    (result,) = searched.bounds or ()
    return Row(
        bound=bound,
        seed=seed,
        child=result.child,
        unbounded=result.unbounded,
        expected=result.expected,
        misses_by=result.excess,
        metric=trained.metric,
        retrained=trained.last.metric,
        search_seconds=searched.seconds,
        training_seconds=trained.seconds,
    )


def table_of(rows: Sequence[Row]) -> str:
    """Markdown; millions of multiply-adds."""
    lines = [
        "| bound | seed | child | held | without the bound | mean draw "
        f"| {rows[0].metric} retrained |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        held = "yes" if not row.misses_by else f"misses by {row.misses_by / 1e6:.2f}"
        lines.append(
            f"| {row.bound / 1e6:.2f} | {row.seed} | {row.child / 1e6:.2f} | {held} | "
            f"{row.unbounded / 1e6:.2f} | {row.expected / 1e6:.2f} | {row.retrained:.4f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="as in datac search --data")
    parser.add_argument("--max-macs", type=float, nargs="+", required=True, metavar="N")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--search", default="", help="more options of datac search, in one word")
    parser.add_argument("--train", default="--epochs 12", help="of datac train, likewise")
    parser.add_argument("--out", type=Path, default=Path("bounds"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a thread each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.search, options.train = options.search.split(), options.train.split()
    options.folder = Path(options.data).is_dir()
    runs = [(int(bound), seed) for seed in range(options.seeds) for bound in options.max_macs]
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda run: carry_out(*run, options), runs))
    rows.sort(key=lambda row: (row.bound, row.seed))
    print(table_of(rows))
    if options.json:
        options.json.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1))
    return 1 if any(row.misses_by for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
