"""The certificate of searches that were made up: probabilities, verdicts, and what is refused."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from datac.documents.derivation import Derivation
from datac.documents.genotype import Provenance
from datac.documents.read import read_genotype, read_json
from datac.documents.search_result import SearchResult
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput
from datac.output_folder import mark
from searcher.certificate import certify, travel_ratio
from searcher.course import read_course
from searcher.derivation_folder import write_derivation
from searcher.derive import derive
from searcher.gumbel import Layout, set_probability
from searcher.smallest_move import softmax
from searcher.verdict import CHANCE_TRAVEL_RATIO, COLLAPSED_SHARE

CANDIDATES = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
KINDS = ("normal", "reduction")
EPOCHS, STEPS = 6, 10
SEP = ("sep_conv_3x3", "sep_conv_3x3")
SKIP = ("skip_connect", "skip_connect")


def layout_of(granularity="node"):
    return Layout(CANDIDATES, 2, granularity)


def straight(layout, operations, height=6.0):
    """(E, G, n): logits that go straight to one path on input 0 a node, whatever else is noise."""
    end = 0.3 * np.random.default_rng(3).standard_normal(layout.shape)
    for node, operation in zip(layout.node_numbers, operations, strict=True):
        column = next(c for c in layout.paths(node) if (c.operation, c.input) == (operation, 0))
        end[column.group, column.index] = height
    return np.arange(1, EPOCHS + 1)[:, None, None] / EPOCHS * end


def write_run(folder, logits, layout=None, draws=4, finished=True, method="data"):
    """A RUN as a search leaves it, as far as a derivation reads it."""
    layout = layout or layout_of()
    derived = derive(
        {kind: softmax(each[-1], layout) for kind, each in logits.items()}, layout, draws, "sum"
    )
    provenance = Provenance(method=method, draws=draws, seed=1, dataset="tiny")
    result = SearchResult(
        genotype=derived.genotype(None, provenance),
        space=SearchSpace(candidates=CANDIDATES, nodes=2),
        method=method,
        granularity=layout.granularity,
        draws=draws if method == "data" else None,
        distributions=derived.distributions,
        epochs=EPOCHS,
        steps=EPOCHS * STEPS,
        seconds=1.0,
        seed=1,
        dataset="tiny",
        dataset_digest="0" * 64,
        device="cpu",
    )
    folder.mkdir()
    (folder / "search_result.json").write_text(result.to_json())
    lines = [
        {
            "epoch": epoch + 1,
            "steps": (epoch + 1) * STEPS,
            "weight_loss": None,
            "logits": {kind: each[epoch].tolist() for kind, each in logits.items()},
        }
        for epoch in range(EPOCHS)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    mark(folder, "run", finished=finished)
    return folder


def certified(folder, logits, **how):
    return certify(read_course(write_run(folder, logits, **how)), how.pop("top", 5)).derivation


@pytest.fixture
def clear(tmp_path):
    """A run that went straight to separable convolutions."""
    logits = {kind: straight(layout_of(), SEP) for kind in KINDS}
    return write_run(tmp_path / "run", logits)


# ---- what it says ----------------------------------------------------------------------------


def test_a_search_that_went_straight_is_decided(clear):
    found = certify(read_course(clear), 1).derivation
    assert (found.verdict, found.reasons) == ("decided", ())
    for cell in found.cells.values():
        assert cell.weightless_share == 0
        for node in cell.nodes:
            assert node.travel_ratio == pytest.approx(EPOCHS)
            assert (node.chosen_since, len(node.paths)) == (2, 1) or node.chosen_since < EPOCHS
            assert node.margin == pytest.approx(node.probability - node.runner_up_probability)
    entropies = [epoch.nodes["normal"][0] for epoch in found.entropy]
    assert entropies == sorted(entropies, reverse=True)
    assert [epoch.steps for epoch in found.entropy] == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("granularity", ["node", "edge"])
def test_probabilities_are_those_of_brute_force(tmp_path, granularity):
    layout = layout_of(granularity)
    random = np.random.default_rng(5)
    logits = {kind: random.standard_normal((EPOCHS, *layout.shape)) for kind in KINDS}
    found = certified(tmp_path / "run", logits, layout=layout, draws=3)
    product = 1.0
    for kind in KINDS:
        table = softmax(logits[kind][-1], layout)
        for node in found.cells[kind].nodes:
            columns = layout.of_node(node.node)
            p = {
                (column.operation, column.input): table[column.group, column.index]
                for column in columns
            }
            total = sum(p.values())
            none = sum(q for (operation, _), q in p.items() if operation == "none") / total
            paths = {name: q / total for name, q in p.items() if name[0] != "none"}

            def child(names, none=none, paths=paths):
                of = [paths[name] for name in names]
                return set_probability(of, 3) + set_probability([none, *of], 3)

            sets = [frozenset(s) for n in (1, 2, 3) for s in itertools.combinations(paths, n)]
            chosen = frozenset((path.operation, path.input) for path in node.paths)
            second = frozenset((path.operation, path.input) for path in node.runner_up)
            best = max((s for s in sets if s != chosen), key=child)
            assert node.probability == pytest.approx(child(chosen))
            assert node.runner_up_probability == pytest.approx(child(best))
            assert second == best
            product *= node.probability
    assert found.probability == pytest.approx(product)


def test_uniform_probability_by_hand(clear):
    """Node 2 has n = 7 columns: one path alone of 4 draws, with none or not, (2^4 - 1) / 7^4."""
    node = certify(read_course(clear), 1).derivation.cells["normal"].nodes[0]
    assert node.uniform_probability == pytest.approx((2**4 - 1) / 7**4)


# ---- the verdict -----------------------------------------------------------------------------


def reasons(tmp_path, logits, **how):
    found = certified(tmp_path / "run", logits, **how)
    assert found.verdict == "not decided"
    return found.reasons


def test_a_random_walk_is_not_decided(tmp_path):
    """However far it went: the entropy alone would not show it."""
    layout = layout_of()
    random = np.random.default_rng(0)
    steps = {kind: 2 * random.standard_normal((EPOCHS, *layout.shape)) for kind in KINDS}
    found = certified(tmp_path / "run", {kind: each.cumsum(axis=0) for kind, each in steps.items()})
    ratios = [node.travel_ratio for cell in found.cells.values() for node in cell.nodes]
    assert np.mean(ratios) == pytest.approx(1, abs=0.5)
    assert found.cells["normal"].nodes[0].entropy < 0.6
    assert any("chance alone would have led them" in reason for reason in found.reasons)


def test_the_ratio_of_random_walks_passes_as_seldom_as_is_said():
    """χ² over its mean: above 2 once in 70 for 14 degrees of freedom, twenty epochs."""
    layout = Layout(("none", *"abcdefg"), 1)
    random = np.random.default_rng(1)
    walks = random.standard_normal((2000, 20, *layout.shape)).cumsum(axis=1)
    ratios = np.array([travel_ratio(2, walk, layout) for walk in walks])
    assert ratios.mean() == pytest.approx(1, abs=0.05)
    assert np.mean(ratios > CHANCE_TRAVEL_RATIO) == pytest.approx(1 / 70, abs=0.01)


def test_a_step_that_changes_the_choice_is_named(tmp_path):
    layout = layout_of()
    logits = {kind: straight(layout, SEP) for kind in KINDS}
    first, second = layout.paths(2)[1], layout.paths(2)[4]  # sep_conv_3x3 on inputs 0 and 1
    ways = logits["normal"]
    ways[:, first.group, second.index] = ways[:, first.group, first.index] - 0.01
    found = reasons(tmp_path, logits, draws=1)
    assert [reason for reason in found if "one step" in reason] == [found[0]]
    assert found[0].startswith("normal cell, node 2: one step can change the choice (sep_conv_3x3(")
    assert "by -0.010" in found[0] or "by +0.010" in found[0]


def test_a_choice_of_the_last_epoch_is_named(tmp_path):
    logits = {kind: straight(layout_of(), SEP) for kind in KINDS}
    logits["reduction"][:-1, 1] = straight(layout_of(), SKIP)[:-1, 1]
    found = reasons(tmp_path, logits)
    assert any("node 3: the choice is that of epoch 6 alone" in reason for reason in found)
    assert all(reason.startswith("reduction cell, node 3") for reason in found)


@pytest.mark.parametrize(("kind", "collapsed"), [("normal", True), ("reduction", False)])
def test_a_normal_cell_of_skips_has_collapsed(tmp_path, kind, collapsed):
    logits = {each: straight(layout_of(), SKIP if each == kind else SEP) for each in KINDS}
    found = certified(tmp_path / "run", logits)
    assert found.cells[kind].weightless_share == 1 >= COLLAPSED_SHARE
    expected = ("normal cell: 100% of its paths are skips and pools, a collapse from 75% on",)
    assert found.reasons == (expected if collapsed else ())


# ---- the genotypes ---------------------------------------------------------------------------


def test_the_first_is_the_rules_and_the_others_follow_in_order(tmp_path):
    """Also where the most probable child is another: the rule compares codes."""
    layout = layout_of()
    # M = 2: of the codes {a, b} is first, .244, before {a, none}, .222; of the children {a}, .359.
    p = {"none": 0.30, "skip_connect": 0.37, "sep_conv_3x3": 0.33}
    logits = {}
    for kind in KINDS:
        values = np.full(layout.shape, -9.0)
        for node, group in ((2, 0), (3, 1)):
            for column in layout.of_node(node):
                if column.input in (None, 0) and column.operation in p:
                    values[group, column.index] = math.log(p[column.operation])
        logits[kind] = np.broadcast_to(values, (EPOCHS, *layout.shape)).copy()
    run = write_run(tmp_path / "run", logits, draws=2)
    derivation = write_derivation(run, 40, run / "top")
    first, *others = derivation.top
    assert first.probability == pytest.approx(derivation.probability)
    assert first.differs_in == ()
    assert all(entry.differs_in for entry in others)
    ordered = [entry.probability for entry in others]
    assert ordered == pytest.approx(sorted(ordered, reverse=True), rel=1e-12)
    assert first.probability == pytest.approx(0.2442**4, rel=1e-2)
    assert ordered[0] == pytest.approx(0.3589**4, rel=1e-2)
    assert all(node.margin < 0 for cell in derivation.cells.values() for node in cell.nodes)
    assert len({entry.hash for entry in derivation.top}) == 40


def test_files_are_genotypes_that_need_nothing_else(clear, tmp_path):
    derivation = write_derivation(clear, 3, tmp_path / "out")
    names = ["derivation.json", *(entry.file for entry in derivation.top)]
    assert [entry.file for entry in derivation.top] == [
        "genotype-1.json",
        "genotype-2.json",
        "genotype-3.json",
    ]
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == sorted([".datac.json", *names])
    result = read_json(clear / "search_result.json", SearchResult)
    for entry in derivation.top:
        genotype = read_genotype(str(tmp_path / "out" / entry.file))
        assert genotype.hash == entry.hash
        assert genotype.provenance is not None
        assert genotype.provenance.seed == 1
        assert genotype.provenance.source.startswith("datac derive: ")
        changed = [
            (kind, node)
            for kind, cell in genotype.cells.items()
            for node, each in cell.numbered()
            if each != result.genotype.cells[kind].nodes[node - 2]
        ]
        assert changed == [(name.cell, name.node) for name in entry.differs_in]
    assert derivation.top[0].hash == result.genotype.hash
    assert read_json(tmp_path / "out" / "derivation.json", Derivation) == derivation


def test_a_derivation_is_replaced_as_a_whole_and_nothing_else_is(clear, tmp_path):
    write_derivation(clear, 9, clear / "top")
    write_derivation(clear, 2, clear / "top")
    assert len(list((clear / "top").glob("genotype-*.json"))) == 2
    with pytest.raises(BadInput, match="holds a run, not a derivation"):
        write_derivation(clear, 2, clear)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    with pytest.raises(BadInput, match="was not written by datac"):
        write_derivation(clear, 2, tmp_path / "mine")


def test_where_there_are_fewer_all_are_written(tmp_path):
    """Two nodes, M = 1, everything but two paths of each all but impossible."""
    logits = {kind: np.full((EPOCHS, *layout_of().shape), -800.0) for kind in KINDS}
    for each in logits.values():
        each[:, :, 1:3] = (1.0, 0.0)
    run = write_run(tmp_path / "run", logits, draws=1)
    assert len(certify(read_course(run), 1000).genotypes) == 2**4


# ---- what is refused -------------------------------------------------------------------------


def refused(folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        write_derivation(folder, 5, folder.parent / "out")
    assert not (folder.parent / "out").exists()
    return str(caught.value)


def test_no_run_and_an_unfinished_one(clear, tmp_path):
    assert "is not the folder of a search" in refused(tmp_path / "nowhere")
    mark(clear, "child", finished=True)
    assert "holds a child, not a run" in refused(clear)
    mark(clear, "run", finished=False)
    assert "unfinished run; the same datac search with --resume finishes it" in refused(clear)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "line 3: not JSON; the file is damaged"),
        (lambda text: "", "does not hold the 6 epochs of the search"),
        (lambda text: text[: text.rindex("\n", 0, -1)], "does not hold the 6 epochs of the search"),
        (lambda text: text + text, "does not hold the 6 epochs of the search"),
        (lambda text: "\0" * 20 + text, "line 1: not JSON"),
        (lambda text: "[" * 100_000 + "\n" + text, "line 1: not JSON"),
        (lambda text: "[]\n" + text, "line 1: the document must be an object"),
        (lambda text: text.replace('"logits"', '"logit"', 1), 'line 1: "logits" is missing'),
        (lambda text: text.replace("[[", "[[NaN, ", 1), "must be a finite number"),
        (lambda text: text.replace("[[", "[[null, ", 1), "must be a number"),
        (lambda text: text.replace("[[", "[[1.0, ", 1), "are not 2 lists of 10"),
        (lambda text: text.replace('"normal"', '"normel"', 1), "normel"),
    ],
)
def test_damaged_metrics(clear, damage, sentence):
    path = clear / "metrics.jsonl"
    path.write_text(damage(path.read_text()))
    said = refused(clear)
    assert sentence in said
    assert said.startswith(str(path))


def test_missing_files(clear):
    (clear / "metrics.jsonl").unlink()
    assert refused(clear) == f"{clear / 'metrics.jsonl'}: there is no such file"
    (clear / "search_result.json").unlink()
    assert "search_result.json: there is no such file" in refused(clear)


def test_files_of_two_searches(clear):
    path = clear / "metrics.jsonl"
    *lines, last = path.read_text().splitlines()
    content = json.loads(last)
    content["logits"] = {kind: (-np.array(z)).tolist() for kind, z in content["logits"].items()}
    path.write_text("\n".join([*lines, json.dumps(content)]))
    assert "lead to another genotype than that of search_result.json" in refused(clear)


def test_a_genotype_that_bounds_changed(clear):
    path = clear / "search_result.json"
    content = json.loads(path.read_text())
    bound = {"quantity": "multiply_adds", "bound": 9, "child": 8, "unbounded": 12}
    content["bounds"] = [bound | {"expected": 9, "multiplier": 1}]
    node = content["genotype"]["cells"]["normal"]["nodes"][0]
    node["paths"] = [{"operation": "skip_connect", "input": 0}]
    path.write_text(json.dumps(content))
    assert "the most probable one within its bounds, not of all" in refused(clear)


@pytest.mark.parametrize("method", ["darts", "random"])
def test_a_method_that_derives_by_another_rule(tmp_path, method):
    logits = {kind: straight(layout_of(), SEP) for kind in KINDS}
    run = write_run(tmp_path / "run", logits, method=method)
    assert f"searched by {method}; datac derive takes searches by data alone" in refused(run)
