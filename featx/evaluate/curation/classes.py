"""What held-out probabilities say of labels: suspects, mislabelled clusters, confused classes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.curation.inspection import (
    SMALL,
    Balance,
    MislabelledCluster,
    Overlap,
    SuspectedLabels,
)
from featx.evaluate.curation.judged import Judged
from featx.evaluate.curation.leavegroups import GroupsOut
from featx.heads.calibration import softmax
from featx.index.metric import unit_rows
from featx.types import Rows, Vectors

LEAST_SHARE = 0.05
"""Share of two classes' rows taken for each other from which the classes count as overlapping."""

SURE = 8
"""How many times likelier another class must be for a label to be doubted.

Of 1,500 texts and pictures of ten classes each with 5 % of the labels flipped, of those listed
.62 and .48 were flipped, and of the flipped .82 and .85 listed, at a factor of 7.  Confident
learning (Northcutt, Jiang and Chuang 2021), whose bar is what rows labelled so get on average,
reached .24 and .39 with .69 and .70 of the flipped.
"""

BLIND_SHARE = 0.1
"""Where fewer labels than this are themselves that sure, a doubt is hardly ever reached."""

CLUSTER_ROWS = (20, 50, 125)
"""Rows that a cluster holds on average: finely, coarsely, and between."""

MOST_CLUSTERS = 500
"""Clusters that are made; of more than 10,000 rows they hold more, which is said."""

FITTED_ROWS = 20_000
"""Rows that clusters are made from, at most; all others join the nearest."""

UNABLE = (
    "no label is doubted: from these embeddings a head may do no better than naming the commonest"
    " class"
)

