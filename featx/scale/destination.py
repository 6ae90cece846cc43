"""The set that a run writes: its manifest, which names what is done, at a folder or a URL."""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import pyarrow as pa

from featx.data.claim import (
    begun,
    lock,
    make_folder,
    now,
    other_model,
    refuse_other_part,
    versions,
)
from featx.data.files import explained
from featx.data.ledger import NAME as LEDGER
from featx.data.ledger import Failure
from featx.data.places import Place, open_place
from featx.data.places.local import LocalPlace
from featx.data.rows import read_table, write_batches
from featx.data.setmanifest import NAME, parse_manifest
from featx.errors import ChangedError, InputError, MissingError, StoreError
from featx.scale.scratch import scratch

LEFTOVER_S = 24 * 3600.0
"""A file that no manifest names may be one that a worker has just written, until it is so old."""

_OWN = re.compile(
    r"(?:segment|errors)-\d{5,}-([0-9a-f]{4})[0-9a-f]{4}(?:-r\d+(?:-[0-9a-f]{8})?)?"
    r"\.(?:npy|parquet|jsonl)"
)

Entry = Mapping[str, Any]
"""What the manifest says of one unit: name, rows, items; unit and facts; errors and failed."""


class Destination:
    """The one writer of a set's manifest; workers write the files that it names.

    Parameters
    ----------
    place : Place
    run : str
        Stands in the names of the files of this run.

    Attributes
    ----------
    url : str
        An absolute path, or a URL.
    manifest : dict
        As it was committed last.
    """

    def __init__(self, place: Place, run: str) -> None:
        self.place = place
        self.url = str(place.path) if isinstance(place, LocalPlace) else place.url
        self.run = run
        self.manifest: dict[str, Any] = {}
        self._tag: str | None = None
        self._lock = -1

    @classmethod
    def open(
        cls, url: str | Path, run: str, *, model: Entry, source: Entry, command: str = ""
    ) -> Self:
        """Open or begin a set.

        Raises
        ------
        SpaceError
            If the set was made with another backbone or other settings.
        InputError
            If it was made without units, or `source` is a part that lacks some of its rows.
        StoreError
            If something else lies there, or another run writes to it.
        """
        opened = cls(open_place(url), run)
        try:
            opened._claim()
            opened._begin(model, source, command)
        except BaseException:
            opened.close()
            raise
        return opened

    def _claim(self) -> None:
        """Keep other writers of this machine out of a local folder."""
        if not isinstance(self.place, LocalPlace):
            return
        make_folder(self.place.path)
        try:
            self._lock = lock(self.place.path / "lock")
        except StoreError as error:
            # A shared file system may have no locks: the manifest's condition is left.
            if isinstance(error.__cause__, BlockingIOError):
                raise

    def _begin(self, model: Entry, source: Entry, command: str) -> None:
        self.manifest = self._read() or begun(model)
        segments = self.manifest["segments"]
        if self.manifest["model"]["fingerprint"] != model["fingerprint"]:
            if segments or self._has_rows():
                raise other_model(self.place.url, self.manifest["model"], model)
            self.manifest = begun(model)
        if segments:
            refuse_other_part(self.place.url, self.manifest.get("source") or {}, source)
        if not all("unit" in entry for entry in segments) or (
            "units" not in self.manifest and self._has_rows()
        ):
            raise InputError(
                f"{self.place.url}: holds rows that were embedded without --engine; go on without "
                "it, or choose another -o"
            )
        self.manifest |= {"command": command, "versions": versions(), "source": dict(source)}

    def _read(self) -> dict[str, Any] | None:
        """Return the manifest; None for a place where nothing lies yet."""
        try:
            raw, self._tag = self.place.read(NAME)
        except MissingError:
            is_bucket = not isinstance(self.place, LocalPlace)
            if is_bucket and (found := next(iter(self.place.list()), None)) is not None:
                message = f"{self.place.url}: no embedding set, but {found.name!r} lies there"
                raise StoreError(f"{message}; choose another name") from None
            return None
        return parse_manifest(raw, f"{self.place.url}/{NAME}")

    def _has_rows(self) -> bool:
        return next(iter(self.place.list("segment-")), None) is not None

    @property
    def size(self) -> int | None:
        """Items of a unit, on average; None before it was chosen."""
        return (self.manifest.get("units") or {}).get("items")

    @property
    def rows(self) -> int:
        """Rows that were embedded, those that are replaced too."""
        return sum(int(entry["rows"]) for entry in self.known)

    @property
    def entries(self) -> list[Entry]:
        """What is done."""
        return list(self.manifest["segments"])

    @property
    def replaced(self) -> list[Entry]:
        """What an unfinished run has done anew: no rows of the set, but their labels are needed."""
        return list(self.manifest.get("replaced", []))

    @property
    def known(self) -> list[Entry]:
        """All whose files are kept, what was replaced first."""
        return [*self.replaced, *self.entries]

    def commit(
        self,
        entries: Sequence[Entry],
        *,
        finished: bool,
        size: int,
        replaced: Sequence[Entry] = (),
    ) -> None:
        """Name what is done, and nothing else; of `replaced` the files are kept.

        Raises
        ------
        StoreError
            If another run has written to the set meanwhile.
        """
        numbers = [int(entry["name"].split("-")[1]) + 1 for entry in entries]
        manifest = {
            **self.manifest,
            "segments": list(entries),
            "next_segment": max([self.manifest["next_segment"], *numbers]),
            "items": sum(int(entry["rows"]) for entry in entries),
            "finished": finished,
            "units": {"items": size},
            "run": self.run,
            "updated": now(),
            "replaced": list(replaced),
        }
        if not replaced:
            del manifest["replaced"]
        raw = json.dumps(manifest, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
        try:
            self._tag = self.place.put_if(NAME, raw + b"\n", self._tag)
        except ChangedError as cause:
            raise ChangedError(
                f"{self.place.url}: another run has written to it meanwhile; wait for that to end, "
                "and run the command again: what is done is kept"
            ) from cause
        self.manifest = manifest

    def require(self, entry: Entry) -> None:
        """Check that the files of a local entry are there: a worker may see another disk.

        Raises
        ------
        StoreError
            If they are not.
        """
        if not isinstance(self.place, LocalPlace):
            return
        for name in _files(entry):
            if not (self.place.path / name).is_file():
                raise StoreError(
                    f"{self.place.url}: a worker has written {name}, which is not here; write to a "
                    "folder that all machines share, or to a URL such as s3://BUCKET/NAME"
                )

    def table(self, entry: Entry) -> pa.Table:
        """Return the facts of an entry's rows."""
        with scratch() as folder:
            path = folder / "items.parquet"
            self.place.get_file(str(entry["items"]), path)
            return read_table(path, rows=int(entry["rows"]))

    def replace_table(self, entry: Entry, table: pa.Table) -> dict[str, Any]:
        """Write an entry's next table under a name of its own; return the new entry.

        Another run may write one of the same revision before either commits.
        """
        revision = int(entry.get("revision", 0)) + 1
        items = f"{entry['name']}-r{revision}-{token_hex(4)}.parquet"
        with scratch() as folder:
            path = folder / "items.parquet"
            write_batches(path, table.to_batches())
            self.place.put_file(items, path)
        return {**entry, "items": items, "revision": revision}

    def failures(self, entry: Entry) -> Iterator[Failure]:
        """Yield the items of a unit that could not be embedded."""
        if "errors" not in entry:
            return
        for line in self.place.read(str(entry["errors"]))[0].splitlines():
            yield Failure(**json.loads(line))

    def list_failures(self) -> None:
        """Write ``errors.jsonl``: what the units that the manifest names could not embed."""
        names = [str(entry["errors"]) for entry in self.entries if "errors" in entry]
        raws = [self.place.read(name)[0] for name in names]
        self.place.put(LEDGER, b"".join(raws))

    def sweep(self) -> None:
        """Delete what the manifest does not name: this run's files, and leftovers of old ones.

        Raises
        ------
        StoreError
            If they cannot be deleted.
        """
        named = {name for entry in self.known for name in _files(entry)}
        old_s = time.time() - LEFTOVER_S
        gone = []
        for kind in ("segment-", "errors-"):
            for file in self.place.list(kind):
                match = _OWN.fullmatch(file.name)
                if match is None or file.name in named:
                    continue
                if match[1] == self.run or file.modified_s < old_s:
                    gone.append(file.name)
        self.place.delete(gone)
        if isinstance(self.place, LocalPlace):
            _sweep_halves(self.place.path, old_s)

    def close(self) -> None:
        """Let other writers in."""
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sweep_halves(folder: Path, old_s: float) -> None:
    """Delete what processes were writing when they were killed, unless it may still be written."""
    for path in folder.glob(".*.tmp"):
        with explained(path), suppress(FileNotFoundError):
            if path.stat().st_mtime < old_s:
                path.unlink()


def _files(entry: Entry) -> list[str]:
    """Return the names of the files of an entry."""
    found = [f"{entry['name']}.npy", str(entry["items"])]
    return [*found, str(entry["errors"])] if "errors" in entry else found
