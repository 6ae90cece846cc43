"""What `featx.heads.knn` is given, checked."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import InputError
from featx.heads.examples import Facts, refuse_doubles
from featx.index.metric import METRICS
from featx.index.voting import Weights
from featx.types import Rows

Priors = Literal["uniform"] | Mapping[Any, float] | ArrayLike | None


def check_vote(k: object, temperature: object, metric: str, weights: str) -> None:
    """Raise if a parameter of the vote is out of range.

    Raises
    ------
    InputError
    """
    if k != "auto" and not _is_at_least_one(k):
        raise InputError(f"k: found {k!r}; must be at least 1 or 'auto'")
    if temperature != "auto" and not (isinstance(temperature, float | int) and temperature > 0):
        raise InputError(f"temperature: found {temperature!r}; must be above 0 or 'auto'")
    _one_of("metric", metric, METRICS)
    _one_of("weights", weights, get_args(Weights))
    if weights == "distance" and metric == "dot":
        raise InputError("weights: found 'distance' with metric 'dot', which has none; try 'l2'")


def _is_at_least_one(k: object) -> bool:
    return isinstance(k, int | np.integer) and not isinstance(k, bool) and bool(k >= 1)


def _one_of(name: str, found: object, allowed: Sequence[str]) -> None:
    if found not in allowed:
        raise InputError(f"{name}: found {found!r}; must be one of {', '.join(allowed)}")


def prior_shares(priors: Priors, classes: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return how common each class will be, shape (C,), summing to one; None where nothing is said.

    Raises
    ------
    InputError
        If labels are missing or unknown, or shares cannot be.
    """
    if priors is None:
        return None
    if isinstance(priors, str):
        _one_of("priors", priors, ("uniform",))
        return np.full(len(classes), 1 / len(classes))
    if isinstance(priors, Mapping):
        labels = classes.tolist()
        odd = [label for label in labels if label not in priors]
        odd += [label for label in priors if label not in labels]
        if odd:
            raise InputError(f"priors: {odd[0]!r} is in the classes or the priors, not in both")
        priors = [priors[label] for label in labels]
    shares = np.asarray(priors, np.float64)
    if shares.shape != classes.shape:
        raise InputError(f"priors: shape {shares.shape}; must be ({len(classes)},), one a class")
    if not (shares >= 0).all() or not 0 < shares.sum() < math.inf:
        raise InputError(f"priors: found {shares.tolist()}; must be 0 or more, not all 0")
    return np.asarray(shares / shares.sum())


def widened(classes: ArrayLike | None, known: NDArray[Any] | None) -> NDArray[Any]:
    """Return the sorted classes of a head that may know some already.

    Raises
    ------
    InputError
        If there are none, or a known one is left out.
    """
    if classes is None:
        if known is None:
            raise InputError("classes: found None in the first call; name every label to come")
        return known
    wanted = np.unique(np.asarray(classes))
    if known is not None and not np.isin(known, wanted).all():
        lost = known[~np.isin(known, wanted)].tolist()
        raise InputError(f"classes: {lost[0]!r} is left out; name the known ones too")
    return wanted


def codes_of(labels: NDArray[Any], classes: NDArray[Any]) -> Rows:
    """Return the position of each label among the sorted classes.

    Raises
    ------
    InputError
        Naming a label that is not there.
    """
    codes = np.searchsorted(classes, labels).clip(max=len(classes) - 1).astype(np.int64)
    odd = np.flatnonzero(classes[codes] != labels)
    if len(odd):
        found = labels[odd[0]].item() if hasattr(labels[odd[0]], "item") else labels[odd[0]]
        message = f"y: {found!r} is not among the classes; name it with the others in classes="
        raise InputError(message)
    return codes


def facts_of(
    codes: Rows,
    ids: Sequence[Hashable] | None,
    uris: Sequence[str] | None,
    *,
    first: int | None,
) -> Facts:
    """Return the facts of new rows, with an id and a URI each.

    Parameters
    ----------
    codes : ndarray of int64, shape (N,)
    ids, uris : sequence of length N, or None
    first : int or None
        The number that names the first row; None where rows have ids of their own.

    Raises
    ------
    InputError
        If lengths differ, an id is given twice, or ids are given for some rows and not others.
    """
    for name, given in (("ids", ids), ("uris", uris)):
        if given is not None and len(given) != len(codes):
            raise InputError(f"{name}: found {len(given)}; X has {len(codes)} rows")
    if (ids is None) == (first is None):
        found = "none, but earlier rows have some" if ids is None else "some, but earlier rows none"
        raise InputError(f"ids: found {found}; give them to every row or to none")
    where = _column([""] * len(codes) if uris is None else uris)
    if ids is None or first is not None:
        return Facts(codes, np.arange(len(codes)) + (first or 0), where)
    names = _column(plain(ids))
    refuse_doubles(names)
    return Facts(codes, names, where)


def _column(values: Sequence[Any]) -> NDArray[np.object_]:
    # Unlike `np.array` it takes tuples as they are.
    return np.fromiter(values, dtype=object, count=len(values))


def plain(ids: Sequence[Hashable]) -> list[Hashable]:
    """Return ids with Python's own numbers and texts for NumPy's."""
    return [each.item() if isinstance(each, np.generic) else each for each in ids]
