"""ONNX → plan, for TensorRT 10 and 11 and for TensorRT-RTX: one code over a module handle.

What a version can do is asked of the module (`hasattr`), never of its version number.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.lower import IMAGE
from datac.errors import BadInput
from datac.output_folder import write_beside
from exporters.targets.packages import one_line
from exporters.targets.specialise import specialise
from exporters.targets.target import BuildOptions, TargetFailed
from exporters.targets.tensorrt_progress import Interruption, monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datac.documents.profile import Profile

FILE = "engine.plan"


def build_plan(
    trt: Any, title: str, model: Path, options: BuildOptions, timing_cache: Path | None = None
) -> bytes:
    """The serialised engine. `timing_cache`: a file of earlier timings, read and renewed."""
    log = error_log(trt)
    log.take()
    content = specialise(model, options).SerializeToString()
    builder = trt.Builder(log)
    network = builder.create_network(network_flags(trt))
    _parse(trt, log, network, content, f"{title} refused {model.name}")
    config = builder.create_builder_config()
    _set_flags(trt, config, options)
    _set_capabilities(trt, config, options.compute_capabilities)
    if options.dynamic_height_width:
        _set_profile(builder, config, network, options.span)
    cache_in_use = _attach_timings(config, timing_cache)
    plan = _serialize(trt, builder, network, config, options, title)
    if plan is None:
        raise TargetFailed(f"{title} could not build {model.name}: {last_error(log)}")
    if timing_cache is not None and cache_in_use is not None:
        _save_timings(config, timing_cache)
    return bytes(plan)


def network_flags(trt: Any) -> int:
    """Strong typing where it can be chosen; explicit batch where it is not yet the only way."""
    known = trt.NetworkDefinitionCreationFlag
    flags = 0
    for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH"):
        if hasattr(known, name):
            flags |= 1 << int(getattr(known, name))
    return flags


@cache
def error_log(trt: Any) -> Any:
    """The one logger of this module: TensorRT keeps the first it is given and ignores others."""

    class ErrorLog(trt.ILogger):  # type: ignore[misc]
        """Keeps what went wrong; the rest is noise to whoever builds."""

        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT, from any of its threads."""
            if severity <= trt.ILogger.Severity.ERROR:
                self.messages.append(one_line(message))

        def take(self) -> list[str]:
            """The messages since the last time."""
            taken, self.messages = self.messages, []
            return taken

    return ErrorLog()


def _set_flags(trt: Any, config: Any, options: BuildOptions) -> None:
    # TF32 keeps 10 bits of the mantissa: an f32 engine would not be f32.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.refittable:
        config.set_flag(trt.BuilderFlag.REFIT)
    # So that each layer says which nodes are in it (`datac profile`); it makes no call slower.
    if hasattr(trt, "ProfilingVerbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def _parse(trt: Any, log: Any, network: Any, content: bytes, refusal: str) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse(content):
        return
    raise TargetFailed(f"{refusal}: {why_refused(parser, log)}")


def why_refused(parser: Any, log: Any) -> str:
    """What a parser says of what it does not take, or the last that was logged."""
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    told = "; ".join(dict.fromkeys(describe_error(error) for error in errors))
    return told or last_error(log)


def describe_error(error: Any) -> str:
    """A parser error with the node it is about, where this version knows the node."""
    what = one_line(error.desc())
    name = error.node_name() if hasattr(error, "node_name") else ""
    kind = error.node_operator() if hasattr(error, "node_operator") else ""
    if "Plugin not found" in what:
        what = "no such operation"
    return f"node {name} ({kind}): {what}" if name else what


def _set_capabilities(trt: Any, config: Any, wanted: Sequence[str]) -> None:
    if not wanted:
        return
    if not hasattr(trt, "ComputeCapability"):
        raise BadInput("compute capabilities can be chosen for --target trt-rtx only")
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in trt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    for capability in wanted:
        if capability not in known:
            raise BadInput(
                f"TensorRT-RTX {trt.__version__} knows no compute capability {capability}; "
                f"it knows {', '.join(known)}"
            )
    config.num_compute_capabilities = len(wanted)
    for place, capability in enumerate(wanted):
        config.set_compute_capability(known[capability], place)


def _set_profile(builder: Any, config: Any, network: Any, span: Profile) -> None:
    """For the one input, an image (N, H, W, C) where preprocessing is in the engine."""
    profile, given = builder.create_optimization_profile(), network.get_input(0)
    shapes = [span.min, span.opt, span.max]
    if given.name == IMAGE:
        shapes = [(n, h, w, c) for n, c, h, w in shapes]
    profile.set_shape(given.name, *shapes)
    config.add_optimization_profile(profile)


def _attach_timings(config: Any, path: Path | None) -> Any:
    """Timings of earlier builds; those of another GPU or version are refused and begun anew."""
    if path is None:
        return None
    earlier = path.read_bytes() if path.is_file() else b""
    timings = config.create_timing_cache(earlier)
    if timings is None or not config.set_timing_cache(timings, False):
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return timings


def _save_timings(config: Any, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(path, bytes(config.get_timing_cache().serialize()))
    except OSError:
        # A home that cannot be written to costs the next build time, not this one its engine.
        return


def _serialize(
    trt: Any, builder: Any, network: Any, config: Any, options: BuildOptions, title: str
) -> Any:
    interruption = Interruption()
    watch = monitor(trt, options.progress, title, interruption)
    config.progress_monitor = watch
    plan = builder.build_serialized_network(network, config)
    interruption.resume()
    return plan


def last_error(log: Any) -> str:
    """The last message since the log was taken."""
    messages = log.take()
    return messages[-1] if messages else "it gave no reason"
