"""Discriminant analysis: its solution, and its logits of each row without that row."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from featx.errors import InputError
from featx.heads.calibration import class_losses, fit_temperature
from featx.heads.lda import SHRINKAGES, LDAProbe

EXACT = 1e-7  # two ways round the same solution in float64, of logits up to a hundred
HALF = 1e-3  # the same in float32, as a share of the largest logit

few_examples = settings(max_examples=10, deadline=None, derandomize=True)


def blobs(
    n: int = 60, d: int = 5, c: int = 3, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + rng.normal(size=(c, d))[y], y


def floor(X: NDArray[Any], y: NDArray[Any], shrinkage: float) -> float:
    """Return what shrinkage adds to the diagonal of the scatter within classes."""
    off = X - np.array([X[y == c].mean(axis=0) for c in range(y.max() + 1)])[y]
    return float(shrinkage / (1 - shrinkage) * (off**2).sum() / X.shape[1])


def oracle(
    X: NDArray[Any], y: NDArray[Any], x: NDArray[Any], shrinkage: float, added: float
) -> NDArray[Any]:
    """Return the logits of point `x` by the discriminants of rows `X`."""
    means = np.array([X[y == c].mean(axis=0) for c in range(y.max() + 1)])
    scatter = (X - means[y]).T @ (X - means[y]) + added * np.eye(X.shape[1])
    precision = np.linalg.inv(scatter * (1 - shrinkage) / len(X))
    distances = np.einsum("cd,de,ce->c", x - means, precision, x - means)
    return np.asarray(np.log(np.bincount(y) / len(X)) - distances / 2)


def oracle_held_out(X: NDArray[Any], y: NDArray[Any], shrinkage: float) -> NDArray[Any]:
    added, everyone = floor(X, y, shrinkage), np.arange(len(X))
    rests = [everyone != row for row in everyone]
    held_out = [
        oracle(X[rest], y[rest], x, shrinkage, added) for x, rest in zip(X, rests, strict=True)
    ]
    return np.array(held_out)


def level(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return logits up to a number that is the same for all classes."""
    wide = logits.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=1, keepdims=True))


@pytest.mark.parametrize(("n", "d"), [(60, 5), (12, 30), (20, 19)])
@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 0.9])
def test_held_out_logits_equal_refitting_without_each_row(n: int, d: int, shrinkage: float) -> None:
    X, y = blobs(n, d)
    X[:, 1], X[:, 2] = X[:, 0], 7

    head = LDAProbe(shrinkage=shrinkage).fit(X, y)

    expected = level(oracle_held_out(X, y, shrinkage))
    atol = EXACT * max(1, np.abs(expected).max())
    np.testing.assert_allclose(level(head.held_out_logits_), expected, atol=atol)


@pytest.mark.parametrize(("n", "d"), [(24, 4), (12, 20)])
def test_a_row_of_weight_two_is_two_rows_of_which_one_is_left_out(n: int, d: int) -> None:
    X, y = blobs(n, d)
    counts = np.arange(n) // 3 % 3 + 1

    head = LDAProbe(shrinkage=0.3).fit(X, y, sample_weight=counts)

    rows, labels = X.repeat(counts, axis=0), y.repeat(counts)
    expected = level(oracle_held_out(rows, labels, 0.3))[np.cumsum(counts) - counts]
    np.testing.assert_allclose(level(head.held_out_logits_), expected, atol=1e-6)
    again = LDAProbe(shrinkage=0.3).fit(rows, labels)
    np.testing.assert_allclose(head.coef_, again.coef_, atol=EXACT)
    np.testing.assert_allclose(head.intercept_, again.intercept_, atol=EXACT)


@pytest.mark.parametrize(("n", "d"), [(80, 5), (12, 30)])
@pytest.mark.parametrize("shrinkage", [0.1, 0.6])
def test_probe_is_scikit_learns_discriminant_analysis(n: int, d: int, shrinkage: float) -> None:
    X, y = blobs(n, d)

    head = LDAProbe(shrinkage=shrinkage).fit(X, y)

    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X, y)
    np.testing.assert_allclose(
        level(head.decision_function(X)), level(theirs.decision_function(X)), atol=1e-6
    )


