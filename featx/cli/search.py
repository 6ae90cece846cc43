"""``featx search``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import ItemOrSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featx.cli.queries import Encoded
    from featx.gallery.answers import Classified, Neighbour
    from featx.gallery.held import Held


class Wish(NamedTuple):
    """How many neighbours are wanted, and of which label and split; None stands for any."""

    k: int
    label: str | None
    split: str | None


@click.command()
@click.argument("gallery", type=LocalPath(path_type=Path))
@click.argument("items", nargs=-1, required=True, type=ItemOrSet())
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours.")
@click.option("--label", help="Only neighbours of this label.")
@click.option("--split", help="Only neighbours of this split: train, val or test.")
@click.option(
    "--prompt",
    help="Name of a prompt, put before each text; --prompt= for none.  [default: query, where the "
    "gallery has that of passages; else the gallery's own]",
)
@click.option(
    "--html", type=LocalPath(path_type=Path, dir_okay=False), help="Write a page of pictures."
)
@o.column_options
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
    label: str | None,
    split: str | None,
    prompt: str | None,
    html: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
    **columns: str | None,
) -> None:
    """Find the nearest examples in a gallery.

    ITEMS are what `featx embed` takes, texts for a gallery of texts, or one embedding set, whose
    vectors are taken as they are.  Where the gallery's model is one half of a pair such as CLIP,
    and the other half is here, texts find images or sounds, and files of those find texts.

    Where the gallery is labelled its own number of nearest labelled items vote, as they were
    tuned to; not if --label or --split leave some out.  A label's probability is its share of the
    votes, each exp(similarity / T) with T tuned by leave-one-out.  A similarity rises as things get
    nearer.

    --html FILE writes a page with thumbnails instead of a table; with --json as well as it.

    \b
    With --json one object a query, on a line of its own:
      {"id": "a.jpg",
       "neighbours": [{"id": "b.jpg", "label": "cat" or null, "similarity": 0.93}, ...],
       "vote": {"label": "cat", "probability": 0.87, "novel": false or null} or null}
    """  # noqa: D301 - click wants the control character
    from featx.cli.answers import Answer, showing
    from featx.cli.asked import Asked, windows_for
    from featx.gallery.gallery import Gallery

    if html is not None:
        from featx.report.outputs import require_page

        o.require_apart(html, *items)
        require_page(html)
    asked = Asked(
        items=items,
        device=device,
        threads=threads,
        columns=columns,
        with_thumbnails=bool(html),
        as_queries=True,
        prompt=prompt,
    )
    wish = Wish(k, label, split)
    done, failed = 0, 0
    with Gallery.open(gallery) as opened:
        held = opened.snapshot  # rows keep their numbers in it, whoever changes the gallery
        _require_possible(held, wish)
        with showing(held, html, as_json=as_json) as show:
            for window in windows_for(opened, asked):
                failed += len(window.problems)
                done += len(window.ids)
                found = _find(held, window, wish) if window.ids else []
                each = zip(window.ids, window.facts, found, strict=True)
                show([Answer(id=i, facts=f, neighbours=n, vote=v) for i, f, (n, v) in each])
            _require_done(html, done, failed)
    if html is not None:
        o.say(f"{html}: {done:,} {'query' if done == 1 else 'queries'}")
    if failed:
        ctx.exit(3 if done else 1)


def _require_done(html: Path | None, done: int, failed: int) -> None:
    """Raise where a page would hold nothing."""
    from featx.errors import InputError

    if html is not None and failed and not done:
        message = f"{html}: not written, since no item could be read"
        raise InputError(message)


def _require_possible(held: "Held", wish: Wish) -> None:
    """Raise where a gallery is empty, or has no item of a label."""
    from featx.errors import InputError, UnknownNameError

    path = held.path
    if not len(held):
        message = f"{path}: holds no items; run: featx index add {path} ITEMS"
        raise InputError(message)
    if wish.label is not None and wish.label not in held.classes:
        raise UnknownNameError("label", wish.label, held.classes)


def _find(
    held: "Held", window: "Encoded", wish: Wish
) -> "list[tuple[list[Neighbour], Classified | None]]":
    """Return what is near each query, and how a labelled gallery votes if nothing is left out."""
    from featx.errors import InputError

    found = held.search(window.X, wish.k, label=wish.label, split=wish.split)
    if not found[0]:
        asked = {"label": wish.label, "split": wish.split}
        filters = [f"the {what} {name!r}" for what, name in asked.items() if name is not None]
        message = f"{held.path}: no item has {' and '.join(filters)}"
        raise InputError(message)
    votes: Sequence[Classified | None] = [None] * len(found)
    if held.classes and wish.label is None and wish.split is None:
        votes = held.classify(window.X, int(held.facts["k"]))
        if window.is_of_partner:
            votes = [replace(vote, novel=None) for vote in votes]
    return list(zip(found, votes, strict=True))
