"""What an inspection would change of a set: a table of labels, or a new set."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from featx.data.files import writing
from featx.data.rows import BATCH_ROWS, Row
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import InputError
from featx.evaluate.curation.inspection import DuplicateGroup, Inspection
from featx.evaluate.labelled import LabelledSet, row_names

Finding = Literal["suspects", "clusters", "leaks", "duplicates", "outliers"]

FINDINGS: tuple[Finding, ...] = get_args(Finding)
USUAL: tuple[Finding, ...] = ("suspects", "leaks")
"""What is acted on unless told; the others want a look first."""

COLUMNS = ("id", "label", "split", "finding", "given")
"""Of the table; ``given`` is the label before."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a row: it loses its label, or gets another one."""

    finding: Finding
    label: str | None


def changes(
    found: Inspection,
    embedding_set: LabelledSet,
    *,
    fix: tuple[Finding, ...] = USUAL,
    relabel: bool = False,
) -> dict[int, Change]:
    """Return what to change, by row.

    Parameters
    ----------
    found : Inspection
    embedding_set : EmbeddingSet
        That was inspected.
    fix : tuple of str
        Findings to act on.  ``leaks`` takes the rows of the earlier split, so that test rows
        stay; of ``duplicates`` the first row of the commonest label stays in each split.
    relabel : bool, default False
        Whether suspects and mislabelled clusters get the suggested class, instead of none.
    """
    made: dict[int, Change] = {}
    for finding in FINDINGS:  # later ones win: a row that goes needs no other label
        if finding in fix:
            labels = _labels(finding, found, embedding_set)
            made |= {
                row: Change(finding, label if relabel else None) for row, label in labels.items()
            }
    return made


def _labels(
    finding: Finding, found: Inspection, embedding_set: LabelledSet
) -> dict[int, str | None]:
    """Return the class that each row of a finding should have, None if it should go."""
    if finding == "suspects":
        suggested = [found.classes[code] for code in found.suspects.suggested]
        return dict(zip(found.suspects.rows.tolist(), suggested, strict=True))
    if finding == "clusters":
        return {row: each.suggested for each in found.clusters for row in each.rows.tolist()}
    if finding == "leaks":
        return dict.fromkeys(found.leaks.earlier.tolist())
    if finding == "outliers":
        return dict.fromkeys(found.outliers.rows.tolist())
    labels = embedding_set.y.tolist()
    splits = embedding_set.items.column("split").to_pylist()
    copies = (row for group in found.duplicates for row in _copies(group, labels, splits))
    return dict.fromkeys(copies)


def _copies(group: DuplicateGroup, labels: list[str | None], splits: list[str | None]) -> list[int]:
    """Return the rows of a group but one of each split, of the commonest label."""
    rows: list[int] = group.rows.tolist()
    counts = Counter(labels[row] for row in rows if labels[row] is not None)
    commonest = counts.most_common(1)[0][0] if counts else None
    kept: dict[str | None, int] = {}
    for row in sorted(rows, key=lambda row: labels[row] != commonest):
        kept.setdefault(splits[row], row)
    return sorted(set(rows) - set(kept.values()))


def write_table(path: Path, embedding_set: LabelledSet, made: dict[int, Change]) -> None:
    """Write all rows as a table that ``featx label`` reads; whole or not at all.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    labels = embedding_set.y.tolist()
    ids = row_names(embedding_set)
    splits = embedding_set.items.column("split").to_pylist()
    with writing(path) as place, place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, (item_id, given, split) in enumerate(zip(ids, labels, splits, strict=True)):
            finding, label = (made[row].finding, made[row].label) if row in made else ("", given)
            writer.writerow([item_id, label or "", split or "", finding, given or ""])


def write_set(
    out: Path, embedding_set: EmbeddingSet, made: dict[int, Change], *, command: str = ""
) -> EmbeddingSet:
    """Write a new set, in which rows have their new labels and those that lose theirs are gone.

    Raises
    ------
    InputError
        If no row would be left.
    StoreError
        If `out` is something else, or cannot be written.
    """
    manifest = embedding_set.manifest
    gone = {row for row, change in made.items() if change.label is None}
    if len(gone) == len(embedding_set):
        message = f"{out}: no item would be left; act on fewer findings with --fix, or --relabel"
        raise InputError(message)
    labels = {row: change.label for row, change in made.items()}
    with SetWriter(
        out, model=manifest["model"], command=command, source=manifest.get("source")
    ) as writer:
        for start in range(0, len(embedding_set), BATCH_ROWS):
            facts = embedding_set.items.slice(start, BATCH_ROWS).to_pylist()
            kept = [row for row in range(start, start + len(facts)) if row not in gone]
            rows = [Row(**facts[row - start] | _label(labels, row)) for row in kept]
            if rows:
                writer.append(rows, np.asarray(embedding_set.X[kept]))
                writer.tell([Facts(row.id, row.uri, row.label, row.split) for row in rows])
        return writer.finish()


def _label(labels: dict[int, str | None], row: int) -> dict[str, str | None]:
    return {"label": labels[row]} if row in labels else {}
