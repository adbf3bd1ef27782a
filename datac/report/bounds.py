"""What became of the bounds of a search, in a sentence each: on the page and on the terminal."""

from collections.abc import Sequence

from datac.documents.search_result import BoundResult


def bound_sentence(bound: BoundResult) -> str:
    """Whether it is met, or missed by how much, and what it changed."""
    latency = bound.quantity == "latency_ms"
    unit, form = ("ms", ",.3f") if latency else (bound.quantity.replace("_", "-"), ",.0f")
    # However little it is, a miss is never written as 0.000 ms.
    missed = f"misses the bound by {bound.excess:{'.3g' if latency else form}}"
    without = f"; without the bound {bound.unbounded:{form}}"
    return (
        f"{bound.child:{form}} {unit}: {missed if bound.excess else 'meets the bound'} of "
        f"{bound.bound:{form}}{without if bound.unbounded != bound.child else ''}; "
        f"a draw has {bound.expected:{form}} on average"
        + (f"; {bound.uncertainty:.1%} of error are added" if bound.uncertainty else "")
    )


def bound_verdicts(bounds: Sequence[BoundResult]) -> list[tuple[str, str, str]]:
    """(style, verdict, sentence) of each, in the order in which they were asked."""
    words = {True: ("fail", "missed"), False: ("pass", "met")}
    return [(*words[bound.excess > 0], bound_sentence(bound)) for bound in bounds]
