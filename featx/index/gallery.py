"""Gallery: labelled neighbours of an embedding set on disk, ``X.knn/``.

::

    gallery.json     format, version, the set it points at, space, k, temperature, metrics
    items.parquet    id, uri, label, split, preview; row i belongs to vector i of the set
    log.sqlite       items added and removed while serving

The vectors stay in the set and are read through its memory map.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError
from featx.index import INDEXES
from featx.index.galleryfile import (
    COLUMNS,
    FORMAT,
    VERSION,
    identity,
    open_set,
    read_facts,
    read_items,
    refuse_strangers,
    relative_to_gallery,
    write_gallery,
)
from featx.index.neighbours import Index, unit_rows
from featx.index.voting import Choice, choose_vote, leave_one_out, vote
from featx.registry import resolve
from featx.types import Rows, Vectors

TUNING_ROWS = 5_000
"""Labelled rows held out, one at a time, to choose `k` and the temperature."""

DEFAULT_K = 5
DEFAULT_TEMPERATURE = 0.07


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One item of a gallery, as near to a query as `similarity` says."""

    id: str
    label: str | None
    similarity: float
    uri: str
    preview: str
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What the neighbours of one query say.

    Attributes
    ----------
    label : str
        The label with the largest share of the vote.
    probability : float
        That share.
    neighbours : list of Neighbour
        Who voted, nearest first; all are labelled.
    """

    label: str
    probability: float
    neighbours: list[Neighbour]


class Gallery:
    """Items to search and to vote; made by `build_gallery`, read by `Gallery.open`.

    Attributes
    ----------
    path : Path
    facts : dict
        ``gallery.json`` as written.
    """

    def __init__(
        self, path: Path, facts: dict[str, Any], items: pa.Table, embedding_set: EmbeddingSet
    ) -> None:
        self.path = path
        self.facts = facts
        self._set = embedding_set
        self._columns: dict[str, list[Any]] = {name: items[name].to_pylist() for name in COLUMNS}

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a gallery and check that its set is still the one it was built from.

        Raises
        ------
        StoreError
            If something is missing, damaged, of a newer format or changed, with the command that
            mends it.
        """
        path = Path(path)
        facts = read_facts(path)
        embedding_set = open_set(path, facts)
        return cls(path, facts, read_items(path, facts), embedding_set)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._columns["id"])

    def __repr__(self) -> str:
        return f"Gallery({str(self.path)!r}: {len(self):,} items, model {self.facts['model']})"

    @property
    def k(self) -> int:
        """Neighbours that vote, chosen when the gallery was built."""
        return int(self.facts["k"])

    @property
    def temperature(self) -> float:
        """Temperature of the vote, chosen when the gallery was built."""
        return float(self.facts["temperature"])

    def search(self, Q: Vectors, k: int | None = None) -> list[list[Neighbour]]:
        """Return the `k` items most similar to each query by cosine, nearest first.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
            Of any length; a zero row has similarity 0 to everything.
        k : int, optional
            The gallery's own `k` unless given.

        Raises
        ------
        InputError
            If a query has another dimension or is not finite, naming its row.
        """
        found = self._index.search(_unit_queries(Q), self.k if k is None else k)
        return [self._describe(s, r) for s, r in zip(found.similarities, found.rows, strict=True)]

    def classify(self, Q: Vectors, k: int | None = None) -> list[Classified]:
        """Return the vote of the `k` most similar labelled items for each query.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
        k : int, optional
            The gallery's own `k` unless given.

        Raises
        ------
        InputError
            If no item is labelled, or as `search` does.
        """
        classes, codes = self._classes
        if not classes:
            raise InputError(
                f"{self.path}: no item is labelled; run: featx label {self._set.path} LABELS.csv"
            )
        found = self._labelled_index.search(_unit_queries(Q), self.k if k is None else k)
        shares = vote(found, codes, len(classes), self.temperature)
        winners = shares.argmax(axis=1)
        return [
            Classified(
                label=classes[winner],
                probability=float(shares[i, winner]),
                neighbours=self._describe(
                    found.similarities[i], self._labelled_rows[found.rows[i]]
                ),
            )
            for i, winner in enumerate(winners)
        ]

    def _describe(self, similarities: Vectors, rows: Rows) -> list[Neighbour]:
        columns = self._columns
        return [
            Neighbour(
                id=columns["id"][row],
                label=columns["label"][row],
                similarity=float(similarity),
                uri=columns["uri"][row] or "",
                preview=columns["preview"][row] or "",
                row=int(row),
            )
            for similarity, row in zip(similarities, rows, strict=True)
        ]

    @cached_property
    def _vectors(self) -> Vectors:
        return _unit_vectors(self._set)

    @cached_property
    def _index(self) -> Index:
        return _open_index(self.facts["kind"], self._vectors)

    @cached_property
    def _labelled_rows(self) -> Rows:
        return _labelled(self._columns["label"])

    @cached_property
    def _classes(self) -> tuple[list[str], Rows]:
        return _encode(self._columns["label"])

    @cached_property
    def _labelled_index(self) -> Index:
        if len(self._labelled_rows) == len(self):
            return self._index
        return _open_index(self.facts["kind"], self._vectors[self._labelled_rows])


