"""Votes: what the nearest labelled items of a gallery say of a query."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy import float64
from numpy.typing import NDArray

from featx.errors import InputError
from featx.gallery.answers import Classified, Neighbour
from featx.gallery.folder import set_folder
from featx.index.neighbours import Neighbours
from featx.index.voting import neighbour_votes, shares_of
from featx.types import Rows

Describe = Callable[[int, NDArray[float64]], list[Neighbour]]
"""Number of a query and the votes of its neighbours → what they are."""


def checked_abstention(abstain_below: float) -> None:
    """Refuse a share that is none.

    Raises
    ------
    InputError
        If it is not from 0 to 1.
    """
    if not 0 <= abstain_below <= 1:
        raise InputError(f"abstain_below: found {abstain_below}; must be from 0 to 1")


def unlabelled(path: Path, facts: Mapping[str, Any]) -> InputError:
    """Return the error of a gallery that has no label to vote for."""
    embedding_set = set_folder(path, facts)
    return InputError(
        f"{path}: no item is labelled; run: featx label {embedding_set} "
        f"LABELS.csv, then featx index {embedding_set} -o {path}"
    )


def classified(
    found: Neighbours,
    codes: Rows,
    names: Sequence[str],
    facts: Mapping[str, Any],
    describe: Describe,
    *,
    abstain_below: float,
) -> list[Classified]:
    """Return the vote of the neighbours of each query.

    Parameters
    ----------
    found : Neighbours
        Shape (M, K), K >= 1.
    codes : ndarray of int64, shape (M, K)
        Place of each neighbour's label among `names`.
    names : sequence of str
        Labels, sorted, so that of equal shares the first wins.
    facts : mapping
        Of the gallery.
    describe : callable
    abstain_below : float, 0 to 1
    """
    votes = neighbour_votes(
        found, float(facts["temperature"]), weights=facts["vote"], metric=facts["metric"]
    )
    shares = shares_of(votes, codes, len(names))
    limit = facts["novel_below"]
    return [
        Classified(
            label=names[winner] if shares[i, winner] >= abstain_below else None,
            probability=min(1.0, float(shares[i, winner])),
            neighbours=describe(i, votes[i]),
            novel=None if limit is None else float(found.similarities[i, 0]) < limit,
        )
        for i, winner in enumerate(shares.argmax(axis=1))
    ]
