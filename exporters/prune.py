"""A smaller network of a build or a child: without some paths, with the weights of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import save

from compiler.lower import lower
from compiler.prune import PathName, inherited, parse_place, path_at, without
from compiler.weights import check_weights, read_weights_file
from datac.documents.build_folder import GENOTYPE, MANIFEST, WEIGHTS
from datac.documents.genotype import Genotype, Provenance
from datac.documents.genotype import Path as CellPath
from datac.documents.network import Network
from datac.documents.read import read_json
from datac.errors import BadInput
from datac.output_folder import check_replaceable, replaced_whole, state_of, write_beside
from exporters.build_folder import read_build_genotype, read_manifest, require_intact


@dataclass(frozen=True)
class Pruned:
    """What went, and how large it was and is: parameters, and multiply-adds for one input."""

    left_out: Mapping[PathName, CellPath]
    parameters: tuple[int, int]
    multiply_adds: tuple[int, int]


def prune(source: Path, words: Sequence[str], out: Path) -> Pruned:
    """Write a child without the paths that the words name (`normal/node2/path0`).

    source: a build, or a finished child. BadInput for any other, and for a path that cannot go.
    """
    check_replaceable(out, "child")
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise BadInput(f"{source} is also the folder to write, or in it; give another --out")
    if state_of(out) == ("child", False):
        raise BadInput(f"{out} holds an unfinished training; choose another --out, or finish it")
    genotype, network = _read(source)
    places = list(dict.fromkeys(map(parse_place, words)))
    smaller = without(genotype, places).model_copy(
        update={"network": network, "provenance": _provenance(genotype, places)}
    )
    weights = read_weights_file(source / WEIGHTS)
    whole = lower(genotype, network)
    shapes = {name: spec.shape for name, spec in whole.weight_specs().items()}
    check_weights(shapes, weights, str(source / WEIGHTS))
    kept = inherited(genotype, network, places, weights)
    with replaced_whole(out, "child") as folder:
        write_beside(folder / GENOTYPE, smaller.to_json())
        write_beside(folder / WEIGHTS, save(dict(kept)))
    before, after = whole.cost(), lower(smaller, network).cost()
    return Pruned(
        {place: path_at(genotype, place) for place in places},
        (before.parameters, after.parameters),
        (before.multiply_adds, after.multiply_adds),
    )


def _provenance(genotype: Genotype, places: Sequence[PathName]) -> Provenance:
    """That of the whole genotype, and what became of it since."""
    earlier = genotype.provenance or Provenance(method="prune")
    since = f"genotype {genotype.hash[:12]} without {', '.join(map(str, places))}"
    steps = [earlier.source, since] if earlier.source else [since]
    return earlier.model_copy(update={"source": "; ".join(steps)})


def _read(source: Path) -> tuple[Genotype, Network]:
    if (source / MANIFEST).is_file():
        manifest = read_manifest(source)
        require_intact(source, manifest, (GENOTYPE, WEIGHTS))
        return read_build_genotype(source, manifest)
    if state_of(source) != ("child", True):
        raise BadInput(f"{source} is neither a build nor a finished child; name one of these")
    genotype = read_json(source / GENOTYPE, Genotype)
    if genotype.network is None:
        raise BadInput(f"{source / GENOTYPE} does not say what network it is of; train it again")
    return genotype, genotype.network
