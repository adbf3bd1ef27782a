import base64
import io

import pytest
from PIL import Image

from compiler.candidates import SEARCH_SPACE
from datac.documents.environment import Environment
from datac.documents.genotype import Cell, Genotype, Node, Path, Provenance
from datac.documents.network import Classes, Network
from datac.documents.report import (
    Latency,
    Masks,
    Metric,
    OutputError,
    Report,
    StructureResult,
    TargetResult,
)
from datac.documents.search_result import NodeDistribution, SearchResult
from datac.documents.search_space import SearchSpace

DATA_SPACE = SearchSpace(candidates=SEARCH_SPACE)

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
# DATA's cells as on the poster (arXiv 1910.12258 and the authors' code); NASNet-A and AmoebaNet-A
# as in quark0/darts, with a path that stands twice and nodes outside the concatenation.
CELLS = {
    "data-m7 normal": (
        "sk:0 s3:0 sk:1 s3:1 | sk:0 mp:1 sk:1 s3:2 | sk:0 sk:1 ap:1 d3:3 sk:3 | sk:1 s3:2 sk:4",
        (2, 3, 4, 5),
    ),
    "data-m7 reduction": (
        "s3:0 mp:1 sk:1 | s3:0 d3:1 sk:1 d3:2 sk:2 | d3:1 sk:2 d3:2 s3:2 d3:3 sk:3"
        " | sk:0 s3:0 sk:2 sk:3",
        (2, 3, 4, 5),
    ),
    "nasnet-a normal": (
        "s5:1 s3:0 | s5:0 s3:0 | ap:1 sk:0 | ap:0 ap:0 | s3:1 sk:1",
        (2, 3, 4, 5, 6),
    ),
    "amoebanet-a reduction": (
        "ap:0 s3:1 | mp:0 s7:2 | s7:0 ap:1 | mp:0 mp:1 | c71:0 s3:5",
        (3, 4, 6),
    ),
    "one node": ("s3:1", (2,)),
    "an empty node, a dead one, one path each": ("sk:0 | | s3:3 | d5:2 | d5:2", (5,)),
}


def parse(text, output):
    nodes = [
        Node(
            paths=tuple(
                Path(operation=OPERATIONS[word.split(":")[0]], input=int(word.split(":")[1]))
                for word in node.split()
            )
        )
        for node in text.split("|")
    ]
    return Cell(nodes=tuple(nodes), output=output)


@pytest.fixture(params=CELLS)
def cell(request):
    return parse(*CELLS[request.param])


@pytest.fixture
def genotype():
    return Genotype(
        cells={kind: parse(*CELLS[f"data-m7 {kind}"]) for kind in ("normal", "reduction")},
        provenance=Provenance(method="data", draws=7, seed=2),
        network=Network(
            skeleton="segmentation",
            channels=16,
            cells=8,
            classes=2,
            input=(3, 90, 120),
            output_stride=16,
            head_channels=64,
            class_info=Classes(names=("sky", "road"), colors=((70, 130, 180), (128, 64, 128))),
        ),
    )


def latency(median, conclusive=True):
    return Latency(
        median=median,
        p90=median * 1.1,
        p99=median * 1.5,
        spread=0.02,
        conclusive=conclusive,
        rounds=5,
        calls=100,
        batch=1,
        threads=2,
        device="some CPU",
    )


def ran(target, rms, median, conclusive=True):
    return TargetResult(
        target=target,
        precision="f32",
        status="run",
        verdict="pass",
        error=OutputError(max_abs=rms * 9, rms=rms, tolerance=1.2e-5, output="logits"),
        metric=Metric(
            name="miou", value=0.4953, samples=101, agreement=0.9998, per_class={"sky": 0.75}
        ),
        latency_ms=latency(median, conclusive),
        device="CPU",
        digest="0123456789abcdef" * 4,
        size_bytes=4_400_000,
    )


def png():
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (70, 130, 180)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def report(genotype):
    picture = png()
    return Report(
        verdict="pass",
        name="data-m7",
        genotype=genotype,
        genotype_hash=genotype.hash,
        weights="child/weights.safetensors",
        parameters=3_436_428,
        multiply_adds=519_123_456,
        structure=StructureResult(verdict="pass", paths_found=34, paths_expected=34),
        targets=(
            ran("onnx", 4.4e-7, 21.4),
            ran("openvino", 9.2e-7, 14.1, conclusive=False),
            TargetResult(target="trt-rtx", precision="f32", status="built", digest="c0ffee00" * 8),
            TargetResult(
                target="trt",
                precision="f16",
                status="missing",
                reason="TensorRT is not installed; see NVIDIA's index",
            ),
            TargetResult(
                target="torch", precision="f32", status="failed", reason="the run broke at once"
            ),
        ),
        masks=(
            Masks(sample="val/1", input=picture, label=picture, predictions={"onnx f32": picture}),
        ),
        environment=Environment(
            python="3.11.9",
            platform="Linux",
            processor="some CPU",
            cores=2,
            packages={"onnx": "1.18.0"},
            date="2026-11-24",
        ),
        command="datac compile data-m7 --target onnx",
    )


@pytest.fixture
def bare_report(report, genotype):
    plain = genotype.model_copy(update={"network": None, "provenance": None})
    changes = {"targets": (), "masks": (), "genotype": plain}
    return report.model_copy(update=changes)


@pytest.fixture
def result(genotype):
    distributions = {}
    for kind, cell in genotype.cells.items():
        nodes = []
        for number, node in cell.numbered():
            weights = [3.0 if path in node.paths else 1.0 for path in DATA_SPACE.paths(number)]
            total = sum(weights) + 1
            nodes.append(
                NodeDistribution(
                    none=1 / total,
                    paths=tuple(weight / total for weight in weights),
                    chosen_probability=0.25,
                    runner_up_probability=0.125,
                )
            )
        distributions[kind] = tuple(nodes)
    return SearchResult(
        genotype=genotype,
        space=DATA_SPACE,
        method="data",
        draws=7,
        distributions=distributions,
        epochs=3,
        steps=300,
        seconds=75,
        seed=2,
        dataset="<b>shapes</b>",
        dataset_digest="ab" * 32,
        device="cpu",
        metrics={"miou": 0.5},
        options={"epochs": 3},
        versions={"torch": "2.13.0"},
    )
