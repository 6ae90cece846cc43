"""Items unlike all that was seen are flagged; others as often as promised."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from featx.heads import novelty
from featx.heads.novelty import Novelty, fit_novelty
from featx.types import Vectors

SINGLE = 1e-4  # relative: what float32 arrays lose
Codes = NDArray[np.int64]

SHAPES = {
    "more rows than columns": (60, 8, 3),
    "fewer rows than columns": (30, 50, 4),
    "one class": (40, 10, 1),
    "one class, fewer rows than columns": (25, 40, 1),
    "one row a class": (25, 6, 25),
    "classes of one row and of more": (50, 8, 30),
}


def clustered(n: int, dim: int, n_classes: int, seed: int = 0) -> tuple[Vectors, Codes]:
    rng = np.random.default_rng(seed)
    codes = np.arange(n) if n == n_classes else rng.integers(n_classes, size=n)
    X = 5 + rng.normal(size=(n, dim)) + 3 * rng.normal(size=(n_classes, dim))[codes]
    return X.astype(np.float32), codes


def scatters(X: NDArray[np.float64], codes: Codes) -> tuple[NDArray[np.float64], ...]:
    """Return what is summed within classes and about the mean."""
    means = np.array([X[codes == code].mean(axis=0) for code in codes])
    return (X - means).T @ (X - means), (X - X.mean(axis=0)).T @ (X - X.mean(axis=0))


def oracle_distance(x: Vectors, X: Vectors, codes: Codes, penalties: tuple[float, float]) -> float:
    """Return the definition's distance of `x` from rows `X`, plainly."""
    rows, names, unit = X.astype(np.float64), np.unique(codes), np.eye(X.shape[1])
    within, scatter = scatters(rows, codes)
    inverse = np.linalg.inv(within + penalties[0] * unit) * max(len(X) - len(names), 1)
    off = [x - rows[codes == name].mean(axis=0) for name in names]
    nearest = min(each @ inverse @ each for each in off)
    if penalties[1] == 0:
        return float(nearest)
    v = x - rows.mean(axis=0)
    return float(nearest - v @ np.linalg.inv(scatter + penalties[1] * unit) @ v * (len(X) - 1))


