"""The contents that a set's rows came from, read again from the source that it records."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from featx.data.places import is_url
from featx.data.sources import open_description
from featx.data.sources.options import DescribedSource
from featx.data.store import EmbeddingSet
from featx.errors import FeatxError, InputError
from featx.types import Content

Contents = Callable[[Sequence[int]], list[Content]]
"""From row numbers of a set to contents, in the order of the numbers."""


def contents_of(embedding_set: EmbeddingSet) -> Contents | None:
    """Return a function from row numbers to contents; None if the source cannot be read again.

    It is None for standard input, merged sets and sources at URLs, and where files were moved or
    changed their ids.  Each call of the function lists the source once, and keeps only what it
    returns; it raises `InputError` if the source has lost an item since.
    """
    ids = embedding_set.ids
    try:
        description = embedding_set.manifest["source"]
        if is_stored(description):
            return None
        source = open_description(description)
        gone = set(ids)
        for item in source:
            if not item.problem:
                gone.discard(item.id)
    except (FeatxError, KeyError):
        return None
    return None if gone else lambda rows: _contents(source, [ids[row] for row in rows])


def is_stored(source: Mapping[str, Any]) -> bool:
    """Return whether an object store would be asked for what a set says that it was made of.

    Anyone may have written the set, and the store would be asked with the reader's own keys, for
    all items once more.
    """
    named = (*source.get("paths", ()), *source.get("arguments", ()))
    return any(is_url(str(each).removeprefix("@")) for each in named)


def _contents(source: DescribedSource, ids: Sequence[str]) -> list[Content]:
    wanted = set(ids)
    found = {item.id: item.content for item in source if item.id in wanted and not item.problem}
    if lost := next((item_id for item_id in ids if item_id not in found), None):
        raise InputError(f"{lost}: gone from the source while it was used; embed it again")
    return [found[item_id] for item_id in ids]
