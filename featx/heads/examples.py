"""Labelled rows that an index searches, and that grow and forget."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.index.metric import MetricName, refuse_unfit, row_norms, snapped
from featx.index.neighbours import Index, Neighbours
from featx.index.opening import build_index
from featx.index.stack import Stack
from featx.index.tuning import build_tuned
from featx.index.voting import leave_one_out
from featx.types import Rows, Vectors

EXACT = ("exact", "numpy")
"""Kinds of index that rows added later make no worse."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of rows besides their vectors; place i of each belongs to row i.

    Attributes
    ----------
    codes : ndarray of int64, shape (N,)
        Class of each row.
    ids : ndarray, shape (N,)
        Int64 or object; no two rows that are there have the same.
    uris : ndarray of object, shape (N,)
    """

    codes: Rows
    ids: NDArray[Any]
    uris: NDArray[np.object_]

    def joined(self, more: "Facts") -> "Facts":
        """Return these and then `more`."""
        return Facts(
            np.concatenate([self.codes, more.codes]),
            np.concatenate([self.ids, more.ids]),
            np.concatenate([self.uris, more.uris]),
        )

    def take(self, rows: Rows) -> "Facts":
        """Return those of some rows."""
        return Facts(self.codes[rows], self.ids[rows], self.uris[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """A neighbour of a query, and what it said.

    Attributes
    ----------
    id : hashable
        As given to `fit`, or the number of the row.
    uri : str
    label : object
        Of `KNNClassifier.classes_`.
    similarity : float
    vote : float
        Its part of the whole vote; those of a query sum to one, or to zero where the priors
        allow none of them.
    """

    id: Hashable
    uri: str
    label: Any
    similarity: float
    vote: float


@dataclass(slots=True)
class _Held:
    array: NDArray[Any]
    used: int


class Growing:
    """A matrix to which rows are joined without copying those that it has, most of the time.

    Room for as many again is made whenever there is none, so that n rows joined one by one cost
    n copies of a row.  What `rows` was before stays as it was.

    Parameters
    ----------
    rows : ndarray, shape (N, D)
        Kept by reference.

    Examples
    --------
    >>> one = Growing(np.array([[1, 2]]))
    >>> one.joined(np.array([[3, 4]])).rows.tolist(), one.rows.tolist()
    ([[1, 2], [3, 4]], [[1, 2]])
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows = rows
        self._held = _Held(rows, len(rows))

    def joined(self, more: NDArray[Any]) -> "Growing":
        """Return the rows and then `more`, in the dtype of the first."""
        n, held = len(self.rows), self._held
        total = n + len(more)
        # Another version may have grown into the room behind these rows.
        if held.used != n or total > len(held.array):
            array = np.empty((max(total, 2 * n), self.rows.shape[1]), self.rows.dtype)
            array[:n] = self.rows
            held = _Held(array, n)
        held.array[n:total] = more
        held.used = total
        grown = Growing(held.array[:total])
        grown._held = held
        return grown


