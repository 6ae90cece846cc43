"""How well a gallery classifies and finds: its own items left out, or those of a set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.space import Made, space_error
from featx.errors import InputError
from featx.evaluate.baselines import guess
from featx.evaluate.interval import wilson_interval
from featx.evaluate.labelled import (
    LabelledRows,
    LabelledSet,
    item_ids,
    labelled_rows,
    left_out,
    made_of,
    named,
)
from featx.evaluate.retrieval import mean_average_precision, recall_at_k
from featx.gallery.gallery import Gallery
from featx.gallery.held import Held
from featx.index.metric import unit_rows
from featx.index.neighbours import Neighbours
from featx.index.opening import build_index
from featx.index.stack import Stack
from featx.index.voting import neighbour_votes, shares_of, without_own
from featx.types import Rows, Vectors

MOST_QUERIES = 5_000
"""Items that are left out, one at a time, of a larger gallery."""

RANKS = (1, 5, 10)
"""Of recall@k; mAP is over the last."""

SAME_VECTOR = 1e-6
"""Cosines of one item's vectors, made alike, reach 1 less this whatever was embedded with it."""

SAME_ITEM = 0.98
"""Cosine from which vectors under the same id are of one item, made in another precision."""

_BLOCK = 512  # queries at once: their neighbours' vectors are copied


def score_gallery(gallery: Gallery, *, most: int = MOST_QUERIES) -> dict[str, Any]:
    """Return how well the labelled items of a gallery are told by the others, as JSON values.

    Each is left out of its own neighbours.  `k` and the temperature were chosen on items of the
    gallery too, so that the accuracy is that of the best of a few votes.

    Parameters
    ----------
    gallery : Gallery
    most : int, default 5,000
        Of more labelled items so many are drawn.

    Returns
    -------
    dict
        ``accuracy`` of the gallery's vote with its 95 % Wilson ``interval``, ``n``, ``recall_at``
        ("1", "5", "10" → `recall_at_k`), ``map`` (`mean_average_precision` of the first 10),
        ``classes`` (their number), ``k``, ``temperature``, ``chosen``, ``baselines``,
        ``unknown_labels``, ``excluded``, ``split`` and ``notes``.

    Raises
    ------
    InputError
        If fewer than two items are labelled.
    """
    voting = _Voting.of(gallery.snapshot)
    rows = voting.rows
    if len(rows) < 2:
        raise InputError(
            f"{gallery.path}: found {len(rows)} labelled items; leaving one out needs two;"
            " label its embedding set and index it again"
        )
    notes = []
    if len(rows) > most:
        notes.append(f"{most:,} of {len(rows):,} labelled items were drawn")
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    found = voting.left_out(rows)
    return voting.scores(found, voting.codes[rows], is_held_out=True) | {
        "unknown_labels": [],
        "excluded": 0,
        "split": None,
        "notes": notes,
    }


