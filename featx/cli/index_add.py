"""``featx index add``."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o

SHOWN = 10
"""New labels that are named."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from featx.cli.queries import Encoded
    from featx.gallery.gallery import Gallery
    from featx.gallery.items import ItemFacts


@click.command()
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("items", nargs=-1, required=True)
@click.option("--label", help="Label of all of them, whatever the source says.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Split of all of them, likewise."
)
@click.option("--replace", "replacing", is_flag=True, help="Items of the same ids give way.")
@o.column_options
@o.device_option
@o.threads_option
@o.json_option
@o.quiet_option
@click.pass_context
def add(
    ctx: click.Context,
    /,
    gallery: Path,
    items: tuple[str, ...],
    label: str | None,
    split: str | None,
    replacing: bool,
    device: str,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    **columns: str | None,
) -> None:
    """Add items to a gallery; each window is on the disk before the next one begins.

    ITEMS are what `featx embed` takes (files, folders of classes, tables ...), texts for a
    gallery of texts, or one embedding set, whose vectors are taken as they are.

    Searches find them at once, in other processes too.  An interrupted run keeps what it added;
    run it again with --replace.  Items that cannot be read are listed, and the rest is added
    (exit code 3).
    """
    from featx.cli.asked import Asked, windows_for
    from featx.gallery.gallery import Gallery

    asked = Asked(
        items=items, device=device, threads=threads, columns=columns, with_thumbnails=True
    )
    failed = added = 0
    with Gallery.open(gallery, writable=True) as opened:
        before, known = len(opened), set(opened.classes)
        new: set[str] = set()
        windows = _each_once(windows_for(opened, asked), opened, replacing=replacing)
        for window in _counted(windows, gallery.name, hidden=quiet):
            failed += len(window.problems)
            added += len(window.ids)
            if window.ids:
                facts = [_told(each, label=label, split=split) for each in window.facts]
                new |= {each.label for each in facts if each.label} - known
                opened.add(window.ids, window.X, facts=facts, replace=replacing)
        items_now = len(opened)
    replaced = added - (items_now - before)
    if new and known:
        o.say(f"note: {o.counted(len(new), 'new label')}: {', '.join(sorted(new)[:SHOWN])}")
    if as_json:
        counts = {"added": added, "replaced": replaced, "errors": failed, "items": items_now}
        o.print_json(counts | {"out": str(gallery)})
    elif added:
        also = f", {replaced:,} of them replaced" if replaced else ""
        skipped = f", {failed:,} skipped" if failed else ""
        click.echo(
            f"{gallery}: {o.counted(added, 'item')} added{also}{skipped}; {items_now:,} in all"
        )
    if failed:
        ctx.exit(3 if added else 1)


def _each_once(
    windows: "Iterable[Encoded]", gallery: "Gallery", *, replacing: bool
) -> "Iterator[Encoded]":
    """Yield windows without items whose id came before, or whose vector cannot be compared.

    Raises
    ------
    InputError
        If the gallery held an id before, unless items are to be replaced.
    """
    from featx.cli.queries import Encoded
    from featx.errors import InputError

    seen: set[str] = set()
    added = 0
    for window in windows:
        problems = _problems(window, seen, is_cosine=gallery.facts["metric"] == "cosine")
        for at, problem in problems.items():
            o.say(f"skipped {window.ids[at]}: {problem}")
        good = [at for at in range(len(window.ids)) if at not in problems]
        ids = [window.ids[at] for at in good]
        held = next((item_id for item_id in ids if item_id in gallery), None)
        if held is not None and not replacing:
            message = (
                f"{held}: is in {gallery.path} already; add --replace to put the new item in its "
                f"place, or give it another id{_kept(added)}"
            )
            raise InputError(message)
        added += len(ids)
        failed = window.problems + [(window.ids[at], why) for at, why in problems.items()]
        yield Encoded(ids, window.X[good], failed, [window.facts[at] for at in good])


def _problems(window: "Encoded", seen: set[str], *, is_cosine: bool) -> dict[int, str]:
    """Return position → why that item cannot be added; the ids of the others are remembered."""
    import numpy as np

    problems: dict[int, str] = {}
    zero = set(np.flatnonzero(~np.any(window.X, axis=1)).tolist()) if is_cosine else set()
    for at, item_id in enumerate(window.ids):
        if item_id in seen:
            problems[at] = "its id occurs twice in the source; give each item its own"
        elif at in zero:
            problems[at] = "its vector is zero, which has no direction and so no cosine"
        else:
            seen.add(item_id)
    return problems


def _kept(added: int) -> str:
    return f" ({added:,} items before it were added)" if added else ""


def _told(facts: "ItemFacts", *, label: str | None, split: str | None) -> "ItemFacts":
    """Return facts with what the command line says of all items."""
    return replace(facts, label=label or facts.label, split=split or facts.split)


def _counted(windows: "Iterable[Encoded]", name: str, *, hidden: bool) -> "Iterator[Encoded]":
    """Yield windows, and count what has been taken of them on a bar, on a terminal."""
    from tqdm import tqdm

    with tqdm(unit="item", desc=name, disable=hidden or not sys.stderr.isatty()) as bar:
        for window in windows:
            yield window
            bar.update(len(window.ids))
