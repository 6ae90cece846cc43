"""What a file says of preprocessing, and what its class adds where the file is silent."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.errors import InputError
from featx.onboard.read.facts import Fact


@dataclass(frozen=True, slots=True)
class Told:
    """The settings of one processor.

    Attributes
    ----------
    where : str
        The file, for messages.
    table : mapping
        What the file says.
    kind : str
        The processor's class, whose `defaults` count where the file is silent.
    defaults : mapping
    """

    where: str
    table: Mapping[str, Any]
    kind: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:  # noqa: ANN401 - as JSON is
        """Return a value; None if neither file nor class has one."""
        value = self.table.get(key)
        return self.defaults.get(key) if value is None else value

    def number(self, key: str) -> float:
        """Return a number.

        Raises
        ------
        InputError
            If it is none.
        """
        value = self.get(key)
        if not _is_number(value):
            raise self.refused(key, "a number")
        return float(value)

    def numbers(self, key: str) -> list[float]:
        """Return three numbers, one a channel.

        Raises
        ------
        InputError
            If they are anything else.
        """
        values = self.get(key)
        is_list = isinstance(values, list) and len(values) == 3
        if not is_list or not all(map(_is_number, values)):
            raise self.refused(key, "three numbers, one a channel")
        return [float(value) for value in values]

    def whole(self, key: str) -> int:
        """Return a whole number above 0.

        Raises
        ------
        InputError
            If it is none.
        """
        value = self.get(key)
        if type(value) is not int or value < 1:
            raise self.refused(key, "a whole number above 0")
        return value

    def refused(self, key: str, allowed: str) -> InputError:
        """Return the error that a value is not what is `allowed`."""
        return InputError(f"{self.where}: {key} = {self.get(key)!r}; expected {allowed}")

    def fact(self, key: str, value: object, *keys: str) -> Fact:
        """Return a fact that was made of the values of `keys`."""
        said = ", ".join(k if self.table.get(k) is not None else f"{self.kind}'s {k}" for k in keys)
        return Fact(key, value, f"{self.where}: {said or self.kind}")


def _is_number(value: object) -> bool:
    """Return whether a value is a number that float64 holds: JSON has NaN and longer ones too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


Reader = Callable[[Told], Iterator[Fact]]
"""What reads the settings of a class of processors."""
