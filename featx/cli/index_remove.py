"""``featx index remove``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath

if TYPE_CHECKING:
    from featx.gallery.gallery import Gallery

COMPARED = 100_000
"""Items of a gallery, at most, whose ids are compared with one that is not there."""

_FEW = 10_000
"""Above it only ids are suggested that differ in a letter or two: others take seconds to find."""


@click.command()
@click.argument("gallery", type=LocalPath(path_type=Path))
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@o.json_option
def remove(gallery: Path, ids: tuple[str, ...], as_json: bool) -> None:
    """Remove items from a gallery by their ids.

    All of them, or none where one is not there.  `-` reads ids from standard input, one a line.
    Searches do not find them any more, in other processes either; `featx index compact` gives
    their place on the disk back.
    """
    from featx.errors import InputError
    from featx.gallery.gallery import Gallery

    wanted = list(dict.fromkeys(_read(ids)))
    with Gallery.open(gallery, writable=True) as opened:
        try:
            opened.remove(wanted)
        except InputError as error:
            message = f"{error}{_hint(opened, wanted)}"
            raise InputError(message) from error
        left = len(opened)
    if as_json:
        o.print_json({"removed": len(wanted), "items": left, "out": str(gallery)})
    else:
        click.echo(f"{gallery}: {o.counted(len(wanted), 'item')} removed; {left:,} in all")


def _hint(gallery: "Gallery", wanted: Sequence[str]) -> str:
    """Return the id that is spelt most like the first that is not there."""
    from difflib import get_close_matches

    missing = [item_id for item_id in wanted if item_id not in gallery]
    if not missing or len(gallery) > COMPARED:
        return ""
    ids = [item_id for item_id, _ in gallery.items()]
    near = get_close_matches(missing[0], ids, n=1, cutoff=0.6 if len(ids) <= _FEW else 0.9)
    which = "" if len(missing) == 1 else f" for {missing[0]!r}"
    return f"; did you mean {near[0]!r}{which}?" if near else ""


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
