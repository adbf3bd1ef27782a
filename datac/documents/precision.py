"""The precisions that an engine may compute in."""

from typing import Literal, get_args

Precision = Literal["f32", "f16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FloatingPoint = Literal["f32", "f16", "bf16"]
FLOATING_POINT: tuple[FloatingPoint, ...] = get_args(FloatingPoint)
