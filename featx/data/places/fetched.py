"""Files at URLs, copied to the cache once and opened from there."""

from pathlib import Path

from featx.data.places import open_place
from featx.data.places.address import Address
from featx.data.places.keeping import folder_of, held
from featx.data.places.place import Place


def fetch(url: str | Path) -> Path:
    """Return a local copy of a file at a URL; made unless there is one of its newest version.

    Raises
    ------
    MissingError
        If there is no such file.
    StoreError
        If it cannot be read, or not be written here.
    """
    return fetch_version(url)[0]


def fetch_version(url: str | Path) -> tuple[Path, str]:
    """Return a local copy of a file at a URL, and the tag of its version; see `fetch`.

    A file of this machine is no copy, and has no tag.
    """
    address = Address.parse(url)
    if address.scheme == "file":
        return Path(address.key), ""
    return _fetch(open_place(str(address.parent)), address.name)


def fetch_from(place: Place, name: str) -> Path:
    """Return a local copy of a file of a bucket; see `fetch`."""
    return _fetch(place, name)[0]


def _fetch(place: Place, name: str) -> tuple[Path, str]:
    listed, address = place.entry(name), Address.parse(place.url).join(name)
    tag = listed.tag
    while True:
        folder = folder_of(address, tag)
        path = folder / address.name
        with held(folder):
            if path.is_file():
                return path, tag
            found = place.get_file(name, path, listed=listed)
            if found == tag:
                return path, tag
            path.unlink()  # it changed meanwhile: the folder is that of another version
        tag = found
