"""The primitive operations, by family. A new one is a class in its family and a line here."""

from compiler.ops.activation import Dropout, DropPath, Identity, Relu, Scale, Sum
from compiler.ops.conv import Conv, Linear
from compiler.ops.image import ArgMax, Prepare
from compiler.ops.norm import BatchNorm
from compiler.ops.op import Cost, Op, TensorType, WeightSpec
from compiler.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from compiler.ops.quantize import Quantize, QuantizedConv
from compiler.ops.shape import Cast, ChannelSlice, Concat, Flatten, Input, PadEnd, ResizeLike, Shift

OPERATIONS: dict[str, type[Op]] = {
    "input": Input,
    "conv": Conv,
    "linear": Linear,
    "batch_norm": BatchNorm,
    "max_pool": MaxPool,
    "avg_pool": AvgPool,
    "global_avg_pool": GlobalAvgPool,
    "relu": Relu,
    "identity": Identity,
    "sum": Sum,
    "scale": Scale,
    "dropout": Dropout,
    "drop_path": DropPath,
    "concat": Concat,
    "channel_slice": ChannelSlice,
    "shift": Shift,
    "pad_end": PadEnd,
    "resize_like": ResizeLike,
    "flatten": Flatten,
    "cast": Cast,
    "prepare": Prepare,
    "arg_max": ArgMax,
    "quantize": Quantize,
    "quantized_conv": QuantizedConv,
}
"""Name in the text form → class."""

NAMES: dict[type[Op], str] = {operation: name for name, operation in OPERATIONS.items()}

__all__ = [
    "NAMES",
    "OPERATIONS",
    "ArgMax",
    "AvgPool",
    "BatchNorm",
    "Cast",
    "ChannelSlice",
    "Concat",
    "Conv",
    "Cost",
    "DropPath",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Identity",
    "Input",
    "Linear",
    "MaxPool",
    "Op",
    "PadEnd",
    "Prepare",
    "Quantize",
    "QuantizedConv",
    "Relu",
    "ResizeLike",
    "Scale",
    "Shift",
    "Sum",
    "TensorType",
    "WeightSpec",
]
