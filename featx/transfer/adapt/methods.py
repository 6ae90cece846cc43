"""Methods: an alignment, a refinement, or one after the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import NDArray

from featx.errors import UnknownNameError
from featx.transfer.adapt.alignment import ALIGNMENTS, Affine, moments_of
from featx.transfer.adapt.centroids import relabel_centroids
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.linear import Linear
from featx.transfer.adapt.prior import correct_prior
from featx.transfer.adapt.selftrain import self_train

REFINEMENTS: dict[str, Callable[[Source, NDArray[Any]], Linear]] = {
    "": lambda source, _: source.base,
    "prior": correct_prior,
    "selftrain": self_train,
    "centroids": relabel_centroids,
}
"""Name → function of the source and of aligned rows of the target, which returns a head of them."""

METHODS = tuple("+".join(filter(None, pair)) for pair in product(ALIGNMENTS, REFINEMENTS))[1:]
"""Names of all methods, such as ``"coral+selftrain"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is done to the target's rows, and to the head then.

    Attributes
    ----------
    alignment : str
        Key of `ALIGNMENTS`; empty for none.
    refinement : str
        Key of `REFINEMENTS`; empty for none.
    """

    alignment: str = ""
    refinement: str = ""

    @classmethod
    def named(cls, name: str) -> "Method":
        """Return the method of a name.

        Raises
        ------
        UnknownNameError

        Examples
        --------
        >>> Method.named("coral+prior"), Method.named("selftrain").alignment
        (Method(alignment='coral', refinement='prior'), '')
        """
        if name not in METHODS:
            raise UnknownNameError("method", name, METHODS)
        first, _, second = name.partition("+")
        return (
            cls(alignment=first, refinement=second)
            if first in ALIGNMENTS
            else cls(refinement=first)
        )

    @property
    def name(self) -> str:
        """The name of the method."""
        return "+".join(filter(None, (self.alignment, self.refinement)))

    @property
    def is_refit(self) -> bool:
        """Whether rows of the target train the head anew, with the labels that it gives them."""
        return self.refinement in {"selftrain", "centroids"}

    def fit(self, source: Source, X: NDArray[Any]) -> "Adapted":
        """Return the head for the target of rows `X` (M, D)."""
        affine = ALIGNMENTS[self.alignment](source.moments, moments_of(X))
        return Adapted(affine=affine, aligned=REFINEMENTS[self.refinement](source, affine(X)))


def fit_each(
    names: Iterable[str], source: Source, X: NDArray[Any]
) -> Iterator[tuple[str, "Adapted"]]:
    """Yield what each method makes of rows `X` (M, D); those of one alignment share it."""
    target = moments_of(X)
    aligned = {name: align(source.moments, target) for name, align in ALIGNMENTS.items()}
    rows = {name: affine(X) for name, affine in aligned.items()}
    for name in names:
        method = Method.named(name)
        linear = REFINEMENTS[method.refinement](source, rows[method.alignment])
        yield name, Adapted(affine=aligned[method.alignment], aligned=linear)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A head of aligned rows, and how rows are aligned.

    Attributes
    ----------
    affine : Affine
    aligned : Linear
    """

    affine: Affine
    aligned: Linear

    @property
    def linear(self) -> Linear:
        """The head of rows as they are."""
        return self.affine.folded(self.aligned)
