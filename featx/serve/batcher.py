"""Greedy micro-batching: what waits is taken as soon as the worker is free.

Nothing ever sleeps to let a batch grow: under load the queue fills while a batch is computed, and
without load a request does not wait.  After a batch the event loop has its turn: it sends the
answers, and reads what those who got them ask next, which would else miss the batch that begins.
Requests take turns, an item each, so that one of a thousand items does not keep the others waiting.

::

    event loop: run() ──► queue ──► one thread: load → cut into batches → work ──► event loop
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Generic, Protocol, TypeVar

from featx.errors import FeatxError
from featx.modality.content import first_line

In = TypeVar("In")
Mid = TypeVar("Mid")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

LEAST, FIRST = 16, 32
"""Weight that is taken together: at least, and at the beginning."""

MOST = 1024
"""Items that are taken together, at most."""

TURN_S = 0.5
"""How long that may take before fewer are: who comes meanwhile waits for them."""

STEPS, PAUSE_S = 12, 0.02
"""Steps of the event loop between two batches, and the time that they may take at most."""

_LATE = "its turn did not come in time; ask again later, or for less"


LOGGER = logging.getLogger("featx.serve")


class BusyError(FeatxError):
    """More waits than can be answered in time; ask again later."""


class TimedOutError(FeatxError):
    """The deadline of a request passed before its turn came."""


class BrokenError(FeatxError):
    """An item cannot be answered, though nothing is wrong that could be seen beforehand."""


class Work(Protocol[In_contra, Mid, Out_co]):
    """What the thread of a `Batcher` does with items; it may raise nothing but bugs."""

    def load(self, items: Sequence[In_contra]) -> Sequence[Mid | FeatxError]:
        """Prepare items; an error takes the place of one that cannot be."""
        ...

    def cut(self, loaded: Sequence[Mid]) -> Iterable[Sequence[int]]:
        """Yield positions of batches that hold each item once."""
        ...

    def run(self, batch: Sequence[Mid]) -> Sequence[Out_co | FeatxError]:
        """Return what comes of each item of a batch.

        If it raises, the batch is cut in two: an item that fails, fails alone.
        """
        ...


@dataclass(slots=True, eq=False)
class _Asked(Generic[In, Out]):
    """The items of one call, and what has come of them."""

    items: Sequence[In]
    future: "asyncio.Future[list[Out | FeatxError]]"
    outcomes: list[Out | FeatxError]
    missing: int
    deadline_s: float
    taken: int = 0


@dataclass(slots=True, eq=False)
class _Waiting(Generic[In, Out]):
    asked: _Asked[In, Out]
    position: int

    @property
    def item(self) -> In:
        return self.asked.items[self.position]


class Batcher(Generic[In, Mid, Out]):
    """A queue, and one thread that answers it in batches.

    Parameters
    ----------
    work : callable
        Asked for the `Work` of all that is taken together, so that it can be replaced while
        requests are under way.
    name : str
        Of the thread.
    weigh : callable, optional
        Says how much work an item is, about; all are the same unless given.
    """

    def __init__(
        self,
        work: Callable[[], Work[In, Mid, Out]],
        *,
        name: str,
        weigh: Callable[[In], int] = lambda _: 1,
    ) -> None:
        self._work = work
        self._weigh = weigh
        self._queue = SimpleQueue[_Asked[In, Out] | None]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._answer_all, name=name, daemon=True)
        self._most = FIRST
        self.waiting = 0
        """Items that were asked for and are not answered."""
        self.batches = 0
        self.answered = 0
        self._has_delivered = False

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    async def run(
        self, items: Sequence[In], *, deadline_s: float = float("inf")
    ) -> list[Out | FeatxError]:
        """Return what comes of each item, in order; an error stands for one that failed.

        A caller that is cancelled takes its items out of the queue.

        Parameters
        ----------
        items : sequence
        deadline_s : float
            Time of `time.monotonic` after which items whose turn has not come fail.
        """
        if not items:
            return []
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._thread.start()
        unanswered: FeatxError = BrokenError("not answered")
        asked = _Asked[In, Out](
            items, loop.create_future(), [unanswered] * len(items), len(items), deadline_s
        )
        self.waiting += len(items)
        self._queue.put(asked)
        try:
            return await asked.future
        finally:
            self.waiting -= len(items)

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        self._queue.put(None)
        if self._loop is not None:
            self._thread.join()

    def _answer_all(self) -> None:
        pending = deque[_Asked[In, Out]]()
        is_open = True
        while is_open or pending:
            self._give_turn()
            is_open = self._collect(pending, wait=not pending) and is_open
            taken: list[_Waiting[In, Out]] = []
            weight = 0
            started_s = time.monotonic()
            try:
                weight = self._take(pending, taken)
                self._answer(taken)
            except Exception as cause:  # noqa: BLE001  (a bug may not end the service)
                assert self._loop is not None
                self._loop.call_soon_threadsafe(_break, {each.asked for each in taken}, cause)
            self._adapt(weight, time.monotonic() - started_s)

    def _give_turn(self) -> None:
        """Let the event loop send what was answered, and read what comes then."""
        if self._has_delivered and self._loop is not None:
            self._has_delivered = False
            turn = Event()
            with suppress(RuntimeError):  # of a loop that has ended
                self._loop.call_soon_threadsafe(_step, self._loop, turn, STEPS)
                turn.wait(PAUSE_S)  # one that is busy does not keep it

    def _adapt(self, weight: int, seconds: float) -> None:
        """Take less the next time if it took long, and more if it could have been more."""
        if seconds > TURN_S:
            self._most = max(LEAST, int(weight * TURN_S / seconds))
        elif weight >= self._most and seconds < TURN_S / 2:
            self._most *= 2

    def _collect(self, pending: "deque[_Asked[In, Out]]", *, wait: bool) -> bool:
        """Let all that was asked meanwhile take its turn; return False once it is the last."""
        try:
            while True:
                asked = self._queue.get(block=wait)
                if asked is None:
                    return False
                pending.append(asked)
                wait = False
        except Empty:
            return True

    def _take(self, pending: "deque[_Asked[In, Out]]", taken: list[_Waiting[In, Out]]) -> int:
        """Take an item of each request in turn; return what they weigh."""
        weight = 0
        while pending and len(taken) < MOST and weight < self._most:
            asked = pending.popleft()
            if asked.future.done():  # its caller has gone, or a bug has ended it
                continue
            item = _Waiting(asked, asked.taken)
            taken.append(item)
            weight += self._weigh(item.item)
            asked.taken += 1
            if asked.taken < len(asked.items):
                pending.append(asked)
        return weight

    def _wanted(self, taken: Iterable[_Waiting[In, Out]]) -> list[_Waiting[In, Out]]:
        """Return what is still waited for; say of what comes too late that it does."""
        now_s = time.monotonic()
        waited_for = [each for each in taken if not each.asked.future.done()]
        late: FeatxError = TimedOutError(_LATE)
        self._deliver([(each, late) for each in waited_for if each.asked.deadline_s <= now_s])
        return [each for each in waited_for if each.asked.deadline_s > now_s]

    def _answer(self, taken: Sequence[_Waiting[In, Out]]) -> None:
        taken = self._wanted(taken)
        if not taken:
            return
        work = self._work()
        loaded = dict(zip(taken, _attempt(work.load, [each.item for each in taken]), strict=True))
        self._deliver(
            [(each, found) for each, found in loaded.items() if isinstance(found, FeatxError)]
        )
        good = [
            (each, found) for each, found in loaded.items() if not isinstance(found, FeatxError)
        ]
        mids = dict(good)
        for positions in work.cut([found for _, found in good]) if good else ():
            batch = self._wanted(good[position][0] for position in positions)
            if batch:
                outcomes = _attempt(work.run, [mids[each] for each in batch])
                self.batches += 1
                self._deliver(list(zip(batch, outcomes, strict=True)))

    def _deliver(self, found: Sequence[tuple[_Waiting[In, Out], Out | FeatxError]]) -> None:
        """Hand outcomes to those who asked, in one step of the event loop."""
        if not found:
            return
        self.answered += len(found)
        done = []
        for waiting, outcome in found:
            asked = waiting.asked
            asked.outcomes[waiting.position] = outcome
            asked.missing -= 1
            if not asked.missing:
                done.append(asked)
        if done:
            assert self._loop is not None
            self._has_delivered = True
            self._loop.call_soon_threadsafe(_settle, done)


def _step(loop: asyncio.AbstractEventLoop, turn: Event, steps: int) -> None:
    """End a turn of the event loop after so many of its steps."""
    if steps:
        loop.call_soon(_step, loop, turn, steps - 1)
    else:
        turn.set()


def _settle(done: Sequence[_Asked[In, Out]]) -> None:
    for asked in done:
        if not asked.future.done():
            asked.future.set_result(asked.outcomes)


def _break(asked_of: Iterable[_Asked[In, Out]], cause: Exception) -> None:
    """Raise a bug where answers are waited for."""
    for asked in asked_of:
        if not asked.future.done():
            asked.future.set_exception(cause)


def _attempt(
    work: Callable[[Sequence[In]], Sequence[Out | FeatxError]], items: Sequence[In]
) -> Sequence[Out | FeatxError]:
    """Return what comes of each item; where all fail together, of one half after the other."""
    try:
        return work(items)
    except Exception as cause:  # noqa: BLE001  (nobody knows what a graph raises)
        if len(items) > 1:
            middle = len(items) // 2
            return [*_attempt(work, items[:middle]), *_attempt(work, items[middle:])]
        if isinstance(cause, FeatxError):
            return [cause]
        return [broken("it cannot be computed", cause)]


def broken(what: str, cause: Exception) -> BrokenError:
    """Return the error of an item that met one nobody has thought of; the log has all of it."""
    failed = BrokenError(f"{what}: {first_line(cause)}")
    failed.__cause__ = cause
    LOGGER.warning("an item failed: %s", failed, exc_info=cause)
    return failed
