"""Files of an object store: of a zoo in a bucket, or a model somebody put there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from featx.data.files import explained
from featx.data.places.address import Address
from featx.data.places.stored import place_of
from featx.errors import InputError, MissingError
from featx.fingerprint import file_sha256
from featx.onboard.fetch.files import Say, missing, readable, require_size
from featx.onboard.fetch.origin import Origin, safe_name


@dataclass(frozen=True)
class OneObject:
    """The one file of a URL of an object store."""

    origin: Origin
    limit_bytes: int
    say: Say
    is_complete: bool = True

    @cached_property
    def chosen(self) -> str:
        """The last part of the URL."""
        name = Address.parse(self.origin.place).name
        if not safe_name(name):
            message = f"{self.origin.place}: ends in no file name"
            raise InputError(message)
        return name

    @property
    def sizes(self) -> Mapping[str, int]:
        """The name alone; its size is not known before it is asked for."""
        return {self.chosen: 0}

    def weights_of(self, graph: str) -> str:
        """Return nothing: the sha256 tells weights apart."""
        return ""

    def take(self, name: str, place: Path) -> None:
        """Copy the file."""
        if name != self.chosen:
            raise missing(self.origin.place, name)
        where, key = place_of(self.origin.place)
        size_bytes = where.entry(key).size_bytes
        require_size(self.origin.place, size_bytes, self.limit_bytes)
        self.say(f"fetching {self.origin.place}: {readable(size_bytes)}")
        with explained(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        where.get_file(key, place)
        found = file_sha256(place)
        if found != self.origin.sha256:
            place.unlink()
            message = (
                f"{self.origin.place}: sha256 {found}; expected {self.origin.sha256}; it is "
                "another file, or the sha256 is wrong; nothing was kept"
            )
            raise InputError(message)

    def url(self, name: str, sha256: str) -> str:
        """Return the URL with its sha256."""
        return str(self.origin)

    def close(self) -> None:
        """Do nothing: no download is kept."""


def open_stored(origin: Origin, *, limit_bytes: int, say: Say) -> OneObject:
    """Return the one file of a URL; nothing is asked for yet."""
    return OneObject(origin, limit_bytes, say)


def small_stored(url: str, *, most_bytes: int) -> bytes | None:
    """Return a file of an object store as it is now, or None if there is none.

    Raises
    ------
    InputError
        If it is larger than allowed.
    StoreError
        If it cannot be read.
    """
    place, key = place_of(url)
    try:
        require_size(url, place.entry(key).size_bytes, most_bytes)
        return place.read(key)[0]
    except MissingError:
        return None
