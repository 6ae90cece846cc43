"""Tables for `featx label`: what a person filled in or corrected is not replaced."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featx.evaluate.labelled import LabelledSet


def require_taken(
    out: Path | None, columns: Sequence[str], items: str, target: Path, opened: "LabelledSet"
) -> None:
    """Raise before a table is replaced that is none of ours, or that a person worked on.

    A command writes no label at all, or the one that was ``given``; where there is a ``finding``
    it takes that away.  What else stands there must be in the set already.

    Parameters
    ----------
    out : Path or None
        Where a table is to be written.
    columns : sequence of str
        Of such a table.
    items : str
        What it lists.
    target : Path
        Of the set.
    opened : LabelledSet
    """
    from featx.cli.train import refuse_other_tables
    from featx.data.sources.records import open_records
    from featx.errors import StoreError
    from featx.evaluate.labelled import row_names

    if out is None or not out.exists():
        return
    refuse_other_tables(out, columns, items)
    splits = opened.items.column("split").to_pylist()
    facts = zip(opened.y.tolist(), splits, strict=True)
    held = dict(zip(row_names(opened), facts, strict=True))
    lost, kept = 0, 0
    for record in open_records(out).read(columns):
        row = record.values
        lost += bool(record.problem) or _is_new(row, *held.get(row["id"], (None, None)))
        kept += _is_kept(row)
    if lost:
        nouns = (
            ("label or split", "labels or splits") if "split" in columns else ("label", "labels")
        )
        are = f"{nouns[0]} is" if lost == 1 else f"{nouns[1]} are"
        found = f"{lost:,} of its {are} not in {target}"
        message = f"{out}: {found}; run: featx label {target} {out}; or choose another name"
        raise StoreError(message)
    if kept:
        message = f"{out}: a person kept {kept:,} of the labels it doubts; choose another name"
        raise StoreError(message)


def _is_new(row: Mapping[str, str], label: str | None, split: str | None) -> bool:
    """Return whether a row says what neither the command wrote nor the set has."""
    written = "" if row.get("finding") else row.get("given", "")
    if row["label"] not in {written, label or ""}:
        return True
    return "split" in row and row["split"] != (split or "")


def _is_kept(row: Mapping[str, str]) -> bool:
    """Return whether the label that a finding took away stands there again."""
    return bool(row.get("finding") and row["label"]) and row["label"] == row["given"]
