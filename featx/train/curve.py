"""How accuracy grows with the number of labels, and what doubling them would bring."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.interval import wilson_interval
from featx.heads.folds import deal_folds, stratified_sample
from featx.heads.predict import Head
from featx.train.candidates import fit
from featx.train.material import Material, lost_classes
from featx.train.recipe import FOLDS

_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.8)
_EXPONENTS = np.linspace(0.1, 1.5, 29)
_RESAMPLES = 200
_LEAST_ROWS = 40


def require_enough(material: Material) -> None:
    """Raise if there are too few rows for a curve.

    Raises
    ------
    InputError
    """
    # Five a class give three sizes or more, and a class that is in every fifth.
    least = max(_LEAST_ROWS, FOLDS * len(material.names))
    if len(material) < least:
        message = (
            f"curve: {len(material)} different rows of {len(material.names)} classes;"
            f" needs {least} or more; label more, or leave the curve out"
        )
        raise InputError(message)


def learning_curve(material: Material, kind: str, *, seed: int) -> dict[str, Any]:
    """Return accuracies at growing numbers of labels, and where they lead.

    Each fifth of the rows is left out in turn; for each size, a head of one kind is fitted to a
    stratified draw of the others and scored on that fifth.  An inverse power law ``a - b n^-c`` is
    fitted to the means (Cortes, Jackel, Solla, Vapnik and Denker 1993, "Learning curves:
    asymptotic values and rate of convergence").  Its interval comes from drawing the fifths again,
    and so does not know whether the law holds beyond them; fifths that are all right tell nothing
    of how sure that is, so that it is never narrower than Wilson's of the rows that were scored.

    Parameters
    ----------
    material : Material
        Of classes, no two rows nearly equal; see `require_enough`.
    kind : str
        Of head.
    seed : int

    Returns
    -------
    dict
        ``points`` (``n``, ``accuracy``, ``low`` and ``high`` of the fifths), ``now`` and
        ``doubled`` (``n``, ``accuracy``, ``interval``: 95 %).
    """
    parts = [_part(material, fold, seed) for fold in range(FOLDS)]
    most = min(len(rest) for rest, _ in parts)
    least = 2 * len(material.names)
    wanted = {min(max(least, round(share * len(material))), most) for share in _SHARES}
    points = [_measured(parts, size, kind, seed) for size in sorted(wanted)]
    sizes = np.array([n for n, _ in points], dtype=np.float64)
    accuracies = np.array([of_parts for _, of_parts in points])
    ends = [len(material), 2 * len(material)]
    rng = np.random.default_rng(seed)
    draws = rng.integers(FOLDS, size=(_RESAMPLES, FOLDS))
    drawn = np.array(
        [_extrapolated(sizes, accuracies[:, each].mean(axis=1), ends) for each in draws]
    )
    found = _extrapolated(sizes, accuracies.mean(axis=1), ends)
    scored = sum(len(test) for _, test in parts)
    now, doubled = (
        {"n": n, "accuracy": at, "interval": _interval(at, of_draws, scored)}
        for n, at, of_draws in zip(ends, found, drawn.T, strict=True)
    )
    return {"points": [_described(*point) for point in points], "now": now, "doubled": doubled}


def _interval(accuracy: float, draws: NDArray[np.float64], scored: int) -> list[float]:
    """Return the 95 % interval of an accuracy by draws of it, as wide as so many rows allow."""
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    least, most = wilson_interval(accuracy * scored, scored)
    return [min(low, least), max(high, most)]


def _part(material: Material, fold: int, seed: int) -> tuple[Material, Material]:
    """Return the rows to draw from, and those to score on."""
    is_test = deal_folds(material.y, FOLDS, seed=seed) == fold
    # Heads have to know every class that they are scored on.
    is_test &= ~lost_classes(material, ~is_test)[material.y]
    return material.take(~is_test), material.take(is_test)


def _measured(
    parts: list[tuple[Material, Material]], size: int, kind: str, seed: int
) -> tuple[int, list[float]]:
    """Return how many rows were drawn, and the accuracy on each part."""
    accuracies, sizes = [], []
    for number, (rest, test) in enumerate(parts):
        drawn = rest.take(stratified_sample(rest.y, size, seed=seed + number))
        accuracies.append(_accuracy(drawn, test, kind, seed))
        sizes.append(len(drawn))
    return round(np.mean(sizes)), accuracies


def _described(n: int, accuracies: list[float]) -> dict[str, float]:
    mean = float(np.mean(accuracies))
    return {"n": n, "accuracy": mean, "low": min(accuracies), "high": max(accuracies)}


def _accuracy(drawn: Material, test: Material, kind: str, seed: int) -> float:
    """Return the share of test rows that a head fitted to `drawn` gets right."""
    seen, codes = np.unique(drawn.y, return_inverse=True)
    names = tuple(drawn.names[code] for code in seen)
    known = Material(task="classify", rows=drawn.rows, names=names, y=codes.astype(np.int64))
    fitted = fit(kind, known, seed=seed)
    head = Head(kind=fitted.kind, classes=names, arrays=fitted.arrays)
    predicted = seen[head.logits(test.rows.X).argmax(axis=1)]
    return float(np.mean(predicted == test.y))


def _extrapolated(
    n: NDArray[np.float64], means: NDArray[np.float64], sizes: list[int]
) -> tuple[float, ...]:
    """Return the accuracies at `sizes` of the power law that fits the means at `n` best."""
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
