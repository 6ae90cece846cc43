"""``featx cat``."""

from pathlib import Path

import click

from featx.cli import options as o


@click.command()
@click.argument("target", metavar="SET", type=click.Path(path_type=Path))
@click.option("-n", "--limit", type=click.IntRange(min=1), help="First rows only.")
@click.option("--vectors", is_flag=True, help="Print the vectors too.")
@o.json_option
def cat(target: Path, limit: int | None, vectors: bool, as_json: bool) -> None:
    """Print the rows of an embedding set.

    With --json one object a line, ready for jq.
    """
    import numpy as np

    opened = o.open_set(target)
    rows = opened.items.slice(0, limit).to_pylist()
    for number, row in enumerate(rows):
        vector = np.asarray(opened.X[number]).tolist() if vectors else None
        if as_json:
            o.print_json(row | ({"vector": vector} if vectors else {}))
        else:
            shown = [row["id"], row["label"] or "-", row["split"] or "-", row["preview"]]
            if vectors:
                shown.append(" ".join(f"{value:.6g}" for value in vector or []))
            click.echo("\t".join(shown))
