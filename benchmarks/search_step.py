"""A search step as the authors of DATA run it against datac's: time, memory, work.

    python benchmarks/search_step.py
    python benchmarks/search_step.py --draws 4 --granularity node --repeats 9 --json step.json

A step is an architecture step and a weight step on one mini-batch each, without data loading. The
rounds go over all variants in an order drawn anew, and ratios are taken within a round, so that
what slows the machine slows both sides of a ratio.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout that this file stands in

import torch
from dense_supernet import DenseSupernet
from operator_counts import Launches, flop_counter
from timing import clock_of, quartiles
from torch import Tensor, nn

from compiler.candidates import SEARCH_SPACE
from compiler.torch_module import stock_module
from datac.documents.network import Network
from searcher.fast_modules import fast_module
from searcher.memory import peak_bytes
from searcher.method_options import MethodOptions
from searcher.methods import Drawing
from searcher.methods.data import Data
from searcher.supernet import Supernet, frozen

CODES = 8
"""Draws that the work of a step is counted on."""

CHANNELS_LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format


@dataclass(frozen=True)
class Variant:
    """How a step is run.

    dense: every operation, with a graph. last: channels last in memory. spare: no weight gradients
    in the architecture step. fast: datac's own modules.
    """

    dense: bool
    last: bool
    spare: bool
    fast: bool


VARIANTS = {
    "dense": Variant(dense=True, last=False, spare=False, fast=False),
    "dense_channels_last": Variant(dense=True, last=True, spare=False, fast=False),
    "dense_best": Variant(dense=True, last=True, spare=True, fast=True),
    "sparse_contiguous": Variant(dense=False, last=False, spare=True, fast=False),
    "sparse_stock": Variant(dense=False, last=True, spare=True, fast=False),
    "sparse": Variant(dense=False, last=True, spare=True, fast=True),
}


class Step:
    """One variant with its own weights, logits and batch; all from the same seeds."""

    def __init__(
        self, variant: Variant, method: Data, network: Network, batch: int, device: torch.device
    ) -> None:
        self.variant, self.method, self.device = variant, method, device
        torch.manual_seed(0)
        build = fast_module if variant.fast else stock_module
        layout = CHANNELS_LAST if variant.last else CONTIGUOUS
        supernet = Supernet(network, method.layout, build=build).train()
        self.supernet = supernet.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.run = DenseSupernet(supernet, fast=variant.fast) if variant.dense else supernet
        generator = torch.Generator().manual_seed(1)
        self.logits = method.initial_logits(generator)
        self.drawing = Drawing(self.logits, generator, 1.0, device)
        images = torch.randn(batch, *network.input).contiguous(memory_format=layout)
        self.images = images.to(device)
        self.labels = torch.randint(0, network.classes, (batch,)).to(device)
        self.optimizer = torch.optim.SGD(
            supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4
        )

    def loss(self, codes: Any) -> Tensor:
        """Of one draw."""
        if self.variant.dense:
            codes = {kind: mixture.weights for kind, mixture in codes.items()}
        return nn.functional.cross_entropy(self.run(self.images, codes), self.labels)

    def draw(self) -> Any:
        """With the gradient of the logits."""
        return self.method.for_architecture(self.drawing)

    def architecture(self) -> None:
        """The gradient of the logits."""
        if self.variant.spare:
            with frozen(self.supernet):
                torch.autograd.grad(
                    self.loss(self.draw()), list(self.logits.values()), allow_unused=True
                )
        else:
            self.loss(self.draw()).backward()

    def weights(self) -> None:
        """Move the weights."""
        codes = self.draw() if self.variant.dense else self.drawn_weights()
        self.optimizer.zero_grad()
        self.loss(codes).backward()
        nn.utils.clip_grad_norm_(self.supernet.parameters(), 5.0)
        self.optimizer.step()

    def drawn_weights(self) -> Any:
        """A code without gradient."""
        return self.method.for_weights(self.drawing)

    def seed(self, seed: int) -> None:
        """Make the step that comes the same: its draws, and no gradient to add to."""
        self.optimizer.zero_grad()
        self.drawing.generator.manual_seed(seed)

    def give_momentum(self) -> None:
        """To every weight, as in the midst of a search: else the first draws would need less."""
        for weight in self.supernet.parameters():
            weight.grad = torch.zeros_like(weight)
        self.optimizer.step()

    def step(self) -> None:
        """Both."""
        self.architecture()
        self.weights()

    def held(self) -> list[Tensor]:
        """What stays from step to step."""
        state = [*self.supernet.parameters(), *self.supernet.buffers(), self.images, self.labels]
        return [*state, *(s["momentum_buffer"] for s in self.optimizer.state.values() if s)]


# ---- what is measured ---------------------------------------------------------------------------


def work_of(step: Step) -> dict[str, Any]:
    """Of a step, counted: peak bytes, floating-point operations, launches, saved bytes.

    Medians over draws from the same seeds for every count and every variant: codes differ in what
    they run. A dense step runs all of it whatever the code, so one is enough.
    """
    step.give_momentum()
    drawn = [work_of_draw(step, seed) for seed in range(1 if step.variant.dense else CODES)]
    peaks = [each["peak_bytes"] for each in drawn]
    medians = {name: statistics.median(each[name] for each in drawn) for name in drawn[0]}
    return {**medians, "peak_bytes_range": [min(peaks), max(peaks)], "codes": len(drawn)}


def work_of_draw(step: Step, seed: int) -> dict[str, float]:
    """Of the codes that follow from a seed."""
    step.seed(seed)
    memory = peak_bytes(step.step, step.held())
    step.seed(seed)
    with flop_counter() as flops, Launches() as launches:
        step.step()
    on_gpu = seen_by_cuda(step, seed) if step.device.type == "cuda" else {}
    return {
        **on_gpu,
        "peak_bytes": memory,
        "flops": flops.get_total_flops(),
        "launches": launches.count,
        "saved_bytes": saved_bytes(step, seed),
    }


def saved_bytes(step: Step, seed: int) -> int:
    """What autograd keeps for the backward pass of the weight step."""
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        return tensor.detach()  # an output held by its own graph would never be freed

    step.seed(seed)
    step.draw()  # that of the architecture step, which comes before
    codes = step.draw() if step.variant.dense else step.drawn_weights()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step.loss(codes)
    del loss
    return sum(saved.values())


def seen_by_cuda(step: Step, seed: int) -> dict[str, float]:
    """The most bytes that torch's allocator had given out, and kernels launched."""
    step.seed(seed)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step.step()
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated()
    step.seed(seed)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step.step()
        torch.cuda.synchronize()
    kernels = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return {"allocated_bytes": most, "kernels": len(kernels)}


