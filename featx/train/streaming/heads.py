"""Heads solved from the sums of all rows, with held-out logits of the sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.heads.calibration import class_losses, fit_temperature
from featx.heads.centroid import CentroidProbe
from featx.heads.labels import Labels
from featx.heads.lda import SHRINKAGES, LDAPath
from featx.heads.moments import Moments
from featx.heads.ridgepath import LeaveOneOut, RidgePath
from featx.train.candidates import Fitted
from featx.train.streaming.plan import Plan
from featx.train.streaming.statistics import Sample, Scores, Solved

KINDS = ("ridge", "lda", "centroid")
"""Kinds of heads that sums are enough for, those preferred among equals first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What both readings gave.

    Attributes
    ----------
    plan : Plan
    moments : Moments
        Of all rows that count.
    sample : Sample
    solved : Solved
    scores : Scores
    """

    plan: Plan
    moments: Moments
    sample: Sample
    solved: Solved
    scores: Scores

    @property
    def labels(self) -> Labels:
        """Classes of the rows of the sample."""
        return Labels(np.array(self.plan.classes, dtype=object), self.sample.codes)

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How much each row of the sample counts, shape (n,); None where all count alike."""
        return self.plan.weights(self.sample.codes)


def solved_for(kinds: tuple[str, ...], moments: Moments) -> Solved:
    """Return what the second reading needs for some kinds of heads."""
    return Solved(
        path=RidgePath(moments) if "ridge" in kinds else None,
        centre=moments.mean.astype(np.float32) if "centroid" in kinds else None,
    )


def fit_gathered(kind: str, gathered: Gathered) -> Fitted:
    """Return a head of one kind, with exact leave-one-out logits of each row of the sample.

    It is the head that `featx.train.candidates.fit` makes of all rows, up to rounding.  The
    penalty of ridge is chosen by all rows, as there; the shrinkage of lda by those of the sample.

    Raises
    ------
    InputError
        If sums are not enough for this kind.
    """
    makers = {"ridge": _ridge, "lda": _lda, "centroid": _centroid}
    if kind not in makers:
        message = (
            f"head {kind!r}: needs all rows at once; choose one of: auto, {', '.join(KINDS)}, "
            "or leave --streaming out"
        )
        raise InputError(message)
    return makers[kind](gathered)


def _ridge(gathered: Gathered) -> Fitted:
    path, sample, scores = gathered.solved.path, gathered.sample, gathered.scores
    assert path is not None
    found = path.leave_one_out(sample.X, None, codes=sample.codes, sign=2)
    everything = LeaveOneOut(path.alphas, found.leverages, scores.hits, scores.errors)
    best = everything.best_classifier()
    coef, intercept = path.solution(best, np.float32, sign=2)
    targets = gathered.labels.targets(np.float32)
    held_out = found.without_itself(best, sample.X @ coef.T + intercept, targets)
    return _fitted("ridge", coef, intercept, held_out, {"alpha": float(path.alphas[best])})


def _lda(gathered: Gathered) -> Fitted:
    sample = gathered.sample
    rounding = float(np.finfo(np.float32).eps)
    path = LDAPath(gathered.moments, n_dimensions=sample.X.shape[1], rounding=rounding)
    shrinkage = min(SHRINKAGES, key=lambda each: _loss(path, each, gathered))
    held_out = path.leave_one_out(sample.X, sample.codes, None, shrinkage)
    coef, intercept = path.solution(shrinkage, np.float32)
    return _fitted("lda", coef, intercept, held_out, {"shrinkage": shrinkage})


def _loss(path: LDAPath, shrinkage: float, gathered: Gathered) -> float:
    """Return the calibrated log loss of the rows of the sample, each left out, as of the set."""
    sample, weights = gathered.sample, gathered.weights
    logits = path.leave_one_out(sample.X, sample.codes, None, shrinkage)
    logits /= logits.dtype.type(fit_temperature(logits, sample.codes, weights))
    return float(np.average(class_losses(logits, sample.codes), weights=weights))


def _centroid(gathered: Gathered) -> Fitted:
    centre, sample = gathered.solved.centre, gathered.sample
    assert centre is not None
    head = CentroidProbe.of_sums(
        centre, gathered.scores.sums, gathered.moments.class_weights().round()
    )
    held_out = head.without_each(sample.X, sample.codes)
    return Fitted(kind="centroid", arrays=head.head_arrays(), logits=held_out, tuned={})


def _fitted(
    kind: str,
    coef: NDArray[Any],
    intercept: NDArray[Any],
    held_out: NDArray[Any],
    tuned: dict[str, Any],
) -> Fitted:
    arrays = {"coef": coef, "intercept": intercept}
    return Fitted(kind=kind, arrays=arrays, logits=held_out, tuned=tuned)
