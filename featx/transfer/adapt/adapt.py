"""Adapt a head to a set of another domain."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from featx.errors import InputError
from featx.evaluate.labelled import LabelledSet
from featx.heads.predict import Head
from featx.transfer.adapt.choose import Judged
from featx.transfer.adapt.made import MARK, adapted_head
from featx.transfer.adapt.origin import read_source, remembered_source, remembers
from featx.transfer.adapt.recipe import AUTO, LABELLED, Recipe
from featx.transfer.adapt.shift import Shift, measure_shift
from featx.transfer.adapt.solve import Problem, solve
from featx.transfer.adapt.target import read_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an adaptation.

    Attributes
    ----------
    head : Head
        The adapted one, or the source's, unchanged.
    is_adapted : bool
    reason : str
    method : str or None
        None where the head was kept.
    expected_gain : float or None
        Share of the target's items that are expected to be right more than before.
    interval : (float, float) or None
        Of 95 %, of that share, where labels tell it.
    shift : Shift or None
        None where there are no rows to measure it on.
    compared : tuple of Judged
        What ``auto`` looked at.
    notes : tuple of str
        What a person should know.
    """

    head: Head
    is_adapted: bool
    reason: str
    method: str | None
    expected_gain: float | None
    interval: tuple[float, float] | None
    shift: Shift | None
    compared: tuple[Judged, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values, without the head and the notes."""
        return {
            "adapted": self.is_adapted,
            "reason": self.reason,
            "method": self.method,
            "expected_gain": self.expected_gain,
            "interval": self.interval,
            "shift": {} if self.shift is None else self.shift.facts(),
            "compared": [asdict(each) for each in self.compared],
        }


def adapt_head(
    head: Head,
    target: LabelledSet,
    *,
    source: LabelledSet | None = None,
    recipe: Recipe | None = None,
) -> Outcome:
    """Return a head for the items of another domain, or the same head and why.

    Labels of the target are not looked at, but by the method ``labelled``.  Splits ``test`` and
    ``val`` of the target are not looked at at all, unless there is nothing else.

    Parameters
    ----------
    head : Head
        Of classes.
    target : EmbeddingSet
    source : EmbeddingSet, optional
        What the head was trained on.  Without it only what the head itself remembers is known of
        its rows: ``auto`` refuses then, and the other methods do with means and covariances.
    recipe : Recipe, optional

    Raises
    ------
    SpaceError
        If the target lies in another space than the head.
    InputError
        If the head is not one of classes or was adapted already, the target has labels of other
        classes alone, it is too small for the method, or too little is known of the source, or
        that tells no classes apart.
    """
    recipe = recipe or Recipe()
    if MARK in head.header:
        message = "adapt: this head was adapted already; adapt the one that it was made of"
        raise InputError(message)
    if head.task != "classify":
        message = f"adapt: the head's task is {head.task!r}; expected 'classify'"
        raise InputError(message)
    read = read_target(target, head, seed=recipe.seed)
    notes = list(read.notes)
    if not len(read):
        found = "the target holds no other items than those that the head was trained on"
        if recipe.method == AUTO:
            return _kept(head, found, notes)
        message = f"{read.name}: {found}; embed items of another domain"
        raise InputError(message)
    if source is None:
        notes.append("the rows that the head was trained on are not at hand; --source names them")
        if recipe.method == AUTO and not remembers(head):
            return _kept(head, "the head remembers nothing of the rows it was trained on", notes)
    known = remembered_source(head) if source is None else read_source(head, source)
    shift = measure_shift(known, read.X, head.classes, head.novelty, seed=recipe.seed)
    before = head.logits(read.X).argmax(axis=1)
    problem = Problem(source=known, X=read.X, before=before, codes=read.codes, shift=shift)
    solved = solve(problem, recipe)
    kept = _kept(head, solved.reason, notes, shift)
    if solved.method is None:
        return replace(kept, compared=solved.compared)
    made = adapted_head(head, solved, read, target.fingerprint, shift, recipe)
    return replace(
        kept,
        head=made,
        is_adapted=True,
        method=solved.method,
        expected_gain=solved.expected_gain,
        interval=solved.interval,
        compared=solved.compared,
        notes=tuple(dict.fromkeys([*notes, *_unasked(shift, recipe), *made.header["warnings"]])),
    )


def _unasked(shift: Shift, recipe: Recipe) -> list[str]:
    """Return a note where a method was asked for that no shift asks for."""
    if shift.is_seen or recipe.method in {AUTO, LABELLED}:
        return []
    return [
        "the domains cannot be told apart (the proxy A-distance may be 0), so that there may be"
        " nothing to adapt to; --method auto leaves such a head as it is"
    ]


def _kept(head: Head, reason: str, notes: list[str], shift: Shift | None = None) -> Outcome:
    """Return the outcome that leaves everything as it is."""
    return Outcome(
        head=head,
        is_adapted=False,
        reason=reason,
        method=None,
        expected_gain=None,
        interval=None,
        shift=shift,
        compared=(),
        notes=tuple(notes),
    )
