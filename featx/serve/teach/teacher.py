"""Teacher: what adds examples to a gallery and removes them while it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from featx.errors import FeatxError
from featx.gallery.items import ItemFacts
from featx.types import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An item to be added.

    Attributes
    ----------
    id : str
    vector : ndarray of float32, shape (D,)
    space : str
        Of the vector.
    facts : ItemFacts
    replace : bool
        Whether an item of the same id gives way.
    over : int or None
        Row of the item that gives way; refused where another one, or none, has the id by then.
    """

    id: str
    vector: Vectors
    space: str
    facts: ItemFacts
    replace: bool = False
    over: int | None = None


class Teacher(Protocol):
    """Adds and removes examples; what it has done is on the disk."""

    async def add(
        self, examples: Sequence[Example], *, deadline_s: float
    ) -> list[FeatxError | None]:
        """Add examples; an error stands for each that could not be.

        Parameters
        ----------
        examples : sequence of Example
        deadline_s : float
            Time of `time.monotonic` after which examples whose turn has not come are not added.

        Raises
        ------
        BusyError
            If too many wait already.
        """
        ...

    async def remove(self, ids: Sequence[str], *, deadline_s: float) -> None:
        """Remove items, all or none.

        Parameters
        ----------
        ids : sequence of str
        deadline_s : float
            Time of `time.monotonic` after which they are not removed, if their turn has not come.

        Raises
        ------
        TimedOutError
            If their turn does not come in time.
        FeatxError
            If one is not there, or the disk fails.
        """
        ...

    async def follow(self) -> None:
        """Do what goes with the gallery that is served now; called once it is another one."""
        ...

    def close(self) -> None:
        """End what waits."""
        ...
