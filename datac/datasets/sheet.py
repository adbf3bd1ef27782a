"""A contact sheet: samples of every split, labels beside them in the classes' colours."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from datac.datasets.dataset import Dataset, Sample
from datac.datasets.describe import chosen
from datac.datasets.palette import IGNORED, class_colors
from datac.datasets.preprocess import resize_image, resize_label
from datac.documents.network import Classes
from datac.errors import BadInput
from datac.output_folder import write_beside

SIDE = 192
"""Height of a sample on the sheet, in pixels."""
LINE = 16
GAP = 8
PER_SPLIT = 6
COLUMNS = 3
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def sheet(dataset: Dataset, path: Path) -> None:
    """Write the sheet as a PNG file; the same data set gives the same sheet."""
    rows: list[Image.Image] = []
    for split, samples in dataset.splits.items():
        cells = [
            _cell(samples[index], dataset.classes) for index in chosen(len(samples), PER_SPLIT)
        ]
        rows.append(_text(f"{split}: {len(cells)} of {len(samples)}"))
        rows += [_beside(cells[at : at + COLUMNS]) for at in range(0, len(cells), COLUMNS)]
    width = max(row.width for row in rows)
    rows.append(_legend(dataset.classes, width))
    _write(_below(rows), path)


def colored(label: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    """(H, W) class numbers → (H, W, 3) RGB; ignored pixels light."""
    table = np.full((256, 3), IGNORED, dtype=np.uint8)
    table[: len(classes.names)] = class_colors(classes)
    return table[label]


def _cell(sample: Sample, classes: Classes) -> Image.Image:
    """Image and label side by side, or the image over the name of its class."""
    height, width = sample.image.shape[:2]
    # Very wide images would make the sheet as wide.
    size = (SIDE, min(2 * SIDE, max(1, round(width * SIDE / height))))
    image = Image.fromarray(resize_image(sample.image, size))
    if isinstance(sample.label, int):
        return _below([image, _text(classes.names[sample.label])])
    label = Image.fromarray(colored(resize_label(sample.label, size), classes))
    return _below([_beside([image, label], gap=0), _text(sample.name)])


def _legend(classes: Classes, width: int) -> Image.Image:
    """A swatch and a name for each class, wrapped to the width."""
    entries = list(zip(classes.names, class_colors(classes), strict=True))
    if classes.ignore_index is not None:
        entries.append((f"ignored ({classes.ignore_index})", IGNORED))
    swatches = [_swatch(name, color) for name, color in entries]
    each = max(swatch.width for swatch in swatches) + GAP
    across = max(1, width // each)
    lines = [swatches[at : at + across] for at in range(0, len(swatches), across)]
    padded = [[_padded(swatch, each) for swatch in line] for line in lines]
    return _below([_beside(line, gap=0) for line in padded])


def _swatch(name: str, color: tuple[int, int, int]) -> Image.Image:
    square = Image.new("RGB", (LINE, LINE), color)
    ImageDraw.Draw(square).rectangle((0, 0, LINE - 1, LINE - 1), outline=_BLACK)
    return _beside([square, _text(name)])


def _text(text: str) -> Image.Image:
    # Pillow's own small font knows Latin letters only.
    shown = text.encode("ascii", "replace").decode()
    length = ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength(shown)
    image = Image.new("RGB", (int(length) + 2, LINE), _WHITE)
    ImageDraw.Draw(image).text((1, 2), shown, fill=_BLACK)
    return image


def _padded(image: Image.Image, width: int) -> Image.Image:
    wide = Image.new("RGB", (width, image.height), _WHITE)
    wide.paste(image)
    return wide


def _beside(images: list[Image.Image], gap: int = GAP) -> Image.Image:
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    row = Image.new("RGB", (width, max(image.height for image in images)), _WHITE)
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width + gap
    return row


def _below(images: list[Image.Image]) -> Image.Image:
    height = sum(image.height + GAP for image in images)
    column = Image.new("RGB", (max(image.width for image in images), height), _WHITE)
    top = 0
    for image in images:
        column.paste(image, (0, top))
        top += image.height + GAP
    return column


def _write(image: Image.Image, path: Path) -> None:
    content = BytesIO()
    image.save(content, format="PNG")
    try:
        write_beside(path, content.getvalue())
    except OSError as error:
        raise BadInput(f"{path}: cannot write the sheet ({error.strerror})") from error
