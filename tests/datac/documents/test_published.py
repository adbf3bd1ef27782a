"""The published cells against the text of their tables."""

import json
from importlib.resources import files

import pytest

from datac import published
from datac.documents.genotype import Cell, Genotype, Node, Path, genotype_warnings
from datac.errors import BadInput

OPERATIONS = {
    "s3": "sep_conv_3x3",
    "s5": "sep_conv_5x5",
    "s7": "sep_conv_7x7",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
    "mp": "max_pool_3x3",
    "ap": "avg_pool_3x3",
    "sk": "skip_connect",
    "c71": "conv_7x1_1x7",
}

# name: (normal, its output, reduction, its output), each row copied from its source:
# data-*: github.com/XinbangZhang/DATA-NAS (the poster's cells are camera_ready_4 and
#   camera_ready_7 of its history, the -repo cells Gumbel_model_M4 and _M7 at commit 29691ea)
# darts-v1, darts-v2, nasnet-a, amoebanet-a: github.com/quark0/darts, cnn/genotypes.py
# darts-top3, darts-top4: history of DATA-NAS.  snas-mild: arXiv 1812.09926.
# gdas-v1: github.com/D-X-Y/AutoDL-Projects.  pc-darts: github.com/yuhuixu1993/PC-DARTS (CIFAR-10)
ALL = (2, 3, 4, 5)
TABLE = {
    "data-m4": (
        "sk:0 s3:1 sk:1 | sk:1 sk:2 s3:2 | s3:3 sk:1 sk:2 | d3:2 sk:2 s3:4",
        ALL,
        "sk:0 mp:1 d3:1 | mp:0 d3:2 | sk:0 sk:1 s3:3 | sk:1 d3:1 s3:3 d3:4",
        ALL,
    ),
    "data-m7": (
        "sk:0 s3:0 sk:1 s3:1 | sk:0 mp:1 sk:1 s3:2 | sk:0 sk:1 ap:1 d3:3 sk:3 | sk:1 s3:2 sk:4",
        ALL,
        "s3:0 mp:1 sk:1 | s3:0 d3:1 sk:1 d3:2 sk:2 | d3:1 sk:2 d3:2 s3:2 d3:3 sk:3 "
        "| sk:0 s3:0 sk:2 sk:3",
        ALL,
    ),
    "data-m4-repo": (
        "sk:0 s3:0 s3:1 | sk:2 sk:1 s3:2 | s5:3 sk:3 | sk:0 s5:1 s3:2",
        ALL,
        "sk:1 d3:1 d5:1 | s5:0 d5:2 sk:1 | mp:0 sk:2 | d3:1 d5:1 sk:3",
        ALL,
    ),
    "data-m7-repo": (
        "sk:0 s3:0 sk:1 s3:1 | sk:0 s3:2 sk:1 | sk:0 d3:3 sk:2 | sk:1 s3:2 sk:2",
        ALL,
        "s3:0 mp:1 sk:1 | s3:0 d3:1 d3:2 | d3:1 sk:2 d3:2 s3:2 d3:3 | sk:0 s3:0",
        ALL,
    ),
    "darts-v1": (
        "s3:1 s3:0 | sk:0 s3:1 | sk:0 s3:1 | s3:0 sk:2",
        ALL,
        "mp:0 mp:1 | sk:2 mp:0 | mp:0 sk:2 | sk:2 ap:0",
        ALL,
    ),
    "darts-v2": (
        "s3:0 s3:1 | s3:0 s3:1 | s3:1 sk:0 | sk:0 d3:2",
        ALL,
        "mp:0 mp:1 | sk:2 mp:1 | mp:0 sk:2 | sk:2 mp:1",
        ALL,
    ),
    "darts-top3": (
        "sk:0 d5:0 s3:0 | sk:0 s5:0 s3:0 | sk:0 s3:0 d3:0 | sk:0 s3:0 d3:0",
        ALL,
        "mp:0 mp:1 s3:0 | mp:0 sk:2 mp:1 | sk:2 s3:2 sk:0 | sk:2 sk:0 d3:0",
        ALL,
    ),
    "darts-top4": (
        "sk:0 d5:0 s3:0 s5:0 | sk:0 s5:0 s3:0 d3:0 | sk:0 s3:0 d3:0 s5:0 | sk:0 s3:0 d3:0 d5:0",
        ALL,
        "mp:0 mp:1 s3:0 d3:0 | mp:0 sk:2 mp:1 ap:0 | sk:2 s3:2 sk:0 sk:3 | sk:2 sk:0 d3:0 sk:3",
        ALL,
    ),
    "snas-mild": (
        "s3:0 s3:1 | sk:0 d3:1 | sk:0 sk:1 | sk:0 s3:1",
        ALL,
        "mp:0 mp:1 | sk:2 mp:1 | mp:1 sk:2 | d5:2 mp:0",
        ALL,
    ),
    "gdas-v1": (
        "sk:0 sk:1 | sk:0 s5:2 | s3:3 sk:0 | s5:4 s3:3",
        ALL,
        "s5:0 s3:1 | s5:2 s5:1 | d5:2 s3:1 | s5:0 s5:1",
        ALL,
    ),
    "pc-darts": (
        "s3:1 sk:0 | s3:0 d3:1 | s5:0 s3:1 | ap:0 d3:1",
        ALL,
        "s5:1 mp:0 | s5:1 s5:2 | s3:0 s3:3 | s3:1 s3:2",
        ALL,
    ),
    "nasnet-a": (
        "s5:1 s3:0 | s5:0 s3:0 | ap:1 sk:0 | ap:0 ap:0 | s3:1 sk:1",
        (2, 3, 4, 5, 6),
        "s5:1 s7:0 | mp:1 s7:0 | ap:1 s5:0 | sk:3 ap:2 | s3:2 mp:1",
        (4, 5, 6),
    ),
    "amoebanet-a": (
        "ap:0 mp:1 | s3:0 s5:2 | s3:0 ap:3 | s3:1 sk:1 | sk:0 ap:1",
        (4, 5, 6),
        "ap:0 s3:1 | mp:0 s7:2 | s7:0 ap:1 | mp:0 mp:1 | c71:0 s3:5",
        (3, 4, 6),
    ),
}


