"""Where a backbone comes from, as a user writes it and as a manifest records it."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from featx.errors import InputError

FORMS = (
    "FILE.onnx | FOLDER | FILE.toml | hf:org/name[@revision][:file] | "
    "pypi:package==version:path | https://host/file#sha256=HEX | s3://bucket/file#sha256=HEX"
)
"""What may be added."""

HUB = re.compile(
    r"hf:(?P<place>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)"
    r"(?:@(?P<revision>[\w./-]+))?(?::(?P<file>.+))?"
)
PACKAGE = re.compile(
    r"pypi:(?P<place>[A-Za-z0-9][\w.-]*)==(?P<revision>[A-Za-z0-9][\w.!+-]*):(?P<file>.+)"
)
URL = re.compile(r"(?P<place>https?://[^#\s]+)#sha256=(?P<sha256>[0-9a-fA-F]{64})")

OBJECT = re.compile(r"(?P<place>(?:s3|gs|az|abfss?)://.+)#sha256=(?P<sha256>[0-9a-fA-F]{64})")

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):")


Kind = Literal["path", "hub", "package", "url", "object"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a backbone comes from.

    Attributes
    ----------
    kind : {"path", "hub", "package", "url", "object"}
    place : str
        A path; ``org/name``; a package; a URL; a URL of an object store.
    revision : str
        Of the hub: branch, tag or commit, empty for its main branch.  Of a package: its version.
    file : str
        A file of the repository or of the wheel; empty for a folder as a whole.
    sha256 : str
        What a URL's file must hash to.

    Examples
    --------
    >>> str(parse_origin("hf:org/name@v1:onnx/model.onnx"))
    'hf:org/name@v1:onnx/model.onnx'
    """

    kind: Kind
    place: str
    revision: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def whole(self) -> str:
        """All that is there, without the file and its sha256."""
        if self.kind == "hub":
            return f"hf:{self.place}{self.revision and f'@{self.revision}'}"
        return f"pypi:{self.place}=={self.revision}" if self.kind == "package" else self.place

    def __str__(self) -> str:
        if self.sha256:
            return f"{self.place}#sha256={self.sha256}"
        return f"{self.whole}:{self.file}" if self.file and self.kind != "path" else self.whole


def parse_origin(what: str) -> Origin:
    """Return what a user or a manifest means by a text; whether it is there is not looked at.

    Raises
    ------
    InputError
        If it has none of the forms, or names a file outside of its folder.
    """
    if what.startswith("hf:"):
        return _parsed("hub", HUB, what, "hf:org/name[@revision][:file]")
    if what.startswith("pypi:"):
        return _parsed("package", PACKAGE, what, "pypi:package==version:path")
    if what.startswith(("https://", "http://")):
        return _parsed("url", URL, what, "https://host/file#sha256=HEX, 64 digits")
    if what.startswith(("s3://", "gs://", "az://", "abfs://", "abfss://")):
        return _parsed("object", OBJECT, what, "s3://bucket/file#sha256=HEX, 64 digits")
    scheme = _SCHEME.match(what)
    if scheme and what[scheme.end() :].startswith("//"):
        message = f"{what}: unknown scheme {scheme['scheme']!r}; expected {FORMS}"
        raise InputError(message)
    return Origin(kind="path", place=what)


def safe_name(name: str) -> bool:
    r"""Return whether a name stays below the folder that it is joined to, on any system.

    Examples
    --------
    >>> [safe_name(name) for name in ("a/b.json", "../a", "/a", "a\\b", "C:a", "a//b", "")]
    [True, False, False, False, False, False, False]
    """
    parts = PurePosixPath(name).parts
    is_plain = not any(sign in name for sign in ("\\", ":", "\0")) and name == "/".join(parts)
    return is_plain and bool(parts) and ".." not in parts and not name.startswith("/")


def _parsed(kind: Kind, form: re.Pattern[str], what: str, expected: str) -> Origin:
    match = form.fullmatch(what)
    if match is None:
        message = f"{what}: expected {expected}"
        raise InputError(message)
    parts = {key: value or "" for key, value in match.groupdict().items()}
    if parts.get("file") and not safe_name(parts["file"].rstrip("/")):
        message = f"{what}: file {parts['file']!r} must lie inside; expected {expected}"
        raise InputError(message)
    if "sha256" in parts:
        parts["sha256"] = parts["sha256"].lower()
    return Origin(kind=kind, **parts)
