"""Files that a line of a list or a field of a table names."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from featx.data.places import is_url
from featx.data.places.address import Address
from featx.data.places.stored import StoredFile, seen
from featx.data.sources.walk import printable
from featx.types import Item, Stored

ASKED = 512
"""Items whose files are asked for together."""


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


def asked(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, in order; files of an object store with the version that they have now.

    Only those are asked for that were named and not listed: a request each.

    Raises
    ------
    StoreError
        If a store cannot be reached.
    """
    held: list[Item] = []
    for item in items:
        if not held and _unseen(item) is None:
            yield item
            continue
        held.append(item)
        if len(held) == ASKED:
            yield from _answered(held)
            held = []
    if held:
        yield from _answered(held)


def _answered(items: Sequence[Item]) -> Iterator[Item]:
    found = iter(seen([file for item in items if (file := _unseen(item)) is not None]))
    for item in items:
        yield item if _unseen(item) is None else replace(item, content=next(found))


def _unseen(item: Item) -> Stored | None:
    """Return the file of an item whose version is not known."""
    content = item.content
    return content if isinstance(content, Stored) and not content.tag else None


def uri_of(content: Path | Stored) -> str:
    """Return a file as people write it."""
    return content.url if isinstance(content, Stored) else printable(str(content))
