"""Images through an engine of a build: masks or labels, and how long it takes."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compiler.embed import PREPROCESS
from compiler.lower import IMAGE, INPUT, OUTPUT
from datac.datasets.palette import class_colors
from datac.datasets.pixels import is_image_name, read_image
from datac.datasets.preprocess import preprocess, resize_image
from datac.documents.network import Classes, Network
from datac.errors import BadInput, PlatformMissing
from datac.output_folder import check_replaceable, replaced_whole, write_beside
from exporters.build_folder import read_manifest
from exporters.embedded import classes_of
from exporters.engines import Built, open_engines
from exporters.targets.target import Arrays, BuildOptions, Runner

LABELS = "labels.jsonl"
"""Of a classification: a line for each image."""


@dataclass(frozen=True)
class Answer:
    """Of one image. classes: (H', W'), or one number. logits: where the engine tells them."""

    classes: NDArray[np.integer]
    logits: NDArray[np.generic] | None


@dataclass(frozen=True)
class Prediction:
    """What came out.

    whole_ms, engine_ms: medians of an image, from file to file, and of that in the engine.
    refused: a sentence for each image of a folder that could not be read.
    """

    engine: str
    images: int
    whole_ms: float
    engine_ms: float
    refused: tuple[str, ...] = ()


def predict(
    build: Path,
    source: Path,
    out: Path,
    *,
    engine: str | None,
    trust: bool = False,
    threads: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Prediction:
    """Every image of `source`, a file or a folder, into the folder `out`.

    A mask is a palette image as large as its image, its indices the class numbers. BadInput where
    nothing is an image, or where the build does not say how images are prepared.
    """
    check_replaceable(out, "prediction")
    manifest = read_manifest(build)
    network = manifest.network
    if network.preprocessing is None:
        raise BadInput(
            f"{build} does not say how an image is prepared; compile it with --data DATASET"
        )
    paths = _images(source, one_mask_each=network.task == "segmentation")
    options = BuildOptions((1, *network.input), threads=threads)
    built = _engine(build, open_engines(build, manifest, options, trust=trust), engine)
    writer = _Masks(network) if network.task == "segmentation" else _Labels(network)
    whole, inside, refused = list[float](), list[float](), list[str]()
    with built.load() as runner, replaced_whole(out, "prediction") as folder:
        for index, path in enumerate(paths):
            begin = time.perf_counter()
            try:
                image = read_image(path)
            except BadInput as error:
                if len(refused) + 1 == len(paths):
                    raise  # none of them is an image
                refused.append(str(error))
                continue
            answer, seconds = _answer(runner, feed(image, network, built))
            writer.write(folder, path, image.shape[:2], answer)
            whole.append(time.perf_counter() - begin)
            inside.append(seconds)
            if progress is not None:
                progress("predict", (index + 1) / len(paths))
        writer.finish(folder)
    return Prediction(
        built.name,
        len(whole),
        statistics.median(whole) * 1e3,
        statistics.median(inside) * 1e3,
        tuple(refused),
    )


def feed(image: NDArray[np.uint8], network: Network, built: Built) -> Arrays:
    """(H, W, 3) → what the engine reads, at the size that it takes, or as preprocessing says.

    `input` (1, C, H', W'), or `image` (1, H', W', 3) where the engine prepares it itself.
    """
    how = network.preprocessing
    assert how is not None
    sizes = built.sizes
    size = image.shape[:2] if how.resize is None else how.resize
    if sizes is not None and not sizes.takes((1, network.input[0], *size)):
        how = how.model_copy(update={"resize": network.input[1:]})
    if PREPROCESS not in built.result.embedded:
        return {INPUT: preprocess(image, how)[None]}
    return {IMAGE: (image if how.resize is None else resize_image(image, how.resize))[None]}


def _answer(runner: Runner, inputs: Arrays) -> tuple[Answer, float]:
    begin = time.perf_counter()
    outputs = runner.run(inputs)
    seconds = time.perf_counter() - begin
    logits = outputs.get(OUTPUT)
    return Answer(classes_of(outputs)[0], None if logits is None else logits[0]), seconds


def _images(source: Path, *, one_mask_each: bool) -> list[Path]:
    """In order of name. Two that would write one mask are refused."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"{source}: there is no such image or folder")
    paths = sorted(path for path in source.iterdir() if is_image_name(path.name))
    if not paths:
        raise BadInput(f"{source} holds no images; give a file, or a folder with images in it")
    stems: dict[str, Path] = {}
    for path in paths:
        if one_mask_each and path.stem in stems:
            raise BadInput(
                f"{stems[path.stem]} and {path.name} would both become {path.stem}.png; rename one"
            )
        stems[path.stem] = path
    return paths


def _engine(build: Path, found: Sequence[Built], name: str | None) -> Built:
    engines = {built.name: built for built in found}
    if name is not None and name not in engines:
        raise BadInput(f"{build} has no engine {name}; it has {', '.join(engines) or 'none'}")
    chosen = [engines[name]] if name is not None else [b for b in engines.values() if b.runs]
    if not chosen:
        raise PlatformMissing(f"{build}: no engine runs here; datac doctor says what is missing")
    if not chosen[0].runs:
        raise PlatformMissing(f"{chosen[0].name} cannot run: {chosen[0].result.reason}")
    return chosen[0]


class _Masks:
    def __init__(self, network: Network) -> None:
        names = tuple(str(index) for index in range(network.classes))
        classes = network.class_info or Classes(names=names)
        self._palette = np.array(class_colors(classes), np.uint8).tobytes()

    def write(self, folder: Path, path: Path, size: tuple[int, ...], answer: Answer) -> None:
        """`NAME.png`, as large as the image."""
        classes = answer.classes.astype(np.uint8)
        mask = Image.fromarray(classes).resize((size[1], size[0]), Image.Resampling.NEAREST)
        mask.putpalette(self._palette)
        mask.save(folder / f"{path.stem}.png")

    def finish(self, folder: Path) -> None:
        """Nothing more."""


class _Labels:
    def __init__(self, network: Network) -> None:
        numbers = tuple(str(index) for index in range(network.classes))
        self._names = network.class_info.names if network.class_info else numbers
        self._lines: list[str] = []

    def write(self, folder: Path, path: Path, size: tuple[int, ...], answer: Answer) -> None:
        """A line: image, class number, its name and, if the engine tells, its share by softmax."""
        del folder, size
        best = int(answer.classes)
        line: dict[str, object] = {"image": path.name, "class": best, "name": self._names[best]}
        if answer.logits is not None:
            values = answer.logits.astype(np.float64)
            shares = np.exp(values - values.max())
            line["probability"] = round(float(shares[best] / shares.sum()), 6)
        self._lines.append(json.dumps(line))

    def finish(self, folder: Path) -> None:
        """All of them in one file."""
        write_beside(folder / LABELS, "\n".join([*self._lines, ""]))
