"""The rows that ``featx export`` writes: of what, where to, and what is said of them."""

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featx.cli.bars import Bars
    from featx.export.vectors.choices import Choices
    from featx.export.vectors.table import Block, VectorTable


def kind_of(source: Path) -> str:
    """Return what a path is, by its look: a gallery, an embedding set, or else a head."""
    if source.suffix == ".knn" or (source / "gallery.json").is_file():
        return "gallery"
    return "embedding set" if source.suffix == ".emb" or source.is_dir() else "head"


def export_rows(source: Path, out: Path, form: str, choices: "Choices", *, as_json: bool) -> None:
    """Write the rows of an embedding set or a gallery, and say so."""
    from featx.cli.bars import Bars
    from featx.cli.train import require_place
    from featx.export import VECTORS
    from featx.export.vectors.place import size_bytes
    from featx.registry import resolve

    started_s = time.perf_counter()
    if form == "arrow" or out.suffix == ".parquet":
        require_place(out)
    write = resolve("format", VECTORS, form)
    items = 0

    def counted(done: int) -> None:
        nonlocal items
        items = done

    with _opened(source) as table, ExitStack() as stack:
        told = write(out, _watched(table, Bars(stack), counted), choices)
    facts = {
        "out": str(out),
        "format": form,
        "items": items,
        "dim": table.dim,
        "precision": choices.precision,
        "size_bytes": size_bytes(out),
        **told,
    }
    if as_json:
        o.print_json(facts | {"seconds": round(time.perf_counter() - started_s, 3)})
        return
    extra = "".join(f", {name} {value}" for name, value in told.items())
    click.echo(
        f"{out}: {o.counted(items, 'item')} of {table.dim} numbers, {choices.precision}, "
        f"{facts['size_bytes'] / 1e6:.1f} MB{extra}"
    )


@contextmanager
def _opened(source: Path) -> "Iterator[VectorTable]":
    from featx.export.vectors.table import of_gallery, of_set

    if kind_of(source) != "gallery":
        yield of_set(o.open_set(source))
        return
    from featx.gallery.gallery import Gallery

    with Gallery.open(source) as gallery:
        yield of_gallery(gallery.snapshot)


def _watched(table: "VectorTable", bars: "Bars", counted: "Callable[[int], None]") -> "VectorTable":
    """Return the same rows; each block that is read moves a bar, and is counted."""

    def read(rows: int) -> "Iterator[Block]":
        done = 0
        for block in table.read(rows):
            yield block
            done += block[0].num_rows
            counted(done)
            bars.progress("export", done, table.rows)

    return replace(table, read=read)
