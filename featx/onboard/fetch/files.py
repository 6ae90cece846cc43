"""The files at an origin, whatever it is: named, measured, and copied one by one."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from featx import registry
from featx.errors import InputError
from featx.onboard.fetch.origin import Origin

OPENERS = {
    "path": "featx.onboard.fetch.folder:open_folder",
    "hub": "featx.onboard.fetch.hub:open_hub",
    "package": "featx.onboard.fetch.wheel:open_wheel",
    "object": "featx.onboard.fetch.stored:open_stored",
    "url": "featx.onboard.fetch.download:open_url",
}
"""Kind of an origin → what opens it."""

MOST_BYTES = 8 * 2**30
"""Largest file that is copied or downloaded unless the user allows more."""

MOST_FILES = 10_000
"""A folder or repository of more files is no model's own."""

SHOWN = 6
"""Files that are listed."""

Say = Callable[[str], None]
"""What is done with a line for people."""


class Files(Protocol):
    """What lies at an origin; nothing of it is ever run."""

    @property
    def origin(self) -> Origin:
        """Where it is; of a hub, at a commit."""
        ...

    @property
    def chosen(self) -> str:
        """The file that the origin names, or nothing if it names all of them."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether `sizes` lists all there is; without a network, a hub's cache may hold a part."""
        ...

    def weights_of(self, graph: str) -> str:
        """Return what trained weights are known by, or nothing if only their sha256 tells."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Name of a file, relative to the model's folder → its bytes."""
        ...

    def take(self, name: str, place: Path) -> None:
        """Copy one file to `place`.

        Raises
        ------
        InputError
            If there is no such file, or it is not the right one.
        ServerError
            If it cannot be fetched.
        """
        ...

    def url(self, name: str, sha256: str) -> str:
        """Return where a manifest says that a file is fetched from; nothing for local files."""
        ...

    def close(self) -> None:
        """Drop downloads that were kept in case that the command had to be run again."""
        ...


def open_files(origin: Origin, *, limit_bytes: int = MOST_BYTES, say: Say) -> Files:
    """Return the files at an origin; what must be listed is listed, nothing else is fetched.

    Parameters
    ----------
    origin : Origin
    limit_bytes : int
        Largest file that may be taken.
    say : callable
        Told of each download, with its size.

    Raises
    ------
    InputError
        If there is nothing of that name.
    ServerError
        If what lists them cannot be reached, or refuses.
    """
    opener = registry.resolve("origin", OPENERS, origin.kind)
    files: Files = opener(origin, limit_bytes=limit_bytes, say=say)
    return files


def require_size(where: str, size_bytes: int, limit_bytes: int) -> None:
    """Raise if a file is larger than what is allowed.

    Raises
    ------
    InputError
        With both sizes.
    """
    if size_bytes > limit_bytes:
        message = (
            f"{where}: {readable(size_bytes)}; at most {readable(limit_bytes)} are allowed; "
            "allow more with --max-size"
        )
        raise InputError(message)


def missing(where: object, name: str, there: Iterable[str] = ()) -> InputError:
    """Return the error for a file that is not there, with those of its kind that are."""
    suffix = PurePosixPath(name).suffix
    alike = sorted(each for each in there if PurePosixPath(each).suffix == suffix and suffix)
    more = f" and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
    hint = f"; it has {', '.join(alike[:SHOWN])}{more}" if alike else ""
    return InputError(f"{where}: has no file {name!r}{hint}")


def readable(size_bytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> readable(900), readable(90_387_606), readable(2**31)
    ('900 bytes', '90.4 MB', '2.1 GB')
    """
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if size_bytes >= 10**power:
            return f"{size_bytes / 10**power:.1f} {unit}"
    return f"{size_bytes} bytes"
