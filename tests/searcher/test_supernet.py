"""The supernet against the compiler's child, against the formula of its gradient, and its rules."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compiler.candidates import SEARCH_SPACE
from compiler.lower import lower
from compiler.torch_module import Build, GraphModule, load_weights, stock_module
from datac.documents.genotype import Cell, Genotype, Node, Path
from datac.documents.network import Network
from searcher.fast_modules import fast_module
from searcher.gumbel import Layout, aggregate, draw, ensemble, probabilities
from searcher.inherit import inherit
from searcher.supernet import (
    FixedCode,
    Mixture,
    Supernet,
    _Values,
    batch_statistics,
    code_of,
)

KINDS = ("normal", "reduction")
LAYOUT = Layout(SEARCH_SPACE, 2)
CIFAR = Network(skeleton="cifar", channels=4, cells=3, classes=3, input=(3, 12, 12))
SEGMENTATION = Network(
    skeleton="segmentation",
    channels=4,
    cells=3,
    classes=3,
    input=(3, 32, 32),
    output_stride=16,
    head_channels=4,
)


pytestmark = pytest.mark.usefixtures("one_thread")


def supernet_of(
    network: Network, aggregation: str = "sum", layout: Layout = LAYOUT, build: Build = fast_module
) -> Supernet:
    """In float64, every weight and running statistic random."""
    torch.manual_seed(3)
    supernet = Supernet(network, layout, aggregation, build).double()
    for norm in supernet.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return supernet


def random_genotype(seed: int, aggregation: str = "sum", operations=LAYOUT.operations) -> Genotype:
    """Nodes of one to four paths, in the order in which a derivation lists them."""
    random = np.random.default_rng(seed)

    def node(number: int) -> Node:
        paths = [p for p in LAYOUT.paths(number) if p.operation in operations]
        chosen = sorted(random.choice(len(paths), random.integers(1, 5), replace=False))
        return Node(
            paths=tuple(Path(operation=paths[i].operation, input=paths[i].input) for i in chosen)
        )

    cells = {kind: Cell(nodes=(node(2), node(3)), output=(2, 3)) for kind in KINDS}
    return Genotype(cells=cells, aggregation=aggregation)


def codes_of(genotype: Genotype) -> dict[str, Tensor]:
    return {kind: code_of(cell, LAYOUT) for kind, cell in genotype.cells.items()}


def search_form_child(supernet: Supernet, genotype: Genotype, network: Network) -> GraphModule:
    """The compiler's child, the weights copied by a rule written here a second time."""
    kinds = {0: "normal", 1: "reduction", 2: "reduction"}  # of the three cells
    state = supernet.state_dict()

    def source(name: str) -> str:
        name = re.sub(r"^(cell\d)\.preprocess", r"\1.preprocess.preprocess", name)
        found = re.match(r"cell(\d)\.node(\d)\.path(\d)\.(.*)", name)
        if not found:
            return name
        cell, node, path, rest = int(found[1]), int(found[2]), int(found[3]), found[4]
        chosen = genotype.cells[kinds[cell]].nodes[node - 2].paths[path]
        return f"cell{cell}.node{node}.input{chosen.input}.{chosen.operation}.{rest}"

    graph = lower(genotype, network, form="search")
    child = GraphModule(graph).double()
    load_weights(child, {n: state[source(n)].numpy() for n in graph.weight_specs()}, "supernet")
    return child


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    network=st.sampled_from([CIFAR, SEGMENTATION]),
    stride=st.sampled_from([8, 16, 32]),
    aggregation=st.sampled_from(["sum", "mean"]),
    size=st.sampled_from([(12, 12), (13, 11), (32, 40), (33, 39)]),
)
def test_a_supernet_restricted_to_one_code_is_the_search_form_child(
    seed: int, network: Network, stride: int, aggregation: str, size: tuple[int, int]
) -> None:
    if network is SEGMENTATION:
        network = network.model_copy(update={"output_stride": stride})
    genotype = random_genotype(seed, aggregation)
    supernet = supernet_of(network, aggregation).eval()
    stock = supernet_of(network, aggregation, build=stock_module).eval()
    child = search_form_child(supernet, genotype, network).eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    mixtures = {kind: Mixture(code) for kind, code in codes_of(genotype).items()}
    with torch.inference_mode():
        expected = child(x)
        assert torch.equal(stock(x, mixtures), expected)
        torch.testing.assert_close(supernet(x, mixtures), expected, rtol=1e-12, atol=1e-12)


