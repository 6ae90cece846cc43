"""Thumbnails: small pictures that remind a person of the images of a gallery."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from featx.data.origin import is_stored
from featx.data.sources import open_description
from featx.errors import FeatxError, ItemError
from featx.types import Content, Item, Source

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.zoo.manifest import ImageOptions

LONGEST = 96
"""Pixels of the longer side of a thumbnail, at most."""

QUALITY = 80
"""Of JPEG: above it files grow, and eyes see no difference at this size."""

Thumbnails = Callable[[list[int]], list[bytes | None]]
"""From row numbers of a set to JPEG files, in the order of the numbers; None where none is."""

# Items that are read and shrunk together, and so what is held of files that are being read.
_CHUNK = 64


def thumbnail(content: Content) -> bytes | None:
    """Return a JPEG file of 2 to 5 KB that shows an image; None if it cannot be read.

    It is upright, transparent parts are white, and nothing is enlarged.

    Parameters
    ----------
    content : Content
        What the image modality reads: a file, a part of one, its bytes, or an array of pixels.
    """
    from featx.modality.content import read_bytes
    from featx.modality.image import decode
    from featx.modality.resizing import FILTERS

    try:
        image = decode(read_bytes(content), _options())
    except ItemError:
        return None
    image.thumbnail((LONGEST, LONGEST), FILTERS["bicubic"])
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def thumbnails_of(
    embedding_set: "EmbeddingSet", wanted: Iterable[str] | None = None
) -> Thumbnails | None:
    """Return a function that makes thumbnails of the rows of a set.

    It is None for a set of anything but images, and where the source cannot be read again, as
    for merged sets, or lies at a URL.  The source is listed once if rows are asked for in the
    order of the set, a
    batch a call; a row whose item is gone or cannot be read has no thumbnail.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    wanted : iterable of str, optional
        Ids whose thumbnails will be asked for; all unless given.
    """
    if embedding_set.modality != "image":
        return None
    try:
        description = embedding_set.manifest["source"]
        source = None if is_stored(description) else open_description(description)
    except (FeatxError, KeyError):
        return None
    if source is None:
        return None
    ids = embedding_set.ids
    album = _Album(source, ids, frozenset(ids if wanted is None else wanted))
    return album.of_rows


class _Album:
    """Makes thumbnails along the order of a source, and keeps those that come before their turn."""

    def __init__(self, source: Source, ids: Sequence[str], wanted: frozenset[str]) -> None:
        self._source = source
        self._ids = ids
        self._wanted = wanted
        self._items = _readable(source)
        self._waiting: dict[str, bytes | None] = {}

    def of_rows(self, rows: list[int]) -> list[bytes | None]:
        """Return the thumbnail of each row; rows that stand behind the last ones cost a listing."""
        ids = [self._ids[row] for row in rows]
        with ThreadPoolExecutor() as pool:
            missing = self._go_on(set(ids), pool)
            if missing:
                self._items = _readable(self._source)
                self._go_on(missing, pool)
        made = {item_id: self._waiting.pop(item_id, None) for item_id in set(ids)}
        return [made[item_id] for item_id in ids]

    def _go_on(self, wanted: set[str], pool: ThreadPoolExecutor) -> set[str]:
        """Read on in the source until all that is wanted is there; return what is not."""
        missing = wanted - self._waiting.keys()
        while missing and (chunk := list(islice(self._items, _CHUNK))):
            chunk = [item for item in chunk if item.id in self._wanted]
            made = pool.map(thumbnail, [item.content for item in chunk])
            for item, small in zip(chunk, made, strict=True):
                self._waiting.setdefault(item.id, small)
            missing -= self._waiting.keys()
        return missing


def _readable(source: Source) -> Iterator[Item]:
    """Yield items of a source; it ends early where the source cannot be listed any more."""
    try:
        for item in source:
            if not item.problem:
                yield item
    except FeatxError:
        return


@cache
def _options() -> "ImageOptions":
    from featx.zoo.manifest import ImageOptions

    return ImageOptions(
        size=(LONGEST,), mean=(0.0,) * 3, std=(1.0,) * 3, resize="pad", decode="fast"
    )
