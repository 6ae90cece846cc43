"""A place that is a local folder."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.data.files import explained, writing
from featx.data.places.place import Entry, require_name
from featx.errors import ChangedError, MissingError, StoreError

LOCK = ".place.lock"
"""What writers on a condition hold while they look and write."""


class LocalPlace:
    """A place that is a local folder; made when something is written.

    A tag is the size, time of modification and inode of a file: each writing gives a new inode.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.url = str(path)

    def read(self, name: str) -> tuple[bytes, str]:
        """Return the content of a file and its tag."""
        with self._reading(name) as path, path.open("rb") as file:
            return file.read(), _tag(os.fstat(file.fileno()))

    def read_range(
        self, name: str, offset: int, size_bytes: int, *, tag: str | None = None
    ) -> bytes:
        """Return some bytes of a file."""
        with self._reading(name) as path, path.open("rb") as file:
            if tag not in {None, _tag(os.fstat(file.fileno()))}:
                raise ChangedError(f"{path}: changed since it was listed")
            file.seek(offset)
            raw = file.read(size_bytes)
        if len(raw) < size_bytes:
            message = f"{path}: ends at byte {offset + len(raw)}; {offset + size_bytes} expected"
            raise StoreError(message)
        return raw

    def put(self, name: str, raw: bytes) -> None:
        """Write a file whole or not at all."""
        with self._writing(name) as temporary:
            temporary.write_bytes(raw)

    def put_file(self, name: str, path: Path) -> None:
        """Copy a local file here, whole or not at all."""
        with explained(path), self._writing(name) as temporary:
            shutil.copyfile(path, temporary)

    def get_file(self, name: str, path: Path, *, listed: Entry | None = None) -> str:
        """Copy a file to a local path, whole or not at all, and return its tag."""
        with self._reading(name) as here, here.open("rb") as source:
            with writing(path) as temporary, temporary.open("wb") as target:
                shutil.copyfileobj(source, target)
            return _tag(os.fstat(source.fileno()))

    def put_if(self, name: str, raw: bytes, tag: str | None) -> str:
        """Write a file only if nobody else has meanwhile, and return its new tag."""
        path = self._path(name)
        with self._alone():
            found = _tag(path.stat()) if path.is_file() else None
            if found != tag:
                raise ChangedError(f"{path}: another process wrote it meanwhile")
            self.put(name, raw)
            return _tag(path.stat())

    def entry(self, name: str) -> Entry:
        """Return what is known of a file."""
        with self._reading(name) as path:
            stat = path.stat()
        return Entry(name, stat.st_size, _tag(stat), stat.st_mtime)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the files whose names start with `prefix`, in folders too, by name."""
        below = prefix.rpartition("/")[0]
        top = self._path(below) if below else self.path
        found = []
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(self.path).as_posix()
                if relative.startswith(prefix) and name != LOCK and not name.endswith(".tmp"):
                    found.append((relative, path))
        for relative, path in sorted(found):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            yield Entry(relative, stat.st_size, _tag(stat), stat.st_mtime)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone already do not matter."""
        for name in names:
            path = self._path(name)
            with explained(path):
                path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"LocalPlace({self.url!r})"

    def _path(self, name: str) -> Path:
        return self.path / require_name(name)

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        path = self._path(name)
        with explained(path):
            try:
                yield path
            except FileNotFoundError as cause:
                raise MissingError(f"{path}: no such file") from cause

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        path = self._path(name)
        with explained(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as temporary:
            yield temporary

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for other writers on a condition, and keep them out."""
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _tag(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
