"""URLs of object stores and files, taken apart."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from featx.errors import InputError

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "file")

_URL = re.compile(rf"({'|'.join(SCHEMES)}):(/+)(.*)", re.DOTALL)
_ANY_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_ALLOWED = "s3://BUCKET/NAME, gs://BUCKET/NAME, az://CONTAINER/NAME or file:///PATH"


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart.

    Attributes
    ----------
    scheme : str
        ``"s3"``, ``"gs"``, ``"az"``, ``"abfs"``, ``"abfss"`` or ``"file"``.
    bucket : str
        Empty for files.
    key : str
        The name inside the bucket, without slashes at its ends; of a file the absolute path.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str | Path) -> Self:
        """Take a URL apart; one that was made a `Path`, which has lost a slash, is one too.

        Examples
        --------
        >>> Address.parse("s3://team/photos/cats/")
        Address(scheme='s3', bucket='team', key='photos/cats')
        >>> str(Address.parse(Path("s3://team/photos")))
        's3://team/photos'

        Raises
        ------
        InputError
            If it is no such URL, names no bucket, or holds a user name or a password.
        """
        match = _URL.fullmatch(str(url))
        if match is None:
            raise InputError(f"{_safe(str(url))}: not a URL of an object store; {_ALLOWED}")
        scheme, slashes, rest = match.groups()
        if scheme == "file":
            return cls._file(str(url), slashes, rest)
        bucket, _, key = rest.partition("/")
        _, at, host = bucket.rpartition("@")
        # abfs://container@account.dfs.core.windows.net is how Hadoop names an account.  A secret
        # may hold slashes: a colon then stands in what looks like the bucket.
        if ":" in bucket or (at and (not scheme.startswith("abfs") or "." not in host)):
            raise InputError(
                f"{scheme}://...: holds a user name or a password; leave it out: credentials are "
                "read from the environment"
            )
        key = key.strip("/")
        if not bucket or len(slashes) > 2:
            written = "//" if len(slashes) == 1 else slashes  # a `Path` has lost one
            raise InputError(f"{scheme}:{written}{rest}: names no bucket; expected {_ALLOWED}")
        if any(part in {"", ".", ".."} for part in key.split("/")) and key:
            raise InputError(f"{scheme}://{rest}: has an empty, '.' or '..' part; leave that out")
        return cls(scheme, bucket, key)

    @classmethod
    def _file(cls, url: str, slashes: str, rest: str) -> Self:
        if len(slashes) == 2:
            found = _safe(url)
            raise InputError(f"{found}: names a host; expected file:///PATH with three slashes")
        return cls("file", "", f"/{unquote(rest)}")

    @property
    def name(self) -> str:
        """The last part of the key; of a whole bucket the bucket's name."""
        return self.key.rsplit("/", 1)[-1] or self.bucket

    @property
    def parent(self) -> Self:
        """What it lies in."""
        return replace(self, key=self.key.rpartition("/")[0])

    def join(self, name: str) -> Self:
        """Return the address of what lies below this one."""
        return replace(self, key=f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        if self.scheme == "file":
            return f"file://{self.key}"
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")


def is_url(text: str | Path) -> bool:
    """Return whether a text is a URL that `featx.data.places.open_place` takes, not a path.

    Examples
    --------
    >>> is_url("s3://team/x.emb"), is_url(Path("s3://team/x.emb")), is_url("x.emb")
    (True, True, False)
    """
    return _URL.fullmatch(str(text)) is not None


def require_known(text: str) -> None:
    """Raise for a URL that `featx.data.places.open_place` does not take, such as ``http://``.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_known("s3://team/x.emb"), require_known("x.emb")
    (None, None)
    """
    if _ANY_URL.match(text) and not is_url(text):
        raise InputError(f"{_safe(text)}: no URL that is read here; expected a path, {_ALLOWED}")


def url_of(text: str | Path) -> str:
    """Return a URL as it is written, also if it was made a `Path`; a path as it is.

    Examples
    --------
    >>> url_of(Path("gs://team/x.emb/")), url_of("x.emb/")
    ('gs://team/x.emb', 'x.emb/')
    """
    return str(Address.parse(text)) if is_url(text) else str(text)


def _safe(url: str) -> str:
    """Return a text without what may be a password."""
    return re.sub(r"//.*@", "//...@", url, flags=re.DOTALL)
