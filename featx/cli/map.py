"""``featx map``."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from featx.report.places import Method


@click.command()
@click.argument("target", metavar="SET", type=SetPath(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=LocalPath(path_type=Path),
    help="Table to write: X.parquet.",
)
@click.option(
    "--method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    show_default=True,
    help="How items are laid out; umap needs the extra of that name.",
)
@o.seed_option
@o.json_option
@o.quiet_option
def map(target: Path, out: Path, method: str, seed: int, as_json: bool, quiet: bool) -> None:
    """Write where the items of a set lie on a map.

    A Parquet table with the columns id, uri, label, split, text (of sets of texts), x and y, a row
    an item, as the set has them.  Other tools draw it:
    embedding-atlas X.parquet --x x --y y --text text
    """
    from featx.cli.train import require_place
    from featx.report.outputs import require_map

    require_place(out)
    require_map(out)
    opened = o.open_set(target)
    from featx.report.mapfile import write_map

    places = write_map(opened, out, cast("Method", method), seed=seed)
    if as_json:
        told = {"items": len(opened), "method": places.method, "variance": places.share}
        o.print_json(told | {"out": str(out)})
        return
    if places.method != method and not quiet:
        o.say(f"note: {len(opened):,} items are too few for {method}; laid out by {places.method}")
    share = "" if places.share is None else f", {places.share:.1%} of the variance"
    click.echo(f"{out}: {o.counted(len(opened), 'item')}, {places.method}{share}")
