"""`datac dataset`: what the loader sees of a data set.

datac dataset shapes
datac dataset ./CamVid --sheet camvid.png
datac dataset voc:./VOCdevkit/VOC2012 --json
"""

from pathlib import Path

import click


@click.command()
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option(
    "--sheet",
    "sheet_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a contact sheet of samples as a PNG file.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many samples of each split to read for sizes and shares.",
)
def dataset(dataset: str, as_json: bool, sheet_path: Path | None, samples: int) -> None:
    """Show splits, counts, image sizes and the share of each class.

    DATASET is `shapes` or `shapes-classification` (embedded), a folder (data.toml, CamVid,
    Pascal VOC, CIFAR-10, images sorted by class), or FAMILY:FOLDER.
    """
    from datac.cli.dataset_table import print_summary
    from datac.datasets import open_dataset
    from datac.datasets.describe import describe
    from datac.datasets.sheet import sheet
    from datac.errors import BadInput

    if sheet_path is not None and sheet_path.suffix.lower() != ".png":
        raise BadInput(f"--sheet {sheet_path}: the sheet is a PNG file; give a name in .png")
    opened = open_dataset(dataset)
    summary = describe(opened, samples)
    if sheet_path is not None:
        sheet(opened, sheet_path)
    if as_json:
        click.echo(summary.to_json(), nl=False)
    else:
        print_summary(summary)
