"""The processes that share one run: what they add up, agree on, and leave to the first of them.

Every process draws the same codes from the same seed and makes the same moves, each on its share
of every batch. So only gradients and a loss travel, and all hold the same weights and logits after
every step. No DistributedDataParallel: most weights have no gradient in a step, the same ones in
every process, so nobody has to look for them.

Of a process alone, everything here is the identity.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from datac.errors import DatacError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

PATIENCE_S = 10
"""Between the failures of processes that fail alike: what they read may come slowly to some."""

LOST = (
    "another process of this run has ended or hangs; the same command with --resume goes on from "
    "the last checkpoint"
)


class Processes:
    """Thin over the process group that Fabric made. rank: from 0. size: how many there are.

    All methods but `vary` must be called by every process, in the same order. Where one of the
    others is lost they raise a KeyboardInterrupt that says so.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.size = fabric.global_rank, fabric.world_size

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files and talks."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each by its mean over the processes: one exchange for a device, not one each.

        The result is the same to the last bit everywhere, since each element is added up in one
        place and handed round.
        """
        if self.size == 1:
            return
        on: dict[torch.device, list[Tensor]] = {}
        for tensor in tensors:
            on.setdefault(tensor.device, []).append(tensor.detach())
        for each in on.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in each])
            _reduce(flat, distributed.ReduceOp.SUM)
            flat /= self.size
            parts = torch.split(flat, [tensor.numel() for tensor in each])
            for tensor, part in zip(each, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """Whether it is up in one of them."""
        return flag if self.size == 1 else bool(_largest(torch.tensor([int(flag)])))

    def agreed(self, make: Callable[[], T]) -> T:
        """What `make` makes here; where it fails in one process, all raise what that one raised.

        Only of what a user can mend. `make` must not itself wait for the others.
        """
        if self.size == 1:
            return make()
        error: DatacError | OSError | None = None
        try:
            made = make()
        except (DatacError, OSError) as raised:
            error = raised
        if self.any(error is not None):
            raise self._first(error) from error
        return made

    def by_first(self, make: Callable[[], T]) -> T | None:
        """What `make` makes in the process that writes, None in the others, which wait for it."""
        return self.agreed(lambda: make() if self.writes else None)

    def check_same(self, tensors: Iterable[Tensor], when: str) -> None:
        """DatacError unless every process holds these very bits, as a sum over each tells."""
        if self.size == 1:
            return
        sums = torch.tensor(
            [int(each.detach().double().view(torch.int64).sum()) for each in tensors]
        )
        # ~x falls as x rises, so one exchange finds the largest and the smallest.
        largest, smallest = _largest(torch.stack([sums, ~sums]))
        if not torch.equal(largest, ~smallest):
            raise DatacError(
                f"{when} the processes no longer hold the same weights and logits, as they must; "
                "give --resume to go on from the checkpoint before, and report it to us"
            )

    def vary(self, seed: int, step: int) -> None:
        """Random numbers of its own for the dropout of one step, from (seed, rank, step).

        So a checkpoint need not hold them. The first process goes on with those that it has, as a
        process alone does.
        """
        if self.rank:
            sequence = np.random.SeedSequence((seed, self.rank, step))
            torch.manual_seed(int(sequence.generate_state(1)[0]))

    def _first(self, error: Exception | None) -> Exception:
        """Of the errors that the processes have, that of the lowest rank."""
        errors: list[Exception | None] = [None] * self.size
        with _nobody_lost():
            distributed.all_gather_object(errors, error)
        return next(each for each in errors if each is not None)


@contextmanager
def launched(fabric: Fabric) -> Iterator[Processes]:
    """The processes, connected while the block lasts."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)  # each process would announce itself
    try:
        fabric.launch()
    finally:
        logging.disable(level)
    processes = Processes(fabric)
    try:
        yield processes
    finally:
        if processes.size > 1:
            distributed.destroy_process_group()


def all_have_failed(size: int) -> bool:
    """Wait for `size` processes to call this; False where one of them does not within PATIENCE_S.

    They meet in the store that torchrun keeps, since they may not be connected, or no more.
    """
    meeting = f"datac/failed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        store = distributed.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=PATIENCE_S),
        )
        if store.add(f"{meeting}/count", 1) == size:
            store.set(f"{meeting}/all", "here")
        store.wait([f"{meeting}/all"])
    except (KeyError, RuntimeError):
        return False
    return True


def _largest(values: Tensor) -> Tensor:
    """The largest over the processes, element by element, in place."""
    _reduce(values, distributed.ReduceOp.MAX)
    return values


def _reduce(values: Tensor, how: distributed.ReduceOp.RedOpType) -> None:
    with _nobody_lost():
        distributed.all_reduce(values, how)


@contextmanager
def _nobody_lost() -> Iterator[None]:
    """Torch has one error for all that can befall an exchange."""
    try:
        yield
    except RuntimeError as error:
        raise KeyboardInterrupt(LOST) from error
