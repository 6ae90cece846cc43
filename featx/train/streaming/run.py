"""A head of a set that is read in blocks, twice at most, and never held."""

import time
from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.evaluate.labelled import set_jitter
from featx.heads.novelty import novelty_of
from featx.heads.predict import Head
from featx.train import record
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.candidates import Fitted
from featx.train.choose import Tried, choose, losses_and_hits
from featx.train.recipe import FOLDS, Recipe
from featx.train.streaming.heads import KINDS, Gathered, fit_gathered, solved_for
from featx.train.streaming.plan import SAMPLE_ROWS, Each, Plan, count_used, make_plan, parts_of
from featx.train.streaming.sampled import SampledSet
from featx.train.streaming.statistics import (
    MOST_DIGESTS,
    Sample,
    Scores,
    Statistics,
    scores_of_segment,
    statistics_of_segment,
)

STREAMED_BYTES = 4 << 30
"""Sets whose labelled vectors take more are streamed unless they are asked not to be."""


def is_streamed(opened: EmbeddingSet, recipe: Recipe) -> bool:
    """Return whether a head is trained by streaming where nobody says: a large set of classes.

    Examples of what is not streamed at any size are heads that need all rows, such as knn.  Labels
    are counted where all rows together are large.
    """
    if recipe.head not in {"auto", *KINDS} or _unstreamed(recipe):
        return False
    if 4 * len(opened) * opened.dim <= STREAMED_BYTES:
        return False
    rows = count_used(opened)
    return rows >= opened.dim and 4 * rows * opened.dim > STREAMED_BYTES


def train_streamed(
    opened: EmbeddingSet,
    recipe: Recipe | None = None,
    *,
    each: Each[Any] = map,
    sample_rows: int = SAMPLE_ROWS,
    on_tried: Callable[[Tried], None] | None = None,
) -> Head:
    """Fit a head to the labelled rows of a set from sums over its segments.

    Ridge, lda and centroid heads are those that `featx.train.train.train` makes of the same rows,
    up to rounding, where no two rows are nearly equal: those are not looked for here, and items of
    equal contents count each.  Temperature, conformal sets, novelty and what is said of quality
    come from exact leave-one-out logits of a sample of the rows.  Memory holds that sample, D x D
    numbers and a block.

    Parameters
    ----------
    opened : EmbeddingSet
    recipe : Recipe, optional
    each : callable, default ``map``
        Applies a function to segments; may do so on other machines, which see the set.
    sample_rows : int
        About as many rows are in the sample.
    on_tried : callable, optional
        Called with each kind of head that ``auto`` has tried.

    Raises
    ------
    InputError
        If the recipe asks for what needs all rows at once, or there are fewer than two classes,
        or fewer rows than dimensions.
    """
    recipe = recipe or Recipe()
    _require_streamable(recipe)
    plan = make_plan(opened, each, seed=recipe.seed, sample_rows=sample_rows)
    statistics, gathered = _gather(opened, plan, recipe, each)
    sampled = SampledSet(opened, plan, gathered.sample)
    fitted, compared = _chosen(gathered, sampled, recipe, on_tried)
    return _head(opened, sampled, fitted, compared, (recipe, statistics, gathered))


def _unstreamed(recipe: Recipe) -> str:
    """Return what of a recipe needs all rows at once; empty if nothing does."""
    asked = {
        f"task {recipe.task}": recipe.task != "classify",
        "shots": recipe.shots is not None,
        "strict": recipe.strict,
        "curve": recipe.curve,
    }
    return next((name for name, is_asked in asked.items() if is_asked), "")


def _require_streamable(recipe: Recipe) -> None:
    if name := _unstreamed(recipe):
        message = f"{name}: needs all rows at once; leave it out, or leave --streaming out"
        raise InputError(message)
    if recipe.head not in {"auto", *KINDS}:
        message = (
            f"head {recipe.head!r}: needs all rows at once; choose one of: auto, "
            f"{', '.join(KINDS)}, or leave --streaming out"
        )
        raise InputError(message)


def _gather(
    opened: EmbeddingSet, plan: Plan, recipe: Recipe, each: Each[Any]
) -> tuple[Statistics, Gathered]:
    """Read the set once, or twice where a kind of head asks for it."""
    kinds = KINDS if recipe.head == "auto" else (recipe.head,)
    parts = parts_of(opened)
    first = partial(statistics_of_segment, plan=plan)
    statistics = Statistics.joined(each(first, parts))
    moments = statistics.moments
    if moments is None or moments.weight < opened.dim:
        rows = 0 if moments is None else int(moments.weight)
        message = (
            f"{opened.where}: {rows:,} labelled rows of {opened.dim} numbers; streaming needs as "
            "many rows as numbers; give --no-streaming"
        )
        raise InputError(message)
    if (empty := np.flatnonzero(moments.class_weights() < 0.5)).size:
        message = (
            f"{opened.where}: all vectors of {plan.classes[empty[0]]!r} are NaN or infinite; "
            "delete the set and embed it again"
        )
        raise InputError(message)
    solved = solved_for(kinds, moments)
    scores = Scores()
    if solved.path is not None or solved.centre is not None:
        second = partial(scores_of_segment, plan=plan, solved=solved)
        scores = reduce(add, each(second, parts), Scores())
    gathered = Gathered(
        plan=plan,
        moments=moments,
        sample=Sample.joined(statistics.samples),
        solved=solved,
        scores=scores,
    )
    return statistics, gathered


