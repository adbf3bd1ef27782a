"""Each method against its formula: what it samples, what it computes, what gets which gradient."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compiler.candidates import SEARCH_SPACE
from compiler.lower import lower
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.errors import BadInput
from searcher.clamped import FLOOR, log_clamped
from searcher.gumbel import Layout
from searcher.method_options import MethodOptions
from searcher.methods import METHODS, Drawing, Method
from searcher.methods.random import uniform_code
from searcher.supernet import Supernet, batch_statistics, frozen

KINDS = ("normal", "reduction")
CIFAR = Network(skeleton="cifar", channels=4, cells=3, classes=3, input=(3, 12, 12))
CPU = torch.device("cpu")
LABELS = torch.tensor([0, 1, 2, 0])


pytestmark = pytest.mark.usefixtures("one_thread")


def made(name: str, *, nodes: int = 2, aggregation: str = "sum", **asked: Any) -> Method:
    return MethodOptions(name, **asked).make(SEARCH_SPACE, nodes, aggregation, CIFAR)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(method: Method, spread: float = 1.0) -> dict[str, Tensor]:
    """Float64, uneven."""
    source = generator(7)
    return {
        kind: (spread * torch.randn(method.layout.shape, generator=source, dtype=torch.float64))
        .add_(1.0 if getattr(method, "probabilities", "") == "clamp" else 0.0)
        .requires_grad_()
        for kind in KINDS
    }


def supernet_of(method: Method) -> Supernet:
    torch.manual_seed(3)
    return Supernet(CIFAR, method.layout, method.aggregation).double().train()


def images() -> Tensor:
    return torch.randn(4, 3, 12, 12, dtype=torch.float64, generator=generator(5))


def dense(supernet: Supernet, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The mixed operations written out: x_j = Σ_i Σ_k w[i, k] · o_k(x_i), every operation run."""
    stem = supernet.stem(x)
    states = [stem["state0"], stem["state1"]]
    for cell in supernet.cells:
        inputs = cell.preprocess(*states[-2:])
        values = [inputs["input0"], inputs["input1"]]
        for node in cell.nodes.values():
            total: Any = 0.0
            for path, candidate in zip(node.paths, node.candidates, strict=True):
                assert path.input is not None
                output = candidate.finish(candidate.begin(values[path.input]))
                total = total + weights[cell.plan.kind][path.group, path.index] * output
            values.append(total)
        states.append(torch.cat(values[2:], 1))
    return supernet.head(states[-1], x)  # type: ignore[no-any-return]


def meaned(weights: Tensor, layout: Layout) -> Tensor:
    """Divided by the sum of a node's paths where that is above 1."""
    result = weights.clone()
    for node in layout.node_numbers:
        total = sum(weights[path.group, path.index] for path in layout.paths(node))
        for path in layout.paths(node):
            share = weights[path.group, path.index] / torch.clamp(torch.as_tensor(total), min=1)
            result[path.group, path.index] = share
    return result


# ---------------------------------------------------------------- darts and snas: soft


def darts_shares(values: Tensor, step: int) -> Tensor:
    exponentials = values.exp()
    return exponentials / exponentials.sum(dim=1, keepdim=True)


