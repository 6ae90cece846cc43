"""Conformal sets: the classes that an item may well have, at a stated coverage, in plain NumPy.

Held-out probabilities say how badly the true class may fit; a set holds every class that fits no
worse.  If a new item is drawn like those, its set holds its class with at least `coverage`:

- ``lac``: misfit 1 - probability; the smallest sets (Sadinle, Lei and Wasserman 2019,
  arXiv:1609.00451).
- ``aps``: misfit is the probability of all likelier classes plus a random share of the class's
  own; sets that grow on hard items (Romano, Sesia and Candès 2020, arXiv:2006.02544).
- ``class``: ``lac`` with a quantile for each class, so that each is covered (Vovk 2012,
  arXiv:1209.2673, there called label-conditional, of the Mondrian kind).

A set may be empty: under ``lac`` and ``class`` where no class fits, under ``aps`` also by chance,
for its randomness is what makes the coverage exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.heads.moments import row_blocks

Method = Literal["lac", "aps", "class"]

# (n + 1) * share may come out this much above the whole number that it is.
_ROUNDING = 1e-9
# No misfit is above it, so that every class is in the set.
_EVERYTHING = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformal:
    """How sets are made.

    Attributes
    ----------
    method : str
        ``"lac"``, ``"aps"`` or ``"class"``.
    coverage : float
        Share of new items whose set is to hold their class; under ``class``, of each class.
    quantiles : ndarray of float64, shape (1,), or (C,) under ``class``
        Largest misfit in a set, 0 to 1; 1 puts the class in every set.
    """

    method: Method
    coverage: float
    quantiles: NDArray[np.float64]

    def sets(self, probabilities: NDArray[Any], jitter: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which classes (N, C) are in each row's set.

        Parameters
        ----------
        probabilities : ndarray, shape (N, C)
        jitter : ndarray of float64, shape (N,)
            From `item_jitter` or `row_jitter`; only ``aps`` reads it.

        Examples
        --------
        >>> made = Conformal(method="lac", coverage=0.9, quantiles=np.array([0.7]))
        >>> made.sets(np.array([[0.9, 0.1], [0.6, 0.4]]), np.zeros(2)).tolist()
        [[True, False], [True, True]]
        """
        return np.asarray(_misfits(self.method, probabilities, jitter) <= self.quantiles)


def fit_conformal(
    probabilities: NDArray[Any],
    codes: NDArray[np.int64],
    *,
    method: Method = "lac",
    coverage: float = 0.9,
    jitter: NDArray[np.float64] | None = None,
) -> Conformal:
    """Return sets that hold the true class of held-out items, and so of new ones like them.

    The quantile is the misfit of rank ceil((n + 1) * coverage).  Of fewer than
    ``coverage / (1 - coverage)`` items (of a class, under ``class``) none has that rank; no
    quantile can promise the coverage then, and everything is in the set.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
        Of items that the head has not been fitted to.
    codes : ndarray of int64, shape (N,)
        Their true columns.
    method : {"lac", "aps", "class"}
    coverage : float, above 0 and below 1
    jitter : ndarray of float64, shape (N,), optional
        From `item_jitter` or `row_jitter`; ``aps`` needs it.

    Raises
    ------
    InputError
        If `coverage` is out of range, or ``aps`` is without jitter.
    UnknownNameError
        If there is no such method.

    Examples
    --------
    >>> likely = np.linspace(0.5, 0.9, 9)
    >>> probabilities = np.column_stack([likely, 1 - likely])
    >>> fit_conformal(probabilities, np.zeros(9, dtype=np.int64)).quantiles.tolist()
    [0.5]
    """
    _check(method, coverage, jitter)
    own = own_misfits(method, probabilities, codes, jitter)
    return conformal_of(method, own, codes, n_classes=probabilities.shape[1], coverage=coverage)


