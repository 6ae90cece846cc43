"""How far the outputs of an exported file are from the answers of Python, each by itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.export.exportable import Exportable, NoveltyRule
from featx.export.names import INTERVAL, LABEL, NOVEL, PROBABILITIES, VALUES
from featx.types import Vectors

AT_THRESHOLD = 1e-3
"""An item is novel or not by its distance alone; nearer to the threshold than this share of it,
float32 decides, and either answer will do."""

Outputs = Mapping[str, NDArray[Any]]
"""Name → array of N rows."""


def values_of(exported: Exportable, found: Outputs) -> NDArray[np.float64]:
    """Return probabilities, or values of a regressor, (N, C)."""
    return found[VALUES if exported.task == "regress" else PROBABILITIES].astype(np.float64)


def answers_apart(
    exported: Exportable, found: Outputs, X: Vectors, wanted: NDArray[np.float64]
) -> float:
    """Return the largest difference in probability from those `wanted` of embeddings `X`.

    Of values (N, T) and ends of intervals (N, T, 2) it is a share of the largest end.
    """
    apart = np.abs(values_of(exported, found) - wanted).max()
    if exported.intervals is None:
        return float(apart)
    ends = exported.intervals(X)
    scale = float(np.abs(ends).max()) or 1.0
    return float(np.maximum(apart, np.abs(found[INTERVAL] - ends).max()) / scale)


def vectors_apart(found: Vectors, wanted: Vectors) -> float:
    """Return the largest distance of an embedding from that of Python, as a share of its length."""
    length = np.linalg.norm(wanted, axis=1)
    apart = np.linalg.norm(found - wanted, axis=1)
    return float((apart / np.where(length > 0, length, 1)).max())


def require_own_labels(exported: Exportable, found: Outputs) -> None:
    """Raise unless the labels of a file are those of its own probabilities.

    Raises
    ------
    InputError
    """
    values = values_of(exported, found)
    names = np.array(exported.classes, dtype=object)
    is_tagged = exported.task == "multilabel"
    own = np.where(values > 0.5, names, "") if is_tagged else names[values.argmax(axis=1)]
    if found[LABEL].tolist() != own.tolist():
        message = f"{exported.where}: the labels of the file are not those of its probabilities"
        raise InputError(message)


def other_labels(exported: Exportable, found: Outputs, wanted: NDArray[np.float64]) -> int:
    """Count items that get another class, or other tags; values are no labels."""
    values = values_of(exported, found)
    if exported.task == "regress":
        return 0
    if exported.task == "classify":
        return int((values.argmax(axis=1) != wanted.argmax(axis=1)).sum())
    return int(((values > 0.5) != (wanted > 0.5)).any(axis=1).sum())


def other_novelty(rule: NoveltyRule, found: Outputs, X: Vectors) -> int:
    """Count items that the file calls novel and Python does not, of embeddings `X`, or so."""
    return int((found[NOVEL] != (rule.distances(X) > rule.threshold)).sum())


def wrong_novelty(rule: NoveltyRule, found: Outputs, X: Vectors) -> int:
    """Count them but for those at the threshold."""
    distances = rule.distances(X)
    is_other = found[NOVEL] != (distances > rule.threshold)
    is_clear = ~np.isclose(distances, rule.threshold, rtol=AT_THRESHOLD, atol=0)
    return int((is_other & is_clear).sum())