def snas_shares(values: Tensor, step: int, temperature: float = 0.7) -> Tensor:
    """The noise as the sampler of `step` + 1 kinds leaves it: -log of exponentials."""
    source = generator()
    for _ in range(step + 1):
        exponential = torch.empty(1, *values.shape, dtype=torch.float64)
        noise = -exponential.exponential_(generator=source).log()[0]
    scores = (values.softmax(dim=1).log() + noise) / temperature
    return scores.exp() / scores.exp().sum(dim=1, keepdim=True)


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize(("name", "shares"), [("darts", darts_shares), ("snas", snas_shares)])
def test_a_soft_mixture_is_the_dense_formula(name: str, shares: Any, aggregation: str) -> None:
    """The value, the gradients of all logits, and in a weight step those of all weights."""
    method = made(name, aggregation=aggregation)
    supernet, logits, x = supernet_of(method), logits_of(method), images()
    weights = {k: shares(values, step) for step, (k, values) in enumerate(logits.items())}
    if aggregation == "mean":
        weights = {kind: meaned(values, method.layout) for kind, values in weights.items()}
    parameters = list(supernet.parameters())
    with batch_statistics(supernet):
        expected = nn.functional.cross_entropy(dense(supernet, weights, x), LABELS)
        wanted = torch.autograd.grad(expected, [*logits.values(), *parameters])
    with frozen(supernet):
        mixtures = method.for_architecture(Drawing(logits, generator(), 0.7, CPU))
        loss = nn.functional.cross_entropy(supernet(x, mixtures), LABELS)
        found = torch.autograd.grad(loss, list(logits.values()))
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, wanted[:2], rtol=1e-9, atol=1e-14)
    assert all((gradient != 0).all() for gradient in found)  # those of `none` among them
    with batch_statistics(supernet):
        mixtures = method.for_weights(Drawing(logits, generator(), 0.7, CPU))
        assert not any(mixture.weights.requires_grad for mixture in mixtures.values())
        loss = nn.functional.cross_entropy(supernet(x, mixtures), LABELS)
        moved = torch.autograd.grad(loss, parameters)
    torch.testing.assert_close(moved, wanted[2:], rtol=1e-9, atol=1e-14)


def test_the_shares_of_snas_become_one_hot_as_it_cools() -> None:
    method = made("snas")
    logits = logits_of(method)
    hot = method.for_architecture(Drawing(logits, generator(), 100.0, CPU))["normal"].weights
    cold = method.for_architecture(Drawing(logits, generator(), 0.001, CPU))["normal"].weights
    assert hot.max() < 0.2
    assert cold.max(dim=1).values.min() > 0.99
    torch.testing.assert_close(cold.sum(dim=1), torch.ones(len(cold), dtype=torch.float64))


def test_snas_samples_an_edge_as_its_softmax_says() -> None:
    """At τ → 0 a concrete sample is a one-hot draw of p."""
    method, source = made("snas", nodes=1), generator()
    logits = logits_of(method)
    total = torch.zeros(method.layout.shape, dtype=torch.float64)
    for _ in range(4000):
        weights = method.for_weights(Drawing(logits, source, 0.01, CPU))["normal"].weights
        total += nn.functional.one_hot(weights.argmax(dim=1), total.shape[1])
    torch.testing.assert_close(total / 4000, method.p(logits["normal"]).detach(), rtol=0, atol=0.03)


# ---------------------------------------------------------------- gdas


def test_gdas_runs_one_operation_an_edge_and_gives_it_alone_a_gradient() -> None:
    method = made("gdas")
    supernet, logits, x, tau = supernet_of(method), logits_of(method), images(), 2.0
    with frozen(supernet):
        mixtures = method.for_architecture(Drawing(logits, generator(), tau, CPU))
        loss = nn.functional.cross_entropy(supernet(x, mixtures), LABELS)
        found = torch.autograd.grad(loss, list(logits.values()))
    source, softened = generator(), {}
    for kind, values in logits.items():
        exponential = torch.empty(1, *values.shape, dtype=torch.float64)
        noise = -exponential.exponential_(generator=source).log()[0]
        soft = ((values.log_softmax(dim=1) + noise) / tau).softmax(dim=1)
        hard = nn.functional.one_hot(soft.argmax(dim=1), soft.shape[1])
        assert torch.equal(mixtures[kind].selected, hard.bool())
        # One-hot in value; the operation drawn alone lets a gradient through.
        softened[kind] = torch.where(hard.bool(), 1 + soft - soft.detach(), 0.0)
    with batch_statistics(supernet):
        expected = nn.functional.cross_entropy(dense(supernet, softened, x), LABELS)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(expected, list(logits.values()))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)


# ---------------------------------------------------------------- data


def test_clamped_probabilities_are_the_logits_over_their_sum() -> None:
    method = made("data", probabilities="clamp")
    values = method.initial_logits(generator())["normal"].detach()
    assert (values - 1).abs().max() < 0.01
    expected = torch.where(method.layout.mask, values, 0.0)
    expected = expected / expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(method.p(values), expected)


