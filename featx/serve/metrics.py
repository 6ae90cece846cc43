"""Metrics: what Prometheus is told.

With ``PROMETHEUS_MULTIPROC_DIR`` in the environment before this is imported, several processes
write into that folder, and the page of any of them tells of all.
"""

import os
import time
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

# Else each has a second series, of the time at which it began.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the histogram's buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is read of a service when its metrics are asked for.

    Attributes
    ----------
    waiting : int
        Items under way.
    batches, answered : int
        Since the start.
    has_problem : bool
        Whether what is on the disk cannot be served.
    gallery_items : int or None
        None where there is no gallery.
    last_success_age_s : float
    """

    waiting: int
    batches: int
    answered: int
    has_problem: bool
    gallery_items: int | None
    last_success_age_s: float


class Metrics:
    """Counters and gauges of one process.

    Attributes
    ----------
    started_s : float
        Time of `time.time` at which they began.
    """

    def __init__(self) -> None:
        self.started_s = time.time()
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "featx_requests",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=own,
        )
        self._seconds = Histogram(
            "featx_request_seconds",
            "From the headers of a request to the end of its answer.",
            ["route"],
            registry=own,
            buckets=BUCKETS_S,
        )
        self._turned_away = Counter(
            "featx_turned_away", "Requests that were refused unread.", ["reason"], registry=own
        )
        self._reloads = Counter(
            "featx_reloads", "Times that what is served was opened anew.", ["outcome"], registry=own
        )
        self._batches = Counter("featx_batches", "Batches that were computed.", registry=own)
        self._answered = Counter(
            "featx_items_answered", "Items that were answered, also by an error.", registry=own
        )
        self._waiting = Gauge(
            "featx_items_waiting", "Items under way.", registry=own, multiprocess_mode="livesum"
        )
        self._problem = Gauge(
            "featx_thing_problem",
            "1 while what is on the disk cannot be served.",
            registry=own,
            multiprocess_mode="livemax",
        )
        self._age = Gauge(
            "featx_last_success_age_seconds",
            "Since an item was answered last.",
            registry=own,
            multiprocess_mode="livemax",
        )
        self._gallery_items: Gauge | None = None
        self._last = (0, 0)
        self._counted = dict[tuple[str, str, int], tuple[Counter, Histogram]]()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Parameters
        ----------
        route : str
            The pattern of its path, such as ``/v1/models/{name}``: not the path itself.
        method : str
        status : int
        seconds : float
        """
        key = route, method, status
        found = self._counted.get(key)
        if found is None:  # to look the labels up takes longer than to count
            requests = self._requests.labels(route, method, str(status))
            found = self._counted[key] = requests, self._seconds.labels(route)
        found[0].inc()
        found[1].observe(seconds)

    def turned_away(self, reason: str) -> None:
        """Count a request that was refused before its body was read."""
        self._turned_away.labels(reason).inc()

    def reloaded(self, outcome: str) -> None:
        """Count that what is served was opened anew: ``done`` or ``failed``."""
        self._reloads.labels(outcome).inc()

    def read(self, found: Reading) -> None:
        """Take over what is read of the service."""
        batches, answered = self._last
        self._batches.inc(found.batches - batches)
        self._answered.inc(found.answered - answered)
        self._last = found.batches, found.answered
        self._waiting.set(found.waiting)
        self._problem.set(found.has_problem)
        self._age.set(found.last_success_age_s)
        if found.gallery_items is not None:
            self._of_gallery().set(found.gallery_items)

    def _of_gallery(self) -> Gauge:
        if self._gallery_items is None:
            self._gallery_items = Gauge(
                "featx_gallery_items",
                "Items of the gallery.",
                registry=self._registry,
                multiprocess_mode="livemax",
            )
        return self._gallery_items

    def page(self) -> bytes:
        """Return everything in Prometheus' text format, of all processes if there are several."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
