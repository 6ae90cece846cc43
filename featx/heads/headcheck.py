"""Whether the parts of a head fit each other: what a file says is not to be trusted."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.heads.foreign_scorer import graph_widths
from featx.heads.novelty import Novelty
from featx.heads.predict import SCORERS, Head

_LINEAR = {"coef": "f", "intercept": "f"}
# Kind → the arrays it needs, with the kind of their numbers.
_NEEDED: dict[str, dict[str, str]] = {
    "centroid": {"centre": "f", "centroids": "f"},
    "knn": {"vectors": "f", "codes": "i", "k": "i", "vote_temperature": "f"},
    "lda": _LINEAR,
    "logreg": _LINEAR,
    "ridge": _LINEAR,
    "sklearn": {"graph": "u"},
}
# Task → the arrays that it needs besides, one number a column.
_OF_TASK: dict[str, tuple[str, ...]] = {
    "classify": (),
    "multilabel": ("scale", "shift"),
    "regress": ("spread",),
}
_LEAST_COLUMNS = {"classify": 2, "multilabel": 2, "regress": 1}


class Damage(Exception):  # noqa: N818 - never leaves headfile.py
    """What is wrong with a file, without its name."""


def check_head(head: Head) -> None:
    """Raise if the parts of a head contradict each other.

    Raises
    ------
    Damage
    """
    if head.kind not in SCORERS or head.kind not in _NEEDED:
        message = f"kind {head.kind!r} is unknown; known: {', '.join(sorted(_NEEDED))}"
        raise Damage(message)
    if head.task not in _OF_TASK:
        message = f"task {head.task!r} is unknown; known: {', '.join(sorted(_OF_TASK))}"
        raise Damage(message)
    names, least = head.classes, _LEAST_COLUMNS[head.task]
    if not all(type(n) is str for n in names) or len(names) < least or len(set(names)) < len(names):
        message = f"its classes are not {least} or more different names"
        raise Damage(message)
    if not 0 < head.temperature < float("inf"):
        message = f"temperature {head.temperature} is out of range"
        raise Damage(message)
    _check_arrays(head)


def _check_arrays(head: Head) -> None:
    needed = _NEEDED[head.kind] | dict.fromkeys(_OF_TASK[head.task], "f")
    for name, kind in needed.items():
        if name not in head.arrays or head.arrays[name].dtype.kind != kind:
            message = f"its array {name!r} is missing or of the wrong type"
            raise Damage(message)
    for name, array in head.arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            message = f"its array {name!r} holds values that are not finite"
            raise Damage(message)
    if not _shapes_fit(head):
        shapes = {name: array.shape for name, array in sorted(head.arrays.items())}
        message = f"its arrays do not fit each other or {len(head.classes)} classes: {shapes}"
        raise Damage(message)


def _shapes_fit(head: Head) -> bool:
    arrays, n_classes = head.arrays, len(head.classes)
    for name in ("trained_digests", "adapted_digests"):
        digests = arrays.get(name, np.empty((0, 32), np.uint8))
        if digests.ndim != 2 or digests.shape[1] != 32 or digests.dtype != np.uint8:
            return False
    if any(arrays[name].shape != (n_classes,) for name in _OF_TASK[head.task]):
        return False
    if not _FITS[head.kind](arrays, n_classes):
        return False
    conformal = head.conformal
    if conformal is not None:
        length = n_classes if conformal.method == "class" else 1
        is_in_range = bool(((conformal.quantiles >= 0) & (conformal.quantiles <= 1)).all())
        if conformal.quantiles.shape != (length,) or not is_in_range:
            return False
    return not isinstance(head.novelty, Novelty) or _novelty_fits(head.novelty, head.dim)


def _novelty_fits(novelty: Novelty, dim: int) -> bool:
    centres, basis = novelty.centres, novelty.basis
    arrays = [novelty.mean, novelty.whiten, centres, novelty.background]
    arrays += [] if basis is None else [basis]
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays):
        return False
    if novelty.mean.shape != (dim,) or centres.ndim != 2 or not len(centres):
        return False
    width = centres.shape[1]
    is_whole = width == dim if basis is None else basis.shape == (width, dim)
    is_square = novelty.whiten.shape == (width, width)
    is_finite = bool(np.isfinite((novelty.beyond, novelty.threshold, novelty.quantile)).all())
    return is_whole and is_square and novelty.background.shape == (width,) and is_finite


def _linear_fits(arrays: Mapping[str, NDArray[Any]], n_classes: int) -> bool:
    coef, intercept = arrays["coef"], arrays["intercept"]
    is_matrix = coef.ndim == 2 and coef.shape[0] == n_classes and coef.shape[1] > 0
    return is_matrix and intercept.shape == (n_classes,)


def _centroid_fits(arrays: Mapping[str, NDArray[Any]], n_classes: int) -> bool:
    centre, centroids = arrays["centre"], arrays["centroids"]
    return centre.ndim == 1 and len(centre) > 0 and centroids.shape == (n_classes, len(centre))


def _knn_fits(arrays: Mapping[str, NDArray[Any]], n_classes: int) -> bool:
    vectors, codes = arrays["vectors"], arrays["codes"]
    if vectors.ndim != 2 or 0 in vectors.shape or codes.shape != (len(vectors),):
        return False
    if arrays["k"].shape or arrays["vote_temperature"].shape:
        return False
    is_known = codes.min() >= 0 and codes.max() < n_classes
    return bool(is_known and arrays["k"] >= 1 and arrays["vote_temperature"] > 0)


def _graph_fits(arrays: Mapping[str, NDArray[Any]], n_classes: int) -> bool:
    graph = arrays["graph"]
    try:
        return graph.ndim == 1 and graph_widths(graph).n_columns == n_classes
    except InputError as cause:
        raise Damage(str(cause)) from cause


_FITS: dict[str, Callable[[Mapping[str, NDArray[Any]], int], bool]] = {
    "centroid": _centroid_fits,
    "knn": _knn_fits,
    "lda": _linear_fits,
    "logreg": _linear_fits,
    "ridge": _linear_fits,
    "sklearn": _graph_fits,
}
