"""Which items to label next: how many labels it takes, beside labels at random.

Nothing is labelled at first.  Each round `STEP` items are picked and get their labels, or a tenth
of those labelled if that is more; a head is fitted to all that are labelled, and items outside the
pool judge it.  Both ways have the same
pools, judges and heads.
"""

import statistics
import sys
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import featx
from bench.support import embeddings, rows
from bench.support.heads_promises import MemorySet
from featx.heads.predict import Head
from featx.train.candidates import fit, kinds
from featx.train.material import read_material
from featx.transfer.labelnext.next import label_next

STEP, SHARE_A_ROUND, MOST = 20, 0.1, 2500
POOL, TEST, SEED = 5000, 2000, 20261126
SHARE = 0.95
COMMAND = "python -m bench.transfer --only active"


@dataclass(frozen=True, slots=True)
class Problem:
    """Embeddings with all their labels.

    Attributes
    ----------
    name : str
    path : Path or None
        Of an embedding set; None for digits.
    """

    name: str
    path: Path | None = None

    def read(self) -> MemorySet:
        if self.path is None:
            return digits()
        found = featx.open(self.path)
        X = np.array(found.X[:], dtype=np.float32)
        return MemorySet(X, np.array([str(label) for label in found.y], dtype=object))


def digits(dim: int = 384) -> MemorySet:
    """Return scikit-learn's digits as random features."""
    pixels, numbers = load_digits(return_X_y=True)
    weights = np.random.default_rng(SEED).normal(size=(pixels.shape[1], dim))
    features = np.maximum(pixels / 16 @ weights, 0).astype(np.float32)
    return MemorySet(features, numbers.astype(str).astype(object))


PROBLEMS = (
    Problem("digits, 10 classes"),
    Problem("texts, 10 classes", embeddings.TEXTS),
    Problem("clip art, 10 classes", embeddings.IMAGES),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracies of heads of ever more labels.

    Attributes
    ----------
    full : float
        Of a head of the whole pool.
    labels : list of int
        After each round.
    accuracies : list of float
        Then.
    """

    full: float
    labels: list[int]
    accuracies: list[float]

    @property
    def needed(self) -> int | None:
        """Labels after which `SHARE` of the full accuracy is reached; None if it is not."""
        pairs = zip(self.labels, self.accuracies, strict=True)
        return next((n for n, accuracy in pairs if accuracy >= SHARE * self.full), None)


def measure(*, seeds: int, is_quick: bool) -> list[dict[str, Any]]:
    """Return a row of labels needed for each problem."""
    found = []
    for problem in PROBLEMS[:1] if is_quick else PROBLEMS:
        name = f"labels for {SHARE:.0%} of full accuracy, {problem.name}"
        if problem.path is not None and not embeddings.is_made(problem.path):
            found.append(rows.not_run(name, "python -m bench.support.embeddings"))
            continue
        found.append(_row(name, problem.read(), seeds))
    return found


def _row(name: str, whole: MemorySet, seeds: int) -> dict[str, Any]:
    pairs = [
        (_curve(whole, seed, is_random=False), _curve(whole, seed, is_random=True))
        for seed in range(seeds)
    ]
    ours, theirs = ([_or_most(pair[side]) for pair in pairs] for side in (0, 1))
    print(f"  {name}: {ours}, at random {theirs}", file=sys.stderr, flush=True)
    never = [sum(pair[side].needed is None for pair in pairs) for side in (0, 1)]
    full = statistics.fmean(pair[0].full for pair in pairs)
    areas = [100 * (np.mean(a.accuracies) - np.mean(b.accuracies)) for a, b in pairs]
    value, peer = statistics.fmean(ours), statistics.fmean(theirs)
    return rows.row(
        name,
        round(value, 1),
        unit="labels",
        peer="at random",
        peer_value=round(peer, 1),
        ratio=round(peer / value, 2),
        note=(
            f"{STEP} or a tenth more a round, {len(pairs)} seeds: {_mean(ours)} against"
            f" {_mean(theirs)}; not reached with {MOST} in {never[0]} and {never[1]} runs, which"
            f" count as {MOST}; full accuracy {full:.3f}; mean accuracy over all rounds"
            f" {_mean(areas, 2)} points higher"
        ),
        **rows.at_most(value, peer),
    )


def _or_most(curve: Curve) -> int:
    return MOST if curve.needed is None else curve.needed


def _mean(values: list[Any], digits: int = 1) -> str:
    """Return mean ± standard error."""
    error = statistics.stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.{digits}f} ± {error:.{digits}f}"


def _curve(whole: MemorySet, seed: int, *, is_random: bool) -> Curve:
    """Label a pool round by round, by `label_next` or at random."""
    order = np.random.default_rng([SEED, seed]).permutation(len(whole.X))
    n_test = min(TEST, len(order) // 3)
    test = MemorySet(whole.X[order[:n_test]], whole.y[order[:n_test]])
    kept = order[n_test : n_test + POOL]
    pool = MemorySet(whole.X[kept], whole.y[kept])
    known = np.full(len(kept), None, dtype=object)
    shuffled = np.random.default_rng([SEED, seed, 1]).permutation(len(kept))
    labels, accuracies = [0], []
    while labels[-1] < min(MOST, len(kept)):
        step = max(STEP, round(SHARE_A_ROUND * labels[-1]))
        if is_random:
            picked = shuffled[labels[-1] : labels[-1] + step]
        else:
            picked = label_next(replace(pool, y=known), step, seed=seed).rows
        known[picked] = pool.y[picked]
        labels.append(labels[-1] + len(picked))
        accuracies.append(_accuracy(replace(pool, y=known), test, seed))
    return Curve(_accuracy(pool, test, seed), labels[1:], accuracies)


def _accuracy(labelled: MemorySet, test: MemorySet, seed: int) -> float:
    """Return the accuracy of the head that ``auto`` prefers for so many labels."""
    if len({label for label in labelled.y if label is not None}) < 2:
        return float(np.mean(test.y == next(label for label in labelled.y if label is not None)))
    material = read_material(labelled, "classify")
    fitted = fit(kinds(material)[0], material, seed=seed)
    head = Head(kind=fitted.kind, classes=material.names, arrays=fitted.arrays)
    names = np.array(head.classes, dtype=object)
    return float(np.mean(names[head.logits(test.X).argmax(axis=1)] == test.y))
