"""Inspect a set: what is wrong with its labels, splits and items."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.curation.alike import Alike, Cluster, compare_rows
from featx.evaluate.curation.classes import LabelFindings, balance_of, findings
from featx.evaluate.curation.held import Held
from featx.evaluate.curation.inspection import SMALL, Balance, DuplicateGroup, Inspection, Leaks
from featx.evaluate.curation.judged import judge, why_not_judged
from featx.evaluate.curation.leaks import TRAIN, find_leaks, split_ranks
from featx.evaluate.curation.outliers import find_outliers
from featx.evaluate.duplicates import SAME
from featx.evaluate.labelled import LabelledSet, left_out
from featx.evaluate.truth import SEPARATOR
from featx.types import Rows

SHOWN_NAMES = 10


def inspect_set(
    embedding_set: LabelledSet, *, threshold: float = SAME, seed: int = 0
) -> Inspection:
    """Look for wrong labels, duplicates, leaks between splits and strange items in a set.

    All comes from the embeddings: nothing is read again.  Labels are classes; rows without one are
    looked at too.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    threshold : float, above 0, default .98
        Cosine from which two items count as nearly the same.
    seed : int, default 0
        Of clusters and of the index.

    Raises
    ------
    InputError
        If the set is empty, or none of its vectors is finite.
    """
    held = Held.of(embedding_set)
    alike = compare_rows(held.X, threshold=threshold, seed=seed)
    likeness = np.full(held.n, np.nan)
    likeness[held.rows] = alike.likeness
    balance = balance_of(held.labels)
    of_labels = _of_labels(held, alike, seed)
    return Inspection(
        n=held.n,
        classes=of_labels.classes,
        confidence=of_labels.confidence,
        predicted=of_labels.predicted,
        likeness=likeness,
        accuracy=of_labels.accuracy,
        interval=of_labels.interval,
        distinct=of_labels.distinct,
        suspects=of_labels.suspects,
        duplicates=tuple(_group(held, each) for each in alike.clusters()),
        leaks=_leaks(held, alike),
        outliers=find_outliers(likeness),
        clusters=of_labels.clusters,
        overlaps=of_labels.overlaps,
        balance=balance,
        not_doubted=of_labels.not_doubted,
        unfit=held.unfit,
        notes=(
            *of_labels.notes,
            *_of_classes(held, balance),
            *left_out(embedding_set, held.unfit, noun="vector"),
            *alike.notes,
        ),
    )


def _of_labels(held: Held, alike: Alike, seed: int) -> LabelFindings:
    """Judge the labels, where there is something to judge."""
    kept = np.flatnonzero([label is not None for label in held.labels[held.rows]])
    labels = held.labels[held.rows[kept]]
    if reason := why_not_judged(*_numbered(labels)):
        return _not_judged(held, reason)
    groups = alike.found.groups[kept]
    # Heads are fitted to the first of each group of near duplicates, and so know no other class.
    known = _names(labels[np.unique(groups, return_index=True)[1]])
    copied = sorted(_names(labels) - known)
    is_known = np.array([label in known for label in labels], dtype=bool)
    kept, groups = kept[is_known], groups[is_known]
    codes, names = _numbered(labels[is_known])
    if copied and len(names) < 2:
        found = _not_judged(held, "all items that have a label are nearly equal")
    elif reason := why_not_judged(codes, names):
        found = _not_judged(held, reason)
    else:
        judged = judge(alike.nearby, kept, codes, names, groups)
        found = findings(replace(judged, rows=held.rows[kept]), held.n, seed=seed)
    if not copied:
        return found
    classes = "class is" if len(copied) == 1 else "classes are"
    note = (
        f"{len(copied):,} {classes} not judged, since each item is nearly one of another class:"
        f" {_listed(copied)}"
    )
    return replace(found, notes=(*found.notes, note))


def _not_judged(held: Held, reason: str) -> LabelFindings:
    return LabelFindings.none(held.n, f"labels are not judged: {reason}")


def _numbered(labels: NDArray[np.object_]) -> tuple[Rows, tuple[str, ...]]:
    """Return the class of each label and the names of the classes."""
    names = tuple(sorted(_names(labels)))
    places = {name: code for code, name in enumerate(names)}
    return np.array([places[label] for label in labels], dtype=np.int64), names


def _group(held: Held, cluster: Cluster) -> DuplicateGroup:
    rows = held.rows[cluster.rows]
    digests = set(held.digests[rows])
    labels = set(held.labels[rows]) - {None}
    is_same = cluster.has_one_vector if digests == {""} else len(digests) == 1
    return DuplicateGroup(
        rows=rows,
        similarities=cluster.similarities,
        is_exact=is_same,
        labels_differ=len(labels) > 1,
    )


def _leaks(held: Held, alike: Alike) -> Leaks:
    found = find_leaks(alike, split_ranks(held.splits, held.labels)[held.rows])
    return Leaks(
        rows=held.rows[found.rows],
        others=held.rows[found.others],
        similarities=found.similarities,
        earlier=held.rows[found.earlier],
    )


def _of_classes(held: Held, balance: Balance) -> list[str]:
    """Return notes on the names and sizes of classes, and on those that a split lacks."""
    notes = []
    if small := balance.small:
        classes = "class has" if len(small) == 1 else "classes have"
        notes.append(f"{len(small):,} {classes} fewer than {SMALL} items: {_listed(small)}")
    if any(SEPARATOR in name for name in balance.counts):
        notes.append(f"labels hold {SEPARATOR!r}: each combination of tags is taken for a class")
    ranks = split_ranks(held.splits, held.labels)
    fitted, later = (_names(held.labels[mask]) for mask in (ranks == TRAIN, ranks > TRAIN))
    if fitted and (unknown := sorted(later - fitted)):
        classes = "class is" if len(unknown) == 1 else "classes are"
        notes.append(
            f"{len(unknown):,} {classes} in val or test but not in train: {_listed(unknown)}"
        )
    return notes


def _names(labels: NDArray[np.object_]) -> set[str]:
    return {label for label in labels.tolist() if label is not None}


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > SHOWN_NAMES else ""
    return ", ".join(f"{name:.60}" for name in names[:SHOWN_NAMES]) + more
