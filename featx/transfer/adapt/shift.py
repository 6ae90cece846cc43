"""How far the target is from the source: what is said before anything is adapted."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.interval import wilson_interval
from featx.heads.predict import TellsNovel
from featx.heads.ridge import RidgeProbe
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.prior import estimate_prior

MOST_ROWS = 2_000
"""Rows of each domain that are told apart, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What differs between the domains.

    Attributes
    ----------
    proxy_a_distance : float or None
        ``2 (1 - 2 error)`` of a ridge head that tells the domains apart, by exact leave-one-out:
        0 where it cannot, 2 where it always can (Ben-David, Blitzer, Crammer and Pereira 2007,
        "Analysis of representations for domain adaptation").  None without rows of the source.
    interval : (float, float) or None
        Of 95 %, of the distance.
    prior : dict of str to float
        Estimated share of each class in the target.
    prior_shift : float
        Half the summed differences to their shares in the source: 0 for none, 1 for all.
    novelty : float or None
        Share of the target's rows that are unlike all that the head was trained on.
    """

    proxy_a_distance: float | None
    interval: tuple[float, float] | None
    prior: dict[str, float]
    prior_shift: float
    novelty: float | None

    @property
    def is_seen(self) -> bool:
        """Whether the domains can be told apart better than by chance."""
        return self.interval is None or self.interval[0] > 0

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def measure_shift(
    source: Source,
    X: NDArray[Any],
    classes: tuple[str, ...],
    novelty: TellsNovel | None = None,
    *,
    seed: int = 0,
) -> Shift:
    """Return what differs between the source and rows `X` (M, D) of the target.

    Parameters
    ----------
    source : Source
    X : ndarray of float32 or float64, shape (M, D)
    classes : tuple of str
    novelty : TellsNovel, optional
        Of the head.
    seed : int, default 0
        Draws the rows that are told apart.
    """
    distance = interval = None
    if source.rows is not None:
        distance, interval = proxy_a_distance(source.rows.X, X, seed=seed)
    prior = estimate_prior(source.base.probabilities(X), source.prior)
    return Shift(
        proxy_a_distance=distance,
        interval=interval,
        prior={name: float(share) for name, share in zip(classes, prior, strict=True)},
        prior_shift=float(np.abs(prior - source.prior).sum() / 2),
        novelty=None if novelty is None else float(novelty.flags(X).mean()),
    )


def proxy_a_distance(
    X: NDArray[Any], Z: NDArray[Any], *, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return how well a linear head tells rows of two domains apart, with its 95 % interval.

    Parameters
    ----------
    X, Z : ndarray of float32 or float64, shape (N, D) and (M, D)
        As many of each are drawn, at most 2,000.
    seed : int, default 0
    """
    rng = np.random.default_rng(seed)
    size = min(len(X), len(Z), MOST_ROWS)
    drawn = [each[np.sort(rng.permutation(len(each))[:size])] for each in (X, Z)]
    is_target = np.repeat([0, 1], size)
    probe = RidgeProbe().fit(np.concatenate(drawn), is_target)
    held_out = probe.held_out_logits_.argmax(axis=1)
    hits = int((held_out == is_target).sum())
    low, high = wilson_interval(hits, 2 * size)
    return _distance(hits / (2 * size)), (_distance(low), _distance(high))


def _distance(accuracy: float) -> float:
    # Below chance is chance.
    return max(0.0, 2 * (2 * accuracy - 1))
