"""Hosts: names that a service answers to, and pages that may not ask it.

A page of another site can make a browser send requests here: by a name of its own that it lets
point at this machine (DNS rebinding), or plainly, since a browser sends before it asks.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address

from featx.serve.settings import ServeSettings

ANY = "*"
"""In `ServeSettings.hosts`: every name will do."""

_OWN_SITE = frozenset({b"same-origin", b"none"})
_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]@/]+)(?::\d*)?")
_REMEMBERED = 256


class Hosts:
    """Names and addresses that a ``Host`` header may hold, with any port.

    Those of the loopback, what the service listens on, and what it was told.  Where it listens on
    every address, every address: no name has to be looked up for one, so none can be rebound.

    Parameters
    ----------
    settings : ServeSettings
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._names = {"localhost", _plain(settings.host), *map(_plain, settings.hosts)}
        self._allows_addresses = _is_wildcard(settings.host)
        self.allow = lru_cache(_REMEMBERED)(self._allow)
        """Whether a header's value is of this service."""

    def _allow(self, header: bytes) -> bool:
        if ANY in self._names:
            return True
        name = name_of(header)
        if not name:
            return False
        return name in self._names or self._is_own_address(name)

    def _is_own_address(self, name: str) -> bool:
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._allows_addresses


def name_of(header: bytes) -> str:
    """Return the name of a ``Host`` header, without its port; empty where it is none.

    Examples
    --------
    >>> name_of(b"LocalHost:8000"), name_of(b"[::1]:8000"), name_of(b"a.example.")
    ('localhost', '::1', 'a.example')
    """
    found = _HOST.fullmatch(header.decode("latin-1"))
    return "" if found is None else _plain(found[1])


def is_name(text: str) -> bool:
    """Return whether a text is a name or an address as a ``Host`` header has it, without a port.

    Examples
    --------
    >>> is_name("a.example"), is_name("::1"), is_name("a.example:80"), is_name("http://a.example/")
    (True, True, False, False)
    """
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return re.fullmatch(r"[^\s:/@*\[\]]+", text) is not None
    return True


def _plain(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_foreign(sent: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser sends a request for a page of another site.

    Parameters
    ----------
    sent : mapping of bytes to bytes
        Headers by name; ``sec-fetch-site`` and ``origin`` are sent by browsers alone.
    """
    if sent.get(b"sec-fetch-site", b"none") not in _OWN_SITE:
        return True
    origin = sent.get(b"origin")
    if origin is None:
        return False
    _, _, place = origin.lower().partition(b"://")
    return place != sent.get(b"host", b"").lower()
