"""Folders of named files: on this machine, or below a prefix of an object store's bucket.

``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``,
``abfs://container@account.dfs.core.windows.net/prefix``, ``file:///folder``, or a path.
"""

from importlib.util import find_spec
from pathlib import Path

from featx.data.places.address import Address, is_url, require_known, url_of
from featx.data.places.place import Entry, Place
from featx.errors import MissingPackageError

__all__ = ["Address", "Entry", "Place", "is_url", "open_place", "require_known", "url_of"]


def open_place(url: str | Path) -> Place:
    """Return the place that a URL or a path of a folder names; nothing is looked at yet.

    Raises
    ------
    InputError
        If it is no URL that can be read, or holds a password.
    MissingPackageError
        If object stores are not installed.
    """
    from featx.data.places.local import LocalPlace

    if not is_url(url):
        return LocalPlace(Path(url))
    address = Address.parse(url)
    if address.scheme == "file":
        return LocalPlace(Path(address.key))
    if find_spec("obstore") is None:
        raise MissingPackageError("obstore", "'featx[s3]'")
    from featx.data.places.bucket import BucketPlace

    return BucketPlace(address)
