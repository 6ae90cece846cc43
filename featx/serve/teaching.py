"""Teaching: examples are added to a gallery and removed from it while it answers.

Of several processes one may write to the gallery; the others hand it what they are asked to do::

    process that may write     LocalTeacher: adds of all requests ──► one durable Gallery.add
      └ teacher.sock
    each of the others         RemoteTeacher
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from featx.errors import FeatxError, StoreError
from featx.gallery.gallery import Gallery
from featx.serve.batcher import Batcher, BusyError
from featx.serve.engine import Engine
from featx.serve.settings import ServeSettings
from featx.serve.teacher import Example, Teacher
from featx.serve.teachersocket import RemoteTeacher, listen

__all__ = ["Example", "LocalTeacher", "RemoteTeacher", "Teacher", "open_teacher"]

SOCKET = "teacher.sock"


async def open_teacher(settings: ServeSettings, engine: Engine) -> Teacher | None:
    """Return what teaches the gallery that is served; None where nothing may be taught.

    Parameters
    ----------
    settings : ServeSettings
    engine : Engine
        Its gallery may be replaced later.
    """
    if engine.thing.gallery is None or not settings.may_teach:
        return None
    if settings.folder is not None and not engine.thing.may_write:
        return RemoteTeacher(settings.folder / SOCKET)
    teacher = LocalTeacher(engine)
    if settings.folder is not None:
        await teacher.listen(settings.folder / SOCKET)
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
        self._server: asyncio.Server | None = None

    async def listen(self, place: Path) -> None:
        """Teach for other processes too, over a socket at this place."""
        self._server = await listen(self, place)

    @property
    def _gallery(self) -> Gallery:
        gallery = self._engine.thing.gallery
        if gallery is None:
            raise StoreError("what is served is no gallery any more")
        return gallery

    async def add(self, examples: Sequence[Example]) -> list[FeatxError | None]:
        """Add examples, with those of other requests; see `Teacher.add`."""
        return await self._batcher.run(examples)

    async def remove(self, ids: Sequence[str]) -> None:
        """Remove items; see `Teacher.remove`."""
        await asyncio.to_thread(self._remove, ids)

    def _remove(self, ids: Sequence[str]) -> None:
        with self._changing:
            self._gallery.remove(ids)

    def close(self) -> None:
        """Listen no more, add what waits, and end the thread."""
        if self._server is not None:
            self._server.close()
        self._batcher.close()
