"""The build folder on disk: digests, manifest, side-cars."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from datac import __version__
from datac.documents.build_folder import (
    ENGINES,
    GENOTYPE,
    MANIFEST,
    MODEL,
    PAGE,
    REFERENCE,
    REPORT,
    RUNTIME,
    SIDE_CAR,
    SOURCE,
    WEIGHTS,
    File,
    Manifest,
    SideCar,
)
from datac.documents.genotype import Genotype
from datac.documents.network import Network
from datac.documents.precision import PRECISIONS
from datac.documents.read import read_json
from datac.errors import BadInput
from datac.output_folder import MARKER, write_beside

ORIGINS: dict[str, tuple[tuple[str, ...], str]] = {
    GENOTYPE: ((), "the genotype as given, with the network it is compiled for"),
    WEIGHTS: ((), "the weights as given, or drawn from a seed"),
    MODEL: ((GENOTYPE, WEIGHTS), "lowered, batch norms folded, written as ONNX"),
    SOURCE: ((GENOTYPE,), "lowered and printed"),
    RUNTIME: ((), "the same in every build"),
    REFERENCE: ((GENOTYPE, WEIGHTS), "run in float64"),
}
"""File of a build → what it came from, and the step that made it."""

REBUILD = "rebuild it: "
"""Before the command that makes an engine again, in a sentence on what is wrong with it."""

TRUSTED = "; check, bench and predict take it as it is with --trust"
"""Behind it, where the file is there and may be what its owner wants."""

NOT_DIGESTED = {MANIFEST, REPORT, PAGE, MARKER}
"""What tells of a build rather than being it."""


def sha256(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, genotype: Genotype, network: Network, weights: str) -> None:
    """Digest everything in the folder; `weights` says in words where the weights came from."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in NOT_DIGESTED:
            made_from, made_by = _origin(name)
            files[name] = File(
                sha256=sha256(path),
                size_bytes=path.stat().st_size,
                made_from=made_from,
                made_by=made_by,
            )
    manifest = Manifest(
        genotype_hash=genotype.hash,
        network=network,
        weights=weights,
        datac_version=__version__,
        files=files,
    )
    write_beside(folder / MANIFEST, manifest.to_json())


def _origin(name: str) -> tuple[tuple[str, ...], str]:
    copied = Path(name).name
    if name not in ORIGINS and copied in ORIGINS and copied != MODEL:
        return (copied,), "copied"
    return ORIGINS.get(name, ((MODEL,), "built from the canonical ONNX"))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a build; BadInput where the folder is none."""
    if not (folder / MANIFEST).is_file():
        lacking = f"it has no {MANIFEST}" if folder.is_dir() else "there is no such folder"
        raise BadInput(f"{folder} is not a build: {lacking}; datac compile makes one")
    return read_json(folder / MANIFEST, Manifest)


def read_build_genotype(folder: Path, manifest: Manifest) -> tuple[Genotype, Network]:
    """The genotype of a build, and the network that it was compiled for.

    BadInput where the manifest speaks of another one.
    """
    genotype = read_json(folder / GENOTYPE, Genotype)
    if genotype.network is None:
        raise BadInput(f"{folder / GENOTYPE} names no network; compile the genotype again")
    if (genotype.hash, genotype.network) != (manifest.genotype_hash, manifest.network):
        raise BadInput(
            f"{folder / GENOTYPE} is not the genotype and network that {MANIFEST} describes; "
            "compile again"
        )
    return genotype, genotype.network


def require_intact(
    folder: Path, manifest: Manifest, names: tuple[str, ...], way_out: str = "compile again"
) -> None:
    """BadInput for the first of these files that is not the one the manifest describes."""
    for name in names:
        path = folder / name
        if name not in manifest.files:
            raise BadInput(f"{path} is not listed in {MANIFEST}; {way_out}")
        if not path.is_file():
            raise BadInput(f"{path} is missing; {way_out}")
        if sha256(path) != manifest.files[name].sha256:
            raise BadInput(
                f"{path} is not the file that {MANIFEST} describes (its SHA-256 differs); {way_out}"
            )


def rebuild_command(folder: Path | str, engine: str, options: Sequence[str] = ()) -> str:
    """What makes the engine of this name (`onnx-f32`) again from the canonical ONNX.

    options: besides target and precision, where they are known.
    """
    target, _, precision = engine.rpartition("-")
    data = " --data DATASET" if precision == "int8" else ""
    words = ["datac", "compile", str(folder), "--target", target, "--precision", precision]
    return shlex.join([*words, *options]) + data


def engine_folders(folder: Path, manifest: Manifest) -> list[Path]:
    """The folders of the build's engines, those there and those listed.

    By target, and of one target in float32 first: the order in which they are made, and tried.
    """
    found = {path.parent for path in (folder / ENGINES).glob(f"*/{SIDE_CAR}")}
    listed = {(folder / name).parent for name in manifest.files if name.endswith(f"/{SIDE_CAR}")}
    return sorted(found | listed, key=_place_in_order)


def _place_in_order(engine: Path) -> tuple[str, int, str]:
    target, _, precision = engine.name.rpartition("-")
    known = [*PRECISIONS]
    return target, known.index(precision) if precision in known else len(known), engine.name


def read_side_car(
    folder: Path, engine: Path, manifest: Manifest, *, trust: bool = False
) -> SideCar:
    """The side-car of an engine, once every file beside it is what the manifest describes.

    trust: take the files as they are. An engine is native code, or read by some: whoever made it
    decides what this process does.
    """
    place = engine.relative_to(folder).as_posix()
    way_out = f"{REBUILD}{rebuild_command(folder, engine.name)}"
    if not (engine / SIDE_CAR).is_file():
        raise BadInput(f"{engine / SIDE_CAR} is missing; {way_out}")
    if not trust:
        listed = {name for name in manifest.files if name.startswith(f"{place}/")}
        files = (path for path in engine.rglob("*") if path.is_file())
        found = {path.relative_to(folder).as_posix() for path in files}
        if missing := sorted(listed - found):
            raise BadInput(f"{folder / missing[0]} is missing; {way_out}")
        require_intact(folder, manifest, tuple(sorted(listed | found)), f"{way_out}{TRUSTED}")
    side_car = read_json(engine / SIDE_CAR, SideCar)
    _require_of_this_build(side_car, engine, manifest, way_out)
    if not (engine / side_car.engine).is_file():
        raise BadInput(f"{engine / side_car.engine} is missing; {way_out}")
    if not trust and sha256(engine / side_car.engine) != side_car.engine_sha256:
        raise BadInput(
            f"{engine / side_car.engine} is not the engine that {SIDE_CAR} describes; {way_out}"
            f"{TRUSTED}"
        )
    return side_car


def _require_of_this_build(
    side_car: SideCar, engine: Path, manifest: Manifest, way_out: str
) -> None:
    """BadInput for a side-car that belongs beside another engine, or into another build.

    The model that it was built from is no part of this: there the gate has a verdict.
    """
    if engine.name != f"{side_car.target}-{side_car.precision}":
        raise BadInput(
            f"{engine / SIDE_CAR} describes the engine {side_car.target}-{side_car.precision}, "
            f"which is not the name of its folder; {way_out}"
        )
    described = (side_car.genotype_hash, side_car.network)
    if described != (manifest.genotype_hash, manifest.network):
        raise BadInput(
            f"{engine / SIDE_CAR} is of another genotype or network than {MANIFEST}; {way_out}"
        )
