"""Array files: ``.npy``, and ``.npz`` with ``X`` and optional ``y``, ``ids`` and ``split``."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.sources.columns import clean_label, clean_split
from featx.data.sources.options import Options
from featx.data.sources.walk import printable
from featx.errors import InputError, ItemError
from featx.types import Item

_NAMES = ("X", "y", "ids", "split")


class Arrays:
    """The rows of an array of shape (N, ...).

    A ``.npy`` file is memory-mapped; an ``.npz`` file is read whole.  Nothing is unpickled.

    Parameters
    ----------
    path : Path
    options : Options
    """

    skipped = 0

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path.absolute()
        self.options = options

    def __iter__(self) -> Iterator[Item]:
        """Yield a row at a time, as a view; a label or split that is none is its problem."""
        X, labels, ids, splits = self.X, self._column("y"), self._ids, self._column("split")
        name = printable(self.path.name)
        for row in range(len(X)):
            ident = f"{name}:{row + 1}" if ids is None else ids[row]
            where, content = f"row {row + 1}", np.asarray(X[row])
            try:
                label = None if labels is None else clean_label(labels[row])
                split = None if splits is None else clean_split(splits[row], where=where)
            except ItemError as error:
                yield Item(id=ident, content=content, problem=f"{where}: {error}")
            except InputError as error:  # of the split, which says where
                yield Item(id=ident, content=content, problem=str(error))
            else:
                yield Item(id=ident, content=content, label=label, split=split)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.X)

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": "arrays", "paths": [str(self.path)], **self.options.facts()}

    @cached_property
    def X(self) -> NDArray[Any]:  # noqa: N802  (the field's name for a matrix)
        """The array, checked."""
        if "X" not in self._arrays:
            found = ", ".join(self._arrays) or "none"
            raise InputError(f"{self.path}: no array 'X'; arrays: {found}")
        X = self._arrays["X"]
        if X.dtype.kind not in "biuf":
            raise InputError(f"{self.path}: dtype {X.dtype}; real numbers are needed")
        if X.ndim < 2:
            raise InputError(f"{self.path}: shape {X.shape}; (N, ...) with two or more axes needed")
        return X

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        try:
            return _read(self.path)
        # A header is a Python expression: one that is damaged raises whatever the parser does, and
        # so does a damaged zip.
        except Exception as error:
            lacks_memory = isinstance(error, MemoryError)
            reason = str(error) if lacks_memory else getattr(error, "strerror", None)
            wanted = "expected a .npy or .npz file of numbers, never pickled objects"
            found = f"cannot be read: {reason}" if reason else f"cannot be read as arrays; {wanted}"
            raise InputError(f"{self.path}: {found}") from error

    def _column(self, name: str) -> list[Any] | None:
        values = self._arrays.get(name)
        if values is None:
            return None
        if values.shape != (len(self.X),):
            raise InputError(
                f"{self.path}: {name!r} has shape {values.shape}; ({len(self.X)},) is needed"
            )
        return [
            v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v
            for v in values.tolist()
        ]

    @cached_property
    def _ids(self) -> list[str] | None:
        values = self._column("ids")
        if values is None:
            return None
        rows: dict[str, int] = {}
        for row, ident in enumerate(map(str, values), start=1):
            first = rows.setdefault(ident, row)
            if first != row or not ident:
                found = f"id {ident!r} is also in row {first}" if ident else "empty id"
                raise InputError(f"{self.path}: row {row}: {found}; ids must be unique")
        return list(rows)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file; of those that no column is named after, only the names."""
    if path.suffix.lower() == ".npy":
        return {"X": np.lib.format.open_memmap(path, mode="r")}
    # Opened here: NumPy leaves the file of a damaged zip open.
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        # What is no array comes as bytes.
        known = {name: np.asarray(file[name]) for name in _NAMES if name in file}
        return known | {name: np.empty(0) for name in file.files if name not in _NAMES}
