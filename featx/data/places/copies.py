"""Embedding sets at URLs, as they are read: copied to the cache, a file once."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from blake3 import blake3

from featx.data.files import explained, writing
from featx.data.places import open_place
from featx.data.places.address import Address
from featx.data.places.keeping import folder_of, held
from featx.data.places.place import Entry, Place
from featx.data.setmanifest import NAME, parse_manifest
from featx.errors import MissingError, StoreError

TAGS = ".tags.json"
"""Tags of the files of a copy, by name."""

TRIES = 10
"""How often a set is looked at that is written meanwhile."""

VERSION_BYTES = 8

LARGE_BYTES = 16 << 20
"""Less is copied without a word."""

ALONGSIDE = ("errors.jsonl",)
"""What a reader wants of a set beside its segments."""


Say = Callable[[str], None]
"""What is done with a line for people."""

_origins: dict[Path, str] = {}
"""Copy → URL, of the copies that this process uses."""


def origin_of(path: Path) -> str:
    """Return the URL that a set is a copy of, as far as this process made it; else the path."""
    return _origins.get(path, str(path))


def names_set(url: str) -> bool:
    """Return whether an embedding set lies at a URL."""
    address = Address.parse(url)
    if Path(address.name).suffix not in {"", ".emb"} or not address.key:
        return False
    return _has(open_place(url), NAME)


def local_copy(url: str | Path, *, say: Say = lambda _: None) -> Path:
    """Return a folder with the files of a set at a URL, as it is now.

    Each version has a folder of its own, which never changes: who has it open reads on.  Files
    that another version holds too are not copied again.

    Parameters
    ----------
    url : str or Path
    say : callable, optional
        Told what is copied, where that takes a while.

    Raises
    ------
    StoreError
        If there is no set, its manifest is damaged, or a file cannot be read.
    """
    address = Address.parse(url)
    if address.scheme == "file":
        return Path(address.key)
    place, folder = open_place(str(address)), folder_of(address)
    for _ in range(TRIES):
        raw, tag = _manifest(place)
        manifest = parse_manifest(raw, f"{place.url}/{NAME}")
        there = {entry.name: entry for entry in place.list()}
        if NAME not in there or there[NAME].tag != tag:
            continue  # the files may be those of another manifest
        wanted = _wanted(place, manifest, there)
        with held(folder) as is_alone:
            path = folder / _version(tag, wanted) / address.name
            if not (path / NAME).is_file() and not _fill(path, place, wanted, raw, say):
                continue
            if is_alone:
                _drop_others(folder, path.parent)
        _origins[path] = place.url
        return path
    raise StoreError(f"{place.url}: changes faster than it can be read; try again later")


def _manifest(place: Place) -> tuple[bytes, str]:
    try:
        return place.read(NAME)
    except MissingError as cause:
        raise StoreError(f"{place.url}: {_instead(place)}") from cause


def _instead(place: Place) -> str:
    """Return what lies where a set was looked for."""
    first = next(iter(place.list()), None)
    if first is None:
        return "no such embedding set: nothing lies there"
    if _has(place, "gallery.json"):
        return "is a gallery; copy it to this machine"
    return f"not an embedding set: it has no {NAME}, but {first.name!r}"


def _has(place: Place, name: str) -> bool:
    try:
        place.entry(name)
    except MissingError:
        return False
    return True


def _wanted(
    place: Place, manifest: Mapping[str, Any], there: Mapping[str, Entry]
) -> dict[str, Entry]:
    """Return the files that a manifest names."""
    wanted = [name for name in _names(manifest) if name in there or name not in ALONGSIDE]
    if lost := next((name for name in wanted if name not in there), None):
        raise StoreError(f"{place.url}/{lost}: no such file, which {NAME} names; restore it")
    return {name: there[name] for name in wanted}


def _version(tag: str, wanted: Mapping[str, Entry]) -> str:
    """Return what tells a version from others: the tags of its manifest and of all its files."""
    facts = json.dumps([tag, *((name, entry.tag) for name, entry in wanted.items())])
    return blake3(facts.encode(errors="surrogatepass")).hexdigest(length=VERSION_BYTES)


def _fill(path: Path, place: Place, wanted: Mapping[str, Entry], raw: bytes, say: Say) -> bool:
    """Make a version: its manifest comes last; return False if a file changed meanwhile."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    tags = {name: entry.tag for name, entry in wanted.items()}
    _link_known(path, tags)
    with writing(path / TAGS) as temporary:
        temporary.write_text(json.dumps(tags), encoding="utf-8")
    missing = [name for name in wanted if not (path / name).is_file()]
    size_bytes = sum(wanted[name].size_bytes for name in missing)
    if size_bytes >= LARGE_BYTES:
        say(f"copying {size_bytes / 1e6:,.0f} MB of {place.url} to {path}")
    for name in missing:
        try:
            found = place.get_file(name, path / name, listed=wanted[name])
        except MissingError:
            return False
        if found != tags[name]:
            (path / name).unlink()
            return False
    with writing(path / NAME) as temporary:
        temporary.write_bytes(raw)
    return True


def _link_known(path: Path, tags: Mapping[str, str]) -> None:
    """Give a version the files that another one holds; a disk without links copies them anew."""
    for other in path.parent.parent.glob(f"*/*/{TAGS}"):
        known = _tags(other)
        for name in (name for name, tag in tags.items() if known.get(name) == tag):
            with suppress(OSError):
                os.link(other.with_name(name), path / name)


def _drop_others(folder: Path, version: Path) -> None:
    """Delete the other versions of a set, which nobody uses."""
    for each in folder.iterdir():
        if each.is_dir() and each != version:
            shutil.rmtree(each)


def _names(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a set's files."""
    for segment in manifest["segments"]:
        yield f"{segment['name']}.npy"
        yield str(segment["items"])
    yield from ALONGSIDE


def _tags(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
