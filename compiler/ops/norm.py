"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.ops.op import Op, SourceModule, TensorType, WeightSpec, expect_channels, expect_rank

if TYPE_CHECKING:
    from compiler.emitter import Emitter
    from compiler.ops.op import Array, Arrays


@dataclass(frozen=True)
class BatchNorm(Op):
    """(x - mean) / sqrt(variance + epsilon), then a scale and shift where affine. Same shape."""

    channels: int
    affine: bool = True
    epsilon: float = 1e-5

    def infer(self, *operands: TensorType) -> TensorType:
        """(N, C, H, W) → the same."""
        (x,) = operands
        expect_rank(x, 4, "batch_norm")
        expect_channels(x, self.channels, "batch_norm")
        return x

    def weights(self) -> dict[str, WeightSpec]:
        """Scale and shift, then the running statistics, which are buffers."""
        specs = {}
        if self.affine:
            specs["weight"] = WeightSpec((self.channels,))
            specs["bias"] = WeightSpec((self.channels,))
        specs["running_mean"] = WeightSpec((self.channels,), trainable=False)
        specs["running_var"] = WeightSpec((self.channels,), trainable=False)
        specs["num_batches_tracked"] = WeightSpec((), "int64", trainable=False)
        return specs

    def compute(self, weights: Arrays, *operands: Array) -> Array:
        """With the running statistics, as in inference."""
        import numpy as np

        (x,) = operands
        by_channel = {key: value.reshape(1, -1, 1, 1) for key, value in weights.items()}
        deviation = np.sqrt(by_channel["running_var"] + self.epsilon)
        result: Array = (x - by_channel["running_mean"]) / deviation
        return result * by_channel["weight"] + by_channel["bias"] if self.affine else result

    def scale_and_shift(self, weights: Arrays) -> tuple[Array, Array]:
        """What an inference multiplies a channel by and then adds, (channels,) each.

        s = γ / √(σ² + ε) and β - s · μ; without an affine part γ is 1 and β is 0.
        """
        import numpy as np

        mean, variance = weights["running_mean"], weights["running_var"]
        scale = weights.get("weight", np.ones_like(mean)) / np.sqrt(variance + self.epsilon)
        return scale, weights.get("bias", np.zeros_like(mean)) - scale * mean

    def to_torch(self) -> Callable[..., Any]:
        """`nn.BatchNorm2d`."""
        from torch import nn

        return nn.BatchNorm2d(self.channels, eps=self.epsilon, affine=self.affine)

    def source_module(self) -> SourceModule:
        """`nn.BatchNorm2d`."""
        arguments = {"num_features": self.channels, "eps": self.epsilon, "affine": self.affine}
        return SourceModule("nn.BatchNorm2d", arguments, {"eps": 1e-5, "affine": True})

    def to_onnx(self, emit: Emitter, *operands: str) -> str:
        """`BatchNormalization`, for graphs that were not folded."""
        if not self.affine:
            raise ValueError("an affine-free batch norm belongs to the search and is not exported")
        names = ("weight", "bias", "running_mean", "running_var")
        return emit.node(
            "BatchNormalization",
            [*operands, *(emit.weight(name) for name in names)],
            epsilon=self.epsilon,
        )
