"""An inspection as JSON values, with ids instead of row numbers."""

from collections.abc import Iterable
from typing import Any

from featx.evaluate.curation.inspection import Inspection
from featx.evaluate.labelled import LabelledSet, row_names

_DIGITS = 6


def inspection_facts(found: Inspection, embedding_set: LabelledSet) -> dict[str, Any]:
    """Return all that was found, as JSON values.

    Parameters
    ----------
    found : Inspection
    embedding_set : EmbeddingSet
        That was inspected; items without an id are named by their row.

    Returns
    -------
    dict
        ``items``, ``labelled``, ``classes`` (name → rows), ``accuracy``, ``interval``,
        ``distinct``, ``suspects``, ``clusters``, ``duplicates``, ``leaks``, ``outliers``,
        ``overlaps``, ``not_doubted`` (why), ``imbalance`` (``ratio``, and ``small`` classes),
        ``unfit`` (ids) and ``notes``.  What was not looked at is None: ``suspects`` and
        ``clusters`` where no label could be doubted, ``overlaps`` where none was judged.
    """
    facts = _Facts(embedding_set)
    return {
        "items": found.n,
        "labelled": found.n - found.balance.unlabelled,
        "classes": found.balance.counts,
        "accuracy": found.accuracy,
        "interval": None if found.interval is None else list(found.interval),
        "distinct": None if found.accuracy is None else found.distinct,
        "suspects": None if found.not_doubted else facts.suspects(found),
        "clusters": None if found.not_doubted else facts.clusters(found),
        "duplicates": facts.duplicates(found),
        "leaks": facts.leaks(found),
        "outliers": facts.outliers(found),
        "overlaps": [
            {"classes": [each.first, each.second], "times": each.times, "share": _short(each.share)}
            for each in found.overlaps
        ]
        if found.classes
        else None,
        "not_doubted": found.not_doubted or None,
        "imbalance": {"ratio": _short(found.balance.ratio), "small": list(found.balance.small)},
        "unfit": facts.ids(found.unfit),
        "notes": list(found.notes),
    }


class _Facts:
    """Names of the rows of a set."""

    def __init__(self, embedding_set: LabelledSet) -> None:
        self._ids = row_names(embedding_set)
        self._labels = embedding_set.y.tolist()
        self._splits = embedding_set.items.column("split").to_pylist()

    def ids(self, rows: Iterable[int]) -> list[str]:
        return [self._ids[row] for row in rows]

    def suspects(self, found: Inspection) -> list[dict[str, Any]]:
        suspects = found.suspects
        return [
            {
                "id": self._ids[row],
                "label": self._labels[row],
                "suggested": found.classes[code],
                "confidence": _short(confidence),
            }
            for row, code, confidence in zip(
                suspects.rows, suspects.suggested, suspects.confidence, strict=True
            )
        ]

    def clusters(self, found: Inspection) -> list[dict[str, Any]]:
        return [
            {
                "ids": self.ids(each.rows),
                "label": each.label,
                "suggested": each.suggested,
                "confidence": _short(each.confidence),
            }
            for each in found.clusters
        ]

    def duplicates(self, found: Inspection) -> list[dict[str, Any]]:
        return [
            {
                "items": [
                    {
                        "id": self._ids[row],
                        "label": self._labels[row],
                        "split": self._splits[row],
                        "similarity": _short(similarity),
                    }
                    for row, similarity in zip(group.rows, group.similarities, strict=True)
                ],
                "exact": group.is_exact,
                "labels_differ": group.labels_differ,
            }
            for group in found.duplicates
        ]

    def leaks(self, found: Inspection) -> list[dict[str, Any]]:
        leaks = found.leaks
        return [
            {
                "id": self._ids[row],
                "split": self._splits[row],
                "other": self._ids[other],
                "other_split": self._splits[other],
                "similarity": _short(similarity),
            }
            for row, other, similarity in zip(
                leaks.rows, leaks.others, leaks.similarities, strict=True
            )
        ]

    def outliers(self, found: Inspection) -> list[dict[str, Any]]:
        outliers = found.outliers
        return [
            {"id": self._ids[row], "label": self._labels[row], "likeness": _short(likeness)}
            for row, likeness in zip(outliers.rows, outliers.likeness, strict=True)
        ]


def _short(value: float) -> float:
    return round(float(value), _DIGITS)
