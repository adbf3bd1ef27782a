"""Faults that the gate is tried on, by family. A new one is a function and a line of its table."""

from collections.abc import Collection

from datac.documents.sentences import nearest, quote
from datac.errors import BadInput
from exporters.faults.attributes import ATTRIBUTES
from exporters.faults.fault import Damaged, Fault, inject
from exporters.faults.inputs import INPUTS
from exporters.faults.numerics import NUMERICS
from exporters.faults.weights import WEIGHTS
from exporters.faults.wiring import WIRING

FAULTS: dict[str, Fault] = WEIGHTS | ATTRIBUTES | WIRING | NUMERICS | INPUTS


def resolve(names: Collection[str]) -> Collection[str]:
    """These faults, or all where none is named. Raises BadInput for a name that none has."""
    for name in names:
        if name not in FAULTS:
            hint = nearest(name, FAULTS) or f"; the faults are {', '.join(FAULTS)}"
            raise BadInput(f"there is no fault {quote(name)}{hint}")
    return names or tuple(FAULTS)


__all__ = ["FAULTS", "Damaged", "Fault", "inject", "resolve"]
