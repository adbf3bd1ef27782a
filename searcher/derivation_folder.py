"""From a finished RUN to its certificate and the folder of its most probable genotypes."""

from __future__ import annotations

from pathlib import Path

from datac.documents.derivation import Derivation
from datac.output_folder import check_replaceable, replaced_whole
from searcher.certificate import certify
from searcher.course import read_course

DERIVATION = "derivation.json"


def write_derivation(run: Path, top: int, out: Path) -> Derivation:
    """Certify the search in the folder `run`; write `top` genotypes and the document to `out`.

    The genotypes carry their network and provenance, so they need nothing of the run. An earlier
    derivation in `out` is replaced as a whole. Raises BadInput before anything is written.
    """
    check_replaceable(out, "derivation")
    certificate = certify(read_course(run), top)
    derivation = certificate.derivation
    with replaced_whole(out, "derivation") as folder:
        for entry, genotype in zip(derivation.top, certificate.genotypes, strict=True):
            (folder / entry.file).write_text(genotype.to_json(), encoding="utf-8")
        (folder / DERIVATION).write_text(derivation.to_json(), encoding="utf-8")
    return derivation
