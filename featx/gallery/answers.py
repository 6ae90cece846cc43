"""What a gallery answers: its items near a query, their vote, and its items by pages."""

from dataclasses import dataclass

from featx.gallery.items import ItemFacts
from featx.types import Rows, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One item of a gallery, as near to a query as `similarity` says.

    Attributes
    ----------
    id, label, uri, preview, split
        Facts of the item; label and split may be None.
    similarity : float
        Rises as things get nearer: a cosine, an inner product, or minus a distance.
    row : int
        Its row, until the gallery is compacted.
    vote : float or None
        Its share of the vote, where one was taken.
    """

    id: str
    label: str | None
    similarity: float
    uri: str
    preview: str
    row: int
    split: str | None = None
    vote: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What the neighbours of one query say.

    Attributes
    ----------
    label : str or None
        The label with the largest share of the vote; None where that is below what was asked.
    probability : float
        That share.
    neighbours : list of Neighbour
        Who voted, nearest first; all are labelled.
    novel : bool or None
        Whether the query is less similar to its nearest neighbour than 99 % of the gallery's own
        items are to theirs; None where the gallery was too small to tell.
    """

    label: str | None
    probability: float
    neighbours: list[Neighbour]
    novel: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items of a gallery.

    Attributes
    ----------
    items : list of (str, ItemFacts)
        Id and facts, by row; those of the parts without their thumbnail.
    next : int or None
        Row after which the next page begins; None where this is the last one.
    total : int
        Items of all pages.
    """

    items: list[tuple[str, ItemFacts]]
    next: int | None
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some items of a gallery with their vectors, by row.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,), n >= 1
        Ascending.
    X : ndarray of float32, shape (n, D)
    items : list of (str, ItemFacts)
        Id and facts of each, without thumbnails.
    """

    rows: Rows
    X: Vectors
    items: list[tuple[str, ItemFacts]]
