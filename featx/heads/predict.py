"""Fitted heads as plain arrays: logits, calibrated probabilities and sets, in NumPy alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featx.data.space import Made, space_error
from featx.errors import InputError
from featx.heads.answers import Estimate, Prediction, Tagging
from featx.heads.calibration import sigmoid, softmax
from featx.heads.conformal import Conformal, item_jitter, row_jitter
from featx.heads.foreign_scorer import graph_widths, onnx_logits
from featx.index.voting import shares_of, smoothed_log_shares
from featx.types import Task

# A block of similarities holds at most this many values, 64 MiB in float32.
_BLOCK_VALUES = 2**24

Arrays = Mapping[str, NDArray[Any]]


class TellsNovel(Protocol):
    """What tells items that are unlike those trained on: `Novelty`, or a graph."""

    def flags(self, X: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows of `X` (N, D) are unlike the training rows; shape (N,)."""
        ...

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays of a head file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A fitted head.

    Attributes
    ----------
    kind : str
        Key of `SCORERS`.
    classes : tuple of str
        Names of the C columns: classes, tags, or the outputs of a regression.
    arrays : mapping of str to ndarray
        ``ridge``, ``logreg`` and ``lda``: ``coef`` (C, D), ``intercept`` (C,).  ``centroid``:
        ``centre`` (D,), ``centroids`` (C, D).  ``knn``: ``vectors`` (N, D) of length one,
        ``codes`` (N,) int64, ``k`` and ``vote_temperature``, both (), the latter the largest
        number where all k count the same.  ``sklearn``: ``graph``,
        the bytes of an ONNX file.  Of any kind ``trained_digests`` (N, 32) uint8: the items it
        was fitted to, and ``adapted_digests``: those it was adapted to without labels.  Of tags
        ``scale`` and ``shift`` (C,), which calibrate the logits; of values ``spread`` (C,), half
        the width of the intervals.
    task : {"classify", "multilabel", "regress"}
    temperature : float
        Divides the logits of classes before the softmax.
    conformal : Conformal or None
        How sets of classes are made; without it a set is the label alone.
    novelty : TellsNovel or None
        How items unlike those trained on are told; without it nothing is said of that.
    header : mapping
        Everything else, as JSON values: dim, fingerprint, space, model, modality, metrics ...
    """

    kind: str
    classes: tuple[str, ...]
    arrays: Arrays
    task: Task = "classify"
    temperature: float = 1.0
    conformal: Conformal | None = None
    novelty: TellsNovel | None = None
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Width of the embeddings it takes."""
        return WIDTHS[self.kind](self.arrays)

    def logits(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the logits (N, C) of embeddings (N, D), or the values of a regression.

        Raises
        ------
        InputError
            If `X` is not a matrix of finite numbers with D columns.
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.dim:
            message = (
                f"head: found embeddings of shape {X.shape}; expected (N, {self.dim});"
                " embed with the model that the head was trained on"
            )
            raise InputError(message)
        if not np.isfinite(X).all():
            bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
            more = f", the first of {len(bad):,} such rows" if len(bad) > 1 else ""
            found = f"row {bad[0]} holds a value that is not finite{more}"
            message = f"head: {found}; embed such items again"
            raise InputError(message)
        return SCORERS[self.kind](self.arrays, X, len(self.classes))

    def probabilities(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, C); of classes they sum to 1.

        Raises
        ------
        InputError
            If the head estimates values, which have none.
        """
        if self.task == "regress":
            message = "head: its task is regress, which has no probabilities; ask for estimates"
            raise InputError(message)
        logits = self.logits(X).astype(np.float64)
        if self.task == "multilabel":
            return sigmoid(logits * self.arrays["scale"] + self.arrays["shift"])
        return softmax(logits / self.temperature)

    def predict(
        self,
        X: NDArray[Any],
        ids: Sequence[str] | None = None,
        *,
        probabilities: NDArray[np.float64] | None = None,
    ) -> list[Prediction]:
        """Return class, probability, conformal set and novelty of each row.

        Parameters
        ----------
        X : ndarray, shape (N, D)
        ids : sequence of str, optional
            Decide the chance in sets of kind ``aps``; without them the rows themselves do.
        probabilities : ndarray of float64, shape (N, C), optional
            Those of `X`, where they are there already.

        Raises
        ------
        InputError
            If the head does not classify.
        """
        self._require("classify")
        if probabilities is None:
            probabilities = self.probabilities(X)
        sets = self.sets(probabilities, self._jitter(X, ids))
        best = probabilities.argmax(axis=1)
        return [
            Prediction(
                label=self.classes[code],
                probability=float(values[code]),
                set=tuple(self.classes[each] for each in _ranked(values, held)),
                novel=novel,
            )
            for code, values, held, novel in zip(
                best, probabilities, sets, self._flags(X), strict=True
            )
        ]

    def _jitter(self, X: NDArray[Any], ids: Sequence[str] | None) -> NDArray[np.float64]:
        if not self.is_random:
            return np.zeros(len(X))
        return row_jitter(X) if ids is None else item_jitter(ids)

    @property
    def is_random(self) -> bool:
        """Whether its sets need the chance that `item_jitter` or `row_jitter` gives."""
        return self.conformal is not None and self.conformal.method == "aps"

    def sets(
        self, probabilities: NDArray[np.float64], jitter: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which classes (N, C) are in each row's conformal set."""
        if self.conformal is not None:
            return self.conformal.sets(probabilities, jitter)
        return np.asarray(
            np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
        )

    def tag(self, X: NDArray[Any]) -> list[Tagging]:
        """Return the tags of each row.

        Raises
        ------
        InputError
            If the head does not tag.
        """
        self._require("multilabel")
        return [
            Tagging(
                tags=tuple(self.classes[code] for code in np.argsort(-row) if row[code] > 0.5),
                probabilities=dict(zip(self.classes, row.tolist(), strict=True)),
                novel=novel,
            )
            for row, novel in zip(self.probabilities(X), self._flags(X), strict=True)
        ]

    def estimate(self, X: NDArray[Any]) -> list[Estimate]:
        """Return the values of each row.

        Raises
        ------
        InputError
            If the head does not estimate values.
        """
        self._require("regress")
        values = self.logits(X).astype(np.float64)
        spread = self.arrays["spread"]
        bounds = np.stack([values - spread, values + spread], axis=2)
        return [
            Estimate(tuple(row.tolist()), tuple((low, high) for low, high in pairs.tolist()), novel)
            for row, pairs, novel in zip(values, bounds, self._flags(X), strict=True)
        ]

    def _flags(self, X: NDArray[Any]) -> list[bool] | list[None]:
        return [None] * len(X) if self.novelty is None else self.novelty.flags(X).tolist()

    def _require(self, task: Task) -> None:
        if self.task != task:
            message = f"head: its task is {self.task!r}; expected {task!r}"
            raise InputError(message)


def check_space(
    head: Head,
    fingerprint: str,
    space: str,
    *,
    where: str = "embeddings",
    made: Made | None = None,
) -> str | None:
    """Return a note if vectors may be compared with `head`'s but were not made alike.

    Parameters
    ----------
    head : Head
    fingerprint, space : str
        Of the embeddings that are about to be scored.
    where : str
        Where they come from, for the message.
    made : Made, optional
        What made them, for the message.

    Returns
    -------
    str or None
        None where the fingerprints are equal.

    Raises
    ------
    SpaceError
        If the spaces differ, naming the command that mends it.
    """
    if fingerprint == head.header.get("fingerprint"):
        return None
    own = Made.of(head.header)
    if space == own.space:
        return (
            f"same space, other fingerprint: the head was trained on {own.model} vectors made"
            " another way (precision, device or decoding); they differ slightly"
        )
    found = made or Made.of({"space": space})
    raise space_error(where, found, "the head was trained on", own)


def _ranked(values: NDArray[Any], held: NDArray[np.bool_]) -> list[int]:
    """Return the columns that are held, the highest value first: few of them, often, of many."""
    codes = np.flatnonzero(held)
    ranked: list[int] = codes[np.argsort(-values[codes], kind="stable")].tolist()
    return ranked


def _linear_logits(arrays: Arrays, X: NDArray[Any], _: int) -> NDArray[Any]:
    coef = arrays["coef"]
    return np.asarray(X.astype(coef.dtype, copy=False) @ coef.T + arrays["intercept"])


def _centroid_logits(arrays: Arrays, X: NDArray[Any], _: int) -> NDArray[Any]:
    """Return minus half the squared distance to each mean, up to a number for each row."""
    centroids = arrays["centroids"]
    unit = _unit(X.astype(centroids.dtype, copy=False) - arrays["centre"])
    lengths = np.einsum("cd,cd->c", centroids, centroids)
    return np.asarray(unit @ centroids.T - lengths / 2)


def _knn_logits(arrays: Arrays, X: NDArray[Any], n_classes: int) -> NDArray[Any]:
    """Return the logarithm of each class's smoothed share among the k most similar vectors."""
    vectors, codes = arrays["vectors"], arrays["codes"]
    k = min(int(arrays["k"]), len(vectors))
    logits = np.empty((len(X), n_classes), dtype=vectors.dtype)
    step = max(1, _BLOCK_VALUES // len(vectors))
    for start in range(0, len(X), step):
        queries = _unit(X[start : start + step].astype(vectors.dtype, copy=False))
        similarities = queries @ vectors.T
        nearest = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(similarities, nearest, axis=1).astype(np.float64)
        weights = softmax(found / float(arrays["vote_temperature"]))
        shares = shares_of(weights, codes[nearest], n_classes)
        logits[start : start + step] = smoothed_log_shares(shares, k)
    return logits


def _unit(X: NDArray[Any]) -> NDArray[Any]:
    """Return rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(X / np.where(lengths > 0, lengths, 1))


SCORERS: dict[str, Callable[[Arrays, NDArray[Any], int], NDArray[Any]]] = {
    "centroid": _centroid_logits,
    "knn": _knn_logits,
    "lda": _linear_logits,
    "logreg": _linear_logits,
    "ridge": _linear_logits,
    "sklearn": onnx_logits,
}
"""Kind → function of (arrays, X, C) that returns logits."""


def _width_of(name: str) -> Callable[[Arrays], int]:
    return lambda arrays: int(arrays[name].shape[1])


WIDTHS: dict[str, Callable[[Arrays], int]] = {
    "centroid": _width_of("centroids"),
    "knn": _width_of("vectors"),
    "lda": _width_of("coef"),
    "logreg": _width_of("coef"),
    "ridge": _width_of("coef"),
    "sklearn": lambda arrays: graph_widths(arrays["graph"]).dim,
}
"""Kind → function of arrays that returns the width of the embeddings."""
