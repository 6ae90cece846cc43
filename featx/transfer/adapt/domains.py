"""The two sides of an adaptation: the domain that a head knows, and rows of another."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments, measure_classes
from featx.heads.ridge import RidgeProbe
from featx.heads.ridgepath import RidgePath
from featx.transfer.adapt.linear import Linear, ridge


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRows:
    """Labelled rows of the source, with what a head says of each that has not seen it.

    Attributes
    ----------
    X : ndarray of float32 or float64, shape (N, D)
    codes : ndarray of int64, shape (N,)
    held_out : ndarray, shape (N, C)
        Logits of each row by the head that is adapted, fitted without it.
    """

    X: NDArray[Any]
    codes: NDArray[np.int64]
    held_out: NDArray[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, kept: NDArray[np.int64]) -> "SourceRows":
        """Return some of the rows."""
        return SourceRows(X=self.X[kept], codes=self.codes[kept], held_out=self.held_out[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is known of the source domain.

    Attributes
    ----------
    moments : Moments
        Of its rows and the indicators of their C classes.
    base : Linear
        The head that is adapted.
    refit : Linear
        The ridge head of `moments`, which some methods solve anew with rows of the target.
    alpha : float
        Its penalty.
    rows : SourceRows or None
        None where only sums over the rows are known.
    handicap : float
        By how much `base` is worse on held-out rows of the source than the head it stands for.
    """

    moments: Moments
    base: Linear
    refit: Linear
    alpha: float
    rows: SourceRows | None = None
    handicap: float = 0.0

    @property
    def prior(self) -> NDArray[np.float64]:
        """Share of each class, shape (C,)."""
        return self.moments.target_mean

    @property
    def is_blind(self) -> bool:
        """Whether the classes have one mean, up to rounding: of equal rows, for one."""
        apart = np.abs(self.moments.class_means() - self.moments.mean)
        eps = np.finfo(self.base.coef.dtype).eps
        return bool((apart <= eps * np.abs(self.moments.mean)).all())

    def solved(self, moments: Moments) -> Linear:
        """Return the ridge head of other moments, at the same penalty and temperature."""
        found = ridge(moments, self.alpha, dtype=self.base.coef.dtype)
        return replace(found, temperature=self.refit.temperature)


def source_of_rows(
    X: NDArray[Any],
    codes: NDArray[np.int64],
    n_classes: int,
    *,
    base: Linear | None = None,
    held_out: NDArray[Any] | None = None,
) -> Source:
    """Return the source domain of labelled rows.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)
    codes : ndarray of int64, shape (N,)
        Each class is there.
    n_classes : int
    base : Linear, optional
        The head that is adapted; by default a ridge head of the rows, tuned by leave-one-out.
    held_out : ndarray, shape (N, C), optional
        Logits of each row by the head that is adapted, fitted without it; by default those of the
        ridge head.
    """
    probe = RidgeProbe().fit(X, codes)
    own = probe.held_out_logits_
    held_out = own if held_out is None else held_out
    hits = [float((logits.argmax(axis=1) == codes).mean()) for logits in (held_out, own)]
    refit = Linear(
        coef=probe.coef_, intercept=probe.intercept_, temperature=float(probe.temperature_)
    )
    return Source(
        moments=measure_classes(X, codes, n_classes),
        base=refit if base is None else base,
        refit=refit,
        alpha=float(probe.alpha_),
        rows=SourceRows(X=X, codes=codes, held_out=held_out),
        handicap=hits[0] - hits[1] if base is None else 0.0,
    )


def source_of_moments(moments: Moments, base: Linear) -> Source:
    """Return a source domain of which only sums are known.

    The penalty is that of the least generalised cross-validation error, and the temperature of the
    ridge head that of the head: without rows neither can be told by leaving any out.

    Parameters
    ----------
    moments : Moments
    base : Linear
        The head that is adapted.
    """
    path = RidgePath(moments)
    alpha = float(path.alphas[path.generalised_errors().sum(axis=1).argmin()])
    refit = replace(ridge(moments, alpha, dtype=base.coef.dtype), temperature=base.temperature)
    return Source(moments=moments, base=base, refit=refit, alpha=alpha)
