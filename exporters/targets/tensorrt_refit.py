"""A plan given the weights of another model, for TensorRT 10 and 11. Not run on a GPU so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporters.targets.target import TargetFailed
from exporters.targets.tensorrt_builder import error_log, last_error, why_refused


def refit_plan(trt: Any, title: str, plan: Path, model: bytes) -> bytes:
    """The plan with the weights of `model`, by their names. The caller has asked the driver before.

    plan: built to be refitted, from a model that differs in nothing but weights.
    """
    log = error_log(trt)
    log.take()
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise TargetFailed(f"{title} {trt.__version__} cannot load {plan.name}: {last_error(log)}")
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    if not parser.refit_from_bytes(model):
        why = why_refused(parser, log)
        raise TargetFailed(f"{title} refused the new weights of {plan.name}: {why}")
    left = refitter.get_missing_weights()
    if left:
        raise TargetFailed(
            f"{title} wants {len(left)} more weights for {plan.name}, {left[0]} among them"
        )
    if not refitter.refit_cuda_engine():
        raise TargetFailed(f"{title} could not refit {plan.name}: {last_error(log)}")
    return _serialised(trt, engine)


def _serialised(trt: Any, engine: Any) -> bytes:
    """With its weights, and open to further ones where this version has a word for that."""
    config = engine.create_serialization_config()
    config.clear_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    if hasattr(trt.SerializationFlag, "INCLUDE_REFIT"):
        config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
    return bytes(engine.serialize_with_config(config))
