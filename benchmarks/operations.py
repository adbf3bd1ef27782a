"""Single operations as torch runs them against `searcher/fast_modules.py`: forward and backward.

    python benchmarks/operations.py
    python benchmarks/operations.py --only resize step --repeats 30

Channels last, one thread unless asked otherwise; the rounds take both sides in turn, and ratios are
taken within a round. Of one thread processor time is measured, else wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout that this file stands in

import torch
from timing import clock_of, quartiles
from torch import Tensor, nn

from compiler.lower import lower
from compiler.ops import BatchNorm, Concat, Conv, Op, ResizeLike, Shift
from compiler.torch_module import Build, GraphModule, stock_module
from datac.documents.network import Network
from datac.published import load
from searcher.child import laid_out
from searcher.fast_modules import fast_module

Run = Callable[[], object]
"""One forward and backward pass."""


def depthwise(channels: int, kernel: int, stride: int, dilation: int) -> Op:
    """As in the separable and dilated convolutions."""
    reach = dilation * (kernel // 2)
    return Conv(
        channels,
        channels,
        (kernel, kernel),
        (stride, stride),
        (reach, reach),
        (dilation, dilation),
        groups=channels,
    )


def one(op: Op, shape: tuple[int, ...]) -> Callable[[Build], Run]:
    """An operation of one operand."""
    return lambda build: _with_gradient(build(op), _image(shape))


def norms_behind_concat(channels: int, size: int, batch: int) -> Callable[[Build], Run]:
    """Four batch norms whose results are concatenated, as at the end of a cell."""

    def make(build: Build) -> Run:
        norms = [build(BatchNorm(channels, affine=False)) for _ in range(4)]
        concat = build(Concat())
        return _with_gradient(
            lambda x: concat(*(norm(x) for norm in norms)), _image((batch, channels, size, size))
        )

    return make


def norm_backward(lie: Callable[[Tensor], Tensor]) -> Callable[[Build], Run]:
    """The backward pass alone of a batch norm whose gradient lies as `lie` makes it.

    Ours: laid out like the value first, as `searcher/layouts.py` does it.
    """

    def make(build: Build) -> Run:
        value = build(BatchNorm(16, affine=False))(_image((16, 16, 32, 32)).requires_grad_())
        gradient = lie(torch.randn_like(value))
        if build is stock_module:
            return lambda: value.backward(gradient, retain_graph=True)
        last = torch.channels_last
        return lambda: value.backward(gradient.contiguous(memory_format=last), retain_graph=True)

    return make


def _slice(gradient: Tensor) -> Tensor:
    """The first of four parts, as the backward of `cat` gives it."""
    return torch.cat([gradient] * 4, 1)[:, : gradient.shape[1]]


def resize_and_loss(classes: int, before: tuple[int, int], after: tuple[int, int]) -> Any:
    """The last two steps of a segmentation net, batch 8."""

    def make(build: Build) -> Run:
        resize, scores = build(ResizeLike()), _image((8, classes, *before)).requires_grad_()
        like, labels = torch.empty(8, 3, *after), torch.randint(0, classes, (8, *after))
        return lambda: nn.functional.cross_entropy(resize(scores, like), labels).backward()

    return make


def halves(channels: int, size: int, batch: int) -> Callable[[Build], Run]:
    """The second half of a factorized reduce: shift, then a 1x1 convolution of stride 2."""

    def make(build: Build) -> Run:
        shift, conv = build(Shift()), build(Conv(channels, channels // 2, stride=(2, 2)))
        conv = conv.to(memory_format=torch.channels_last)
        return _with_gradient(
            lambda x: conv(shift(x.relu())), _image((batch, channels, size, size))
        )

    return make


def training_step(height: int, width: int) -> Callable[[Build], Run]:
    """Of a child of the cell `data-m4`, C = 16, 8 cells, 11 classes, batch 8; no optimiser."""

    def make(build: Build) -> Run:
        network = Network(
            skeleton="segmentation",
            channels=16,
            cells=8,
            classes=11,
            input=(3, height, width),
            output_stride=16,
            head_channels=64,
        )
        graph = lower(load("data-m4"), network, training=True)
        child = laid_out(GraphModule(graph, build), network).train()
        x, labels = _image((8, *network.input)), torch.randint(0, 11, (8, height, width))

        def step() -> None:
            child.zero_grad()
            answers = child(x)
            losses = [nn.functional.cross_entropy(y, labels) for y in answers.values()]
            torch.stack(losses).sum().backward()

        return step

    return make


CASES: dict[str, Callable[[Build], Run]] = {
    "depthwise 3x3, dilation 2": one(depthwise(16, 3, 1, 2), (16, 16, 32, 32)),
    "depthwise 5x5": one(depthwise(16, 5, 1, 1), (16, 16, 32, 32)),
    "depthwise 5x5, dilation 2": one(depthwise(16, 5, 1, 2), (16, 16, 32, 32)),
    "depthwise 5x5, dilation 2, stride 2": one(depthwise(16, 5, 2, 2), (16, 16, 32, 32)),
    "pointwise 16 to 16": one(Conv(16, 16), (16, 16, 32, 32)),
    "pointwise 64 to 64": one(Conv(64, 64), (16, 64, 8, 8)),
    "factorized reduce, second half": halves(64, 32, 16),
    "norm backward, gradient dense": norm_backward(lambda gradient: gradient),
    "norm backward, gradient a slice": norm_backward(_slice),
    "norm backward, gradient channels first": norm_backward(Tensor.contiguous),
    "norms behind concat": norms_behind_concat(16, 32, 16),
    "resize and loss": resize_and_loss(11, (12, 15), (180, 240)),
    "training step, 180x240": training_step(180, 240),
    "training step, 60x80": training_step(60, 80),
}


def _image(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def _with_gradient(call: Callable[[Tensor], Tensor], x: Tensor) -> Run:
    if isinstance(call, nn.Module):
        call.to(memory_format=torch.channels_last)
    x.requires_grad_()
    gradient = torch.randn_like(call(x))
    return lambda: call(x).backward(gradient)


def compare(make: Callable[[Build], Run], repeats: int) -> dict[str, float]:
    """Milliseconds of both sides and stock / fast, medians with quartiles of the ratio."""
    torch.manual_seed(0)
    sides = {"stock": make(stock_module), "fast": make(fast_module)}
    clock = clock_of(torch.device("cpu"))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run(), run()
    for _ in range(repeats):
        for name, run in sides.items():
            begin = clock()
            run()
            times[name].append(clock() - begin)
    ratios = [a / b for a, b in zip(times["stock"], times["fast"], strict=True)]
    low, middle, high = quartiles(ratios)
    milliseconds = {f"{name}_ms": statistics.median(each) * 1e3 for name, each in times.items()}
    return {"ratio": middle, "ratio_low": low, "ratio_high": high, **milliseconds}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cases whose name has it")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wanted = options.only or [""]
    rows = []
    print("| operation | times faster | torch's own, ms | ours, ms |\n|---|---|---|---|")
    for name, make in CASES.items():
        if any(word in name for word in wanted):
            row = compare(make, options.repeats)
            rows.append({"operation": name, **row})
            print(
                f"| {name} | {row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f}) | "
                f"{row['stock_ms']:.2f} | {row['fast_ms']:.2f} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
