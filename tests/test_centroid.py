"""The nearest class mean of centred rows of length one."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import NearestCentroid

from featx.errors import InputError
from featx.heads.centroid import CentroidProbe

EXACT = 1e-10  # float64 sums near one, in another order
HALF = 1e-5  # the same in float32


def blobs(
    n: int = 60, d: int = 5, c: int = 3, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + rng.normal(size=(c, d))[y], y


def unit(X: NDArray[Any], centre: NDArray[Any]) -> NDArray[Any]:
    return np.asarray((X - centre) / np.linalg.norm(X - centre, axis=1, keepdims=True))


def oracle(Z: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    """Return the logits of point `z` by rows `Z`, all of them oriented."""
    means = np.array([Z[y == c].mean(axis=0) for c in range(y.max() + 1)])
    return np.asarray(means @ z - (means**2).sum(axis=1) / 2)


def oracle_held_out(Z: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    everyone = np.arange(len(Z))
    return np.array([oracle(Z[everyone != i], y[everyone != i], Z[i]) for i in everyone])


@pytest.mark.parametrize(("dtype", "atol"), [("float64", EXACT), ("float32", HALF)])
@pytest.mark.parametrize(("n", "d"), [(60, 5), (9, 40)])
def test_held_out_logits_equal_refitting_without_each_row_about_the_same_centre(
    n: int, d: int, dtype: str, atol: float
) -> None:
    X, y = blobs(n, d)

    head = CentroidProbe().fit(X.astype(dtype), y)

    assert head.held_out_logits_.dtype == head.coef_.dtype == np.dtype(dtype)
    np.testing.assert_allclose(
        head.held_out_logits_, oracle_held_out(unit(X, X.mean(axis=0)), y), atol=atol
    )


def test_a_row_of_weight_two_is_two_rows_of_which_one_is_left_out() -> None:
    X, y = blobs(24, 4)
    counts = np.arange(24) // 3 % 3 + 1

    head = CentroidProbe().fit(X, y, sample_weight=counts)

    rows, labels = X.repeat(counts, axis=0), y.repeat(counts)
    expected = oracle_held_out(unit(rows, rows.mean(axis=0)), labels)
    np.testing.assert_allclose(
        head.held_out_logits_, expected[np.cumsum(counts) - counts], atol=EXACT
    )
    np.testing.assert_allclose(head.coef_, CentroidProbe().fit(rows, labels).coef_, atol=EXACT)


def test_probe_is_the_nearest_centroid_of_centred_unit_rows() -> None:
    X, y = blobs(90, 6)
    Q = np.random.default_rng(1).normal(size=(200, 6))

    head = CentroidProbe().fit(X, y)

    theirs = NearestCentroid().fit(unit(X, X.mean(axis=0)), y)
    np.testing.assert_array_equal(head.predict(Q), theirs.predict(unit(Q, X.mean(axis=0))))


def test_decision_values_are_those_of_plain_numpy() -> None:
    X, y = blobs(90, 6)
    Z = unit(X, X.mean(axis=0))

    head = CentroidProbe().fit(X, y)

    np.testing.assert_allclose(head.decision_function(X), [oracle(Z, y, z) for z in Z], atol=EXACT)


def test_a_row_alone_in_its_class_gets_laplaces_probability() -> None:
    X, y = blobs(21, 4, 2)
    y[0] = 2

    row = CentroidProbe().fit(X, y).held_out_logits_[0]

    assert np.exp(row[2]) / np.exp(row).sum() == pytest.approx(1 / 22)


def test_one_row_a_class_makes_for_the_row_in_the_nearest_direction() -> None:
    X, Q = (
        np.random.default_rng(2).normal(size=(5, 8)),
        np.random.default_rng(3).normal(size=(9, 8)),
    )

    head = CentroidProbe().fit(X, np.arange(5))

    cosines = unit(Q, X.mean(axis=0)) @ unit(X, X.mean(axis=0)).T
    np.testing.assert_array_equal(head.predict(Q), cosines.argmax(axis=1))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.permutations(range(30)))
def test_order_of_rows_does_not_matter(order: list[int]) -> None:
    X, y = blobs(30, 4)

    plain, shuffled = CentroidProbe().fit(X, y), CentroidProbe().fit(X[order], y[order])

    np.testing.assert_allclose(shuffled.coef_, plain.coef_, atol=EXACT)
    np.testing.assert_allclose(shuffled.held_out_logits_, plain.held_out_logits_[order], atol=EXACT)


def test_rows_are_read_in_blocks_and_never_copied_as_a_whole() -> None:
    X, y = blobs(50_000, 64)
    X = X.astype(np.float32)
    tracemalloc.start()

    head = CentroidProbe().fit(X, y)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes
    Z = unit(X.astype(np.float64), X.mean(axis=0, dtype=np.float64))
    expected = [Z[y == c].mean(axis=0) for c in range(3)]
    np.testing.assert_allclose(head.coef_, expected, atol=HALF)


def test_tags_are_refused() -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="y is a matrix of tags; expected one class a row"):
        CentroidProbe().fit(X, np.eye(3, dtype=int)[y])
