"""``featx merge``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath


@click.command()
@click.argument(
    "sets", metavar="SET...", nargs=-1, required=True, type=SetPath(path_type=Path, exists=True)
)
@click.option(
    "-o", "--out", type=LocalPath(path_type=Path), required=True, help="Folder of the new set."
)
@o.json_option
def merge(*, sets: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Join embedding sets, such as the shards of a run, into one.

    The sets have to be finished and made with the same backbone and settings.  Rows come in the
    order of the arguments; an item that stands in two sets is taken from the first.

    The shards of one source come from `featx embed SOURCE --shard 1/2 -o a.emb` and the like.  They
    are put in the order of the source, whatever the order of the arguments, and all have to be
    there.
    """
    from featx.data.merge import merge as merge_sets

    _require_place(out, sets)
    merged = merge_sets(sets, out, command=o.command_line())
    if as_json:
        counts = {"items": merged.items, "sets": merged.sets, "repeated": merged.repeated}
        o.print_json(counts | {"out": str(out)})
        return
    repeated = f", {merged.repeated:,} items in two of them" if merged.repeated else ""
    click.echo(f"{out}: {merged.items:,} items of {merged.sets} sets{repeated}")


def _require_place(out: Path, sets: tuple[Path, ...]) -> None:
    """Refuse to write over a set that was embedded: its rows would be dropped."""
    from featx.data.store import EmbeddingSet
    from featx.errors import InputError

    if not (out / "manifest.json").is_file() or out in sets:
        return
    there = EmbeddingSet.open(out)
    was_merged = there.manifest["command"].startswith("featx merge")
    if (
        len(there)
        and not was_merged
        and there.fingerprint == EmbeddingSet.open(sets[0]).fingerprint
    ):
        message = (
            f"{out}: holds {len(there):,} rows that were embedded, not merged; choose another -o, "
            "or delete it first"
        )
        raise InputError(message)
