"""Labels and splits that are attached to a set after it was embedded."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.data.sources.columns import clean_label, clean_split
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter, relabelled
from featx.errors import InputError


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels and splits by id; an id that is not a key keeps what it has."""

    labels: dict[str, str | None] = field(default_factory=dict)
    splits: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply_labels` did: counts of rows, and the ids that the set does not hold."""

    rows: int
    matched: int
    changed: int
    unknown: list[str]


def read_labels(path: Path, *, id_col: str, label_col: str, split_col: str) -> Labels:
    """Read a table of ids with labels, splits or both; or the class folders of a folder.

    Raises
    ------
    InputError
        If the id column is missing, or both others are.
    """
    if path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if file.is_file())
        deep = (file.relative_to(path) for file in files)
        found = {p.as_posix(): p.parts[0] for p in deep if len(p.parts) > 1}
        return Labels(labels=dict(found))
    result = Labels()
    for number, row in enumerate(_rows(path), start=1):
        missing = id_col not in row
        if missing or (label_col not in row and split_col not in row):
            wanted = id_col if missing else f"{label_col}' or '{split_col}"
            message = f"{path}: no column '{wanted}'; columns: {', '.join(map(str, row))}"
            raise InputError(message)
        item_id = str(row[id_col])
        if label_col in row:
            result.labels[item_id] = clean_label(row[label_col])
        if split_col in row:
            result.splits[item_id] = clean_split(row[split_col], where=f"{path}: row {number}")
    return result


def apply_labels(path: Path, given: Labels) -> Applied:
    """Give a set's rows their new labels and splits, in one commit.

    An id is matched as it is, else by the end of the row's uri (a file name or a part of a path).
    """
    current = EmbeddingSet.open(path)
    ids = current.items.column("id").to_pylist()
    uris = current.items.column("uri").to_pylist()
    keys = _matches({*given.labels, *given.splits}, ids, uris)
    labels = {keys[k]: v for k, v in given.labels.items() if k in keys}
    splits = {keys[k]: v for k, v in given.splits.items() if k in keys}
    table = relabelled(current.items, labels, splits)
    old, new = (t.select(["label", "split"]).to_pylist() for t in (current.items, table))
    changed = sum(a != b for a, b in zip(old, new, strict=True))
    if changed:
        writer = SetWriter.reopen(path)
        with writer:
            writer.update(table)
    unknown = sorted({*given.labels, *given.splits} - keys.keys())
    return Applied(len(ids), len(keys), changed, unknown)


def _matches(wanted: Iterable[str], ids: list[Any], uris: list[Any]) -> dict[str, str]:
    known = set(ids)
    by_name: dict[str, set[str]] = {}
    for item_id, uri in zip(ids, uris, strict=True):
        by_name.setdefault(Path(uri or item_id).name, set()).add(item_id)
    found = {}
    for key in wanted:
        named = by_name.get(Path(key).name, set())
        if key in known:
            found[key] = key
        elif len(named) == 1:
            found[key] = next(iter(named))
    return found


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","))
    if suffix in {".jsonl", ".ndjson"}:
        import json

        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    message = f"{path}: expected a csv, tsv, jsonl or parquet table, or a folder of class folders"
    raise InputError(message)
