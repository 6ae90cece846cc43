"""``featx search``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.index.gallery import Neighbour


@click.command()
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("items", nargs=-1, required=True)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours.")
@o.device_option
@o.threads_option
@o.json_option
@click.pass_context
def search(
    ctx: click.Context,
    /,
    gallery: Path,
    items: tuple[str, ...],
    k: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Find the nearest examples in a gallery.

    ITEMS are files, or texts for a text model.  With --json one object for each item.
    """
    from featx.backbone.backbone import Backbone, identity
    from featx.cli.queries import encode
    from featx.index.gallery import Gallery

    opened = Gallery.open(gallery)
    model = opened.facts["model"]
    if model == "identity":
        backbone = Backbone(identity(int(opened.facts["dim"])))
    else:
        backbone = o.open_backbone(
            model,
            o.settings(o.cache_place(), device=device, threads=threads),
            prompt=str(opened.facts.get("prompt", "")),
            dim=int(opened.facts["dim"]),
        )
    check_space(backbone, opened.facts)
    done, failed = 0, 0
    for window in encode(items, backbone):
        for item_id, problem in window.problems:
            o.say(f"skipped {item_id}: {problem}")
        failed += len(window.problems)
        done += len(window.ids)
        if window.ids:
            for item_id, found in zip(window.ids, opened.search(window.X, k), strict=True):
                show(item_id, found, as_json=as_json)
    if failed:
        ctx.exit(3 if done else 1)


def check_space(backbone: "Backbone", facts: dict[str, str]) -> None:
    """Apply the rule of spaces: same fingerprint silent, same space said, other space refused.

    Raises
    ------
    SpaceError
        Naming the command that mends it.
    """
    from featx.errors import SpaceError

    if backbone.space != facts["space"]:
        message = (
            f"the gallery's vectors lie in space {facts['space'][:12]}, those of "
            f"{backbone.manifest.name!r} now in {backbone.space[:12]}; embed the items again: "
            f"featx embed SOURCE -m {backbone.manifest.name} -o X.emb"
        )
        raise SpaceError(message)
    if backbone.fingerprint != facts["fingerprint"]:
        o.say("note: same space, other fingerprint: similarities may be off a little")


def show(item_id: str, found: "list[Neighbour]", *, as_json: bool) -> None:
    """Print the neighbours of one item."""
    if as_json:
        kept = ("id", "label", "similarity")
        rows = [{key: asdict(neighbour)[key] for key in kept} for neighbour in found]
        o.print_json({"id": item_id, "neighbours": rows})
        return
    click.echo(item_id[:100])
    o.print_table(
        ["similarity", "label", "id", ""],
        [(f"{n.similarity:.3f}", n.label or "-", n.id, n.preview[:60]) for n in found],
    )
