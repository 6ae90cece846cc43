"""Reload: another head or gallery at the same place is opened while the old one answers.

::

    marks of its files differ, or SIGHUP ──► open it ──► a canary is answered ──► swap ──► the old
                                               └─ fails: the old one goes on          one is closed
                                                                                      once unused

A gallery that may be taught but is only read, since another process wrote to it when it was opened,
is opened to be changed as soon as none does.
"""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from featx.errors import FeatxError
from featx.serve.canary import ASKS, canary_of
from featx.serve.service import Service
from featx.serve.thing import Thing, marks_of, open_thing, open_to_write

EVERY_S = 1.0
"""Seconds between two looks at the files."""

RETRY_S = 5.0
"""Seconds after which what could not be opened, or not to be changed, is tried again."""

_PAUSE_S = 0.05

LOGGER = logging.getLogger("featx.serve")


class Reloader:
    """Looks after the files of what is served.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._path = Path(service.settings.thing)
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._not_before_s = 0.0
        self._not_written_before_s = 0.0
        self._closing = set[asyncio.Task[None]]()

    def ask(self) -> None:
        """Have it look now, and try again what failed; from any thread or signal handler."""
        self._loop.call_soon_threadsafe(self._asked.set)

    async def run(self) -> None:
        """Look every second, or when asked; never ends."""
        while True:
            is_asked = await self._wait()
            try:
                await self.look(is_asked=is_asked)
            except Exception:
                LOGGER.exception("a bug: %s could not be looked at", self._path)

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(EVERY_S):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def look(self, *, is_asked: bool = False) -> None:
        """Open what is there now, if it is another thing than before.

        Parameters
        ----------
        is_asked : bool
            Whether to try at once what could not be opened a moment ago.
        """
        now_s = time.monotonic()
        may_try = is_asked or now_s >= self._not_before_s
        try:
            marks = await asyncio.to_thread(marks_of, self._path)
        except FeatxError as error:  # something is there that cannot be served at all
            if may_try:
                self._fail(str(error))
            return
        if marks != self._service.engine.thing.marks:
            if may_try:
                await self._replace()
            return
        if self._service.problem:
            LOGGER.info("%s: what was opened before is there again", self._path)
        self._service.problem = ""
        if self._only_reads and (is_asked or now_s >= self._not_written_before_s):
            self._not_written_before_s = now_s + RETRY_S
            await self._begin_to_write()

    @property
    def _only_reads(self) -> bool:
        """Whether this process may teach a gallery that another one had the lock of."""
        thing = self._service.engine.thing
        return (
            self._service.teacher is not None and thing.gallery is not None and not thing.may_write
        )

    async def _begin_to_write(self) -> None:
        """Take the place of the process that wrote to the gallery, if it has ended."""
        with suppress(FeatxError):  # another process writes to it: that is how it shall be
            await self._swap(await asyncio.to_thread(open_to_write, self._service.engine.thing))

    async def _replace(self) -> None:
        old = self._service.engine.thing
        try:
            new = await asyncio.to_thread(self._opened, old)
        except FeatxError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it, the old one goes on)
            self._fail(f"{self._path}: {type(error).__name__}: {error}")
        else:
            self._service.problem = ""
            self._service.metrics.reloaded("done")
            told = await asyncio.to_thread(lambda: f"{new.description} (was {old.description})")
            LOGGER.info("%s: opened anew: %s", self._path, told)
            await self._swap(new)

    async def _swap(self, new: Thing) -> None:
        """Answer by another thing from now on, and teach it."""
        old, self._service.engine.thing = self._service.engine.thing, new
        closing = asyncio.create_task(self._close(old))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        if self._service.teacher is not None:
            await self._service.teacher.follow()

    def _opened(self, old: Thing) -> Thing:
        new = open_thing(self._service.settings, old)
        try:
            self._service.engine.try_on(new, canary_of(new), ASKS[new.kind])
        except BaseException:
            new.close()
            raise
        return new

    def _fail(self, problem: str) -> None:
        self._not_before_s = time.monotonic() + RETRY_S
        self._service.metrics.reloaded("failed")
        if problem != self._service.problem:
            LOGGER.warning("%s; what was opened before goes on answering", problem)
        self._service.problem = problem

    async def _close(self, old: Thing) -> None:
        """Close a thing that was replaced, once no request uses it."""
        while self._service.engine.uses(old):
            await asyncio.sleep(_PAUSE_S)
        await asyncio.to_thread(old.close)

    async def close(self) -> None:
        """Wait until everything that was replaced is closed."""
        if self._closing:
            await asyncio.wait(self._closing)