def time_steps(steps: dict[str, Step], repeats: int) -> dict[str, list[float]]:
    """Variant → seconds of a step, one a round; of the processor where there is one thread."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order, shuffle = list(steps), random.Random(0)
    clock = clock_of(next(iter(steps.values())).device)
    for step in steps.values():
        step.step()
    for done in range(repeats):
        shuffle.shuffle(order)
        print(f"round {done + 1} of {repeats}", file=sys.stderr, flush=True)
        for name in order:
            begin = clock()
            steps[name].step()
            seconds[name].append(clock() - begin)
    return seconds


def method_of(granularity: str, draws: int, network: Network) -> Data:
    """DATA over the published candidates."""
    asked = MethodOptions("data", granularity=granularity, draws=draws)  # type: ignore[arg-type]
    return asked.make(SEARCH_SPACE, 4, "sum", network)  # type: ignore[return-value]


def rows_of(
    network: Network, granularity: str, draws: int, names: Sequence[str], options: Any
) -> list[dict[str, Any]]:
    """One row a variant."""
    method = method_of(granularity, draws, network)

    def make(name: str) -> Step:
        return Step(VARIANTS[name], method, network, options.batch, torch.device(options.device))

    seconds = time_steps({name: make(name) for name in names}, options.repeats)
    work = {name: work_of(make(name)) for name in names}
    rows = []
    for name in names:
        ratios = [a / b for a, b in zip(seconds["dense"], seconds[name], strict=True)]
        low, middle, high = quartiles(ratios)
        rows.append(
            {
                "variant": name,
                "granularity": granularity,
                "M": draws,
                "time_ratio": middle,
                "time_ratio_quartiles": [low, high],
                "memory_ratio": work["dense"]["peak_bytes"] / work[name]["peak_bytes"],
                "seconds": statistics.median(seconds[name]),
                **work[name],
                **asdict(VARIANTS[name]),
            }
        )
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = "| granularity | M | variant | time | memory | peak MB | GFLOP | launches | saved MB |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        low, high = row["time_ratio_quartiles"]
        least, most = (peak / 1e6 for peak in row["peak_bytes_range"])
        lines.append(
            f"| {row['granularity']} | {row['M']} | {row['variant']} | {row['time_ratio']:.2f} "
            f"({low:.2f}-{high:.2f}) | {row['memory_ratio']:.2f} | "
            f"{row['peak_bytes'] / 1e6:.0f} ({least:.0f}-{most:.0f}) | "
            f"{row['flops'] / 1e9:.1f} | {row['launches']:.0f} | {row['saved_bytes'] / 1e6:.0f} |"
        )
    return "\n".join(lines)


def profile_of(step: Step, steps: int = 3) -> str:
    """Where the time of a step goes: Markdown, by operator, what takes a hundredth and more."""
    step.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            step.step()
    events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    lines = ["| operator | share | calls a step |", "|---|---|---|"]
    lines += [
        f"| {event.key} | {event.self_cpu_time_total / whole:.0%} | {event.count / steps:.0f} |"
        for event in events
        if event.self_cpu_time_total >= whole / 100
    ]
    return "\n".join(lines)


def device_name(device: str) -> str:
    """For the record."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, nargs="+", default=[1, 4, 7], metavar="M")
    parser.add_argument("--granularity", nargs="+", default=["edge", "node"])
    parser.add_argument("--variant", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--input", type=int, default=32, help="height and width")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--profile", action="store_true", help="where the time of `sparse` goes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = Network(
        skeleton="cifar",
        channels=options.channels,
        cells=options.cells,
        classes=10,
        input=(3, options.input, options.input),
    )
    names = ["dense", *(name for name in options.variant if name != "dense")]
    rows: list[dict[str, Any]] = []
    for granularity in options.granularity:
        for draws in options.draws:
            if options.profile:
                method = method_of(granularity, draws, network)
                device = torch.device(options.device)
                step = Step(VARIANTS["sparse"], method, network, options.batch, device)
                print(f"{granularity}, M = {draws}\n\n{profile_of(step)}\n")
                continue
            rows += rows_of(network, granularity, draws, names, options)
    if options.profile:
        return
    print(table_of(rows))
    if options.json:
        options.json.write_text(
            json.dumps(
                {"threads": options.threads, "device": device_name(options.device), "rows": rows},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
