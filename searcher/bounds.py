"""The bounds of a search: what the command line asks, and what they mean for one child network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from compiler.lower import lower
from datac.documents.genotype import Cell, CellKind, Genotype
from datac.documents.latency_table import LatencyTable
from datac.documents.network import Network
from datac.documents.search_result import ROUNDING, Quantity
from datac.documents.search_space import SearchSpace
from datac.errors import BadInput
from searcher.path_costs import PathCosts, counted_costs, timed_costs

LARGEST = 1e18
"""Of a bound: far beyond any network, and short of what a float cannot hold."""

LONGEST_SHOWN = 24


@dataclass(frozen=True)
class Limits:
    """What the command line asks; None asks nothing. table: where latencies are looked up."""

    max_params: int | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None
    table: LatencyTable | None = None

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        for option, value in self._by_option().items():
            if value is not None and not 0 < value < LARGEST:
                shown = str(value)[:LONGEST_SHOWN]
                raise BadInput(
                    f"{option} {shown}: a bound is a number above 0 and below {LARGEST:g}"
                )
        if self.max_latency_ms is not None and self.table is None:
            raise BadInput(
                "--max-latency-ms needs --table FILE, the latency table of the machine that the "
                "network is for"
            )
        if self.table is not None and self.max_latency_ms is None:
            raise BadInput("--table does nothing without --max-latency-ms; give both or neither")

    def _by_option(self) -> dict[str, float | None]:
        return {
            "--max-params": self.max_params,
            "--max-macs": self.max_macs,
            "--max-latency-ms": self.max_latency_ms,
        }

    def identity(self) -> dict[str, str]:
        """What must be equal for two runs to be one: nothing where nothing is bounded."""
        asked = {
            option: f"{value:.17g}"
            for option, value in self._by_option().items()
            if value is not None
        }
        return asked if self.table is None else {**asked, "--table": self.table.digest}

    def bounds(self, network: Network, space: SearchSpace) -> tuple[Bound, ...]:
        """The bounds for a child network. BadInput for one that no genotype can meet."""
        found = []
        if self.max_params is not None:
            costs = counted_costs(network, space, "parameters")
            found.append(Bound("parameters", "--max-params", self.max_params, costs))
        if self.max_macs is not None:
            costs = counted_costs(network, space, "multiply_adds")
            found.append(Bound("multiply_adds", "--max-macs", self.max_macs, costs))
        if self.max_latency_ms is not None and self.table is not None:
            costs = timed_costs(network, space, self.table)
            found.append(Bound("latency_ms", "--max-latency-ms", self.max_latency_ms, costs))
        for bound in found:
            bound.check_possible(space)
        return tuple(found)


@dataclass(frozen=True)
class Bound:
    """At most `value` of a quantity, in its unit; `costs` are those of the child's network."""

    quantity: Quantity
    option: str
    value: float
    costs: PathCosts

    def excess(self, cells: Mapping[CellKind, Cell]) -> float:
        """By how much a child misses the bound; 0 where it meets it."""
        over = self.costs.of(cells) - self.value
        return over if over > ROUNDING * self.value else 0.0

    def count(self, genotype: Genotype, network: Network) -> float:
        """The cost of a child: counted by the compiler, but for a latency, which is looked up."""
        if self.quantity == "latency_ms":
            return self.costs.of(genotype.cells)
        cost = lower(genotype, network, keep_unread=True).cost()
        return float(getattr(cost, self.quantity))

    def check_possible(self, space: SearchSpace) -> None:
        """BadInput where even the smallest child costs more."""
        smallest = self.costs.smallest(space)
        if smallest > self.value * (1 + ROUNDING):
            raise BadInput(
                f"{self.option} {self.value:.12g}: the smallest possible child "
                f"of this network has {amount(smallest, self.quantity)}; give a bound of that or "
                "more, or a smaller network (--channels, --cells, --head-channels)"
            )


def amount(value: float, quantity: Quantity) -> str:
    """A number for a sentence, rounded up: `1,234 parameters`, `1.25 ms`."""
    if quantity == "latency_ms":
        return f"{math.ceil(value * 1e4 * (1 - ROUNDING)) / 1e4:g} ms"
    return f"{math.ceil(value):,} {quantity.replace('_', '-')}"
