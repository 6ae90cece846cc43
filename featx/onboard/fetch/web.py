"""Asking a web server: HTTPS, or a server on this machine; secrets stay with their host."""

import netrc
from http.client import HTTPMessage
from typing import IO, TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from featx.errors import InputError
from featx.modality.content import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

TIMEOUT_S = 30.0
"""Longest time without a sign of the server."""

LOCAL = {"127.0.0.1", "localhost", "::1"}
"""Hosts that are asked without encryption."""


def ask(url: str, headers: "Mapping[str, str]") -> "HTTPResponse":
    """Return the answer to a GET, which the caller closes.

    Name and password come from ``~/.netrc``, as for curl and pip.  A redirection is followed to
    HTTPS alone, and takes no password along to another host.

    Raises
    ------
    InputError
        If the URL is not of HTTPS, or holds a password.
    OSError, http.client.HTTPException
        If there is no answer, or the status is 400 or more (`urllib.error.HTTPError`).
    """
    require_https(url)
    request = Request(url, headers={**_secrets(url), **headers})  # noqa: S310 - checked above
    try:
        response: HTTPResponse = build_opener(_Redirects).open(request, timeout=TIMEOUT_S)
    except HTTPError as cause:
        cause.close()  # it holds the connection; status and headers stay
        raise
    return response


def require_https(url: str) -> None:
    """Raise unless a URL is of HTTPS, or of this machine, and holds no password.

    Raises
    ------
    InputError
        Saying which of these.
    """
    try:
        parts = urlsplit(url)
        _ = url.encode("ascii"), parts.port, (parts.hostname or "").encode("idna")
    except ValueError as cause:
        message = f"{url.rpartition('@')[2]}: not a URL: {cause}"
        raise InputError(message) from cause
    if parts.username is not None or parts.password is not None:
        message = f"{parts.hostname}: a URL with a password would be recorded; use ~/.netrc"
        raise InputError(message)
    is_allowed = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
    if not is_allowed or not parts.hostname:
        message = f"{url}: expected https://"
        raise InputError(message)


class _Redirects(HTTPRedirectHandler):
    """Follows to HTTPS alone; the standard handler would hand secrets to any host.

    To this machine only a server on this machine may redirect: what else listens here is not for
    others to ask.
    """

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the next request, or refuse it."""
        try:
            require_https(newurl)
        except InputError as cause:
            fp.close()
            message = f"redirected to {newurl!r}, which is not https"
            raise URLError(message) from cause
        if urlsplit(newurl).hostname in LOCAL and urlsplit(req.full_url).hostname not in LOCAL:
            fp.close()
            raise URLError(f"redirected to {newurl!r}, which is this machine")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and made.host != req.host:
            made.headers.pop("Authorization", None)
        return made


def netrc_problem() -> str:
    """Return why ``~/.netrc`` cannot be read, in one line; nothing if it can, or is not there.

    What needs no password is fetched all the same.
    """
    return _netrc()[1]


def _netrc() -> tuple[netrc.netrc | None, str]:
    try:
        return netrc.netrc(), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError) as cause:
        return None, f"~/.netrc cannot be read: {first_line(cause)}"


def _secrets(url: str) -> dict[str, str]:
    import base64

    known, _ = _netrc()
    found = known and known.authenticators(urlsplit(url).hostname or "")
    if not found or not found[0]:
        return {}
    pair = f"{found[0]}:{found[2] or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
