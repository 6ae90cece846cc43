"""Choose, tune and calibrate a head on a labelled set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.baselines import MAX_ROWS as RAW_ROWS
from featx.evaluate.baselines import RawBaseline, guess, has_raw_baseline, sampled
from featx.evaluate.duplicates import Duplicates
from featx.evaluate.labelled import LabelledSet, set_jitter
from featx.evaluate.measures import headline
from featx.heads.folds import deal_folds, stratified_sample
from featx.heads.novelty import Novelty, fit_novelty
from featx.heads.predict import Head
from featx.train import record
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.candidates import FOREIGN, Fitted, fit, refit, require_kind
from featx.train.choose import Tried, choose, try_kinds
from featx.train.curve import learning_curve, require_enough
from featx.train.material import Material, lost_classes, read_material
from featx.train.recipe import Recipe
from featx.train.shots import draw_shots, scarce, shot_facts
from featx.train.twins import find_twins, one_of_each
from featx.types import Content, Rows

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

    All that the header says of the head's quality comes from held-out logits of one fit: exact
    leave-one-out where there is a closed form (ridge, lda, centroid, knn), folds otherwise.  They
    also make the temperature and the conformal sets, which are measured on parts that they were
    not fitted to.  The choice of the penalty and of the kind is not held out.

    Where rows are nearly equal, that fit is one to the first of each group, since a row whose twin
    stays is no item left out.  The head that is kept is of that kind and penalty, fitted to all
    rows, of which a group weighs as much as one row (`featx.train.candidates.refit`).  Where none
    has a twin, the one fit is both.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    recipe : Recipe, optional
    contents : callable, optional
        Row numbers of the set → their raw contents; with it the raw-feature baseline is measured,
        on at most 2,000 of the rows that the head is judged by.
    on_tried : callable, optional
        Called with each kind of head that ``auto`` has tried.

    Returns
    -------
    Head
        ``header["metrics"]`` holds what `featx.evaluate.measures` says, ``baselines``,
        ``classes`` (their number) and ``chosen``, and is absent where half of the classes or more
        have one row, gone when held out; ``header["labels"]`` how many rows were used;
        ``header["coverage"]`` what sets or intervals are to reach; ``header["suspects"]`` labels
        that are probably wrong; ``header["duplicates"]`` rows that are nearly equal, and how many
        ``distinct`` ones the head was judged by; ``header["curve"]`` the learning curve or None;
        ``header["shots"]``, where they were asked for, what `featx.train.shots.shot_facts` says;
        ``header["warnings"]`` what a person should know.

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
    labelled = read_material(embedding_set, recipe.task)
    is_drawn = draw_shots(labelled, recipe.shots, seed=recipe.seed)
    material = labelled if is_drawn.all() else labelled.take(is_drawn)
    _require_convertible(recipe, material)
    twins = find_twins(material.rows.X)
    parts = _parts(material, twins, recipe)
    if recipe.curve:
        require_enough(parts.distinct)
    fitted, compared = _fit_chosen(parts, recipe, on_tried)
    kind = recipe.head if recipe.head.startswith(FOREIGN) else fitted.kind
    has_twins = len(parts.judged) < len(parts.fitting)
    kept = refit(fitted, parts.fitting, parts.groups, seed=recipe.seed) if has_twins else fitted
    held_out = _held_out(embedding_set, parts.judged, fitted.logits, recipe)
    setting = _scored(embedding_set, parts.setting, kept, recipe) if parts.setting else None
    calibration = calibrate(held_out, recipe, setting)
    chosen = {"head": fitted.kind, **fitted.tuned, "compared": compared}
    baselines, raw_notes = _baselines(embedding_set.modality, parts.distinct, contents, recipe)
    metrics = None
    if not _is_lone(parts.judged):
        metrics = {
            **measure(held_out, recipe, setting),
            "baselines": baselines,
            "classes": len(material.names),
            "chosen": chosen,
        }
    of_fitting = Duplicates(parts.groups, twins.different, twins.searched)
    doubles = record.duplicates(embedding_set, parts.fitting, of_fitting, len(parts.judged))
    curve = learning_curve(parts.distinct, kind, seed=recipe.seed) if recipe.curve else None
    return Head(
        kind=kept.kind,
        task=recipe.task,
        classes=material.names,
        arrays={**kept.arrays, **calibration.arrays, "trained_digests": material.rows.digests},
        temperature=calibration.temperature,
        conformal=calibration.conformal,
        novelty=_novelty(parts.judged, recipe),
        header={
            **record.provenance(embedding_set, material),
            **({} if metrics is None else {"metrics": metrics}),
            "chosen": chosen,
            "baselines": baselines,
            "suspects": record.suspects(
                embedding_set, parts.judged, held_out, calibration, metrics
            ),
            "duplicates": doubles,
            "curve": curve,
            **_of_shots(kept, labelled, is_drawn, recipe),
            "coverage": recipe.coverage,
            "strict": recipe.strict,
            "warnings": [
                *scarce(labelled, recipe.shots),
                *record.warnings(embedding_set, parts.distinct, metrics),
                *record.twin_warnings(of_fitting, doubles),
                *raw_notes,
                *record.set_warnings(calibration, setting or held_out, recipe),
            ],
            "command": recipe.command,
            "seed": recipe.seed,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The rows of a training run, by what they are for.

    Attributes
    ----------
    distinct : Material
        One of each group of nearly equal rows.
    fitting : Material
        Those that the head that is kept is fitted to.
    groups : ndarray of int64
        Of the rows of `fitting`.
    judged : Material
        One of each group of those.
    judged_groups : ndarray of int64
        Of the rows of `judged`; a few may share one, where their classes differ.
    setting : Material or None
        Those that make the sets of a strict head, and nothing else, one of each group.
    """

    distinct: Material
    fitting: Material
    groups: Rows
    judged: Material
    judged_groups: Rows
    setting: Material | None


