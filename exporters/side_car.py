"""What stands beside every engine: what it was made from, by what and for what (`engine.json`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datac.documents.build_folder import ENGINES, MODEL, PLAN, SIDE_CAR, WEIGHTS, SideCar
from datac.output_folder import write_beside
from exporters.build_folder import rebuild_command, sha256
from exporters.default_plan import NONE
from exporters.nvidia_driver import cuda_version
from exporters.precision import Plan
from exporters.targets.target import BuildOptions, Engine

if TYPE_CHECKING:
    from exporters.engines import Source


def write_side_car(
    source: Source,
    place: Path,
    plan: Plan,
    options: BuildOptions,
    engine: Engine,
    name: str,
) -> None:
    """Write `engine.json` beside the engine that `place` holds. name: of the target."""
    dynamic = bool(engine.options.get("dynamic"))
    shape: tuple[int | str, ...] = options.input_shape
    side_car = SideCar(
        target=name,
        precision=options.precision,
        engine=engine.file,
        engine_sha256=sha256(place / engine.file),
        model_sha256=sha256(source.folder / MODEL),
        weights_sha256=sha256(source.folder / WEIGHTS),
        genotype_hash=source.genotype.hash,
        network=source.network,
        float32_nodes=plan.float32,
        quantisation=plan.quantisation,
        embedded=plan.embed,
        rewrites=plan.rewrites,
        opset=plan.opset,
        threads=options.planned_threads,
        input_shape=("N", options.input_shape[1], "H", "W") if dynamic else shape,
        profile=engine.profile,
        versions=dict(engine.versions),
        device=engine.device,
        driver=_driver() if engine.device.startswith("cuda") else None,
        rebuild=rebuild_command("BUILD", place.name, _options_in_words(plan, engine, options)),
        options=dict(engine.options),
    )
    write_beside(place / SIDE_CAR, side_car.to_json())


def _driver() -> str | None:
    version = cuda_version()
    return None if version is None else f"for CUDA {version[0]}.{version[1]}"


def _options_in_words(plan: Plan, engine: Engine, options: BuildOptions) -> tuple[str, ...]:
    """What `datac compile` was told besides target and precision, as far as it made the engine."""
    words: list[str] = []
    if options.tuning is not None:
        words += ["--plan", f"BUILD/{ENGINES}/{options.tuning.target}-{plan.precision}/{PLAN}"]
    elif options.rewrites is not None:
        words += [word for name in plan.rewrites or (NONE,) for word in ("--rewrite", name)]
    if plan.embed:
        words += ["--embed", ",".join(plan.embed)]
    if engine.profile is not None:
        words += ["--profile", str(engine.profile)]
    elif engine.options.get("dynamic"):
        words += ["--height-width", "dynamic"]
    if engine.device == "cuda":
        words += ["--device", "cuda"]
    if engine.options.get("refittable"):
        words.append("--refittable")
    if plan.quantisation is not None:
        words += ["--calibration", plan.quantisation.method]
        words += [word for name in plan.quantisation.kept for word in ("--keep", name)]
    return tuple(words)
