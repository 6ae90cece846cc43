"""``featx report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from featx.data.store import EmbeddingSet
    from featx.heads.predict import Head
    from featx.report.findings import Findings, Wish
    from featx.report.places import Method


@click.command()
@click.argument("target", metavar="SET|HEAD", type=SetPath(path_type=Path))
@click.argument("on", metavar="[SET]", required=False, type=SetPath(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=LocalPath(path_type=Path), help="Page to write: X.html."
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=LocalPath(path_type=Path, exists=True, file_okay=False),
    help="Folder whose items may be read, besides those that the set was embedded from.",
)
@click.option(
    "--map",
    "layout",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    show_default=True,
    help="How items are laid out; umap needs the extra of that name.",
)
@click.option(
    "--head",
    default="auto",
    show_default=True,
    help="Kind of head that is trained on a SET, as `featx train` has them.",
)
@click.option("--no-curve", is_flag=True, help="Skip the learning curve.")
@click.option("--no-raw-baseline", is_flag=True, help="Skip the baseline on raw features.")
@o.seed_option
@o.json_option
@o.quiet_option
def report(
    target: Path,
    on: Path | None,
    out: Path,
    roots: tuple[Path, ...],
    layout: str,
    head: str,
    no_curve: bool,
    no_raw_baseline: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write one page on an embedding set or a head, which opens without a network.

    On a SET: how good a head on it is, what is taken for what, a map of the items, labels that
    look wrong, duplicates, and where all came from.  On a HEAD: what its file says; with a SET
    too, how it does on the items that it was not trained on.

    Pictures are shown, small, of files below the folders that the set was embedded from, or a
    --root, if they are still what was embedded; texts as far as the set holds them.
    """
    from featx.cli.train import require_place
    from featx.report.outputs import require_page

    require_place(out)
    require_page(out)
    subject, held = _opened(target, on)
    # A misspelt path is told before scikit-learn is imported, which takes seconds.
    from featx.report.findings import Wish

    wish = Wish(
        head=head,
        curve=not no_curve,
        raw=not no_raw_baseline,
        layout=cast("Method", layout),
        seed=seed,
        command=o.command_line(),
        roots=roots,
    )
    found = _found(subject, held, target.name, wish, say=(lambda line: None) if quiet else o.say)
    from featx.report.report import write_report

    told = write_report(found, out, wish)
    if as_json:
        o.print_json(told)
        return
    if not quiet:
        for note in told["notes"]:
            o.say(f"note: {note}")
    click.echo(_line(told))


def _opened(target: Path, on: Path | None) -> "tuple[Head | None, EmbeddingSet | None]":
    """Return a head, a set, or both."""
    from featx.errors import InputError
    from featx.heads.headfile import load_head

    if (target / "gallery.json").is_file():
        message = f"{target}: is a gallery; name the set that it was made of, or a head"
        raise InputError(message)
    if target.suffix == ".emb" or target.is_dir():
        if on is not None and (target / "manifest.json").is_file():
            raise click.UsageError(f"{target} is an embedding set; it comes second: HEAD SET.")
        return None, o.open_set(target)
    head = load_head(target)
    return head, None if on is None else o.open_set(on)


def _found(
    head: "Head | None",
    held: "EmbeddingSet | None",
    name: str,
    wish: "Wish",
    *,
    say: "Callable[[str], None]",
) -> "Findings":
    """Return what is found of a set, a head, or a head by the items of a set."""
    from featx.report import findings

    if head is None:
        assert held is not None, "one of both is given"
        return findings.of_set(held, wish, say)
    if held is None:
        return findings.of_head(head, name)
    return findings.of_head_on_set(head, name, held, wish, say)


def _line(told: dict[str, Any]) -> str:
    """Return what was written, on a line."""
    parts = [f"{told['bytes'] / 1e6:.1f} MB"]
    if told["items"]:
        parts.append(o.counted(told["items"], "item"))
    if "accuracy" in told:
        low, high = told["interval"]
        parts.append(f"accuracy {told['accuracy']:.3f} [{low:.3f}, {high:.3f}]")
    for name, noun in [("suspects", "suspected label"), ("duplicates", "duplicate group")]:
        if told.get(name):
            parts.append(o.counted(told[name], noun))
    return f"{told['out']}: {', '.join(parts)}"
