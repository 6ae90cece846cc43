"""Manifests written as TOML, such that `Manifest.read` gives them back."""

import json
import re
from dataclasses import asdict
from datetime import date, time
from pathlib import Path
from typing import Any

from featx.zoo.manifest import Manifest

FREE = {("inputs",), ("outputs",), ("prompts",), ("measured",)}
"""Tables whose keys are free, so that an empty value says something."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest; `Manifest.folder` is where it lies, and not in it."""
    path.write_text(manifest_text(manifest), encoding="utf-8")


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as TOML; what has no value is left out."""
    table = asdict(manifest)
    del table["folder"]
    return "".join(_lines(table, ()))


def _lines(table: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    """Return the lines of a table: its values, then its tables, which TOML wants last."""
    empty: tuple[object, ...] = (None,) if path[:1] in FREE else (None, "", (), {})
    kept = {key: value for key, value in table.items() if value not in empty}
    tables = {key: value for key, value in kept.items() if isinstance(value, dict)}
    values = [f"{_key(key)} = {_value(kept[key])}\n" for key in kept if key not in tables]
    is_named = path and (values or not tables)
    header = [f"\n[{'.'.join(map(_key, path))}]\n"] if is_named else []
    inner = [line for key, each in tables.items() for line in _lines(each, (*path, key))]
    return [*header, *values, *inner]


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    """Return a value; floats keep all their digits.

    Examples
    --------
    >>> _value((1, 2.5, True, "a", {"b": date(2024, 5, 1)}))
    '[1, 2.5, true, "a", {b = 2024-05-01}]'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(value[key])}' for key in value)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _string(text: str) -> str:
    """Return a basic string: JSON's escapes are TOML's, but DEL needs one too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
