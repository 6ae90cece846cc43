"""LogME is the largest evidence of its linear models."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from featx.transfer.logme import logme


def oracle(X: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """Maximise the density of each indicator, a Gaussian of covariance X X' / a + I / b."""
    found = []
    for code in np.unique(codes):
        t = (codes == code).astype(float)

        def loss(logs: NDArray[np.float64], t: NDArray[np.float64] = t) -> float:
            C = X @ X.T * np.exp(logs[0]) + np.eye(len(X)) * np.exp(logs[1])
            return float(np.linalg.slogdet(2 * np.pi * C)[1] + t @ np.linalg.solve(C, t)) / 2

        found.append(-min(minimize(loss, [s, -2.0], method="Nelder-Mead").fun for s in (-4.0, 0.0)))
    return float(np.mean(found) / len(X))


@pytest.mark.parametrize("width", [3, 12, 60])
def test_it_is_the_largest_evidence_whatever_the_shape(width: int) -> None:
    rng = np.random.default_rng(width)
    codes = np.arange(40) % 3
    X = rng.normal(size=(40, width)) + 0.7 * np.eye(3, width)[codes]

    assert logme(X, codes, 3) == pytest.approx(oracle(X, codes), abs=2e-4)


def test_float32_rows_of_any_scale_give_the_same() -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(300) % 4
    X = (rng.normal(size=(300, 20)) + np.eye(4, 20)[codes] + 0.3).astype(np.float32)

    exact = logme(X.astype(np.float64), codes, 4)

    assert logme(X, codes, 4) == pytest.approx(exact, abs=1e-5)
    assert logme(X * np.float32(1e4), codes, 4) == pytest.approx(exact, abs=1e-5)
    assert logme(X * np.float32(1e-4), codes, 4) == pytest.approx(exact, abs=1e-5)


def test_rows_that_say_more_of_the_labels_have_more() -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 2
    noise = rng.normal(size=(200, 10))
    told = [logme(noise + step * np.eye(2, 10)[codes], codes, 2) for step in (0, 0.5, 1, 2, 4)]

    assert told == sorted(told)


def test_rows_without_any_spread_have_an_evidence_too() -> None:
    codes = np.arange(10) % 2

    # Noise of variance 1/2 around 0, the mean square of an indicator of every second row.
    plain = -(np.log(2 * np.pi / 2) + 1) / 2
    assert logme(np.zeros((10, 3)), codes, 2) == pytest.approx(plain, abs=1e-9)
