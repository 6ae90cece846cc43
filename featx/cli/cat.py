"""``featx cat``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from featx.cli import options as o
from featx.cli.urlarguments import SetPath


@click.command()
@click.argument("target", metavar="SET|X.knn", type=SetPath(path_type=Path))
@click.option("-n", "--limit", type=click.IntRange(min=1), help="First rows only.")
@click.option("--vectors", is_flag=True, help="Print the vectors too.")
@o.json_option
def cat(target: Path, limit: int | None, vectors: bool, as_json: bool) -> None:
    """Print the rows of an embedding set, or the items of a gallery.

    Of a gallery: what was added comes last, and what was removed is left out; vectors that were
    added are of length one where cosines are compared.

    With --json one object a line, ready for jq.
    """
    is_gallery = target.suffix == ".knn" or (target / "gallery.json").is_file()
    rows = _of_gallery if is_gallery else _of_set
    for row in rows(target, limit, vectors=vectors):
        if as_json:
            o.print_json(row)
            continue
        shown = [row["id"], row["label"] or "-", row["split"] or "-", row["preview"]]
        if vectors:
            shown.append(" ".join(f"{value:.6g}" for value in row["vector"]))
        click.echo("\t".join(shown))


def _of_set(path: Path, limit: int | None, *, vectors: bool) -> Iterator[dict[str, Any]]:
    import numpy as np

    opened = o.open_set(path)
    for number, row in enumerate(opened.items.slice(0, limit).to_pylist()):
        yield row | ({"vector": np.asarray(opened.X[number]).tolist()} if vectors else {})


def _of_gallery(path: Path, limit: int | None, *, vectors: bool) -> Iterator[dict[str, Any]]:
    from itertools import islice

    from featx.gallery.gallery import Gallery
    from featx.gallery.held import BLOCK_ROWS

    with Gallery.open(path) as opened:
        held = opened.snapshot
        blocks = held.blocks(min(BLOCK_ROWS, max(1, limit or BLOCK_ROWS))) if vectors else ()
        whole = (row for block in blocks for row in zip(block.items, block.X, strict=True))
        rows = whole if vectors else ((item, None) for item in held.items())
        for (item_id, facts), x in islice(rows, limit):
            listed: dict[str, Any] = {"id": item_id, "uri": facts.uri, "label": facts.label}
            listed |= {"split": facts.split, "preview": facts.preview}
            yield listed if x is None else listed | {"vector": x.tolist()}
