"""A row of a table file, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
