"""Admission: which items may be added to a gallery and removed from it."""

from collections.abc import Sequence
from dataclasses import replace as replaced

import numpy as np

from featx.errors import InputError, TakenError
from featx.gallery.changelog import Change
from featx.gallery.held import Held
from featx.gallery.items import ItemFacts
from featx.index.metric import LARGEST_NORM, UNIT_SLACK, matrix, refuse_unfit, row_norms
from featx.types import Vectors

NAMED = 3
"""Ids that a message names."""


def additions(
    held: Held,
    ids: Sequence[str],
    X: Vectors,
    facts: Sequence[ItemFacts] | None,
    *,
    replace: bool,
) -> list[Change]:
    """Return the changes that add items; vectors are scaled to length one for cosines.

    Raises
    ------
    InputError
        If they cannot be added; see `Gallery.add`.
    """
    _refuse_one("add", ids)
    facts = [ItemFacts()] * len(ids) if facts is None else facts
    X = _vectors(held, X)
    if not len(ids) == len(X) == len(facts):
        found = f"{len(ids)} ids, {len(X)} vectors and {len(facts)} facts"
        raise InputError(f"add: {found}; needs one of each an item")
    _refuse_unfit(ids, facts)
    facts = [_without_empty(each) for each in facts]
    there = list(held.find_all(ids))
    if there and not replace:
        raise TakenError(
            f"add: {_listed(there)} is in the gallery; choose another id, or replace it"
        )
    known = set(there)
    return [
        Change("replace" if item_id in known else "add", item_id, vector, each)
        for item_id, vector, each in zip(ids, X, facts, strict=True)
    ]


def removals(held: Held, ids: Sequence[str]) -> list[Change]:
    """Return the changes that remove items.

    Raises
    ------
    InputError
        If an id is not there, or is given twice.
    """
    _refuse_one("remove", ids)
    _refuse_repeated("remove", ids)
    there = held.find_all(ids)
    missing = [item_id for item_id in ids if item_id not in there]
    if missing:
        raise InputError(f"remove: no item has the id {_listed(missing)}; nothing was removed")
    return [Change("remove", item_id) for item_id in ids]


def _refuse_one(where: str, ids: Sequence[str]) -> None:
    if isinstance(ids, str):
        raise InputError(f"{where}: ids is the text {ids!r}; must be a list of ids: [{ids!r}]")


def _vectors(held: Held, X: Vectors) -> Vectors:
    X = matrix(X, "add")
    # Numbers of Python: items mostly come one by one, and each step of NumPy takes as long as ten.
    norms: list[float] = row_norms(X).tolist()
    if not all(norm <= LARGEST_NORM for norm in norms):
        refuse_unfit(np.array(norms), "add")
    dim = held.dim
    if X.shape[1] != dim:
        raise InputError(
            f"add: vectors of {X.shape[1]} dimensions; the gallery has {dim}; embed the items "
            f"with {held.facts['model']}"
        )
    if held.metric != "cosine":
        return X
    if 0.0 in norms:
        raise InputError(
            f"add: row {norms.index(0.0)} is zero, which has no direction; "
            "drop it or embed it again"
        )
    divisors = [1.0 if abs(norm - 1) <= UNIT_SLACK else norm for norm in norms]
    if all(divisor == 1 for divisor in divisors):
        return X
    unit: Vectors = (X / np.array(divisors)[:, None]).astype(np.float32)
    return unit


def _refuse_unfit(ids: Sequence[str], facts: Sequence[ItemFacts]) -> None:
    _refuse_repeated("add", ids)
    for item_id, each in zip(ids, facts, strict=True):
        label, split = ("" if text is None else text for text in (each.label, each.split))
        texts = (item_id, label, split, each.uri, each.preview)
        if not item_id or not all(_is_text(text) for text in texts):
            raise InputError(f"add: {item_id!r}: ids and facts must be text, ids not empty")


def _without_empty(facts: ItemFacts) -> ItemFacts:
    """Return facts in which a label or split that is empty is none."""
    if facts.label != "" and facts.split != "":
        return facts
    return replaced(facts, label=facts.label or None, split=facts.split or None)


def _is_text(text: object) -> bool:
    """Return whether it is a text that UTF-8 can hold: half of a surrogate pair is none."""
    if not isinstance(text, str):
        return False
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _refuse_repeated(what: str, ids: Sequence[str]) -> None:
    given: Sequence[object] = ids
    for item_id in given:
        if not isinstance(item_id, str):
            raise InputError(f"{what}: {item_id!r} is no id; ids are text")
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    twice = [item_id for item_id in ids if item_id in seen or seen.add(item_id)]  # type: ignore[func-returns-value]
    raise InputError(f"{what}: {_listed(twice)} is given twice; give each id once")


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(repr(item_id) for item_id in ids[:NAMED]) + more