def build_gallery(
    embedding_set: EmbeddingSet,
    out: str | Path,
    *,
    kind: str = "exact",
    command: str,
    versions: Mapping[str, str] | None = None,
) -> Gallery:
    """Write a gallery over an embedding set and return it, opened.

    `k` and the temperature are the most accurate by leave-one-out on at most 5,000 labelled rows;
    ``metrics`` of ``gallery.json`` holds that accuracy and the number of rows.

    Parameters
    ----------
    embedding_set : EmbeddingSet
        Referred to by its path relative to the folder of `out`; move both together.
    out : str or Path
        Replaced where it is a gallery.
    kind : str, default "exact"
        A name of `featx.index.INDEXES`.
    command : str
        What the user ran, for the record.
    versions : mapping of str to str, optional
        Versions of the packages at work, for the record.

    Raises
    ------
    StoreError
        If `out` exists and is no gallery.
    InputError
        If the set is empty or has a row that is not finite.
    UnknownNameError
        If there is no index of that kind.
    """
    out = Path(out)
    refuse_strangers(out)
    items = embedding_set.items.select(list(COLUMNS))
    if len(items) != len(embedding_set):
        raise StoreError(
            f"{embedding_set.path}: {len(items)} items but {len(embedding_set)} vectors; "
            "embed it again"
        )
    choice = _choose(kind, _unit_vectors(embedding_set), items["label"].to_pylist())
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "vectors": {
            **identity(embedding_set),
            "set": relative_to_gallery(embedding_set.path, out),
        },
        "model": embedding_set.model,
        "prompt": embedding_set.prompt,
        "modality": embedding_set.modality,
        "fingerprint": embedding_set.fingerprint,
        "space": embedding_set.space,
        "dim": embedding_set.dim,
        "kind": kind,
        "k": choice.k,
        "temperature": choice.temperature,
        "metrics": {
            "accuracy": None if math.isnan(choice.accuracy) else choice.accuracy,
            "n": choice.n,
        },
        "command": command,
        "versions": dict(versions or {}),
    }
    write_gallery(out, facts, items)
    return Gallery.open(out)


def _choose(kind: str, X: Vectors, labels: list[str | None]) -> Choice:
    """Return how the labelled rows vote best; the defaults where there is nothing to try."""
    index = _open_index(kind, X)
    default = Choice(k=DEFAULT_K, temperature=DEFAULT_TEMPERATURE, accuracy=float("nan"), n=0)
    rows = _labelled(labels)
    if len(rows) < 2:
        return default
    _, codes = _encode(labels)
    if len(rows) < len(X):
        X = X[rows]
        index = _open_index(kind, X)
    tried = np.arange(len(rows))
    if len(rows) > TUNING_ROWS:
        tried = np.sort(np.random.default_rng(0).choice(len(rows), TUNING_ROWS, replace=False))
    return choose_vote(leave_one_out(index, X, tried, 25), codes, codes[tried])


def _labelled(labels: list[str | None]) -> Rows:
    return np.array([row for row, label in enumerate(labels) if label is not None], np.int64)


def _encode(labels: list[str | None]) -> tuple[list[str], Rows]:
    """Return the sorted classes and the class of each labelled row."""
    given = [label for label in labels if label is not None]
    classes = sorted(set(given))
    position = {label: code for code, label in enumerate(classes)}
    return classes, np.array([position[label] for label in given], np.int64)


def _open_index(kind: str, X: Vectors) -> Index:
    index: Index = resolve("index", INDEXES, kind)(X)
    return index


def _unit_vectors(embedding_set: EmbeddingSet) -> Vectors:
    """Return the set's rows of length one: uncopied where they are already and in one segment."""
    X = np.asarray(embedding_set.X)
    return X if embedding_set.normalized else unit_rows(X)


def _unit_queries(Q: Vectors) -> NDArray[np.float32]:
    # Other shapes and rows that are not finite are refused, by row, by the index.
    Q = np.asarray(Q, np.float32)
    finite = Q.ndim == 2 and bool(np.isfinite(Q).all())
    return unit_rows(Q) if finite else Q
