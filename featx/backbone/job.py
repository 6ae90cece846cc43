"""One item on its way through a pipeline."""

from dataclasses import dataclass, field
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
    key : bytes
        Jobs with one key have one vector; empty if that is not known.
    followers : list of Job
        Of the same key: they get the vector that this one gets.
    is_settled : bool
        Whether nothing is left to do: it has a vector, a problem, or needs neither.
    position : int
        In the order of the source; given by the pipeline.
    """

    what: T
    vector: Vectors | None = None
    problem: str = ""
    sample: Sample | None = None
    key: bytes = b""
    followers: "list[Job[T]]" = field(default_factory=list)
    is_settled: bool = False
    position: int = -1

    def settle(self, *, vector: Vectors | None = None, problem: str = "") -> None:
        """Record the outcome, for its followers too, and let go of the sample."""
        self.vector, self.problem, self.sample, self.is_settled = vector, problem, None, True
        for follower in self.followers:
            follower.settle(vector=vector, problem=problem)
        self.followers = []
