"""The network document: what surrounds the cells, its sizes, and what it reads and answers."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from datac.documents.document import Document

Skeleton = Literal["cifar", "imagenet", "segmentation"]
Task = Literal["classification", "segmentation"]
Color = tuple[int, int, int]

# Far beyond any network that can be built: a typing mistake shall end in a sentence, not in an
# exhausted memory.
MOST_CELLS = 1000
LARGEST_SIZE = 1 << 16
"""Of a side of the input, and of a number of channels or classes."""


class Preprocessing(Document):
    """What happens to an image before the network: (pixel / 255 - mean) / deviation.

    `resize` is (height, width), bilinear; None leaves the size as it is.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    color_order: Literal["RGB", "BGR"] = "RGB"
    resize: tuple[int, int] | None = None
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    layout: Literal["NCHW"] = "NCHW"

    @model_validator(mode="after")
    def _can_be_applied(self) -> Self:
        if len(self.mean) != len(self.standard_deviation):
            raise ValueError(
                f"{len(self.mean)} means for {len(self.standard_deviation)} standard deviations"
            )
        if not all(deviation > 0 for deviation in self.standard_deviation):
            raise ValueError("a standard deviation is not above 0")
        if self.resize is not None:
            _check_sizes("resize", self.resize)
        return self


class Classes(Document):
    """Class names in index order, their colours, and the label value that does not count."""

    names: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    ignore_index: int | None = None

    @model_validator(mode="after")
    def _colors_fit(self) -> Self:
        if self.colors and len(self.colors) != len(self.names):
            raise ValueError(f"{len(self.colors)} colors for {len(self.names)} class names")
        if not all(0 <= value <= 255 for color in self.colors for value in color):
            raise ValueError("a color has a value outside 0 to 255")
        return self


class Network(Document):
    """Skeleton and sizes (`datac.network/1`). `input` is (channels, height, width)."""

    schema_: Literal["datac.network/1"] = Field(default="datac.network/1", alias="schema")
    skeleton: Skeleton
    channels: int = Field(ge=1, le=LARGEST_SIZE)
    cells: int = Field(ge=1, le=MOST_CELLS)
    classes: int = Field(ge=1, le=LARGEST_SIZE)
    input: tuple[int, int, int]
    output_stride: Literal[8, 16, 32] | None = None
    head_channels: int | None = Field(default=None, ge=1, le=LARGEST_SIZE)
    preprocessing: Preprocessing | None = None
    class_info: Classes | None = None

    @property
    def task(self) -> Task:
        """What the network answers."""
        return "segmentation" if self.skeleton == "segmentation" else "classification"

    @property
    def bare(self) -> Self:
        """Without what changes no tensor: preprocessing, names of classes."""
        return self.model_copy(update={"preprocessing": None, "class_info": None})

    def differences(self, other: Self) -> str:
        """`channels 8, not 16; cells 3, not 5`: what this has and what the other, but names."""
        if self.skeleton != other.skeleton:
            return f"{self.skeleton}, not {other.skeleton}"
        theirs = dict(other.bare)
        found = {k: v for k, v in self.bare if v != theirs[k]}
        return "; ".join(f"{k} {_plain(v)}, not {_plain(theirs[k])}" for k, v in found.items())

    @property
    def options(self) -> tuple[str, ...]:
        """What makes it on a command line."""
        words = ["--network", self.skeleton]
        for name in ("channels", "cells", "classes", "output_stride", "head_channels"):
            value = getattr(self, name)
            if value is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return (*words, "--input", "x".join(map(str, self.input)))

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        _check_sizes("input", self.input)
        if self.channels % 2:
            raise ValueError(
                f"channels {self.channels} is odd; the stride-2 skip needs an even number"
            )
        if self.preprocessing is not None and len(self.preprocessing.mean) != self.input[0]:
            raise ValueError(
                f"preprocessing has {len(self.preprocessing.mean)} means for an input of "
                f"{self.input[0]} channels"
            )
        if self.class_info is not None and len(self.class_info.names) != self.classes:
            raise ValueError(f"{len(self.class_info.names)} class names for {self.classes} classes")
        if (self.output_stride is not None) != (self.skeleton == "segmentation"):
            raise ValueError("output_stride belongs to the segmentation skeleton, and to no other")
        if (self.head_channels is not None) != (self.skeleton == "segmentation"):
            raise ValueError("head_channels belongs to the segmentation skeleton, and to no other")
        return self


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _check_sizes(what: str, sizes: tuple[int, ...]) -> None:
    if min(sizes) < 1:
        raise ValueError(f"{what} {sizes} has a size below 1")
    if max(sizes) > LARGEST_SIZE:
        raise ValueError(f"{what} {sizes} has a size above {LARGEST_SIZE}")


DEFAULTS: dict[str, Network] = {
    "cifar": Network(skeleton="cifar", channels=36, cells=20, classes=10, input=(3, 32, 32)),
    "imagenet": Network(
        skeleton="imagenet", channels=48, cells=14, classes=1000, input=(3, 224, 224)
    ),
    "segmentation": Network(
        skeleton="segmentation",
        channels=48,
        cells=14,
        classes=21,
        input=(3, 512, 512),
        output_stride=16,
        head_channels=256,
    ),
}
"""The published sizes: DARTS for classification, DeepLab v3 (arXiv 1706.05587) for segmentation."""
