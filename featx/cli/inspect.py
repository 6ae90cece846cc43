"""``featx inspect``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.corrected import require_taken
from featx.cli.inspected import show, show_applied
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.evaluate.curation.cleaned import Change, Finding
    from featx.evaluate.curation.galleryset import GallerySet

_FINDINGS = ("suspects", "clusters", "leaks", "duplicates", "outliers")


@click.command()
@click.argument("target", metavar="SET|GALLERY", type=SetPath(path_type=Path))
@click.option(
    "-n", "shown", type=click.IntRange(min=0), default=10, show_default=True,
    help="Lines of each finding; --json has all.",
)  # fmt: skip
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.98,
    show_default=True,
    help="Cosine from which two items count as nearly the same.",
)
@click.option(
    "--apply",
    "out",
    type=LocalPath(path_type=Path),
    help="Cleaned table to write, X.csv for featx label; or a cleaned set, X.emb.",
)
@click.option(
    "--fix",
    type=click.Choice(_FINDINGS),
    multiple=True,
    help="What --apply acts on; once for each.  [default: suspects and leaks]",
)
@click.option(
    "--relabel", is_flag=True, help="With --apply, give the suggested label instead of none."
)
@o.seed_option
@o.json_option
@o.quiet_option
def inspect(
    target: Path,
    shown: int,
    threshold: float,
    out: Path | None,
    fix: "tuple[Finding, ...]",
    relabel: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find wrong labels, duplicates, leaks between splits and outliers in a set.

    Labels are judged by a head that saw neither the item nor its near duplicates; what each
    finding means: docs/inspect.md.  The set itself is never changed.

    With --apply: suspected labels are taken away, and so is the label of a training item that
    val or test hold too; --fix chooses other findings.

    \b
    --json prints one object:
      {"items", "labelled", "classes", "accuracy", "interval", "distinct",
       "suspects": [{"id", "label", "suggested", "confidence"}, ...],
       "clusters": [{"ids", "label", "suggested", "confidence"}, ...],
       "duplicates": [{"items": [{"id", "label", "split", "similarity"}, ...],
                       "exact", "labels_differ"}, ...],
       "leaks": [{"id", "split", "other", "other_split", "similarity"}, ...],
       "outliers": [{"id", "label", "likeness"}, ...],
       "overlaps": [{"classes", "times", "share"}, ...], "not_doubted",
       "imbalance": {"ratio", "small"}, "unfit", "notes", "applied", "out"}
    Where no label can be doubted, not_doubted says why; what was not looked at is null.
    """  # noqa: D301 - click wants the control character
    if out is None and (relabel or fix):
        raise click.UsageError("--fix and --relabel say what --apply writes; add --apply FILE.")
    if out is not None:
        _require_out(out, target)
    opened = _opened(target)
    # A misspelt path is told before scikit-learn is imported, which takes seconds.
    from featx.evaluate.curation.cleaned import COLUMNS, USUAL, changes

    require_taken(out, COLUMNS, "findings", target, opened)
    from featx.evaluate.curation.facts import inspection_facts
    from featx.evaluate.curation.inspect import inspect_set

    found = inspect_set(opened, threshold=threshold, seed=seed)
    facts = inspection_facts(found, opened)
    made: dict[int, Change] = {}
    if out is not None:
        made = changes(found, opened, fix=fix or USUAL, relabel=relabel)
        _write(out, opened, made)
    if as_json:
        o.print_json(facts | {"applied": len(made), "out": None if out is None else str(out)})
        return
    if not quiet:
        for note in facts["notes"]:
            o.say(f"note: {note}")
    show(target, facts, shown)
    if out is not None:
        # A gallery does not know where its set is.
        name = "SET" if (target / "gallery.json").is_file() else str(target)
        show_applied(out, made, name, held_back=_held_back(opened, made))


def _opened(target: Path) -> "EmbeddingSet | GallerySet":
    if not (target / "gallery.json").is_file():
        return o.open_set(target)
    from featx.evaluate.curation.galleryset import GallerySet
    from featx.gallery.gallery import Gallery

    with Gallery.open(target) as gallery:
        return GallerySet.of(gallery.snapshot)


def _require_out(out: Path, target: Path) -> None:
    """Raise before the inspection, not after it, if what is asked for cannot be written."""
    from featx.cli.train import require_place
    from featx.errors import InputError, StoreError

    if out.suffix not in {".csv", ".emb"}:
        message = f"--apply: {out} is neither; expected a table, X.csv, or a set, X.emb"
        raise InputError(message)
    if target.resolve() in {out.resolve(), *out.resolve().parents}:
        message = f"--apply: {out} is {target} or lies in it; choose a place outside"
        raise InputError(message)
    if out.suffix == ".csv":
        require_place(out)
        return
    if (target / "gallery.json").is_file():
        message = f"--apply: {target} is a gallery; expected a table of it, X.csv"
        raise InputError(message)
    if out.exists():
        message = f"{out}: is there already; delete it, or choose another name"
        raise StoreError(message)


def _held_back(opened: "EmbeddingSet | GallerySet", made: "dict[int, Change]") -> int:
    """Return how many changes are of items that heads are judged by."""
    from featx.train.material import HELD_BACK

    splits = opened.items.column("split").to_pylist()
    return sum(splits[row] in HELD_BACK for row in made)


def _write(out: Path, opened: "EmbeddingSet | GallerySet", made: "dict[int, Change]") -> None:
    from featx.data.store import EmbeddingSet
    from featx.evaluate.curation.cleaned import write_set, write_table

    if out.suffix == ".csv":
        write_table(out, opened, made)
        return
    assert isinstance(opened, EmbeddingSet), "a gallery is refused before"
    write_set(out, opened, made, command=o.command_line())
