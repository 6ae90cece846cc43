"""Tuning: least effort for the asked recall, checked against plain NumPy."""

from functools import cache

import numpy as np
import pytest

from featx.errors import InputError, UnknownNameError
from featx.index.approximate import Approximate
from featx.index.flat import NumpyFlat
from featx.index.metric import METRICS, MetricName
from featx.index.neighbours import Neighbours
from featx.index.stack import Stack
from featx.index.tuning import EXACT_NUMBERS, Trial, build_tuned
from featx.types import Vectors

N, DIM = 8000, 24


@cache
def rows() -> Vectors:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, DIM))[rng.integers(0, 80, N)] + 0.5 * rng.standard_normal((N, DIM))
    return np.asarray(X, np.float32)


def true_recall(index: Approximate, metric: MetricName, k: int) -> float:
    """Return the recall of `k` neighbours of new rows, by ten lines of NumPy."""
    X = rows().astype(np.float64)
    Q = X[::37] + 0.2 * np.random.default_rng(1).standard_normal(X[::37].shape)
    found = index.search(Q.astype(np.float32), k).rows
    if metric == "cosine":
        X, Q = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (X, Q))
    near = Q @ X.T if metric != "l2" else -((Q[:, None] - X[None]) ** 2).sum(axis=2)
    true = np.argsort(-near, axis=1)[:, :k]
    return float(
        np.mean([len(np.intersect1d(*pair)) / k for pair in zip(found, true, strict=True)])
    )


@pytest.mark.parametrize("kind", ["pq", "ivf", "hnsw"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_asked_recall_is_measured_and_holds_for_new_rows(kind: str, metric: MetricName) -> None:
    made, index, measured = build_tuned(kind, Stack.of(rows()), metric, recall=0.95)

    assert made == kind
    assert isinstance(index, Approximate)
    assert measured.recall >= 0.95
    assert (measured.k, measured.queries) == (10, 512)
    assert measured.size_bytes == index.size_bytes > 0
    assert measured.latency_ms > 0
    assert true_recall(index, metric, 10) >= 0.92


def test_more_recall_takes_more_candidates() -> None:
    settings = [
        build_tuned("pq", Stack.of(rows()), "cosine", recall=recall)[1].settings["candidates"]
        for recall in (0.5, 0.9, 0.99)
    ]

    assert settings == sorted(set(settings))


@pytest.mark.parametrize("kind", ["pq", "ivf"])
def test_recall_one_is_reached(kind: str) -> None:
    X = np.random.default_rng(0).standard_normal((5000, 12)).astype(np.float32)

    assert build_tuned(kind, Stack.of(X), "cosine", recall=1.0)[2].recall == 1.0


def test_settings_for_more_neighbours_than_ten_hold() -> None:
    _, index, measured = build_tuned("pq", Stack.of(rows()), "cosine", recall=0.95, k=30)

    assert isinstance(index, Approximate)
    assert (measured.k, measured.recall >= 0.95) == (30, True)
    assert true_recall(index, "cosine", 30) >= 0.92


def test_auto_is_exact_for_few_numbers_and_coded_for_more() -> None:
    dim = 512
    X = np.random.default_rng(0).standard_normal((EXACT_NUMBERS // dim + 1, dim)).astype(np.float32)

    few, index, measured = build_tuned("auto", Stack.of(X[:-1]), "cosine")
    many, coded, reached = build_tuned("auto", Stack.of(X), "cosine", recall=0.3)

    assert (few, index.settings, measured.recall) == ("exact", {}, 1.0)
    assert (many, sorted(coded.settings), reached.recall >= 0.3) == (
        "pq",
        ["candidates", "trained"],
        True,
    )


@pytest.mark.parametrize("kind", ["auto", "numpy", "pq", "ivf", "hnsw"])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_few_rows_are_found_all(kind: str, n: int) -> None:
    _, index, measured = build_tuned(kind, Stack.of(rows()[:n]), "cosine")

    assert (measured.recall, measured.k, measured.queries) == (1.0, min(10, n - 1), n)
    assert index.search(rows()[:n], 1).rows.ravel().tolist() == list(range(n))


def test_what_cannot_be_tuned_is_refused() -> None:
    stack = Stack.of(rows()[:30])

    with pytest.raises(InputError, match=r"^recall: found 0; must be above 0 and at most 1"):
        build_tuned("pq", stack, "cosine", recall=0)
    with pytest.raises(InputError, match=r"^gallery: shape \(0, 24\)"):
        build_tuned("auto", Stack.of(rows()[:0]), "cosine")
    with pytest.raises(UnknownNameError, match="unknown index 'qp'"):
        build_tuned("qp", stack, "cosine")
    with pytest.raises(UnknownNameError, match="unknown metric 'l3'; known: cosine, dot, l2"):
        build_tuned("pq", stack, "l3")  # type: ignore[arg-type]


class FromTheEnd:
    """An exact search in which of equally near rows the higher is nearer."""

    def __init__(self, X: Vectors) -> None:
        self.n, self.index = len(X), NumpyFlat(Stack([X[::-1].copy()]), "cosine")

    def search(self, Q: Vectors, k: int) -> Neighbours:
        found = self.index.search(Q, k)
        return Neighbours(found.similarities, self.n - 1 - found.rows)


def test_rows_as_near_as_more_true_ones_than_are_told_count_as_found() -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((20, 16)), 60, axis=0).astype(np.float32)
    trial = Trial.of(Stack([X]), "cosine", 10, 0)
    of_others = FromTheEnd(np.roll(X, 300, axis=0))  # other rows in the place of each

    assert trial.recall_of_rows(FromTheEnd(X), trial.edges) == 1.0
    assert trial.recall_of_rows(FromTheEnd(X), trial.edges + 0.01) < 0.5  # by their numbers alone
    assert trial.recall_of_rows(of_others, trial.edges + 0.01) == 0.0


def test_rows_that_are_told_one_by_one_count_by_their_numbers() -> None:
    X = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    trial = Trial.of(Stack([X]), "cosine", 10, 0)

    assert trial.recall_of_rows(FromTheEnd(X), trial.edges) == 1.0
    assert trial.recall_of_rows(FromTheEnd(X[::-1].copy()), trial.edges - 2) < 0.1
