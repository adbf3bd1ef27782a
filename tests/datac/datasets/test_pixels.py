"""Reading one image file: every form, and every way to be broken."""

import io
import os
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datac.datasets.pixels import FORMATS, is_image_name, read_colors, read_image, read_numbers
from datac.errors import BadInput

NOISE = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def encoded(kind: str, image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / "x.tif"
    Image.fromarray(NOISE).convert(mode).save(path)
    pixels = read_image(path)
    assert pixels.shape == (9, 7, 3)
    assert pixels.dtype == np.uint8


def test_palette_with_transparency(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(NOISE).convert("P").save(path, transparency=bytes(range(256)))
    assert read_image(path).shape == (9, 7, 3)


def test_sixteen_bits_are_refused_for_images_and_read_for_labels(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.array([[0, 300]], dtype=np.uint16)).save(path)
    with pytest.raises(BadInput, match="more than 8 bits"):
        read_image(path)
    assert read_numbers(path).tolist() == [[0, 300]]


def test_one_bit_labels_are_zero_and_one(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1").save(path)
    assert read_numbers(path).tolist() == [[0, 1]]


def test_coloured_label_where_numbers_are_expected(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(NOISE).save(path)
    with pytest.raises(BadInput, match=r"not RGB.*encoding"):
        read_numbers(path)
    assert (read_colors(path) == NOISE).all()


@pytest.mark.parametrize("factor", [1.5, 4])
def test_decompression_bomb(tmp_path, monkeypatch, factor):
    # Pillow warns above its limit and refuses above twice the limit; here both are refused.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(63 / factor))
    path = tmp_path / "x.png"
    Image.fromarray(NOISE).save(path)
    with pytest.raises(BadInput, match=r"more than .* pixels"):
        read_image(path)


def test_a_header_that_declares_more_than_the_file_can_hold(tmp_path):
    """A PNG's header: length, IHDR, width, height; the checksum is that of the damaged one."""
    path = tmp_path / "x.png"
    Image.fromarray(NOISE).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 9000, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"9000 x 9000 pixels declared, in a file of \d+ bytes"):
        read_image(path)


def test_a_last_chunk_that_declares_more_than_the_file_holds(tmp_path):
    """Found by fuzzing: the memory for it was taken after the last pixel had been read."""
    whole = tmp_path / "whole.png"
    Image.new("RGB", (8, 8), (1, 2, 3)).save(whole)
    content = bytearray(whole.read_bytes())
    place = content.index(b"IDAT")
    content[place - 4 : place] = struct.pack(">I", 2**30)
    path = tmp_path / "long.png"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with suppress(BadInput):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_other_programs_formats_are_not_images(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    with pytest.raises(BadInput, match="not one of BMP"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(BadInput, match="no such file"):
        read_image(tmp_path / "x.png")


def test_image_names():
    assert is_image_name("a.JPG")
    assert not any(map(is_image_name, ("._a.jpg", ".DS_Store", "a.txt", "jpg")))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_are_read_or_refused(tmp_path, kind, data):
    content = bytearray(encoded(kind, Image.fromarray(NOISE)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    sentences = []
    for read in (read_image, read_numbers, read_colors):
        try:
            assert read(path).ndim in (2, 3)
        except BadInput as error:
            sentences.append(str(error))
    assert all(str(path) in sentence and "\n" not in sentence for sentence in sentences)
