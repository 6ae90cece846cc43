"""Pairs of domains, and how their items are dealt into source, target and test."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.support.transfer_domains import (
    Domain,
    Pixels,
    digits,
    emoji,
    features,
    mnist,
    sentiment,
)

TRAIN, TARGET, TEST = 800, 600, 1000
SEED = 20261126


@dataclass(frozen=True, slots=True)
class Dealt:
    """Items of one seed.

    Attributes
    ----------
    source : Domain
        Labelled: the head is trained on them.
    target : Domain
        Whose labels only the oracle sees.
    test : Domain
        Other items of the target, on which all are scored.
    """

    source: Domain
    target: Domain
    test: Domain


@dataclass(frozen=True, slots=True)
class Pair:
    """Two domains.

    Attributes
    ----------
    name : str
    source, target : callable
        Return all items of a domain.
    is_same : bool
        Whether item i of both shows the same thing: then no item is dealt to both sides.
    skew : float
        How many times commoner the commonest class of the target is than the rarest.
    is_seen : bool
        Whether the rule of ``auto`` was settled on it, so that it proves nothing.
    """

    name: str
    source: Callable[[], Domain]
    target: Callable[[], Domain]
    is_same: bool = False
    skew: float = 1.0
    is_seen: bool = False

    def deal(self, seed: int) -> Dealt:
        rng = np.random.default_rng([SEED, seed])
        source, target = self.source(), self.target()
        order = rng.permutation(len(source))
        # Of few items half train, so that enough are left.
        n_train = min(TRAIN, len(source) // 2) if self.is_same else min(TRAIN, len(source))
        rest = order[n_train:] if self.is_same else rng.permutation(len(target))
        if self.skew > 1:
            rest = _skewed(target.y, rest, self.skew, rng)
        n_target = min(TARGET, len(rest) * 3 // 5)
        return Dealt(
            source.take(order[:n_train]),
            target.take(rest[:n_target]),
            target.take(rest[n_target : n_target + TEST]),
        )


def _skewed(
    y: NDArray[np.int64], rows: NDArray[np.int64], skew: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return half of some rows, drawn so that classes are geometrically commoner."""
    commoner = rng.permutation(np.geomspace(1, skew, y.max() + 1))[y[rows]]
    return rng.choice(rows, len(rows) // 2, replace=False, p=commoner / commoner.sum())


def rotated(pixels: Pixels, degrees: float) -> Pixels:
    from scipy.ndimage import rotate

    return np.clip(rotate(pixels, degrees, axes=(1, 2), reshape=False, order=1), 0, 1)


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(pixels, (0, sigma, sigma)))


def faded(pixels: Pixels, contrast: float, level: float) -> Pixels:
    return contrast * pixels + level


def noisy(pixels: Pixels, sigma: float) -> Pixels:
    return np.clip(pixels + sigma * np.random.default_rng(SEED).normal(size=pixels.shape), 0, 1)


def moved(pixels: Pixels, columns: int) -> Pixels:
    return np.roll(pixels, columns, axis=2)


def inverted(pixels: Pixels) -> Pixels:
    return 1 - pixels


def same(pixels: Pixels) -> Pixels:
    return pixels


Change = Callable[[Pixels], Pixels]
Pictures = Callable[[], tuple[Pixels, NDArray[np.int64]]]


def pictures(read: Pictures, change: Change = same) -> Domain:
    """Return changed pictures as a domain."""
    pixels, y = read()
    return Domain(features(change(pixels)), y)


def made(name: str, read: Pictures, change: Change, **facts: float | bool) -> Pair:
    """Return a pair of pictures and changed ones."""
    source, target = partial(pictures, read), partial(pictures, read, change)
    return Pair(name, source, target, is_same=True, **facts)  # type: ignore[arg-type]


def of_texts(source: str, target: str, *, is_seen: bool = False) -> Pair:
    return Pair(
        f"{source} → {target} sentiment",
        partial(sentiment, source),
        partial(sentiment, target),
        is_seen=is_seen,
    )


UNSEEN = (
    of_texts("film", "product"),
    Pair("emoji Google → Twitter", partial(emoji, "google"), partial(emoji, "twitter"), True),
    Pair("MNIST → digits", partial(pictures, mnist), partial(pictures, digits)),
    Pair("digits → MNIST", partial(pictures, digits), partial(pictures, mnist)),
    made("digits, rotated by 20°", digits, partial(rotated, degrees=20)),
    made("digits, half the contrast", digits, partial(faded, contrast=0.5, level=0.25)),
    made("digits, blurred", digits, partial(blurred, sigma=0.8)),
    made("digits, noise of .25", digits, partial(noisy, sigma=0.25)),
    made("digits, moved by a pixel", digits, partial(moved, columns=1)),
    made("digits, classes 1 to 20", digits, same, skew=20.0),
    made("digits, inverted", digits, inverted),
    made("digits, as they are", digits, same),
)
"""Pairs that had no say in the rule of ``auto``."""

SEEN = (
    made("MNIST, rotated by 25°", mnist, partial(rotated, degrees=25), is_seen=True),
    made("MNIST, darkened", mnist, partial(faded, contrast=0.6, level=0.0), is_seen=True),
    made("MNIST, noise of .2", mnist, partial(noisy, sigma=0.2), is_seen=True),
    made("MNIST, blurred", mnist, partial(blurred, sigma=0.7), is_seen=True),
    made("MNIST, moved by a pixel", mnist, partial(moved, columns=1), is_seen=True),
    made("MNIST, classes 1 to 20", mnist, same, skew=20.0, is_seen=True),
    made("MNIST, inverted", mnist, inverted, is_seen=True),
    of_texts("tweet", "film", is_seen=True),
    of_texts("film", "tweet", is_seen=True),
    of_texts("editorial", "tweet", is_seen=True),
)
"""Pairs that the rule was settled on."""

PAIRS = (*UNSEEN, *SEEN)
