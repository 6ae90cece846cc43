"""Options that several commands share, and how results and progress are shown."""

import json
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.data.sources.columns import Columns
    from featx.data.store import EmbeddingSet

F = TypeVar("F", bound=Callable[..., Any])


def device_option(command: F) -> F:
    """Add ``--device``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        envvar="FEATX_DEVICE",
        help="auto, cpu, cuda or cuda:N.",
    )(command)


def threads_option(command: F) -> F:
    """Add ``--threads``."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        envvar="FEATX_THREADS",
        help="Threads of the CPU session.  [default: all cores]",
    )(command)


def cache_options(command: F) -> F:
    """Add ``--cache-dir`` and ``--no-cache``."""
    command = click.option(
        "--no-cache", is_flag=True, envvar="FEATX_NO_CACHE", help="Compute every vector anew."
    )(command)
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="FEATX_CACHE_DIR",
        help="Place of the user-wide cache.  [default: ~/.cache/featx]",
    )(command)


def seed_option(command: F) -> F:
    """Add ``--seed``."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),  # what NumPy and scikit-learn both take
        default=0,
        show_default=True,
        envvar="FEATX_SEED",
        help="Seed of every shuffle.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, envvar="FEATX_JSON", help="Print JSON on stdout."
    )(command)


def quiet_option(command: F) -> F:
    """Add ``--quiet``."""
    return click.option(
        "--quiet", "-q", is_flag=True, envvar="FEATX_QUIET", help="No progress, only results."
    )(command)


def column_options(command: F) -> F:
    """Add ``--text-col`` and its siblings."""
    for name, what in [
        ("split", "train, val or test"),
        ("id", "ids, one each row"),
        ("label", "labels"),
        ("audio", "paths of sounds"),
        ("image", "paths of images"),
        ("text", "texts"),
    ]:
        command = click.option(f"--{name}-col", metavar="NAME", help=f"Column of {what}.")(command)
    return command


def columns(chosen: dict[str, str | None]) -> "Columns":
    """Return the columns that were chosen on the command line."""
    from featx.data.sources.columns import Columns

    return Columns(**chosen)


def cache_place(cache_dir: Path | None = None, no_cache: bool = False) -> Path | None:
    """Return the cache's folder, or None without one."""
    from featx.data.cache import cache_folder

    return None if no_cache else cache_folder(cache_dir)


def command_line() -> str:
    """Return the command as it was typed, for the record."""
    return shlex.join(["featx", *sys.argv[1:]])


def open_backbone(
    model: str,
    *,
    cache: Path | None,
    device: str = "auto",
    threads: int | None = None,
    prompt: str = "",
    dim: int | None = None,
) -> "Backbone":
    """Open a backbone whose files are right and which works on this machine."""
    from featx.backbone.backbone import Backbone
    from featx.data.verified import verify_once
    from featx.zoo import catalog

    manifest = catalog.find(model)
    catalog.require_files(manifest)
    backbone = Backbone(manifest, device=device, threads=threads, prompt=prompt, dim=dim)
    if not prompt:
        verify_once(backbone, cache)
    return backbone


def open_set(path: Path) -> "EmbeddingSet":
    """Open an embedding set, and say so if its last run did not come to its end."""
    from featx.data.store import EmbeddingSet

    opened = EmbeddingSet.open(path)
    if not opened.finished:
        say(f"note: {path} is unfinished, {len(opened):,} items; run its embed command again")
    return opened


def print_json(document: object) -> None:
    """Print one JSON object on one line of stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))


def say(message: str) -> None:
    """Print a line for people on stderr."""
    click.echo(message, err=True)


def print_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print aligned columns; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        texts = [
            cell.rjust(width) if number and _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(texts).rstrip())


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).replace(",", "").replace("-", "", 1).isdigit()
