"""Ridge predictions of rows that were left out together with all rows of their group."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments, measure_classes, row_blocks
from featx.heads.rowspace import narrow_exactly
from featx.types import Rows

Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupsOut:
    """A ridge classifier that can tell what rows get without any group of them.

    The classifier is that of `featx.heads.ridge.RidgeProbe` with one penalty: targets of 1 and -1,
    an intercept that is not penalised.  Exact, without a fit for each group: with
    ``K = 1/N + (x - mean)' (S + alpha I)^-1 (x' - mean)`` between rows of a group, S the scatter
    of all N rows and r the residuals of a fit to them, the residuals without the group are
    ``(I - K)^-1 r`` (Rifkin and Lippert 2007, "Notes on regularized least squares", for a group
    instead of a row).  A group of more rows than columns is taken out of the sums instead.

    Attributes
    ----------
    rows : ndarray of float32 or float64, shape (N, R)
        In the coordinates that they span.
    points : ndarray of float32 or float64, shape (N, R)
        Those in which the penalised scatter is the identity.
    codes : ndarray of int64, shape (N,)
        Classes.
    fit : Fit
        To all rows.
    """

    rows: NDArray[Any]
    points: NDArray[Any]
    codes: Rows
    fit: "Fit"

    @classmethod
    def of(cls, X: NDArray[Any], codes: Rows, *, n_classes: int, alpha: float) -> Self:
        """Fit to rows `X` (N, D); cost O(N D min(N, D)).

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (N, D)
        codes : ndarray of int64, shape (N,)
        n_classes : int
        alpha : float, above 0
        """
        rows = narrow_exactly(X).rows
        fit = Fit.of(measure_classes(rows, codes, n_classes), alpha)
        points = np.empty_like(rows)
        for part in row_blocks(rows):
            points[part] = fit.whitened(rows[part])
        return cls(rows, points, codes, fit)

    def without(self, groups: Rows) -> NDArray[np.float32]:
        """Return decision values (N, C) of each row by a fit to all other groups.

        A group of n rows costs O(n^2 D + n^3), or O(D^3).

        Parameters
        ----------
        groups : ndarray of int64, shape (N,)
            Rows of one number are left out together; of one group alone nothing is known, and all
            its values are 0.

        Examples
        --------
        >>> X = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> fitted = GroupsOut.of(X, np.array([0, 1, 1, 0]), n_classes=2, alpha=1.0)
        >>> fitted.without(np.arange(4)).argmax(axis=1).tolist()
        [1, 0, 0, 1]
        """
        logits = np.zeros((len(self.codes), self.fit.coef.shape[1]), np.float32)
        alone, shared = _members(groups)
        for part in row_blocks(alone):
            logits[alone[part]] = self._one_by_one(alone[part])
        for rows in shared:
            if len(rows) < len(self.codes):
                is_large = len(rows) > self.rows.shape[1]
                logits[rows] = self._taken_out(rows) if is_large else self._solved_within(rows)
        return logits

    def _one_by_one(self, rows: Rows) -> Sums:
        points = self.points[rows].astype(np.float64)
        leverages = np.einsum("nd,nd->n", points, points) + 1 / self.fit.moments.weight
        # A row that alone decides its own prediction has leverage 1.
        rest = np.maximum(1 - leverages, np.finfo(self.points.dtype).eps)
        residuals = self.fit.residuals(points, self.codes[rows])
        return np.asarray(self.fit.targets(self.codes[rows]) - residuals / rest[:, None])

    def _solved_within(self, rows: Rows) -> Sums:
        """Return what rows get without all of them, from their products with each other."""
        points = self.points[rows].astype(np.float64)
        rest = np.eye(len(rows)) - points @ points.T - 1 / self.fit.moments.weight
        residuals = self.fit.residuals(points, self.codes[rows])
        return self.fit.targets(self.codes[rows]) - np.linalg.solve(rest, residuals)

    def _taken_out(self, rows: Rows) -> Sums:
        """Return what rows get without all of them, from the sums over all other rows."""
        own = measure_classes(self.rows[rows], self.codes[rows], self.fit.coef.shape[1])
        rest = Fit.of(self.fit.moments.minus(own), self.fit.alpha)
        return rest.predicted(rest.whitened(self.rows[rows]))


@dataclass(frozen=True, slots=True)
class Fit:
    """A ridge classifier, in coordinates in which the penalised scatter is the identity.

    Attributes
    ----------
    moments : Moments
    alpha : float
    whiten : ndarray of float64, shape (R, R)
    coef : ndarray of float64, shape (R, C)
        As it applies to whitened rows.
    """

    moments: Moments
    alpha: float
    whiten: Sums
    coef: Sums

    @classmethod
    def of(cls, moments: Moments, alpha: float) -> Self:
        """Solve from the sums over rows and the indicators of their classes."""
        unit = np.eye(len(moments.scatter))
        root = np.linalg.cholesky(moments.scatter + alpha * unit)
        whiten = np.linalg.solve(root, unit).T
        return cls(moments, alpha, whiten, 2 * whiten.T @ moments.cross)

    def whitened(self, X: NDArray[Any]) -> Sums:
        """Return rows (n, R) in these coordinates."""
        return np.asarray((X - self.moments.mean) @ self.whiten)

    def predicted(self, points: Sums) -> Sums:
        """Return decision values (n, C) of whitened rows."""
        return points @ self.coef + 2 * self.moments.target_mean - 1

    def targets(self, codes: Rows) -> Sums:
        """Return 1 for the class of each row and -1 for others, (n, C)."""
        found = np.full((len(codes), self.coef.shape[1]), -1.0)
        found[np.arange(len(codes)), codes] = 1
        return found

    def residuals(self, points: Sums, codes: Rows) -> Sums:
        """Return targets less predictions, (n, C)."""
        return self.targets(codes) - self.predicted(points)


def _members(groups: Rows) -> tuple[Rows, Iterator[Rows]]:
    """Return the rows that are alone in their group, and the rows of each other group."""
    _, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(of_row, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return np.flatnonzero(sizes[of_row] == 1), (rows for rows in parts if len(rows) > 1)
