"""The head that is solved on frozen embeddings: where training starts, and what it has to beat."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.finetune.material import Material
from featx.heads.linear import LinearProbe
from featx.types import Rows, Vectors


@dataclass(frozen=True, slots=True)
class Solved:
    """A linear head.

    Attributes
    ----------
    weight : ndarray of float32, shape (C, D)
    bias : ndarray of float32, shape (C,)
    tuned : dict
        How it was regularised, as JSON values.
    """

    weight: Vectors
    bias: NDArray[np.float32]
    tuned: dict[str, Any]

    def logits(self, X: Vectors) -> NDArray[np.float32]:
        """Return the logits (N, C) of embeddings (N, D)."""
        return np.asarray(X @ self.weight.T + self.bias)


def solve(material: Material, rows: Rows, *, seed: int) -> Solved:
    """Return the logistic regression of some rows, its penalty chosen by folds of them.

    No column is divided by its spread: a column that hardly varies would get a huge weight, and
    the first step of training would blow the loss up.

    Parameters
    ----------
    material : Material
    rows : ndarray of int64
        All classes are among them.
    seed : int
        Deals the folds.
    """
    probe = LinearProbe(random_state=seed)
    groups = material.groups[rows]
    has_twins = len(np.unique(groups)) < len(groups)
    probe.fit(material.X[rows], material.y[rows], groups=groups if has_twins else None)
    weight = np.ascontiguousarray(probe.coef_, dtype=np.float32)
    return Solved(weight, probe.intercept_.astype(np.float32), probe.tuned_)
