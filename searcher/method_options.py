"""What may be asked of a method, and the method that it makes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from compiler.candidates import CANDIDATES
from datac.documents.genotype import Aggregation
from datac.documents.network import Network
from datac.documents.search_result import Granularity
from datac.documents.search_space import NONE
from datac.documents.sentences import nearest, quote
from datac.errors import BadInput
from searcher.gumbel import Layout
from searcher.methods import METHODS, Level, Method

MOST_NODES = 16
"""A typing mistake shall not exhaust the memory: a cell of so many has 152 edges."""

GIVEN = ("layout", "aggregation", "network")
"""The fields of a method that are no options."""


@dataclass(frozen=True)
class MethodOptions:
    """A method by name, and what is asked of it; None leaves it to the method.

    Those without a comment here are fields of the methods that have them, which say what they
    mean. granularity, level: one of those that the method lists.
    """

    name: str = "data"
    granularity: Granularity | None = None
    level: Level | None = None
    draws: int | None = None
    probabilities: Literal["softmax", "clamp"] | None = None
    adc: float | None = None
    match_macs: int | None = None
    match_tolerance: float | None = None

    def __post_init__(self) -> None:
        """Refuse what the method does not have."""
        if self.name not in METHODS:
            known = nearest(self.name, METHODS) or f"; known are {', '.join(METHODS)}"
            raise BadInput(f"--method {quote(self.name)} is unknown{known}")
        for name in self._asked():
            if name not in _own_options(METHODS[self.name]):
                raise BadInput(f"{_flag(name)}: --method {self.name} has no such option; omit it")
        if self.match_tolerance is not None and self.match_macs is None:
            raise BadInput("--match-tolerance does nothing without --match-macs; give both or none")
        _one_of("granularity", self.granularity, METHODS[self.name].granularities, self.name)
        _one_of("level", self.level, METHODS[self.name].levels, self.name)

    def _asked(self) -> dict[str, Any]:
        """The fields of the method itself that were given."""
        apart = ("name", "granularity", "level")
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v for k, v in values.items() if k not in apart and v is not None}

    @property
    def level_chosen(self) -> Level | None:
        """The one asked for, or the method's usual one; None where no logit learns."""
        return self.level or next(iter(METHODS[self.name].levels), None)

    def make(
        self, candidates: tuple[str, ...], nodes: int, aggregation: Aggregation, network: Network
    ) -> Method:
        """The method over a search space. network: what its genotype is written for."""
        check_space(candidates, nodes)
        kind = METHODS[self.name]
        layout = Layout(candidates, nodes, self.granularity or kind.granularities[0])
        given: dict[str, Any] = {"layout": layout, "aggregation": aggregation, "network": network}
        names = {field.name for field in fields(kind)}
        return kind(**{k: v for k, v in given.items() if k in names}, **self._asked())

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be one: the method, and all that it can be asked."""
        kind = METHODS[self.name]
        defaults = {field.name: field.default for field in fields(kind)}
        own = {name: defaults[name] for name in _own_options(kind)} | self._asked()
        return {
            "method": self.name,
            **own,
            "granularity": self.granularity or kind.granularities[0],
            "level": self.level_chosen,
        }


def check_space(candidates: tuple[str, ...], nodes: int) -> None:
    """BadInput where a candidate is unknown or the cell too large; the layout refuses the rest."""
    for name in candidates:
        if name not in CANDIDATES and name != NONE:
            hint = nearest(name, (NONE, *CANDIDATES))
            raise BadInput(
                f"--candidates: unknown operation {quote(name)}{hint} "
                "(datac show --operations lists all)"
            )
    if nodes > MOST_NODES:
        raise BadInput(f"--nodes {nodes}: a cell may have 1 to {MOST_NODES} nodes")


def _own_options(kind: type[Method]) -> list[str]:
    return [field.name for field in fields(kind) if field.name not in GIVEN]


def _flag(name: str) -> str:
    return "-M" if name == "draws" else f"--{name.replace('_', '-')}"


def _one_of(name: str, asked: str | None, known: tuple[str, ...], method: str) -> None:
    if asked is not None and asked not in known:
        has = f"has {' and '.join(known)}" if known else "has no such option"
        raise BadInput(f"--{name} {asked}: --method {method} {has}; leave the option out")
