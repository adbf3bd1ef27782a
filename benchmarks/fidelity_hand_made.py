"""A net made by hand, trained by the recipe of the children: Fast-SCNN, from pytorchcv (MIT).

    pip install --no-deps pytorchcv    (it names torchvision, and imports it nowhere in this net)

Fast-SCNN (Poudel, Liwicki, Cipolla, BMVC 2019) has one width, so the common cost of the children is
chosen to be its own. As in a child, an auxiliary head is trained beside it by the weight of the
recipe, and left behind.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from fidelity_latency import latencies_ms, published_model
from fidelity_record import Trained
from fidelity_sizes import Study
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from compiler.lower import AUXILIARY, INPUT
from datac.datasets.dataset import Dataset
from datac.datasets.preprocess import prepared_network
from datac.errors import PlatformMissing
from searcher.device import fabric_on
from searcher.train import ModuleTraining

if TYPE_CHECKING:
    from fidelity_run import Task
    from lightning_fabric import Fabric


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

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """See the class."""
        logits, auxiliary = self.net(x)
        return {"logits": logits, AUXILIARY: auxiliary} if self.training else logits


def train_hand_made(task: Task, study: Study, dataset: Dataset) -> Trained:
    """Train it and measure it, or what is left of that."""
    from fidelity_run import how_to_begin

    folder = task.folder / "child"
    fabric = fabric_on(task.device, study.training.precision)
    run = HandMade(study, dataset, task.name.seed, fabric, folder)
    run.begin(**how_to_begin(folder))
    run.optimise(task.device, quiet=False)
    assert run.best is not None
    assert run.last is not None
    network = run.network
    plain = FastScnn(network.classes)
    plain.load_state_dict(run.module.state_dict())
    plain.eval().net.aux = False  # which `eval` alone still runs
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


class HandMade(ModuleTraining):
    """Its training: that of a child but for the module."""

    schema = "datac.fidelity_checkpoint/1"

    def __init__(
        self, study: Study, dataset: Dataset, seed: int, fabric: Fabric, out: Path
    ) -> None:
        network = prepared_network(study.child_on(dataset), dataset)
        make = partial(FastScnn, network.classes)
        super().__init__(make, dataset, network, study.training, seed, fabric, out)

    def describe(self) -> str:
        """What it does, for the first line."""
        return f"training Fast-SCNN: {self.epochs} epochs of {len(self.training)} steps"


def _multiply_adds(net: nn.Module, shape: tuple[int, int, int]) -> int:
    """Of one image, as torch counts them."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net.net(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


def _exported(net: nn.Module, shape: tuple[int, int, int]) -> onnx.ModelProto:
    """At a fixed size."""
    image = (torch.zeros(1, *shape),)
    program = torch.onnx.export(net.net, image, dynamo=True, input_names=[INPUT], verbose=False)
    assert program is not None
    return program.model_proto
