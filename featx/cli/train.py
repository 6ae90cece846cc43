"""``featx train``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.readings import Reading, reading_options
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from featx.heads.conformal import Method
    from featx.heads.predict import Head
    from featx.train.choose import Tried
    from featx.types import Task

_THINGS = {
    "classify": ("class", "classes"),
    "multilabel": ("tag", "tags"),
    "regress": ("output", "outputs"),
}
_SUSPECT_COLUMNS = ("id", "label", "suggested", "confidence")


@click.command()
@click.argument("target", metavar="SET", type=SetPath(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=LocalPath(path_type=Path), help="Head to write: X.head."
)
@click.option(
    "--head",
    default="auto",
    show_default=True,
    help="auto, ridge, logreg, lda, centroid, knn, or sklearn:NAME such as sklearn:svm.SVC.",
)
@click.option(
    "--task",
    type=click.Choice(["classify", "multilabel", "regress"]),
    default="classify",
    show_default=True,
    help="Labels are classes, tags joined by | (which alone means none), or numbers.",
)
@click.option(
    "--conformal",
    type=click.Choice(["lac", "aps", "class"]),
    default="lac",
    show_default=True,
    help="Sets that are small, that adapt to hard items, or that cover each class.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Share of items whose set or interval holds the truth.",
)
@click.option(
    "--shots",
    type=click.IntRange(min=1),
    help="Draw so many labelled items of each class, and judge by the others.  [default: all]",
)
@click.option("--strict", is_flag=True, help="Keep a quarter of the rows for sets or intervals.")
@click.option("--curve", is_flag=True, help="Measure what more labels would bring.")
@click.option(
    "--suspects",
    type=LocalPath(path_type=Path),
    help="csv to write labels to that look wrong, at most 100.",
)
@click.option("--no-raw-baseline", is_flag=True, help="Skip the baseline on raw features.")
@reading_options
@o.seed_option
@o.json_option
@o.quiet_option
def train(
    target: Path,
    out: Path,
    head: str,
    task: str,
    conformal: str,
    coverage: float,
    shots: int | None,
    strict: bool,
    curve: bool,
    suspects: Path | None,
    no_raw_baseline: bool,
    streaming: bool | None,
    engine: str,
    address: str | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a head on an embedding set.

    Rows without a label are left out.  With splits, only `train` rows are used.  The accuracy
    comes from rows left out of the fit, and stands beside those of the majority class and of raw
    features (pixels, TF-IDF, log-spectrum).  How heads are chosen, tuned and calibrated:
    docs/heads.md; with few labels: docs/few-labels.md.
    """
    from featx.heads.headfile import refuse_strangers, save_head

    reading = Reading(streaming=streaming, engine=engine, address=address)
    reading.require_sense()
    for place in (out, suspects):
        require_place(place)
    refuse_strangers(out)
    _require_suspects(suspects, out, task)
    opened = o.open_set(target)
    # A misspelt path is told before scikit-learn is imported, which takes seconds.
    from featx.train.recipe import Recipe

    recipe = Recipe(
        head=head,
        task=cast("Task", task),
        conformal=cast("Method", conformal),
        coverage=coverage,
        shots=shots,
        strict=strict,
        curve=curve,
        seed=seed,
        command=o.command_line(),
    )
    tried: list[Tried] = []
    trained, notes = reading.fit(opened, recipe, tried, raw=not no_raw_baseline)
    save_head(out, trained)
    if suspects is not None:
        _write_suspects(suspects, trained)
    if not quiet:
        _say_notes(trained, suspects)
        for note in notes:
            o.say(f"note: {note}")
    if as_json:
        o.print_json(_facts(trained, tried))
        return
    _show_tried(tried, trained.kind)
    show(trained, out)


def require_place(out: Path | None) -> None:
    """Raise before the training, not after it, if a file cannot be written."""
    from featx.errors import StoreError

    if out is None:
        return
    if out.is_dir():
        message = f"{out}: a folder is in the way; choose another name"
        raise StoreError(message)
    if not out.parent.is_dir():
        message = f"{out}: {out.parent} is no folder; make it, or choose another place"
        raise StoreError(message)


def _require_suspects(suspects: Path | None, out: Path, task: str) -> None:
    """Raise before the training if no labels can be told, or they would replace the head."""
    from featx.errors import InputError

    if suspects is None:
        return
    if task != "classify":
        message = f"--suspects: the task {task} has no classes to doubt; leave it out"
        raise InputError(message)
    if suspects.resolve() == out.resolve():
        message = f"--suspects: {suspects} is where the head goes; choose another name"
        raise InputError(message)
    refuse_other_tables(suspects, _SUSPECT_COLUMNS, "suspects")


