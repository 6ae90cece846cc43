"""What is known of a backbone, and from where; and the small files that say so."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.errors import InputError
from featx.onboard.fetch.files import readable
from featx.onboard.read.content import looks_like

MOST_JSON_BYTES = 8 << 20
"""Tokenizers with many added tokens fill more than 1 MB."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of a manifest.

    Attributes
    ----------
    key : str
        Of the manifest; within a table with a dot, such as ``image.size`` or ``inputs.token_ids``.
    value : object
    source : str
        For people: a file and what of it, the graph, or a flag.
    """

    key: str
    value: object
    source: str


Known = dict[str, Fact]
"""What is known of a backbone, by its key."""


def is_said(fact: Fact | None) -> bool:
    """Return whether a flag states it."""
    return fact is not None and fact.source.startswith("--")


def read_json_object(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing if there is no such file.

    Raises
    ------
    InputError
        If it is too large, or no JSON object.
    """
    found = read_json(path)
    if found is None:
        return {}
    if not isinstance(found, dict):
        message = f"{path.name}: holds a {type(found).__name__}; expected an object"
        raise InputError(message)
    return found


def read_json(path: Path) -> Any:  # noqa: ANN401 - as JSON is
    """Return the value of a JSON file; None if there is no such file.

    Raises
    ------
    InputError
        If it is too large, or no JSON.
    """
    if not path.is_file():
        return None
    if (size_bytes := path.stat().st_size) > MOST_JSON_BYTES:
        message = f"{path.name}: {readable(size_bytes)}; at most {readable(MOST_JSON_BYTES)}"
        raise InputError(message)
    raw = path.read_bytes()
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as cause:
        found = looks_like(raw) or "damaged"
        message = f"{path.name}: not JSON ({found}): {cause}"
        raise InputError(message) from cause
