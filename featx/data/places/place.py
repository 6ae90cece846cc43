"""A folder of named files, wherever it lies."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from featx.errors import StoreError


class Entry(NamedTuple):
    """One file of a place.

    Attributes
    ----------
    name : str
        Below the place, with forward slashes.
    size_bytes : int
    tag : str
        Another one whenever the content is another.
    modified_s : float
        In seconds since the epoch.
    """

    name: str
    size_bytes: int
    tag: str
    modified_s: float


class Place(Protocol):
    """A folder of named files: a local one, or a prefix of a bucket.

    Names are relative, with forward slashes.  A place keeps no connection and may be used from
    several threads.  Any method raises `StoreError` in plain words: no such bucket, denied, no
    answer.
    """

    url: str
    """As a user writes it: ``s3://bucket/prefix``, or the path of a folder."""

    def read(self, name: str) -> tuple[bytes, str]:
        """Return the content of a file and its tag; raises `MissingError` if there is none."""
        ...

    def read_range(
        self, name: str, offset: int, size_bytes: int, *, tag: str | None = None
    ) -> bytes:
        """Return some bytes of a file; raises `StoreError` if it is shorter.

        With a tag, raises `ChangedError` if the file has another one.
        """
        ...

    def put(self, name: str, raw: bytes) -> None:
        """Write a file whole or not at all."""
        ...

    def put_file(self, name: str, path: Path) -> None:
        """Copy a local file here, whole or not at all."""
        ...

    def get_file(self, name: str, path: Path, *, listed: Entry | None = None) -> str:
        """Copy a file to a local path, whole or not at all, and return its tag.

        Parameters
        ----------
        name : str
        path : Path
        listed : Entry, optional
            What is known of the file: all of its parts are asked for at once then.
        """
        ...

    def put_if(self, name: str, raw: bytes, tag: str | None) -> str:
        """Write a file only if nobody else has meanwhile, and return its new tag.

        Parameters
        ----------
        name : str
        raw : bytes
            Unlike what any other writer would write: where the answer to a request was lost, a
            file that holds these very bytes is taken for this one.
        tag : str or None
            The file must still have this tag; None: it must not exist.

        Raises
        ------
        ChangedError
            If another writer was there first; the file is as that one left it.
        """
        ...

    def entry(self, name: str) -> Entry:
        """Return what is known of a file; raises `MissingError` if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the files whose names start with `prefix`, in folders too, by name."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone already do not matter."""
        ...


def require_name(name: str) -> str:
    """Return a name that stays inside its place; one read from a file may come from anyone.

    Raises
    ------
    StoreError
        If it does not.
    """
    if not name or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
        raise StoreError(f"{name!r}: no name of a file of a place; refused")
    return name