def _chosen(
    gathered: Gathered,
    sampled: SampledSet,
    recipe: Recipe,
    on_tried: Callable[[Tried], None] | None,
) -> tuple[Fitted, dict[str, Any]]:
    """Return a head of the kind asked for, or of the best kind, and how each kind did."""
    if recipe.head != "auto":
        return fit_gathered(recipe.head, gathered), {}
    found = []
    for kind in KINDS:
        started_s = time.perf_counter()
        fitted = fit_gathered(kind, gathered)
        weights = gathered.weights
        losses, hits = losses_and_hits(
            fitted.logits, sampled.material, seed=recipe.seed, weights=weights
        )
        found.append(
            Tried(
                kind=kind,
                task="classify",
                fitted=fitted,
                losses=losses,
                hits=hits,
                weights=weights,
                seconds=time.perf_counter() - started_s,
            )
        )
        if on_tried is not None:
            on_tried(found[-1])
    return choose(found).fitted, {each.kind: each.facts() for each in found}


def _head(
    opened: EmbeddingSet,
    sampled: SampledSet,
    fitted: Fitted,
    compared: dict[str, Any],
    read: tuple[Recipe, Statistics, Gathered],
) -> Head:
    recipe, statistics, gathered = read
    plan, material, counts = gathered.plan, sampled.material, gathered.moments.class_weights()
    held_out = HeldOut(
        task="classify",
        logits=fitted.logits,
        y=material.y,
        jitter=_jitter(sampled, recipe),
        weights=gathered.weights,
    )
    calibration = calibrate(held_out, recipe)
    chosen = {"head": fitted.kind, **fitted.tuned, "compared": compared}
    baselines = {"majority": float(counts.max() / counts.sum())}
    metrics = {
        **measure(held_out, recipe),
        "baselines": baselines,
        "classes": len(plan.classes),
        "chosen": chosen,
    }
    return Head(
        kind=fitted.kind,
        task="classify",
        classes=plan.classes,
        arrays={**fitted.arrays, "trained_digests": statistics.all_digests()},
        temperature=calibration.temperature,
        conformal=calibration.conformal,
        novelty=novelty_of(
            gathered.moments,
            material.rows.X,
            material.y,
            quantile=recipe.novelty,
            weights=gathered.weights,
        ),
        header={
            **record.provenance(sampled, material),
            "labels": _labels(plan, counts),
            "metrics": metrics,
            "chosen": chosen,
            "baselines": baselines,
            "suspects": record.suspects(sampled, material, held_out, calibration, metrics),
            "duplicates": None,  # they were not looked for
            "curve": None,
            "coverage": recipe.coverage,
            "strict": False,
            "streamed": {"rows": int(counts.sum()), "sample": len(material)},
            "warnings": [
                *record.warnings(
                    sampled, material, metrics, counts=counts.round().astype(int).tolist()
                ),
                *_barely_sampled(plan, counts, material.counts()),
                *record.set_warnings(calibration, held_out, recipe),
                *_notes(opened, plan, statistics, len(material)),
            ],
            "command": recipe.command,
            "seed": recipe.seed,
        },
    )


def _jitter(sampled: SampledSet, recipe: Recipe) -> NDArray[np.float64]:
    if recipe.conformal != "aps":
        return np.zeros(len(sampled.material))
    return set_jitter(sampled, sampled.material.rows)


def _labels(plan: Plan, counts: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "rows": plan.rows,
        "used": int(counts.sum().round()),
        "unlabelled": plan.unlabelled,
        "counts": dict(zip(plan.classes, counts.round().astype(int).tolist(), strict=True)),
    }


def _barely_sampled(plan: Plan, counts: NDArray[np.float64], sampled: list[int]) -> list[str]:
    """Return a note on classes that have items enough, but hardly any in the sample."""
    few = np.flatnonzero((np.array(sampled) < FOLDS) & (counts.round() >= FOLDS))
    if not len(few):
        return []
    shown = ", ".join(
        f"{plan.classes[code]} ({sampled[code]})" for code in few[: record.SHOWN_NAMES]
    )
    more = ", ..." if len(few) > record.SHOWN_NAMES else ""
    classes = "class has" if len(few) == 1 else "classes have"
    return [
        f"{len(few):,} {classes} fewer than {FOLDS} rows in the sample: {shown}{more}; what is "
        "said of them is a rough estimate, or nothing; --no-streaming judges by all rows"
    ]


def _notes(opened: EmbeddingSet, plan: Plan, statistics: Statistics, sample: int) -> list[str]:
    """Return what a person should know of a head that was streamed."""
    notes = [
        f"read in blocks: what is said of the head comes from {sample:,} of {plan.used:,} rows; "
        "nearly equal rows were not looked for and may make it look better than it is"
    ]
    if statistics.unfit:
        n = statistics.unfit
        vectors = "labelled vector is" if n == 1 else "labelled vectors are"
        notes.append(
            f"{n:,} {vectors} NaN or infinite and left out, first that of row "
            f"{statistics.first_unfit:,}; to mend it delete {opened.where} and embed it again"
        )
    if plan.used > MOST_DIGESTS:
        notes.append(
            f"more than {MOST_DIGESTS:,} items: the head does not know them again, so score it on "
            "a split of its own, test or val"
        )
    return notes
