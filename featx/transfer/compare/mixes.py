"""Embeddings made from those that were compared: of two backbones joined, or cut by PCA."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from featx.evaluate.interval import wilson_interval
from featx.evaluate.paired import Paired
from featx.train.choose import CHOOSING_ROWS
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.race import hits_of
from featx.transfer.compare.sample import Sample
from featx.types import Vectors

JOINED = 2
"""Backbones, the next best ones, that the best is joined with, one after the other."""

PARTS = (2, 4, 8)
"""Of the width, what PCA leaves is one of so many."""

_NARROWEST = 8

MARGIN = 0.01
"""Accuracy that fewer dimensions may surely cost at most, to count as good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What embeddings made from others are worth beside those of the best backbone.

    Attributes
    ----------
    kind : {"joined", "reduced"}
    models : tuple of str
    dim : int
    hits, n : int
        As of a `Standing`.
    gain : Paired
        On the same items.
    confidence : float
        For the interval of the gain that decides whether it helps.
    """

    kind: Literal["joined", "reduced"]
    models: tuple[str, ...]
    dim: int
    hits: int
    n: int
    gain: Paired
    confidence: float

    @property
    def name(self) -> str:
        """What people call it."""
        models = " + ".join(self.models)
        return models if self.kind == "joined" else f"{models}, {self.dim} by PCA"

    @property
    def helps(self) -> bool:
        """Whether it is surely better or, having fewer dimensions, surely not much worse."""
        low = self.gain.bounds(self.confidence)[0]
        return low > 0 if self.kind == "joined" else low > -MARGIN

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind,
            "models": list(self.models),
            "dim": self.dim,
            "accuracy": self.hits / self.n,
            "interval": list(wilson_interval(self.hits, self.n)),
            "n": self.n,
            "gain": self.gain.facts(),
            "helps": self.helps,
        }


def try_mixes(sample: Sample, ranked: Sequence[Contestant], *, seed: int) -> Iterator[Mix]:
    """Yield the best backbone joined with others, and with fewer dimensions.

    Each is judged by a ridge head, by leave-one-out on at most `CHOOSING_ROWS` items.  Directions
    of PCA are those of all items, the one left out too; it has no label in them.

    Parameters
    ----------
    sample : Sample
        Items that all of `ranked` have embedded.
    ranked : sequence of Contestant
        The best first.
    seed : int
    """
    sample = sample.thinned(CHOOSING_ROWS, seed=seed)
    best, others = ranked[0], ranked[1 : 1 + JOINED]
    X = best.vectors(sample.ids)
    alone = hits_of(sample.material(X), seed=seed)
    widths = _widths(X)
    # Of several that are tried one may help by chance; so each has to do so the more surely.
    tries = {"joined": len(others), "reduced": len(widths)}

    def mix(kind: Literal["joined", "reduced"], models: tuple[str, ...], Z: Vectors) -> Mix:
        hits = hits_of(sample.material(Z), seed=seed)
        return Mix(
            kind=kind,
            models=models,
            dim=Z.shape[1],
            hits=int(hits.sum()),
            n=len(hits),
            gain=Paired.of(alone, hits),
            confidence=1 - 0.05 / tries[kind],
        )

    for other in others:
        both = np.hstack([_of_one_spread(X), _of_one_spread(other.vectors(sample.ids))])
        yield mix("joined", (best.name, other.name), both)
    for Z in _reduced(X, widths):
        yield mix("reduced", (best.name,), Z)


def _of_one_spread(X: Vectors) -> Vectors:
    """Return centred rows whose squared lengths have a mean of 1, or all 0."""
    centred = X - X.mean(axis=0)
    spread = float(np.sqrt(np.einsum("nd,nd->", centred, centred, dtype=np.float64) / len(X)))
    return np.asarray(centred / np.float32(spread or 1.0), dtype=np.float32)


def _widths(X: Vectors) -> list[int]:
    """Return how many principal components are tried, descending."""
    widths = [X.shape[1] // part for part in PARTS]
    return [width for width in widths if _NARROWEST <= width < len(X)]


def _reduced(X: Vectors, widths: Sequence[int]) -> Iterator[Vectors]:
    """Yield rows in their first principal components, so many each time."""
    if not widths:
        return
    from sklearn.decomposition import PCA

    Z = PCA(widths[0], svd_solver="covariance_eigh").fit_transform(X)
    for width in widths:
        yield np.ascontiguousarray(Z[:, :width], dtype=np.float32)
