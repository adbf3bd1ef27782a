"""CIFAR-10 batches: content, a subset of the files, and pickles that are not batches."""

import builtins
import contextlib
import hashlib
import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datac.datasets import open_dataset
from datac.errors import BadInput


def test_splits_and_pixels(batch, tmp_path):
    batch("data_batch_1", [n % 10 for n in range(7)])
    batch("data_batch_3", [9 - n for n in range(6)], first=5)
    batch("test_batch", [4, 2])
    dataset = open_dataset(str(tmp_path))
    assert (dataset.name, dataset.task) == ("cifar10", "classification")
    # 13 images: the last tenth, rounded down, is held out.
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 12,
        "val": 1,
        "test": 2,
    }
    assert [sample.label for sample in dataset.splits["train"]] == [*range(7), *range(9, 4, -1)]
    assert dataset.splits["val"][0].label == 4
    sample = dataset.splits["train"][7]
    assert sample.name == "data_batch_3:0"
    planes = ((np.arange(3072) + 5) % 256).reshape(3, 32, 32)
    assert (sample.image == planes.transpose(1, 2, 0)).all()
    assert dataset.classes.names[9] == "truck"


def test_one_file_is_enough(batch, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    batch("cifar-10-batches-py/data_batch_2", [1, 2])
    assert list(open_dataset(str(tmp_path)).splits) == ["train", "val"]


def test_digest_follows_the_content(batch, tmp_path):
    batch("data_batch_1", [1, 2])
    before = open_dataset(str(tmp_path)).digest
    batch("data_batch_1", [2, 1])
    assert open_dataset(str(tmp_path)).digest != before


class Runs:
    """Runs a call when it is unpickled by anything that trusts it."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "named"), [(os.mkdir, "mkdir"), (builtins.eval, "builtins.eval")]
)
def test_code_in_a_pickle_does_not_run(batch, tmp_path, function, named):
    target = tmp_path / "made"
    batch("data_batch_1", [1, 2], extra=Runs(function, str(target)))
    with pytest.raises(BadInput, match=rf"data_batch_1: not a CIFAR-10 .*it names .*{named}"):
        open_dataset(str(tmp_path))
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"cbuiltins\nprint\n.",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": 1, b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [1]}, protocol=4),
        pickle.dumps({b"data": np.zeros((1, 3071), np.uint8), b"labels": [1]}, protocol=4),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, protocol=4),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}, protocol=4),
        pickle.dumps({b"data": np.zeros((1, 3072), object), b"labels": [1]}, protocol=4),
        # One opcode that makes the C unpickler's memo 32 GB.
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x02" + b"(" * 100000 + b"t" * 100000 + b".",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}\x8c\x01aK\x01sb.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",
    ],
)
def test_what_is_no_batch_is_refused(tmp_path, content):
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(BadInput, match="data_batch_1: not a CIFAR-10 python batch"):
        open_dataset(str(tmp_path))


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_damaged_batches_are_read_or_refused(batch, tmp_path, data):
    path = batch("data_batch_1", [1, 2])
    content = bytearray(path.read_bytes())
    # Of 6 KB only the first and the last hundred bytes are not pixels.
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(-200, 200))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(BadInput):
        open_dataset(str(tmp_path))


def test_an_empty_batch_is_an_empty_split(batch, tmp_path):
    batch("data_batch_1", [])
    with pytest.raises(BadInput, match=r"the split .* is empty"):
        open_dataset(str(tmp_path))


def test_only_a_test_file(batch, tmp_path):
    batch("test_batch", [1])
    with pytest.raises(BadInput, match=r"none of data_batch_1 .. data_batch_5"):
        open_dataset(str(tmp_path))


def test_an_oversized_file(tmp_path):
    with (tmp_path / "data_batch_1").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(BadInput, match="larger than"):
        open_dataset(str(tmp_path))


def test_real_cifar10(real_data):
    dataset = open_dataset(str(real_data / "cifar10"))
    assert len(dataset.splits["test"]) == 10000
    # Published counts: 1000 of each class in the test batch.
    labels = [int(n) for n in dataset.splits["test"].batches[0].labels]
    assert [labels.count(n) for n in range(10)] == [1000] * 10
    published = "40351d587109b95175f43aff81a1287e"
    content = (real_data / "cifar10/cifar-10-batches-py/test_batch").read_bytes()
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == published
