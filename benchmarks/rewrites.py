"""What each rewrite of an engine's own model is worth on this machine, runtime by runtime.

    python benchmarks/rewrites.py
    python benchmarks/rewrites.py --net cifar --target onnx --rounds 31 --json rewrites.json

The same net, rewritten in several ways, each an engine of its own. Rounds go over all engines of a
net and a runtime in an order drawn anew; a ratio is that of two medians of one round, time with the
rewrites over time without, so what slows the machine slows both. What each target does by default
(`exporters/default_plan.py`) was decided by this table (docs/results/rewrites.md).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout that this file stands in, whatever is installed

NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "cifar": ("data-m7", {"skeleton": "cifar"}),
    "cifar-m4": ("data-m4", {"skeleton": "cifar"}),
    "segmentation": ("data-m7", {"skeleton": "segmentation", "input": (3, 256, 256)}),
    "camvid": (
        "data-m7",
        {"skeleton": "segmentation", "classes": 11, "input": (3, 180, 240), "cells": 8},
    ),
}
"""Published cell, and what differs from the published sizes (C=36, L=20 and C=48, L=14)."""

SHARED = "share_relu"
VARIANTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "pad_channels": ("pad_channels",),
    "drop_padding_taps": ("drop_padding_taps",),
    "merge_pointwise": (SHARED, "merge_pointwise"),
    "relu_above_concat": (SHARED, "relu_above_concat"),
    "split_pointwise": (SHARED, "relu_above_concat", "split_pointwise"),
    "sum_halves": (SHARED, "sum_halves"),
    "merge_sums": ("merge_sums",),
    "merge_sums_with_skips": ("merge_sums_with_skips",),
    "balance_sums": ("balance_sums",),
    "merge_depthwise": (SHARED, "merge_depthwise"),
    "pad + taps": ("drop_padding_taps", "pad_channels"),
    "pad + taps + merge": ("drop_padding_taps", SHARED, "merge_pointwise", "pad_channels"),
    "pad + taps + relu": ("drop_padding_taps", SHARED, "relu_above_concat", "pad_channels"),
    "pad + taps + relu + halves": (
        "drop_padding_taps",
        SHARED,
        "sum_halves",
        "relu_above_concat",
        "pad_channels",
    ),
    "taps + relu + halves": ("drop_padding_taps", SHARED, "sum_halves", "relu_above_concat"),
    "taps + relu": ("drop_padding_taps", SHARED, "relu_above_concat"),
    "taps + split": ("drop_padding_taps", SHARED, "relu_above_concat", "split_pointwise"),
}
"""Title → the rewrites, in the order in which they run. The others are held to the first."""


def measure_net(
    net: str, target: str, variants: list[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Variant → median ratio to `none`, its 95 % interval, and what was rewritten."""
    from compiler.lower import INPUT, lower
    from compiler.passes import REWRITES
    from compiler.rewrite import apply
    from datac.documents.network import DEFAULTS
    from datac.published import load
    from exporters.canonical import canonical_graph, canonical_onnx
    from exporters.control import interval, speedups
    from exporters.initialise import initialise
    from exporters.measure import measure
    from exporters.targets import resolve
    from exporters.targets.specialise import specialise_model, write_model
    from exporters.targets.target import BuildOptions, missing_for

    cell, sizes = NETS[net]
    network = DEFAULTS[sizes["skeleton"]].model_copy(update=sizes)
    genotype = load(cell)
    graph = lower(genotype, network)
    initialise(graph, network.input, 0)
    canonical = canonical_graph(graph)
    options = BuildOptions((1, *network.input), threads=arguments.threads)
    platform = resolve(target)
    missing = missing_for(platform, options)
    if missing is not None:
        raise SystemExit(str(missing))
    value = np.random.default_rng(0).standard_normal((1, *network.input)).astype(np.float32)
    rewritten: dict[str, int] = {}
    with ExitStack() as stack:
        runners = {}
        for title in variants:
            made, log = apply(canonical, [REWRITES[name] for name in VARIANTS[title]])
            rewritten[title] = len(log)
            if title != "none" and not log:
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            model = specialise_model(canonical_onnx(made, genotype, network), options, title)
            (folder / "engine").mkdir()
            write_model(model, folder / "model.onnx")
            engine = platform.build(folder / "model.onnx", options, folder / "engine")
            runners[title] = stack.enter_context(platform.load(folder / "engine", engine, options))
        found = measure(
            runners,
            {INPUT: value},
            budget_seconds=arguments.seconds,
            rounds=arguments.rounds,
        )
    rows: dict[str, Any] = {}
    for title, latency in found.items():
        ratios = [1 / ratio for ratio in speedups(latency, found["none"])]
        low, middle, high = interval(ratios)
        rows[title] = {
            "ratio": middle,
            "low": low,
            "high": high,
            "median_ms": latency.median,
            "rewritten": rewritten[title],
            "rounds": latency.rounds,
        }
    return rows


def print_table(net: str, target: str, rows: dict[str, Any]) -> None:
    """One line a variant, the fastest first."""
    print(f"\n{net}, {target} (none: {rows['none']['median_ms']:.2f} ms)\n")
    print("| rewrites | time, none = 1 | 95 % | places |\n|---|---|---|---|")
    for title, row in sorted(rows.items(), key=lambda pair: pair[1]["ratio"]):
        print(
            f"| {title} | {row['ratio']:.3f} | {row['low']:.3f} to {row['high']:.3f} "
            f"| {row['rewritten']} |",
            flush=True,
        )


def main() -> None:
    """Measure, print, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", nargs="+", choices=NETS, default=["cifar", "segmentation"])
    parser.add_argument(
        "--target", nargs="+", choices=["onnx", "openvino"], default=["onnx", "openvino"]
    )
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=60.0, help="for one net and runtime")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    variants = list(dict.fromkeys(["none", *arguments.variant]))
    results = []
    for net in arguments.net:
        for target in arguments.target:
            rows = measure_net(net, target, variants, arguments)
            print_table(net, target, rows)
            results.append({"net": net, "target": target, "rows": rows})
    if arguments.json is not None:
        from exporters.environment import environment

        document = {"environment": environment().model_dump(mode="json"), "results": results}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
