"""The sparse step against the dense one, every operation evaluated with a graph, in float64."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compiler.candidates import SEARCH_SPACE
from compiler.torch_module import stock_module
from datac.documents.network import Network
from searcher.gumbel import Layout, aggregate, draw, ensemble, probabilities
from searcher.supernet import Mixture, Supernet, frozen

DENSE = Path(__file__).parents[2] / "benchmarks" / "dense_supernet.py"
KINDS = ("normal", "reduction")
CIFAR = Network(skeleton="cifar", channels=4, cells=4, classes=3, input=(3, 13, 12))
SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=3,
    classes=3,
    input=(3, 31, 40),
    output_stride=16,
    head_channels=4,
)
TOLERANCE = 1e-12
"""max|difference| / max|reference| of one tensor."""


def dense_of(supernet: Supernet) -> nn.Module:
    spec = importlib.util.spec_from_file_location("dense_supernet", DENSE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DenseSupernet(supernet)


def pair(network: Network, layout: Layout, aggregation: str) -> tuple[Supernet, nn.Module]:
    """The same weights twice: the supernet, and the dense one with torch's own modules."""
    torch.manual_seed(3)
    sparse = Supernet(network, layout, aggregation).double().train()
    plain = Supernet(network, layout, aggregation, build=stock_module).double().train()
    plain.load_state_dict(sparse.state_dict())
    last = torch.channels_last if network is CIFAR else torch.contiguous_format
    return sparse.to(memory_format=last), dense_of(plain)


def sample(network: Network) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    x = torch.randn(4, *network.input, dtype=torch.float64)
    shape = (4,) if network is CIFAR else (4, *network.input[1:])
    if network is CIFAR:
        x = x.contiguous(memory_format=torch.channels_last)
    return x, torch.randint(0, 3, shape)


def assert_close(found: Tensor, expected: Tensor, name: str) -> None:
    difference = float((found - expected).abs().max())
    assert difference <= TOLERANCE * float(expected.abs().max()), name


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("granularity", ["node", "edge"])
@pytest.mark.parametrize("draws", [1, 4, 7])
@pytest.mark.parametrize("network", [CIFAR, SEGMENTATION], ids=lambda network: network.skeleton)
def test_gradients_equal_those_of_the_dense_step(network, draws, granularity, aggregation):
    layout = Layout(SEARCH_SPACE, 3, granularity)
    sparse, dense = pair(network, layout, aggregation)
    images, labels = sample(network)
    generator = torch.Generator().manual_seed(draws)
    logits = {
        kind: torch.randn(layout.shape, generator=generator, dtype=torch.float64).requires_grad_()
        for kind in KINDS
    }
    codes = {k: draw(probabilities(v, layout.mask), draws, generator) for k, v in logits.items()}
    weights = {
        kind: aggregate(ensemble(v, layout.mask, codes[kind], 2.0), layout, aggregation)
        for kind, v in logits.items()
    }
    head_seed = 11  # the dropout of the segmentation head

    torch.manual_seed(head_seed)
    parameters = dict(dense.supernet.named_parameters())
    loss = nn.functional.cross_entropy(dense(images, weights), labels)
    expected = torch.autograd.grad(
        loss, [*logits.values(), *parameters.values()], allow_unused=True, retain_graph=True
    )

    torch.manual_seed(head_seed)
    mixtures = {k: Mixture(codes[k].selected, weights[k]) for k in logits}
    with frozen(sparse):
        step = nn.functional.cross_entropy(sparse(images, mixtures), labels)
        found = torch.autograd.grad(
            step, list(logits.values()), materialize_grads=True, allow_unused=True
        )
    assert_close(step.detach(), loss.detach(), "loss")
    for kind, ours, theirs in zip(KINDS, found, expected, strict=False):
        assert_close(ours, theirs, kind)

    torch.manual_seed(head_seed)
    mixtures = {k: Mixture(codes[k].selected) for k in logits}
    nn.functional.cross_entropy(sparse(images, mixtures), labels).backward()
    for (name, ours), theirs in zip(sparse.named_parameters(), expected[2:], strict=True):
        if ours.grad is None:
            assert theirs is None or not theirs.any(), name
        else:
            assert_close(ours.grad, theirs, name)
