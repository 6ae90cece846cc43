"""Fitting any scikit-learn estimator, to all rows and without each fold in turn."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from threadpoolctl import threadpool_limits

from featx.heads.foreign_graph import estimator_logits, in_one_line


class Fit(NamedTuple):
    """What is to be fitted; a tuple, so that another process gets its arrays without a copy."""

    name: str
    estimator: Any
    X: NDArray[np.float32]
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None
    n_columns: int

    def part(self, kept: NDArray[np.bool_]) -> "Fit":
        """Return the same with some of the rows."""
        weights = None if self.weights is None else self.weights[kept]
        return self._replace(X=self.X[kept], targets=self.targets[kept], weights=weights)


def fitted(fit: Fit) -> tuple[Any, list[str]]:
    """Return a fitted copy of the estimator, and what scikit-learn warned of."""
    extra = {} if fit.weights is None else {"sample_weight": fit.weights}
    says = in_one_line(f"sklearn:{fit.name}: scikit-learn says: ")
    with says, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = clone(fit.estimator).fit(fit.X, fit.targets, **extra)
    return made, sorted({str(each.message).strip().splitlines()[0] for each in caught})


def held_out_logits(fit: Fit, folds: NDArray[np.int64], n_jobs: int | None) -> NDArray[np.float32]:
    """Return the logits of each row by a fit to the other folds."""
    numbers = range(int(folds.max()) + 1)
    parts = Parallel(n_jobs=n_jobs)(delayed(_fold)(fit, folds == number) for number in numbers)
    logits = np.empty((len(fit.X), fit.n_columns), dtype=np.float32)
    for number, part in zip(numbers, parts, strict=True):
        logits[folds == number] = part
    return logits


def _fold(fit: Fit, held_out: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the logits of the held-out rows by a fit to the others.

    One BLAS thread, in this process too: processes that share the cores do not gain by more, and
    the result is the same for any number of processes.
    """
    rest, rows = fit.part(~held_out), fit.X[held_out]
    with threadpool_limits(1, user_api="blas"):
        if not is_classifier(fit.estimator):
            return estimator_logits(fitted(rest)[0], rows, name=fit.name)
        seen, codes = np.unique(rest.targets, return_inverse=True)
        known = np.zeros((len(rows), 1))
        if len(seen) > 1:
            made, _ = fitted(rest._replace(targets=codes))
            known = estimator_logits(made, rows, name=fit.name)
    total = np.logaddexp.reduce(known, axis=1)
    logits = np.empty((len(rows), fit.n_columns))
    logits[:] = (total - np.log(len(rest.X) + 1))[:, None]
    logits[:, seen] = known
    return logits
