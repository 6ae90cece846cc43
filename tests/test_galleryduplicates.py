"""Near duplicates found through an index are those of all pairs."""

from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import InputError
from featx.evaluate import galleryduplicates
from featx.evaluate.duplicates import SAME, between, near_duplicates
from featx.evaluate.galleryduplicates import (
    IndexItems,
    gallery_duplicates,
    gallery_matches,
    near_groups,
    nearest_within,
)
from featx.index.metric import MetricName
from featx.index.opening import build_index
from featx.index.voting import without_own
from featx.types import Rows, Vectors


def scattered(n: int = 300, dim: int = 12, seed: int = 0) -> Vectors:
    """Give rows of which some are near others, in chains and crowds, at other lengths."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dim))
    copied = rng.integers(max(1, n // 4), size=n // 2)
    X[: n // 2] = X[copied] + rng.normal(size=(n // 2, dim)) * rng.choice(
        [0, 0.05, 0.2], (n // 2, 1)
    )
    return (X * rng.uniform(0.1, 10, (n, 1))).astype(np.float32)


@pytest.fixture
def _searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleryduplicates, "PAIRWISE_ROWS", 0)
    monkeypatch.setattr(galleryduplicates, "_BLOCK", 37)
    monkeypatch.setattr(galleryduplicates, "_TILE", 64)


@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("depths", [(8, 64), (1, 2)])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), threshold=st.sampled_from([0.6, 0.9, SAME, 0.999]))
def test_groups_are_those_of_all_pairs(
    seed: int, threshold: float, depths: tuple[int, ...]
) -> None:
    X = scattered(120, seed=seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(galleryduplicates, "DEPTHS", depths)

        found = gallery_duplicates(IndexItems(build_index("numpy", X)), threshold=threshold)

    expected = near_duplicates(X, threshold=threshold)
    assert found.groups.tolist() == expected.groups.tolist()
    assert (found.different, found.searched) == (expected.different, expected.searched)


@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("kind", ["exact", "pq", "ivf", "hnsw"])
def test_every_index_finds_them(kind: str) -> None:
    X = scattered(2000, 32)

    found = gallery_duplicates(IndexItems(build_index(kind, X)))

    assert found.groups.tolist() == near_duplicates(X).groups.tolist()
    assert 100 < sum(len(rows) for rows in found.clusters()) < 1500


@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("metric", get_args(MetricName))
def test_rows_are_compared_by_cosine_whatever_the_metric(metric: MetricName) -> None:
    X = scattered()
    Q = np.concatenate([X[50:70] * 3, scattered(40, seed=9)])
    items = IndexItems(build_index("numpy", X, metric))

    assert gallery_duplicates(items).groups.tolist() == near_duplicates(X).groups.tolist()
    matches, expected = gallery_matches(Q, items), between(Q, X)
    assert matches.queries.tolist() == expected.queries.tolist()
    np.testing.assert_allclose(matches.similarities, expected.similarities, atol=1e-6)


@pytest.mark.parametrize("pairwise", [0, 20_000])
def test_rows_that_were_removed_are_alone(pairwise: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleryduplicates, "PAIRWISE_ROWS", pairwise)
    X = scattered()
    keep = np.random.default_rng(0).random(300) < 0.8
    rows = np.flatnonzero(keep)

    found = gallery_duplicates(IndexItems(build_index("numpy", X), keep))

    expected = np.arange(rows[-1] + 1)
    expected[rows] = rows[near_duplicates(X[rows]).groups]
    assert found.groups.tolist() == expected.tolist()


@pytest.mark.usefixtures("_searched")
def test_a_crowd_of_equal_and_of_nearly_equal_rows_is_one_group() -> None:
    X = np.ones((1500, 4), np.float32)
    X[::2] *= 1 + np.arange(750, dtype=np.float32)[:, None] * 1e-3

    found = gallery_duplicates(IndexItems(build_index("exact", X)))

    assert (found.groups == 0).all()
    assert found.different == 750


@dataclass(frozen=True)
class Counted(IndexItems):
    """Items that count the rows that are read."""

    read: list[int] = field(default_factory=list)

    def vectors(self, rows: Rows) -> Vectors:
        self.read.append(len(rows))
        return super().vectors(rows)


def crowds(n: int, largest: int, seed: int = 0) -> Vectors:
    """Give rows of which the first lie close together, and the others in pairs."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(np.arange(n), 2)[: n - largest] + 1
    centres = np.concatenate([np.zeros(largest, np.int64), centres])
    X = rng.normal(size=(n + 1, 32))[centres] + 0.01 * rng.normal(size=(n, 32))
    return X.astype(np.float32)


