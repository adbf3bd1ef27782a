"""The canonical ONNX at its sizes: what is gated, timed and shipped is this very file.

A runtime can also fix sizes when it loads a file, at no cost in speed; but then the bytes on
disk would not be what was checked.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx

from datac.errors import BadInput
from datac.output_folder import write_beside
from exporters.onnx_file import read_onnx
from exporters.targets.packages import one_line
from exporters.targets.target import BuildOptions


def specialise(path: Path, options: BuildOptions) -> onnx.ModelProto:
    """The model at `options.input_shape` (N, C, H, W), or open as far as the options say."""
    return specialise_model(read_model(path), options, path.name)


def specialise_model(model: onnx.ModelProto, options: BuildOptions, name: str) -> onnx.ModelProto:
    """`specialise` of a model that is no file; changes it. `name`: as an error calls it."""
    shape = input_shape(model, options.input_shape)
    _require_input(model, shape, name)
    sizes = _fixed_sizes(model, shape, options)
    if not any(sizes):
        return model
    for dimension, size in zip(_dimensions(model.graph.input[0]), sizes, strict=True):
        if size:
            dimension.dim_value = size
    _forget_output_sizes(model)
    # What was inferred for open sizes contradicts the fixed ones.
    del model.graph.value_info[:]
    try:
        return onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except onnx.shape_inference.InferenceError as error:
        asked = "x".join(map(str, options.input_shape))
        raise BadInput(f"{name} cannot be fixed to {asked}: {one_line(error)}") from error


def _fixed_sizes(
    model: onnx.ModelProto, shape: Sequence[int], options: BuildOptions
) -> tuple[int, ...]:
    """By dimension of the input, 0 where it stays open.

    Of a profile, what is the same from its smallest to its largest size: a batch that is known
    costs less than one that may be any.
    """
    if not options.dynamic_height_width:
        return tuple(shape)
    if options.profile is None:
        return (0,) * len(shape)
    low, high = (input_shape(model, each) for each in (options.profile.min, options.profile.max))
    fixed = tuple(a if a == b else 0 for a, b in zip(low, high, strict=True))
    channels = tuple(dimension.dim_value for dimension in _dimensions(model.graph.input[0]))
    return () if fixed == channels else fixed


def input_shape(model: onnx.ModelProto, shape: Sequence[int]) -> tuple[int, ...]:
    """(N, C, H, W) as the model's one input has it: an image is (N, H, W, C)."""
    kinds = [value.type.tensor_type.elem_type for value in model.graph.input]
    if kinds != [onnx.TensorProto.UINT8]:
        return tuple(shape)
    batch, channels, height, width = shape
    return batch, height, width, channels


def read_model(path: Path) -> onnx.ModelProto:
    """The ONNX file, or one sentence on why it is none."""
    return read_onnx(path)


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write one self-contained file; the same model gives the same bytes."""
    write_beside(path, model_bytes(model))


def model_bytes(model: onnx.ModelProto) -> bytes:
    """What `write_model` writes."""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _require_input(model: onnx.ModelProto, shape: Sequence[int], name: str) -> None:
    """Refuse a size that the model does not take."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(model.graph.input) != 1:
        raise BadInput(f"{name} has {len(inputs)} inputs, and an engine is made for one")
    dimensions = _dimensions(inputs[0])
    if len(dimensions) != len(shape):
        raise BadInput(f"{name} takes an input of {len(dimensions)} dimensions, not {len(shape)}")
    for dimension, size in zip(dimensions, shape, strict=True):
        if dimension.HasField("dim_value") and dimension.dim_value != size:
            raise BadInput(
                f"{name} takes an input with a size of {dimension.dim_value} where {size} was "
                f"asked for ({'x'.join(map(str, shape))})"
            )


def _forget_output_sizes(model: onnx.ModelProto) -> None:
    """Inference finds them again. An output's `H` need not be the input's: it is only a name."""
    for output in model.graph.output:
        for dimension in _dimensions(output):
            dimension.ClearField("dim_param")


def _dimensions(value: onnx.ValueInfoProto) -> Sequence[onnx.TensorShapeProto.Dimension]:
    dimensions: Sequence[onnx.TensorShapeProto.Dimension] = value.type.tensor_type.shape.dim
    return dimensions
