"""What the gate catches, what it alarms on without a cause, and whether it names the right place.

    python benchmarks/gate.py --results docs/results/gate.jsonl
    python benchmarks/gate.py --results docs/results/gate.jsonl --summary

Published cells in two kinds of network, with random weights, with paths that are nearly dead, and
trained on the embedded data sets, from which a third of the paths is made nearly dead as well.
Faults are injected one at a time (`exporters/faults`), and healthy networks are run in every way
that this machine can. The constants of the judges are set on one half of the cells and seeds, and
all that is printed is of the other half. Subjects that the results hold are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from compiler.graph import Graph
from compiler.lower import lower
from compiler.ops import BatchNorm, Sum
from compiler.weights import read_weights_file
from datac.datasets import open_dataset
from datac.documents.genotype import Genotype
from datac.documents.network import DEFAULTS, Network
from datac.documents.read import read_json
from datac.output_folder import write_beside
from datac.published import load
from exporters.canonical import bound_graph
from exporters.faults import FAULTS
from exporters.faults.judges import OURS, Constants, changes, constants_of, opinions, scores
from exporters.faults.observe import Observation, Subject
from exporters.faults.runtimes import HEALTHY, MAIN
from exporters.faults.trial import SHIPPED, try_gate
from exporters.initialise import initialise
from exporters.task import labelled_inputs

SETTING = ("data-m7", "darts-v2", "gdas-v1", "nasnet-a")
TRYING = ("data-m4", "pc-darts", "snas-mild", "amoebanet-a")
NETWORKS: dict[str, dict[str, object]] = {
    "cifar": {"channels": 8, "cells": 5},
    "segmentation": {
        "channels": 8,
        "cells": 5,
        "classes": 11,
        "input": (3, 64, 64),
        "head_channels": 16,
    },
}
WEIGHTS = ("random", "nearly dead", "trained")
TRAINING: dict[str, list[str]] = {
    "cifar": ["--data", "shapes-classification", "--network", "cifar", "--epochs", "12"],
    "segmentation": [
        "--data",
        "shapes",
        "--network",
        "segmentation",
        "--crop",
        "64x64",
        "--epochs",
        "12",
    ],
}
"""What `datac train` is told, besides the sizes of the network."""
GAINS = (1e-2, 1e-3, 1e-5)
SAMPLES = 2


@dataclass(frozen=True)
class Plan:
    """Which subject. half: whether constants are set on it, or judges tried."""

    half: str
    cell: str
    network: str
    weights: str
    seed: int

    def __str__(self) -> str:
        return f"{self.half}/{self.cell}/{self.network}/{self.weights}/{self.seed}"


def plans(seeds: int) -> list[Plan]:
    """Both halves, in turn, so that the tables are balanced wherever one stops."""
    return [
        Plan(half, cell, network, weights, 2 * seed + (half == "trying"))
        for seed in range(seeds)
        for index in range(len(SETTING))
        for weights in WEIGHTS
        for network in NETWORKS
        for half, cell in (("setting", SETTING[index]), ("trying", TRYING[index]))
    ]


def subject_of(plan: Plan) -> Subject:
    """Weights drawn from the seed, scales and shifts of the batch norms too; or trained ones."""
    if plan.weights == "trained":
        return _trained(plan)
    sizes = {**dict(DEFAULTS[plan.network]), **NETWORKS[plan.network]}
    network, genotype = Network.model_validate(sizes), load(plan.cell)
    graph = lower(genotype, network)
    initialise(graph, network.input, plan.seed)
    draw = np.random.default_rng(plan.seed)
    _vary_norms(graph, draw)
    if plan.weights == "nearly dead":
        _weaken_paths(graph, draw)
    x = draw.standard_normal((SAMPLES, *network.input)).astype(np.float32)
    return Subject(str(plan), genotype, network, graph, x)


def _trained(plan: Plan) -> Subject:
    """Real samples go in. Nearly dead paths, too: no training of a minute leaves any."""
    sizes = NETWORKS[plan.network]
    options = [f"--channels={sizes['channels']}", f"--cells={sizes['cells']}"]
    if "head_channels" in sizes:
        options.append(f"--head-channels={sizes['head_channels']}")
    with tempfile.TemporaryDirectory(prefix="datac-gate-") as folder:
        child = Path(folder) / "child"
        command = [sys.executable, "-m", "datac", "train", plan.cell, *TRAINING[plan.network]]
        command += [*options, f"--seed={plan.seed}", f"--out={child}"]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        genotype = read_json(child / "genotype.json", Genotype)
        weights = read_weights_file(child / "weights.safetensors")
    assert genotype.network is not None
    graph = bound_graph(genotype, genotype.network, weights, "the child")
    _weaken_paths(graph, np.random.default_rng(plan.seed))
    dataset = open_dataset(TRAINING[plan.network][1])
    samples = labelled_inputs(dataset, genotype.network, "val", SAMPLES)
    x = np.concatenate([samples.input(sample) for sample in samples.samples])
    return Subject(str(plan), genotype, genotype.network, graph, x)


def _vary_norms(graph: Graph, draw: np.random.Generator) -> None:
    for name, weight in graph.weights.items():
        if name.endswith("norm.bias") or (".norm" in name and name.endswith(".bias")):
            graph.weights[name] = weight + np.float32(0.1) * draw.standard_normal(
                weight.shape
            ).astype(np.float32)
            gain = name.removesuffix("bias") + "weight"
            scale = draw.uniform(0.7, 1.3, weight.shape).astype(np.float32)
            graph.weights[gain] = graph.weights[gain] * scale


def _weaken_paths(graph: Graph, draw: np.random.Generator) -> None:
    """A third of the paths that end in a batch norm have a gain of 1e-2, 1e-3 or 1e-5."""
    for node in graph.nodes():
        if not isinstance(node.op, Sum):
            continue
        for operand in node.operands:
            last = graph[operand]
            if isinstance(last.op, BatchNorm) and draw.random() < 1 / 3:
                gain = np.float32(draw.choice(GAINS))
                for suffix in ("weight", "bias"):
                    name = last.weight_name(suffix)
                    graph.weights[name] = graph.weights[name] * gain


# ---- tables -------------------------------------------------------------------------------------


def tables(observations: list[Observation]) -> str:
    """The constants, the scores of every judge, what was missed; and what datac ships."""
    setting = [o for o in observations if o.subject.startswith("setting/")]
    trying = [o for o in observations if o.subject.startswith("trying/")]
    constants = constants_of(o for o in setting if o.fault is None)
    parts = (
        _constants(constants),
        _scores(trying, constants),
        _missed(trying, constants),
        _shipped(observations),
    )
    return "\n\n".join("\n".join(lines) for lines in parts)


def _constants(constants: Constants) -> list[str]:
    lines = ["| precision | output | place |", "|---|---|---|"]
    for precision in MAIN:
        output, place = constants.output.get(precision, 0), constants.place.get(precision, 0)
        lines.append(f"| {precision} | {output:.2f} | {place:.2f} |")
    return lines


def _scores(trying: list[Observation], constants: Constants) -> list[str]:
    lines = [
        "| precision | judge | caught / injected | false / healthy | right path | right node |",
        "|---|---|---|---|---|---|",
    ]
    found = scores(trying, constants)
    others = [judge for judge in dict.fromkeys(j for _, j in found) if judge not in OURS]
    for precision in MAIN:
        for judge in (*OURS, *others):
            score = found.get((precision, judge))
            if score is None:
                continue
            named = judge in OURS and judge != "outputs"
            right = f"{score.right_path} / {score.paths}" if named else ""
            node = f"{score.right_node} / {score.paths}" if named else ""
            lines.append(
                f"| {precision} | {judge} | {score.caught} / {score.injected} | "
                f"{score.false_alarms} / {score.healthy} | {right} | {node} |"
            )
    return lines


def _missed(trying: list[Observation], constants: Constants) -> list[str]:
    """By precision, the faults that numbers alone, and all judges together, have missed."""
    lines = ["| precision | fault | missed by numbers | by all | of |", "|---|---|---|---|---|"]
    for precision in MAIN:
        for fault in FAULTS:
            seen = [
                opinions(o, constants)
                for o in trying
                if (o.precision, o.fault) == (precision, fault) and changes(o)
            ]
            numbers = sum(not o["numbers"].alarm for o in seen)
            together = sum(not o["together"].alarm for o in seen)
            if numbers:
                lines.append(f"| {precision} | {fault} | {numbers} | {together} | {len(seen)} |")
    return lines


def _shipped(observations: list[Observation]) -> list[str]:
    """Of both halves, by the constants of `datac check`."""
    lines = ["| precision | judge | caught / injected | false / healthy |", "|---|---|---|---|"]
    found = scores(observations, SHIPPED)
    for precision in MAIN:
        for judge in ("numbers", "together"):
            score = found.get((precision, judge))
            if score is not None:
                lines.append(
                    f"| {precision} | {judge} | {score.caught} / {score.injected} | "
                    f"{score.false_alarms} / {score.healthy} |"
                )
    return lines


def read(path: Path) -> list[Observation]:
    """The observations of a results file."""
    if not path.is_file():
        return []
    lines = path.read_text().splitlines()
    return [Observation(**{k: _tuples(v) for k, v in json.loads(line).items()}) for line in lines]


def _tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(tuple(v) if isinstance(v, list) else v for v in value)
    return value


def _faults(plan: Plan, asked: list[str] | None) -> list[str]:
    """Of the first seeds of each half; the others show that nothing healthy raises an alarm."""
    return (asked or [*FAULTS]) if plan.seed < 2 else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="of each subject; the later healthy alone",
    )
    parser.add_argument("--summary", action="store_true", help="only print the tables")
    parser.add_argument("--fault", action="append", choices=[*FAULTS], help="these alone")
    parser.add_argument("--precision", action="append", choices=[*MAIN], help="these alone")
    parser.add_argument("--way", action="append", choices=[*HEALTHY], help="healthy, these alone")
    parser.add_argument("--most", type=int, help="subjects at most")
    parser.add_argument("--weights", action="append", choices=WEIGHTS, help="these alone")
    options = parser.parse_args()
    observations = read(options.results)
    if not options.summary:
        done, begin = {o.subject for o in observations}, time.monotonic()
        left = [
            plan
            for plan in plans(options.seeds)
            if str(plan) not in done and plan.weights in (options.weights or WEIGHTS)
        ][: options.most]
        for index, plan in enumerate(left, start=1):
            observations += try_gate(
                subject_of(plan),
                options.precision or [*MAIN],
                faults=_faults(plan, options.fault),
                ways=options.way,
                seed=plan.seed + 1,
            )
            lines = [json.dumps(o.to_dict()) for o in observations]
            write_beside(options.results, "\n".join([*lines, ""]))
            minutes = (time.monotonic() - begin) / index * (len(left) - index) / 60
            print(f"[{index} of {len(left)}] {plan}; {minutes:.0f} min left", file=sys.stderr)
    print(tables(observations))


if __name__ == "__main__":
    main()
