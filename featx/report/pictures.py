"""Pictures of a page: read from files that it may show, and made anew, small."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.data.sources import kind_of, open_description
from featx.data.store import EmbeddingSet
from featx.errors import FeatxError, ItemError
from featx.fingerprint import digest
from featx.report.permitted import each_source, is_below, is_permitted, may_list, open_folders
from featx.types import Content, Item

if TYPE_CHECKING:
    from PIL.Image import Image

    from featx.zoo.manifest import ImageOptions

LARGE = 144
"""Pixels of the longer side of a picture that stands in the text of a page."""

SMALL = (96, 72, 56, 48, 40, 32)
"""Pixels of the longer side of the others: the first of which all fit into their budget."""

QUALITY = {LARGE: 60, 96: 50, 72: 50, 56: 45, 48: 45, 40: 45, 32: 45}
"""Side → quality of WebP."""

# Pictures that are made small at several sizes, to see what they take.
_TRIED = 48
# Of the budget, that large pictures may take.
_LARGE_SHARE = 0.4
# Each holds a whole image, of up to 179 million pixels.
_THREADS = 2
# Items that are read together, and so what is held of files.
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Pictures:
    """WebP files by the row of the set that they show.

    Attributes
    ----------
    large, small : dict of int to bytes
    missing : int
        Rows whose file is gone, has changed, or cannot be read.
    outside : int
        Rows whose file lies outside of the folders that may be read.
    """

    large: dict[int, bytes] = field(default_factory=dict)
    small: dict[int, bytes] = field(default_factory=dict)
    missing: int = 0
    outside: int = 0


def pictures_of(
    embedding_set: EmbeddingSet,
    rows: Sequence[int],
    featured: Sequence[int],
    *,
    roots: Sequence[Path] = (),
    budget: int,
) -> Pictures:
    """Return pictures of some rows of a set of images; of other sets there are none.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    rows : sequence of int
        The most important first: where not all fit, the last ones have no picture.
    featured : sequence of int
        Of these a large one is made too, or a small one is taken where the large ones are too many
        for a part of the budget; a row that is there twice counts twice.
    roots : sequence of Path, optional
        Folders that may be read besides those of the source.
    budget : int
        Bytes that all may take.
    """
    if embedding_set.modality != "image" or not rows:
        return Pictures()
    album = _Album(embedding_set, roots)
    spaced = [rows[at] for at in np.linspace(0, len(rows) - 1, min(_TRIED, len(rows)), dtype=int)]
    sample, times = [image for _, image in album.images(spaced)], Counter(featured)
    large, small = _Shelf(_for_large(sample, len(featured), budget)), _Shelf(budget)
    small.room -= large.room
    side, n = _fitting(sample, len(rows), small.room)
    found = set()
    for row, image in album.images(rows[:n]):
        found.add(row)
        picture = _webp(image, side)
        small.put(row, picture)
        if row in times and not large.put(row, _webp(image, LARGE), times[row]):
            large.put(row, picture, times[row])
    lost = [row for row in rows[:n] if row not in found]
    outside = sum(map(album.is_outside, lost))
    return Pictures(large.held, small.held, missing=len(lost) - outside, outside=outside)


@dataclass(slots=True)
class _Shelf:
    """Pictures that take no more than a number of bytes."""

    room: int
    held: dict[int, bytes] = field(default_factory=dict)

    def put(self, row: int, picture: bytes, times: int = 1) -> bool:
        """Keep a picture if there is room for it, a number of times; return whether there was."""
        size_bytes = times * len(picture)
        if size_bytes > self.room:
            return False
        self.room -= size_bytes
        self.held[row] = picture
        return True


def _for_large(images: Sequence["Image"], n: int, budget: int) -> int:
    """Return how many bytes `n` large pictures may take: what such have, up to a share of all."""
    sizes = [len(_webp(image, LARGE)) for image in images]
    return min(int(_LARGE_SHARE * budget), n * max(sizes, default=0))


def _fitting(images: Sequence["Image"], n: int, budget: int) -> tuple[int, int]:
    """Return the side of small pictures, and how many of `n` fit into the budget."""
    side, size_bytes = SMALL[-1], 1.0
    for side in SMALL if images else ():
        size_bytes = float(np.mean([len(_webp(image, side)) for image in images]))
        if size_bytes * n <= budget:
            return side, n
    return side, int(budget / size_bytes)


class _Album:
    """Reads the images of a set's rows."""

    def __init__(self, embedding_set: EmbeddingSet, roots: Sequence[Path]) -> None:
        source = embedding_set.manifest.get("source") or {}
        self._sources = list(each_source(source))
        self._roots = [root.resolve() for root in roots]
        self._folders = open_folders(source, roots)
        columns = embedding_set.items.select(["id", "uri", "digest"]).to_pydict()
        self._ids, self._uris, self._digests = columns["id"], columns["uri"], columns["digest"]

    def images(self, rows: Iterable[int]) -> Iterator[tuple[int, "Image"]]:
        """Yield the rows that can be shown, each once, with an image of at most `LARGE`."""
        contents = self._contents(dict.fromkeys(rows))
        with ThreadPoolExecutor(_THREADS) as pool:
            while chunk := list(islice(contents, _CHUNK)):
                found = pool.map(lambda each: self._image(*each), chunk)
                for (row, _), image in zip(chunk, found, strict=True):
                    if image is not None:
                        yield row, image

    def is_outside(self, row: int) -> bool:
        """Return whether the file of a row is there, but may not be read."""
        path = Path(self._uris[row] or "")
        try:
            is_there = path.is_file()
        except (OSError, ValueError):  # such as a name that is too long
            return False
        return is_there and not is_below(path, self._folders)

    def _contents(self, rows: Iterable[int]) -> Iterator[tuple[int, Content]]:
        """Yield rows with their contents: files first, then what lies inside of files."""
        inside: dict[str, int] = {}
        for row in rows:
            path = next((each for each in self._places(row) if self._is_file(each)), None)
            if path is not None:
                yield row, path
            elif self._holds_items:
                inside[self._ids[row]] = row
        if inside:
            yield from self._listed(inside)

    def _places(self, row: int) -> Iterator[Path]:
        """Yield where the file of a row may lie: where it was, and below the named folders."""
        uri, item_id = self._uris[row], self._ids[row]
        if uri:
            yield Path(uri)
        for root in self._roots:
            yield root / item_id
            yield root / Path(item_id).name

    def _is_file(self, path: Path) -> bool:
        try:
            return path.is_file() and is_below(path, self._folders)
        except (OSError, ValueError):  # such as a name that is too long
            return False

    @cached_property
    def _holds_items(self) -> bool:
        """Whether files of the source hold many items each."""
        paths = [Path(path) for each in self._sources for path in each.get("paths", ())]
        kinds = {each.get("kind") for each in self._sources} | {kind_of(path) for path in paths}
        return bool(kinds & {"tar", "tars", "table"})

    def _listed(self, wanted: dict[str, int]) -> Iterator[tuple[int, Content]]:
        """Yield the contents that the source itself lists, as far as it can be listed."""
        listed = (each for each in self._sources if may_list(each, self._folders))
        for item in chain.from_iterable(map(_readable, listed)):
            row = wanted.pop(item.id, None)
            if row is not None and is_permitted(item.content, self._folders):
                yield row, item.content
            if not wanted:
                return

    def _image(self, row: int, content: Content) -> "Image | None":
        """Return what a row shows; None if it is not what was embedded, or cannot be read."""
        from featx.modality.content import read_bytes
        from featx.modality.image import decode

        try:
            raw = read_bytes(content)
            if digest(raw).hex() != self._digests[row]:
                return None
            return _shrunk(decode(raw, _options()), LARGE)
        except ItemError:
            return None


def _readable(source: Mapping[str, Any]) -> Iterator[Item]:
    """Yield items of a source; none where it cannot be listed, or from there on."""
    try:
        for item in open_description(source):
            if not item.problem:
                yield item
    except (FeatxError, KeyError):
        return


def _webp(image: "Image", side: int) -> bytes:
    file = io.BytesIO()
    _shrunk(image, side).save(file, "WEBP", quality=QUALITY[side], method=4)
    return file.getvalue()


def _shrunk(image: "Image", side: int) -> "Image":
    """Return an image that fits into a square, without the notes of its file."""
    from featx.modality.resizing import FILTERS

    small = image.copy()
    small.thumbnail((side, side), FILTERS["bicubic"])
    small.info = {}
    return small


@cache
def _options() -> "ImageOptions":
    from featx.zoo.manifest import ImageOptions

    return ImageOptions(size=(LARGE,), mean=(0.0,) * 3, std=(1.0,) * 3, resize="pad", decode="fast")