_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFindings:
    """The part of an `Inspection` that comes from labels; attributes as there."""

    classes: tuple[str, ...]
    confidence: NDArray[np.float64]
    predicted: Rows
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    distinct: int = 0
    suspects: SuspectedLabels = field(default_factory=SuspectedLabels)
    clusters: tuple[MislabelledCluster, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    notes: tuple[str, ...] = ()
    not_doubted: str = ""

    @classmethod
    def none(cls, n: int, why: str) -> Self:
        """Return what is said of the labels of a set of `n` rows that cannot be judged."""
        return cls(
            classes=(),
            confidence=np.full(n, np.nan),
            predicted=np.full(n, -1, np.int64),
            notes=(why,),
            not_doubted=why,
        )


def findings(judged: Judged, n: int, *, seed: int) -> LabelFindings:
    """Return what held-out probabilities say of the labels of a set of `n` rows.

    A head that may do no better than naming the commonest class accuses nobody.
    """
    confidence, predicted = np.full(n, np.nan), np.full(n, -1, np.int64)
    confidence[judged.rows], predicted[judged.rows] = judged.own, judged.predicted
    is_able = judged.knows_more_than_a_guess
    return LabelFindings(
        classes=judged.names,
        confidence=confidence,
        predicted=predicted,
        accuracy=judged.accuracy,
        interval=judged.interval,
        distinct=len(judged.distinct.codes),
        suspects=suspected(judged) if is_able else SuspectedLabels(),
        clusters=mislabelled_clusters(judged, seed=seed) if is_able else (),
        overlaps=overlapping(judged),
        notes=((*_blind(judged), *_coarse(len(judged.distinct.codes))) if is_able else (UNABLE,)),
        not_doubted="" if is_able else UNABLE,
    )


def _blind(judged: Judged) -> tuple[str, ...]:
    """Return a note where heads are too unsure to doubt the label of a typical row."""
    two = np.partition(judged.probabilities, -2, axis=1)[:, -2:]
    sure = int((SURE * two[:, 0] < two[:, 1]).sum())
    if sure >= BLIND_SHARE * len(two):
        return ()
    return (
        f"of {sure:,} of {len(two):,} labels a class is held for {SURE} times as likely as any"
        " other: many are wrong, or classes are alike, and few wrong ones are listed; featx train"
        " --suspects lists more of them, and more that are right",
    )


def _coarse(n: int) -> tuple[str, ...]:
    """Return a note where clusters are larger than the finest should be."""
    if n <= MOST_CLUSTERS * CLUSTER_ROWS[0]:
        return ()
    return (
        f"mislabelled clusters are looked for among groups of about {n // MOST_CLUSTERS:,} items,"
        " not finer; inspect a part of the set to find smaller ones",
    )


def suspected(judged: Judged) -> SuspectedLabels:
    """Return the labels that are probably wrong; the only row of a class is never accused."""
    rows = np.flatnonzero(_is_doubted(judged))
    rows = rows[np.argsort(judged.own[rows], kind="stable")]
    return SuspectedLabels(
        rows=judged.rows[rows],
        suggested=judged.predicted[rows],
        confidence=1 - judged.own[rows],
    )


def _is_doubted(judged: Judged) -> NDArray[np.bool_]:
    """Return of which labels (M,) another class is surely likelier."""
    is_less = SURE * judged.own < judged.probabilities.max(axis=1)
    return np.asarray(is_less & (judged.counts[judged.codes] > 1))


def overlapping(judged: Judged) -> tuple[Overlap, ...]:
    """Return pairs of classes of whose rows a twentieth or more, and five, are confused."""
    n, predicted, counts = len(judged.names), judged.predicted, judged.counts
    pair = np.sort(np.column_stack([judged.codes, predicted])[predicted != judged.codes], axis=1)
    # Of many classes few pairs are there, and a matrix of all would be large.
    cells, times = np.unique(n * pair[:, 0] + pair[:, 1], return_counts=True)
    first, second = np.divmod(cells, n)
    both = counts[first] + counts[second]
    found = [
        Overlap(
            first=judged.names[first[at]],
            second=judged.names[second[at]],
            times=int(times[at]),
            share=float(times[at] / both[at]),
        )
        for at in np.flatnonzero((times >= SMALL) & (times >= LEAST_SHARE * both))
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


def balance_of(labels: NDArray[np.object_]) -> Balance:
    """Return how many rows each label has; None is no label."""
    counts = Counter(label for label in labels.tolist() if label is not None)
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return Balance(counts=dict(ordered), unlabelled=len(labels) - counts.total())


def mislabelled_clusters(judged: Judged, *, seed: int) -> tuple[MislabelledCluster, ...]:
    """Return rows that lie together and share a label that all rows around them contradict.

    Wrong labels that lie together speak for each other, so that leaving out one of them tells
    nothing.  Here rows are clustered by k-means, finely and coarsely, whatever their labels, and
    each cluster is judged by a ridge head that saw nothing of it.  Its rows of one label are
    listed if they are five or more, and at most half of their class; if another class is on
    average eight times as likely; and if most of them are not doubted one by one.

    A class that has a part of its own kind, unlike its other rows, looks the same: have a look.
    """
    rows = judged.distinct
    n, is_doubted = len(rows.X), _is_doubted(judged)
    ridge = GroupsOut.of(rows.X, rows.codes, n_classes=len(judged.names), alpha=rows.alpha)
    found: list[MislabelledCluster] = []
    for k in {int(np.clip(n // size, 2, MOST_CLUSTERS)) for size in CLUSTER_ROWS}:
        clusters = _clustered(rows.X, k, seed)
        if clusters.any():
            likely = softmax(ridge.without(clusters) / np.float32(rows.temperature))
            found += _contradicted(judged, clusters, likely[judged.place], is_doubted)
    told: list[MislabelledCluster] = []
    taken = np.zeros(int(judged.rows[-1]) + 1, bool)
    for each in sorted(found, key=lambda each: (-len(each.rows), -each.confidence)):
        if not taken[each.rows].any():
            taken[each.rows] = True
            told.append(each)
    return tuple(sorted(told, key=lambda each: -each.confidence))


def _contradicted(
    judged: Judged, clusters: Rows, likely: NDArray[np.float32], is_doubted: NDArray[np.bool_]
) -> Iterator[MislabelledCluster]:
    """Yield the rows of one cluster and one label whose label the other clusters contradict."""
    n_classes = len(judged.names)
    cells = clusters[judged.place] * n_classes + judged.codes
    order = np.argsort(cells, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(cells[order])) + 1):
        label = int(judged.codes[rows[0]])
        if len(rows) < SMALL or 2 * len(rows) > judged.counts[label]:
            continue
        mean = likely[rows].mean(axis=0, dtype=np.float64)
        if SURE * mean[label] < mean.max() and 2 * is_doubted[rows].sum() < len(rows):
            yield MislabelledCluster(
                rows=judged.rows[rows],
                label=judged.names[label],
                suggested=judged.names[int(mean.argmax())],
                confidence=float(1 - mean[label]),
            )


def _clustered(X: Vectors, k: int, seed: int) -> Rows:
    """Return the cluster of each row, (N,)."""
    from sklearn.cluster import MiniBatchKMeans

    step = -(-len(X) // FITTED_ROWS)
    fitted = MiniBatchKMeans(k, random_state=seed, n_init=1, batch_size=_BATCH)
    fitted.fit(unit_rows(X[::step]))
    parts = [fitted.predict(unit_rows(X[at : at + _BATCH])) for at in range(0, len(X), _BATCH)]
    return np.unique(np.concatenate(parts), return_inverse=True)[1]
