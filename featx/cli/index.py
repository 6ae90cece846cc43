"""``featx index``."""

from pathlib import Path

import click

from featx.cli import options as o


@click.command()
@click.argument("target", metavar="SET", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Gallery: X.knn.")
@click.option("--kind", default="exact", show_default=True, help="exact (FAISS) or numpy.")
@o.json_option
def index(target: Path, out: Path, kind: str, as_json: bool) -> None:
    """Build a nearest-neighbour gallery from an embedding set.

    The gallery refers to the set's vectors and does not copy them: keep both together.
    """
    from featx.data.writer import versions
    from featx.index.gallery import build_gallery

    gallery = build_gallery(
        o.open_set(target), out, kind=kind, command=o.command_line(), versions=versions()
    )
    metrics = gallery.facts["metrics"]
    if as_json:
        o.print_json(
            {"items": len(gallery), "k": gallery.k, "temperature": gallery.temperature, **metrics}
        )
        return
    click.echo(f"{out}: {len(gallery):,} items, k={gallery.k}, temperature {gallery.temperature}")
    if metrics["accuracy"] is not None:
        click.echo(f"leave-one-out accuracy {metrics['accuracy']:.3f}  n={metrics['n']}")
