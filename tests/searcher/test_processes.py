"""Two processes on the CPU (gloo), in float64, against one that takes both halves of each batch."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compiler.candidates import SEARCH_SPACE
from datac.documents.network import Network
from datac.errors import BadInput, DatacError, PlatformMissing
from datac.torchrun import ALONE, Place, own_place
from searcher.alternate import Alternation, Setting
from searcher.augment import Batch, Share
from searcher.device import fabric_on
from searcher.halves import share_of_batches
from searcher.method_options import MethodOptions
from searcher.processes import Processes, launched
from searcher.recipes import SearchRecipe, Sizes

STEPS, BATCH = 20, 8
CIFAR = Network(skeleton="cifar", channels=2, cells=3, classes=3, input=(3, 8, 8))
RECIPE = SearchRecipe(
    supernet=Sizes(2, 3),
    size=(8, 8),
    batch_size=BATCH,
    epochs=1,
    architecture_rate=0.05,
    clip_norm=0.5,
)
CASES = {
    "data": MethodOptions("data", adc=0.1),
    "data-single": MethodOptions("data", level="single"),
    "darts": MethodOptions("darts"),
}
TOLERANCE = 1e-10
"""max|difference| / max|reference| of one tensor."""


def alternation(case: str, place: Place) -> Alternation:
    options = CASES[case]
    method = options.make(SEARCH_SPACE, 2, "sum", CIFAR)
    setting = Setting(CIFAR, method, RECIPE, "sum", seed=2, steps=STEPS, level=options.level_chosen)
    return Alternation(setting, fabric_on("cpu", place=place))


def part(step: int, stream: int, share: Share) -> Batch:
    """What a process takes of a batch that all can draw."""
    generator = torch.Generator().manual_seed(2 * step + stream)
    images = torch.randn(BATCH, *CIFAR.input, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (BATCH,), generator=generator)
    return Batch(images[share.of(BATCH)], labels[share.of(BATCH)])


def state_of(made: Alternation) -> dict[str, Tensor]:
    weights = {name: weight.detach().clone() for name, weight in made.supernet.named_parameters()}
    return weights | {kind: values.detach().clone() for kind, values in made.logits.items()}


# ---------------------------------------------------------------- what each process does


def take_steps(case: str, place: Place) -> tuple[dict[str, Tensor], list[float]]:
    """Weights and logits after all steps, and the losses of the weights."""
    made, share, losses = alternation(case, place), Share(place.rank, place.size), []
    for step in range(STEPS):
        if made.setting.level == "single":
            loss, _ = made.joint_step(part(step, 0, share), step)
        else:
            made.architecture_step(part(step, 1, share), step)
            loss, _ = made.weight_step(part(step, 0, share), step)
        losses.append(float(loss))
    made.processes.check_same(made.learners().values(), "now")
    return state_of(made), losses


def agree(processes: Processes) -> dict[str, Any]:
    """What the exchanges of `Processes` give in one of them."""
    rank = processes.rank

    def refuse() -> None:
        if rank == 1:
            raise BadInput("the second process alone has a damaged image")

    def told(make: Any, error: type[Exception]) -> str:
        with pytest.raises(error) as caught:
            make()
        return str(caught.value)

    ones = [torch.full((2, 3), float(rank)), torch.tensor(2.0 * rank)]
    processes.average(ones)
    before = torch.get_rng_state()
    processes.vary(seed=0, step=3)
    return {
        "mean": [value.flatten().tolist() for value in ones],
        "any": (processes.any(rank == 1), processes.any(False)),
        "made": processes.agreed(lambda: rank),
        "refused": told(lambda: processes.agreed(refuse), BadInput),
        "by first": processes.by_first(lambda: "written"),
        "differs": told(
            lambda: processes.check_same([torch.tensor([1.0, rank])], "here"), DatacError
        ),
        "varies": not torch.equal(before, torch.get_rng_state()),
    }


def work(folder: Path) -> None:
    """What a process does that the test starts."""
    torch.set_num_threads(1)
    place = own_place()
    with launched(fabric_on("cpu", place=place)) as processes:
        result = {"agreed": agree(processes)}
        torch.set_default_dtype(torch.float64)
        result |= {case: take_steps(case, place) for case in CASES}
    torch.save(result, folder / f"{place.rank}.pt")


# ---------------------------------------------------------------- the two, and the one


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env={**shared, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture
def float64() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


def accumulate(made: Alternation, step: int) -> float:
    """One step of a single process: both halves by the same draw, each with its own statistics."""
    learn_logits = made.setting.level == "single"
    if not learn_logits:
        logit_gradients(made, step)
    method = made.setting.method
    draw = method.for_architecture if learn_logits else method.for_weights
    made.weight_optimizer.zero_grad()
    if learn_logits:
        made.architecture_optimizer.zero_grad()
    losses = []
    drawn = made.generator.get_state()
    for rank in range(2):
        made.generator.set_state(drawn)
        mixtures = draw(made._drawing(step))
        loss = made.loss_of(part(step, 0, Share(rank, 2)), mixtures)
        total = made._regularised(loss, mixtures) if learn_logits else loss
        (total / 2).backward()
        losses.append(float(loss.detach()))
    made._move_weights(step, torch.zeros(()))
    if learn_logits:
        made.architecture_optimizer.step()
    return sum(losses) / 2


def logit_gradients(made: Alternation, step: int) -> None:
    """The architecture's step, weights held."""
    made.architecture_optimizer.zero_grad()
    drawn = made.generator.get_state()
    for rank in range(2):
        made.generator.set_state(drawn)
        mixtures = made.setting.method.for_architecture(made._drawing(step))
        loss = made.loss_of(part(step, 1, Share(rank, 2)), mixtures)
        (made._regularised(loss, mixtures) / 2).backward()
    for values in made.logits.values():  # of a kind that was not read, there is none
        values.grad = torch.zeros_like(values) if values.grad is None else values.grad
    made.architecture_optimizer.step()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("float64")
