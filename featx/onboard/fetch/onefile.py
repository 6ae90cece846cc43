"""One file that a URL names, wherever it is fetched from; its sha256 says which it is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featx.errors import InputError
from featx.onboard.fetch.files import Say, missing
from featx.onboard.fetch.origin import Origin, safe_name


@dataclass(frozen=True)
class OneFile(ABC):
    """The one file of a URL."""

    origin: Origin
    limit_bytes: int
    say: Say
    is_complete: bool = True

    @property
    def chosen(self) -> str:
        """The last part of the URL."""
        if not safe_name(self._name):
            raise InputError(f"{self.origin.place}: its path ends in no file name")
        return self._name

    @property
    @abstractmethod
    def _name(self) -> str: ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """The name alone; its size is not known before it is asked for."""
        return {self.chosen: 0}

    def weights_of(self, graph: str) -> str:
        """Return nothing: the sha256 tells weights apart."""
        return ""

    def take(self, name: str, place: Path) -> None:
        """Fetch the file."""
        if name != self.chosen:
            raise missing(self.origin.place, name)
        self._fetch(place)

    @abstractmethod
    def _fetch(self, place: Path) -> None: ...

    def url(self, name: str, sha256: str) -> str:
        """Return the URL with its sha256."""
        return str(self.origin)

    @abstractmethod
    def close(self) -> None:
        """Delete what was kept of a download."""
