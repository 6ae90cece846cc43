"""Choose, tune and calibrate a head on a labelled set."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.baselines import MAX_ROWS as RAW_ROWS
from featx.evaluate.baselines import RawBaseline, guess, has_raw_baseline
from featx.evaluate.duplicates import Duplicates
from featx.evaluate.labelled import LabelledSet
from featx.evaluate.measures import headline
from featx.heads.conformal import row_jitter
from featx.heads.folds import deal_folds, stratified_sample
from featx.heads.novelty import Novelty, fit_novelty
from featx.heads.predict import Head
from featx.train import record
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.candidates import FOREIGN, Fitted, fit, require_kind
from featx.train.choose import Tried, choose, try_kinds
from featx.train.curve import learning_curve, require_enough
from featx.train.material import Material, lost_classes, read_material
from featx.train.recipe import Recipe
from featx.train.twins import find_twins
from featx.types import Content

STRICT_PARTS = 4
"""One of so many parts of the rows makes the sets of a strict head."""

Fetch = Callable[[Sequence[int]], Sequence[Content]]


def train(
    embedding_set: LabelledSet,
    recipe: Recipe | None = None,
    *,
    contents: Fetch | None = None,
    on_tried: Callable[[Tried], None] | None = None,
) -> Head:
    """Fit a head to the labelled rows of a set: split ``train`` where there are splits.

    All that the header says of the head's quality comes from held-out logits of its one final
    fit: exact leave-one-out where there is a closed form (ridge, lda, centroid, knn), folds
    otherwise.  They also make the temperature and the conformal sets, which are measured on parts
    that they were not fitted to.  The choice of the penalty and of the kind is not held out.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    recipe : Recipe, optional
    contents : callable, optional
        Row numbers of the set → their raw contents; with it the raw-feature baseline is measured.
    on_tried : callable, optional
        Called with each kind of head that ``auto`` has tried.

    Returns
    -------
    Head
        ``header["metrics"]`` holds what `featx.evaluate.measures` says, ``baselines``,
        ``classes`` (their number) and ``chosen``; ``header["labels"]`` how many rows were used;
        ``header["coverage"]`` what sets or intervals are to reach; ``header["suspects"]`` labels
        that are probably wrong; ``header["duplicates"]`` rows that
        are nearly equal; ``header["curve"]`` the learning curve or None; ``header["warnings"]``
        what a person should know.

    Raises
    ------
    InputError
        If the labels do not suit the task, the head cannot do it, or there are too few rows for
        what is asked.
    UnknownNameError
        If there is no such head.
    """
    recipe = recipe or Recipe()
    require_kind(recipe.head, recipe.task)
    material = read_material(embedding_set, recipe.task)
    _require_convertible(recipe, material)
    if recipe.curve:
        require_enough(material)
    twins = find_twins(material.rows.X)
    is_setting = _setting_rows(material, twins, recipe)
    # Taking rows copies them, and there may be many.
    fitting = material.take(~is_setting) if recipe.strict else material
    fitted, compared = _fit_chosen(fitting, twins.groups[~is_setting], recipe, on_tried)
    held_out = _held_out(fitting, fitted.logits)
    setting = _scored(material.take(is_setting), fitted) if recipe.strict else None
    calibration = calibrate(held_out, recipe, setting)
    chosen = {"head": fitted.kind, **fitted.tuned, "compared": compared}
    metrics = {
        **measure(held_out, recipe, setting),
        "baselines": _baselines(embedding_set.modality, material, contents, recipe),
        "classes": len(material.names),
        "chosen": chosen,
    }
    kept = Duplicates(twins.groups[~is_setting], twins.searched)
    doubles = record.duplicates(embedding_set, fitting, kept, fitted.logits)
    kind = recipe.head if recipe.head.startswith(FOREIGN) else fitted.kind
    return Head(
        kind=fitted.kind,
        task=recipe.task,
        classes=material.names,
        arrays={**fitted.arrays, **calibration.arrays, "trained_digests": material.rows.digests},
        temperature=calibration.temperature,
        conformal=calibration.conformal,
        novelty=_novelty(fitting, recipe),
        header={
            **record.provenance(embedding_set, material),
            "metrics": metrics,
            "chosen": chosen,
            "baselines": metrics["baselines"],
            "suspects": record.suspects(embedding_set, fitting, held_out, calibration, metrics),
            "duplicates": doubles,
            "curve": learning_curve(material, kind, seed=recipe.seed) if recipe.curve else None,
            "coverage": recipe.coverage,
            "strict": recipe.strict,
            "warnings": record.warnings(embedding_set, material, metrics, doubles)
            + record.set_warnings(calibration, held_out if setting is None else setting, recipe),
            "command": recipe.command,
            "seed": recipe.seed,
        },
    )


def _require_convertible(recipe: Recipe, material: Material) -> None:
    """Raise before the training if a foreign head could not be saved after it."""
    if not recipe.head.startswith(FOREIGN):
        return
    from featx.heads.foreign import require_convertible

    name = recipe.head.removeprefix(FOREIGN)
    require_convertible(name, material.rows.X.shape[1], len(material.names), recipe.task)


def _setting_rows(material: Material, twins: Duplicates, recipe: Recipe) -> NDArray[np.bool_]:
    """Return which rows make the sets of a strict head, and nothing else; (N,).

    Rows that are nearly equal stay together, since new items have no twin that the head knows.
    """
    if not recipe.strict:
        return np.zeros(len(material), dtype=bool)
    is_setting = (deal_folds(material.strata, STRICT_PARTS, seed=recipe.seed) == 0)[twins.groups]
    if material.task == "classify":
        # The head has to know every class.
        is_setting &= ~lost_classes(material, ~is_setting)[material.y]
    if is_setting.sum() < recipe.least_rows:
        message = (
            f"strict: {is_setting.sum()} of {len(material)} rows would make the sets or intervals;"
            f" coverage {recipe.coverage} needs {recipe.least_rows} or more;"
            " label more, or leave strict out"
        )
        raise InputError(message)
    return np.asarray(is_setting)


def _fit_chosen(
    material: Material,
    groups: NDArray[np.int64],
    recipe: Recipe,
    on_tried: Callable[[Tried], None] | None,
) -> tuple[Fitted, dict[str, Any]]:
    """Return a head of the kind asked for, or of the best kind, and how each kind did."""
    if recipe.head != "auto":
        return fit(recipe.head, material, seed=recipe.seed, groups=groups), {}
    tried = try_kinds(material, groups, seed=recipe.seed, on_tried=on_tried)
    best = choose(tried)
    compared = {each.kind: each.facts() for each in tried}
    if len(best.fitted.logits) == len(material):
        return best.fitted, compared
    return fit(best.kind, material, seed=recipe.seed, groups=groups), compared


def _held_out(material: Material, logits: NDArray[Any]) -> HeldOut:
    jitter = row_jitter(material.rows.X)
    return HeldOut(task=material.task, logits=logits, y=material.y, jitter=jitter)


def _scored(material: Material, fitted: Fitted) -> HeldOut:
    """Return what a head says of rows that it was not fitted to."""
    head = Head(kind=fitted.kind, classes=material.names, arrays=fitted.arrays)
    return _held_out(material, head.logits(material.rows.X))


def _novelty(material: Material, recipe: Recipe) -> Novelty:
    codes = material.strata
    n_classes = int(codes.max()) + 1
    return fit_novelty(material.rows.X, codes, n_classes=n_classes, quantile=recipe.novelty)


def _baselines(
    modality: str, material: Material, contents: Fetch | None, recipe: Recipe
) -> dict[str, float]:
    """Return what is reached by guessing, and by looking at the raw contents."""
    found = guess(material.task, material.y)
    if contents is None or not has_raw_baseline(modality):
        return found
    # Only the rows that the baseline will look at are fetched.
    sample = stratified_sample(material.strata, RAW_ROWS, seed=recipe.seed)
    y = material.y[sample]
    raw = RawBaseline(modality, material.task).fit(contents(material.rows.rows[sample].tolist()), y)
    if material.task == "classify":
        y = np.unique(y, return_inverse=True)[1]
    return found | {"raw": headline(material.task, raw.held_out_logits_, y)}
