"""Predictions as rows, and the forms that ``featx predict`` writes them in."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from featx.cli.options import printable

if TYPE_CHECKING:
    from featx.heads.predict import Head
    from featx.types import Task, Vectors

Row = dict[str, Any]
"""What is said of one item, as JSON values; its keys depend on the task alone."""

Write = Callable[[Sequence[Row]], None]


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of the items of one window.

    Attributes
    ----------
    rows : list of Row
    problems : list of (str, str)
        Ids of items that could not be read, and why.
    """

    rows: list[Row]
    problems: list[tuple[str, str]]


FORMS = ("table", "csv", "jsonl", "parquet")


class Shape(Protocol):
    """What rows look like: those of a head, or of what a service answers with."""

    @property
    def task(self) -> "Task":
        """What is predicted."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, tags or values."""
        ...


# Rows of one group of a Parquet file, and so what is held in memory.
_GROUP_ROWS = 1 << 14
_ID_WIDTH = 60
_FLAGS = {True: "yes", False: "no", None: "-"}


def describe(head: "Head", ids: Sequence[str], X: "Vectors") -> list[Row]:
    """Return a row for each item: what the head says of it."""
    made = zip(ids, _SAY[head.task](head, ids, X), strict=True)
    return [{"id": printable(item_id), **said} for item_id, said in made]


def choose_form(form: str | None, out: Path | None, *, is_terminal: bool) -> str:
    """Return the form to write: the one asked for, else that of the suffix, else for who reads.

    Raises
    ------
    InputError
        If the suffix stands for none or another, or a form needs a file.
    """
    from featx.errors import InputError

    if out is None:
        if form == "parquet":
            message = "--format parquet: needs a file; add -o FILE.parquet"
            raise InputError(message)
        return form or ("table" if is_terminal else "csv")
    suffix = out.suffix[1:].lower()
    if suffix not in FORMS[1:]:
        message = f"{out}: unknown suffix {out.suffix!r}; expected .csv, .jsonl or .parquet"
        raise InputError(message)
    if form not in (None, suffix):
        message = f"{out}: --format {form} wants a name that ends in .{form}"
        raise InputError(message)
    return suffix


@contextmanager
def writing_rows(shape: Shape, form: str, out: Path | None) -> Iterator[Write]:
    """Give a function that writes rows; a file is there whole at the end, or not at all.

    Parameters
    ----------
    shape : Shape
    form : str
        Of `FORMS`.
    out : Path or None
        None is stdout.
    """
    from featx.data.files import writing

    if out is None:
        yield _WRITERS[form](shape, sys.stdout)
    elif form == "parquet":
        with writing(out) as temporary, _parquet(shape, temporary) as write:
            yield write
    else:
        with writing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            yield _WRITERS[form](shape, file)


def _say_classes(head: "Head", ids: Sequence[str], X: "Vectors") -> Iterator[Row]:
    for found in head.predict(X, ids=ids):
        yield {
            "label": found.label,
            "probability": round(found.probability, 6),
            "set": list(found.set),
            "novel": found.novel,
        }


def _say_tags(head: "Head", _: Sequence[str], X: "Vectors") -> Iterator[Row]:
    for found in head.tag(X):
        probabilities = {name: round(p, 6) for name, p in found.probabilities.items()}
        yield {"tags": list(found.tags), "probabilities": probabilities, "novel": found.novel}


def _say_values(head: "Head", _: Sequence[str], X: "Vectors") -> Iterator[Row]:
    for found in head.estimate(X):
        intervals = [list(interval) for interval in found.intervals]
        yield {"values": list(found.values), "intervals": intervals, "novel": found.novel}


_SAY: dict[str, Callable[["Head", Sequence[str], "Vectors"], Iterator[Row]]] = {
    "classify": _say_classes,
    "multilabel": _say_tags,
    "regress": _say_values,
}


def _flat(row: Row, names: Sequence[str]) -> dict[str, object]:
    """Return a row with one plain value a column, for CSV; lists are joined by ``|``."""
    flat: dict[str, object] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"probability:{name}": p for name, p in value.items()}
        elif key == "values":
            flat |= {_column("value", n, names): v for n, v in zip(names, value, strict=True)}
        elif key == "intervals":
            for name, (low, high) in zip(names, value, strict=True):
                flat |= {_column("low", name, names): low, _column("high", name, names): high}
        elif isinstance(value, list):
            flat[key] = "|".join(value)
        else:
            flat[key] = {True: "true", False: "false", None: ""}[value] if key == "novel" else value
    return flat


