"""How much memory a step will take, told before the first one.

The step itself is tried on a few samples, and every tensor counted from the operation that makes
it to the moment the last reference goes. Beside weights and momentum all that a step holds at its
peak, the graph, is as much again for each sample. What torch's libraries take inside an operation
is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
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
"""Samples of a trial: enough for the graph to outweigh the gradients of the weights."""

DRAWS = 3
"""Codes differ in what they run; the mean over so many counts."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bytes of the tensors that are alive, and the most there were; on any device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
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
                self.peak = max(self.peak, self.now)
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
    constant = sum(tensor.nbytes for tensor in held)
    peaks = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for _ in range(DRAWS):
            steps = [partial(_weights, mixtures=method.for_weights(drawing))]
            if method.learns:
                mixtures = method.for_architecture(drawing)
                step = _architecture if setting.level == "alternating" else _weights
                steps.append(partial(step, mixtures=mixtures))
            tried = [partial(step, alternation, batch) for step in steps]
            peaks.append(max(peak_bytes(step, [*held, batch.images]) for step in tried))
    momentum = sum(weight.nbytes for weight in supernet.parameters())
    each = (sum(peaks) / DRAWS - constant) / FEW
    return round(constant + momentum + each * batch_size)


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