@pytest.mark.parametrize("value", [-5.0, 0.0, FLOOR])
def test_a_clamped_logit_comes_back_from_below(value: float) -> None:
    """Released code: p = 0 and no gradient. Here it is drawn, and can be lifted but not sunk."""
    values = torch.tensor([[value, 1.0, 2.0]], requires_grad=True)
    assert float(log_clamped(values).softmax(dim=1)[0, 0].detach()) >= FLOOR / 4
    (up,) = torch.autograd.grad(-log_clamped(values)[0, 0], values)
    (down,) = torch.autograd.grad(log_clamped(values)[0, 0], values)
    assert float(up[0, 0]) == pytest.approx(-1 / FLOOR)
    assert float(down[0, 0]) == 0


def test_clamped_logits_below_the_floor_are_finite_and_learn() -> None:
    method = made("data", probabilities="clamp")
    supernet, x = supernet_of(method), images()
    logits = {k: torch.full(method.layout.shape, -1.0).double().requires_grad_() for k in KINDS}
    with frozen(supernet):
        mixtures = method.for_architecture(Drawing(logits, generator(), 1.0, CPU))
        loss = nn.functional.cross_entropy(supernet(x, mixtures), LABELS)
        gradients = torch.autograd.grad(loss, list(logits.values()))
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert (gradient < 0).any()
        assert (gradient <= 0).all()


@pytest.mark.parametrize("probabilities", ["softmax", "clamp"])
@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_the_constraint_is_the_distance_to_the_draw(probabilities: str, granularity: str) -> None:
    method = made("data", adc=0.1, probabilities=probabilities, granularity=granularity)
    logits = logits_of(method, 0.3)
    mixtures = method.for_architecture(Drawing(logits, generator(), 1.0, CPU))
    expected: Any = 0.0
    for kind, values in logits.items():
        distance, count = 0.0, 0
        for group, columns in enumerate(method.layout.columns):
            row = values[group, : len(columns)]
            p = row.softmax(0) if probabilities == "softmax" else row.clamp(min=FLOOR)
            p, b = p / p.sum(), mixtures[kind].selected[group, : len(columns)].double()
            distance, count = distance + (p - b / b.sum()).abs().sum(), count + len(columns)
        expected = expected + 0.1 * distance / count
    found = method.regulariser(logits, mixtures)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    if probabilities == "softmax":
        gradients = torch.autograd.grad(found, list(logits.values()))
        wanted = torch.autograd.grad(expected, list(logits.values()))
        torch.testing.assert_close(gradients, wanted, rtol=1e-9, atol=1e-14)


def test_without_a_weight_there_is_no_constraint() -> None:
    method = made("data")
    logits = logits_of(method)
    mixtures = method.for_architecture(Drawing(logits, generator(), 1.0, CPU))
    assert method.regulariser(logits, mixtures) is None


# ---------------------------------------------------------------- random


def test_codes_of_a_node_are_drawn_uniformly() -> None:
    """Four paths, at most two of them: 4 + 6 codes."""
    layout = Layout(("none", "skip_connect", "sep_conv_3x3"), 1)
    source = generator()
    counts = Counter(tuple(uniform_code(layout, 2, source)[0].tolist()) for _ in range(5000))
    assert len(counts) == 10
    assert not any(code[0] for code in counts)  # `none`
    assert all(abs(count - 500) < 5 * math.sqrt(450) for count in counts.values())


def multiply_adds(genotype: Genotype, network: Network) -> int:
    return lower(genotype, network, keep_unread=True).cost().multiply_adds


def test_a_random_genotype_matches_the_multiply_adds() -> None:
    middle = multiply_adds(
        made("random").derive(made("random").initial_logits(generator(9))).genotype(), CIFAR
    )
    for seed in range(4):
        method = made("random", match_macs=middle, match_tolerance=0.02)
        logits = method.initial_logits(generator(seed))
        genotype = method.derive(logits).genotype()
        assert abs(multiply_adds(genotype, CIFAR) - middle) <= 0.02 * middle
        for cell in genotype.cells.values():
            assert all(1 <= len(node.paths) <= 4 for node in cell.nodes)


