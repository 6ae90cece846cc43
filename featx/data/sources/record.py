"""A row of a table file, whatever its format."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.errors import InputError


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table.

    Attributes
    ----------
    row : int
        Counted from 1, the header and blank lines left out.
    values : mapping of column name to value
        Empty if there is a problem.
    problem : str
        Why the row cannot be used, else empty.
    """

    row: int
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file that cannot be read into an InputError."""
    try:
        yield
    except OSError as cause:
        found = cause.strerror or str(cause)
        raise InputError(f"{path}: {found}; a readable file is needed") from cause