def oracle_penalties(X: Vectors, codes: Codes) -> tuple[float, float]:
    within, scatter = (float(np.trace(each)) for each in scatters(X.astype(np.float64), codes))
    n_classes = len(np.unique(codes))
    if n_classes == len(X):
        within = scatter / (len(X) - 1)
    per_dim = novelty.PENALTY / X.shape[1]
    return per_dim * within, per_dim * scatter * (n_classes > 1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_distances_are_those_of_the_definition(shape: tuple[int, int, int]) -> None:
    X, codes = clustered(*shape)
    Q = clustered(20, shape[1], 5, seed=1)[0]

    found = fit_novelty(X, codes, n_classes=shape[2]).distances(Q)

    penalties = oracle_penalties(X, codes)
    expected = [oracle_distance(q, X, codes, penalties) for q in Q]
    np.testing.assert_allclose(found, expected, atol=SINGLE * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_threshold_is_that_of_rows_left_out_one_by_one(shape: tuple[int, int, int]) -> None:
    X, codes = clustered(*shape)

    found = fit_novelty(X, codes, n_classes=shape[2], quantile=0.9)

    penalties = oracle_penalties(X, codes)
    held_out = sorted(
        oracle_distance(x, np.delete(X, i, axis=0), np.delete(codes, i), penalties)
        for i, x in enumerate(X)
    )
    expected = held_out[int(np.ceil((len(X) + 1) * 0.9 - 1e-9)) - 1]
    assert found.threshold == pytest.approx(expected, abs=SINGLE * max(map(abs, held_out)))


@pytest.fixture(scope="module")
def unseen() -> list[tuple[Vectors, Codes, Vectors, NDArray[np.bool_]]]:
    """Give five splits of digits: rows of seven classes, others, and whether those are unseen."""
    digits, found = load_digits(), []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = np.maximum(digits.data / 16 @ rng.normal(size=(64, 384)), 0).astype(np.float32)
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        order = rng.permutation(len(X))
        is_unseen = np.isin(digits.target, rng.permutation(10)[:3])[order]
        seen = order[~is_unseen]
        rest = np.concatenate([seen[800:], order[is_unseen]])
        is_new = np.arange(len(rest)) >= len(seen) - 800
        found.append((X[seen[:800]], digits.target[seen[:800]], X[rest], is_new))
    return found


def test_unseen_digits_are_told_from_seen_ones(
    unseen: list[tuple[Vectors, Codes, Vectors, NDArray[np.bool_]]],
) -> None:
    found, false_flags, right_flags = [], [], []

    for X, codes, Q, is_new in unseen:
        fitted = fit_novelty(X, codes, n_classes=10)
        found.append(roc_auc_score(is_new, fitted.distances(Q)))
        false_flags.append(fitted.flags(Q[~is_new]).mean())
        right_flags.append(fitted.flags(Q[is_new]).mean())

    assert np.mean(found) > 0.95
    assert np.mean(false_flags) == pytest.approx(0.05, abs=0.015)
    assert np.mean(right_flags) > 0.7


def test_constant_and_repeated_columns_do_no_harm() -> None:
    X, codes = clustered(80, 5, 3)
    wide = np.hstack([X, X, np.full((80, 3), 7, np.float32)])

    fitted = fit_novelty(wide, codes, n_classes=3)

    assert fitted.flags(wide).mean() <= 0.1
    moved = wide[:1] + np.eye(13, dtype=np.float32)[12] * 100
    assert fitted.flags(moved).tolist() == [True]


def test_a_direction_that_no_row_took_is_novel() -> None:
    X, codes = clustered(40, 100, 2)
    fitted = fit_novelty(X, codes, n_classes=2)
    assert fitted.basis is not None
    rng = np.random.default_rng(0)
    aside = rng.normal(size=100) * 10
    aside -= aside @ fitted.basis.T @ fitted.basis

    found = fitted.flags(np.stack([X[0], X[0] + aside]))

    assert found.tolist() == [False, True]


@pytest.mark.parametrize("n", [1, 2, 18])
def test_too_few_rows_never_flag_anything(n: int) -> None:
    X = np.arange(4 * n, dtype=np.float32).reshape(n, 4) ** 2

    fitted = fit_novelty(X, np.arange(n) % 2, n_classes=2)

    assert np.isfinite(fitted.threshold)
    assert not fitted.flags(np.full((1, 4), 1e6)).any()


def test_equal_rows_have_no_distance_and_others_are_novel() -> None:
    X = np.ones((30, 4), np.float32)

    fitted = fit_novelty(X, np.zeros(30, dtype=np.int64), n_classes=1)

    assert fitted.flags(np.array([[1, 1, 1, 1], [1, 2, 1, 1]])).tolist() == [False, True]


def test_classes_without_rows_leave_no_centre() -> None:
    X, codes = clustered(60, 8, 3)

    fitted = fit_novelty(X, 2 * codes, n_classes=7)

    assert fitted.centres.shape == (3, 8)
    assert fitted.threshold == fit_novelty(X, codes, n_classes=3).threshold


@pytest.mark.parametrize("shape", [(60, 8, 3), (30, 50, 4)])
def test_arrays_hold_all_of_it_in_little_space(shape: tuple[int, int, int]) -> None:
    X, codes = clustered(*shape)
    fitted = fit_novelty(X, codes, n_classes=shape[2])

    arrays = fitted.to_arrays() | {"coef": X}
    again = Novelty.from_arrays(arrays)

    assert again is not None
    np.testing.assert_array_equal(again.distances(X), fitted.distances(X))
    np.testing.assert_array_equal(again.flags(X), fitted.flags(X))
    width = min(shape[0] - 1, shape[1])
    assert arrays["novelty_whiten"].shape == (width, width)
    assert ("novelty_basis" in arrays) == (width < shape[1])


def test_arrays_without_novelty_give_none_and_half_of_them_an_error() -> None:
    assert Novelty.from_arrays({"coef": np.ones(3)}) is None
    with pytest.raises(KeyError, match="novelty_whiten"):
        Novelty.from_arrays({"novelty_mean": np.ones(3)})


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_row_gets_the_same_distance_in_any_dtype_and_company(dtype: str) -> None:
    X, codes = clustered(60, 8, 3)
    X = X.astype(np.float16).astype(np.float32)
    fitted = fit_novelty(X, codes, n_classes=3)

    many = fitted.distances(np.repeat(X, 100, axis=0).astype(dtype))

    np.testing.assert_allclose(many[::100], fitted.distances(X), atol=SINGLE * np.ptp(many))


@pytest.mark.parametrize("shape", [(30, 8), (100, 20), (20, 64)])
def test_one_row_a_class_is_enough(shape: tuple[int, int]) -> None:
    for seed in range(12):
        X = np.random.default_rng(seed).normal(size=shape).astype(np.float32)

        found = fit_novelty(X, np.arange(len(X)), n_classes=len(X))

        assert np.isfinite(found.distances(X)).all()
