"""A model whose inner values are outputs too: for looking inside, and for calibration."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

LABEL = "datac.check_build"
"""Metadata that says so in the file."""


def expose(model: onnx.ModelProto, values: Iterable[str]) -> onnx.ModelProto:
    """A copy whose further outputs are those of `values` that it has; their types are inferred."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    made = {name for node in copy.graph.node for name in node.output}
    known = {output.name for output in copy.graph.output}
    wanted = [name for name in dict.fromkeys(values) if name in made and name not in known]
    del copy.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(copy)
    types = {info.name: info for info in inferred.graph.value_info}
    for name in wanted:
        copy.graph.output.append(types.get(name) or onnx.ValueInfoProto(name=name))
    onnx.helper.set_model_props(
        copy,
        {p.key: p.value for p in model.metadata_props} | {LABEL: "values exposed; not for use"},
    )
    return copy
