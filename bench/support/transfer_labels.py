"""Wrong labels beside cleanlab, and items of unseen classes beside the largest probability.

Labels of real embeddings are flipped, each to any other class with the same chance, and both sides
say how far they trust each label: the AUROC of flipped against kept ones.  cleanlab works in its
own environment (``python -m bench.peers cleanlab``), and that one of its nine recipes counts that
does best over all seeds.
"""

import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bench.support import drive, embeddings, rounds, rows
from bench.support.memoryset import MemorySet
from bench.support.places import WORKERS, python
from featx import RidgeProbe
from featx.evaluate.curation.inspect import inspect_set
from featx.heads.novelty import fit_novelty
from featx.index.metric import unit_rows

COMMAND = "python -m bench.transfer --only labels"
CLEANLAB = "cleanlab"
SHARES = (0.05, 0.2)
ITEMS, QUICK_ITEMS = 2000, 1000
UNSEEN = 3  # classes of ten
NEIGHBOURS = 5
THREADS = 2
SETS = {"texts": embeddings.TEXTS, "clip art": embeddings.IMAGES}

Codes = NDArray[np.int64]
Reals = NDArray[np.float64]


def measure(*, seeds: int, is_quick: bool = False) -> list[dict[str, Any]]:
    """Return rows: mean AUROC over the seeds, with what the peer reaches.

    Parameters
    ----------
    seeds : int
    is_quick : bool
        Whether to take fewer items of each set.
    """
    n = QUICK_ITEMS if is_quick else ITEMS
    found = []
    for name, path in SETS.items():
        if embeddings.is_made(path):
            found += of_labels(name, path, n, seeds)
            found.append(of_novelty(name, path, n, seeds))
        else:
            found.append(
                rows.not_run(f"wrong labels, {name}", "python -m bench.support.embeddings")
            )
    return found


def drawn(path: Path, n: int, seed: int) -> tuple[NDArray[np.float32], Codes]:
    """Return items of a set, at most `n` drawn with this seed, and their classes."""
    whole = embeddings.split(path, len_of(path))
    chosen = np.random.default_rng(seed).permutation(len(whole.y))[:n]
    return whole.X[chosen], whole.y[chosen]


def len_of(path: Path) -> int:
    import featx

    return len(featx.open(path))


def flipped(y: Codes, share: float, seed: int) -> tuple[Codes, NDArray[np.bool_]]:
    """Return labels of which a share is wrong, and which those are."""
    rng, n_classes = np.random.default_rng([seed, 1]), int(y.max()) + 1
    is_wrong = rng.random(len(y)) < share
    wrong = (y + rng.integers(1, n_classes, len(y))) % n_classes
    return np.where(is_wrong, wrong, y), is_wrong


def of_labels(name: str, path: Path, n: int, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each share of flipped labels."""
    for share in SHARES:
        ours, theirs, seconds = [], [], []
        for seed in range(seeds):
            X, y = drawn(path, n, seed)
            given, is_wrong = flipped(y, share, seed)
            started_s = time.process_time()
            found = inspect_set(MemorySet(X, given.astype(str).astype(object)))
            seconds.append(time.process_time() - started_s)
            ours.append(float(roc_auc_score(is_wrong, -found.confidence)))
            theirs.append(cleanlab_aurocs(X, given, is_wrong))
            print(
                f"  {name}, {share:.0%}, seed {seed}: {ours[-1]:.4f}", file=sys.stderr, flush=True
            )
        yield row_of(
            f"wrong labels, {name}, {len(X):,} items, {share:.0%} flipped",
            ours,
            theirs,
            statistics.median(seconds),
        )


def cleanlab_aurocs(
    X: NDArray[np.float32], y: Codes, is_wrong: NDArray[np.bool_]
) -> dict[str, float]:
    """Return what each recipe reaches."""
    folder = rounds.place("labels")
    folder.mkdir()
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    command = [python(CLEANLAB), str(WORKERS / "cleanlab_labels.py"), str(folder)]
    drive.run(command, threads=THREADS)
    with np.load(folder / "scores.npz") as scores:
        found = {name: float(roc_auc_score(is_wrong, -scores[name])) for name in scores.files}
    shutil.rmtree(folder)
    return found


def row_of(
    name: str, ours: list[float], theirs: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    means = {key: statistics.mean(each[key] for each in theirs) for key in theirs[0]}
    best = max(means, key=means.__getitem__)
    usual = "logistic regression, self_confidence"
    differences = [own - each[best] for own, each in zip(ours, theirs, strict=True)]
    value = statistics.mean(ours)
    note = (
        f"{len(ours)} seeds, mean and standard error: {spread(ours)}; {CLEANLAB}'s best of"
        f" {len(means)} recipes: {best}, {spread([each[best] for each in theirs])}; paired"
        f" difference {spread(differences)}; its usual recipe {means[usual]:.4f}; the whole"
        f" inspection takes {seconds:.1f} s of CPU"
    )
    return rows.row(
        f"{name}: the label's confidence",
        round(value, 4),
        unit="AUROC",
        peer=f"{CLEANLAB}, best recipe",
        peer_value=round(means[best], 4),
        ratio=round(value / means[best], 4),
        threads=THREADS,
        note=note,
        target=f">= {CLEANLAB}",
        ok=value >= means[best],
    )


def of_novelty(name: str, path: Path, n: int, seeds: int) -> dict[str, Any]:
    """Return a row: items of three unseen classes against new items of the others."""
    found: dict[str, list[float]] = {"novelty": [], "probability": [], "neighbours": []}
    for seed in range(seeds):
        X, y = drawn(path, n, seed)
        unseen = np.random.default_rng([seed, 2]).permutation(int(y.max()) + 1)[:UNSEEN]
        is_new = np.isin(y, unseen)
        is_train = ~is_new & (np.arange(len(y)) % 2 == 0)
        codes = np.unique(y[is_train], return_inverse=True)[1].astype(np.int64)
        probe = RidgeProbe().fit(X[is_train], codes)
        novelty = fit_novelty(X[is_train], codes, n_classes=int(codes.max()) + 1)
        Q, truth = X[~is_train], is_new[~is_train]
        near = np.sort(unit_rows(Q) @ unit_rows(X[is_train]).T)[:, -NEIGHBOURS:].mean(axis=1)
        for key, strangeness in {
            "novelty": novelty.distances(Q),
            "probability": -probe.predict_proba(Q).max(axis=1),
            "neighbours": -near,
        }.items():
            found[key].append(float(roc_auc_score(truth, strangeness)))
    value, peer = (statistics.mean(found[key]) for key in ("novelty", "probability"))
    note = (
        f"{UNSEEN} of {int(y.max()) + 1} classes unseen, {len(found['novelty'])} seeds, mean and"
        f" standard error: {spread(found['novelty'])}; largest probability"
        f" {spread(found['probability'])}; mean cosine to the {NEIGHBOURS} nearest"
        f" {spread(found['neighbours'])}"
    )
    return rows.row(
        f"unseen classes, {name}, {len(X):,} items: a head's novelty",
        round(value, 4),
        unit="AUROC",
        peer="largest probability",
        peer_value=round(peer, 4),
        ratio=round(value / peer, 4),
        threads=THREADS,
        note=note,
    )


def spread(values: list[float]) -> str:
    """Return mean ± standard error."""
    return f"{statistics.mean(values):.4f} ± {rows.standard_error(values):.4f}"
