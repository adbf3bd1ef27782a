"""How each target's own model is rewritten where nobody says otherwise.

Decided by `benchmarks/rewrites.py` on a CPU with AVX-512; docs/results/rewrites.md has the figures.
What was not measured, TensorRT and CUDA among it, is not rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable

from compiler.passes import REWRITES
from compiler.proof import needs_own_size
from datac.documents.precision import Precision
from datac.documents.sentences import nearest
from datac.errors import BadInput
from exporters.targets.target import BuildOptions

DEFAULTS: dict[tuple[str, Precision], tuple[str, ...]] = {
    ("onnx", "f32"): (
        "drop_padding_taps",
        "share_relu",
        "sum_halves",
        "relu_above_concat",
        "pad_channels",
    ),
    ("openvino", "f32"): ("drop_padding_taps", "share_relu", "relu_above_concat"),
}
"""(target, precision) → the rewrites, by their names in `compiler.passes.REWRITES`."""

NONE = "none"


def chosen(words: Iterable[str]) -> tuple[str, ...]:
    """What a user asked for, in the order in which rewrites run; BadInput for a name of none."""
    words = [*words]
    for word in words:
        if word != NONE and word not in REWRITES:
            raise BadInput(
                f"--rewrite {word!r} is none{nearest(word, REWRITES)}; "
                f"choose {', '.join(REWRITES)}, or {NONE}"
            )
    if NONE in words and len(words) > 1:
        raise BadInput(f"--rewrite {NONE} stands alone: it leaves an engine as it is")
    return tuple(name for name in REWRITES if name in words)


def rewrites_for(target: str, options: BuildOptions) -> tuple[str, ...]:
    """Those asked for, or the target's default as far as the engine's sizes allow it.

    BadInput where one that was asked for holds for one size alone, and the engine has several.
    """
    if target == "torch":
        return ()  # it runs model.py
    if options.rewrites is None:
        names = DEFAULTS.get((target, options.precision), ())
        names = () if options.device == "cuda" else names
        return tuple(name for name in names if not (is_one_size(name) and is_open(options)))
    for name in options.rewrites:
        if is_one_size(name) and is_open(options):
            raise BadInput(
                f"--rewrite {name} holds for one size alone; leave out --height-width dynamic and "
                "--profile with it"
            )
    return options.rewrites


def is_one_size(name: str) -> bool:
    """Whether a rewrite holds for the network's own input size alone."""
    return needs_own_size(REWRITES[name])


def is_open(options: BuildOptions) -> bool:
    """Whether the engine takes several sizes."""
    return options.dynamic_height_width