def test_two_processes_move_as_one_that_accumulates(
    case: str, results: list[dict[str, Any]]
) -> None:
    made = alternation(case, ALONE)
    begun = state_of(made)
    losses = [accumulate(made, step) for step in range(STEPS)]
    expected = state_of(made)
    first, second = (result[case][0] for result in results)
    assert first.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(first[name], second[name]), name
        difference = float((first[name] - value).abs().max())
        assert difference <= TOLERANCE * float(value.abs().max()), name
    assert any(not torch.equal(begun[name], expected[name]) for name in ("normal", "reduction"))
    for result in results:
        assert result[case][1] == pytest.approx(losses, rel=TOLERANCE)


def test_what_they_agree_on(results: list[dict[str, Any]]) -> None:
    first, second = (result["agreed"] for result in results)
    assert (first.pop("made"), second.pop("made")) == (0, 1)
    assert (first.pop("by first"), second.pop("by first")) == ("written", None)
    assert (first.pop("varies"), second.pop("varies")) == (False, True)
    assert first == second
    assert first["mean"] == [[0.5] * 6, [1.0]]
    assert first["any"] == (True, False)
    assert first["refused"] == "the second process alone has a damaged image"
    assert first["differs"].startswith("here the processes no longer hold the same")


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize(("batch_size", "size"), [(7, 2), (8, 3), (8, 8), (2, 2)])
def test_a_batch_that_cannot_be_shared_is_refused(batch_size: int, size: int) -> None:
    with pytest.raises(BadInput, match=rf"--batch-size {batch_size} .* multiple of {size}"):
        share_of_batches(batch_size, Place(1, size, 1, size))


def test_shares_lie_side_by_side() -> None:
    shares = [share_of_batches(12, Place(rank, 3, rank, 3)) for rank in range(3)]
    assert [list(range(12))[share.of(12)] for share in shares] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert share_of_batches(7, ALONE).of(7) == slice(0, 7)


def test_a_process_is_alone_unless_torchrun_says_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_place() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some clusters set it by themselves
    assert own_place() == ALONE
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert own_place() == Place(rank=3, size=4, local_rank=1, local_size=2)


def test_each_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        PlatformMissing, match="2 processes need a GPU each, and this machine has 1"
    ):
        fabric_on("auto", place=replace(ALONE, size=2, local_size=2))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
