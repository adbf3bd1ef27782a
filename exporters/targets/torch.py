"""Eager torch: `model.py` and its weights, run as a user would run them.

One of the two places in this package that import torch.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from compiler.lower import INPUT, OUTPUT, lower
from compiler.model_file import print_model
from compiler.quantise import Scheme
from datac.documents.build_folder import GENOTYPE, SOURCE, WEIGHTS
from datac.documents.genotype import Genotype
from datac.documents.precision import Precision
from datac.documents.read import read_json
from datac.errors import BadInput
from exporters.targets.packages import why_not_importable
from exporters.targets.target import (
    Array,
    Arrays,
    BuildOptions,
    Engine,
    Missing,
    Runner,
    has_only,
    require,
)


class Torch:
    """The engine is the build's own `model.py` with `weights.safetensors`."""

    name = "torch"
    typed: frozenset[Precision] = frozenset()
    int8: Scheme | None = None
    embeds = False
    control: Precision = "f32"

    def missing_precision(self, precision: Precision) -> Missing | None:
        """Eager torch is the network as it was trained."""
        return has_only("torch", ("f32",), precision, "it runs the network as it was trained")

    def missing(self) -> Missing | None:
        """The package."""
        wrong = why_not_importable("torch", "Tensor")
        if wrong is None:
            return None
        return Missing(
            f"torch {wrong}",
            "pip install 'datac[search]', then run: datac compile BUILD --target torch",
        )

    def missing_to_run(self) -> Missing | None:
        """On the CPU nothing more."""
        return self.missing()

    def missing_cuda(self) -> Missing | None:
        """A GPU that torch can use."""
        import torch

        if torch.cuda.is_available():
            return None
        return Missing(
            "torch sees no CUDA device here",
            "use --device cpu, or a machine with an NVIDIA GPU",
        )

    def build(self, model: Path, options: BuildOptions, folder: Path) -> Engine:
        """Copy what the build holds; eager torch takes any size."""
        require(self.missing())
        import torch

        for name in (SOURCE, WEIGHTS, GENOTYPE):
            shutil.copyfile(model.parent / name, folder / name)
        return Engine(WEIGHTS, {"torch": torch.__version__}, options.device, {"dynamic": True})

    def load(self, folder: Path, engine: Engine, options: BuildOptions) -> Runner:
        """Run `model.py`, if it is to the letter what datac writes for its genotype."""
        require(self.missing_to_run())
        if options.device == "cuda":
            require(self.missing_cuda())
        return TorchRunner(_own_source(folder), folder / engine.file, options)


class TorchRunner:
    """`model.Network` in inference mode."""

    def __init__(self, source: str, weights: Path, options: BuildOptions) -> None:
        import torch

        self.device: str = options.device
        self.threads: int | None = options.threads or torch.get_num_threads()
        self._network: Any = _execute(source).load(weights).to(options.device)

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """The logits."""
        import torch

        with torch.inference_mode(), _threads(self.threads):
            result = self._network(torch.from_numpy(inputs[INPUT]).to(self.device))
        array: Array = result.cpu().numpy()
        return {OUTPUT: array}

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """Wall time on a CPU, events on a GPU."""
        import torch

        with torch.inference_mode(), _threads(self.threads):
            if self.device == "cuda":
                return self._time_on_gpu(torch.from_numpy(inputs[INPUT]))
            x = torch.from_numpy(inputs[INPUT])
            start = time.perf_counter_ns()
            self._network(x)
            return (time.perf_counter_ns() - start) / 1e6, None

    def _time_on_gpu(self, x: Any) -> tuple[float, float]:
        import torch

        event: Any = torch.cuda.Event
        marks = [event(enable_timing=True) for _ in range(4)]
        marks[0].record()
        on_device = x.to(self.device)
        marks[1].record()
        result = self._network(on_device)
        marks[2].record()
        result.cpu()
        marks[3].record()
        torch.cuda.synchronize()
        there, compute, back = (marks[i].elapsed_time(marks[i + 1]) for i in range(3))
        return compute, there + back

    def __enter__(self) -> TorchRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._network = None


class _threads:  # noqa: N801 — used like a function
    """Torch's thread count, for the length of a block."""

    def __init__(self, count: int | None) -> None:
        self._count = count

    def __enter__(self) -> None:
        import torch

        self._before = torch.get_num_threads()
        if self._count and self._count != self._before:
            torch.set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        import torch

        if torch.get_num_threads() != self._before:
            torch.set_num_threads(self._before)


def _own_source(folder: Path) -> str:
    """The text of `model.py`, written anew from its genotype; BadInput if the file differs.

    The text is what runs, not the file: that could change in between, or have a `__pycache__`.
    """
    genotype = read_json(folder / GENOTYPE, Genotype)
    if genotype.network is None:
        raise BadInput(f"{folder / GENOTYPE} names no network; compile again")
    expected = print_model(lower(genotype, genotype.network), genotype, genotype.network)
    path = folder / SOURCE
    if not path.is_file() or path.read_bytes() != expected.encode():
        raise BadInput(
            f"{folder / SOURCE} is not what this datac writes for its genotype and is not run; "
            "compile again"
        )
    return expected


def _execute(source: str) -> ModuleType:
    module = ModuleType("datac_model")
    exec(compile(source, SOURCE, "exec"), module.__dict__)
    return module