def _columns(shape: Shape) -> list[str]:
    """Return the columns of a CSV file of rows, of which there may be none."""
    if shape.task == "classify":
        return ["id", "label", "probability", "set", "novel"]
    if shape.task == "multilabel":
        return ["id", "tags", *(f"probability:{name}" for name in shape.classes), "novel"]
    names = shape.classes
    values = [_column(what, name, names) for what in ("value", "low", "high") for name in names]
    return ["id", *values, "novel"]


def _column(what: str, name: str, names: Sequence[str]) -> str:
    """Return the name of a CSV column; of the only output it needs no second part."""
    return what if len(names) == 1 else f"{what}:{name}"


def _csv(shape: Shape, file: IO[str]) -> Write:
    writer = csv.DictWriter(file, _columns(shape), lineterminator="\n")
    # Later than now: whoever reads a pipe gets nothing where no item could be read.
    header = iter([writer.writeheader])

    def write(rows: Sequence[Row]) -> None:
        for write_header in header:
            write_header()
        writer.writerows(_flat(row, shape.classes) for row in rows)
        file.flush()

    return write


def _jsonl(_: Shape, file: IO[str]) -> Write:
    def write(rows: Sequence[Row]) -> None:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()

    return write


def _table(shape: Shape, file: IO[str]) -> Write:
    """Return what writes aligned columns, as wide as the first rows want them."""
    widths: list[int] = []

    def write(rows: Sequence[Row]) -> None:
        cells = [_cells(row, shape.classes) for row in rows]
        if not widths and cells:
            cells.insert(0, list(_HEADINGS[shape.task]))
            widths.extend(max(map(len, column)) for column in zip(*cells, strict=True))
        for line in cells:
            texts = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            file.write("  ".join(texts).rstrip() + "\n")
        file.flush()

    return write


_HEADINGS = {
    "classify": ("id", "label", "probability", "set", "novel"),
    "multilabel": ("id", "tags", "novel"),
    "regress": ("id", "values", "novel"),
}


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    item_id = " ".join(row["id"].split())
    ends = [item_id if len(item_id) <= _ID_WIDTH else item_id[: _ID_WIDTH - 3] + "..."]
    if "label" in row:
        ends += [row["label"], f"{row['probability']:.3f}", _set(row["set"])]
    elif "tags" in row:
        tags = (f"{name} {row['probabilities'][name]:.3f}" for name in row["tags"])
        ends.append(", ".join(tags) or "none")
    else:
        each = zip(names, row["values"], row["intervals"], strict=True)
        shown = (f"{name} {value:.6g} [{low:.6g}, {high:.6g}]" for name, value, (low, high) in each)
        ends.append(", ".join(shown))
    return [*ends, _FLAGS[row["novel"]]]


def _set(labels: Sequence[str] | None) -> str:
    """Return a conformal set in words; a gallery has none."""
    if labels is None:
        return "-"
    return "{" + ", ".join(labels) + "}" if labels else "none fits"


_WRITERS: dict[str, Callable[[Shape, IO[str]], Write]] = {
    "table": _table,
    "csv": _csv,
    "jsonl": _jsonl,
}


@contextmanager
def _parquet(shape: Shape, path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(shape)
    waiting: list[Row] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
        waiting.clear()

    def write(rows: Sequence[Row]) -> None:
        waiting.extend(rows)
        if len(waiting) >= _GROUP_ROWS:
            flush()

    with pq.ParquetWriter(path, schema) as writer:
        yield write
        flush()


def _schema(shape: Shape) -> Any:  # noqa: ANN401 - a pyarrow schema
    import pyarrow as pa

    texts, number = pa.list_(pa.string()), pa.float64()
    by_tag = pa.struct([(name, number) for name in shape.classes])
    middle: dict[str, list[tuple[str, Any]]] = {
        "classify": [("label", pa.string()), ("probability", number), ("set", texts)],
        "multilabel": [("tags", texts), ("probabilities", by_tag)],
        "regress": [("values", pa.list_(number)), ("intervals", pa.list_(pa.list_(number)))],
    }
    return pa.schema([("id", pa.string()), *middle[shape.task], ("novel", pa.bool_())])
