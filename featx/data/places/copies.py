"""Embedding sets at URLs, as they are read: copied to the cache, a file once."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from featx.data.files import writing
from featx.data.places import open_place
from featx.data.places.address import Address
from featx.data.places.keeping import folder_of, held
from featx.data.places.place import Place, require_name
from featx.data.setmanifest import NAME, parse_manifest
from featx.errors import MissingError, StoreError

TAGS = ".tags.json"
"""Tags of the files of a copy, by name."""

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
    return next(open_place(url).list(NAME), None) is not None


def local_copy(url: str | Path, *, say: Say = lambda _: None) -> Path:
    """Return a folder with the files of a set at a URL; those that are there already stay.

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
    place = open_place(str(address))
    raw = _manifest(place)
    folder = folder_of(address)
    path = folder / address.name
    with held(folder) as is_alone:
        path.mkdir(exist_ok=True)
        manifest = parse_manifest(raw, f"{place.url}/{NAME}")
        _fill(path, place, manifest, say)
        with writing(path / NAME) as temporary:
            temporary.write_bytes(raw)
        if is_alone:
            _drop_others(path, manifest)
    _origins[path] = place.url
    return path


def _manifest(place: Place) -> bytes:
    try:
        return place.read(NAME)[0]
    except MissingError as cause:
        gallery = next(place.list("gallery.json"), None)
        found = "is a gallery; copy it to this machine" if gallery else "not an embedding set"
        raise StoreError(f"{place.url}: {found}") from cause


def _fill(path: Path, place: Place, manifest: Mapping[str, Any], say: Say) -> None:
    """Copy what a manifest names."""
    there = {entry.name: entry for entry in place.list()}
    wanted = [name for name in _names(manifest) if name in there or name not in ALONGSIDE]
    if lost := next((name for name in wanted if name not in there), None):
        raise StoreError(f"{place.url}/{lost}: no such file, which {NAME} names; restore it")
    tags = _tags(path)
    missing = [n for n in wanted if tags.get(n) != there[n].tag or not (path / n).is_file()]
    size_bytes = sum(there[name].size_bytes for name in missing)
    if size_bytes >= LARGE_BYTES:
        say(f"copying {size_bytes / 1e6:,.0f} MB of {place.url} to {path}")
    for name in missing:
        tags[name] = place.get_file(name, path / name, listed=there[name])
        # The file is on the disk by now; tags that a power cut takes are asked for again.
        (path / f"{TAGS}.tmp").write_text(json.dumps(tags), encoding="utf-8")
        (path / f"{TAGS}.tmp").replace(path / TAGS)


def _drop_others(path: Path, manifest: Mapping[str, Any]) -> None:
    """Delete what a manifest no longer names."""
    wanted = {*_names(manifest), NAME, TAGS}
    for each in path.iterdir():
        if each.name not in wanted:
            each.unlink()


def _names(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a set's files; one that has folders is no name of a segment."""
    for segment in manifest["segments"]:
        for name in (f"{segment['name']}.npy", str(segment["items"])):
            if "/" in require_name(name) or name in {NAME, TAGS}:
                raise StoreError(f"{name!r}: no name of a segment; refused")
            yield name
    yield from ALONGSIDE


def _tags(path: Path) -> dict[str, str]:
    try:
        found = json.loads((path / TAGS).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
