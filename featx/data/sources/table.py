"""Tables: csv, tsv, jsonl and parquet, a row an item."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featx.data.sources.cells import Cell, held_content, tag_of
from featx.data.sources.columns import (
    Columns,
    clean_label,
    clean_split,
    is_missing,
    is_unicode,
    option,
    require_column,
)
from featx.data.sources.located import located, uri_of
from featx.data.sources.options import Options
from featx.data.sources.parquet import ParquetRecords
from featx.data.sources.records import SNIFFED_ROWS, Record, Records, open_records
from featx.errors import InputError, ItemError
from featx.types import Content, Item, Stored

LABEL_COLUMNS = ("label", "labels", "class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The columns that are used.

    Attributes
    ----------
    holds : {"text", "file", "numbers"}
        What the content columns hold.
    content : sequence of str
        One column, or every numeric one.
    label, id, split : str or None
    """

    holds: Literal["text", "file", "numbers"]
    content: Sequence[str]
    label: str | None = None
    id: str | None = None
    split: str | None = None

    @property
    def all(self) -> list[str]:
        """Every column that is read."""
        extra = (self.label, self.id, self.split)
        return list(dict.fromkeys([*self.content, *(name for name in extra if name)]))


class Table:
    """The rows of a table file.

    Parameters
    ----------
    path : Path
    options : Options
        The content column comes from `options.columns`, else from the modality: ``text`` or the
        only column of text; ``image``, ``audio``, ``file_name`` or ``path``; every numeric column.
    """

    skipped = 0

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path.absolute()
        self.options = options
        self.records = open_records(self.path)

    @cached_property
    def picked(self) -> Picked:
        """The columns that are used."""
        return pick_columns(self.records, self.options)

    def __iter__(self) -> Iterator[Item]:
        """Yield a row at a time, after the ids have been checked once."""
        self._check_ids  # noqa: B018  (cached: the check runs once)
        if self.options.names_contents and has_cells(self.records, self.picked):
            return name_items(self.records, self.picked)
        return read_items(self.records, self.picked)

    def __len__(self) -> int:
        """Return the number of rows; reads a text file once, only the footer of parquet."""
        return self._count

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        picked = self.picked
        columns = Columns(label_col=picked.label, id_col=picked.id, split_col=picked.split)
        facts = asdict(columns)
        if picked.holds != "numbers":
            kind = "text" if picked.holds == "text" else self.options.modality
            facts[f"{kind}_col"] = picked.content[0]
        return {
            "kind": "table",
            "paths": [str(self.path)],
            **self.options.facts(),
            "columns": facts,
        }

    @cached_property
    def _count(self) -> int:
        return self.records.count()

    @cached_property
    def _check_ids(self) -> None:
        if self.picked.id is not None:
            check_ids(self.records, self.picked.id)


def pick_columns(records: Records, options: Options) -> Picked:
    """Choose the columns of a table.

    Raises
    ------
    InputError
        If a named column is missing, or none can be chosen; names the columns there are.
    """
    for field, name in asdict(options.columns).items():
        if name is not None:
            require_column(f"{records.path}: {option(field)}", records.names, name)
    facts = _pick_facts(records, options.columns)
    rest = [name for name in records.names if name not in facts.all]
    if options.modality == "array":
        return replace(facts, holds="numbers", content=_every_numeric(records, rest))
    if options.modality == "text":
        content = options.columns.text_col or _text_column(records, rest)
        return replace(facts, holds="text", content=[content])
    return replace(facts, holds="file", content=[_file_column(records.path, rest, options)])


def pick_listing(records: Records, columns: Columns) -> Picked:
    """Choose the columns of a ``metadata`` file, which names files in ``file_name``."""
    return replace(_pick_facts(records, columns), content=["file_name"])


def _pick_facts(records: Records, columns: Columns) -> Picked:
    names = records.names
    return Picked(
        holds="file",
        content=(),
        label=columns.label_col or next((name for name in LABEL_COLUMNS if name in names), None),
        id=columns.id_col or ("id" if "id" in names else None),
        split=columns.split_col or ("split" if "split" in names else None),
    )


def _every_numeric(records: Records, rest: Sequence[str]) -> list[str]:
    numeric = _numeric_columns(records, rest)
    if not numeric:
        listed = ", ".join(records.names) or "none"
        raise InputError(f"{records.path}: no numeric column; columns: {listed}")
    return numeric


def _text_column(records: Records, rest: Sequence[str]) -> str:
    if "text" in rest:
        return "text"
    rows = list(islice(records.read(), SNIFFED_ROWS))
    numeric = set(_numeric_columns(records, rest))
    texts = [
        name
        for name in rest
        if name not in numeric and any(isinstance(r.values.get(name), str) for r in rows)
    ]
    if len(texts) == 1:
        return texts[0]
    raise InputError(
        f"{records.path}: {len(texts) or 'no'} columns of text; "
        f"columns: {', '.join(records.names) or 'none'}; name one with {option('text_col')}"
    )


