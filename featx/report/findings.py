"""Everything that a page says, found before a line of it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from featx.data.origin import Contents
from featx.data.store import EmbeddingSet
from featx.errors import FeatxError, InputError
from featx.evaluate.baselines import has_raw_baseline
from featx.evaluate.curation.inspect import inspect_set
from featx.evaluate.curation.inspection import Inspection
from featx.evaluate.labelled import made_of, named
from featx.heads.moments import row_blocks
from featx.heads.novelty import Novelty
from featx.heads.predict import Head, check_space
from featx.report.judgement import (
    Judgement,
    distinct_rows,
    has_unseen,
    judge_held_out,
    judge_recorded,
    judge_unseen,
)
from featx.report.permitted import known_contents
from featx.report.places import Method, require_method
from featx.train.candidates import require_kind
from featx.train.curve import learning_curve, require_enough
from featx.train.material import Material
from featx.train.recipe import Recipe
from featx.train.train import train
from featx.transfer.adapt.made import MARK as ADAPTED

CURVE_ROWS = 20_000
"""Of more rows no curve is measured: it takes 25 fits, and `featx train --curve` measures it."""

Say = Callable[[str], None]
"""What is done with a line for people."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of a report.

    Attributes
    ----------
    head : str
        Kind of the head that is trained where none is given.
    curve, raw : bool
        Whether to measure the learning curve, and the baseline on raw features.
    layout : {"pca", "umap"}
        Of the map.
    seed : int
    command : str
        For the record.
    roots : tuple of Path
        Folders that may be read besides those of the set's source.
    """

    head: str = "auto"
    curve: bool = True
    raw: bool = True
    layout: Method = "pca"
    seed: int = 0
    command: str = ""
    roots: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found of a set, a head, or both; what there is none of is None.

    Attributes
    ----------
    subject : {"set", "head"}
        What the page is about.
    name : str
        Of its file.
    embedding_set : EmbeddingSet or None
    head : Head or None
    inspection : Inspection or None
    judgement : Judgement or None
    curve : dict or None
    distances : ndarray of float64, shape (N,), or None
        How unlike all others each row is; beyond `threshold` it is flagged.
    threshold : float
    notes : list of str
    """

    subject: Literal["set", "head"]
    name: str
    embedding_set: EmbeddingSet | None = None
    head: Head | None = None
    inspection: Inspection | None = None
    judgement: Judgement | None = None
    curve: dict[str, Any] | None = None
    distances: NDArray[np.float64] | None = None
    threshold: float = np.inf
    notes: list[str] = field(default_factory=list)


def of_head(head: Head, name: str) -> Findings:
    """Return what the file of a head says of it."""
    return Findings(
        subject="head",
        name=name,
        head=head,
        judgement=judge_recorded(head),
        curve=head.header.get("curve"),
        notes=list(head.header.get("warnings", [])),
    )


def of_set(embedding_set: EmbeddingSet, wish: Wish, say: Say) -> Findings:
    """Return what there is to say of a set; where it has classes, a head is trained on it.

    Raises
    ------
    UnknownNameError
        If there is no head of the kind that is asked for.
    MissingPackageError
        If the package is absent that lays the map out.
    """
    require_kind(wish.head, "classify")  # before what takes longer
    require_method(wish.layout, len(embedding_set))
    say("looking for wrong labels, duplicates and strange items")
    inspection = inspect_set(embedding_set, seed=wish.seed)
    name, notes = embedding_set.path.name, list(inspection.notes)
    distances = 1 - inspection.likeness
    least = 1 - inspection.outliers.likeness.max(initial=-1)
    threshold = float(np.nextafter(least, -1)) if len(inspection.outliers) else np.inf
    head, judgement, curve = None, None, None
    if inspection.classes:
        say("training a head")
        recipe = Recipe(head=wish.head, seed=wish.seed, command=wish.command)
        head = _with_raw(
            lambda contents: train(embedding_set, recipe, contents=contents),
            embedding_set,
            wish,
            notes,
        )
        notes += head.header["warnings"]
        material, groups = distinct_rows(embedding_set)
        if has_unseen(head, embedding_set):
            judgement = _unseen(head, embedding_set, wish, notes)
        elif "metrics" in head.header:
            judgement = judge_held_out(head, material, groups, _name_of(head, wish.head))
        curve = _curve(material, _name_of(head, wish.head), wish, notes)
    return Findings(
        subject="set",
        name=name,
        embedding_set=embedding_set,
        head=head,
        inspection=inspection,
        judgement=judgement,
        curve=curve,
        distances=distances,
        threshold=threshold,
        notes=list(dict.fromkeys(notes)),
    )


