"""A scikit-learn face of adaptation: `fit` takes the rows of the target too."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import InputError
from featx.heads.base import LinearHead, read_labels, read_queries, read_rows
from featx.transfer.adapt.domains import source_of_rows
from featx.transfer.adapt.recipe import AUTO, Recipe
from featx.transfer.adapt.shift import measure_shift
from featx.transfer.adapt.solve import Problem, Solved, solve


class AdaptedProbe(LinearHead):
    """A ridge classifier of labelled rows, adapted to rows of another domain.

    Parameters
    ----------
    method : str, default "auto"
        As for `featx.transfer.adapt.recipe.Recipe`: ``"auto"`` chooses among the methods, or
        leaves the classifier as it is; ``"labelled"`` reads `y_target`.
    random_state : int, default 0

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    coef_ : ndarray, shape (C, D)
    intercept_ : ndarray, shape (C,)
    temperature_ : float
        Divides the logits in `predict_proba`; of the source, unless there are labels of the target.
    held_out_logits_ : ndarray, shape (N, C)
        Of each row of the source by the unadapted classifier of all others.
    is_adapted_ : bool
    method_ : str or None
        What was done; None where nothing was.
    reason_ : str
        Why, or why not.
    tuned_ : dict
        ``alpha`` and ``method``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = np.repeat([[0.0, 0.0], [4.0, 0.0]], 50, axis=0), np.repeat(["a", "b"], 50)
    >>> X += rng.normal(size=X.shape)
    >>> probe = AdaptedProbe("centre").fit(X, y, X + [3.0, 1.0])
    >>> probe.predict([[3.0, 1.0], [7.0, 1.0]]).tolist()
    ['a', 'b']
    """

    is_adapted_: bool
    method_: str | None
    reason_: str

    def __init__(self, method: str = AUTO, *, random_state: int = 0) -> None:
        self.method = method
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_target: ArrayLike | None = None,
        y_target: ArrayLike | None = None,
    ) -> Self:
        """Fit to labelled rows of the source and rows of the target.

        Parameters
        ----------
        X : array-like, shape (N, D)
        y : array-like, shape (N,)
        X_target : array-like, shape (M, D), optional
            Without them nothing is adapted.
        y_target : array-like, shape (M,), optional
            None where a row has no label.  Only the method ``"labelled"`` reads them.

        Raises
        ------
        InputError
            If `y` holds one class, the target is of another width or too small for the method, or
            its labels are missing or strange.
        UnknownNameError
            If there is no such method.
        """
        recipe = Recipe(method=self.method, seed=self.random_state)
        rows, y = read_rows(self, X, y)
        labels = read_labels(self, y, None, tags=False)
        self.classes_ = labels.classes
        source = source_of_rows(rows, labels.codes, len(labels.classes))
        if X_target is None:
            solved = Solved(linear=source.base, reason="there are no rows of a target")
        else:
            Z = read_queries(self, X_target).astype(rows.dtype, copy=False)
            names = tuple(map(str, self.classes_.tolist()))
            shift = measure_shift(source, Z, names, seed=self.random_state)
            codes, before = self._codes(y_target, len(Z)), source.base.codes(Z)
            problem = Problem(source=source, X=Z, before=before, codes=codes, shift=shift)
            solved = solve(problem, recipe)
        self.coef_, self.intercept_ = solved.linear.coef, solved.linear.intercept
        self.temperature_, self.scale_, self.shift_ = solved.linear.temperature, None, None
        assert source.rows is not None
        self.held_out_logits_ = source.rows.held_out
        self.is_adapted_, self.method_ = solved.method is not None, solved.method
        self.reason_ = solved.reason
        self.tuned_ = {"alpha": source.alpha, "method": solved.method or "none"}
        return self

    def _codes(self, y_target: ArrayLike | None, n_rows: int) -> NDArray[np.int64]:
        """Return the column of each label of the target, -1 where there is none."""
        if y_target is None:
            return np.full(n_rows, -1, dtype=np.int64)
        given = np.asarray(y_target, dtype=object)
        if given.shape != (n_rows,):
            message = f"AdaptedProbe: y_target of shape {given.shape}; expected ({n_rows},)"
            raise InputError(message)
        position: dict[Any, int] = {each: code for code, each in enumerate(self.classes_.tolist())}
        strange = [each for each in given.tolist() if each is not None and each not in position]
        if strange:
            known = ", ".join(map(str, position))[:200]
            message = (
                f"AdaptedProbe: y_target holds {strange[0]!r}; expected None or one of {known}"
            )
            raise InputError(message)
        codes = [-1 if each is None else position[each] for each in given.tolist()]
        return np.array(codes, dtype=np.int64)
