"""A data set's summary as tables for a person."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from datac.documents.dataset_summary import DatasetSummary, SplitSummary
from datac.documents.sentences import counted


def print_summary(summary: DatasetSummary) -> None:
    """Splits, then classes, to standard output."""
    console = Console()
    classes = counted(len(summary.classes.names), "class", "classes")
    title = f"{summary.name}: {summary.task}, {classes}"
    console.print(f"{escape(title)}\ndigest {summary.digest}")
    console.print(_splits(summary))
    console.print(_classes(summary))


def _splits(summary: DatasetSummary) -> Table:
    table = Table("split", title_justify="left")
    for heading in ("samples", "read", "height x width"):
        table.add_column(heading, justify="right")
    for name, split in summary.splits.items():
        table.add_row(name, str(split.samples), str(split.sampled), _sizes(split))
    return table


def _sizes(split: SplitSummary) -> str:
    """The three most frequent sizes."""
    shown = [f"{size.height}x{size.width} ({size.images})" for size in split.sizes[:3]]
    rest = len(split.sizes) - len(shown)
    return "\n".join([*shown, f"and {counted(rest, 'other size')}"] if rest else shown)


def _classes(summary: DatasetSummary) -> Table:
    what = "pixels" if summary.task == "segmentation" else "samples"
    table = Table("", "class", title_justify="left")
    for name in summary.splits:
        table.add_column(f"{name}, % of {what}", justify="right")
    for number, name in enumerate(summary.classes.names):
        shares = [f"{100 * split.shares[number]:.2f}" for split in summary.splits.values()]
        table.add_row(str(number), escape(name), *shares)
    if summary.classes.ignore_index is not None:
        ignored = [f"{100 * split.ignored:.2f}" for split in summary.splits.values()]
        table.add_row(str(summary.classes.ignore_index), "(ignored)", *ignored)
    return table
