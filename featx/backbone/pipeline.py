"""Loading, encoding and what the caller does with the vectors, all at the same time.

::

    jobs ──► loaders (read, decode, tokenise) ──► window ──► encoders (the graph) ──► in order
             threads                              sorted      threads                 to the caller

The caller's thread schedules; the others only work.  Nothing grows without bound: a job is taken
from the source only while fewer than `Room.jobs` are under way.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np

from featx.backbone.backbone import Backbone
from featx.backbone.job import Job
from featx.backbone.room import Room, room_for
from featx.backbone.timings import Timings
from featx.backbone.window import Limits, Window, padded_cost
from featx.errors import DeviceMemoryError, InputError
from featx.types import Sample, Vectors

T = TypeVar("T")

Load = Callable[[Sequence[Job[T]]], None]
"""Give each job a sample, or settle it.  Called in a loader thread; must not raise."""

LINGER_S = 0.02
"""A chunk is not waited for longer than this: items may come from a live source."""

NOT_FINITE = "the backbone gave a vector that is not finite"

Tune = Callable[[Backbone, Sequence[Sample]], Limits | None]
"""Choose how large batches are, from the samples that wait when the first one is cut."""

FIRST_FAILURES, FAILURES = 8, 256
"""A backbone is broken if it fails on so many items in a row: before it ever worked, or later."""


@dataclass(slots=True)
class _Event(Generic[T]):
    """What a thread did: the jobs it worked on, and what came of it."""

    jobs: Sequence[Job[T]]
    seconds: float
    rows: Vectors | None = None
    error: BaseException | None = None
    encoder: int = -1


@dataclass(slots=True)
class _Encoder(Generic[T]):
    """A backbone with its threads and the number of batches they have to do."""

    backbone: Backbone
    pool: ThreadPoolExecutor
    limits: Limits | None = None
    queued: int = 0

    def opened(self) -> Limits:
        """Return how large batches may be; the graph is opened here, not in two threads."""
        if self.limits is None:
            _ = self.backbone.session
            self.limits = self.backbone.limits
        return self.limits


@dataclass(slots=True)
class _Live(Generic[T]):
    """Jobs under way, and how far they are."""

    jobs: dict[int, Job[T]] = field(default_factory=dict)
    taken: int = 0
    given: int = 0
    loading: int = 0
    size_bytes: int = 0
    is_exhausted: bool = False


class Pipeline(Generic[T]):
    """Encode what jobs hold and give them back, settled, in their order.

    Parameters
    ----------
    backbones : sequence of Backbone
        The same backbone, once for each device.
    load : callable
        See `Load`.
    loaders : int
        Threads that load.
    room : Room or None
        The default depends on the modality.
    tune : callable or None
        See `Tune`.
    """

    def __init__(
        self,
        backbones: Sequence[Backbone],
        load: "Load[T]",
        *,
        loaders: int,
        room: Room | None = None,
        tune: Tune | None = None,
    ) -> None:
        self._load = load
        self._tune = tune
        self._room = room or room_for(backbones[0])
        self._loaders = ThreadPoolExecutor(loaders, thread_name_prefix="featx-load")
        self._encoders = [
            _Encoder[T](
                backbone,
                ThreadPoolExecutor(backbone.workers, thread_name_prefix="featx-encode"),
            )
            for backbone in backbones
        ]
        self._events: SimpleQueue[_Event[T]] = SimpleQueue()
        self._window = Window()
        self._again: deque[list[int]] = deque()
        self._leaders: dict[bytes, Job[T]] = {}
        self._live = _Live[T]()
        self._failures = 0
        encoders = sum(backbone.workers for backbone in backbones)
        devices = ", ".join(backbone.device for backbone in backbones)
        self.timings = Timings(loaders=loaders, encoders=encoders, device=devices)

    def run(self, jobs: Iterable[Job[T]]) -> Iterator[list[Job[T]]]:
        """Yield jobs that are settled, in their order, some at a time.

        Raises
        ------
        FeatxError
            If the backbone cannot be opened.
        InputError
            If it fails on every item.
        """
        source, started_s = iter(jobs), time.perf_counter()
        try:
            while True:
                with self._timed_source():
                    self._take(source)
                self._dispatch()
                yield from self._give()
                if not self._live.jobs and self._live.is_exhausted:
                    return
                if self._live.loading or self._busy():
                    self._wait()
        finally:
            self.timings.wall_s += time.perf_counter() - started_s
            self.close()

    @contextmanager
    def _timed_source(self) -> Iterator[None]:
        begun_s = time.perf_counter()
        yield
        self.timings.wait_source_s += time.perf_counter() - begun_s

    def close(self) -> None:
        """End the threads; batches that are being encoded are waited for."""
        for pool in (self._loaders, *(encoder.pool for encoder in self._encoders)):
            pool.shutdown(cancel_futures=True)

    def leftovers(self) -> list[Job[T]]:
        """Return jobs that were settled but not given back, after a run that ended early."""
        while not self._events.empty():
            self._receive(self._events.get())
        return [job for job in self._live.jobs.values() if job.is_settled]

    def _take(self, source: Iterator[Job[T]]) -> None:
        """Take jobs from the source while there is room, and have them loaded."""
        live, room = self._live, self._room
        while not live.is_exhausted and live.size_bytes < room.size_bytes:
            # What is done goes first; more loads would not be begun sooner, but fill the memory.
            if live.loading >= 2 * self.timings.loaders or not self._events.empty():
                return
            if room.jobs - len(live.jobs) < min(room.chunk, room.jobs):
                return
            chunk = _next_of(source, room.chunk)
            live.is_exhausted = not chunk
            for job in chunk:
                job.position = live.taken
                live.jobs[live.taken] = job
                live.taken += 1
            missing = [job for job in chunk if not job.is_settled]
            if missing:
                live.loading += 1
                self._loaders.submit(self._load_chunk, missing)

    def _load_chunk(self, jobs: Sequence[Job[T]]) -> None:
        started_s = time.perf_counter()
        error: BaseException | None = None
        try:
            self._load(jobs)
        except BaseException as cause:  # noqa: BLE001  (raised again by the scheduler)
            error = cause
        self._events.put(_Event(jobs, time.perf_counter() - started_s, error=error))

    def _dispatch(self) -> None:
        """Keep every encoder busy, with one batch more than it has threads."""
        if self._tune is not None and not self._is_tuned():
            return
        for number, encoder in enumerate(self._encoders):
            while encoder.queued <= encoder.backbone.workers and (self._again or self._window):
                is_starving = encoder.queued < encoder.backbone.workers
                if not (is_starving or self._again or self._is_well_filled(encoder)):
                    break
                limits = encoder.opened()
                positions = self._again.popleft() if self._again else self._window.take(limits)
                self._submit(number, positions)

    def _is_tuned(self) -> bool:
        """Choose the limits once the window is well filled; until then nothing is encoded."""
        if not self._window or not self._is_well_filled(self._encoders[0]):
            return False
        tune, self._tune = self._tune, None
        waiting = self._window.samples()
        for encoder in self._encoders:
            if tune is not None and waiting:
                encoder.limits = tune(encoder.backbone, waiting) or encoder.opened()
        return True

    def _is_well_filled(self, encoder: _Encoder[T]) -> bool:
        """Return whether a batch that is cut now will hardly be better if it is cut later."""
        return not self._live.loading or len(self._window) >= 4 * encoder.opened().parts

    def _submit(self, number: int, positions: list[int]) -> None:
        encoder = self._encoders[number]
        encoder.queued += 1
        jobs = [self._live.jobs[position] for position in positions]
        encoder.pool.submit(self._encode, number, jobs)

    def _encode(self, number: int, jobs: Sequence[Job[T]]) -> None:
        started_s = time.perf_counter()
        rows: Vectors | None = None
        error: BaseException | None = None
        try:
            samples = [job.sample for job in jobs if job.sample is not None]
            rows = self._encoders[number].backbone.encode_batch(samples)
        except BaseException as cause:  # noqa: BLE001  (a batch that fails is cut in two)
            error = cause
        seconds = time.perf_counter() - started_s
        self._events.put(_Event(jobs, seconds, rows, error, number))

    def _give(self) -> Iterator[list[Job[T]]]:
        """Yield the settled jobs that no unsettled one comes before."""
        live, ready = self._live, list[Job[T]]()
        while (job := live.jobs.get(live.given)) is not None and job.is_settled:
            ready.append(live.jobs.pop(live.given))
            live.given += 1
        if ready:
            started_s = time.perf_counter()
            yield ready
            self.timings.wait_write_s += time.perf_counter() - started_s

    def _busy(self) -> int:
        return sum(encoder.queued for encoder in self._encoders)

    def _wait(self) -> None:
        """Wait until a thread has done something; take all that has been done."""
        is_starving = any(e.queued < e.backbone.workers for e in self._encoders)
        started_s = time.perf_counter()
        event = self._events.get()
        waited_s = time.perf_counter() - started_s
        if is_starving:
            self.timings.wait_decode_s += waited_s
        else:
            self.timings.wait_device_s += waited_s
        self._receive(event)
        while not self._events.empty():
            self._receive(self._events.get())

    def _receive(self, event: _Event[T]) -> None:
        if event.encoder >= 0:
            self._encoders[event.encoder].queued -= 1
            self.timings.encode_s += event.seconds
            self._encoded(event)
            return
        self._live.loading -= 1
        self.timings.load_s += event.seconds
        if event.error is not None:
            raise event.error
        for job in event.jobs:
            self._let_wait(job)

    def _let_wait(self, job: Job[T]) -> None:
        """Put a job that was loaded into the window, or behind an equal one."""
        if job.sample is None:
            return
        leader = self._leaders.setdefault(job.key, job) if job.key else job
        if leader is not job:
            job.sample = None
            leader.followers.append(job)
            return
        self._live.size_bytes += job.sample.size_bytes
        self._window.add(job.position, job.sample)

    def _encoded(self, event: _Event[T]) -> None:
        """Settle the jobs of a batch; one that failed is cut in two and tried again."""
        if event.rows is None:
            assert event.error is not None
            self._failed(event, event.error)
            return
        samples = [job.sample for job in event.jobs if job.sample is not None]
        self.timings.batches += 1
        self.timings.cost += sum(sample.cost * sample.parts for sample in samples)
        self.timings.padded_cost += padded_cost(samples)
        self._failures = 0
        finite = np.logical_and.reduce(np.isfinite(event.rows), axis=1).tolist()
        for job, row, is_finite in zip(event.jobs, event.rows, finite, strict=True):
            self._settle(job, row if is_finite else None, NOT_FINITE)

    def _failed(self, event: _Event[T], error: BaseException) -> None:
        encoder = self._encoders[event.encoder]
        if isinstance(error, DeviceMemoryError) and self._ran_out(encoder, event.jobs):
            return
        if len(event.jobs) > 1:
            middle = len(event.jobs) // 2
            halves = (event.jobs[:middle], event.jobs[middle:])
            self._again.extend([job.position for job in half] for half in halves)
            return
        self._failures += 1
        if self._failures >= (FAILURES if self.timings.batches else FIRST_FAILURES):
            message = f"the backbone fails on every item: {_first_line(error)}"
            raise InputError(message) from error
        self._settle(event.jobs[0], None, f"the backbone fails on it: {_first_line(error)}")

    def _ran_out(self, encoder: _Encoder[T], jobs: Sequence[Job[T]]) -> bool:
        """Make batches smaller after one that took too much memory.

        A single item is tried again once no other batch takes memory; then this returns True.
        """
        if len(jobs) == 1 and encoder.queued:
            self._again.append([jobs[0].position])
            return True
        samples = [job.sample for job in jobs if job.sample is not None]
        # Several batches may fail at once: only those of the present size count.
        if len(jobs) > 1 and 2 * padded_cost(samples) > encoder.opened().budget:
            encoder.limits = encoder.opened().halved()
        return False

    def _settle(self, job: Job[T], row: Vectors | None, problem: str) -> None:
        assert job.sample is not None
        self._live.size_bytes -= job.sample.size_bytes
        self._leaders.pop(job.key, None)
        job.settle(vector=row, problem="" if row is not None else problem)


def _next_of(source: Iterator[T], count: int) -> list[T]:
    """Return the next items of a source; fewer than `count` if they come slowly."""
    found, started_s = list[T](), time.perf_counter()
    for item in source:
        found.append(item)
        if len(found) == count or time.perf_counter() - started_s > LINGER_S:
            break
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
