"""Every reader of bytes from outside: whatever it is given, it answers or says one sentence.

Nothing but `BadInput` escapes, nothing is opened or run, and memory stays bounded.
"""

import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).parent))

from damage import cut_and_spliced, other_json, other_onnx

from compiler.lower import lower
from compiler.weights import read_weights_file
from datac.datasets.pixels import read_image
from datac.documents.genotype import Genotype
from datac.documents.network import DEFAULTS, Network
from datac.documents.read import FORMATS, read_genotype, read_json
from datac.errors import BadInput
from datac.published import NAMES, load
from exporters.canonical import canonical_graph, canonical_onnx
from exporters.onnx_file import read_onnx
from exporters.path_reader import read_paths
from exporters.polygraphy_json import load_inputs, load_outputs, save_inputs, save_outputs
from exporters.reference import Case, Reference, load_reference
from exporters.structure import judge_structure

settings.load_profile("fuzz")

GOLDEN = Path(__file__).parents[1] / "golden" / "documents"
MOST_BYTES = 256 * 2**20


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """Nothing is allocated on the word of a declared size."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_BYTES


def refuses_or_reads(read: Callable[[], Any]) -> None:
    sentence = "read"
    try:
        read()
    except BadInput as error:
        sentence = str(error)
    assert sentence
    assert "\n" not in sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def given_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# ---- documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", FORMATS)
@given(data=st.data())
def test_documents(schema: str, data: st.DataObject) -> None:
    sample = (GOLDEN / f"{schema.removeprefix('datac.').replace('/', '-')}.json").read_bytes()
    content = data.draw(st.one_of(cut_and_spliced(sample), other_json(sample)))
    refuses_or_reads(lambda: read_json(content, FORMATS[schema].document, "file.json"))


def text_forms() -> list[bytes]:
    genotypes = Path(__file__).parents[1] / "datac" / "documents"
    text = (genotypes / "test_text_forms.py").read_bytes()
    named = b"Genotype(normal=[[('sep_conv_3x3', 0), ('skip_connect', 1)]], normal_concat=[2], "
    named += b"reduce=[[('max_pool_3x3', 0)]], reduce_concat=[2])"
    return [named, text[:4000], load(NAMES[0]).to_json().encode()]


@given(data=st.data())
def test_genotypes_in_any_form(data: st.DataObject, folder: Path) -> None:
    content = data.draw(cut_and_spliced(data.draw(st.sampled_from(text_forms()))))
    refuses_or_reads(lambda: read_genotype(str(given_file(folder, "genotype", content))))


@given(data=st.data())
def test_a_genotype_that_is_read_is_lowered_or_refused(data: st.DataObject) -> None:
    sample = load(NAMES[0]).to_json().encode()
    content = data.draw(other_json(sample))

    def read() -> None:
        genotype = read_json(content, Genotype, "file.json")
        tiny = {**dict(DEFAULTS["cifar"]), "channels": 2, "cells": 3, "input": (3, 8, 8)}
        lower(genotype, Network.model_validate(tiny))

    refuses_or_reads(read)


# ---- models, weights, references, images ---------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> tuple[onnx.ModelProto, Genotype, Network]:
    tiny = {**dict(DEFAULTS["cifar"]), "channels": 2, "cells": 3, "input": (3, 8, 8)}
    network, genotype = Network.model_validate(tiny), load("data-m4")
    graph = lower(genotype, network)
    draw = np.random.default_rng(0)
    graph.weights = {
        name: np.abs(draw.standard_normal(spec.shape)).astype(spec.dtype)
        for name, spec in graph.weight_specs().items()
    }
    return canonical_onnx(canonical_graph(graph), genotype, network), genotype, network


@given(data=st.data())
def test_onnx_files(data: st.DataObject, folder: Path, model: Any) -> None:
    expected, genotype, network = model
    sample = expected.SerializeToString()
    content = data.draw(st.one_of(cut_and_spliced(sample), other_onnx(sample)))

    def read() -> None:
        found = read_onnx(given_file(folder, "model.onnx", content), beside=True)
        read_paths(found, genotype, network)
        judge_structure(found, expected, genotype, network)

    refuses_or_reads(read)


@given(data=st.data())
def test_weights(data: st.DataObject, folder: Path) -> None:
    sample = save({"a.weight": np.ones((2, 2), np.float32), "b": np.zeros(3, np.int64)})
    content = data.draw(cut_and_spliced(sample))
    refuses_or_reads(lambda: read_weights_file(given_file(folder, "w.safetensors", content)))


@given(data=st.data())
def test_references(data: st.DataObject, folder: Path) -> None:
    case = Case("a", np.ones((1, 3, 4, 4), np.float32), {"logits": np.ones((1, 2))})
    Reference((case,), {"logits": 1e-7}).save(folder / "sound.npz")
    content = data.draw(cut_and_spliced((folder / "sound.npz").read_bytes()))
    refuses_or_reads(lambda: load_reference(given_file(folder, "reference.npz", content)))


@given(data=st.data())
def test_polygraphys_json(data: st.DataObject, folder: Path) -> None:
    save_inputs(folder / "in.json", [{"input": np.ones((1, 3), np.float32)}])
    save_outputs(folder / "out.json", "a", [{"logits": np.ones((1, 2), np.float32)}])
    for name, load_json in (("in.json", load_inputs), ("out.json", load_outputs)):
        sample = (folder / name).read_bytes()
        content = data.draw(st.one_of(cut_and_spliced(sample), other_json(sample)))
        path = given_file(folder, f"other-{name}", content)
        refuses_or_reads(lambda load_json=load_json, path=path: load_json(path))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@given(data=st.data())
def test_images(kind: str, data: st.DataObject, folder: Path) -> None:
    from PIL import Image

    path = folder / f"sound.{kind.lower()}"
    if not path.exists():
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path, kind)
    content = data.draw(cut_and_spliced(path.read_bytes()))
    refuses_or_reads(lambda: read_image(given_file(folder, f"image.{kind.lower()}", content)))


def test_the_samples_are_sound(folder: Path, model: Any) -> None:
    """Else nothing but refusals would have been tried."""
    path = given_file(folder, "model.onnx", model[0].SerializeToString())
    assert judge_structure(read_onnx(path), model[0], *model[1:]).verdict == "pass"
    for content in text_forms()[::2]:
        assert read_genotype(str(given_file(folder, "genotype", content))).cells
    assert json.loads((GOLDEN / "report-1.json").read_bytes())["schema"] == "datac.report/1"
