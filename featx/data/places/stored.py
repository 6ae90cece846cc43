"""Files of an object store as the content of items."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from featx.data.places import open_place
from featx.data.places.address import Address
from featx.data.places.place import Entry, Place
from featx.data.places.trouble import CREDENTIALS, ENDPOINTS, DeniedError, RangeError
from featx.errors import ChangedError, ItemError, MissingError
from featx.types import Stored

ASKED_AT_ONCE = 16
"""Files whose size and tag are asked for at once."""


@dataclass(frozen=True, slots=True)
class StoredFile(Stored):
    """A file of an object store; each reading is one request."""

    @classmethod
    def of(cls, place: Place, entry: Entry) -> "StoredFile":
        """Return a file of a place, as it was listed."""
        return cls(f"{place.url}/{entry.name}", entry.size_bytes, entry.tag)

    @classmethod
    def unseen(cls, url: str) -> "StoredFile":
        """Return a file that was named and not looked at: its size and tag are not known."""
        return cls(str(Address.parse(url)), 0, "")

    def read(self) -> bytes:
        """Return the content; see `Stored`."""
        with opened(self.url) as (place, name):
            raw, tag = place.read(name)
            if self.tag not in {"", tag}:
                raise ChangedError(f"{self.url}: changed since it was listed")
        return raw


@contextmanager
def opened(url: str) -> Iterator[tuple[Place, str]]:
    """Give the place of a file and its name there; what is wrong with it alone is its item's.

    Raises
    ------
    ItemError
        If it is gone, denied, or not what it was.
    """
    try:
        yield place_of(url)
    except MissingError as cause:
        raise ItemError(f"does not exist: {url}") from cause
    except DeniedError as cause:
        raise ItemError(str(cause)) from cause
    except ChangedError as cause:
        message = f"changed since it was listed: {url}; run the command again"
        raise ItemError(message) from cause


def place_of(url: str) -> tuple[Place, str]:
    """Return the bucket of a file, shared by all who read from it, and the file's name there."""
    address = Address.parse(url)
    scheme = address.scheme
    variables = (*CREDENTIALS[scheme], *ENDPOINTS[scheme], "AWS_REGION")
    told = tuple(os.environ.get(name) for name in variables)
    return _bucket(scheme, address.bucket, told), address.key


@lru_cache(maxsize=8)
def _bucket(scheme: str, bucket: str, told: tuple[str | None, ...]) -> Place:
    """Return the place of a whole bucket; `told` is what the environment says of it."""
    return open_place(f"{scheme}://{bucket}")


def seen(files: Sequence[Stored]) -> list[Stored]:
    """Return files with the size and tag that the store tells of each; several at once.

    One that is not there, or that may not be looked at, stays as it is: reading it says so.
    """
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return list(pool.map(_seen, files))


def _seen(stored: Stored) -> Stored:
    place, name = place_of(stored.url)
    try:
        return StoredFile.of(place, place.entry(name))
    except (MissingError, DeniedError):
        return stored


def refusal(files: Sequence[Stored]) -> DeniedError | None:
    """Return what a store says that denies all of some files; None if one may be read.

    A byte of each is asked for until one comes; those that are gone say nothing.

    Raises
    ------
    StoreError
        If the store cannot be reached.
    """
    said = None
    for file in files:
        place, name = place_of(file.url)
        try:
            place.read_range(name, 0, 1)
        except DeniedError as error:
            said = said or error
        except (MissingError, RangeError):
            continue
        else:
            return None
    return said
