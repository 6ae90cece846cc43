"""What an embedding run does where there is a choice."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from featx.backbone.settings import cores
from featx.errors import InputError, ItemError

LOADERS = max(2, min(cores() // 2, 8))
"""Threads that read and decode, unless the user says otherwise."""

REFUSED = "the model takes"
"""Stands in the problem of every item that was refused for its length."""


@dataclass(frozen=True, slots=True)
class MaxErrors:
    """How many items may fail before a run gives up: a number, or a share of the source.

    Examples
    --------
    >>> MaxErrors.parse("5%").allowed(2000), MaxErrors.parse("3").allowed(2000)
    (100, 3)
    """

    number: float
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``N`` or ``P%``.

        Raises
        ------
        InputError
            If it is neither.
        """
        match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)%", text.strip())
        if match is None or float(match[2] or 0) > 100:
            message = f"--max-errors {text!r}: expected a number such as 20, or a share such as 5%"
            raise InputError(message)
        return cls(float(match[1] or match[2]), is_share=match[1] is None)

    def allowed(self, total: int) -> int:
        """Return the number of items that may fail, of `total`."""
        return int(total * self.number / 100) if self.is_share else int(self.number)

    def __str__(self) -> str:
        return f"{self.number:g}%" if self.is_share else f"{self.number:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a run does where there is a choice.

    Attributes
    ----------
    max_errors : MaxErrors or None
        Give up once more items than that have failed; None never does.
    on_truncate : {"warn", "error"}
        Whether an item that is longer than the model takes is cut, or fails.
    verify : bool
        Read every file again instead of trusting its size, times and inode.
    loaders : int
        Threads that read and decode.
    partial : bool
        The source is a part of what the set was made of: nothing is dropped from the set.
    """

    max_errors: MaxErrors | None = None
    on_truncate: Literal["warn", "error"] = "warn"
    verify: bool = False
    loaders: int = LOADERS
    partial: bool = False

    def check(self, errors: int, total: int, first: str) -> None:
        """Raise once too many items have failed.

        Raises
        ------
        ItemError
            Saying how many, and what was wrong with the first.
        """
        if self.max_errors is None or errors <= self.max_errors.allowed(total):
            return
        message = (
            f"{errors} of {total} items could not be embedded; at most {self.max_errors} are "
            f"allowed; what is done is kept; first problem: {first}"
        )
        raise ItemError(message)
