"""Recipe: how a gallery shall be built, and what it takes of the embedding set."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from featx.data.claim import now
from featx.data.finite import require_finite
from featx.data.mirror import facts_of
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.gallery.folder import (
    DEFAULT_KIND,
    DEFAULT_METRIC,
    DEFAULT_RECALL,
    identity,
    relative_to_gallery,
)
from featx.gallery.items import SCHEMA, TEXTS, Batches, to_column
from featx.index.metric import MetricName, checked_metric
from featx.index.opening import index_class

Thumbnails = Callable[[list[int]], list[bytes | None]]
"""Rows of the set → a small picture of each, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRecipe:
    """How a gallery shall be built.

    Attributes
    ----------
    kind : str
        A name of `featx.index.INDEXES`, or ``"auto"``: by size, tuned to `recall`.
    recall : float
        Share of the true ten nearest that the index has to find on held-out queries.
    metric : "cosine", "dot" or "l2"
    standalone : bool
        Whether to copy the vectors of the set, which is not needed any more then.
    drop_changes : bool
        Whether a gallery whose items were added or removed online may be replaced.
    command : str
        What the user ran, for the record.
    versions : mapping of str to str
        Versions of the packages at work, for the record.
    """

    kind: str = DEFAULT_KIND
    recall: float = DEFAULT_RECALL
    metric: MetricName = DEFAULT_METRIC
    standalone: bool = False
    drop_changes: bool = False
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def check(embedding_set: EmbeddingSet, recipe: GalleryRecipe) -> None:
    """Refuse a set or a recipe that no gallery can be built of.

    Raises
    ------
    InputError
        If the set is empty, or the recall is out of range.
    UnknownNameError
        If there is no index or metric of that name.
    """
    checked_metric(recipe.metric)
    if recipe.kind != "auto":
        index_class(recipe.kind)
    if not 0 < recipe.recall <= 1:
        raise InputError(f"recall: found {recipe.recall}; must be above 0 and at most 1")
    if not len(embedding_set):
        raise InputError(f"{embedding_set.where}: holds no embedding; run featx embed first")


@contextmanager
def naming_items(embedding_set: EmbeddingSet) -> Iterator[None]:
    """Name the set and the item where a row is not finite."""
    try:
        yield
    except InputError:
        require_finite(embedding_set)
        raise


def record(embedding_set: EmbeddingSet, out: Path, recipe: GalleryRecipe) -> dict[str, Any]:
    """Return what ``gallery.json`` says of the set and of how the gallery was built."""
    return {
        "created": now(),
        "set": {
            "path": relative_to_gallery(embedding_set, out),
            **identity(embedding_set),
        },
        "model": embedding_set.model,
        "prompt": embedding_set.prompt,
        "modality": embedding_set.modality,
        "fingerprint": embedding_set.fingerprint,
        "space": embedding_set.space,
        "dim": embedding_set.dim,
        "metric": recipe.metric,
        "command": recipe.command,
        "versions": dict(recipe.versions),
    }


def items_of(embedding_set: EmbeddingSet, thumbnails: Thumbnails | None) -> Batches:
    """Return the items of a set in batches, with their thumbnails."""

    def give() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in facts_of(embedding_set, TEXTS):
            rows = list(range(start, start + batch.num_rows))
            start += batch.num_rows
            pictures = [None] * len(rows) if thumbnails is None else thumbnails(rows)
            columns = [batch.column(name) for name in TEXTS]
            columns.append(to_column(pictures, SCHEMA.field("thumbnail").type))
            yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    return give
