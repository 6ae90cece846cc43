"""Every index of the table answers as plain NumPy does."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.errors import InputError, UnknownNameError
from featx.index import INDEXES
from featx.index.metric import METRICS, MetricName, distances
from featx.index.neighbours import Index, Neighbours
from featx.index.opening import build_index, index_class
from featx.index.stack import Stack
from featx.types import Vectors
from postgres import in_database

# Both round a float64 sum to float32 once; the sums differ by their order alone.
RTOL, ATOL = 2e-7, 1e-7

every_index = pytest.mark.parametrize("kind", list(INDEXES))

every_search = pytest.mark.parametrize(
    "kind", [*INDEXES, pytest.param("pgvector", marks=pytest.mark.pg)]
)
"""Whatever searches as an index does, though it may not be one."""


every_metric = pytest.mark.parametrize("metric", METRICS)


class Searching(Protocol):
    """What finds the nearest rows."""

    def search(self, Q: Vectors, k: int) -> Neighbours: ...


Searched = Callable[..., Searching]


def make(kind: str, X: Vectors | Stack, metric: MetricName = "cosine") -> Index:
    return build_index(kind, X, metric)


@pytest.fixture
def searched(request: pytest.FixtureRequest, tmp_path: Path) -> Searched:
    """Give a maker of what searches rows."""

    def build(kind: str, X: Vectors, metric: MetricName = "cosine") -> Searching:
        if kind != "pgvector":
            return make(kind, X, metric)
        return in_database(request.getfixturevalue("postgres"), tmp_path, X, metric)

    return build


def similarities_of(X: Vectors, Q: Vectors, metric: MetricName = "cosine") -> NDArray[np.float64]:
    rows, queries = X.astype(np.float64), Q.astype(np.float64)
    if metric == "l2":
        return np.array([-np.linalg.norm(rows - query, axis=1) for query in queries])
    if metric == "cosine":
        rows /= np.maximum(np.linalg.norm(rows, axis=1), 1e-30)[:, None]
        queries /= np.maximum(np.linalg.norm(queries, axis=1), 1e-30)[:, None]
    return queries @ rows.T


def oracle(
    X: Vectors,
    Q: Vectors,
    k: int,
    metric: MetricName = "cosine",
    keep: NDArray[np.bool_] | None = None,
) -> Neighbours:
    similarities = similarities_of(X, Q, metric).round(9)
    if keep is not None:
        similarities[:, ~keep] = -np.inf
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(similarities, rows, 1).astype(np.float32), rows)


def random_rows(n: int, dim: int, seed: int = 0) -> Vectors:
    X = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    unit: Vectors = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    return unit


def assert_same(found: Neighbours, expected: Neighbours) -> None:
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.similarities, expected.similarities, rtol=RTOL, atol=ATOL)
    assert found.rows.dtype == np.int64
    assert found.similarities.dtype == np.float32


@every_search
@pytest.mark.parametrize(("n", "dim", "m", "k"), [(2000, 48, 60, 5), (500, 1, 7, 3), (9, 3, 1, 9)])
def test_random_rows_rank_as_in_numpy(
    searched: Searched, kind: str, n: int, dim: int, m: int, k: int
) -> None:
    X, Q = random_rows(n, dim), random_rows(m, dim, seed=1)

    assert_same(searched(kind, X).search(Q, k), oracle(X, Q, k))


@every_search
@pytest.mark.parametrize("copies", [2, 7, 40])
def test_equal_rows_come_in_the_order_of_the_gallery(
    searched: Searched, kind: str, copies: int
) -> None:
    base = random_rows(50, 32)
    X = base[np.random.default_rng(3).permutation(np.repeat(np.arange(50), copies))]

    assert_same(searched(kind, X).search(base[:30], 12), oracle(X, base[:30], 12))


@every_index
def test_near_ties_within_float32_error_rank_exactly(kind: str) -> None:
    rng = np.random.default_rng(4)
    X = np.ones((3000, 64), np.float32)
    X[:, 0] += rng.integers(0, 60, 3000).astype(np.float32) * np.float32(2**-22)
    Q = np.ones((25, 64), np.float32)
    exact = 63 + X[:, 0].astype(np.float64)
    rows = np.lexsort((np.arange(3000), -exact.astype(np.float32)))[:10]

    found = make(kind, X, "dot").search(Q, 10)

    np.testing.assert_array_equal(found.rows, np.tile(rows, (25, 1)))


@every_search
def test_an_answer_does_not_depend_on_the_batch(searched: Searched, kind: str) -> None:
    X, Q = random_rows(3000, 37), random_rows(64, 37, seed=1)
    index = searched(kind, X)

    together = index.search(Q, 6)
    alone = [index.search(q[None], 6) for q in Q]

    np.testing.assert_array_equal(together.rows, np.concatenate([a.rows for a in alone]))
    np.testing.assert_array_equal(
        together.similarities, np.concatenate([a.similarities for a in alone])
    )


@every_search
def test_k_beyond_the_gallery_returns_fewer_columns(searched: Searched, kind: str) -> None:
    X = random_rows(3, 4)

    assert_same(searched(kind, X).search(X[:2], 10), oracle(X, X[:2], 3))


@every_search
def test_a_zero_query_is_similar_to_nothing(searched: Searched, kind: str) -> None:
    found = searched(kind, random_rows(100, 8)).search(np.zeros((1, 8), np.float32), 3)

    assert found.rows.tolist() == [[0, 1, 2]]
    assert found.similarities.tolist() == [[0.0, 0.0, 0.0]]


@every_search
def test_no_query_has_no_answer(searched: Searched, kind: str) -> None:
    found = searched(kind, random_rows(10, 8)).search(np.empty((0, 8), np.float32), 3)

    assert found.rows.shape == found.similarities.shape == (0, 3)


@every_index
def test_a_memory_map_is_searched_in_place(kind: str, tmp_path: Path) -> None:
    X = random_rows(200, 8)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    index = make(kind, mapped)

    assert np.shares_memory(mapped, index.stack.parts[0])
    assert_same(index.search(X[:9], 4), oracle(X, X[:9], 4))


@every_search
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_not_finite_is_refused_by_row(
    searched: Searched, kind: str, value: float
) -> None:
    Q = random_rows(4, 8)
    Q[2, 5] = value

    with pytest.raises(InputError, match=r"^query: row 2 is NaN or infinite"):
        searched(kind, random_rows(10, 8)).search(Q, 3)


@every_index
def test_a_gallery_row_that_is_not_finite_is_refused_by_row(kind: str) -> None:
    X = random_rows(10, 8)
    X[7] = np.nan

    with pytest.raises(InputError, match=r"^gallery: row 7 is NaN or infinite"):
        make(kind, X)


@every_search
def test_another_dimension_is_refused(searched: Searched, kind: str) -> None:
    index = searched(kind, random_rows(10, 8))

    with pytest.raises(InputError, match=r"^query: 7 dimensions; the gallery has 8"):
        index.search(random_rows(1, 7), 3)
    with pytest.raises(InputError, match=r"^query: shape \(8,\)"):
        index.search(np.ones(8, np.float32), 3)


@every_index
def test_no_rows_and_no_neighbours_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"^gallery: shape \(0, 8\)"):
        make(kind, np.empty((0, 8), np.float32))
    with pytest.raises(InputError, match=r"^k: found 0"):
        make(kind, random_rows(10, 8)).search(random_rows(1, 8), 0)


def test_faiss_keeps_its_global_threshold() -> None:
    index = make("exact", random_rows(100, 8))
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    index.search(random_rows(30, 8), 3)

    assert faiss.cvar.distance_compute_blas_threshold == before


def test_the_table_and_the_numpy_index_load_without_faiss() -> None:
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "import numpy as np\n"
        "from featx.errors import MissingPackageError\n"
        "from featx.index.opening import build_index\n"
        "from featx.index.stack import Stack\n"
        "from featx.index.tuning import build_tuned\n"
        "X = np.eye(2, dtype='f4')\n"
        "print(build_index('numpy', X).search(X, 1).rows.tolist())\n"
        "print(build_tuned('auto', Stack.of(X), 'cosine')[0])\n"
        "for kind in ('exact', 'pq'):\n"
        "    try:\n        build_index(kind, X)\n"
        "    except MissingPackageError as error:\n        print(error)\n"
        "print('sklearn' in sys.modules)\n"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.splitlines() == [
        "[[0], [1]]",
        "numpy",
        "faiss is not installed; run: pip install faiss-cpu",
        "faiss is not installed; run: pip install faiss-cpu",
        "False",
    ]


def raw_rows(n: int, dim: int, seed: int = 0) -> Vectors:
    """Return rows of all lengths, one of them zero."""
    X = random_rows(n, dim, seed)
    X *= np.random.default_rng(seed + 1).uniform(0.1, 5, (n, 1)).astype(np.float32)
    X[n // 3] = 0
    return X


@cache
def in_parts(kind: str, metric: MetricName) -> Index:
    X = raw_rows(1500, 33)
    return make(kind, Stack([X[:1], X[1:1], X[1:700], X[700:]]), metric)


@every_index
@every_metric
@pytest.mark.parametrize("share", [1.0, 0.995, 0.4, 0.01, 0.0])
def test_rows_of_any_length_in_several_parts_rank_as_in_numpy(
    kind: str, metric: MetricName, share: float
) -> None:
    index, Q = in_parts(kind, metric), raw_rows(40, 33, seed=5)
    keep = np.random.default_rng(2).random(1500) < share

    expected = oracle(raw_rows(1500, 33), Q, min(12, int(keep.sum())), metric, keep)
    assert_same(index.search(Q, 12, keep=keep), expected)


@pytest.mark.parametrize("kind", ["numpy", "exact"])
@every_metric
@pytest.mark.parametrize("share", [1.0, 0.999, 0.99, 0.6])
@pytest.mark.parametrize("m", [1, 3, 25])
def test_rows_too_many_to_be_copied_rank_as_in_numpy(
    kind: str, metric: MetricName, share: float, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("COPIED_NUMBERS", "GATHERED_ROWS"):
        monkeypatch.setattr(f"featx.index.flat.{limit}", 0)
    monkeypatch.setattr("featx.index.flat.OVERFETCHED", 3)
    monkeypatch.setattr("featx.index.stack.BLOCK_NUMBERS", 400 * 33)
    X, Q = raw_rows(1500, 33), raw_rows(m, 33, seed=5)
    keep = np.random.default_rng(2).random(1500) < share

    found = make(kind, Stack([X[:700], X[700:]]), metric).search(Q, 12, keep=keep)

    assert_same(found, oracle(X, Q, 12, metric, keep))


@every_index
@pytest.mark.parametrize("metric", ["dot", "l2"])  # all cosines are one in float32
def test_queries_far_from_the_origin_rank_as_in_numpy(kind: str, metric: MetricName) -> None:
    X, Q = random_rows(800, 12) + np.float32(100), random_rows(9, 12, seed=3) + np.float32(100)

    found = make(kind, X, metric).search(Q, 5)

    np.testing.assert_array_equal(found.rows, oracle(X, Q, 5, metric).rows)


@every_search
def test_equal_rows_only(searched: Searched, kind: str) -> None:
    X = np.ones((300, 20), np.float32)

    found = searched(kind, X).search(X[:3], 4)

    assert found.rows.tolist() == [[0, 1, 2, 3]] * 3
    np.testing.assert_allclose(found.similarities, 1.0, rtol=RTOL)


@every_search
def test_one_row_is_its_own_neighbour(searched: Searched, kind: str) -> None:
    X = np.array([[3.0, 4.0]], np.float32)

    assert_same(searched(kind, X).search(X, 5), oracle(X, X, 1))


@every_index
def test_what_is_kept_must_be_one_truth_for_each_row(kind: str) -> None:
    with pytest.raises(InputError, match=r"^keep: bool of shape \(9,\); must be .* \(10,\)"):
        make(kind, random_rows(10, 4)).search(random_rows(1, 4), 3, keep=np.ones(9, np.bool_))


def test_unknown_kinds_and_metrics_suggest_the_nearest() -> None:
    X = random_rows(10, 4)

    with pytest.raises(UnknownNameError, match=r"unknown index 'hnws'; did you mean 'hnsw'\?"):
        build_index("hnws", X)
    with pytest.raises(UnknownNameError, match=r"unknown metric 'cosin'; did you mean 'cosine'\?"):
        build_index("exact", X, "cosin")  # type: ignore[arg-type]


@every_index
def test_several_segments_are_searched_without_a_copy(kind: str) -> None:
    X = random_rows(90, 8)
    index = build_index(kind, RowView([X[:30], X[30:]]))

    assert [np.shares_memory(part, X) for part in index.stack.parts] == [True, True]
    assert_same(index.search(X[:9], 4), oracle(X, X[:9], 4))


@every_index
@every_metric
def test_an_extended_index_finds_old_and_new_rows(kind: str, metric: MetricName) -> None:
    X, Q = raw_rows(400, 16), raw_rows(20, 16, seed=8)
    index = make(kind, X[:300], metric)

    longer = index.extended(index.stack.joined(X[300:]))

    assert_same(longer.search(Q, 7), oracle(X, Q, 7, metric))
    assert_same(index.search(Q, 7), oracle(X[:300], Q, 7, metric))


@every_index
def test_a_written_index_is_opened_without_a_look_at_the_rows(kind: str, tmp_path: Path) -> None:
    X, Q = raw_rows(500, 16), raw_rows(20, 16, seed=8)
    index = make(kind, X)
    index.write(tmp_path / "index")
    unread = np.full_like(X, np.nan)
    stack = Stack([unread], index.stack.norms)

    opened = index_class(kind).read(tmp_path / "index", stack, "cosine", index.settings)

    assert (tmp_path / "index").exists() == index.has_file
    unread[:] = X
    assert_same(opened.search(Q, 7), oracle(X, Q, 7))


def test_lengths_are_measured_once_and_told() -> None:
    X = raw_rows(100, 8)
    stack = Stack([random_rows(20, 8), X])

    unit, lengths = stack.norms

    assert unit == "unit"
    assert not isinstance(lengths, str)
    np.testing.assert_allclose(lengths, np.linalg.norm(X.astype(np.float64), axis=1))
    assert stack.joined(X[:1]).norms[1] is lengths


def test_a_row_that_is_not_finite_is_refused_by_its_number_among_all_parts() -> None:
    X = random_rows(10, 8)
    X[4] = np.inf

    with pytest.raises(InputError, match=r"^gallery: row 24 is NaN or infinite"):
        build_index("exact", Stack([random_rows(20, 8), X]))


def test_parts_of_other_dimensions_are_refused() -> None:
    with pytest.raises(InputError, match=r"^gallery: parts of \[3, 4\] dimensions"):
        Stack([random_rows(2, 3), random_rows(2, 4)])


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_distances_fall_as_similarities_rise(metric: MetricName) -> None:
    X, Q = random_rows(50, 8), random_rows(4, 8, seed=1)

    found = distances(make("exact", X, metric).search(Q, 3).similarities, metric)

    np.testing.assert_array_equal(found, np.sort(found, axis=1))
    assert (found >= 0).all()


def test_an_inner_product_has_no_distance() -> None:
    with pytest.raises(InputError, match=r"^metric: 'dot' has no distance; use 'cosine' or 'l2'"):
        distances(np.ones(3), "dot")


def test_many_equal_rows_of_a_large_gallery_are_told_apart_by_their_number() -> None:
    X = np.concatenate((np.ones((20_000, 8), np.float32), random_rows(100, 8)))

    assert make("exact", X).search(X[:2], 3).rows.tolist() == [[0, 1, 2]] * 2
