"""Files that a line of a list or a field of a table names."""

from pathlib import Path

from featx.data.places import is_url
from featx.data.places.address import Address
from featx.data.places.stored import StoredFile
from featx.data.sources.walk import printable
from featx.types import Stored


def located(folder: Path, value: str) -> Path | Stored:
    """Return the file that a line or a field names: below a folder, or at a URL.

    Raises
    ------
    InputError
        If the URL is none that can be read.
    """
    if not is_url(value):
        return folder / value
    address = Address.parse(value)
    return Path(address.key) if address.scheme == "file" else StoredFile.unseen(value)


def uri_of(content: Path | Stored) -> str:
    """Return a file as people write it."""
    return content.url if isinstance(content, Stored) else printable(str(content))