def own_misfits(
    method: Method,
    probabilities: NDArray[Any],
    codes: NDArray[np.int64],
    jitter: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return how badly its true class fits each row, 0 to 1, shape (N,).

    Parameters
    ----------
    method : {"lac", "aps", "class"}
    probabilities : ndarray, shape (N, C)
    codes : ndarray of int64, shape (N,)
    jitter : ndarray of float64, shape (N,), or None
        Only ``aps`` reads it.
    """
    own = np.empty(len(codes))
    chance = np.zeros(len(codes)) if jitter is None else jitter
    for part in row_blocks(probabilities):
        misfits = _misfits(method, probabilities[part], chance[part])
        own[part] = misfits[np.arange(len(misfits)), codes[part]]
    return own


def conformal_of(
    method: Method,
    own: NDArray[np.float64],
    codes: NDArray[np.int64],
    *,
    n_classes: int,
    coverage: float,
    weights: NDArray[np.float64] | None = None,
) -> Conformal:
    """Return what `fit_conformal` does, from the misfits of the true classes.

    Parameters
    ----------
    method : {"lac", "aps", "class"}
    own : ndarray of float64, shape (N,)
        From `own_misfits`.
    codes : ndarray of int64, shape (N,)
    n_classes : int
    coverage : float, above 0 and below 1
    weights : ndarray of float64, shape (N,), optional
        How much each row counts, at most 1, alike for all of a class; all alike unless given.
    """
    if method == "class":
        # Of one class all count alike.
        each = (own[codes == code] for code in range(n_classes))
        quantiles = np.array([bound_at(misfits, coverage, _EVERYTHING) for misfits in each])
    else:
        quantiles = np.array([bound_at(own, coverage, _EVERYTHING, weights)])
    return Conformal(method=method, coverage=coverage, quantiles=quantiles)


def rank_at(n: int, share: float) -> int:
    """Return ceil((n + 1) * share): the rank, among n values, of the bound that is promised.

    A new value drawn like these is above that of this rank with a chance of at most 1 - `share`.
    Above `n` there is none: so few values promise nothing.

    Examples
    --------
    >>> rank_at(9, 0.9), rank_at(99, 0.55), rank_at(8, 0.9)
    (9, 55, 9)
    """
    return int(np.ceil((n + 1) * share - _ROUNDING))


def bound_at(
    values: NDArray[np.float64],
    share: float,
    otherwise: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the value of the rank of `rank_at`; `otherwise` where so few values promise nothing.

    Parameters
    ----------
    values : ndarray of float64, shape (N,)
    share : float
    otherwise : float
    weights : ndarray of float64, shape (N,), optional
        How much each counts, at most 1; the new one counts 1 (Tibshirani, Barber, Candès and Ramdas
        2019, arXiv:1904.06019).

    Examples
    --------
    >>> bound_at(np.arange(1.0, 20), 0.9, np.inf)
    18.0
    >>> bound_at(np.arange(1.0, 40), 0.9, np.inf, np.full(39, 0.5))
    37.0
    """
    if weights is None:
        rank = rank_at(len(values), share)
        return float(np.sort(values)[rank - 1]) if rank <= len(values) else otherwise
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    rank = int(np.searchsorted(reached, (reached[-1:].sum() + 1) * share - _ROUNDING))
    return float(values[order[rank]]) if rank < len(values) else otherwise


def item_jitter(ids: Sequence[str]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each id, from its BLAKE3 digest: the same on every machine.

    Examples
    --------
    >>> item_jitter(["a.png", "b.png"]).round(3).tolist()
    [0.935, 0.529]
    """
    return _uniform([blake3(each.encode("utf-8", "surrogatepass")).digest(8) for each in ids])


def row_jitter(X: NDArray[Any]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each row, from the digest of its values as float32.

    Serves where items have no id.  Equal rows get equal numbers.  `X` may be a memory map: it is
    read in blocks.
    """
    digests = []
    for part in row_blocks(X):
        # Adding zero makes -0 and 0 the same bytes; little-endian makes them so on every machine.
        plain = np.asarray(X[part], dtype=np.float32) + np.float32(0)
        rows = np.ascontiguousarray(plain, dtype="<f4")
        digests += [blake3(row.tobytes()).digest(8) for row in rows]
    return _uniform(digests)


def _uniform(digests: list[bytes]) -> NDArray[np.float64]:
    """Return the first 53 bits of each 8 bytes as a number in [0, 1)."""
    whole = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return np.asarray((whole >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _misfits(
    method: Method, probabilities: NDArray[Any], jitter: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how badly each class fits each row (N, C), 0 to 1."""
    likely = probabilities.astype(np.float64)
    if method != "aps":
        return np.asarray(np.clip(1 - likely, 0, 1))
    order = np.argsort(-likely, axis=1, kind="stable")
    ranked = np.take_along_axis(likely, order, axis=1)
    ranked = ranked.cumsum(axis=1) - (1 - jitter[:, None]) * ranked
    misfits = np.empty_like(likely)
    np.put_along_axis(misfits, order, ranked, axis=1)
    return np.clip(misfits, 0, 1)


def _check(method: str, coverage: float, jitter: NDArray[np.float64] | None) -> None:
    if method not in get_args(Method):
        raise UnknownNameError("conformal method", method, get_args(Method))
    if not 0 < coverage < 1:
        raise InputError(f"coverage: found {coverage!r}; must be above 0 and below 1, such as 0.9")
    if method == "aps" and jitter is None:
        raise InputError("conformal method 'aps': no jitter; pass item_jitter(ids)")
