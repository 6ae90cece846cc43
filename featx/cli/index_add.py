"""``featx index add``."""

import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import ItemOrSet

SHOWN = 10
"""New labels that are named."""

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sized

    from featx.cli.queries import Encoded
    from featx.gallery.gallery import Gallery
    from featx.gallery.items import ItemFacts


@dataclass(slots=True)
class _Run:
    """What has become of the items so far, and of the gallery."""

    before: int | None = None
    now: int = 0
    added: int = 0
    held: int = 0
    errors: int = 0
    known: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


@click.command()
@click.argument("gallery", type=LocalPath(path_type=Path))
@click.argument("items", nargs=-1, required=True, type=ItemOrSet())
@click.option("--label", help="Label of all of them, whatever the source says.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Split of all of them, likewise."
)
@click.option("--replace", "replacing", is_flag=True, help="Items of the same ids give way.")
@click.option(
    "--skip-existing", "skipping", is_flag=True, help="Items of the same ids stay as they are."
)
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
    skipping: bool,
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
    run it again with --skip-existing, which passes over ids that the gallery holds without reading
    their items.  Items that cannot be read are listed, and the rest is added (exit code 3).
    """
    if replacing and skipping:
        raise click.UsageError("--replace and --skip-existing exclude each other: give one.")
    from featx.cli.asked import Asked, windows_for
    from featx.gallery.gallery import Gallery

    asked = Asked(
        items=items, device=device, threads=threads, columns=columns, with_thumbnails=True
    )
    run, seen = _Run(), set[str]()
    try:
        with Gallery.open(gallery, writable=True) as opened:
            run.before, run.known = len(opened), set(opened.classes)
            is_held = (lambda each: each not in seen and each in opened) if skipping else None
            found = windows_for(opened, asked, is_held=is_held)
            each_once = _each_once(found, opened, seen, replacing=replacing)
            hidden = quiet or not sys.stderr.isatty()
            with closing(_counted(each_once, found.items, gallery.name, hidden=hidden)) as windows:
                for window in windows:
                    facts = [_told(each, label=label, split=split) for each in window.facts]
                    _add(opened, window, facts, run, replacing=replacing)
            run.now = len(opened)
    except KeyboardInterrupt:
        _say_kept(gallery, run, replacing=replacing)
        raise
    _report(gallery, run, as_json=as_json)
    if run.errors:
        ctx.exit(3 if run.added or run.held else 1)


def _add(
    gallery: "Gallery",
    window: "Encoded",
    facts: "list[ItemFacts]",
    run: _Run,
    *,
    replacing: bool,
) -> None:
    run.errors += len(window.problems)
    run.held += window.held
    if window.ids:
        gallery.add(window.ids, window.X, facts=facts, replace=replacing)
        run.labels |= {each.label for each in facts if each.label}
        run.added += len(window.ids)


def _report(gallery: Path, run: _Run, *, as_json: bool) -> None:
    replaced = run.added - (run.now - (run.before or 0))
    new = sorted(run.labels - run.known)
    if new and run.known:
        o.say(f"note: {o.counted(len(new), 'new label')}: {', '.join(new[:SHOWN])}")
    if as_json:
        counts = {"added": run.added, "replaced": replaced, "held": run.held}
        o.print_json(counts | {"errors": run.errors, "items": run.now, "out": str(gallery)})
    elif run.added or run.held:
        also = f", {replaced:,} of them replaced" if replaced else ""
        held = f", {run.held:,} held already" if run.held else ""
        skipped = f", {run.errors:,} skipped" if run.errors else ""
        added = f"{o.counted(run.added, 'item')} added{also}{held}{skipped}"
        click.echo(f"{gallery}: {added}; {run.now:,} in all")


def _say_kept(gallery: Path, run: _Run, *, replacing: bool) -> None:
    """Say what a run that was stopped has added, and how to go on."""
    from featx.gallery.gallery import Gallery

    if run.before is None:
        return
    if replacing:
        count = f"at least {o.counted(run.added, 'item')} added or replaced"
        o.say(f"{gallery}: {count}; run it again for the others")
        return
    # Asked of the disk: the last window may be there, though that was not told any more.
    with Gallery.open(gallery) as opened:
        added = len(opened) - run.before
    count = f"{o.counted(added, 'item')} added"
    o.say(f"{gallery}: {count}; run it again with --skip-existing to go on")


def _each_once(
    windows: "Iterable[Encoded]", gallery: "Gallery", seen: set[str], *, replacing: bool
) -> "Iterator[Encoded]":
    """Yield windows without items whose id came before, or whose vector cannot be compared.

    Ids of what is yielded are put into `seen`.

    Raises
    ------
    InputError
        If the gallery held an id before, unless items are to be replaced.
    """
    from featx.errors import InputError

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
                "place, --skip-existing to leave the old one there, or give it another id"
                f"{_kept(added)}"
            )
            raise InputError(message)
        added += len(ids)
        failed = window.problems + [(window.ids[at], why) for at, why in problems.items()]
        facts = [window.facts[at] for at in good]
        yield replace(window, ids=ids, X=window.X[good], problems=failed, facts=facts)


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


def _counted(
    windows: "Iterable[Encoded]", items: "Sized", name: str, *, hidden: bool
) -> "Generator[Encoded, None, None]":
    """Yield windows, and count what has been taken of them on a bar."""
    from tqdm import tqdm

    # To count may take a walk through a folder, which nobody waits for where nothing is shown.
    total = None if hidden else len(items)
    with tqdm(total=total, unit="item", desc=name, disable=hidden) as bar:
        for window in windows:
            yield window
            bar.update(len(window.ids) + len(window.problems) + window.held)
