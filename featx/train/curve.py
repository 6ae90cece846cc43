"""How accuracy grows with the number of labels, and what doubling them would bring."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.folds import deal_folds, stratified_sample
from featx.train.candidates import fit
from featx.train.material import Material

DRAWS = 6
_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.8)
_EXPONENTS = np.linspace(0.1, 1.5, 29)
_RESAMPLES = 200
LEAST_ROWS = 40


@dataclass(frozen=True, slots=True)
class _Point:
    """Accuracies of heads that were fitted to `n` rows."""

    n: int
    accuracies: NDArray[np.float64]


def learning_curve(material: Material, kind: str, *, seed: int) -> dict[str, Any] | None:
    """Return accuracies at growing numbers of labels, and where they lead.

    For each size, heads of one kind are fitted to six stratified draws and scored on rows that
    none of the draws holds, a fifth of all.  An inverse power law ``a - b n^-c`` is fitted to the
    means (Cortes, Jackel, Solla, Vapnik and Denker 1993, "Learning curves: asymptotic values and
    rate of convergence"); its interval comes from drawing the accuracies of each size again, and
    so does not know whether the law holds beyond them.

    Parameters
    ----------
    material : Material
        Of classes.
    kind : str
        Of head.
    seed : int

    Returns
    -------
    dict or None
        ``points`` (``n``, ``accuracy``, ``low`` and ``high`` of the draws), ``now`` and
        ``doubled`` (``n``, ``accuracy``, ``interval``: 95 %).  None with fewer than forty rows.
    """
    if material.task != "classify" or len(material) < LEAST_ROWS:
        return None
    is_test = deal_folds(material.y, 5, seed=seed) == 0
    rest, test = material.take(~is_test), material.take(is_test)
    points = [
        _measured(
            rest, test, max(2 * len(material.names), round(share * len(material))), kind, seed
        )
        for share in _SHARES
    ]
    points = [point for point in {point.n: point for point in points}.values() if point.n]
    now, doubled = len(material), 2 * len(material)
    rng = np.random.default_rng(seed)
    resampled = [
        [_Point(p.n, rng.choice(p.accuracies, len(p.accuracies))) for p in points]
        for _ in range(_RESAMPLES)
    ]
    drawn = np.array([_extrapolated(each, [now, doubled]) for each in resampled])
    at_now, at_doubled = _extrapolated(points, [now, doubled])
    return {
        "points": [
            {
                "n": point.n,
                "accuracy": float(point.accuracies.mean()),
                "low": float(point.accuracies.min()),
                "high": float(point.accuracies.max()),
            }
            for point in points
        ],
        "now": {"n": now, "accuracy": at_now, "interval": _interval(drawn[:, 0])},
        "doubled": {"n": doubled, "accuracy": at_doubled, "interval": _interval(drawn[:, 1])},
    }


def _measured(rest: Material, test: Material, n: int, kind: str, seed: int) -> _Point:
    accuracies = []
    for draw in range(DRAWS):
        drawn = rest.take(stratified_sample(rest.y, n, seed=seed + draw))
        accuracies.append(_accuracy(drawn, test, kind, seed))
        if n == len(rest):
            break  # every draw is the same
    return _Point(n, np.array(accuracies))


def _accuracy(drawn: Material, test: Material, kind: str, seed: int) -> float:
    """Return the share of test rows that a head fitted to `drawn` gets right."""
    from featx.heads.predict import Head

    seen, codes = np.unique(drawn.y, return_inverse=True)
    names = tuple(drawn.names[code] for code in seen)
    known = Material(task="classify", rows=drawn.rows, names=names, y=codes.astype(np.int64))
    fitted = fit(kind, known, seed=seed)
    head = Head(kind=fitted.kind, classes=names, arrays=fitted.arrays)
    predicted = seen[head.logits(test.rows.X).argmax(axis=1)]
    return float(np.mean(predicted == test.y))


def _extrapolated(points: list[_Point], sizes: list[int]) -> tuple[float, ...]:
    """Return the accuracies at `sizes` of the power law that fits the points best."""
    n = np.array([point.n for point in points], dtype=np.float64)
    means = np.array([point.accuracies.mean() for point in points])
    best: tuple[float, NDArray[np.float64], float] | None = None
    for exponent in _EXPONENTS:
        terms = np.column_stack([np.ones(len(n)), -(n**-exponent)])
        law, *_ = np.linalg.lstsq(terms, means)
        # More labels do not make it worse, and nothing is better than always right.
        if law[1] < 0:
            law = np.array([means.mean(), 0.0])
        law[0] = min(law[0], 1.0)
        error = float(np.square(terms @ law - means).sum())
        if best is None or error < best[0]:
            best = (error, law, float(exponent))
    assert best is not None
    _, (top, drop), exponent = best
    return tuple(float(np.clip(top - drop * size**-exponent, 0, 1)) for size in sizes)


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [float(end) for end in np.quantile(values, [0.025, 0.975])]