def of_head_on_set(
    head: Head, name: str, embedding_set: EmbeddingSet, wish: Wish, say: Say
) -> Findings:
    """Return what there is to say of a head by the rows of a set.

    Raises
    ------
    SpaceError
        If the set lies in another space than the head.
    MissingPackageError
        If the package is absent that lays the map out.
    """
    require_method(wish.layout, len(embedding_set))
    where = named(embedding_set)
    note = check_space(
        head,
        embedding_set.fingerprint,
        embedding_set.space,
        where=where,
        made=made_of(embedding_set),
    )
    say("looking for wrong labels, duplicates and strange items")
    inspection = inspect_set(embedding_set, seed=wish.seed)
    notes = [*([note] if note else []), *head.header.get("warnings", []), *inspection.notes]
    say("asking the head")
    judgement = _judged(head, embedding_set, wish, notes)
    distances, threshold = _novelty(head, embedding_set, inspection)
    return Findings(
        subject="head",
        name=name,
        embedding_set=embedding_set,
        head=head,
        inspection=inspection,
        judgement=judgement,
        curve=head.header.get("curve"),
        distances=distances,
        threshold=threshold,
        notes=list(dict.fromkeys(notes)),
    )


def _judged(
    head: Head, embedding_set: EmbeddingSet, wish: Wish, notes: list[str]
) -> Judgement | None:
    """Judge a head by the rows of a set, or by what its file says where these cannot judge it."""
    if all(label is None for label in embedding_set.y):
        notes.append("no item of the set has a label to judge the head by")
    elif has_unseen(head, embedding_set):
        return _unseen(head, embedding_set, wish, notes)
    elif not _can_be_fitted_again(head):
        notes.append("the head was made of all labelled items: none is left to judge it by")
    else:
        try:
            return _held_out(head, embedding_set, notes)
        except InputError as cause:
            notes.append(f"the items of the set do not judge the head: {cause}")
    judgement = judge_recorded(head)
    if judgement is not None:
        notes.append("what is said of accuracy is what was measured when the head was made")
    return judgement


def _can_be_fitted_again(head: Head) -> bool:
    """Return whether a fit to its rows makes a head: not so where it was adapted since."""
    return head.task == "classify" and "metrics" in head.header and ADAPTED not in head.header


def _unseen(head: Head, embedding_set: EmbeddingSet, wish: Wish, notes: list[str]) -> Judgement:
    """Judge a head by the rows that it was not trained on."""
    judgement = _with_raw(
        lambda contents: judge_unseen(head, embedding_set, contents), embedding_set, wish, notes
    )
    notes += judgement.measures["notes"]
    return judgement


def _held_out(head: Head, embedding_set: EmbeddingSet, notes: list[str]) -> Judgement:
    """Judge a head by rows that it was trained on, each by a fit without it."""
    judgement = judge_held_out(head, *distinct_rows(embedding_set), _name_of(head, head.kind))
    notes.append("the head was trained on all labelled items: each is judged by a fit without it")
    was = head.header["metrics"]
    if judgement.measures != was:
        notes.append(
            f"accuracy was {was['accuracy']:.3f} on {was['n']:,} items when the head was trained;"
            " items or labels are others now, and it is told of a head of its kind that is fitted"
            " to these alone"
        )
    return judgement


def _with_raw(
    run: Callable[[Contents | None], _T],
    embedding_set: EmbeddingSet,
    wish: Wish,
    notes: list[str],
) -> _T:
    """Run with the contents of a set; without, which is noted, where they may not be used."""
    if not wish.raw or not has_raw_baseline(embedding_set.modality):
        return run(None)
    try:
        return run(known_contents(embedding_set, wish.roots))
    except FeatxError as cause:
        found = run(None)  # which raises it again, if it was not of the contents
        notes.append(f"no baseline on raw features: {cause}")
        return found


def _novelty(
    head: Head, embedding_set: EmbeddingSet, inspection: Inspection
) -> tuple[NDArray[np.float64], float]:
    """Return how unlike the training rows each row is, and what is too far."""
    if not isinstance(head.novelty, Novelty):
        return 1 - inspection.likeness, np.inf
    X, n = embedding_set.X, len(embedding_set)
    distances = np.full(n, np.nan)
    for part in row_blocks(np.empty(n)):
        rows = np.asarray(X[part])
        finite = np.isfinite(rows).all(axis=1)
        distances[part][finite] = head.novelty.distances(rows[finite])
    return distances, head.novelty.threshold


def _name_of(head: Head, asked: str) -> str:
    """Return the kind of a head, as it is asked for."""
    return asked if asked.startswith("sklearn:") else head.kind


def _curve(material: Material, kind: str, wish: Wish, notes: list[str]) -> dict[str, Any] | None:
    """Return the learning curve; None, and a note, where there are too few rows or too many."""
    if not wish.curve:
        return None
    if len(material) > CURVE_ROWS:
        notes.append(
            f"no learning curve of {len(material):,} items; run: featx train SET -o X.head --curve"
        )
        return None
    try:
        require_enough(material)
    except InputError as few:
        notes.append(f"no learning {few}")
        return None
    return learning_curve(material, kind, seed=wish.seed)