def refuse_other_tables(path: Path, columns: Sequence[str], items: str) -> None:
    """Raise before a file is replaced that is no csv of these columns.

    Parameters
    ----------
    path : Path
    columns : sequence of str
    items : str
        What such a table lists.
    """
    from featx.data.files import explained
    from featx.errors import StoreError

    if not path.exists():
        return
    first = ",".join(columns).encode()
    with explained(path):
        # Reading from a pipe could wait for ever.
        is_ours = path.is_file() and _first_line(path).rstrip(b"\r\n") == first
    if not is_ours:
        message = f"{path}: a file that lists no {items} is in the way; choose another name"
        raise StoreError(message)


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(1000)


def _write_suspects(path: Path, trained: "Head") -> None:
    import csv

    from featx.data.files import writing

    with writing(path) as place, place.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, _SUSPECT_COLUMNS, lineterminator="\n")
        rows.writeheader()
        rows.writerows(trained.header["suspects"]["first"])


def _say_notes(trained: "Head", suspects: Path | None) -> None:
    header = trained.header
    for warning in header["warnings"]:
        o.say(f"note: {warning}")
    for note in header["chosen"].get("notes", []):
        o.say(f"note: scikit-learn: {note}")
    if header["suspects"]["n"]:
        first = header["suspects"]["first"][0]
        n = header["suspects"]["n"]
        o.say(
            f"note: {n:,} {'label looks' if n == 1 else 'labels look'} wrong, first {first['id']}:"
            f" {first['label']!r}, rather {first['suggested']!r};"
            f" {'list them with --suspects' if suspects is None else f'listed in {suspects}'}"
        )


def _facts(trained: "Head", tried: "list[Tried]") -> dict[str, Any]:
    """Return the metrics, with the seconds that each kind took."""
    header = trained.header
    metrics = dict(header.get("metrics") or _unmeasured(trained))
    seconds = {each.kind: {"seconds": round(each.seconds, 3)} for each in tried}
    compared = {
        kind: facts | seconds.get(kind, {}) for kind, facts in metrics["chosen"]["compared"].items()
    }
    metrics["chosen"] = metrics["chosen"] | {"compared": compared}
    extra = ("task", "strict", "suspects", "duplicates", "curve", "shots", "warnings")
    own = {"task": trained.task}
    return metrics | own | {name: header[name] for name in extra if name in header}


def _unmeasured(trained: "Head") -> dict[str, Any]:
    """Return what is told of a head that no item judges, as JSON values."""
    known = {name: trained.header[name] for name in ("baselines", "chosen")}
    return {"accuracy": None, "interval": None, "n": 0, "classes": len(trained.classes)} | known


def _show_tried(tried: "list[Tried]", chosen: str) -> None:
    """Print how each kind did on rows held out."""
    if len(tried) < 2:
        return
    rows = []
    for each in tried:
        tuned = ", ".join(f"{name} {value:.3g}" for name, value in each.fitted.tuned.items())
        mark = "*" if each.kind == chosen else ""
        cells = [f"{value:.3f}" for value in each.facts().values()]
        rows.append([mark, each.kind, *cells, f"{each.seconds:.2f}", tuned])
    names = [name.replace("_", " ") for name in tried[0].facts()]
    o.print_table(["", "head", *names, "seconds", "tuned"], rows)


def show(trained: "Head", out: Path) -> None:
    """Print what was trained and how good it is."""
    from featx.evaluate.measures import HEADLINES

    header = trained.header
    metrics, labels, chosen = header.get("metrics"), header["labels"], header["chosen"]
    n_classes = len(trained.classes)
    details = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in chosen.items()
        if name not in {"head", "compared", "notes"}
    )
    thing, things = _THINGS[trained.task]
    click.echo(
        f"{out}: {chosen['head']}{f' ({details})' if details else ''}, "
        f"{n_classes} {thing if n_classes == 1 else things}, "
        f"{labels['used']:,} of {labels['rows']:,} rows used"
    )
    if metrics is None:
        o.print_measure("accuracy", "not measured: half of the classes or more have one item")
    else:
        o.print_measures(metrics, HEADLINES[trained.task])
    if shots := header.get("shots"):
        _show_shots(shots)
    if curve := header["curve"]:
        _show_curve(curve)


def _show_shots(shots: dict[str, Any]) -> None:
    rest = shots["rest"]
    if not rest["n"]:
        click.echo("every labelled item was drawn, so there are no others to judge by")
        return
    low, high = rest["interval"]
    value = f"{rest['accuracy']:.3f}  [{low:.3f}, {high:.3f}]  n={rest['n']:,}"
    o.print_measure("accuracy of the rest", f"{value}, labelled and not drawn")


def _show_curve(curve: dict[str, Any]) -> None:
    o.print_table(
        ["labels", "accuracy", "of fifths"],
        [
            (f"{p['n']:,}", f"{p['accuracy']:.3f}", f"{p['low']:.3f}-{p['high']:.3f}")
            for p in curve["points"]
        ],
    )
    now, then = curve["now"], curve["doubled"]
    low, high = then["interval"]
    click.echo(
        f"with {then['n']:,} labels instead of {now['n']:,} expect {then['accuracy']:.3f}"
        f" [{low:.3f}, {high:.3f}] instead of {now['accuracy']:.3f}"
    )
