"""``featx index remove``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from featx.cli import options as o


@click.command()
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@o.json_option
def remove(gallery: Path, ids: tuple[str, ...], as_json: bool) -> None:
    """Remove items from a gallery by their ids.

    All of them, or none where one is not there.  `-` reads ids from standard input, one a line.
    Searches do not find them any more, in other processes either; `featx index compact` gives
    their place on the disk back.
    """
    from featx.gallery.gallery import Gallery

    wanted = list(dict.fromkeys(_read(ids)))
    with Gallery.open(gallery, writable=True) as opened:
        opened.remove(wanted)
        left = len(opened)
    if as_json:
        o.print_json({"removed": len(wanted), "items": left, "out": str(gallery)})
    else:
        click.echo(f"{gallery}: {o.counted(len(wanted), 'item')} removed; {left:,} in all")


def _read(ids: Sequence[str]) -> list[str]:
    """Return the ids, those of standard input in the place of ``-``."""
    from featx.data.sources.walk import printable
    from featx.errors import InputError

    found: list[str] = []
    for item_id in ids:
        if item_id == "-":
            lines = sys.stdin.read().split("\n")
            found += [line.rstrip("\r") for line in lines if line.strip()]
        else:
            found.append(item_id)
    if not found:
        message = "-: no ids on standard input; expected one a line"
        raise InputError(message)
    return [printable(item_id) for item_id in found]  # as sources name what is not UTF-8