def test_an_architecture_step_computes_what_a_weight_step_does() -> None:
    genotype = random_genotype(5, "mean")
    supernet = supernet_of(CIFAR, "mean").train()
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    plain = {kind: Mixture(code) for kind, code in codes_of(genotype).items()}
    weighted = {
        kind: Mixture(code, aggregate(code.double(), LAYOUT, "mean").requires_grad_())
        for kind, code in codes_of(genotype).items()
    }
    with batch_statistics(supernet):
        first, second = supernet(x, plain), supernet(x, weighted)
    assert torch.equal(first, second)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (first, second)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_the_gradient_of_a_weight_is_that_of_the_dense_sum(aggregation: str) -> None:
    """dL/dw_k = <dL/do, o_k(x)>, for paths that run and for those that do not."""
    supernet = supernet_of(CIFAR, aggregation).eval()
    node = supernet.cells[0].nodes[3]
    genotype = random_genotype(9)
    inputs = [torch.randn(2, 4, 7, 5, dtype=torch.float64) for _ in range(3)]
    values = _Values((inputs[0], inputs[1]))
    values.by_number[2] = inputs[2]
    weights = aggregate(codes_of(genotype)["normal"].double(), LAYOUT, aggregation)
    weights.requires_grad_()
    job = supernet._jobs(Mixture(codes_of(genotype)["normal"], weights))[3]
    direction = torch.randn(2, 4, 7, 5, dtype=torch.float64)
    (node(values, job) * direction).sum().backward()
    for place, path in enumerate(LAYOUT.paths(3)):
        output = node._run(place, values)
        expected = float((output * direction).sum().detach())
        assert float(weights.grad[path.group, path.index]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_every_logit_gets_a_gradient(granularity: str) -> None:
    layout = Layout(SEARCH_SPACE, 2, granularity)
    supernet = supernet_of(CIFAR, "mean", layout).train()
    generator = torch.Generator().manual_seed(1)
    logits = {kind: torch.zeros(layout.shape, requires_grad=True) for kind in KINDS}
    x = torch.randn(4, 3, 12, 12, dtype=torch.float64)
    mixtures = {}
    for kind, values in logits.items():
        codes = draw(probabilities(values, layout.mask), 4, generator)
        weights = aggregate(ensemble(values, layout.mask, codes, 2.0), layout, "mean")
        mixtures[kind] = Mixture(codes.selected, weights)
    with batch_statistics(supernet):
        loss = nn.functional.cross_entropy(supernet(x, mixtures), torch.tensor([0, 1, 2, 0]))
    for gradient in torch.autograd.grad(loss, list(logits.values())):
        assert (gradient[layout.mask] != 0).all()
        assert (gradient[~layout.mask] == 0).all()


def test_only_selected_paths_get_a_gradient_and_move_their_statistics() -> None:
    genotype = random_genotype(2)
    supernet = supernet_of(CIFAR).train()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    mixtures = {kind: Mixture(code) for kind, code in codes_of(genotype).items()}
    supernet(x, mixtures).square().sum().backward()
    kinds = dict(enumerate(("normal", "reduction", "reduction")))
    chosen = {
        f"cell{cell}.node{number}.input{path.input}.{path.operation}."
        for cell, kind in kinds.items()
        for number, node in genotype.cells[kind].numbered()
        for path in node.paths
    }

    def runs(name: str) -> bool:
        return ".input" not in name or any(name.startswith(prefix) for prefix in chosen)

    for name, parameter in supernet.named_parameters():
        assert (parameter.grad is not None) == runs(name)
    for name, tensor in supernet.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert int(tensor - before[name]) == int(runs(name))


def test_batch_statistics_leave_the_running_ones_alone() -> None:
    genotype = random_genotype(2)
    supernet = supernet_of(SEGMENTATION).eval()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    measured = FixedCode(supernet, codes_of(genotype))(x)
    assert all(torch.equal(t, before[name]) for name, t in supernet.state_dict().items())
    assert not any(module.training for module in supernet.modules())
    supernet.train()
    trained = supernet(x, {k: Mixture(code) for k, code in codes_of(genotype).items()})
    assert not torch.equal(measured, trained)  # dropout of the head
    assert all(norm.track_running_stats for norm in supernet.modules() if hasattr(norm, "eps"))


@pytest.mark.parametrize("size", [(12, 12), (13, 11)])
def test_a_code_of_none_alone_is_finite(size: tuple[int, int]) -> None:
    supernet = supernet_of(CIFAR, "mean").train()
    nothing = torch.zeros(LAYOUT.shape, dtype=torch.bool)
    weights = {kind: torch.zeros(LAYOUT.shape).double().requires_grad_() for kind in KINDS}
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with batch_statistics(supernet):
        y = supernet(x, {kind: Mixture(nothing, weights[kind]) for kind in KINDS})
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(value.grad.isfinite().all() for value in weights.values() if value.grad is not None)


# ---------------------------------------------------------------- inherit

WITHOUT_POOLS = tuple(name for name in LAYOUT.operations if "pool" not in name)


@pytest.mark.parametrize("network", [CIFAR, SEGMENTATION], ids=["cifar", "segmentation"])
@pytest.mark.parametrize("seed", range(3))
def test_a_child_inherits_what_the_supernet_computes(network: Network, seed: int) -> None:
    """Without pools, whose batch norms a child does not have, both compute the same."""
    genotype = random_genotype(seed, operations=WITHOUT_POOLS)
    supernet = supernet_of(network).eval()
    weights, _ = inherit(supernet.state_dict(), genotype, network)
    child = GraphModule(lower(genotype, network)).double().eval()
    child.load_state_dict(weights)
    x = torch.randn(2, 3, 33, 35, dtype=torch.float64)
    mixtures = {kind: Mixture(code) for kind, code in codes_of(genotype).items()}
    with torch.inference_mode():
        torch.testing.assert_close(supernet(x, mixtures), child(x), rtol=1e-12, atol=1e-12)


def test_what_has_no_counterpart_is_listed() -> None:
    paths = (Path(operation="max_pool_3x3", input=0), Path(operation="sep_conv_3x3", input=1))
    node = Node(paths=paths)
    cell = Cell(nodes=(node, node), output=(2, 3))
    genotype = Genotype(cells={"normal": cell, "reduction": cell})
    state = supernet_of(CIFAR).state_dict()
    weights, dropped = inherit(state, genotype, CIFAR)
    assert "cell0.node2.input0.max_pool_3x3.norm.running_mean" in dropped
    assert "cell0.node2.input1.sep_conv_5x5.depthwise0.weight" in dropped
    assert not any(name.startswith(("stem", "head")) for name in dropped)
    affine = [name for name in weights if name not in lower_search_names(genotype)]
    assert affine
    for name in affine:
        assert (weights[name] == (1 if name.endswith("weight") else 0)).all()
    assert len(weights) - len(affine) + len(dropped) == len(state)


def lower_search_names(genotype: Genotype) -> set[str]:
    return set(lower(genotype, CIFAR, form="search").weight_specs())


def test_a_path_that_stands_twice_inherits_twice() -> None:
    twice = Node(paths=(Path(operation="dil_conv_3x3", input=1),) * 2)
    cell = Cell(nodes=(twice, twice), output=(2, 3))
    genotype = Genotype(cells={"normal": cell, "reduction": cell})
    state = supernet_of(CIFAR).state_dict()
    weights, _ = inherit(state, genotype, CIFAR)
    source = state["cell1.node3.input1.dil_conv_3x3.depthwise0.weight"]
    for path in ("path0", "path1"):
        assert torch.equal(weights[f"cell1.node3.{path}.depthwise0.weight"], source)


@pytest.mark.parametrize("change", [{"channels": 6}, {"cells": 4}, {"classes": 4}])
def test_another_network_is_refused(change: dict[str, int]) -> None:
    from datac.errors import BadInput

    state = supernet_of(CIFAR).state_dict()
    with pytest.raises(BadInput, match="give the child the network that was searched"):
        inherit(state, random_genotype(0), CIFAR.model_copy(update=change))
