"""One item on its way through a pipeline."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from featx.types import Sample, Vectors

T = TypeVar("T")


@dataclass(slots=True)
class Job(Generic[T]):
    """An item that is loaded, encoded, or neither.

    Attributes
    ----------
    what : T
        What the caller calls the item; the pipeline never looks at it.
    vector : ndarray of float32, shape (D,), or None
    problem : str
        Why there is no vector.
    sample : Sample or None
        Set while the item waits to be encoded.
    is_settled : bool
        Whether nothing is left to do: it has a vector, a problem, or needs neither.
    position : int
        In the order of the source; given by the pipeline.
    """

    what: T
    vector: Vectors | None = None
    problem: str = ""
    sample: Sample | None = None
    is_settled: bool = False
    position: int = -1

    def settle(self, *, vector: Vectors | None = None, problem: str = "") -> None:
        """Record the outcome and let go of the sample."""
        self.vector, self.problem, self.sample, self.is_settled = vector, problem, None, True
