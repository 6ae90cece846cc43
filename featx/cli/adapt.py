"""``featx adapt``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.heads.predict import Head
    from featx.transfer.adapt.adapt import Outcome
    from featx.transfer.adapt.choose import Judged
    from featx.transfer.adapt.shift import Shift


@click.command()
@click.argument("head", type=LocalPath(path_type=Path))
@click.option(
    "--target",
    required=True,
    metavar="SET",
    type=SetPath(path_type=Path),
    help="Items of the other domain, labelled or not.",
)
@click.option(
    "-o", "--out", required=True, type=LocalPath(path_type=Path), help="Head to write: X.head."
)
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto, labelled, centre, zscore, coral, prior, selftrain, centroids, or one of the second "
    "three with one of the last three, such as coral+selftrain.",
)
@click.option(
    "--source",
    metavar="SET",
    type=SetPath(path_type=Path),
    help="Set that the head was trained on.  [default: where the head says it was]",
)
@o.seed_option
@o.json_option
@o.quiet_option
def adapt(
    head: Path,
    target: Path,
    out: Path,
    method: str,
    source: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Adapt a head to items of another domain, or refuse to.

    Labels of the target are not looked at, but by --method labelled, and to refuse a target with
    none of the head's classes.  `auto` adapts only where the
    rows themselves speak for a gain; where it refuses, the head is written as it is, which is no
    failure.  What speaks for a gain, and what an adapted head still promises: docs/adapt.md.
    """
    from featx.cli.train import require_place
    from featx.heads.headfile import load_head, refuse_strangers, save_head

    require_place(out)
    refuse_strangers(out)
    o.require_apart(out, head, target, *([source] if source else []))
    loaded, opened = load_head(head), o.open_set(target)
    if source is not None:
        o.open_set(source)
    # A misspelt path is told before scikit-learn is imported, which takes seconds.
    from featx.transfer.adapt.adapt import adapt_head
    from featx.transfer.adapt.recipe import Recipe

    recipe = Recipe(method=method, seed=seed, command=o.command_line())
    rows = _source(loaded, head, source)
    found = adapt_head(loaded, opened, source=rows, recipe=recipe)
    save_head(out, found.head)
    if not quiet:
        for note in found.notes:
            o.say(f"note: {note}")
    if as_json:
        o.print_json({**found.facts(), "notes": list(found.notes), "out": str(out)})
        return
    _show(found, out)


def _source(loaded: "Head", head: Path, source: Path | None) -> "EmbeddingSet | None":
    """Return the set that was named, else the one that the head names, if it is still there."""
    if source is not None:
        return o.open_set(source)
    from featx.transfer.adapt.origin import find_source

    return find_source(loaded, head)


def _show(found: "Outcome", out: Path) -> None:
    if found.shift is not None:
        _show_shift(found.shift)
    if found.compared:
        o.print_table(
            ["", "method", "expected gain", "at least", "changed"],
            [
                ["*" if each.name == found.method else "", each.name, *_cells(each)]
                for each in found.compared
            ],
        )
    gain = found.expected_gain
    expected = "" if gain is None else f", {100 * gain:+.1f} points expected"
    what = f"adapted by {found.method}{expected}" if found.is_adapted else "not adapted"
    click.echo(f"{out}: {what}: {found.reason}")


def _cells(judged: "Judged") -> list[str]:
    return [f"{value:z.3f}" for value in (judged.gain, judged.least, judged.changed)]


def _show_shift(shift: "Shift") -> None:
    if shift.proxy_a_distance is not None and shift.interval is not None:
        low, high = shift.interval
        o.print_measure(
            "proxy A-distance", f"{shift.proxy_a_distance:.3f}  [{low:.3f}, {high:.3f}]  of 2"
        )
    o.print_measure("prior shift", f"{shift.prior_shift:.3f}  of 1, estimated")
    if shift.novelty is not None:
        o.print_measure("unlike anything", f"{shift.novelty:.3f}  of the items")
