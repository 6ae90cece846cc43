"""Teaching: examples are added to a gallery and removed from it while it answers.

Of several processes one may write to the gallery; the others hand it what they are asked to do::

    process that may write     LocalTeacher: adds of all requests ──► one durable Gallery.add
      └ teacher.sock
    each of the others         RemoteTeacher

Which process that is changes when it dies: each of several has a `SharedTeacher`, which is both.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from featx.errors import FeatxError, InputError, StoreError
from featx.gallery.gallery import Gallery
from featx.serve.batcher import Batcher, BusyError, TimedOutError
from featx.serve.engine import Engine
from featx.serve.settings import ServeSettings
from featx.serve.teach.teacher import Example, Teacher
from featx.serve.teach.teachersocket import RemoteTeacher, listen

__all__ = ["Example", "LocalTeacher", "SharedTeacher", "Teacher", "open_teacher"]

SOCKET = "teacher.sock"

LONGEST_PLACE = 103
"""Bytes of the path of a socket: macOS takes no more, Linux four more."""

WAITING = 4096
"""Examples that wait to be added from which on further ones are refused."""

_LATE = "what was added before took too long, and nothing was removed; ask again later"


async def open_teacher(settings: ServeSettings, engine: Engine) -> Teacher | None:
    """Return what teaches the gallery that is served; None where nothing may be taught.

    Parameters
    ----------
    settings : ServeSettings
    engine : Engine
        Its gallery may be replaced later.

    Raises
    ------
    InputError
        If the folder of several processes has too long a path.
    """
    if engine.thing.gallery is None or not settings.may_teach:
        return None
    if settings.folder is None:
        return LocalTeacher(engine)
    place = settings.folder / SOCKET
    if len(os.fsencode(place)) > LONGEST_PLACE:
        raise InputError(
            f"{place}: is too long a path for a socket, of which it may have {LONGEST_PLACE} "
            "bytes; choose a shorter folder: TMPDIR=/tmp"
        )
    teacher = SharedTeacher(engine, place)
    await teacher.follow()
    return teacher


class _Adds:
    """One durable add of all that waits."""

    def __init__(self, gallery: Gallery, changing: Lock) -> None:
        self._gallery = gallery
        self._changing = changing

    def load(self, items: Sequence[Example]) -> list[Example | FeatxError]:
        """Refuse what was embedded for another gallery, which was at this place before."""
        space = self._gallery.facts["space"]
        changed = BusyError("the gallery was replaced meanwhile; send the examples again")
        return [each if each.space == space else changed for each in items]

    def cut(self, loaded: Sequence[Example]) -> Iterable[list[int]]:
        """Yield the examples that take a place which is free, then those that may replace."""
        for replace in (False, True):
            positions = [at for at, each in enumerate(loaded) if each.replace is replace]
            if positions:
                yield positions

    def run(self, batch: Sequence[Example]) -> list[FeatxError | None]:
        """Add all; what an example is refused for is raised, so that it fails alone."""
        try:
            with self._changing:
                self._require_unchanged(batch)
                self._gallery.add(
                    [each.id for each in batch],
                    np.stack([each.vector for each in batch]),
                    facts=[each.facts for each in batch],
                    replace=batch[0].replace,
                )
        except StoreError as error:  # of the disk: no example is to blame
            return [error] * len(batch)
        return [None] * len(batch)

    def _require_unchanged(self, batch: Sequence[Example]) -> None:
        """Raise where an example is made of an item that was removed or replaced meanwhile."""
        for each in batch:
            if each.over is not None and self._gallery.snapshot.find(each.id) != each.over:
                raise BusyError(f"{each.id!r} was changed meanwhile; ask again")


class LocalTeacher:
    """Teaches a gallery that this process may write to.

    Parameters
    ----------
    engine : Engine
        Its gallery is the one that is taught, whichever that is at the time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changing = Lock()
        self._batcher = Batcher[Example, Example, None](
            lambda: _Adds(self._gallery, self._changing), name="featx-teach"
        )

    @property
    def _gallery(self) -> Gallery:
        gallery = self._engine.thing.gallery
        if gallery is None:
            raise StoreError("what is served is no gallery any more")
        return gallery

    async def add(
        self, examples: Sequence[Example], *, deadline_s: float
    ) -> list[FeatxError | None]:
        """Add examples, with those of other requests; see `Teacher.add`."""
        waiting = self._batcher.waiting
        if waiting >= WAITING:
            raise BusyError(f"{waiting:,} examples wait to be added already; ask again later")
        return await self._batcher.run(examples, deadline_s=deadline_s)

    async def remove(self, ids: Sequence[str], *, deadline_s: float) -> None:
        """Remove items; see `Teacher.remove`."""
        await asyncio.to_thread(self._remove, ids, deadline_s)

    def _remove(self, ids: Sequence[str], deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not self._changing.acquire(timeout=left_s):
            raise TimedOutError(_LATE)
        try:
            self._gallery.remove(ids)
        finally:
            self._changing.release()

    async def follow(self) -> None:
        """Do nothing: it asks for the gallery each time."""

    def close(self) -> None:
        """Add what waits, and end the thread."""
        self._batcher.close()


class SharedTeacher:
    """Teaches a gallery that one of several processes may write to: this one or another.

    Parameters
    ----------
    engine : Engine
        Its gallery tells which.
    place : Path
        Of the socket over which the process that may write teaches for the others.
    """

    def __init__(self, engine: Engine, place: Path) -> None:
        self._engine = engine
        self._place = place
        self._local, self._remote = LocalTeacher(engine), RemoteTeacher(place)
        self._server: asyncio.Server | None = None

    @property
    def _teacher(self) -> LocalTeacher | RemoteTeacher:
        return self._local if self._engine.thing.may_write else self._remote

    async def add(
        self, examples: Sequence[Example], *, deadline_s: float
    ) -> list[FeatxError | None]:
        """Add examples here or there; see `Teacher.add`."""
        return await self._teacher.add(examples, deadline_s=deadline_s)

    async def remove(self, ids: Sequence[str], *, deadline_s: float) -> None:
        """Remove items here or there; see `Teacher.remove`."""
        await self._teacher.remove(ids, deadline_s=deadline_s)

    async def follow(self) -> None:
        """Teach for the other processes if this one may write, else no more."""
        self._listen_no_more()
        if self._engine.thing.may_write:
            self._server = await listen(self._local, self._place)

    def _listen_no_more(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Listen no more, add what waits, and end the thread."""
        self._listen_no_more()
        self._local.close()
