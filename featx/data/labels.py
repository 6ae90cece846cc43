"""Labels and splits that are attached to a set after it was embedded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from featx.data.sources import kind_of
from featx.data.sources.columns import clean_label, clean_split, is_missing
from featx.data.sources.records import Record, Records, open_records
from featx.data.sources.table import check_ids
from featx.data.sources.walk import walk
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter, relabelled
from featx.errors import InputError, ItemError


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels and splits by id; an id that is not a key keeps what it has.

    `problems` says of each row that cannot be used what is wrong with it.
    """

    labels: dict[str, str | None] = field(default_factory=dict)
    splits: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply_labels` did: counts of rows, and the ids that name no single row of the set."""

    rows: int
    matched: int
    changed: int
    unknown: list[str]


def read_labels(path: Path, *, id_col: str, label_col: str, split_col: str) -> Labels:
    """Read a table of ids with labels, splits or both; or the class folders of a folder.

    Raises
    ------
    InputError
        If the id column is missing, or both others are; if an id stands twice, a split is no
        known word, or nothing at all is found.
    """
    if path.is_dir():
        found = {name: name.split("/", 1)[0] for name in walk(path, None)[0] if "/" in name}
        if not found:
            message = f"{path}/: no files in class folders; expected {path}/CLASS/FILE"
            raise InputError(message)
        return Labels(labels=dict(found))
    if kind_of(path) != "table":
        message = (
            f"{path}: expected a csv, tsv, jsonl or parquet table, or a folder of class folders"
        )
        raise InputError(message)
    records = open_records(path)
    _require_columns(records, id_col, label_col, split_col)
    check_ids(records, id_col)
    result = Labels()
    for record in records.read(
        [name for name in records.names if name in {id_col, label_col, split_col}]
    ):
        _add(result, record, path, (id_col, label_col, split_col))
    if not (result.labels or result.splits or result.problems):
        message = f"{path}: holds no rows; at least one is needed"
        raise InputError(message)
    return result


def _require_columns(records: Records, id_col: str, label_col: str, split_col: str) -> None:
    names = records.names
    wanted = [id_col] if id_col not in names else [label_col, split_col]
    if any(name in names for name in wanted):
        return
    near = [match for name in wanted for match in get_close_matches(name, names, n=1)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    options = "--id-col" if wanted == [id_col] else "--label-col or --split-col"
    message = (
        f"{records.path}: no column {' or '.join(map(repr, wanted))}; {hint}"
        f"columns: {', '.join(names) or 'none'}; name it with {options}"
    )
    raise InputError(message)


def _add(result: Labels, record: Record, path: Path, names: tuple[str, str, str]) -> None:
    """Take one row in, or say what is wrong with it."""
    id_col, label_col, split_col = names
    where, values = f"{path}: row {record.row}", record.values
    problem = record.problem
    try:
        label = clean_label(values.get(label_col))
        if not problem and is_missing(values.get(id_col)):
            problem = f"row {record.row}: {id_col!r} is empty; each row needs an id"
    except ItemError as error:
        problem = f"row {record.row}: {error}"
    if problem:
        result.problems.append(f"{path}: {problem}")
        return
    item_id = str(values[id_col])
    if label_col in values:
        result.labels[item_id] = label
    if split_col in values:
        result.splits[item_id] = clean_split(values[split_col], where=where)


def apply_labels(path: Path, given: Labels) -> Applied:
    """Give a set's rows their new labels and splits, in one commit.

    A key names the row of that id, else the one row whose uri ends in it, else the one row of
    that file name; a key that names no row or several is unknown.
    """
    current = EmbeddingSet.open(path)
    ids = current.items.column("id").to_pylist()
    uris = current.items.column("uri").to_pylist()
    wanted = {*given.labels, *given.splits}
    keys = _matches(wanted, ids, uris)
    labels = {keys[k]: v for k, v in given.labels.items() if k in keys}
    splits = {keys[k]: v for k, v in given.splits.items() if k in keys}
    table = relabelled(current.items, labels, splits)
    old, new = (t.select(["label", "split"]).to_pylist() for t in (current.items, table))
    changed = sum(a != b for a, b in zip(old, new, strict=True))
    if changed:
        writer = SetWriter.reopen(path)
        with writer:
            writer.update(table)
    return Applied(len(ids), len(keys), changed, sorted(wanted - keys.keys()))


def _matches(wanted: Iterable[str], ids: list[Any], uris: list[Any]) -> dict[str, str]:
    """Return key → id of the row it names; two keys never name one row by its file name."""
    known = set(ids)
    by_name: dict[str, dict[str, str]] = {}
    for item_id, uri in zip(ids, uris, strict=True):
        by_name.setdefault(Path(uri or item_id).name, {})[item_id] = uri or item_id
    found = {key: key for key in wanted if key in known}
    guessed = {}
    for key in wanted:
        named = by_name.get(Path(key).name, {}) if key not in known else {}
        ends = [item_id for item_id, uri in named.items() if f"/{uri}".endswith(f"/{key}")]
        candidates = ends if len(ends) == 1 else list(named)
        if len(candidates) == 1:
            guessed[key] = candidates[0]
    claims = Counter([*found.values(), *guessed.values()])
    return found | {key: item_id for key, item_id in guessed.items() if claims[item_id] == 1}
