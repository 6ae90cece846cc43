"""Items that are named on the command line, turned into vectors."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from featx.types import Item

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.data.sources.columns import Columns
    from featx.data.store import EmbeddingSet
    from featx.gallery.items import ItemFacts
    from featx.gallery.thumbnails import Thumbnails
    from featx.types import Sample, Vectors

WINDOW_ITEMS = 256

_OURS = (".emb", ".knn", ".head")
SET_ROWS = 1024
"""Rows of a set that are taken together: nothing is encoded."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Items of one window: ids, vectors (N, D), what could not be read, and facts of the ids."""

    ids: list[str]
    X: "Vectors"
    problems: list[tuple[str, str]]
    facts: list["ItemFacts"] = field(default_factory=list)


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
    opened: "EmbeddingSet", *, thumbnails: "Thumbnails | None" = None
) -> Iterator[Encoded]:
    """Yield the rows of a set as they are, in order."""
    import numpy as np

    from featx.gallery.items import ItemFacts

    for start in range(0, len(opened), SET_ROWS):
        rows = opened.items.slice(start, SET_ROWS).to_pylist()
        numbers = list(range(start, start + len(rows)))
        pictures = thumbnails(numbers) if thumbnails else [None] * len(rows)
        facts = [
            ItemFacts(
                label=row["label"],
                split=row["split"],
                uri=row["uri"] or "",
                preview=row["preview"] or "",
                thumbnail=picture,
            )
            for row, picture in zip(rows, pictures, strict=True)
        ]
        X = np.asarray(opened.X[start : start + len(rows)])
        yield Encoded([row["id"] for row in rows], X, [], facts)


def encode(
    arguments: Sequence[str],
    backbone: "Backbone",
    columns: "Columns | None" = None,
    *,
    with_thumbnails: bool = False,
) -> Iterator[Encoded]:
    """Encode what the arguments name, window by window, in order.

    For a text model, an argument that names no file is a text itself.  Thumbnails are made of
    images only.
    """
    modality = backbone.manifest.modality
    items = _items(arguments, modality, columns)
    with_thumbnails = with_thumbnails and modality == "image"
    while window := list(islice(items, WINDOW_ITEMS)):
        yield _encode_window(window, backbone, with_thumbnails=with_thumbnails)


def _items(arguments: Sequence[str], modality: str, columns: "Columns | None") -> Iterator[Item]:
    from featx.data.sources import open_source

    literal = [a for a in arguments if modality == "text" and a != "-" and not _names_file(a)]
    for text in literal:
        yield Item(id=text, content=text)
    if named := [argument for argument in arguments if argument not in literal]:
        yield from open_source(named, modality=modality, columns=columns)


def _names_file(argument: str) -> bool:
    """Return whether an argument is a path, not a text; a misspelt ``mails.csv`` is a path."""
    from featx.data.sources import SUFFIX_KINDS
    from featx.modality.text import Text

    try:
        if Path(argument).exists():
            return True
    except OSError:
        return False
    if any(character.isspace() for character in argument):
        return False
    suffixes = {*SUFFIX_KINDS, *Text.suffixes, *_OURS}
    is_suffix_known = Path(argument).suffix.lower() in suffixes
    looks_so = argument.startswith("@") or argument.endswith("/")
    return is_suffix_known or looks_so or any(mark in argument for mark in "*[")


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
