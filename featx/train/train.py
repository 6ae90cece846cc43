"""Choose, tune and calibrate a head on a labelled set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.evaluate import metrics
from featx.evaluate.baselines import MAX_ROWS as RAW_ROWS
from featx.evaluate.baselines import majority_accuracy, raw_baseline
from featx.evaluate.interval import wilson_interval
from featx.evaluate.labelled import LabelledRows, LabelledSet, digest_keys, labelled_rows
from featx.heads import HEADS
from featx.heads.calibration import conformal_quantile, fit_temperature, log_softmax, softmax
from featx.heads.folds import deal_folds, stratified_sample
from featx.heads.predict import SCORERS, Head
from featx.registry import resolve
from featx.types import Content

FOLDS = 5
CHOOSING_ROWS = 10_000
"""Rows that kinds of head are compared on, at most."""

_AUTO = ("ridge", "logreg", "knn")
_OPTIONS: dict[str, dict[str, Any]] = {"knn": {"k": "auto", "temperature": 0.07}}

Codes = NDArray[np.int64]
Fetch = Callable[[Sequence[int]], Sequence[Content]]


@dataclass(frozen=True, slots=True)
class _Task:
    """What a head is fitted to: distinct items with their class codes."""

    rows: LabelledRows
    classes: tuple[str, ...]
    codes: Codes


def train(
    embedding_set: LabelledSet,
    *,
    head: str = "auto",
    seed: int = 0,
    contents: Fetch | None = None,
    command: str = "",
) -> Head:
    """Fit a head to the labelled rows of a set: split ``train`` where there are splits.

    Equal items count once.  With ``auto``, ridge, logistic regression and kNN are compared by
    held-out accuracy, then log loss (exact leave-one-out for ridge and kNN, out-of-fold for
    logistic regression), on at most 10,000 rows.

    The accuracy in the header is that of out-of-fold predictions over five stratified folds, in
    each of which the chosen kind was fitted and tuned again on the other four: choosing its
    penalty or `k` is paid for.  Choosing between the three kinds is not; with few items that
    flatters by less than the interval is wide.  The conformal quantile comes from
    the same out-of-fold logits; the temperature from `held_out_logits_` of the final fit, which
    have its own penalty or `k`.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    head : str, default "auto"
        ``"auto"`` or a key of `featx.heads.HEADS`.
    seed : int, default 0
        Deals the folds.
    contents : callable, optional
        Row numbers of the set → their raw contents; with it the raw-feature baseline is measured.
    command : str, default ""
        Kept in the header, for people.

    Returns
    -------
    Head
        ``header["metrics"]`` holds ``accuracy``, ``interval``, ``n``, ``baselines``, ``classes``
        (their number), ``chosen``, ``log_loss``, ``calibration_error``, ``balanced_accuracy`` and
        ``macro_f1``; ``header["labels"]`` how many rows were used or unlabelled;
        ``header["warnings"]`` what a person should know.

    Raises
    ------
    InputError
        If the rows have no labels, or only one class.
    UnknownNameError
        If there is no such head.
    """
    if head != "auto" and head not in SCORERS:
        raise UnknownNameError("head", head, ["auto", *SCORERS])
    task = _read(embedding_set)
    kind, compared = _choose(task, seed) if head == "auto" else (head, {})
    folds = deal_folds(task.codes, FOLDS, seed=seed)
    logits = _out_of_fold(kind, task, folds, seed)
    fitted = _fit(kind, task.rows.X, task.codes, seed)
    temperature = fit_temperature(fitted.held_out_logits_, task.codes)
    probabilities = softmax(logits.astype(np.float64) / temperature)
    chosen = {"head": kind, **_parameters(kind, fitted), "compared": compared}
    measured = _measure(probabilities, task.codes)
    measured["baselines"] = {"majority": majority_accuracy(task.codes)}
    if contents is not None:
        raw = _raw_accuracy(embedding_set.modality, task, contents, folds, seed)
        measured["baselines"] |= {} if raw is None else {"raw": raw}
    measured |= {"classes": len(task.classes), "chosen": chosen}
    return Head(
        kind=kind,
        classes=task.classes,
        arrays={**_arrays(kind, fitted), "trained_digests": task.rows.digests},
        temperature=temperature,
        quantile=conformal_quantile(probabilities, task.codes),
        header={
            **_provenance(embedding_set, task),
            "metrics": measured,
            "chosen": chosen,
            "baselines": measured["baselines"],
            "command": command,
            "seed": seed,
        },
    )


def _read(embedding_set: LabelledSet) -> _Task:
    rows = labelled_rows(embedding_set, splits=("train",))
    keys = digest_keys(rows.digests)
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    rows = rows.take(first | ~rows.digests.any(axis=1))
    names, codes = np.unique(rows.labels.astype(str), return_inverse=True)
    if len(names) < 2:
        found = f"one class, {str(names[0])!r}" if len(names) else "no finite vector"
        message = (
            f"embedding set: its {len(rows)} labelled rows hold {found};"
            " expected two classes or more; run: featx label SET labels.csv"
        )
        raise InputError(message)
    return _Task(rows, tuple(names.tolist()), codes.astype(np.int64))


def _fit(kind: str, X: NDArray[np.float32], codes: Codes, seed: int) -> Any:  # noqa: ANN401
    """Return a fitted scikit-learn classifier."""
    options = {"random_state": seed} if kind == "logreg" else _OPTIONS.get(kind, {})
    return resolve("head", HEADS, kind)(**options).fit(X, codes)


def _choose(task: _Task, seed: int) -> tuple[str, dict[str, Any]]:
    """Return the best kind, and how each did."""
    sample = stratified_sample(task.codes, CHOOSING_ROWS, seed=seed)
    codes = np.unique(task.codes[sample], return_inverse=True)[1].astype(np.int64)
    compared: dict[str, Any] = {}
    for kind in _AUTO:
        logits = _fit(kind, task.rows.X[sample], codes, seed).held_out_logits_
        scaled = log_softmax(logits / fit_temperature(logits, codes))
        loss = -float(scaled[np.arange(len(codes)), codes].mean())
        hits = float(np.mean(logits.argmax(axis=1) == codes))
        compared[kind] = {"accuracy": hits, "log_loss": loss}
    best = min(_AUTO, key=lambda k: (-compared[k]["accuracy"], compared[k]["log_loss"]))
    return best, compared


def _out_of_fold(kind: str, task: _Task, folds: Codes, seed: int) -> NDArray[np.float32]:
    """Return the logits of each row by a fit to the other folds.

    A class that those lack, having one item, gets the row's lowest logit less one.
    """
    n_classes = len(task.classes)
    logits = np.zeros((len(folds), n_classes), dtype=np.float32)
    for fold in np.unique(folds):
        held_out = folds == fold
        seen, codes = np.unique(task.codes[~held_out], return_inverse=True)
        if len(seen) < 2:
            logits[held_out] = -1
            logits[np.ix_(held_out, seen)] = 0
            continue
        fitted = _fit(kind, task.rows.X[~held_out], codes.astype(np.int64), seed)
        part = Head(kind=kind, classes=tuple(map(str, seen)), arrays=_arrays(kind, fitted)).logits(
            task.rows.X[held_out]
        )
        logits[held_out] = part.min(axis=1, keepdims=True) - 1
        logits[np.ix_(held_out, seen)] = part
    return logits


def _arrays(kind: str, fitted: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    """Return the learned state of a classifier as a `Head` holds it."""
    if kind != "knn":
        return {"coef": fitted.coef_, "intercept": fitted.intercept_}
    return {
        "vectors": fitted.gallery_,
        "codes": fitted.codes_,
        "k": np.array(fitted.k_, dtype=np.int64),
        "vote_temperature": np.array(fitted.temperature_, dtype=np.float64),
    }


def _parameters(kind: str, fitted: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what the classifier tuned."""
    if kind == "knn":
        return {"k": int(fitted.k_), "vote_temperature": float(fitted.temperature_)}
    return {"alpha": fitted.alpha_} if kind == "ridge" else {"C": fitted.C_}


