"""The gap of a search in a sentence, and as a figure: four networks and where chance is."""

from markupsafe import Markup

from datac.documents.gap import Gap
from datac.documents.sentences import counted
from datac.report.figures import ROW, STYLE, WIDTH
from datac.report.svg import drawing, element

RIGHT = WIDTH - 12
"""Where the largest value stands, in px."""
METRICS = {"accuracy": "accuracy", "miou": "mIoU"}


def gap_sentence(gap: Gap) -> str:
    """What was measured, and what that says; the same on the page and on the terminal."""
    name, draws = METRICS[gap.metric], counted(len(gap.sampled), "draw")
    if gap.chance + gap.margin >= 1:
        return (
            f"No gap can be measured: the validation split is too small to tell a supernet from "
            f"chance, which may reach any {name}; give more samples."
        )
    if gap.gap is None:
        return (
            f"No gap can be measured: the supernet is at chance, with {name} {gap.supernet:.3f} "
            f"over {draws} where the commonest class everywhere has {gap.chance:.3f} and "
            f"luck up to {gap.chance + gap.margin:.3f}."
        )
    parts = ", ".join(f"{part} {_signed(value)}" for part, value in gap.parts.items())
    return (
        f"The gap is {_signed(gap.gap)} ± {gap.spread:.3f} {name} ({parts}): the supernet has "
        f"{gap.supernet:.3f} over {draws}, the child with its weights {gap.child:.3f}, "
        f"chance {gap.chance:.3f}."
    )


def _signed(value: float) -> str:
    """Three places; what rounds to zero has no sign of its own."""
    return f"{round(value, 3) + 0.0:+.3f}"


def gap_figure(gap: Gap) -> Markup:
    """A bar to each network's metric, a dot to each draw; the zone is that of chance."""
    limit = gap.chance + gap.margin
    largest = max(*gap.sampled, gap.derived, gap.recomputed, gap.child, limit) or 1.0
    edge = limit / largest * RIGHT
    networks = [
        (f"supernet, {counted(len(gap.sampled), 'draw')}", gap.supernet, f" ± {gap.spread:.3f}"),
        ("supernet, the derived code", gap.derived, ""),
        ("child, batch statistics recomputed", gap.recomputed, ""),
        ("child, as it inherits", gap.child, ""),
    ]
    bottom = ROW * len(networks)
    bars = [_bar(ROW * row, *network, largest) for row, network in enumerate(networks)]
    draws = [
        element("circle", cx=x / largest * RIGHT, cy=29, r=3.5, class_="hollow")
        for x in gap.sampled
    ]
    parts = [
        element("rect", x=0, y=0, width=edge, height=bottom, class_="zone"),
        *bars,
        element("line", x1=edge, x2=edge, y1=0, y2=bottom, class_="limit"),
        *draws,
        element("text", f"at chance up to {limit:.3f}", x=0, y=bottom + 18, class_="faint"),
    ]
    label = f"{METRICS[gap.metric]} of the supernet and of the child derived from it"
    return drawing(WIDTH, bottom + 24, label, STYLE, *parts, class_="figure")


def _bar(y: float, name: str, value: float, note: str, largest: float) -> Markup:
    numbers, width = f"{value:.3f}{note}", value / largest * RIGHT
    return element(
        "g",
        element("title", f"{name}: {numbers}"),
        element("text", name, x=0, y=y + 15),
        element("text", numbers, x=WIDTH, y=y + 15, class_="faint end"),
        element("rect", x=1, y=y + 22, width=width, height=14, rx=2, class_="bar"),
    )
