"""``featx evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from featx.heads.predict import Head

SHOWN_CLASSES = 20
"""Classes up to which the confusion matrix and the table of classes are shown."""


@click.command()
@click.argument("head", metavar="HEAD|GALLERY", type=LocalPath(path_type=Path))
@click.argument("target", metavar="[SET]", required=False, type=SetPath(path_type=Path))
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Score this split.")
@click.option("--no-raw-baseline", is_flag=True, help="Skip the baseline on raw features.")
@o.json_option
def evaluate(
    head: Path,
    target: Path | None,
    split: str | None,
    no_raw_baseline: bool,
    as_json: bool,
) -> None:
    """Score a head on an embedding set, or a gallery.

    Scores the `test` rows, else `val`, else all; never rows that the head was trained on or the
    gallery holds.  A gallery without a set is scored on its own items, each left out of its
    neighbours.  HEAD may also be an .onnx file of `featx export`.
    """
    if head.suffix == ".knn" or (head / "gallery.json").is_file():
        _gallery(head, target, split, as_json=as_json)
        return
    if (head / "manifest.json").is_file():
        raise click.UsageError(f"{head} is an embedding set; it comes second: what to score on.")
    if target is None:
        raise click.UsageError(f"Missing argument 'SET': what to score {head} on.")
    # A misspelt path is told before scikit-learn is imported, which takes seconds.
    loaded, opened = _head(head), o.open_set(target)
    from featx.data.origin import contents_of
    from featx.evaluate.evaluate import NOT_SEARCHED, evaluate_head
    from featx.evaluate.measures import HEADLINES

    contents = None if no_raw_baseline else contents_of(opened)
    result = evaluate_head(loaded, opened, split=split, contents=contents)
    if as_json:
        o.print_json(result)
        return
    # True of every set that was kept apart, as it should be; programs read it in the JSON.
    _show_rows(result, "that the head was trained on", hidden=NOT_SEARCHED)
    o.print_measures(result, HEADLINES[loaded.task])
    if "novel" in result:
        o.print_measure("unlike anything", f"{result['novel']:.3f}  of the items")
    _show_classes(result["per_class"])
    if "confusion" in result:
        _show_confusion(result["confusion"])


def _head(path: Path) -> "Head":
    """Return a head, or that of an ONNX file of `featx export`."""
    from featx.export import DEPLOYABLE

    if path.suffix != f".{DEPLOYABLE}":
        from featx.heads.headfile import load_head

        return load_head(path)
    from featx.export.deployable import open_deployable

    file = open_deployable(path)
    if file.facts.digests is None:
        o.say(f"note: {path} does not say what it was trained on: such rows are scored too")
    return file.head


def _gallery(path: Path, target: Path | None, split: str | None, *, as_json: bool) -> None:
    """Score a gallery, on a set if there is one."""
    if target is None and split is not None:
        raise click.UsageError("--split needs a SET: without one a gallery's own items are scored.")
    from featx.gallery.folder import read_facts

    read_facts(path)
    opened = None if target is None else o.open_set(target)
    from featx.evaluate.galleryscore import score_gallery, score_queries
    from featx.gallery.gallery import Gallery

    with Gallery.open(path) as gallery:
        result = score_gallery(gallery) if opened is None else score_queries(gallery, opened, split)
    if as_json:
        o.print_json(result)
        return
    _show_rows(result, "that the gallery holds")
    o.print_measures(result, "accuracy")
    for k, share in result["recall_at"].items():
        o.print_measure(f"recall@{k}", f"{share:.3f}")
    o.print_measure("mAP@10", f"{result['map']:.3f}")


def _show_rows(result: dict[str, Any], excluded: str, *, hidden: str = "") -> None:
    """Print the notes but the one that is `hidden`, and how many rows were scored."""
    for note in result["notes"]:
        if note != hidden:
            o.say(f"note: {note}")
    where = f" of split {result['split']}" if result["split"] else ""
    left_out = f"; {result['excluded']:,} {excluded} are left out" if result["excluded"] else ""
    click.echo(f"{result['n']:,} rows{where}{left_out}")


def _show_classes(table: dict[str, dict[str, Any]]) -> None:
    """Print the measures of each class, tag or output; of many, those that do worst."""
    columns = list(next(iter(table.values())))
    by = "f1" if "f1" in columns else "r2"
    worst = sorted(table, key=lambda name: float(table[name][by]))
    shown = set(worst[:SHOWN_CLASSES])
    click.echo()
    o.print_table(
        ["", *(column.replace("_", " ") for column in columns)],
        [
            [name[:40], *(_cell(table[name][column]) for column in columns)]
            for name in table
            if name in shown
        ],
    )
    if len(table) > SHOWN_CLASSES:
        click.echo(f"... the {SHOWN_CLASSES} that do worst of {len(table):,}")


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _show_confusion(confusion: dict[str, Any]) -> None:
    """Print how often each class was taken for each; of many, the pairs that are confused most."""
    labels = confusion["labels"]
    click.echo()
    if len(labels) <= SHOWN_CLASSES:
        numbers = [str(number) for number in range(1, len(labels) + 1)]
        o.print_table(
            ["true", "", *numbers],
            [
                [label[:30], number, *(count or "." for count in row)]
                for label, number, row in zip(labels, numbers, confusion["counts"], strict=True)
            ],
        )
        return
    cells = confusion.get("cells") or [
        (i, j, count) for i, row in enumerate(confusion["counts"]) for j, count in enumerate(row)
    ]
    pairs = [(count, labels[i], labels[j]) for i, j, count in cells if count and i != j]
    pairs.sort(key=lambda pair: -pair[0])
    o.print_table(["times", "true", "predicted"], pairs[:SHOWN_CLASSES])
