"""Read one image file. Whatever is wrong with it becomes one sentence that names it.

Images are taken as stored: an orientation that only the EXIF header asks for is not applied,
because label maps are drawn on the stored pixels.
"""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from datac.errors import BadInput

# Only formats that are decoded here: Pillow hands some others (EPS) to outside programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MOST_PIXELS_A_BYTE = 8192
"""What deflate makes of one colour at one bit a pixel: 1032 times."""

SMALL_ENOUGH = 2**24
"""Pixels that are decoded whatever the file's size: some formats say one colour in no bytes."""

# What Pillow raises on damaged files, over its formats.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


def is_image_name(name: str) -> bool:
    """Whether a file name looks like an image; hidden files (and macOS's `._x`) do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB. Grey is repeated, transparency dropped."""
    image = _decoded(path)
    if image.mode == "F" or image.mode.startswith("I"):
        raise BadInput(f"{path}: more than 8 bits a channel; convert it to 8 bits")
    # Pillow warns when it must drop a palette's transparency in one step.
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def read_numbers(path: Path) -> NDArray[np.integer]:
    """(H, W) whole numbers as stored: grey values, or the indices of a palette image."""
    image = _decoded(path)
    if image.mode == "1":
        return np.asarray(image, dtype=np.uint8)
    if image.mode in ("L", "P") or image.mode.startswith("I"):
        numbers: NDArray[np.integer] = np.asarray(image)
        return numbers
    raise BadInput(
        f"{path}: a label of class numbers must be a grey or palette image, not {image.mode} "
        '(data.toml has encoding = "color" for coloured labels)'
    )


def read_colors(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a coloured label."""
    image = _decoded(path)
    if image.mode not in ("RGB", "RGBA", "P", "L"):
        raise BadInput(f"{path}: a coloured label must be RGB or a palette image, not {image.mode}")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


class _WithinTheFile(io.BufferedReader):
    """Asked for more than is left, it takes no memory for the rest.

    Python does, and Pillow asks for as much as a PNG's last chunk of pixels says it has.
    """

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _require_plausible(image: Image.Image, path: Path) -> None:
    """BadInput for a header that declares far more than its file can hold.

    Memory for all of it would be taken before the end of the file is met.
    """
    width, height = image.size
    size = path.stat().st_size
    if width * height > max(MOST_PIXELS_A_BYTE * size, SMALL_ENOUGH):
        raise BadInput(
            f"{path}: not a whole image ({width} x {height} pixels declared, in a file of {size} "
            "bytes); restore the file or leave it out"
        )


def _decoded(path: Path) -> Image.Image:
    """The whole image in memory, within Pillow's limit against decompression bombs."""
    # A pipe or a device would never end.
    if not path.is_file():
        raise BadInput(f"{path}: no such file; restore it or leave it out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with (
                path.open("rb", buffering=0) as file,
                _WithinTheFile(file) as content,
                Image.open(content, formats=FORMATS) as image,
            ):
                _require_plausible(image, path)
                image.load()
                return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(
            f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; make the image smaller"
        ) from error
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        # Pillow's "cannot identify" repeats the path.
        if isinstance(error, UnidentifiedImageError):
            reason = "not one of " + ", ".join(FORMATS)
        raise BadInput(
            f"{path}: not a whole image ({reason}); restore the file or leave it out"
        ) from error
