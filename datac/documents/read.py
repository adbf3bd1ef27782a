"""The one reader: a file, bytes or a name → a document, or one BadInput sentence.

Nothing is trusted: a path may be a folder, a pipe or an endless device, its content may be
anything, and it is never evaluated.
"""

import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from datac.documents.ablation import Ablation
from datac.documents.bisection import Bisection
from datac.documents.build_folder import GENOTYPE, Manifest, SideCar
from datac.documents.dataset_summary import DatasetSummary
from datac.documents.derivation import Derivation
from datac.documents.diagnosis import Diagnosis
from datac.documents.document import Document
from datac.documents.engine_plan import EnginePlan
from datac.documents.genotype import Genotype
from datac.documents.latency_table import LatencyTable
from datac.documents.layer_profile import LayerProfile
from datac.documents.network import Network
from datac.documents.report import Report
from datac.documents.search_result import SearchResult
from datac.documents.search_space import SearchSpace
from datac.documents.selftest import SelfTest
from datac.documents.sentences import first_problem, nearest, printable, quote
from datac.documents.text_forms import parse_text
from datac.documents.train_result import TrainResult
from datac.documents.unfinished_table import UnfinishedTable
from datac.errors import BadInput
from datac.published import NAMES, load

SMALL = 2**16
MIB = 1024 * 1024
STANDARD_INPUT = "-"
LONGEST_NAME = 300
"""Characters of a path that a sentence shows."""

# Not to wait for the writer of a pipe; Windows would translate line ends.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Content = dict[str, Any]
AnyDocument = TypeVar("AnyDocument", bound=Document)


@dataclass(frozen=True)
class Format:
    """One version of a document's JSON.

    `upgrade` turns the content of an old version into that of the next one, `schema` included;
    the newest version has none.
    """

    document: type[Document]
    limit_bytes: int = 8 * MIB
    upgrade: Callable[[Content], Content] | None = None


FORMATS: dict[str, Format] = {
    "datac.genotype/1": Format(Genotype),
    "datac.network/1": Format(Network),
    "datac.search_space/1": Format(SearchSpace),
    "datac.search_result/1": Format(SearchResult),
    "datac.derivation/1": Format(Derivation),
    "datac.train_result/1": Format(TrainResult),
    "datac.latency_table/1": Format(LatencyTable, limit_bytes=64 * MIB),
    "datac.unfinished_table/1": Format(UnfinishedTable, limit_bytes=64 * MIB),
    "datac.dataset_summary/1": Format(DatasetSummary),
    "datac.diagnosis/1": Format(Diagnosis),
    "datac.manifest/1": Format(Manifest),
    "datac.engine/1": Format(SideCar),
    "datac.ablation/1": Format(Ablation),
    "datac.bisection/1": Format(Bisection),
    "datac.layer_profile/1": Format(LayerProfile),
    "datac.plan/1": Format(EnginePlan),
    "datac.selftest/1": Format(SelfTest, limit_bytes=64 * MIB),
    "datac.report/1": Format(Report, limit_bytes=256 * MIB),  # it carries images
}
"""Every schema that this version reads. A new version is a line here; an old one stays."""


def read_json(
    source: Path | str | bytes, document: type[AnyDocument], name: str | None = None
) -> AnyDocument:
    """The document in a file or in bytes, upgraded from an older version where need be.

    `name` is what a BadInput calls the source; a path has its own.
    """
    if isinstance(source, bytes):
        raw, shown = source, name or "document"
    else:
        raw, shown = read_bytes(source, _limit(document), name), name or _shown(source)
    return _document(_decoded(raw, shown), document, shown)


def check_no_document(path: Path) -> None:
    """BadInput where one of datac's own documents stands, which something else would replace."""
    largest = max(form.limit_bytes for form in FORMATS.values())
    try:
        content = _decoded(read_bytes(path, largest), _shown(path))
    except BadInput:
        return  # nothing is there, or nothing that datac would read
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, str) and schema.startswith("datac."):
        raise BadInput(f"{path} is a document ({schema}) and is not replaced; name another file")


def check_replaceable_file(path: Path, document: type[Document]) -> None:
    """BadInput where a file stands that is no such document: it is not ours to replace."""
    if not path.is_file():
        return  # a device, such as /dev/null, is not replaced
    try:
        read_json(path, document)
    except BadInput as error:
        raise BadInput(f"{error}; it is not replaced, name another file to write") from error


def read_genotype(spec: str) -> Genotype:
    """The genotype that a user names: `-`, a published name, or a file with JSON or a text form.

    A published name wins over a file of the same name, which `./NAME` still reaches.
    """
    if spec == STANDARD_INPUT:
        return _genotype(_standard_input(), "standard input")
    if spec in NAMES:
        return load(spec)
    if not _exists(spec):
        raise BadInput(_neither_file_nor_name(spec))
    return _genotype(read_bytes(spec, _limit(Genotype)), _shown(spec))


