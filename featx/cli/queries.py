"""Items that are named on the command line, turned into vectors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from featx.cli.named import NamedItems
from featx.types import Item

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.data.sources.columns import Columns
    from featx.data.store import EmbeddingSet
    from featx.gallery.items import ItemFacts
    from featx.gallery.thumbnails import Thumbnails
    from featx.types import Sample, Vectors

WINDOW_ITEMS = 256

SET_ROWS = 1024
"""Rows of a set that are taken together: nothing is encoded."""

IsHeld = Callable[[str], bool]
"""Whether the item of an id is there already, and passed over without being read."""


def none_is_held(item_id: str) -> bool:
    """Return False: nothing is passed over."""
    return False


@dataclass(frozen=True, slots=True)
class Encoded:
    """Items of one window.

    Attributes
    ----------
    ids : list of str
    X : ndarray of float32, shape (N, D)
    problems : list of (str, str)
        Ids of items that could not be read, and why.
    facts : list of ItemFacts
        Of the ids.
    held : int
        Items that were passed over.
    is_of_partner : bool
        Whether the other half of a pair made the vectors: how near they come to those of the
        gallery says nothing of whether they are unlike all of them.
    """

    ids: list[str]
    X: "Vectors"
    problems: list[tuple[str, str]]
    facts: list["ItemFacts"] = field(default_factory=list)
    held: int = 0
    is_of_partner: bool = False


class _Loaded(NamedTuple):
    sample: "Sample"
    facts: "ItemFacts"


def is_set(arguments: Sequence[str]) -> bool:
    """Return whether the arguments name one embedding set."""
    try:
        return len(arguments) == 1 and (Path(arguments[0]) / "manifest.json").is_file()
    except OSError:  # a text that is longer than a path may be
        return False


def windows_of(
    opened: "EmbeddingSet",
    *,
    thumbnails: "Thumbnails | None" = None,
    is_held: IsHeld = none_is_held,
) -> Iterator[Encoded]:
    """Yield the rows of a set as they are, in order."""
    import numpy as np

    from featx.data.finite import require_finite
    from featx.gallery.items import ItemFacts

    for start in range(0, len(opened), SET_ROWS):
        rows = opened.items.slice(start, SET_ROWS).to_pylist()
        new = [at for at, row in enumerate(rows) if not is_held(row["id"])]
        pictures = thumbnails([start + at for at in new]) if thumbnails else [None] * len(new)
        facts = [
            ItemFacts(
                label=rows[at]["label"],
                split=rows[at]["split"],
                uri=rows[at]["uri"] or "",
                preview=rows[at]["preview"] or "",
                thumbnail=picture,
            )
            for at, picture in zip(new, pictures, strict=True)
        ]
        X = np.asarray(opened.X[start : start + len(rows)])[new]
        require_finite(opened, X)
        yield Encoded([rows[at]["id"] for at in new], X, [], facts, len(rows) - len(new))


def encode(
    arguments: Sequence[str], backbone: "Backbone", columns: "Columns | None" = None
) -> Iterator[Encoded]:
    """Encode what the arguments name, window by window, in order; see `NamedItems`."""
    return encode_items(NamedItems(arguments, backbone.manifest.modality, columns), backbone)


def encode_items(
    items: Iterable[Item],
    backbone: "Backbone",
    *,
    with_thumbnails: bool = False,
    is_held: IsHeld = none_is_held,
) -> Iterator[Encoded]:
    """Encode items, window by window, in order.

    Thumbnails are made of images only.  What is held is asked when a window begins, so that it may
    depend on those before.
    """
    with_thumbnails = with_thumbnails and backbone.manifest.modality == "image"
    source = iter(items)
    while window := list(islice(source, WINDOW_ITEMS)):
        new = [item for item in window if not is_held(item.id)]
        encoded = _encode_window(new, backbone, with_thumbnails=with_thumbnails)
        yield replace(encoded, held=len(window) - len(new))


def _encode_window(
    window: Sequence[Item], backbone: "Backbone", *, with_thumbnails: bool
) -> Encoded:
    from featx.embedding.policy import LOADERS

    with ThreadPoolExecutor(LOADERS) as pool:
        tried = list(pool.map(lambda item: _load(item, backbone, with_thumbnails), window))
    loaded = [found for found in tried if isinstance(found, _Loaded)]
    pairs = list(zip(window, tried, strict=True))
    return Encoded(
        [item.id for item, found in pairs if isinstance(found, _Loaded)],
        backbone.encode_samples([found.sample for found in loaded]),
        [(item.id, found) for item, found in pairs if isinstance(found, str)],
        [found.facts for found in loaded],
    )


def _load(item: Item, backbone: "Backbone", with_thumbnail: bool) -> _Loaded | str:
    """Read and decode one item; return why not, where it cannot be."""
    from featx.errors import ItemError
    from featx.gallery.items import ItemFacts
    from featx.gallery.thumbnails import thumbnail

    if item.problem:
        return item.problem
    try:
        raw = backbone.read(item.content)
        sample = backbone.load(raw)
    except ItemError as error:
        return str(error)
    facts = ItemFacts(
        label=item.label,
        split=item.split,
        uri=item.uri,
        preview=backbone.modality.preview(raw),
        thumbnail=thumbnail(raw) if with_thumbnail else None,
    )
    return _Loaded(sample, facts)
