"""``featx label-next``."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.corrected import require_taken
from featx.cli.localpath import LocalPath
from featx.cli.terminal import harmless
from featx.cli.urlarguments import SetPath

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.transfer.labelnext.next import Next

COLUMNS = ("id", "label", "suggested", "margin", "item")
"""Of the csv; `featx label` reads the first two."""

_FACTS = ("by", "waiting", "labelled", "classes", "searched")
_ITEM_WIDTH, _ID_WIDTH = 60, 60
_MEANINGS = {
    "typical": "typical of many, unlike each other",
    "margin": "those that a head is least sure of, unlike each other",
}


@click.command("label-next")
@click.argument("target", metavar="SET", type=SetPath(path_type=Path))
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many items."
)
@click.option(
    "--head",
    type=LocalPath(path_type=Path),
    help="Head that suggests labels: X.head.  [default: one of the labels that there are]",
)
@click.option(
    "-o", "--out", type=LocalPath(path_type=Path), help="Table to fill in: X.csv, for featx label."
)
@o.seed_option
@o.json_option
@o.quiet_option
def label_next(
    target: Path,
    count: int,
    head: Path | None,
    out: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say which items are most worth a label.

    They are those that a head is least sure of, and unlike each other; while there are hardly any
    labels, or none, those that are typical of many others.  Items of splits `val` and `test` are
    left alone.  Fill in the column `label` of the table, give it to `featx label`, and ask again:
    docs/few-labels.md.

    `featx zeroshot` makes a head of the names of classes, which suggests labels from the start.
    """
    from featx.cli.train import require_place
    from featx.heads.headfile import load_head

    _require_csv(out)
    require_place(out)
    opened = o.open_set(target)
    require_taken(out, COLUMNS, "items to label", target, opened)
    guide = None if head is None else load_head(head)
    from featx.transfer.labelnext.next import label_next as choose

    found = choose(opened, count, head=guide, seed=seed)
    rows = _described(opened, found)
    if out is not None:
        _write(out, rows)
    if not quiet and rows:
        _say_notes(found, opened, out, count, has_head=guide is not None)
    if as_json:
        facts = {name: getattr(found, name) for name in _FACTS}
        o.print_json({"items": rows, **facts, "out": None if out is None else str(out)})
        return
    if not rows:
        click.echo(harmless(found.notes[-1]))
        return
    _show(found, rows, out or target, as_table=out is None)


def _require_csv(out: Path | None) -> None:
    from featx.errors import InputError

    if out is not None and out.suffix.lower() != ".csv":
        message = f"{out}: unknown suffix {out.suffix!r}; expected .csv, which featx label takes"
        raise InputError(message)


def _described(opened: "EmbeddingSet", found: "Next") -> list[dict[str, Any]]:
    """Return what is told of each item, as JSON values."""
    items = opened.items.take(found.rows).to_pylist()
    column = "preview" if opened.modality == "text" else "uri"
    return [
        {
            "id": item["id"],
            "suggested": suggested,
            "margin": None if suggested is None else round(margin, 4),
            "item": item[column] or "",
        }
        for item, suggested, margin in zip(
            items, found.suggested, found.margins.tolist(), strict=True
        )
    ]


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    from featx.data.files import writing

    with writing(out) as place, place.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _say_notes(
    found: "Next", opened: "EmbeddingSet", out: Path | None, count: int, *, has_head: bool
) -> None:
    for note in found.notes:
        o.say(f"note: {note}")
    if len(found.rows) < count:
        o.say(f"note: {o.counted(len(found.rows), 'item')} left without a label, all of them here")
    if found.by == "typical" and found.searched < found.waiting:
        o.say(f"note: looked for among {found.searched:,} of {found.waiting:,} items")
    if not (found.labelled or has_head) and opened.modality != "array":
        o.say(
            "note: no labels yet, so none are suggested; where a text model shares the space:"
            f" featx zeroshot {opened.path} --class NAME --class NAME -o z.head, then --head z.head"
        )
    if out is not None:
        o.say(f"fill in the column label of {out}, then run: featx label {opened.path} {out}")


def _show(found: "Next", rows: list[dict[str, Any]], where: Path, *, as_table: bool) -> None:
    from featx.cli.answers import one_line

    if as_table:
        o.print_table(
            ["id", "suggested", "margin", ""],
            [
                (
                    one_line(row["id"], _ID_WIDTH),
                    row["suggested"] or "-",
                    "-" if row["margin"] is None else f"{row['margin']:.3f}",
                    one_line(row["item"], _ITEM_WIDTH),
                )
                for row in rows
            ],
        )
    click.echo(
        f"{where}: {len(rows):,} of {found.waiting:,} items without a label,"
        f" {_MEANINGS[found.by]}; {found.labelled:,} have one,"
        f" of {found.classes:,} {'class' if found.classes == 1 else 'classes'}"
    )