def score_queries(
    gallery: Gallery, embedding_set: LabelledSet, split: str | None = None
) -> dict[str, Any]:
    """Return how well the labelled items of a set are told by a gallery, as JSON values.

    Scores split ``test``, else ``val``, else all rows, minus those that the gallery holds already:
    rows with the same vector as a labelled item of it (cosine of 1, but for rounding), and rows
    whose id names an item that is nearly the same (cosine of .98: made in another precision).  An
    id alone says little, since sources number their items alike.  A row whose label the gallery
    does not know counts as wrong.

    Parameters
    ----------
    gallery : Gallery
    embedding_set : EmbeddingSet
    split : str, optional
        Score this split and no other.

    Returns
    -------
    dict
        As `score_gallery` does.

    Raises
    ------
    SpaceError
        If the set lies in another space than the gallery.
    InputError
        If the gallery or the set has no label, or no row is left to score.
    """
    note = check_gallery_space(gallery, embedding_set)
    voting = _Voting.of(gallery.snapshot)
    if not len(voting.rows):
        raise InputError(
            f"{gallery.path}: no item is labelled; label its embedding set and index it again"
        )
    queries = _chosen_rows(embedding_set, split)
    found = voting.nearest(queries.X)
    is_new = ~voting.holds(queries.X, found, item_ids(embedding_set, queries.rows))
    if not is_new.any():
        raise InputError(
            f"embedding set: the gallery holds all {len(queries)} labelled rows already;"
            " score a set with other items"
        )
    kept = queries.take(is_new)
    codes, unknown = voting.encode(kept.labels.tolist())
    held = embedding_set.items.column("split").to_pylist()
    splits = {held[row] for row in kept.rows.tolist()}
    notes = [*([note] if note else []), *left_out(embedding_set, queries.unfit)]
    if unknown:
        notes.append(f"the gallery knows no {', '.join(unknown[:10])}")
    near = Neighbours(found.similarities[is_new], found.rows[is_new])
    return voting.scores(near, codes) | {
        "unknown_labels": unknown,
        "excluded": len(queries) - len(kept),
        "split": splits.pop() if len(splits) == 1 else None,
        "notes": notes,
    }


def check_gallery_space(gallery: Gallery, embedding_set: LabelledSet) -> str | None:
    """Return a note if vectors may be compared with a gallery's but were not made alike.

    Raises
    ------
    SpaceError
        If the spaces differ, naming the command that mends it.
    """
    facts = gallery.facts
    if embedding_set.space != facts["space"]:
        holder = f"{gallery.path} holds"
        raise space_error(named(embedding_set), made_of(embedding_set), holder, Made.of(facts))
    if embedding_set.fingerprint != facts["fingerprint"]:
        return "same space, other fingerprint: similarities may be off a little"
    return None


def _chosen_rows(embedding_set: LabelledSet, split: str | None) -> LabelledRows:
    if split is None:
        return labelled_rows(embedding_set, splits=("test", "val"))
    rows = labelled_rows(embedding_set, splits=(split,))
    held = embedding_set.items.column("split").to_pylist()
    rows = rows.take(np.array([held[row] == split for row in rows.rows], dtype=bool))
    if not len(rows):
        raise InputError(f"embedding set: no labelled row in split {split!r}; choose another split")
    return rows


