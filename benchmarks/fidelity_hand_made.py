"""A net made by hand, trained by the recipe of the children: Fast-SCNN, from pytorchcv (MIT).

    pip install --no-deps pytorchcv    (it names torchvision, and imports it nowhere in this net)

Fast-SCNN (Poudel, Liwicki, Cipolla, BMVC 2019) has one width, so the common cost of the children is
chosen to be its own. As in a child, an auxiliary head is trained beside it by the weight of the
recipe, and left behind.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from fidelity_latency import latencies_ms, published_model
from fidelity_record import Trained
from fidelity_sizes import Study
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from compiler.lower import INPUT
from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import prepared_network
from datac.documents.train_result import Score
from datac.errors import BadInput, PlatformMissing
from searcher.augment import Batch
from searcher.child import batches_of, laid_out, optimiser_of
from searcher.device import fabric_on
from searcher.epochs import EpochRun
from searcher.evaluate import evaluate, loss_for
from searcher.train_record import TrainRecord

if TYPE_CHECKING:
    from fidelity_run import Task
    from lightning.fabric import Fabric

WEIGHTS = "weights.pt"


class FastScnn(nn.Module):
    """(N, 3, H, W) → (N, classes, H, W); while training, the auxiliary head's logits, too."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        try:
            from pytorchcv.models.fastscnn import FastSCNN
        except ImportError as error:
            raise PlatformMissing(
                f"Fast-SCNN: {error}; pip install --no-deps pytorchcv, or leave its --row out"
            ) from error
        self.net = FastSCNN(aux=True, fixed_size=False, num_classes=classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """See the class."""
        logits, auxiliary = self.net(x)
        return (logits, auxiliary) if self.training else logits


def train_hand_made(task: Task, study: Study, dataset: Dataset) -> Trained:
    """Train it and measure it, or what is left of that."""
    from fidelity_run import how_to_begin

    folder = task.folder / "child"
    run = HandMade(study, dataset, task.name.seed, fabric_on(task.device), folder)
    run.begin(**how_to_begin(folder))
    run.optimise(task.device, quiet=False)
    assert run.best is not None
    assert run.last is not None
    network = run.network
    plain = FastScnn(network.classes)
    plain.load_state_dict(run.module.state_dict())
    reference = published_model(study.child_on(dataset))
    own, other = latencies_ms(_exported(plain, network.input), reference, network.input)
    return Trained(
        parameters=sum(p.numel() for n, p in plain.named_parameters() if "aux_head" not in n),
        multiply_adds=_multiply_adds(plain, network.input),
        metric="miou",
        best=run.best,
        last=run.last,
        epochs=run.epoch,
        seconds=run.seconds,
        latency_ms=own,
        reference_ms=other,
    )


@dataclass
class _Tally:
    loss: float = 0.0
    seconds: float = 0.0


class HandMade(EpochRun[Batch]):
    """Its training: batches, optimiser, rates, clipping and loss are those of a child."""

    kind, schema, doing = "child", "datac.fidelity_checkpoint/1", "training"

    def __init__(
        self, study: Study, dataset: Dataset, seed: int, fabric: Fabric, out: Path
    ) -> None:
        self.recipe, self.seed, self.dataset = study.training, seed, dataset
        self.network = network = prepared_network(study.child_on(dataset), dataset)
        self.training = batches_of(dataset, network, self.recipe, seed, training=True)
        super().__init__(
            fabric, out, epochs=self.recipe.epochs, steps_of_an_epoch=len(self.training)
        )
        self.validation = batches_of(dataset, network, self.recipe, seed, training=False)
        torch.manual_seed(seed)
        net = laid_out(FastScnn(network.classes), network)
        self.module, self.optimiser = fabric.setup(net, optimiser_of(net, self.recipe))
        self.loss = loss_for(network.task, label_smoothing=self.recipe.label_smoothing)
        self.tally = _Tally()
        self.best: Score | None = None
        self.last: Score | None = None

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one."""
        recipe = {f"recipe {k}": str(v) for k, v in asdict(self.recipe).items() if k != "source"}
        network = self.network.model_dump_json()
        digest = self.dataset.digest
        return {"seed": self.seed, "data digest": digest, "network": network, **recipe}

    def describe(self) -> str:
        """What it does, for the first line."""
        return f"training Fast-SCNN: {self.epochs} epochs of {len(self.training)} steps"

    def batches(self) -> Iterator[Batch]:
        """Those of the epoch that stands at `self.epoch`, from its beginning."""
        return self.training.epoch(self.epoch)

    def take(self, batch: Batch) -> None:
        """One step of the optimiser."""
        begun = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.steps)
        batch = Batch(self.fabric.to_device(batch.images), self.fabric.to_device(batch.labels))
        logits, auxiliary = self.module(batch.images)
        loss = self.loss(logits, batch.labels)
        loss = loss + self.recipe.auxiliary * self.loss(auxiliary, batch.labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise BadInput(f"the loss is no longer finite at step {self.step + 1}")
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(
            self.module, self.optimiser, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
        )
        self.optimiser.step()
        self.tally.loss += value
        self.tally.seconds += time.monotonic() - begun

    def end_epoch(self) -> TrainRecord:
        """Validate, and begin a new tally."""
        begun = time.monotonic()
        found = evaluate(self.module, self.validation, self.network.classes, self.network.task)
        self.epoch += 1
        self.last = Score(
            epoch=self.epoch, loss=found.loss, accuracy=found.accuracy, miou=found.miou
        )
        improved = self.best is None or self.last.rank > self.best.rank
        self.best = self.last if improved else self.best
        self.tally.seconds += time.monotonic() - begun
        self.seconds += self.tally.seconds
        record = TrainRecord(
            step=self.step,
            seconds=self.tally.seconds,
            loss=self.tally.loss / len(self.training),
            rate=self.recipe.rate_at(self.step - 1, self.steps),
            score=self.last,
            best=improved,
        )
        self.tally = _Tally()
        return record

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "tally": asdict(self.tally),
            "best": None if self.best is None else self.best.model_dump(),
            "last": None if self.last is None else self.last.model_dump(),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.tally = _Tally(**state["tally"])
        self.best, self.last = (
            None if state[x] is None else Score(**state[x]) for x in ("best", "last")
        )
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])


def _multiply_adds(net: nn.Module, shape: tuple[int, int, int]) -> int:
    """Of one image, as torch counts them; without the auxiliary head, which `eval` still runs."""
    net.net.aux = False
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net.net.eval()(torch.zeros(1, *shape))
    net.net.aux = True
    return counter.get_total_flops() // 2


def _exported(net: nn.Module, shape: tuple[int, int, int]) -> onnx.ModelProto:
    """At a fixed size, without the auxiliary head."""
    net.net.aux = False
    image = (torch.zeros(1, *shape),)
    program = torch.onnx.export(
        net.net.eval(), image, dynamo=True, input_names=[INPUT], verbose=False
    )
    net.net.aux = True
    assert program is not None
    return program.model_proto
