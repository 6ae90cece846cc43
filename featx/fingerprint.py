"""Hashes that name things: of facts (canonical JSON, SHA-256) and of items (BLAKE3).

Only data is hashed, never code or pickles, so a name is the same on every machine.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from pathlib import Path

DIGEST_BYTES = 32


def hash_facts(facts: Mapping[str, object]) -> str:
    """Return the SHA-256 of `facts` as canonical JSON, in lower-case hex.

    Parameters
    ----------
    facts : mapping
        JSON values only; the order of keys does not matter.

    Examples
    --------
    >>> hash_facts({"a": 1, "b": 2}) == hash_facts({"b": 2, "a": 1})
    True
    """
    text = json.dumps(
        facts, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def digest(raw: bytes) -> bytes:
    """Return the BLAKE3 digest of an item's bytes, 32 bytes.

    Examples
    --------
    >>> digest(b"").hex()[:8]
    'af1349b9'
    """
    return blake3(raw).digest()


def file_digest(path: "Path") -> str:
    """Return the BLAKE3 digest of a file in lower-case hex; it is mapped, not read as a whole."""
    return blake3().update_mmap(path).hexdigest()


def file_sha256(path: "Path") -> str:
    """Return the SHA-256 of a file in lower-case hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
