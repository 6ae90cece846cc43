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

    import numpy as np

    from featx.gallery.gallery import Gallery

    with Gallery.open(path) as opened:
        held = opened.snapshot
        found = islice(zip(held.rows, held.items(), strict=True), limit)
        for row, (item_id, facts) in found:
            listed: dict[str, Any] = {"id": item_id, "uri": facts.uri, "label": facts.label}
            listed |= {"split": facts.split, "preview": facts.preview}
            if vectors:
                listed["vector"] = held.vectors(np.array([row]))[0].tolist()
            yield listed
