"""Neighbours that are searched once are those of all pairs, whoever asks for them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featx.evaluate.curation import nearby as module
from featx.evaluate.curation.alike import compare_rows
from featx.evaluate.curation.nearby import DEPTH, Nearby
from featx.evaluate.duplicates import SAME, near_duplicates
from featx.index.neighbours import Neighbours
from featx.index.opening import build_index
from featx.types import Vectors


def rows_and_copies(n: int = 160, dim: int = 12, seed: int = 0) -> Vectors:
    """Give rows of which some are equal and some nearly so, at other lengths, and two of zeros."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dim)).astype(np.float32)
    X[: n // 4] += 0.02 * X[n // 4 : n // 2]
    near = X[: n // 8] + np.float32(0.03) * rng.normal(size=(n // 8, dim)).astype(np.float32)
    X = np.concatenate([X, near, X[:9], X[:4], np.zeros((2, dim), np.float32)])
    return np.asarray(rng.permutation(X))


def cosines(X: Vectors) -> NDArray[np.float64]:
    """Give all cosines, -inf to itself; of a zero vector 0."""
    lengths = np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    U = X / np.maximum(lengths, 1e-300)
    found = U @ U.T
    np.fill_diagonal(found, -np.inf)
    return np.asarray(found)


def nearest_of(found: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    return -np.sort(-found, axis=1)[:, :k]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), threshold=st.sampled_from([0.9, 0.98, 0.9999]))
def test_groups_and_likeness_are_those_of_all_pairs(seed: int, threshold: float) -> None:
    X = rows_and_copies(seed=seed)

    found = compare_rows(X, threshold=threshold)

    assert found.threshold == threshold
    expected = near_duplicates(X, threshold=threshold)
    assert found.found.groups.tolist() == expected.groups.tolist()
    assert found.found.different == expected.different
    np.testing.assert_allclose(found.likeness, nearest_of(cosines(X), 5).mean(axis=1), atol=1e-6)


def test_a_low_threshold_that_joins_too_much_finds_what_the_usual_one_finds() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 64)).astype(np.float32)
    X[:, 0] += 29  # any two have a cosine of about .93
    X[1] = X[0] + 0.6 * rng.normal(size=64).astype(np.float32)  # these two of about .986

    found = compare_rows(X, threshold=0.5)

    expected = np.arange(60)
    expected[1] = 0
    assert found.found.groups.tolist() == expected.tolist()
    assert found.threshold == SAME
    assert found.notes == [
        "a cosine of 0.5 puts more than a fifth of the different items into one group of"
        " duplicates; 0.98 is taken instead"
    ]


def test_a_member_of_a_cluster_has_its_cosine_to_the_nearest_other() -> None:
    X = rows_and_copies()

    found = compare_rows(X, threshold=0.9)

    for cluster in found.clusters():
        expected = cosines(X[cluster.rows]).max(axis=1)
        np.testing.assert_allclose(cluster.similarities, expected, atol=1e-6)
        assert cluster.has_one_vector == (len(np.unique(X[cluster.rows], axis=0)) == 1)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_neighbours_among_some_rows_are_those_of_all_pairs_of_them(share: float) -> None:
    X = np.unique(rows_and_copies(n=600), axis=0)
    nearby = Nearby.of(X)
    rows = np.flatnonzero(np.random.default_rng(0).random(len(X)) < share)

    found = nearby.among(rows, 20)

    among = cosines(X[rows])
    k = min(20, len(rows) - 1)
    np.testing.assert_allclose(found.similarities, nearest_of(among, k), atol=1e-6)
    picked = among[np.arange(len(rows))[:, None], np.searchsorted(rows, found.rows)]
    np.testing.assert_allclose(found.similarities, picked, atol=1e-6)


def test_only_rows_with_too_few_known_neighbours_are_searched_for_again() -> None:
    X = np.unique(rows_and_copies(n=600), axis=0)
    nearby = Nearby.of(X)
    known = replace(
        nearby, near=Neighbours(nearby.near.similarities + np.float32(5), nearby.near.rows)
    )
    rows = np.flatnonzero(np.arange(len(X)) % 7 > 0)

    found = known.among(rows, 20)

    left = np.isin(nearby.near.rows[rows], rows).sum(axis=1)
    assert 0 < (left < 20).sum() < len(rows)
    np.testing.assert_array_equal(found.similarities[:, 0] > 2, left >= 20)


def blobs(n: int = 6000) -> Vectors:
    """Give rows of 60 blobs."""
    rng = np.random.default_rng(0)
    X = np.tile(rng.normal(size=(60, 16)), (n // 60, 1)) + 0.2 * rng.normal(size=(n, 16))
    return X.astype(np.float32)


@pytest.mark.parametrize(("candidates", "is_exact"), [(70, False), (80, True)])
def test_an_index_that_must_fetch_too_many_rows_gives_way_to_all_pairs(
    candidates: int, is_exact: bool
) -> None:
    index = build_index("pq", blobs())
    index.settings["candidates"] = candidates

    chosen = module._for_many(index, DEPTH, 6000)

    assert (not chosen.settings) == is_exact
    assert module._for_many(index, DEPTH, 3000).settings == {}  # of few rows it fetches more


def test_an_approximate_index_finds_nearly_all_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAIRWISE_ROWS", 0)
    monkeypatch.setattr(module, "ROWS_A_CANDIDATE", 0)
    monkeypatch.setattr("featx.index.tuning.EXACT_NUMBERS", 0)
    X = blobs()

    found = compare_rows(X, threshold=0.98)

    assert found.notes == [
        "neighbours among 6,000 items come from an index that finds 99 % of them"
    ]
    expected = nearest_of(cosines(X), DEPTH)
    assert (found.nearby.near.similarities >= expected - 1e-6).mean() > 0.98
    np.testing.assert_allclose(found.likeness, expected[:, :5].mean(axis=1), atol=0.01)


def test_rows_that_are_all_equal_are_one_group_of_likeness_one() -> None:
    found = compare_rows(np.ones((7, 3), np.float32), threshold=0.98)

    assert found.found.groups.tolist() == [0] * 7
    assert found.likeness.tolist() == [1] * 7
    assert [each.similarities.tolist() for each in found.clusters()] == [[1] * 7]


def test_a_row_alone_is_like_none() -> None:
    found = compare_rows(np.ones((1, 3), np.float32), threshold=0.98)

    assert np.isnan(found.likeness).tolist() == [True]
    assert found.clusters() == []
