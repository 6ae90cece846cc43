"""What a head says of items that it was not fitted to, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.evaluate.baselines import guess
from featx.evaluate.evaluate import Fetch, evaluate_head, unseen_rows
from featx.evaluate.labelled import LabelledRows, digest_keys
from featx.evaluate.measures import OF_SETS
from featx.evaluate.truth import label_numbers
from featx.heads.folds import deal_folds
from featx.heads.moments import row_blocks
from featx.heads.predict import Head
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.candidates import FOREIGN, fit
from featx.train.material import Material, read_material
from featx.train.recipe import FOLDS, Recipe
from featx.train.twins import find_twins, one_of_each
from featx.types import Rows, Task

_Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How a head did on rows that it was not fitted to.

    Attributes
    ----------
    task : {"classify", "multilabel", "regress"}
    measures : dict
        As `featx.evaluate.measures` says them, with ``baselines``.
    how : str
        How the rows were kept from the head, to follow a number of items: "left out one by one".
    names : tuple of str
        Of the classes; empty for other tasks.
    rows : ndarray of int64, shape (M,)
        Of the set, ascending; none for other tasks.
    labels : ndarray of int64, shape (M,)
        Codes of `names`.
    guesses : ndarray of int64, shape (M,)
        The likeliest class.
    sure : ndarray of float64, shape (M,)
        The probability of that class.
    """

    task: Task
    measures: dict[str, Any]
    how: str
    names: tuple[str, ...] = ()
    rows: Rows
    labels: _Codes
    guesses: _Codes
    sure: NDArray[np.float64]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which rows are right, shape (M,)."""
        return np.asarray(self.labels == self.guesses)


def has_unseen(head: Head, embedding_set: EmbeddingSet) -> bool:
    """Return whether a set has labelled rows that `head` was surely not trained on."""
    rows, _ = unseen_rows(head, embedding_set, None)
    return len(rows) > _unknown(head, rows)


def _unknown(head: Head, rows: LabelledRows) -> int:
    """Return of how many rows nobody knows whether a head was trained on them."""
    is_trained = len(head.arrays.get("trained_digests", ())) > 0
    return int((~rows.digests.any(axis=1)).sum()) if is_trained else 0


def judge_unseen(head: Head, embedding_set: EmbeddingSet, contents: Fetch | None) -> Judgement:
    """Judge a head by the rows of a set that it was not trained on.

    Raises
    ------
    FeatxError
        As `featx.evaluate.evaluate.evaluate_head` does.
    """
    measures = evaluate_head(head, embedding_set, contents=contents)
    rows, _ = unseen_rows(head, embedding_set, None)
    split = measures["split"]
    how = f"of split {split}" if split else "that it was not trained on"
    if unknown := _unknown(head, rows):
        how += f", as far as is known ({unknown:,} have no digest)"
    if head.task != "classify":
        return _without_rows(head.task, measures, how)
    names, labels = label_numbers(rows.labels.tolist(), "classify", head.classes)
    guesses, sure = np.empty(len(rows), np.int64), np.empty(len(rows))
    for part in row_blocks(rows.X):
        _answer(head.probabilities(rows.X[part]), part, guesses, sure)
    return Judgement(
        task="classify",
        measures=measures,
        how=how,
        names=names,
        rows=rows.rows,
        labels=labels,
        guesses=guesses,
        sure=sure,
    )


def judge_held_out(head: Head, material: Material, groups: Rows, name: str) -> Judgement:
    """Judge a head by its own training rows, each by a fit without it or without its fold.

    The head itself knows all of them.  One of its kind is fitted to the rows as
    `featx.train.train.train` does it; if the head was trained on these rows its header says the
    same of it, and more, which is what the measures are then.

    Parameters
    ----------
    head : Head
        Of classes, from `featx.train.train.train`.
    material : Material
    groups : ndarray of int64, shape (N,)
        From `distinct_rows`, as the material.
    name : str
        Its kind, or ``sklearn:`` and the name of an estimator.

    Raises
    ------
    InputError
        If it is an estimator of scikit-learn whose name is not known, or the rows are too few to
        fit one of its kind.
    """
    if name == FOREIGN.rstrip(":"):
        message = "head: trained on all labelled rows, by an estimator of scikit-learn that cannot"
        raise InputError(f"{message} be fitted again; report on a set with other items")
    seed = int(head.header.get("seed", 0))
    fitted = fit(name, material, seed=seed, groups=groups)
    jitter = np.zeros(len(material))
    held_out = HeldOut(task="classify", logits=fitted.logits, y=material.y, jitter=jitter)
    guesses, sure = _calibrated(held_out, seed)
    measures = dict(head.header["metrics"])
    if not _is_of(measures, float((guesses == material.y).mean()), head, material):
        measures = _measured(held_out, seed) | {"chosen": {"head": fitted.kind, **fitted.tuned}}
    return Judgement(
        task="classify",
        measures=measures,
        how="left out of the fit in turn",
        names=material.names,
        rows=material.rows.rows,
        labels=material.y,
        guesses=guesses,
        sure=sure,
    )


def _is_of(measures: Mapping[str, Any], accuracy: float, head: Head, material: Material) -> bool:
    """Return whether the measures of a header are those of some rows with these labels."""
    trained = digest_keys(head.arrays["trained_digests"])
    return (
        measures["n"] == len(material)
        and abs(measures["accuracy"] - accuracy) < 0.5 / len(material)
        and bool(np.isin(digest_keys(material.rows.digests), trained).all())
    )


def _measured(held_out: HeldOut, seed: int) -> dict[str, Any]:
    """Return the measures of held-out rows; none of sets, which the head makes as it was told."""
    found = measure(held_out, Recipe(seed=seed))
    return {
        **{name: value for name, value in found.items() if name not in OF_SETS},
        "baselines": guess("classify", held_out.y),
    }


def distinct_rows(embedding_set: EmbeddingSet) -> tuple[Material, Rows]:
    """Return the rows that a head of classes is judged by, one of each group of twins."""
    material = read_material(embedding_set, "classify")
    return one_of_each(material, find_twins(material.rows.X).groups)


def _calibrated(held_out: HeldOut, seed: int) -> tuple[_Codes, NDArray[np.float64]]:
    """Return classes and how sure they are, each of five parts calibrated by the others."""
    y, recipe = held_out.y, Recipe(seed=seed)
    guesses, sure = np.empty(len(y), np.int64), np.empty(len(y))
    parts = deal_folds(y, FOLDS, seed=seed)
    for part in np.unique(parts):
        calibration = calibrate(held_out.take(parts != part), recipe)
        own = np.flatnonzero(parts == part)
        for block in row_blocks(own):
            answers = calibration.answers(held_out.logits[own[block]])
            _answer(answers, own[block], guesses, sure)
    return guesses, sure


def _answer(
    probabilities: NDArray[np.float64],
    rows: slice | Rows,
    guesses: _Codes,
    sure: NDArray[np.float64],
) -> None:
    """Fill in the likeliest class of some rows, and how likely it is."""
    guesses[rows] = probabilities.argmax(axis=1)
    sure[rows] = probabilities.max(axis=1)


def judge_recorded(head: Head) -> Judgement | None:
    """Return how a head did when it was made; its header says nothing of single rows.

    None if it was not measured, as one that was adapted without labels or made of names alone.
    """
    if "metrics" not in head.header:
        return None
    how = "left out of the fit in turn"
    return _without_rows(head.task, dict(head.header["metrics"]), how)


def _without_rows(task: Task, measures: dict[str, Any], how: str) -> Judgement:
    none = np.empty(0, np.int64)
    return Judgement(
        task=task,
        measures=measures,
        how=how,
        rows=none,
        labels=none,
        guesses=none,
        sure=np.empty(0),
    )
