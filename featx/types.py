"""The nouns that rooms hand to each other."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from featx.errors import ItemError

Vectors = NDArray[np.float32]
"""Embeddings: float32, C-contiguous, one row an item, shape (N, D)."""

Rows = NDArray[np.int64]
"""Row numbers of a matrix, int64; -1 where there is none."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some bytes of a file that holds many items, such as a member of a tar.

    Attributes
    ----------
    path : Path
    offset, size_bytes : int
    origin : str
        Of a file that is a copy, what it is a copy of, and of which version; else empty.
    """

    path: Path
    offset: int
    size_bytes: int
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Stored(ABC):
    """A file of an object store, read when it is needed.

    Attributes
    ----------
    url : str
    size_bytes : int
    tag : str
        Another one whenever the content is another; empty where the store was not asked yet.
    """

    url: str
    size_bytes: int
    tag: str

    @property
    def name(self) -> str:
        """What tells it from all other contents: its URL, and where it is a part, which."""
        return self.url

    @abstractmethod
    def read(self) -> bytes:
        """Return the content.

        Raises
        ------
        ItemError
            If it is gone, denied, too large, or another one than was listed.
        StoreError
            If the store cannot be reached, which no other item would mend.
        """


Content = Path | Span | Stored | str | bytes | NDArray[Any]
"""What an item holds before it is read: a file or part of one, a text, encoded bytes, an array."""

Split = Literal["train", "val", "test"]

Task = Literal["classify", "multilabel", "regress"]
"""What the labels of a head are: a class, any number of tags, or numbers."""

Device = str
"""``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to embed, as a source lists it; nothing has been read yet.

    Attributes
    ----------
    id : str
        Unique within its source and stable between runs: a path relative to the source's root,
        a value of the id column, or ``"<file>:<row>"``.
    content : Content
        What the modality reads.
    uri : str
        Where the item came from, for people; a path where there is one, else empty.
    label : str or None
        None where the item is not labelled.
    split : str or None
        ``"train"``, ``"val"``, ``"test"`` or None.
    problem : str
        Why the source could not read this item (not UTF-8, a ragged row ...), else empty.  An
        embedding run lists such an item as an error and goes on.
    """

    id: str
    content: Content
    uri: str = ""
    label: str | None = None
    split: str | None = None
    problem: str = ""


class Source(Protocol):
    """Items in a stable order.  Iterating twice gives the same items unless files changed."""

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order."""
        ...

    def __len__(self) -> int:
        """Return the number of items; cheap after the first call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One item, preprocessed and ready to be batched.

    Attributes
    ----------
    inputs : mapping of role to ndarray, each of shape (parts, ...)
        Roles are keys of the manifest's ``[inputs]``.  An item takes `parts` rows of a batch
        (windows of a sound, chunks of a text); most take one.
    cost : int
        Work for one part, in units of the modality (tokens, pixels / 1024, frames); items of
        similar cost are batched together.
    n_tokens : int or None
        Length before truncation, for texts.
    truncated : bool
        Whether something was cut off.
    parts : int
        Rows of a batch that this item takes.
    size_bytes : int
        Memory that the arrays take.
    """

    inputs: Mapping[str, NDArray[Any]]
    cost: int
    n_tokens: int | None = None
    truncated: bool = False
    parts: int = field(init=False)
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Measure once what a pipeline asks for again and again."""
        arrays = list(self.inputs.values())
        object.__setattr__(self, "parts", len(arrays[0]))
        object.__setattr__(self, "size_bytes", sum([array.nbytes for array in arrays]))


class Modality(Protocol):
    """One kind of input: from content to the arrays that a graph is fed with.

    A modality is built from a manifest (``Modality(manifest)``), opens nothing until it is used
    and is safe to call from several threads.
    """

    revision: ClassVar[int]
    """Raised by one whenever the output of `load` changes; part of the fingerprint."""

    suffixes: ClassVar[frozenset[str]]
    """File suffixes that a folder is searched for, lower-case, with the dot."""

    def read(self, content: Content) -> bytes:
        """Return the bytes that identify the item; its digest is taken over them.

        Raises
        ------
        ItemError
            If there is nothing to read (missing, empty, of the wrong kind).
        """
        ...

    def load(self, raw: bytes) -> Sample:
        """Decode and preprocess what `read` returned.

        Raises
        ------
        ItemError
            If it cannot be decoded, saying what was found.
        """
        ...

    def load_many(self, raws: Sequence[bytes]) -> list[Sample | ItemError]:
        """Load several items, in order; what `load` would raise stands in its item's place."""
        ...

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one batch: role → array of shape (sum of parts, ...).

        Roles are those of the graph, and may be more than a sample holds: a mask, for one.
        """
        ...

    def preview(self, raw: bytes) -> str:
        """Return at most 200 characters that remind a person of the item; may be empty."""
        ...
