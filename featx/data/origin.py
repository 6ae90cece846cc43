"""The contents that a set's rows came from, read again from the source that it records."""

from collections.abc import Callable, Sequence

from featx.data.sources import open_description
from featx.data.store import EmbeddingSet
from featx.errors import FeatxError
from featx.types import Content


def contents_of(embedding_set: EmbeddingSet) -> Callable[[Sequence[int]], list[Content]] | None:
    """Return a function from row numbers to contents; None if the source cannot be read again.

    It is None for standard input, and where files were moved or changed their ids.
    """
    ids = embedding_set.ids
    try:
        source = open_description(embedding_set.manifest["source"])
        found = {item.id: item.content for item in source if not item.problem}
    except (FeatxError, KeyError):
        return None
    if any(item_id not in found for item_id in ids):
        return None
    return lambda rows: [found[ids[row]] for row in rows]
