"""Keys: what lets a request in."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing and have no body."""

OPEN = frozenset({"/", "/docs", "/openapi.json"})
"""Paths that need no key: the page, and descriptions that tell nothing of what a thing holds."""

OPEN_BELOW = ("/health/", "/v2/health/", "/page/")
"""Others begin so."""


class Keys:
    """Keys that let a request in.

    Parameters
    ----------
    keys : sequence of str
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def allow(self, method: str, path: str, sent: Mapping[bytes, bytes]) -> bool:
        """Return whether a request needs no key, or has one.

        Parameters
        ----------
        method, path : str
        sent : mapping of bytes to bytes
            Headers by name.
        """
        if method in SAFE and (path in OPEN or path.startswith(OPEN_BELOW)):
            return True
        # Digests are of one length, and all are compared: time tells nothing of a key.
        given = _digest(_given(sent))
        return sum(hmac.compare_digest(given, known) for known in self._digests) > 0


def _given(sent: Mapping[bytes, bytes]) -> bytes:
    kind, _, key = sent.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return key.strip()
    return sent.get(b"api-key") or sent.get(b"x-api-key", b"")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