def cell(row: str, output: tuple[int, ...]) -> Cell:
    return Cell(nodes=tuple(node(text) for text in row.split("|")), output=output)


def node(text: str) -> Node:
    pairs = [entry.split(":") for entry in text.split()]
    return Node(
        paths=tuple(Path(operation=OPERATIONS[name], input=int(source)) for name, source in pairs)
    )


@pytest.mark.parametrize("name", published.NAMES)
def test_cells_are_those_of_the_table(name: str) -> None:
    normal, normal_output, reduction, reduction_output = TABLE[name]
    assert published.load(name).cells == {
        "normal": cell(normal, normal_output),
        "reduction": cell(reduction, reduction_output),
    }


@pytest.mark.parametrize("name", published.NAMES)
def test_file_says_where_it_comes_from_and_is_as_datac_writes_it(name: str) -> None:
    genotype = published.load(name)
    assert genotype.provenance is not None
    assert genotype.provenance.source
    assert genotype.network is None
    assert genotype.aggregation == "sum"
    text = (files(published) / f"{name}.json").read_text(encoding="utf-8")
    assert text == genotype.to_json()


def test_names_and_files_are_the_same() -> None:
    stored = {
        file.name.removesuffix(".json")
        for file in files(published).iterdir()
        if file.name.endswith(".json")
    }
    assert stored == set(published.NAMES) == set(TABLE)


def test_all_differ() -> None:
    assert len({published.load(name).hash for name in published.NAMES}) == len(published.NAMES)


# Computed once by this project: whoever changes what the hash covers must see it here, because
# builds, engines and ONNX metadata carry it.
@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("data-m4", "31f7b20a3285bb427ac1113ff8f09e71015e80f3eb0d932dc7ad12a48c3820a8"),
        ("nasnet-a", "e3e32c2359ba9e1a33bb9630a5ab8c64921bda7b681bd8fe8fe0f716f0f1a166"),
    ],
)
def test_hash_stays(name: str, digest: str) -> None:
    assert published.load(name).hash == digest


def test_hash_ignores_key_order_formatting_and_provenance_but_not_path_order() -> None:
    genotype = published.load("data-m7")
    content = json.loads(genotype.to_json())
    turned = {key: content[key] for key in reversed(content)}
    turned["cells"] = {kind: content["cells"][kind] for kind in ("reduction", "normal")}
    turned.pop("provenance")
    assert Genotype.model_validate_json(json.dumps(turned)).hash == genotype.hash

    turned["cells"]["normal"]["nodes"][0]["paths"].reverse()
    assert Genotype.model_validate_json(json.dumps(turned)).hash != genotype.hash


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(BadInput, match=r"resnet: not a published cell; published are data-m4, "):
        published.load("resnet")


def test_no_published_cell_has_a_dead_node() -> None:
    assert [genotype_warnings(published.load(name)) for name in published.NAMES] == [[]] * 13
