"""``featx index compact``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath


@click.command()
@click.argument("gallery", type=LocalPath(path_type=Path))
@o.json_option
def compact(gallery: Path, as_json: bool) -> None:
    """Drop removed items, join what was added, and tune the index anew.

    Searches go on meanwhile.  What was added or removed is on the disk without it; a compact
    gallery is smaller, and a little faster.
    """
    from featx.cli.index import human_bytes
    from featx.gallery.gallery import Gallery

    with Gallery.open(gallery, writable=True) as opened:
        before = opened.stats()
        opened.compact()
    with Gallery.open(gallery) as opened:
        after = opened.stats()
    counts = {"dropped": before["removed"] - after["removed"], "removed": after["removed"]}
    if as_json:
        bytes_ = {"before_bytes": before["disk_bytes"], "after_bytes": after["disk_bytes"]}
        o.print_json({"items": after["items"], **counts, **bytes_, "out": str(gallery)})
        return
    sizes = f"{human_bytes(before['disk_bytes'])} before, {human_bytes(after['disk_bytes'])} now"
    stay = f", {counts['removed']:,} stay in the embedding set" if counts["removed"] else ""
    dropped = f"{counts['dropped']:,} removed rows dropped{stay}"
    click.echo(f"{gallery}: {after['items']:,} items; {dropped}; {sizes}")
