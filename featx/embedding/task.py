"""One item of a source, and what an embedding run learns of it."""

from dataclasses import dataclass, field
from typing import Any

from featx.backbone.job import Job
from featx.data.rows import Row
from featx.data.statindex import Key
from featx.data.writer import Facts, Held
from featx.types import Content


@dataclass(slots=True)
class Task:
    """One item of a source, and what an embedding run learns of it.

    Attributes
    ----------
    id, content, uri, label, split
        Of the item, see `featx.types.Item`.
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

    id: str
    content: Content
    uri: str = ""
    label: str | None = None
    split: str | None = None
    held: Held | None = None
    digest: bytes = b""
    seen: dict[str, Any] = field(default_factory=dict)
    stat: str = ""
    is_kept: bool = False
    is_cached: bool = False

    @property
    def key(self) -> Key | None:
        """The file, or part of one, that holds the content; None if none does."""
        return self.content if isinstance(self.content, Key) else None

    def let_go(self) -> None:
        """Forget content that takes memory: it has been read."""
        if self.key is None:
            self.content = ""

    @property
    def facts(self) -> Facts:
        """What the source says of the item."""
        return Facts(self.id, self.uri, self.label, self.split)

    @property
    def row(self) -> Row:
        """The row that the item becomes."""
        return Row(self.id, self.digest.hex(), self.uri, self.label, self.split, **self.seen)

    @property
    def is_unchanged(self) -> bool:
        """Whether the set holds a vector of this content."""
        return self.held is not None and self.held.digest == self.digest.hex()


Work = Job[Task]
