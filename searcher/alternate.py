"""The steps of the optimisation: alternating on one mini-batch each, or both on one.

Alternating is first-order bilevel, as DATA's code does it: the architecture learns on its own half
of the training data with the weights as they are, then the weights learn on the other half. Single
level is what the paper writes: one loss, and both learn from it.

Several processes take every step together, each on its share of the batch: gradients and loss are
the mean over them, then all move alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from datac.documents.genotype import Aggregation, CellKind
from datac.documents.network import Network
from searcher.augment import Batch
from searcher.child import laid_out
from searcher.constraint import Constraint
from searcher.divergence import Watch
from searcher.evaluate import loss_for
from searcher.gumbel import temperature
from searcher.methods import Drawing, Level, Method, Mixtures
from searcher.processes import Processes
from searcher.recipes import SearchRecipe
from searcher.supernet import Mixture, Supernet, batch_statistics, frozen

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Setting:
    """What an optimisation is made of.

    steps: mini-batches in the whole search. warm_up: how many at the start have no architecture
    step; all, where no logit learns. level: None there.
    """

    network: Network
    method: Method
    recipe: SearchRecipe
    aggregation: Aggregation
    seed: int
    steps: int
    warm_up: int = 0
    level: Level | None = "alternating"

    @property
    def architecture_steps(self) -> int:
        """Mini-batches with both steps."""
        return self.steps - self.warm_up

    def temperature(self, step: int) -> float:
        """τ of the architecture step of a mini-batch."""
        ends = self.method.temperatures or self.recipe.temperature
        return temperature(step - self.warm_up, self.architecture_steps, *ends)


class Alternation:
    """Supernet, logits, both optimisers and the generator: all that a step changes.

    The logits and the generator stay on the host: what a step runs is known without waiting for
    the device. Only the end of an architecture step waits, for the gradient of the logits.
    constraint: what bounds add to that gradient; None where there are none. watch: sees every loss
    and gradient before anything moves by it.
    """

    def __init__(
        self,
        setting: Setting,
        fabric: Fabric,
        constraint: Constraint | None = None,
        watch: Watch | None = None,
    ) -> None:
        recipe = setting.recipe
        self.setting, self.fabric, self.watch = setting, fabric, watch or Watch()
        self.constraint = constraint or Constraint((), setting.method.layout, draws=1, steps=1)
        self.processes = Processes(fabric)
        torch.manual_seed(setting.seed)  # initial weights, and dropout in the head
        self.generator = torch.Generator().manual_seed(setting.seed)
        supernet = Supernet(setting.network, setting.method.layout, setting.aggregation)
        laid_out(supernet, setting.network)  # in place
        self.supernet = supernet.to(fabric.device).train()
        self.logits = setting.method.initial_logits(self.generator)
        self.loss = loss_for()
        self.weight_optimizer = torch.optim.SGD(
            self.supernet.parameters(),
            lr=recipe.weight_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.architecture_optimizer = torch.optim.Adam(
            list(self.logits.values()),
            lr=recipe.architecture_rate_for(setting.architecture_steps),
            betas=recipe.architecture_betas,
            weight_decay=recipe.architecture_decay,
        )

    def learners(self) -> dict[str, Tensor]:
        """All that moves, by name: the weights and the logits."""
        return {**dict(self.supernet.named_parameters()), **self.named_logits()}

    def named_logits(self) -> dict[str, Tensor]:
        """Those of each kind of cell, by a name for a sentence."""
        return {f"a logit of the {kind} cell": values for kind, values in self.logits.items()}

    def architecture_step(self, batch: Batch, step: int) -> Tensor:
        """Move the logits. Returns the loss, detached.

        The weights and the running statistics of the batch norms stay as they are.
        """
        mixtures = self.setting.method.for_architecture(self._drawing(step))
        logits = list(self.logits.values())
        with frozen(self.supernet):
            loss = self.loss_of(batch, mixtures)
            total = self._regularised(loss, mixtures)
            # A code of the normal cells that reads no reduction cell leaves their logits out.
            gradients = torch.autograd.grad(
                total, logits, allow_unused=True, materialize_grads=True
            )
        self.processes.average([*gradients, loss])
        self._look_at_logits(step, loss, gradients)
        pushed = self.constraint.add_to(gradients, self.logits)
        for values, gradient in zip(logits, pushed, strict=True):
            values.grad = gradient
        self._move_logits(step)
        return loss.detach()

    def weight_step(self, batch: Batch, step: int) -> tuple[Tensor, dict[CellKind, Tensor]]:
        """Move the weights of the paths that a draw selected. Returns the loss, and what ran.

        Paths that were not selected have no gradient, so neither momentum nor decay moves them.
        """
        mixtures = self.setting.method.for_weights(self._drawing(step))
        self.weight_optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(batch, mixtures)
        self.fabric.backward(loss)
        self.processes.average([*_gradients(self.supernet.parameters()), loss])
        self._move_weights(step, loss)
        return loss.detach(), {kind: mixture.selected for kind, mixture in mixtures.items()}

    def joint_step(self, batch: Batch, step: int) -> tuple[Tensor, dict[CellKind, Tensor]]:
        """Move logits and weights by one loss of one code. Returns as a weight step does.

        Running statistics move in the forward pass, with the paths that were selected. Those that
        were not run in the backward pass, and leave theirs alone.
        """
        mixtures = self.setting.method.for_architecture(self._drawing(step))
        self.weight_optimizer.zero_grad(set_to_none=True)
        for values in self.logits.values():
            values.grad = torch.zeros_like(values)
        loss = self.loss_of(batch, mixtures)
        with batch_statistics(self.supernet):
            self.fabric.backward(self._regularised(loss, mixtures))
        self.processes.average([*_gradients(self.learners().values()), loss])
        logits = list(self.logits.values())
        gradients = [cast("Tensor", values.grad) for values in logits]
        self._look_at_logits(step, loss, gradients)
        pushed = self.constraint.add_to(gradients, self.logits)
        for values, gradient in zip(logits, pushed, strict=True):
            values.grad = gradient
        self._move_weights(step, loss)
        self._move_logits(step)
        return loss.detach(), {kind: mixture.selected for kind, mixture in mixtures.items()}

    def _drawing(self, step: int) -> Drawing:
        tau = self.setting.temperature(step)
        return Drawing(self.logits, self.generator, tau, self.fabric.device)

    def _regularised(self, loss: Tensor, mixtures: Mixtures) -> Tensor:
        """With what the method adds for the logits."""
        added = self.setting.method.regulariser(self.logits, mixtures)
        return loss if added is None else loss + added.to(loss.device)

    def _look_at_logits(self, step: int, loss: Tensor, gradients: Sequence[Tensor]) -> None:
        self.watch.look(step, "logits", loss, torch.nn.utils.get_total_norm(gradients))

    def _move_logits(self, step: int) -> None:
        setting, last = self.setting, self.setting.recipe.last_architecture_rate
        if last is not None:
            first = setting.recipe.architecture_rate_for(setting.architecture_steps)
            done = step - setting.warm_up
            for group in self.architecture_optimizer.param_groups:
                group["lr"] = cosine(first, last, done, setting.architecture_steps)
        self.architecture_optimizer.step()

    def _move_weights(self, step: int, loss: Tensor) -> None:
        recipe = self.setting.recipe
        for group in self.weight_optimizer.param_groups:
            group["lr"] = cosine(
                recipe.weight_rate, recipe.last_weight_rate, step, self.setting.steps
            )
        norm = torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), recipe.clip_norm)
        self.watch.look(step, "weights", loss, norm)
        self.weight_optimizer.step()

    def loss_of(self, batch: Batch, mixtures: Mapping[CellKind, Mixture]) -> Tensor:
        """Of what the mixtures compute on a batch, ()."""
        images = batch.images.to(self.fabric.device, non_blocking=True)
        labels = batch.labels.to(self.fabric.device, non_blocking=True)
        with self.fabric.autocast():
            return self.loss(self.supernet(images, mixtures), labels)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "supernet": self.supernet.state_dict(),
            "logits": {kind: values.detach() for kind, values in self.logits.items()},
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "constraint": self.constraint.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.supernet.load_state_dict(state["supernet"])
        with torch.no_grad():
            for kind, values in self.logits.items():
                values.copy_(state["logits"][kind])
        self.weight_optimizer.load_state_dict(state["weight_optimizer"])
        self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        self.generator.set_state(state["generator"])
        self.constraint.restore(state["constraint"])


def _gradients(learners: Iterable[Tensor]) -> list[Tensor]:
    """Those that there are: every process runs the same code, so the same ones in each."""
    return [each.grad for each in learners if each.grad is not None]


def cosine(first: float, last: float, step: int, steps: int) -> float:
    """From `first` at step 0 to `last` at step `steps`."""
    return last + (first - last) * (1 + math.cos(math.pi * step / max(steps, 1))) / 2
