"""What an embedding run writes to."""

from collections.abc import Sequence, Sized
from contextlib import AbstractContextManager
from typing import Any, Protocol

from featx.data.rows import Row
from featx.data.told import Facts, Held
from featx.types import Vectors


class RowWriter(AbstractContextManager[Any], Protocol):
    """Takes rows as they are embedded; see `featx.data.writer.SetWriter`."""

    @property
    def committed(self) -> int:
        """Rows so far."""
        ...

    def held(self, ids: Sequence[str]) -> dict[str, Held]:
        """Return what is held of those of `ids` that are."""
        ...

    def append(self, rows: Sequence[Row], X: Vectors) -> None:
        """Take rows and their vectors, shape (N, D)."""
        ...

    def tell(self, facts: Sequence[Facts]) -> None:
        """Take in what the source says of its next items, in its order."""
        ...

    def seal(self) -> None:
        """Make what was taken so far last."""
        ...

    def finish(self, *, partial: bool = False) -> Sized:
        """End, and return what was made."""
        ...
