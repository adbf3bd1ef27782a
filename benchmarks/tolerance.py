"""How far healthy float32 runs are from float64, as a share of what the gate predicts.

python benchmarks/tolerance.py

Every ratio is (observed RMS error) / (predicted RMS error) of one runtime on one input of one net.
The gate accepts up to `exporters.reference.TOLERATED`. The nets are small, so that it takes
minutes; their depth is what the prediction has to get right.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from compiler.graph import Graph
from compiler.lower import INPUT, lower
from compiler.torch_module import GraphModule, load_weights
from datac.documents.network import DEFAULTS, Network
from datac.published import load
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.export import choose_inputs
from exporters.float64 import make_reference
from exporters.initialise import initialise
from exporters.reference import TOLERATED, Reference
from exporters.targets.openvino import OpenVINORunner
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions

CELLS = ("data-m4", "data-m7", "darts-v2")
NETWORKS: dict[str, dict[str, object]] = {
    "cifar": {"channels": 8, "cells": 8},
    "segmentation": {"channels": 8, "cells": 5, "head_channels": 8, "input": (3, 64, 64)},
    "imagenet": {"channels": 8, "cells": 8, "input": (3, 64, 64)},
}
QUANTILES = (0.5, 0.9, 0.99)

Float32 = NDArray[np.float32]
Run = Callable[[Float32], Float32]


@dataclass(frozen=True)
class Net:
    """A net with weights, its reference, and its canonical file."""

    graph: Graph
    reference: Reference
    model: Path


def made(cell: str, network: Network, seed: int, folder: Path) -> Net:
    """Weights and inputs drawn from the seed."""
    genotype = load(cell)
    graph = lower(genotype, network)
    initialise(graph, network.input, seed)
    canonical = canonical_graph(graph)
    path = folder / "model.onnx"
    write_model(canonical_onnx(canonical, genotype, network), path)
    reference = make_reference(graph, canonical, choose_inputs(network, None, seed))
    return Net(graph, reference, path)


def runtimes(net: Net) -> Iterator[tuple[str, Run]]:
    """Name → a run of the net in float32, input (N, 3, H, W) to logits."""
    level = onnxruntime.GraphOptimizationLevel
    for name, optimised in (("on", level.ORT_ENABLE_ALL), ("off", level.ORT_DISABLE_ALL)):
        yield f"ONNX Runtime, optimisation {name}", _onnxruntime(net.model, optimised)
    options = BuildOptions((1, 3, 1, 1), dynamic_height_width=True)
    with OpenVINORunner(net.model, options) as runner:
        yield "OpenVINO", lambda x: np.asarray(runner.run({INPUT: x})["logits"], np.float32)
    module = GraphModule(net.graph)
    load_weights(module, net.graph.weights, "graph")
    module.eval()
    for name, on in (("with", True), ("without", False)):
        yield f"torch {name} oneDNN", _torch(module, on)


def _onnxruntime(path: Path, level: onnxruntime.GraphOptimizationLevel) -> Run:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(["logits"], {INPUT: x})[0], np.float32)


def _torch(module: GraphModule, onednn: bool) -> Run:
    def run(x: Float32) -> Float32:
        before = torch.backends.mkldnn.set_flags(onednn)  # type: ignore[no-untyped-call]
        try:
            with torch.inference_mode():
                answer: Float32 = module.run([torch.from_numpy(x)])["logits"].numpy()
        finally:
            torch.backends.mkldnn.set_flags(*before)  # type: ignore[no-untyped-call]
        return answer

    return run


def ratios(reference: Reference, run: Run) -> list[float]:
    """Observed over predicted, for each input."""
    found = []
    for case in reference.cases:
        difference = run(case.input).astype(np.float64) - case.outputs["logits"]
        predicted = reference.tolerance(case, "logits") / TOLERATED
        found.append(float(np.sqrt(np.mean(np.square(difference)))) / predicted)
    return found


def measure(
    networks: Sequence[str], cells: Sequence[str], seeds: int
) -> dict[str, dict[str, list[float]]]:
    """Network → runtime → ratios over cells, seeds and inputs."""
    result: dict[str, dict[str, list[float]]] = {}
    for skeleton in networks:
        sizes = NETWORKS[skeleton]
        network = Network.model_validate({**dict(DEFAULTS[skeleton]), **sizes})
        rows: dict[str, list[float]] = defaultdict(list)
        for cell in cells:
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as folder:
                    net = made(cell, network, seed, Path(folder))
                    for name, run in runtimes(net):
                        rows[name] += ratios(net.reference, run)
        result[skeleton] = dict(rows)
    return result


def show(result: dict[str, dict[str, list[float]]]) -> None:
    """One line a network and runtime, and one for all."""
    print("| network | runtime | runs | median | 90 % | 99 % | largest |")
    print("|---|---|---|---|---|---|---|")
    for network, rows in result.items():
        for runtime, values in rows.items():
            print(f"| {network} | {runtime} | {_line(values)} |")
    print(f"| all | all | {_line([x for r in result.values() for v in r.values() for x in v])} |")


def _line(values: list[float]) -> str:
    numbers = [*np.quantile(values, QUANTILES), max(values)]
    return " | ".join([str(len(values)), *(f"{number:.2f}" for number in numbers)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", action="append", choices=NETWORKS, help="default: all of them")
    parser.add_argument("--cell", action="append", help="default: " + ", ".join(CELLS))
    parser.add_argument("--seeds", type=int, default=3, help="nets of each cell and network")
    parser.add_argument("--json", type=Path, help="also write every ratio to this file")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    result = measure(arguments.net or [*NETWORKS], arguments.cell or CELLS, arguments.seeds)
    show(result)
    print(f"the gate accepts {TOLERATED:g}; took {time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