def _parts(material: Material, twins: Duplicates, recipe: Recipe) -> _Parts:
    # Taking rows copies them, and there may be many.
    distinct, groups = one_of_each(material, twins.groups)
    if not recipe.strict:
        return _Parts(
            distinct=distinct,
            fitting=material,
            groups=twins.groups,
            judged=distinct,
            judged_groups=groups,
            setting=None,
        )
    is_setting = _setting_rows(material, twins, recipe)
    fitting, of_fitting = material.take(~is_setting), twins.groups[~is_setting]
    judged, groups = one_of_each(fitting, of_fitting)
    return _Parts(
        distinct=distinct,
        fitting=fitting,
        groups=of_fitting,
        judged=judged,
        judged_groups=groups,
        setting=one_of_each(material.take(is_setting), twins.groups[is_setting])[0],
    )


def _is_lone(material: Material) -> bool:
    """Return whether half of the classes or more have one row: held out, the class is gone."""
    return material.task == "classify" and float(np.median(material.counts())) < 2


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
    is_setting = (deal_folds(material.strata, STRICT_PARTS, seed=recipe.seed) == 0)[twins.groups]
    if material.task == "classify":
        # The head has to know every class.
        is_setting &= ~lost_classes(material, ~is_setting)[material.y]
    n = len(np.unique(twins.groups[is_setting]))
    if n < recipe.least_rows:
        message = (
            f"strict: {n} of {len(np.unique(twins.groups))} rows would make the sets or intervals;"
            f" coverage {recipe.coverage} needs {recipe.least_rows} or more;"
            " label more, or leave strict out"
        )
        raise InputError(message)
    return np.asarray(is_setting)


def _fit_chosen(
    parts: _Parts, recipe: Recipe, on_tried: Callable[[Tried], None] | None
) -> tuple[Fitted, dict[str, Any]]:
    """Return a head of the kind asked for, or of the best kind, and how each kind did."""
    material, groups = parts.judged, parts.judged_groups
    if recipe.head != "auto":
        return fit(recipe.head, material, seed=recipe.seed, groups=groups), {}
    tried = try_kinds(material, groups, seed=recipe.seed, on_tried=on_tried)
    best = choose(tried)
    compared = {each.kind: each.facts() for each in tried}
    if len(best.fitted.logits) == len(material):
        return best.fitted, compared
    return fit(best.kind, material, seed=recipe.seed, groups=groups), compared


def _held_out(
    embedding_set: LabelledSet, material: Material, logits: NDArray[Any], recipe: Recipe
) -> HeldOut:
    is_random = material.task == "classify" and recipe.conformal == "aps"
    jitter = set_jitter(embedding_set, material.rows) if is_random else np.zeros(len(material))
    return HeldOut(task=material.task, logits=logits, y=material.y, jitter=jitter)


def _scored(
    embedding_set: LabelledSet, material: Material, fitted: Fitted, recipe: Recipe
) -> HeldOut:
    """Return what a head says of rows that it was not fitted to."""
    head = _plain_head(fitted, material)
    return _held_out(embedding_set, material, head.logits(material.rows.X), recipe)


def _of_shots(
    fitted: Fitted, labelled: Material, is_drawn: NDArray[np.bool_], recipe: Recipe
) -> dict[str, Any]:
    """Return what the header says of rows that were drawn and of the rest; {} if all are taken."""
    if recipe.shots is None:
        return {}
    return {"shots": shot_facts(_plain_head(fitted, labelled), labelled, is_drawn, recipe.shots)}


def _plain_head(fitted: Fitted, material: Material) -> Head:
    """Return a head that gives logits and nothing else."""
    return Head(kind=fitted.kind, classes=material.names, arrays=fitted.arrays)


def _novelty(material: Material, recipe: Recipe) -> Novelty:
    codes = material.strata
    n_classes = int(codes.max()) + 1
    return fit_novelty(material.rows.X, codes, n_classes=n_classes, quantile=recipe.novelty)


def _baselines(
    modality: str, material: Material, contents: Fetch | None, recipe: Recipe
) -> tuple[dict[str, float], list[str]]:
    """Return what is reached by guessing, and by looking at the raw contents, with notes."""
    found = guess(material.task, material.y)
    if contents is None or not has_raw_baseline(modality):
        return found, []
    # Only the rows that the baseline will look at are fetched.
    sample = stratified_sample(material.strata, RAW_ROWS, seed=recipe.seed)
    y = material.y[sample]
    raw = RawBaseline(modality, material.task).fit(contents(material.rows.rows[sample].tolist()), y)
    if material.task == "classify":
        y = np.unique(y, return_inverse=True)[1]
    reached = {"raw": headline(material.task, raw.held_out_logits_, y)}
    return found | reached, sampled(len(sample), len(sample), (len(material), len(sample)))
