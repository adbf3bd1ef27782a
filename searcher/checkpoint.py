"""What a long run saves so that it can go on: written whole or not at all, never unpickled."""

from __future__ import annotations

import io
import pickle
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from datac import __version__
from datac.errors import BadInput
from datac.output_folder import write_beside
from datac.signals import heard_by

CHECKPOINT = "checkpoint.pt"

Option = str | int | float | bool | None


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Tensors and plain values only, and our version; beside the old file, then renamed over it."""
    buffer = io.BytesIO()
    torch.save({**content, "datac": __version__}, buffer)
    write_beside(path, buffer.getvalue())


def load_checkpoint(path: Path, schema: str) -> dict[str, Any]:
    """The content, on the host. BadInput where the file is missing, damaged or another's.

    Another version's is refused even where it could be read: its steps may not be ours, and what
    is resumed must be the run that was interrupted.
    """
    if not path.is_file():
        raise BadInput(f"{path}: there is no checkpoint; give --restart instead of --resume")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise BadInput(f"{path}: not a whole checkpoint; give --restart to begin anew") from error
    if not isinstance(content, dict) or not _is_of_kind(content.get("schema"), schema):
        raise BadInput(f"{path}: not a checkpoint of {schema}; give --restart to begin anew")
    version = content.get("datac", "of an unknown version")
    if content["schema"] != schema or version != __version__:
        raise BadInput(
            f"{path} was made by datac {version} ({content['schema']}), this is {__version__} "
            f"({schema}); resume with the version that began, or give --restart to begin anew"
        )
    return content


def _is_of_kind(found: object, schema: str) -> bool:
    """Whether it is the schema but for its version."""
    return isinstance(found, str) and found.rpartition("/")[0] == schema.rpartition("/")[0]


def check_same_options(
    saved: Mapping[str, Option], asked: Mapping[str, Option], path: Path
) -> None:
    """BadInput that names the first option by which a run differs from the one it resumes."""
    for name in dict.fromkeys([*asked, *saved]):
        if saved.get(name) != asked.get(name):
            raise BadInput(
                f"{path} was made {_how(name, saved.get(name), asked.get(name))}; give the "
                "options of the interrupted run, or --restart to begin anew"
            )


def _how(name: str, saved: Option | None, asked: Option | None) -> str:
    if saved is None:
        return f"without {name}, not with {asked}"
    return f"with {name} {saved}, not " + ("without it" if asked is None else str(asked))


def random_state() -> dict[str, Any]:
    """The state of torch's global generators, of every device."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Undo what was drawn since `random_state`; a GPU that is not here any more is left out."""
    torch.set_rng_state(state["cpu"])
    for index, device in enumerate(state["cuda"]):
        if torch.cuda.is_available() and index < torch.cuda.device_count():
            torch.cuda.set_rng_state(device, index)


@dataclass
class Interruption:
    """Whether the user has asked to stop."""

    asked: bool = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Ctrl-C sets the flag, so that a step can end and be saved; a second one interrupts at once.

    Outside the main thread, where Python lets nobody listen, the flag stays down.
    """
    state = Interruption()

    def ask(number: int, frame: FrameType | None) -> None:
        if state.asked:
            signal.default_int_handler(number, frame)
        state.asked = True

    with heard_by(signal.SIGINT, ask):
        yield state
