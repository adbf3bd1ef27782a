"""The bytes of a step, foretold from a few samples."""

from statistics import mean

import pytest
import torch
from lightning_fabric import Fabric
from torch.profiler import ProfilerActivity, profile

from compiler.candidates import SEARCH_SPACE
from datac.documents.network import Network
from searcher.alternate import Alternation, Setting
from searcher.augment import Batch
from searcher.child import batch_format
from searcher.memory import DRAWS, peak_bytes, step_bytes
from searcher.method_options import MethodOptions
from searcher.methods import Drawing, Mixtures
from searcher.recipes import SearchRecipe, Sizes

SAMPLES = 16


def alternation_of(
    channels: int, cells: int, method: str = "data", size: tuple[int, int] = (32, 32)
) -> Alternation:
    network = Network(
        skeleton="cifar", channels=channels, cells=cells, classes=10, input=(3, *size)
    )
    recipe = SearchRecipe(Sizes(channels, cells), size=size, batch_size=SAMPLES, epochs=1)
    options = MethodOptions(method)
    made = options.make(SEARCH_SPACE, 4, "sum", network)
    setting = Setting(network, made, recipe, "sum", 0, 100, level=options.level_chosen)
    return Alternation(setting, Fabric(accelerator="cpu", devices=1))


def test_bytes_are_counted_while_they_live():
    x = torch.ones(1000)  # 4000 bytes

    def step() -> None:
        y = x + 1
        z = y.view(10, 100) * 2
        del y
        z + z.sum()

    assert peak_bytes(step, []) == 8000 + 4
    assert peak_bytes(step, [x, x.view(10, 100)]) == 4000 + 8000 + 4


def seen_by_the_profiler(alternation: Alternation, batch: Batch, step: int) -> int:
    """The most that torch's own profiler sees allocated, with what was there before."""
    learning = list(alternation.supernet.parameters())
    alternation.weight_optimizer.zero_grad()
    state = alternation.weight_optimizer.state
    held = [*learning, *alternation.supernet.buffers(), batch.images]
    held += [values["momentum_buffer"] for values in state.values() if values]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        alternation.architecture_step(batch, step)
        alternation.weight_step(batch, step)
    events = profiler.profiler.kineto_results.events()
    now = most = 0
    for event in sorted(
        (event for event in events if event.name() == "[memory]"), key=lambda e: e.start_ns()
    ):
        now += event.nbytes()
        most = max(most, now)
    return most + sum(tensor.nbytes for tensor in held)


def test_the_estimate_is_what_the_profiler_sees():
    """At the size that the project is held to: C = 16, 8 cells, batch 16."""
    alternation = alternation_of(16, 8)
    estimate = step_bytes(alternation, (3, 32, 32), SAMPLES)
    images = torch.randn(SAMPLES, 3, 32, 32)
    layout = batch_format(alternation.setting.network)
    batch = Batch(images.contiguous(memory_format=layout), torch.arange(SAMPLES) % 10)
    for step in range(3):  # momentum fills up
        alternation.weight_step(batch, step)
    seen = mean(seen_by_the_profiler(alternation, batch, step) for step in range(3, 6))
    assert estimate == pytest.approx(seen, rel=0.2)


def weight_step_bytes(alternation: Alternation, samples: int, size: tuple[int, int]) -> float:
    """The most that a weight step really holds, with momentum, over the codes of an estimate."""
    setting, supernet = alternation.setting, alternation.supernet
    generator = torch.Generator().manual_seed(setting.seed)
    drawing = Drawing(alternation.logits, generator, 1.0, alternation.fabric.device)
    images = torch.randn(samples, 3, *size).contiguous(memory_format=batch_format(setting.network))
    batch = Batch(images, torch.arange(samples) % 10)
    held, peaks = [*supernet.parameters(), *supernet.buffers(), images], []
    for _ in range(DRAWS):
        mixtures = setting.method.for_weights(drawing)
        setting.method.for_architecture(drawing)  # the estimate draws for both

        def step(mixtures: Mixtures = mixtures) -> None:
            alternation.loss_of(batch, mixtures).backward()

        peaks.append(peak_bytes(step, held))
        supernet.zero_grad(set_to_none=True)
    return mean(peaks) + sum(weight.nbytes for weight in supernet.parameters())


@pytest.mark.parametrize("samples", [16, 64])
def test_gradients_of_weights_do_not_grow_with_the_batch(samples: int):
    """With 8 x 8 pixels they outweigh the graph of the few samples tried, but not that of 64."""
    size = (8, 8)
    alternation = alternation_of(36, 5, size=size)
    estimate = step_bytes(alternation, (3, *size), samples)
    assert estimate == pytest.approx(weight_step_bytes(alternation, samples, size), rel=0.03)


@pytest.mark.parametrize("method", ["data", "random"])
def test_an_estimate_changes_nothing(method: str):
    alternation = alternation_of(8, 3, method)
    alternation.logits["normal"].grad = None
    before = {name: value.clone() for name, value in alternation.supernet.state_dict().items()}
    random = torch.get_rng_state()
    assert step_bytes(alternation, (3, 32, 32), 8) < step_bytes(alternation, (3, 32, 32), 16)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(weight.grad is None for weight in alternation.supernet.parameters())
    assert all(values.grad is None for values in alternation.logits.values())
    for name, value in alternation.supernet.state_dict().items():
        assert torch.equal(value, before[name]), name
