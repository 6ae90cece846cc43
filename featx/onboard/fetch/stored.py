"""Files of an object store: of a zoo in a bucket, or a model somebody put there."""

from pathlib import Path

from featx.data.files import explained
from featx.data.places.address import Address
from featx.data.places.stored import place_of
from featx.errors import InputError, MissingError
from featx.fingerprint import file_sha256
from featx.onboard.fetch.files import Say, readable, require_size
from featx.onboard.fetch.onefile import OneFile
from featx.onboard.fetch.origin import Origin


class OneObject(OneFile):
    """The one file of a URL of an object store."""

    @property
    def _name(self) -> str:
        return Address.parse(self.origin.place).name

    def _fetch(self, place: Path) -> None:
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