class Examples:
    """Rows with their facts and an index; each change gives a new object and leaves the old.

    Rows that are removed keep their place, and are not found; once they are more than half, the
    others move together.

    Parameters
    ----------
    vectors : Growing
        In float32 or float64, and for ``"cosine"`` of length one.
    facts : Facts
    kind : str
        Of the index.
    metric : {"cosine", "dot", "l2"}
    is_there : ndarray of bool, shape (N,), optional
        False where a row was removed.
    """

    def __init__(
        self,
        vectors: Growing,
        facts: Facts,
        *,
        kind: str,
        metric: MetricName,
        is_there: NDArray[np.bool_] | None = None,
    ) -> None:
        self.facts = facts
        self.is_there = np.ones(len(facts.codes), bool) if is_there is None else is_there
        self._vectors = vectors
        self._kind = kind
        self._metric: MetricName = metric

    @property
    def X(self) -> NDArray[Any]:  # noqa: N802 - the field's name
        """The rows, removed ones too, shape (N, D)."""
        return self._vectors.rows

    @cached_property
    def rows(self) -> Rows:
        """Numbers of the rows that are there."""
        return np.flatnonzero(self.is_there)

    @cached_property
    def index(self) -> Index:
        """What is searched, in float32."""
        is_unit = self._metric == "cosine"
        stack = Stack([self._singles.rows], "unit" if is_unit else "unknown")
        if self._kind in EXACT:
            return build_index(self._kind, stack, self._metric)
        return build_tuned(self._kind, stack, self._metric)[1]

    @cached_property
    def _singles(self) -> Growing:
        is_single = self.X.dtype == np.float32
        return self._vectors if is_single else Growing(self.X.astype(np.float32))

    @cached_property
    def _built_on(self) -> int:
        return len(self.X)

    @cached_property
    def _places(self) -> dict[Hashable, int]:
        """Id → row, of the rows that are there."""
        return dict(zip(self.facts.ids[self.rows].tolist(), self.rows.tolist(), strict=True))

    @property
    def _keep(self) -> NDArray[np.bool_] | None:
        return None if len(self.rows) == len(self.is_there) else self.is_there

    def counts(self, n_classes: int) -> Rows:
        """Return the number of rows that are there of each class, shape (C,)."""
        return np.bincount(self.facts.codes[self.rows], minlength=n_classes)

    def search(self, Q: NDArray[Any], k: int) -> Neighbours:
        """Return the `k` nearest rows that are there."""
        return self.index.search(Q.astype(np.float32, copy=False), k, keep=self._keep)

    def without_itself(self, rows: Rows, k: int) -> Neighbours:
        """Return the `k` nearest of each of some rows, without itself."""
        return leave_one_out(self.index, rows, k, keep=self._keep)

    def voters(
        self, found: Neighbours, votes: NDArray[np.float64], labels: Sequence[Any]
    ) -> list[list[Voter]]:
        """Return each query's neighbours with their votes (M, K); `labels` names the classes."""
        facts, rows = self.facts, found.rows
        columns = (facts.ids[rows], facts.uris[rows], facts.codes[rows], found.similarities, votes)
        return [
            [
                Voter(id=name, uri=uri, label=labels[code], similarity=similarity, vote=vote)
                for name, uri, code, similarity, vote in zip(*of_query, strict=True)
            ]
            for of_query in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def joined(self, X: NDArray[Any], facts: Facts) -> "Examples":
        """Return these rows and more; costs little where the index is exact or has few more.

        Raises
        ------
        InputError
            If an id is there already.
        """
        self.refuse_known(facts.ids.tolist())
        places, start = self._places, len(self.X)
        grown = self._like(
            self._vectors.joined(X),
            self.facts.joined(facts),
            np.concatenate([self.is_there, np.ones(len(X), bool)]),
        )
        if "index" in self.__dict__ and (self._kind in EXACT or len(grown.X) < 2 * self._built_on):
            is_single = self._singles is self._vectors
            singles = grown._vectors if is_single else self._singles.joined(X)
            grown.__dict__["_singles"] = singles
            grown.__dict__["index"] = self.index.extended(_longer(self.index.stack, singles.rows))
            grown.__dict__["_built_on"] = self._built_on
        places.update(zip(facts.ids.tolist(), range(start, len(grown.X)), strict=True))
        self._hand_over(places, grown)
        return grown

    def without(self, ids: Sequence[Hashable]) -> "Examples":
        """Return these rows without some.

        Raises
        ------
        InputError
            If an id is not there or named twice, or no row would be left.
        """
        places = self._places
        unknown = [each for each in ids if each not in places]
        if unknown:
            raise InputError(f"ids: {_named(unknown)} not there; give ids of rows that are")
        gone = np.array([places[each] for each in ids], np.int64)
        if len(np.unique(gone)) < len(gone):
            raise InputError("ids: one is named twice; name each once")
        if len(gone) == len(self.rows):
            raise InputError(f"ids: found all {len(gone)}; one row must stay; or fit anew")
        is_there = self.is_there.copy()
        is_there[gone] = False
        if 2 * is_there.sum() < len(is_there):
            rows = np.flatnonzero(is_there)
            return self._like(Growing(self.X[rows]), self.facts.take(rows), None)
        left = self._over_the_same(self.facts, is_there)
        for each in ids:
            del places[each]
        self._hand_over(places, left)
        return left

    def recoded(self, codes: Rows) -> "Examples":
        """Return these rows with class ``codes[c]`` for each class c."""
        facts = Facts(codes[self.facts.codes], self.facts.ids, self.facts.uris)
        return self._over_the_same(facts, self.is_there)

    def refuse_known(self, ids: Sequence[Hashable]) -> None:
        """Raise if an id is there already.

        Raises
        ------
        InputError
        """
        known = [each for each in ids if each in self._places]
        if known:
            raise InputError(f"ids: {_named(known)} there already; remove it first")

    def _hand_over(self, places: dict[Hashable, int], heir: "Examples") -> None:
        """Give the dictionary to a newer object; this one makes its own again if it is asked."""
        del self.__dict__["_places"]
        heir.__dict__["_places"] = places

    def _over_the_same(self, facts: Facts, is_there: NDArray[np.bool_]) -> "Examples":
        """Return the same vectors and index with other facts."""
        other = self._like(self._vectors, facts, is_there)
        for name in ("index", "_singles", "_built_on"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def _like(
        self, vectors: Growing, facts: Facts, is_there: NDArray[np.bool_] | None
    ) -> "Examples":
        return Examples(vectors, facts, kind=self._kind, metric=self._metric, is_there=is_there)


def _longer(stack: Stack, rows: Vectors) -> Stack:
    """Return `rows`, of which the first are those of `stack`, whose lengths it knows."""
    n = len(stack)
    lengths = snapped(row_norms(rows[n:]))
    refuse_unfit(lengths, "X")
    if stack.is_unit and np.isin(lengths, (0.0, 1.0)).all():
        return Stack([rows], "unit")
    return Stack([rows], [np.concatenate([stack.lengths(np.arange(n)), lengths])])


def refuse_doubles(ids: Iterable[Hashable]) -> None:
    """Raise if an id is given twice.

    Raises
    ------
    InputError
    """
    seen: set[Hashable] = set()
    for each in ids:
        if each in seen:
            raise InputError(f"ids: {each!r} is given twice; each row needs an id of its own")
        seen.add(each)


def _named(ids: Sequence[Hashable]) -> str:
    shown = ", ".join(repr(each) for each in ids[:5])
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"{shown}{more} {'is' if len(ids) == 1 else 'are'}"