def _file_column(path: Path, rest: Sequence[str], options: Options) -> str:
    modality = options.modality
    given: str | None = getattr(options.columns, f"{modality}_col", None)
    default = next((n for n in (modality, "file_name", "path") if n in rest), None)
    if given or default:
        return str(given or default)
    raise InputError(
        f"{path}: no column of {modality} files; columns: {', '.join(rest) or 'none'}; "
        f"name one with {option(f'{modality}_col')}"
    )


def _numeric_columns(records: Records, rest: Sequence[str]) -> list[str]:
    rows = [r.values for r in islice(records.read(), SNIFFED_ROWS) if not r.problem]
    return [name for name in rest if _is_mostly_numeric([values.get(name) for values in rows])]


def _is_mostly_numeric(values: Sequence[object]) -> bool:
    present = [value for value in values if not is_missing(value)]
    return sum(_number(value) is not None for value in present) * 2 > len(present)


def _number(value: object) -> float | None:
    if isinstance(value, (str, int, float)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if np.isfinite(number) else None
    return None


def read_items(records: Records, picked: Picked) -> Iterator[Item]:
    """Yield an item for each row; one that cannot be used has a problem."""
    for record in records.read(picked.all):
        yield _item(records.path, record, picked)


def has_cells(records: Records, picked: Picked) -> bool:
    """Return whether the content of each row is held by a parquet file itself."""
    if not isinstance(records, ParquetRecords) or picked.holds == "numbers":
        return False
    return picked.holds == "text" or not records.holds_text(picked.content[0])


def name_items(records: Records, picked: Picked) -> Iterator[Item]:
    """Yield an item for each row, as `read_items` does; its content is named and not read."""
    path, column, is_text = records.path, picked.content[0], picked.holds == "text"
    version = tag_of(path)
    facts = replace(picked, content=[])
    rows = records.read(facts.all) if facts.all else map(Record, range(1, records.count() + 1))
    for record in rows:
        cell = Cell.of(path, version, column, row=record.row, is_text=is_text)
        yield _item(path, record, facts, cell)


def _item(path: Path, record: Record, picked: Picked, cell: Cell | None = None) -> Item:
    default, where = f"{path.name}:{record.row}", f"row {record.row}"
    if record.problem:
        return Item(id=default, content="", problem=record.problem)
    values, ident, split = record.values, default, None
    try:
        ident = _ident(values, picked.id) or default
        split = clean_split(values.get(picked.split), where=where) if picked.split else None
        label = clean_label(values.get(picked.label)) if picked.label else None
        content = cell or _content(path, values, picked)
    except ItemError as error:
        return Item(id=ident, content="", split=split, problem=f"{where}: {error}")
    except InputError as error:  # of the split, which says where
        return Item(id=ident, content="", problem=str(error))
    uri = uri_of(content) if isinstance(content, Path | Stored) and cell is None else ""
    return Item(id=ident, content=content, uri=uri, label=label, split=split)


def _ident(values: Mapping[str, Any], column: str | None) -> str | None:
    if column is None:
        return None
    value = values.get(column)
    if is_missing(value) or isinstance(value, (list, dict)) or not is_unicode(str(value)):
        raise ItemError(f"{column!r} is empty or no valid text; each row needs an id of its own")
    return str(value)


def _content(path: Path, values: Mapping[str, Any], picked: Picked) -> Content:
    if picked.holds == "numbers":
        return _vector(values, picked.content)
    name = picked.content[0]
    value = values.get(name)
    if picked.holds == "file" and isinstance(value, str) and value and is_unicode(value):
        return located(path.parent, value)
    return held_content(value, name, is_text=picked.holds == "text")


def _vector(values: Mapping[str, Any], names: Sequence[str]) -> Content:
    vector = np.empty(len(names), dtype=np.float64)
    for column, name in enumerate(names):
        number = _number(values.get(name))
        if number is None:
            raise ItemError(f"{name!r} is {values.get(name)!r:.40}; it must be a finite number")
        vector[column] = number
    return vector


def check_ids(records: Records, column: str) -> None:
    """Read the id column once; 8 bytes a row are kept.

    Raises
    ------
    InputError
        Naming the first id that appears twice, and its rows.
    """
    held = array("q", (hash(ident) for _, ident in _idents(records, column)))
    hashes = np.frombuffer(held, dtype=np.int64)
    hashes.sort()  # in place: np.unique takes five times the memory
    repeated = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(repeated):
        return
    suspects, rows = set(repeated.tolist()), dict[str, int]()
    for row, ident in _idents(records, column):
        first = rows.setdefault(ident, row) if hash(ident) in suspects else row
        if first != row:
            raise InputError(
                f"{records.path}: row {row}: id {ident!r} is also in row {first}; ids must be "
                f"unique; name another column with {option('id_col')}"
            )


def _idents(records: Records, column: str) -> Iterator[tuple[int, str]]:
    """Yield the row and id of every row that has one."""
    for record in records.read([column]):
        value = record.values.get(column)
        if not is_missing(value):
            yield record.row, str(value)
