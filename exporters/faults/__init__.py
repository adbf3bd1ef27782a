"""Faults that the gate is tried on, by family. A new one is a function and a line of its table."""

from exporters.faults.attributes import ATTRIBUTES
from exporters.faults.fault import Damaged, Fault, inject
from exporters.faults.inputs import INPUTS
from exporters.faults.numerics import NUMERICS
from exporters.faults.weights import WEIGHTS
from exporters.faults.wiring import WIRING

FAULTS: dict[str, Fault] = WEIGHTS | ATTRIBUTES | WIRING | NUMERICS | INPUTS

__all__ = ["FAULTS", "Damaged", "Fault", "inject"]
