"""``featx cache``."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from featx.cli import options as o

F = TypeVar("F", bound=Callable[..., Any])

POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class Size(click.ParamType[int]):
    """A number of bytes such as ``500MB`` (decimal) or ``10GiB`` (binary)."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", str(value).strip().lower())
        if match is None or (match[3] and not match[2]):
            self.fail(f"{value!r}: expected a size such as 500MB or 10GiB", param, ctx)
        base = 1024 if match[3] else 1000
        return int(float(match[1]) * base ** POWERS[match[2]])


def readable_size(size_bytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> readable_size(0), readable_size(2_500_000)
    ('0 B', '2.5 MB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size, unit = size_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if size < 999.95:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}"


def _place_option(command: F) -> F:
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="FEATX_CACHE_DIR",
        help="Place of the user-wide cache.  [default: ~/.cache/featx]",
    )(command)


@click.group()
def cache() -> None:
    """Show or clear the user-wide cache.

    It saves computing and never holds the only copy of a vector.
    """


@cache.command()
@_place_option
@o.json_option
def stats(cache_dir: Path | None, as_json: bool) -> None:
    """Show where the cache lies and how large it is."""
    from dataclasses import asdict
    from datetime import datetime

    from featx.data.cache import cache_folder, contents

    folder = cache_folder(cache_dir)
    files = contents(folder)
    total = sum(file.size_bytes for file in files)
    if as_json:
        entries = [asdict(file) for file in files]
        o.print_json({"folder": str(folder), "size_bytes": total, "files": entries})
        return
    click.echo(f"{folder}: {readable_size(total)} in {len(files):,} files")
    if files:
        written = [datetime.fromtimestamp(file.modified_s).astimezone() for file in files]
        rows = [
            [file.name, readable_size(file.size_bytes), f"{when:%Y-%m-%d %H:%M}"]
            for file, when in zip(files, written, strict=True)
        ]
        o.print_table(["file", "size", "last written"], rows)


@cache.command()
@click.option(
    "--limit",
    "limit_bytes",
    type=Size(),
    default="10GiB",
    show_default=True,
    help="Largest size to leave, such as 500MB.",
)
@_place_option
@o.json_option
def gc(limit_bytes: int, cache_dir: Path | None, as_json: bool) -> None:
    """Delete least recently written stores until the cache is within a limit."""
    from featx.data.cache import cache_folder, shrink

    folder = cache_folder(cache_dir)
    _report(folder, shrink(folder, limit_bytes=limit_bytes), as_json=as_json)


@cache.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_place_option
@o.json_option
def clear(yes: bool, cache_dir: Path | None, as_json: bool) -> None:
    """Delete the whole cache; embedding sets are not touched."""
    from featx.data.cache import cache_folder, contents
    from featx.data.cache import clear as clear_cache

    folder = cache_folder(cache_dir)
    freed = sum(file.size_bytes for file in contents(folder))
    if not yes:
        click.confirm(f"delete {folder} ({readable_size(freed)})?", abort=True, err=True)
    clear_cache(folder)
    _report(folder, freed, as_json=as_json)


def _report(folder: Path, freed_bytes: int, *, as_json: bool) -> None:
    from featx.data.cache import contents

    left = sum(file.size_bytes for file in contents(folder))
    if as_json:
        o.print_json({"folder": str(folder), "freed_bytes": freed_bytes, "size_bytes": left})
    else:
        click.echo(f"{folder}: {readable_size(freed_bytes)} freed, {readable_size(left)} left")