@pytest.mark.parametrize(("n", "d"), [(120, 16), (12, 64), (24, 300)])
def test_float32_held_out_logits_are_near_those_of_float64(n: int, d: int) -> None:
    X, y = blobs(n, d)
    X /= np.linalg.norm(X, axis=1, keepdims=True)

    for shrinkage in (0.01, 0.2, 0.9):
        half = LDAProbe(shrinkage=shrinkage).fit(X.astype(np.float32), y)
        full = LDAProbe(shrinkage=shrinkage).fit(X, y)
        expected = level(full.held_out_logits_)
        assert half.held_out_logits_.dtype == half.coef_.dtype == np.float32
        np.testing.assert_allclose(
            level(half.held_out_logits_), expected, atol=HALF * np.abs(expected).max()
        )


@pytest.mark.parametrize(("n", "d"), [(60, 5), (15, 40)])
def test_shrinkage_is_that_of_the_least_calibrated_log_loss(n: int, d: int) -> None:
    X, y = blobs(n, d, seed=2)

    head = LDAProbe().fit(X, y)

    losses = []
    for shrinkage in SHRINKAGES:
        logits = oracle_held_out(X, y, shrinkage)
        losses.append(class_losses(logits / fit_temperature(logits, y), y).mean())
    assert head.shrinkage_ == SHRINKAGES[int(np.argmin(losses))]
    assert head.tuned_ == {"shrinkage": head.shrinkage_}
    assert head.temperature_ == pytest.approx(fit_temperature(head.held_out_logits_, y))


def test_a_row_alone_in_its_class_gets_laplaces_probability() -> None:
    X, y = blobs(21, 4, 2)
    y[0] = 2

    head = LDAProbe().fit(X, y)

    row = head.held_out_logits_[0]
    assert np.exp(row[2]) / np.exp(row).sum() == pytest.approx(1 / 22)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "d"), [(6, 30), (6, 4), (40, 60)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_one_row_a_class_makes_for_the_nearest_row(dtype: str, n: int, d: int, size: float) -> None:
    rng = np.random.default_rng(0)
    X, Q = (size * rng.normal(size=(n, d)).astype(dtype) for n in (n, 300))

    head = LDAProbe().fit(X, np.arange(n))

    nearest = ((Q[:, None].astype(np.float64) - X) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(head.predict(Q), nearest)


def test_equal_rows_within_classes_make_for_the_nearest_class() -> None:
    centres = np.random.default_rng(1).normal(size=(4, 20))
    X, y = np.repeat(centres, 3, axis=0), np.repeat(np.arange(4), 3)

    head = LDAProbe().fit(X, y)

    assert np.isfinite(head.held_out_logits_).all()
    np.testing.assert_array_equal(head.held_out_logits_.argmax(axis=1), y)
    np.testing.assert_array_equal(head.predict(centres + 0.01), np.arange(4))


@few_examples
@given(st.permutations(range(30)), st.sampled_from([4, 50]))
def test_order_of_rows_does_not_matter(order: list[int], d: int) -> None:
    X, y = blobs(30, d)

    plain, shuffled = LDAProbe().fit(X, y), LDAProbe().fit(X[order], y[order])

    assert shuffled.shrinkage_ == plain.shrinkage_
    np.testing.assert_allclose(shuffled.coef_, plain.coef_, atol=1e-6)
    np.testing.assert_allclose(
        level(shuffled.held_out_logits_), level(plain.held_out_logits_[order]), atol=1e-6
    )


@few_examples
@given(st.floats(1e-3, 1e3), st.integers(0, 9))
def test_size_and_place_of_the_rows_do_not_matter(size: float, seed: int) -> None:
    X, y = blobs(30, 4)
    move = np.random.default_rng(seed).normal(size=4)

    head, moved = LDAProbe().fit(X, y), LDAProbe().fit(size * (X + move), y)

    np.testing.assert_allclose(
        level(moved.decision_function(size * (X + move))),
        level(head.decision_function(X)),
        atol=1e-6,
    )


@pytest.mark.parametrize("shrinkage", [0.0, 1.0, -0.1, float("nan"), [], [0.5, 2.0]])
def test_a_shrinkage_out_of_range_is_refused(shrinkage: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"shrinkage = .*; expected values between 0 and 1"):
        LDAProbe(shrinkage=shrinkage).fit(*blobs())


def test_tags_are_refused() -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="y is a matrix of tags; expected one class a row"):
        LDAProbe().fit(X, np.eye(3, dtype=int)[y])
