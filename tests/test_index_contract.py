"""Every index of the table answers as plain NumPy does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.errors import InputError
from featx.index import INDEXES
from featx.index.neighbours import Index, Neighbours
from featx.index.voting import choose_vote, leave_one_out, vote
from featx.registry import resolve
from featx.types import Vectors

# Both round a float64 sum to float32 once; the sums differ by their order alone.
RTOL, ATOL = 2e-7, 1e-7

every_index = pytest.mark.parametrize("kind", list(INDEXES))


def make(kind: str, X: Vectors) -> Index:
    index: Index = resolve("index", INDEXES, kind)(X)
    return index


def oracle(X: Vectors, Q: Vectors, k: int) -> Neighbours:
    similarities = (Q.astype(np.float64) @ X.astype(np.float64).T).round(9)
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


@every_index
@pytest.mark.parametrize(("n", "dim", "m", "k"), [(2000, 48, 60, 5), (500, 1, 7, 3), (9, 3, 1, 9)])
def test_random_rows_rank_as_in_numpy(kind: str, n: int, dim: int, m: int, k: int) -> None:
    X, Q = random_rows(n, dim), random_rows(m, dim, seed=1)

    assert_same(make(kind, X).search(Q, k), oracle(X, Q, k))


@every_index
@pytest.mark.parametrize("copies", [2, 7, 40])
def test_equal_rows_come_in_the_order_of_the_gallery(kind: str, copies: int) -> None:
    base = random_rows(50, 32)
    X = base[np.random.default_rng(3).permutation(np.repeat(np.arange(50), copies))]

    assert_same(make(kind, X).search(base[:30], 12), oracle(X, base[:30], 12))


@every_index
def test_near_ties_within_float32_error_rank_exactly(kind: str) -> None:
    rng = np.random.default_rng(4)
    X = np.ones((3000, 64), np.float32)
    X[:, 0] += rng.integers(0, 60, 3000).astype(np.float32) * np.float32(2**-22)
    Q = np.ones((25, 64), np.float32)
    exact = 63 + X[:, 0].astype(np.float64)
    rows = np.lexsort((np.arange(3000), -exact.astype(np.float32)))[:10]

    np.testing.assert_array_equal(make(kind, X).search(Q, 10).rows, np.tile(rows, (25, 1)))


@every_index
def test_an_answer_does_not_depend_on_the_batch(kind: str) -> None:
    X, Q = random_rows(3000, 37), random_rows(64, 37, seed=1)
    index = make(kind, X)

    together = index.search(Q, 6)
    alone = [index.search(q[None], 6) for q in Q]

    np.testing.assert_array_equal(together.rows, np.concatenate([a.rows for a in alone]))
    np.testing.assert_array_equal(
        together.similarities, np.concatenate([a.similarities for a in alone])
    )


@every_index
def test_k_beyond_the_gallery_returns_fewer_columns(kind: str) -> None:
    X = random_rows(3, 4)

    assert_same(make(kind, X).search(X[:2], 10), oracle(X, X[:2], 3))


@every_index
def test_a_zero_query_is_similar_to_nothing(kind: str) -> None:
    found = make(kind, random_rows(100, 8)).search(np.zeros((1, 8), np.float32), 3)

    assert found.rows.tolist() == [[0, 1, 2]]
    assert found.similarities.tolist() == [[0.0, 0.0, 0.0]]


@every_index
def test_no_query_has_no_answer(kind: str) -> None:
    found = make(kind, random_rows(10, 8)).search(np.empty((0, 8), np.float32), 3)

    assert found.rows.shape == found.similarities.shape == (0, 3)


@every_index
def test_a_memory_map_is_searched_in_place(kind: str, tmp_path: Path) -> None:
    X = random_rows(200, 8)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    index = make(kind, mapped)

    assert np.shares_memory(mapped, vars(index)["X"])
    assert_same(index.search(X[:9], 4), oracle(X, X[:9], 4))


@every_index
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_not_finite_is_refused_by_row(kind: str, value: float) -> None:
    Q = random_rows(4, 8)
    Q[2, 5] = value

    with pytest.raises(InputError, match=r"^query: row 2 is NaN or infinite"):
        make(kind, random_rows(10, 8)).search(Q, 3)


@every_index
def test_a_gallery_row_that_is_not_finite_is_refused_by_row(kind: str) -> None:
    X = random_rows(10, 8)
    X[7] = np.nan

    with pytest.raises(InputError, match=r"^gallery: row 7 is NaN or infinite"):
        make(kind, X)


@every_index
def test_another_dimension_is_refused(kind: str) -> None:
    index = make(kind, random_rows(10, 8))

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
        "from featx.index.faiss import FaissFlat\n"
        "from featx.index.flat import NumpyFlat\n"
        "print(NumpyFlat(np.eye(2, dtype='f4')).search(np.eye(2, dtype='f4'), 1).rows.tolist())\n"
        "try:\n    FaissFlat(np.eye(2, dtype='f4'))\n"
        "except MissingPackageError as error:\n    print(error)\n"
        "print('sklearn' in sys.modules)\n"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.splitlines() == [
        "[[0], [1]]",
        "faiss is not installed; run: pip install faiss-cpu",
        "False",
    ]


def test_a_vote_is_the_softmax_over_similarities() -> None:
    neighbours = Neighbours(
        np.array([[0.9, 0.8, 0.1]], np.float32), np.array([[2, 0, 1]], np.int64)
    )
    weights = np.exp(np.array([0.9, 0.8, 0.1], np.float32).astype(np.float64) / 0.5)

    shares = vote(neighbours, np.array([1, 0, 1]), 3, 0.5)

    np.testing.assert_allclose(
        shares, [[weights[2], weights[0] + weights[1], 0.0] / weights.sum()], rtol=1e-12
    )


def test_leave_one_out_drops_the_row_itself_even_among_copies() -> None:
    X = random_rows(40, 6)
    X[10:30] = X[10]
    index = make("exact", X)

    found = leave_one_out(index, X, np.arange(40), 4)

    for row in range(40):
        rest = np.delete(np.arange(40), row)
        assert (
            found.rows[row].tolist() == rest[oracle(X[rest], X[row : row + 1], 4).rows[0]].tolist()
        )


def test_the_chosen_k_is_the_most_accurate() -> None:
    # The nearest neighbour always lies, the next two tell the truth.
    neighbours = Neighbours(
        np.tile(np.array([0.9, 0.89, 0.88], np.float32), (4, 1)),
        np.array([[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1]]),
    )
    codes = np.array([0, 1])

    chosen = choose_vote(neighbours, codes, np.array([0, 0, 1, 1]))

    assert (chosen.k, chosen.accuracy, chosen.n) == (3, 1.0, 4)
