"""``manifest.json`` of an embedding set: read, checked, and what mends a set that is damaged."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featx.data.files import parse_json, read_json
from featx.errors import StoreError

FORMAT = "featx-embeddings"
VERSION = 1
NAME = "manifest.json"

LONGEST_COMMAND = 200
"""A longer command is not repeated in a message."""

_MANIFEST = {
    "set_id": str, "model": dict, "segments": list, "next_segment": int, "finished": bool,
}  # fmt: skip
_MODEL = {"name": str, "modality": str, "dim": int, "fingerprint": str, "space": str}
_SEGMENT = {"name": str, "rows": int, "items": str}
_UNIT = _SEGMENT | {"unit": str, "facts": str, "truncated": int, "failed": int}
"""Of a segment that a scaled run has written."""

_FILE = re.compile(r"[^./\0][^/\0]*")
"""What a file of a set may be called: nothing that leads out of its folder, nothing hidden."""

_UNIT_NAME = re.compile(r"segment-[0-9]+-[^/\0]+")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a set, checked.

    Raises
    ------
    StoreError
        If there is none, or it is damaged or newer, with what mends it.
    """
    if not (path / NAME).is_file():
        raise StoreError(f"{path}: {_absent(path)}")
    try:
        manifest = read_json(path / NAME, format_name=FORMAT, version=VERSION)
    except StoreError as cause:
        if ": damaged: " not in str(cause) or not _has_segments(path):
            raise
        raise StoreError(f"{cause}; {remade(path)}") from cause
    if wrong := _misfit(manifest):
        raise StoreError(f"{path / NAME}: damaged: {wrong}; {remade(path)}")
    return manifest


def parse_manifest(raw: bytes, where: str) -> dict[str, Any]:
    """Return a manifest that was read from `where`, checked.

    Raises
    ------
    StoreError
        If it is damaged or newer.
    """
    manifest = parse_json(raw, where, format_name=FORMAT, version=VERSION)
    if wrong := _misfit(manifest):
        raise StoreError(f"{where}: damaged: {wrong}; restore it, or embed its items again")
    return manifest


def remade(path: Path, manifest: Mapping[str, Any] | None = None) -> str:
    """Say what mends a set that has lost a file or a part of one.

    ``featx embed`` alone does not: items that a set holds already are not embedded again.

    Parameters
    ----------
    path : Path
    manifest : mapping, optional
        None where that itself is lost.
    """
    command = str((manifest or {}).get("command") or "")
    is_told = command.startswith("featx ") and len(command) <= LONGEST_COMMAND
    again = f"run: {command}" if is_told else "embed its items again"
    return f"restore it, or delete {path} and {again}"


def _absent(path: Path) -> str:
    """Say what a path without a manifest is, and what to do."""
    if (path / "gallery.json").is_file():
        return "not an embedding set; it is a gallery; name the set that it was made of"
    if _has_segments(path):
        return f"{NAME} is missing; {remade(path)}"
    if path.suffix == ".head" and path.is_file():
        return "not an embedding set; it is a head; name a set, X.emb"
    source, out = ("SOURCE", path) if not path.exists() else (path, path.with_suffix(".emb"))
    if out == path:
        source = "SOURCE"
        if path.is_file() or any(path.glob("*")):
            out = path.with_name("OTHER.emb")
    nothing = "" if path.exists() else ": nothing is there"
    made = f"featx embed {source} -m MODEL -o {out}"
    return f"not an embedding set{nothing}; make one with: {made}"


def _has_segments(path: Path) -> bool:
    return any(path.glob("segment-*"))


def _misfit(manifest: Mapping[str, Any]) -> str:
    """Return what of a manifest is missing or cannot be; empty if all is well."""
    if found := _wrong("manifest", manifest, _MANIFEST):
        return found
    parts = [("model", manifest["model"], _MODEL)]
    replaced = manifest.get("replaced", [])  # kept for the next run; no rows of the set
    if not isinstance(replaced, list):
        return f"'replaced' of 'manifest' is {replaced!r:.40}"
    for at, each in enumerate(manifest["segments"]):
        is_unit = isinstance(each, dict) and "unit" in each
        parts.append((f"segments[{at}]", each, _UNIT if is_unit else _SEGMENT))
    parts += [(f"replaced[{at}]", each, _UNIT) for at, each in enumerate(replaced)]
    found = next((wrong for part in parts if (wrong := _wrong(*part))), "")
    return found or next(filter(None, map(_misnamed, [*manifest["segments"], *replaced])), "")


def _misnamed(segment: Mapping[str, Any]) -> str:
    """Return which file of a segment has a name that none may have: a set may come from anyone."""
    name = _UNIT_NAME if "unit" in segment else _FILE
    allowed = {"name": name, "items": _FILE}
    if segment.get("failed") or "errors" in segment:
        allowed["errors"] = _FILE
    for key, pattern in allowed.items():
        value = segment.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value) or value == NAME:
            return f"{key!r} of a segment is {value!r:.80}, which is no name of a file of it"
    return ""


def _wrong(name: str, values: object, wanted: Mapping[str, type]) -> str:
    if not isinstance(values, dict):
        return f"{name!r} is no object"
    for key, kind in wanted.items():
        if key not in values:
            return f"{key!r} of {name!r} is missing"
        value = values[key]
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not (is_count if kind is int else isinstance(value, kind)):
            return f"{key!r} of {name!r} is {value!r:.40}"
    return ""