def read_bytes(path: Path | str, limit_bytes: int, name: str | None = None) -> bytes:
    """The content of a regular file of at most `limit_bytes`; never waits, never reads more."""
    shown = name or _shown(path)
    try:
        handle = os.open(path, OPEN_FLAGS)
    except (OSError, ValueError) as error:
        raise BadInput(f"{shown}: {_reason(error)}") from error
    try:
        state = os.fstat(handle)
        _check_kind(state.st_mode, path, shown)
        # Python takes memory for as much as it is told to read. A file may say that it is empty
        # and not be (/proc), so a little is read whatever it says.
        most = min(limit_bytes, max(state.st_size, SMALL))
        with open(handle, "rb", closefd=False) as file:
            return _within(file.read(most + 1), limit_bytes, shown)
    except OSError as error:
        raise BadInput(f"{shown}: {_reason(error)}") from error
    finally:
        os.close(handle)


def _check_kind(mode: int, path: Path | str, shown: str) -> None:
    if stat.S_ISDIR(mode):
        inside = Path(path) / GENOTYPE
        hint = f"; did you mean {_shown(inside)}?" if inside.is_file() else ""
        raise BadInput(f"{shown}: is a folder, not a file{hint}")
    if not stat.S_ISREG(mode):
        raise BadInput(f"{shown}: is a device or a pipe, not a file; give - to read standard input")


def _within(raw: bytes, limit_bytes: int, shown: str) -> bytes:
    if len(raw) > limit_bytes:
        raise BadInput(f"{shown}: larger than the {limit_bytes // MIB} MiB that it may have")
    return raw


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "may not be read by this user"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror.lower()})"
    return f"cannot be read ({error})"


def _shown(path: Path | str) -> str:
    return printable(str(path)[:LONGEST_NAME])


def _exists(spec: str) -> bool:
    try:
        return os.path.lexists(spec)
    except ValueError:  # a null byte
        return False


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise BadInput("standard input: is closed")
    limit_bytes = _limit(Genotype)
    return _within(sys.stdin.buffer.read(limit_bytes + 1), limit_bytes, "standard input")


def _neither_file_nor_name(spec: str) -> str:
    shown = _shown(spec)
    if os.sep in spec or "." in spec:
        return f"{shown}: there is no such file"
    guess = nearest(spec, NAMES, most=3) or f"; published are {', '.join(NAMES)}"
    return f"{shown}: neither a file nor the name of a published cell{guess}"


def _genotype(raw: bytes, shown: str) -> Genotype:
    text = _text(raw, shown)
    # A dict that Python printed begins like JSON does.
    printed_dict = "normal_concat" in text and '"schema"' not in text
    if text.startswith("{") and not printed_dict:
        return _document(_parsed(text, shown), Genotype, shown)
    return parse_text(text, shown)


def _decoded(raw: bytes, shown: str) -> Any:
    return _parsed(_text(raw, shown), shown)


def _text(raw: bytes, shown: str) -> str:
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadInput(f"{shown}: not UTF-8 text (byte {error.start})") from error
    if not text:
        raise BadInput(f"{shown}: is empty")
    return text


def _parsed(text: str, shown: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg.lower()}"
        raise BadInput(f"{shown}: not JSON ({place})") from error
    except RecursionError as error:
        raise BadInput(f"{shown}: not a document of datac: nested too deeply") from error
    except ValueError as error:  # a key that stands twice, a number of endless digits
        raise BadInput(f"{shown}: not JSON ({printable(str(error))})") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> Content:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {quote(twice)} stands twice")
    return content


def _document(content: Any, document: type[AnyDocument], shown: str) -> AnyDocument:
    """Upgrades and validates what the JSON held."""
    if not isinstance(content, dict):
        raise BadInput(f"{shown}: an object of {_schema(document)} is needed, not {quote(content)}")
    content = _upgraded(content, document, shown)
    try:
        return document.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"{shown}: {first_problem(error, document)}") from error


def _upgraded(content: Content, document: type[Document], shown: str) -> Content:
    while True:
        schema = content.get("schema")
        known = FORMATS.get(schema) if isinstance(schema, str) else None
        if known is None or known.document is not document:
            _refuse_schema(schema, document, shown)
        if known.upgrade is None:
            return content
        content = known.upgrade(content)


def _refuse_schema(schema: object, document: type[Document], shown: str) -> NoReturn:
    wanted = _schema(document)
    if schema is None:
        raise BadInput(f'{shown}: "schema" is missing; it must be {quote(wanted)}')
    if not isinstance(schema, str):
        raise BadInput(f'{shown}: "schema" must be {quote(wanted)}, not {quote(schema)}')
    family = wanted.rpartition("/")[0]
    if schema.rpartition("/")[0] == family:
        readable = " and ".join(known for known in FORMATS if known.rpartition("/")[0] == family)
        raise BadInput(
            f"{shown}: the version of {quote(schema)} is unknown; this datac reads {readable}"
        )
    raise BadInput(f"{shown}: is {quote(schema)}, but {quote(wanted)} is needed")


def _schema(document: type[Document]) -> str:
    return str(document.model_fields["schema_"].default)


def _limit(document: type[Document]) -> int:
    return FORMATS[_schema(document)].limit_bytes
