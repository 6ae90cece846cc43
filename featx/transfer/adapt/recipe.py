"""What a user asks of an adaptation."""

from dataclasses import dataclass

from featx.errors import UnknownNameError
from featx.transfer.adapt.methods import METHODS

AUTO, LABELLED = "auto", "labelled"

NAMES = (AUTO, *METHODS, LABELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a head is to be adapted.

    Attributes
    ----------
    method : str
        ``"auto"``, which chooses or refuses; a name of `featx.transfer.adapt.methods.METHODS`; or
        ``"labelled"``, the one method that reads labels of the target.
    seed : int
        Draws rows, where there are too many, and halves.
    command : str
        Kept in the header, for people.
    """

    method: str = AUTO
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if self.method not in NAMES:
            raise UnknownNameError("method", self.method, NAMES)