def _measure(probabilities: NDArray[np.float64], codes: Codes) -> dict[str, Any]:
    confusion = metrics.confusion_matrix(
        codes, probabilities.argmax(axis=1), probabilities.shape[1]
    )
    hits = int(np.trace(confusion))
    return {
        "accuracy": hits / len(codes),
        "interval": list(wilson_interval(hits, len(codes))),
        "n": len(codes),
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "macro_f1": metrics.macro_f1(confusion),
        "log_loss": metrics.log_loss(probabilities, codes),
        "calibration_error": metrics.calibration_error(probabilities, codes),
    }


def _raw_accuracy(
    modality: str, task: _Task, contents: Fetch, folds: Codes, seed: int
) -> float | None:
    # Only the rows that the baseline will look at are fetched.
    sample = stratified_sample(task.codes, RAW_ROWS, seed=seed)
    fetched = contents(task.rows.rows[sample].tolist())
    return raw_baseline(modality, fetched, task.codes[sample], folds[sample], seed=seed)


def _provenance(embedding_set: LabelledSet, task: _Task) -> dict[str, Any]:
    """Return where the vectors and labels came from, and what is odd about them."""
    labels = embedding_set.y
    n_labelled = sum(label is not None for label in labels)
    counts = np.bincount(task.codes, minlength=len(task.classes))
    single = [name for name, n in zip(task.classes, counts, strict=True) if n == 1]
    notes = []
    if single:
        notes.append(f"one item only: {', '.join(single[:20])}; label more of them")
    if len(counts) and counts.min() < FOLDS:
        notes.append(f"a class has {counts.min()} items; the accuracy is a rough estimate")
    return {
        "dim": embedding_set.dim,
        "fingerprint": embedding_set.fingerprint,
        "space": embedding_set.space,
        "model": embedding_set.model,
        "prompt": getattr(embedding_set, "prompt", ""),
        "modality": embedding_set.modality,
        "labels": {
            "rows": len(labels),
            "used": len(task.codes),
            "unlabelled": len(labels) - n_labelled,
            "counts": dict(zip(task.classes, counts.tolist(), strict=True)),
        },
        "warnings": notes,
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
    }
