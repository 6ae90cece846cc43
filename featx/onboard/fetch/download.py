"""Downloads by HTTPS: checked by size and sha256, continued after a cut, limited, never trusted."""

import shutil
import time
from collections.abc import Container
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from featx.data.files import explained, sync_file
from featx.errors import FeatxError, InputError, ServerError, StoreError
from featx.fingerprint import file_sha256
from featx.onboard.fetch.files import Say, readable, require_size
from featx.onboard.fetch.kept import alone, drop, kept
from featx.onboard.fetch.onefile import OneFile
from featx.onboard.fetch.origin import Origin
from featx.onboard.fetch.web import ask, netrc_problem, require_https

if TYPE_CHECKING:
    from http.client import HTTPResponse

TRIES = 5
"""Times that a server may fail in a row without sending anything."""

FIRST_WAIT_S = 0.25

BLOCK_BYTES = 1 << 20

OUT_OF_RANGE = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

_PASSING = {408, 429, 500, 502, 503, 504}
"""Answers after which the same question may be answered."""


class OneUrl(OneFile):
    """The one file of a URL of HTTPS."""

    @property
    def _name(self) -> str:
        return unquote(urlsplit(self.origin.place).path).rpartition("/")[2]

    def _fetch(self, place: Path) -> None:
        download(self.origin, place, limit_bytes=self.limit_bytes, say=self.say)

    def close(self) -> None:
        """Delete the download."""
        drop(kept(self.origin.sha256))


def open_url(origin: Origin, *, limit_bytes: int, say: Say) -> OneUrl:
    """Return the one file of a URL; nothing is asked for yet.

    Raises
    ------
    InputError
        If it is no URL of HTTPS.
    """
    require_https(origin.place)
    return OneUrl(origin, limit_bytes, say)


def download(origin: Origin, target: Path, *, limit_bytes: int, say: Say) -> None:
    """Download the file of a URL into the cache, unless it is there, and copy it.

    What a former call left behind is continued.

    Parameters
    ----------
    origin : Origin
        A URL with its sha256.
    target : Path
        Where it is copied to.
    limit_bytes : int
        Largest file.
    say : callable
        Told of the download and its size.

    Raises
    ------
    InputError
        If it is too large, or of another sha256.
    ServerError
        If it cannot be fetched; what came is kept for the next call.
    StoreError
        If another process fetches it now, or the disk is full.
    """
    place = kept(origin.sha256)
    with alone(place):
        if not place.is_file() or file_sha256(place) != origin.sha256:
            _fetch(origin, place, limit_bytes, say)
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, target)


def _fetch(origin: Origin, place: Path, limit_bytes: int, say: Say) -> None:
    part = place.with_name(f"{place.name}.part")
    download_ = _Download(origin.place, part, limit_bytes, say)
    was_continued = part.is_file()
    found = download_.finish()
    if found != origin.sha256 and was_continued:  # the file at the URL may have changed
        part.unlink()
        found = download_.finish()
    if found != origin.sha256:
        part.unlink()
        message = (
            f"{origin.place}: sha256 {found}; expected {origin.sha256}; it is another file, or "
            "the sha256 is wrong; nothing was kept"
        )
        raise InputError(message)
    with explained(place):
        sync_file(part)
        part.replace(place)


def small_file(
    url: str, *, most_bytes: int, absent: Container[int] = (HTTPStatus.NOT_FOUND,)
) -> bytes | None:
    """Return a file of a URL as it is now, or None if there is none.

    Parameters
    ----------
    url : str
    most_bytes : int
        Largest size.
    absent : container of int, optional
        Statuses that say that there is none.

    Raises
    ------
    InputError
        If it is larger than allowed.
    ServerError
        If it cannot be fetched.
    """
    try:
        with ask(url, {}) as response:
            raw: bytes = response.read(most_bytes + 1)
    except (OSError, HTTPException) as cause:
        if isinstance(cause, HTTPError) and cause.code in absent:
            return None
        raise _refusal(url, cause) from cause
    require_size(url, len(raw), most_bytes)
    return raw


@dataclass
class _Download:
    """One file on its way to the disk."""

    url: str
    part: Path
    limit_bytes: int
    say: Say
    _told: bool = field(default=False, init=False)

    def finish(self) -> str:
        """Fetch what is missing, in as many connections as it takes, and return the sha256."""
        failures = 0
        while True:
            before = self._have()
            try:
                self._connect(before)
            except StoreError:
                raise
            except (OSError, HTTPException) as cause:
                failures = 0 if self._have() > before else failures + 1
                if failures >= TRIES or not _is_passing(cause):
                    raise _refusal(self.url, cause) from cause
                time.sleep(FIRST_WAIT_S * 2**failures)
            else:
                return file_sha256(self.part)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _connect(self, start: int) -> None:
        try:
            response = ask(self.url, {"Range": f"bytes={start}-"} if start else {})
        except HTTPError as cause:
            if cause.code != OUT_OF_RANGE:
                raise
            if not cause.headers.get("Content-Range", "").endswith(f"*/{start}"):
                self.part.unlink()
                message = "the file has become shorter"
                raise ConnectionError(message) from cause
            return  # nothing is missing
        with response:
            have = start if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            length = response.headers.get("Content-Length", "")
            total = have + int(length) if length.isdigit() else None
            self._check(total)
            with explained(self.part):
                file = self.part.open("ab" if have else "wb")
            with file:
                self._copy(response, file, have, total)

    def _check(self, total: int | None) -> None:
        require_size(self.url, total or 0, self.limit_bytes)
        if not self._told:
            self.say(f"fetching {self.url}: {readable(total) if total else 'size not said'}")
            self._told = True

    def _copy(self, response: "HTTPResponse", file: BinaryIO, have: int, total: int | None) -> None:
        most = self.limit_bytes
        while block := response.read(BLOCK_BYTES):
            have += len(block)
            if have > most:
                self.part.unlink()
                message = f"{self.url}: sends more than {most} bytes; nothing was kept"
                raise InputError(message)
            with explained(self.part):
                file.write(block)
        if total is not None and have < total:
            message = f"the connection was cut after {have} of {total} bytes"
            raise ConnectionError(message)


def _is_passing(cause: Exception) -> bool:
    """Return whether to try again: not after a plain refusal, nor for a disk that is full."""
    if isinstance(cause, HTTPError):
        return cause.code in _PASSING
    if isinstance(cause, URLError):
        return isinstance(cause.reason, ConnectionError | TimeoutError)
    return isinstance(cause, ConnectionError | TimeoutError | HTTPException)


def _refusal(url: str, cause: Exception) -> FeatxError:
    if isinstance(cause, HTTPError):
        message = f"{url}: answered {cause.code} {cause.reason}{_hint(cause.code)}"
        return ServerError(message, status=cause.code, code="refused")
    if isinstance(cause, URLError | ConnectionError | TimeoutError | HTTPException):
        reason = getattr(cause, "reason", cause)
        message = f"{url}: no answer: {reason or type(cause).__name__}; is the network there?"
        return ServerError(message)
    return StoreError(f"{url}: {cause}")


def _hint(status: int) -> str:
    if status == HTTPStatus.UNAUTHORIZED and (problem := netrc_problem()):
        return f"; {problem}; mend it"
    return {
        401: "; put name and password of the host into ~/.netrc",
        403: "; it is not for everyone, or not there",
        404: "; is it spelt right?",
    }.get(status, "")
