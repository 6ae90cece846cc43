"""What a worker does: a unit becomes a sealed pair of files at the destination."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import Any

from featx.backbone.backbone import Backbone
from featx.data.ledger import NAME as LEDGER
from featx.data.ledger import read_ledger
from featx.data.places import Place, is_url, open_place
from featx.data.places.stored import refusal
from featx.data.places.trouble import DeniedError
from featx.data.setmanifest import NAME, parse_manifest
from featx.embedding import Run
from featx.embedding.tuning import Tuner
from featx.embedding.writing import RowWriter
from featx.errors import InputError, MissingError, StoreError
from featx.scale.assignment import Assignment, Outcome
from featx.scale.draft import Draft
from featx.scale.scratch import scratch, sweep
from featx.scale.unit import Unit, facts_mark, file_of, is_readable
from featx.types import Item, Stored

ASKED_FILES = 8
"""About as many files of a unit are asked for once more where nothing of it could be read."""


class UnitSource:
    """The items of a unit, as a source."""

    skipped = 0

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._items)

    def describe(self) -> dict[str, Any]:
        """Return nothing that could be opened again: a unit is never what a set is made of."""
        return {"kind": "unit"}


class UnitRun(Run):
    """A run over one unit, into a draft."""

    def __init__(
        self, unit: Unit, backbone: Backbone, folder: Path, *, told: Assignment, tuner: Tuner
    ) -> None:
        source = UnitSource(unit.items)
        super().__init__(source, backbone, folder, cache=told.cache, policy=told.policy)
        old = int(unit.basis["rows"]) if unit.basis else 0
        self._draft = Draft(folder, backbone.dim, old)
        self._tuner = tuner

    def tuner(self) -> Tuner:
        """Return what finds the size of batches, which knows it from earlier units."""
        return self._tuner

    def writer(self) -> RowWriter:
        """Return the draft; it goes on after what is done of the unit."""
        return self._draft

    @property
    def rows(self) -> int:
        """Rows of the draft."""
        return len(self._draft)


def require_seen(unit: Unit) -> None:
    """Raise where the files of a unit lie on another machine, or are not for this one's user.

    Raises
    ------
    StoreError
        If not one can be read, and where they were listed one could.
    """
    if unit.file is None or is_readable(unit.file):
        return
    if file_of(unit.items) is None:  # one that was deleted meanwhile is a problem of its item
        raise StoreError(
            f"{unit.file}: not seen by the worker on {socket.gethostname()}; read from a folder "
            "that all machines share under the same path, or from a URL such as s3://BUCKET/NAME"
        )


def require_allowed(unit: Unit) -> None:
    """Raise where a store denies this machine all of a unit: another one may have the right keys.

    Raises
    ------
    StoreError
        If of the files that are looked at not one may be read, and one is there.
    """
    contents = [item.content for item in unit.items if not item.problem]
    files = [each for each in contents if isinstance(each, Stored) and is_url(each.url)]
    step = max(1, len(files) // ASKED_FILES)
    if (said := refusal(files[::step])) is not None:
        raise StoreError(f"the worker on {socket.gethostname()} can read nothing of a unit: {said}")


class Worker:
    """Embeds units, one after the other; the backbone is opened with the first.

    Parameters
    ----------
    assignment : Assignment
    backbone : Backbone, optional
        One that is open already.
    """

    def __init__(self, assignment: Assignment, backbone: Backbone | None = None) -> None:
        self.assignment = assignment
        self._given = backbone
        self._tuner = Tuner(assignment.cache, assignment.items)  # of all units

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone, which makes the same vectors here as everywhere."""
        wanted, here = self.assignment, version("featx")
        if wanted.version != here:
            raise InputError(
                f"featx {here} on {socket.gethostname()}, but {wanted.version} where the run was "
                "started; install the same version on all machines"
            )
        sweep()
        backbone = self._given or wanted.recipe.open()
        if backbone.fingerprint != wanted.fingerprint:
            raise InputError(
                f"{wanted.recipe.model}: on {socket.gethostname()} ({backbone.device}) its vectors "
                "would be others than where the run was started; use the same model files on all "
                "machines, and with --precision fp16 or --deterministic the same device"
            )
        return backbone

    @cached_property
    def place(self) -> Place:
        """The destination, which is the one that the run was started with."""
        place, wanted = open_place(self.assignment.url), self.assignment.set_id
        try:
            found = parse_manifest(place.read(NAME)[0], f"{place.url}/{NAME}")["set_id"]
        except MissingError:
            found = None
        if found != wanted:
            raise StoreError(
                f"{place.url}: not seen by the worker on {socket.gethostname()}; write to a folder "
                "that all machines share under the same path, or to a URL such as s3://BUCKET/NAME"
            )
        return place

    def do(self, unit: Unit) -> Outcome:
        """Embed a unit and write its files, under names of their own.

        Raises
        ------
        FeatxError
            If the worker does not fit the run, or its disk or the destination cannot be written;
            items that cannot be embedded are listed in the outcome instead.
        """
        try:
            return self._do(unit)
        except DeniedError as cause:  # credentials are those of this machine
            raise StoreError(f"the worker on {socket.gethostname()}: {cause}") from cause

    def _do(self, unit: Unit) -> Outcome:
        backbone, told = self.backbone, self.assignment
        require_seen(unit)
        with scratch() as folder:
            if unit.basis is not None:
                self._fetch(unit.basis, folder)
            run = UnitRun(unit, backbone, folder, told=told, tuner=self._tuner)
            *_, progress = run.steps()
            if unit.basis is None and progress.errors == progress.total:
                require_allowed(unit)
            is_new = unit.basis is None or progress.embedded + progress.cached > 0
            failed = [failure.id for failure in read_ledger(folder)]
            counts = {"rows": run.rows, "truncated": progress.truncated, "failed": len(failed)}
            if unit.basis is not None:
                counts["truncated"] += int(unit.basis["truncated"])
            return Outcome(
                number=unit.number,
                key=unit.key,
                entry=self._write(unit, folder, counts) if is_new else None,
                progress=progress,
                failed=failed,
                timings=run.timings.facts(),
            )

    def _fetch(self, entry: Mapping[str, Any], folder: Path) -> None:
        """Copy what is done of a unit to this disk."""
        self.place.get_file(f"{entry['name']}.npy", folder / Draft.VECTORS)
        self.place.get_file(str(entry["items"]), folder / Draft.OLD)
        self.place.get_file(str(entry["errors"]), folder / LEDGER)

    def _write(self, unit: Unit, folder: Path, counts: Mapping[str, int]) -> dict[str, Any]:
        """Put the files of a unit at the destination; return what the manifest is to say."""
        token = f"{unit.number:05d}-{self.assignment.run}{token_hex(2)}"
        name, errors = f"segment-{token}", f"errors-{token}.jsonl"
        items = f"{name}.parquet"
        self.place.put_file(f"{name}.npy", folder / Draft.VECTORS)
        self.place.put_file(items, folder / Draft.TABLE)
        entry = {"name": name, "items": items, "unit": unit.key, **counts}
        entry["facts"] = facts_mark(items, unit.facts)
        if counts["failed"]:
            self.place.put_file(errors, folder / LEDGER)
            entry["errors"] = errors
        return entry