@dataclass(frozen=True, slots=True)
class _Voting:
    """The labelled items of a gallery, and how they vote.

    Attributes
    ----------
    snapshot : Held
    names : list of str
        Labels, sorted.
    codes : ndarray of int64, shape (N,)
        Of each row of the snapshot; -1 for those that cannot vote.
    """

    snapshot: Held
    names: list[str]
    codes: Rows

    @classmethod
    def of(cls, snapshot: Held) -> "_Voting":
        """Return the labelled items of a snapshot."""
        given, rows = snapshot.label_names, snapshot.rows
        order = sorted(range(len(given)), key=given.__getitem__)
        place = np.full(len(given) + 1, -1)  # the last is that of no label
        place[order] = np.arange(len(given))
        names = [given[number] for number in order]
        codes = np.full(int(rows.max(initial=-1)) + 1, -1)
        codes[rows] = place[snapshot.label_codes(rows)]
        return cls(snapshot, names, codes)

    @property
    def rows(self) -> Rows:
        """Rows that vote."""
        return np.flatnonzero(self.codes >= 0)

    @property
    def depth(self) -> int:
        """Neighbours that are looked at."""
        return max(int(self.snapshot.facts["k"]), *RANKS)

    def encode(self, labels: Sequence[str]) -> tuple[Rows, list[str]]:
        """Return codes of labels, and the labels that the gallery does not know, coded last."""
        known = {self.names[code] for code in np.unique(self.codes[self.rows]).tolist()}
        unknown = sorted(set(labels) - known)
        numbers = {name: code for code, name in enumerate(self.names)}
        numbers |= {name: len(self.names) + i for i, name in enumerate(unknown)}
        return np.array([numbers[label] for label in labels], np.int64), unknown

    def nearest(self, Q: Vectors) -> Neighbours:
        """Return the nearest voters of each query."""
        return _joined([self._search(Q[part], self.depth) for part in _parts(len(Q))])

    def left_out(self, rows: Rows) -> Neighbours:
        """Return the nearest voters of each row, without itself."""
        return _joined(
            [
                without_own(
                    self._search(self.snapshot.vectors(rows[part]), self.depth + 1), rows[part]
                )
                for part in _parts(len(rows))
            ]
        )

    def _search(self, Q: Vectors, k: int) -> Neighbours:
        return self.snapshot.nearest_labelled(Q, k)

    def holds(self, Q: Vectors, found: Neighbours, ids: list[str] | None) -> NDArray[np.bool_]:
        """Return which queries are items of the gallery; see `score_queries`."""
        is_same = self._cosines(Q, self._alike(Q, found)) >= 1 - SAME_VECTOR
        is_held: NDArray[np.bool_] = np.asarray(is_same.any(axis=1))
        rows = [] if ids is None else [self.snapshot.find(each) for each in ids]
        named = np.array([at for at, row in enumerate(rows) if row is not None], np.int64)
        own = np.array([row for row in rows if row is not None], np.int64)
        is_held[named] |= self._cosines(Q[named], own[:, None])[:, 0] >= SAME_ITEM
        return is_held

    def _alike(self, Q: Vectors, found: Neighbours) -> Rows:
        """Return the voters that may have the vector of each query, of those that were found."""
        if self.snapshot.metric != "dot":
            return found.rows
        # A vector's own inner product need not be among its largest.
        voters = build_index("exact", Stack([self.snapshot.vectors(self.rows)]), "cosine")
        nearest = [voters.search(Q[part], 1).rows for part in _parts(len(Q))]
        return np.asarray(self.rows[np.concatenate(nearest)])

    def _cosines(self, Q: Vectors, rows: Rows) -> NDArray[np.float64]:
        """Return the cosine of each query and its rows, shape (M, K)."""
        found = np.empty(rows.shape)
        for part in _parts(len(Q)):
            near = rows[part]
            U = unit_rows(self.snapshot.vectors(near.ravel()).astype(np.float64))
            own = unit_rows(Q[part].astype(np.float64))
            found[part] = np.einsum("md,mkd->mk", own, U.reshape(*near.shape, -1))
        return found

    def scores(
        self, found: Neighbours, truth: Rows, *, is_held_out: bool = False
    ) -> dict[str, Any]:
        """Return the measures of queries whose neighbours were found."""
        facts, most = self.snapshot.facts, found.rows.shape[1]
        voters = Neighbours(found.similarities[:, : facts["k"]], found.rows[:, : facts["k"]])
        votes = neighbour_votes(
            voters, facts["temperature"], weights=facts["vote"], metric=self.snapshot.metric
        )
        shares = shares_of(votes, self.codes[voters.rows], len(self.names))
        hits = int((shares.argmax(axis=1) == truth).sum())
        of_vote = {"k": int(facts["k"]), "temperature": float(facts["temperature"])}
        labels = found.rows, self.codes, truth
        return {
            "accuracy": hits / len(truth),
            "interval": list(wilson_interval(hits, len(truth))),
            "n": len(truth),
            "recall_at": {str(k): recall_at_k(*labels, k=min(k, most)) for k in RANKS},
            "map": mean_average_precision(*labels, k=min(RANKS[-1], most), is_held_out=is_held_out),
            "baselines": guess("classify", truth),
            "classes": len(np.unique(self.codes[self.rows])),
            **of_vote,
            "chosen": {"index": facts["index"]["kind"], **of_vote},
        }


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))


def _joined(parts: Sequence[Neighbours]) -> Neighbours:
    return Neighbours(
        np.concatenate([part.similarities for part in parts]),
        np.concatenate([part.rows for part in parts]),
    )
