"""Replies of the routes that look into a gallery and change it, for their description."""

from typing import Literal

from featx.serve.describe.replies import Count, Reply, Share


class ExampleReply(Reply):
    """An item of the gallery.

    Attributes
    ----------
    id : str
        Of the item.
    label, split : str or None
        Null where it has none.
    uri : str
        Where it came from, for people.
    preview : str
        Reminds a person of it.
    thumbnail : str or None
        Path of a small picture of it.
    """

    id: str
    label: str | None
    split: str | None
    uri: str
    preview: str
    thumbnail: str | None


class ExamplesPage(Reply):
    """Some items of the gallery.

    Attributes
    ----------
    items : array
        In the order of the gallery.
    next : str or None
        What to ask for as ``after`` to get those that follow; null at the end.
    total : int
        Items of the gallery.
    labels : object
        How many have each label.
    """

    items: list[ExampleReply]
    next: str | None
    total: Count
    labels: dict[str, Count]


class AddedResult(Reply):
    """An example that was added.

    Attributes
    ----------
    id : str
        Of the item.
    """

    id: str


class RemovedReply(Reply):
    """What was removed.

    Attributes
    ----------
    removed : int
        Items that are gone.
    items : int
        Items that are left.
    """

    removed: Count
    items: Count


class RelabelledReply(Reply):
    """An item with another label.

    Attributes
    ----------
    id : str
        Of the item.
    label : str or None
        The one that it has now.
    items : int
        Of the gallery.
    """

    id: str
    label: str | None
    items: Count


class MapPoint(Reply):
    """An item on the map.

    Attributes
    ----------
    id : str
        Of the item.
    label : str or None
        Null where it has none.
    x, y : float
        From 0 to 1.
    """

    id: str
    label: str | None
    x: Share
    y: Share


class MapReply(Reply):
    """The gallery in two dimensions.

    Attributes
    ----------
    points : array
        Empty until they are computed.
    items : int
        Items of the gallery.
    shown : int
        Points of the map.
    method : "t-SNE" or "PCA"
        How it was made.
    ready : bool
        Whether it is computed.
    """

    points: list[MapPoint]
    items: Count
    shown: Count
    method: Literal["t-SNE", "PCA"]
    ready: bool