@pytest.mark.usefixtures("_searched")
def test_rows_of_one_group_are_not_compared_again() -> None:
    X = crowds(1200, 1150)
    items = Counted(build_index("numpy", X))

    found = gallery_duplicates(items)

    assert found.groups.tolist() == near_duplicates(X).groups.tolist()
    others = 50 * 1150 / 37  # for each block of the crowd, the rows that are not in it
    assert sum(items.read) < others + 8 * 1200


@pytest.mark.usefixtures("_searched")
def test_known_neighbours_make_the_groups_of_all_pairs() -> None:
    X = crowds(400, 90)
    items = IndexItems(build_index("numpy", X))
    near = without_own(items.nearest(X, 9), np.arange(400))

    groups = near_groups(items, near, threshold=SAME)

    np.testing.assert_array_equal(groups, near_duplicates(X).groups, strict=True)


@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize(("most", "is_told"), [(89, False), (90, True)])
def test_a_group_that_is_too_large_ends_the_search(most: int, is_told: bool) -> None:
    X = crowds(400, 90)
    items = Counted(build_index("numpy", X))
    near = without_own(items.nearest(X, 9), np.arange(400))

    groups = near_groups(items, near, threshold=SAME, most=most)

    assert (groups is not None) == is_told
    assert (sum(items.read) > 400) == is_told  # until then hardly a vector is read


@pytest.mark.usefixtures("_searched")
def test_a_pair_at_the_threshold_is_settled_in_float64() -> None:
    angles = np.arccos(SAME) * np.array([1 - 1e-6, 1 + 1e-6])
    X = np.array([[1, 0], *np.column_stack([np.cos(angles), -np.sin(angles)])]).astype(np.float32)

    found = [
        gallery_duplicates(IndexItems(build_index("numpy", X[[0, row]]))).groups.tolist()
        for row in (1, 2)
    ]

    assert found == [[0, 0], [0, 1]]


def test_each_row_of_a_cluster_has_its_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleryduplicates, "_BLOCK", 7)
    monkeypatch.setattr(galleryduplicates, "_TILE", 5)
    X = scattered(40)
    rows = np.array([3, 9, 10, 11, 15, 19, 22, 30, 31, 38])

    nearest, cosines = nearest_within(IndexItems(build_index("numpy", X)), rows)

    U = X[rows] / np.linalg.norm(X[rows].astype(np.float64), axis=1, keepdims=True)
    near = U @ U.T - 3 * np.eye(10)
    np.testing.assert_array_equal(nearest, rows[near.argmax(axis=1)])
    np.testing.assert_allclose(cosines, near.max(axis=1), atol=1e-6)


@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("rows", [1, 2])
def test_small_galleries_have_no_duplicates(rows: int) -> None:
    items = IndexItems(build_index("numpy", np.eye(2, 3, dtype=np.float32)[:rows]))

    assert gallery_duplicates(items).clusters() == []
    assert len(gallery_matches(np.empty((0, 3), np.float32), items)) == 0


def test_a_query_that_is_not_finite_is_named() -> None:
    items = IndexItems(build_index("numpy", np.eye(3, dtype=np.float32)))

    with pytest.raises(InputError, match="query: row 0 is NaN or infinite"):
        gallery_matches(np.array([[np.nan, 0, 0]], np.float32), items)
