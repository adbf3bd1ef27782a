"""How much memory a step will take, told before the first one.

The step itself is tried on a few samples, and every tensor counted from the operation that makes
it to the moment the last reference goes. Weights, their gradients and momentum do not grow with
the batch; all else, the graph above all, is as much again for each sample. So the peak of a larger
batch may lie elsewhere in the step, and every moment is looked at as it would be there. What
torch's libraries take inside an operation is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from searcher.alternate import Alternation
from searcher.augment import Batch
from searcher.child import batch_format
from searcher.methods import Drawing, Mixtures
from searcher.supernet import batch_statistics, frozen

FEW = 4
"""Samples of a trial."""

DRAWS = 3
"""Codes differ in what they run; the mean over so many counts."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bytes of the tensors that are alive, and the most there were; on any device.

    growth: how many times as much there would be of what grows with the batch. constant: of the
    bytes that are alive, those that do not.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.constant = 0
        self.peak = 0.0
        self.growth = 1.0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run, and count what came out."""
        result = func(*args, **(kwargs or {}))
        self.add(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Count the storages that were not known."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._seen:
                self._seen.add(key)
                self.now += size
                growing = self.now - self.constant
                self.peak = max(self.peak, self.constant + growing * self.growth)
                weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def peak_bytes(step: Callable[[], object], held: Iterable[Tensor]) -> int:
    """The most bytes alive during a step, with those that are held already."""
    live = LiveBytes()
    live.add(held)
    with live:
        step()
    return round(live.peak)


def _scaled_peak(
    step: Callable[[], object], constant: Sequence[Tensor], batch: Batch, batch_size: int
) -> float:
    """The most bytes alive during a step, were its few samples `batch_size`.

    constant: what is held whatever the batch, the weights among it.
    """
    live = LiveBytes()
    live.add(constant)
    live.constant, live.growth = live.now, batch_size / FEW
    live.add([batch.images])

    def keep(weight: Tensor) -> None:
        live.constant += 0 if weight.grad is None else weight.grad.nbytes

    weights = [tensor for tensor in constant if tensor.requires_grad]
    hooks = [
        weight.register_post_accumulate_grad_hook(keep)  # type: ignore[no-untyped-call]
        for weight in weights
    ]
    try:
        with live:
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return live.peak


def step_bytes(alternation: Alternation, shape: tuple[int, int, int], batch_size: int) -> int:
    """The most that one step holds, in the mean over codes drawn from the logits.

    shape: (3, H, W) of a sample. Nothing changes: weights, statistics, logits, random numbers.
    """
    setting, supernet = alternation.setting, alternation.supernet
    method, device = setting.method, alternation.fabric.device
    generator = torch.Generator().manual_seed(setting.seed)
    drawing = Drawing(alternation.logits, generator, 1.0, device)
    batch, held = _few(alternation, shape), [*supernet.parameters(), *supernet.buffers()]
    peaks = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for _ in range(DRAWS):
            steps = [partial(_weights, mixtures=method.for_weights(drawing))]
            if method.learns:
                mixtures = method.for_architecture(drawing)
                step = _architecture if setting.level == "alternating" else _weights
                steps.append(partial(step, mixtures=mixtures))
            tried = [partial(step, alternation, batch) for step in steps]
            peaks.append(max(_scaled_peak(step, held, batch, batch_size) for step in tried))
    momentum = sum(weight.nbytes for weight in supernet.parameters())
    return round(momentum + sum(peaks) / DRAWS)


def _few(alternation: Alternation, shape: tuple[int, int, int]) -> Batch:
    network, device = alternation.setting.network, alternation.fabric.device
    images = torch.zeros(FEW, *shape, device=device)
    places = shape[1:] if network.task == "segmentation" else ()
    labels = torch.zeros(FEW, *places, dtype=torch.int64, device=device)
    return Batch(images.contiguous(memory_format=batch_format(network)), labels)


def _architecture(alternation: Alternation, batch: Batch, mixtures: Mixtures) -> None:
    with frozen(alternation.supernet):
        loss = alternation.loss_of(batch, mixtures)
        weights = [mixture.weights for mixture in mixtures.values() if mixture.weights is not None]
        torch.autograd.grad(loss, weights, allow_unused=True)


def _weights(alternation: Alternation, batch: Batch, mixtures: Mixtures) -> None:
    with batch_statistics(alternation.supernet):
        alternation.fabric.backward(alternation.loss_of(batch, mixtures))
    alternation.supernet.zero_grad(set_to_none=True)
    for values in alternation.logits.values():
        values.grad = None
