"""Opening an index by the name of its kind."""

from featx.data.segment import RowView
from featx.index import INDEXES
from featx.index.metric import MetricName, checked_metric
from featx.index.neighbours import Index
from featx.index.stack import Stack
from featx.registry import resolve
from featx.types import Vectors


def index_class(kind: str) -> type[Index]:
    """Return the class of a kind.

    Raises
    ------
    UnknownNameError
        Naming the nearest kind.
    """
    found: type[Index] = resolve("index", INDEXES, kind)
    return found


def build_index(
    kind: str, X: Vectors | RowView | Stack, metric: MetricName = "cosine", *, seed: int = 0
) -> Index:
    """Build an index over rows; it searches as hard as its kind does unless told.

    `featx.index.tuning.build_tuned` measures how hard it must, and knows the kind ``"auto"``.

    Parameters
    ----------
    kind : str
        A name of `featx.index.INDEXES`.
    X : ndarray of float32, shape (N, D), RowView or Stack
        Kept by reference.
    metric : "cosine", "dot" or "l2", default "cosine"
    seed : int, default 0
        Of what is drawn in training.

    Raises
    ------
    UnknownNameError
        If there is no such kind or metric.
    InputError
        If there is no row, or one is not finite.
    MissingPackageError
        If faiss is not installed and the kind needs it.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0, 2], [3, 0]], np.float32)
    >>> build_index("numpy", X).search(X, 1).rows.ravel().tolist()
    [0, 1]
    """
    checked_metric(metric)
    return index_class(kind).build(Stack.of(X), metric, seed=seed)
