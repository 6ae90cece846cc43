"""Fitted heads as plain arrays: logits, calibrated probabilities and sets, in NumPy alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, SpaceError
from featx.heads.calibration import softmax

# A block of similarities holds at most this many values, 64 MiB in float32.
_BLOCK_VALUES = 2**24
# The least share of a vote, so that its logarithm is finite.
_SHARE_FLOOR = 1e-6

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a head says of one item.

    Attributes
    ----------
    label : str
        The most probable class.
    probability : float
        Its calibrated probability.
    set : tuple of str
        Conformal set, most probable first: holds the true class of about 90 % of items like
        those trained on.  Never empty.
    """

    label: str
    probability: float
    set: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A fitted head.

    Attributes
    ----------
    kind : str
        Key of `SCORERS`.
    classes : tuple of str
        Names of the C columns.
    arrays : mapping of str to ndarray
        ``ridge`` and ``logreg``: ``coef`` (C, D), ``intercept`` (C,).  ``knn``: ``vectors``
        (N, D) of length one, ``codes`` (N,) int64, ``k`` and ``vote_temperature``, both ().  Of
        any kind ``trained_digests`` (N, 32) uint8: the items it was fitted to.
    temperature : float
        Divides the logits before the softmax.
    quantile : float
        A class is in the conformal set if 1 - its probability is at most this.
    header : mapping
        Everything else, as JSON values: dim, fingerprint, space, model, modality, metrics ...
    """

    kind: str
    classes: tuple[str, ...]
    arrays: Arrays
    temperature: float = 1.0
    quantile: float = 1.0
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Width of the embeddings it takes."""
        return int(self.arrays["vectors" if self.kind == "knn" else "coef"].shape[1])

    def logits(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the logits (N, C) of embeddings (N, D).

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
            row = int(np.flatnonzero(~np.isfinite(X).all(axis=1))[0])
            message = f"head: row {row} holds a value that is not finite; embed that item again"
            raise InputError(message)
        return SCORERS[self.kind](self.arrays, X, len(self.classes))

    def probabilities(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, C); rows sum to 1."""
        return softmax(self.logits(X).astype(np.float64) / self.temperature)

    def predict(self, X: NDArray[Any]) -> list[Prediction]:
        """Return label, probability and conformal set of each row."""
        return self.describe(self.probabilities(X))

    def describe(self, probabilities: NDArray[np.float64]) -> list[Prediction]:
        """Return the predictions that rows of `probabilities` (N, C) amount to."""
        order = np.argsort(-probabilities, axis=1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=1)
        sizes = np.maximum(1, (1 - ranked <= self.quantile).sum(axis=1))
        return [
            Prediction(
                label=self.classes[row[0]],
                probability=float(values[0]),
                set=tuple(self.classes[code] for code in row[:size]),
            )
            for row, values, size in zip(order, ranked, sizes, strict=True)
        ]


def check_space(head: Head, fingerprint: str, space: str) -> str | None:
    """Return a note if vectors may be compared with `head`'s but were not made alike.

    Parameters
    ----------
    head : Head
    fingerprint, space : str
        Of the embeddings that are about to be scored.

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
    model, own_space = head.header.get("model", "MODEL"), str(head.header.get("space", "unknown"))
    if space == own_space:
        return (
            f"same space, other fingerprint: the head was trained on {model} vectors made another"
            " way (precision, device or decoding); they differ slightly"
        )
    message = (
        f"embeddings: found space {space[:12]!r}; the head was trained in space"
        f" {own_space[:12]!r} of {model};"
        f" run: featx embed SOURCE -m {model} -o OUT.emb"
    )
    raise SpaceError(message)


def _linear_logits(arrays: Arrays, X: NDArray[Any], _: int) -> NDArray[Any]:
    coef = arrays["coef"]
    return np.asarray(X.astype(coef.dtype, copy=False) @ coef.T + arrays["intercept"])


def _knn_logits(arrays: Arrays, X: NDArray[Any], n_classes: int) -> NDArray[Any]:
    """Return the logarithm of each class's share among the k most similar vectors."""
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
        shares = np.zeros((len(queries), n_classes))
        np.add.at(shares, (np.arange(len(queries))[:, None], codes[nearest]), weights)
        logits[start : start + step] = np.log(np.maximum(shares, _SHARE_FLOOR))
    return logits


def _unit(X: NDArray[Any]) -> NDArray[Any]:
    """Return rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(X / np.where(lengths > 0, lengths, 1))


SCORERS: dict[str, Callable[[Arrays, NDArray[Any], int], NDArray[Any]]] = {
    "knn": _knn_logits,
    "logreg": _linear_logits,
    "ridge": _linear_logits,
}
"""Kind → function of (arrays, X, C) that returns logits."""