def test_multiply_adds_out_of_reach_are_refused() -> None:
    with pytest.raises(BadInput, match=r"--match-macs 7: none of \d+ genotypes .* they have \d+"):
        made("random", match_macs=7, nodes=1).initial_logits(generator())


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("name", METHODS)
def test_the_same_generator_gives_the_same(name: str) -> None:
    method = made(name)
    first, second = (method.initial_logits(generator(4)) for _ in range(2))
    other = method.initial_logits(generator(5))
    assert all(torch.equal(first[kind], second[kind]) for kind in KINDS)
    assert not all(torch.equal(first[kind], other[kind]) for kind in KINDS)
    a, b = (method.for_weights(Drawing(first, generator(6), 1.0, CPU)) for _ in range(2))
    for kind in KINDS:
        assert torch.equal(a[kind].selected, b[kind].selected)
        assert not a[kind].selected[~method.layout.mask].any()
        if a[kind].weights is not None:
            assert torch.equal(a[kind].weights, b[kind].weights)


@pytest.mark.parametrize("candidates", [("sep_conv_3x3",), ("none", "skip_connect")])
@pytest.mark.parametrize("name", METHODS)
def test_small_spaces_can_be_searched(name: str, candidates: tuple[str, ...]) -> None:
    method = MethodOptions(name).make(candidates, 1, "sum", CIFAR)
    logits = method.initial_logits(generator())
    derived = method.derive(logits)
    for kind, cell in derived.cells.items():
        assert all(node.paths for node in cell.nodes)
        for distribution in derived.distributions[kind]:
            assert distribution.none + math.fsum(distribution.paths) == pytest.approx(1)
            assert (distribution.chosen_probability is None) == (name != "data")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"name": "dart"}, '--method "dart" is unknown. Did you mean "darts"?'),
        ({"name": "darts", "draws": 4}, "-M: --method darts has no such option"),
        ({"name": "snas", "adc": 0.1}, "--adc: --method snas has no such option"),
        ({"name": "gdas", "probabilities": "clamp"}, "--probabilities: --method gdas"),
        ({"name": "data", "match_macs": 5}, "--match-macs: --method data"),
        ({"name": "darts", "granularity": "node"}, "--granularity node: --method darts has edge"),
        ({"name": "random", "granularity": "edge"}, "--granularity edge: --method random has node"),
        ({"name": "random", "level": "single"}, "--level single: --method random has no such"),
        ({"name": "random", "match_tolerance": 0.1}, "without --match-macs"),
    ],
)
def test_what_a_method_does_not_have_is_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        MethodOptions(**asked)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"draws": 0}, "-M 0: the number of draws"),
        ({"adc": -1.0}, "--adc -1"),
        ({"adc": math.nan}, "--adc nan"),
        ({"name": "random", "draws": 65}, "-M 65"),
        ({"name": "random", "match_macs": 0}, "--match-macs 0"),
        ({"name": "random", "match_macs": 9, "match_tolerance": -0.1}, "--match-tolerance -0.1"),
    ],
)
def test_values_that_mean_nothing_are_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        made(**{"name": "data", **asked})


@pytest.mark.parametrize(
    ("candidates", "nodes", "sentence"),
    [
        (("sepconv_3x3",), 4, 'unknown operation "sepconv_3x3". Did you mean "sep_conv_3x3"?'),
        (("",), 4, 'unknown operation ""'),
        (("none",), 4, "name one besides none"),
        (("skip_connect", "skip_connect"), 4, "name each only once"),
        (("skip_connect",), 0, "ask for 1 or more"),
        (("skip_connect",), 17, "--nodes 17"),
    ],
)
def test_spaces_that_cannot_be_searched_are_refused(
    candidates: tuple[str, ...], nodes: int, sentence: str
) -> None:
    with pytest.raises(BadInput) as refused:
        MethodOptions().make(candidates, nodes, "sum", CIFAR)
    assert sentence in str(refused.value)
