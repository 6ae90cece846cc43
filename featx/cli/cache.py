"""``featx cache``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath

F = TypeVar("F", bound=Callable[..., Any])


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
        type=LocalPath(path_type=Path, file_okay=False),
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
    """Show where the cache lies, what it holds and when that was last used."""
    from dataclasses import asdict

    from featx.data.cache import cache_limit, contents
    from featx.data.cachefolder import cache_folder
    from featx.data.vectorcache import inside

    folder, limit_bytes = cache_folder(cache_dir), cache_limit()
    files = contents(folder)
    total = sum(file.size_bytes for file in files)
    found = []
    for file in files:
        model, vectors = inside(folder / file.name) if file.kind == "vectors" else (None, None)
        found.append(asdict(file) | {"model": model, "vectors": vectors})
    if as_json:
        document = {"folder": str(folder), "size_bytes": total, "limit_bytes": limit_bytes}
        o.print_json(document | {"files": found})
        return
    sizes = f"{readable_size(total)} of {readable_size(limit_bytes)}"
    click.echo(f"{folder}: {sizes} in {len(files):,} files")
    if found:
        header = ["file", "model", "vectors", "size", "last used"]
        o.print_table(header, [_line(facts) for facts in found])


def _line(facts: dict[str, Any]) -> list[str]:
    from datetime import datetime

    used = datetime.fromtimestamp(facts["used_s"]).astimezone()
    vectors = "-" if facts["vectors"] is None else f"{facts['vectors']:,}"
    size = readable_size(facts["size_bytes"])
    return [facts["name"], facts["model"] or "-", vectors, size, f"{used:%Y-%m-%d %H:%M}"]


@cache.command()
@click.option(
    "--limit",
    "limit_bytes",
    type=o.Size(),
    envvar="FEATX_CACHE_LIMIT",
    default="10GiB",
    show_default=True,
    help="Largest size to leave, such as 500MB.",
)
@_place_option
@o.json_option
def gc(limit_bytes: int, cache_dir: Path | None, as_json: bool) -> None:
    """Delete what was used least recently until the cache is within a limit.

    Of a store that alone exceeds the limit, the oldest vectors go.
    """
    from featx.data.cache import keep_within
    from featx.data.cachefolder import cache_folder

    folder = cache_folder(cache_dir)
    _report(folder, keep_within(folder, limit_bytes), as_json=as_json)


@cache.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_place_option
@o.json_option
def clear(yes: bool, cache_dir: Path | None, as_json: bool) -> None:
    """Delete the whole cache; embedding sets are not touched."""
    from featx.data.cache import clear as clear_cache
    from featx.data.cache import contents
    from featx.data.cachefolder import cache_folder

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
