"""What a latency table says an engine should take, to be held against what it does."""

from __future__ import annotations

from compiler.path_places import path_places
from datac.documents.genotype import Genotype
from datac.documents.latency_table import LatencyTable
from datac.documents.network import Network
from datac.documents.precision import Precision
from datac.documents.search_space import SearchSpace


def predicted_ms(
    table: LatencyTable, genotype: Genotype, network: Network, target: str, precision: Precision
) -> float | None:
    """The remainder of the network and the entries of its paths; None where the table lacks any."""
    remainder = table.remainders_of(network).get((target, precision))
    if remainder is None:
        return None
    cells = genotype.cells
    paths = [path for cell in cells.values() for node in cell.nodes for path in node.paths]
    space = SearchSpace(
        candidates=tuple(dict.fromkeys(path.operation for path in paths)),
        nodes=max(len(cell.nodes) for cell in cells.values()),
    )
    entries, total = table.by_key(), remainder
    for place in path_places(network, space)[0]:
        count = place.count(genotype)
        if count:
            entry = entries.get(place.key(target, precision))
            if entry is None:
                return None
            total += count * entry.median_ms
    return total
