"""The precisions that an engine may compute in."""

from typing import Literal, get_args

Precision = Literal["f32", "f16", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
