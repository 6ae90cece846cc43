"""One item of a source, and what an embedding run learns of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.backbone.job import Job
from featx.data.rows import Row
from featx.data.statindex import Key
from featx.data.writer import Facts, Held
from featx.types import Item, Span, Stored


@dataclass(slots=True)
class Task:
    """One item of a source, and what an embedding run learns of it.

    Attributes
    ----------
    item : Item
    held : Held or None
        The row of this id that the set holds already.
    digest : bytes
        Of the content; empty until it is known.
    seen : dict
        Columns of the row: n_tokens, truncated, preview.
    stat : str
        Of the file before it was read; empty if it was not.
    is_kept : bool
        Whether the set's row is still right.
    is_cached : bool
        Whether the vector came from the cache.
    """

    item: Item
    held: Held | None = None
    digest: bytes = b""
    seen: dict[str, Any] = field(default_factory=dict)
    stat: str = ""
    is_kept: bool = False
    is_cached: bool = False

    @property
    def key(self) -> Key | None:
        """The file, or part of one, that holds the content; None if none does."""
        content = self.item.content
        return content if isinstance(content, Path | Span | Stored) else None

    def let_go(self) -> None:
        """Forget content that takes memory: it has been read."""
        if isinstance(self.item.content, bytes | str | np.ndarray):
            self.item = replace(self.item, content="")

    @property
    def facts(self) -> Facts:
        """What the source says of the item."""
        return Facts(self.item.id, self.item.uri, self.item.label, self.item.split)

    @property
    def row(self) -> Row:
        """The row that the item becomes."""
        item = self.item
        return Row(
            id=item.id,
            digest=self.digest.hex(),
            uri=item.uri,
            label=item.label,
            split=item.split,
            **self.seen,
        )

    @property
    def is_unchanged(self) -> bool:
        """Whether the set holds a vector of this content."""
        return self.held is not None and self.held.digest == self.digest.hex()


Work = Job[Task]
