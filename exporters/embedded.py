"""Engines with more in them than the network: run and judged as if they had not.

Whoever judges or times engines gives all of them the same input, as the network reads it. One that
takes images gets the image that this input was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compiler.embed import PREPROCESS
from compiler.lower import CLASSES, IMAGE, INPUT, OUTPUT
from datac.documents.network import Preprocessing
from exporters.reference import Case

if TYPE_CHECKING:
    from types import TracebackType

    from exporters.targets.target import Arrays, Runner


def to_image(x: NDArray[np.generic], how: Preprocessing) -> NDArray[np.uint8]:
    """(N, C, H, W) as a network reads it → (N, H, W, C) uint8 RGB, the nearest image."""
    shape = (1, -1, 1, 1)
    deviation = np.array(how.standard_deviation).reshape(shape)
    pixels = (x * deviation + np.array(how.mean).reshape(shape)) * 255
    ordered = pixels[:, ::-1] if how.color_order == "BGR" else pixels
    whole = np.clip(np.rint(ordered), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(whole.transpose(0, 2, 3, 1))


def as_images(cases: Sequence[Case], how: Preprocessing) -> tuple[Case, ...]:
    """The cases, their inputs moved to the nearest images. Their outputs are no longer true."""
    return tuple(replace(case, input=_prepared(to_image(case.input, how), how)) for case in cases)


def _prepared(images: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.float32]:
    from datac.datasets.preprocess import preprocess

    plain = how.model_copy(update={"resize": None})
    return np.stack([preprocess(image, plain) for image in images])


class ImageRunner:
    """A runner that takes images, for callers that have the network's own input; or images."""

    def __init__(self, runner: Runner, how: Preprocessing) -> None:
        self._runner, self._how = runner, how
        self._last: tuple[Any, NDArray[np.uint8]] | None = None
        self.device, self.threads = runner.device, runner.threads

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """See `Runner`."""
        return self._runner.run(self._images(inputs))

    def time_call(self, inputs: Arrays) -> tuple[float, float | None]:
        """Of the engine alone."""
        return self._runner.time_call(self._images(inputs))

    def _images(self, inputs: Arrays) -> Arrays:
        if IMAGE in inputs:
            return inputs
        x = inputs[INPUT]
        if self._last is None or self._last[0] is not x:
            self._last = (x, to_image(x, self._how))
        return {IMAGE: self._last[1]}

    def __enter__(self) -> ImageRunner:
        self._runner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.__exit__(kind, error, trace)


def wrapped(runner: Runner, parts: Sequence[str], how: Preprocessing | None) -> Runner:
    """As the engine's parts ask for."""
    if PREPROCESS not in parts:
        return runner
    assert how is not None
    return ImageRunner(runner, how)


def classes_of(answers: Arrays) -> NDArray[np.integer]:
    """(N, ...) class numbers, whether the engine has decided or not."""
    if CLASSES in answers:
        return answers[CLASSES].astype(np.int64)
    numbers: NDArray[np.integer] = answers[OUTPUT].argmax(axis=1)
    return numbers
