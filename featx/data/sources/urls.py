"""URLs as arguments: what a pattern of them stands for, and which files they name."""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import islice
from pathlib import Path

from featx.data.places import open_place, url_of
from featx.data.places.address import Address
from featx.data.places.fetched import fetch
from featx.data.places.stored import StoredFile, place_of
from featx.data.sources.lines import PathList
from featx.data.sources.options import Options
from featx.data.sources.patterns import expand_braces
from featx.data.sources.tar import is_tar
from featx.data.sources.tree import is_hidden
from featx.data.sources.walk import natural_key, suffix_of
from featx.errors import InputError, MissingError
from featx.types import Stored

LOOKED_AT = 1000
"""Files below a prefix that are looked at for their suffixes."""


def stored_file(url: str) -> Stored:
    """Return a file at a URL, with its size and tag.

    Raises
    ------
    InputError
        If it does not exist.
    """
    place, name = place_of(url)
    try:
        entry = place.entry(name)
    except MissingError as cause:
        raise InputError(f"{url}: no such file or folder") from cause
    return StoredFile.of(place, entry)


def expand_url(pattern: str) -> dict[str, Stored | None]:
    """Return the URLs that braces and ``*``, ``?``, ``[...]`` and ``**`` stand for.

    Returns
    -------
    dict
        URL → the file, or None where nothing was looked up; of a pattern in natural order.

    Raises
    ------
    InputError
        If a pattern matches no file.
    """
    found: dict[str, Stored | None] = {}
    for each in expand_braces(url_of(pattern)):
        if has_magic(each):
            found |= _glob(each)
        else:
            found[each] = None
    return found


def url_files(argument: str) -> Iterator[Path]:
    """Yield the files that a URL names, for their suffixes alone; the first tar as a local copy.

    A URL with ``@`` before it, or of a list, stands for the files that are listed there.
    """
    if argument.startswith("@") or argument.lower().endswith((".list", ".lst")):
        listed = PathList(fetch(argument.removeprefix("@")), Options(modality="text"))
        yield from (Path(item.id) for item in listed)
        return
    for url in expand_url(argument):
        is_folder = not suffix_of(url.rpartition("/")[2])
        names = _names_below(url) if is_folder else []
        yield from map(Path, (name for name in names or [url] if not is_tar(name)))
        tar = next(filter(is_tar, names or [url]), None)
        if tar is not None:
            yield fetch(tar)
            return


def _names_below(url: str) -> list[str]:
    entries = islice(open_place(url).list(), LOOKED_AT)
    return [f"{url}/{entry.name}" for entry in entries if not is_hidden(entry.name)]


def _glob(pattern: str) -> dict[str, Stored | None]:
    address = Address.parse(pattern)
    parts = address.key.split("/")
    fixed = next(at for at, part in enumerate(parts) if has_magic(part))
    place = open_place(str(replace(address, key="/".join(parts[:fixed]))))
    wanted = parts[fixed:]
    found = [each for each in place.list() if matches(each.name.split("/"), wanted)]
    if not found:
        raise InputError(f"{pattern}: no files match")
    found.sort(key=lambda entry: natural_key(entry.name))
    return {f"{place.url}/{entry.name}": StoredFile.of(place, entry) for entry in found}


def matches(names: list[str], parts: list[str]) -> bool:
    """Return whether the parts of a name match those of a pattern; none that is hidden does.

    Examples
    --------
    >>> matches(["a", "b", "c.jpg"], ["**", "*.jpg"]), matches(["a", "c.jpg"], ["*.jpg"])
    (True, False)
    """
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        is_below = not names[0].startswith(".") and matches(names[1:], parts)
        return is_below or matches(names, parts[1:])
    is_shown = not names[0].startswith(".") or parts[0].startswith(".")
    return is_shown and fnmatchcase(names[0], parts[0]) and matches(names[1:], parts[1:])
