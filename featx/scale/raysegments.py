"""A function applied to the segments of a set, each by a task of a Ray cluster."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from featx.errors import FeatxError, ServerError
from featx.scale.raycluster import joined
from featx.scale.rayengine import RESTARTS, Problem
from featx.train.streaming.plan import Each, Part

TASKS_EACH = 3
"""Tasks that are handed out for each CPU: results are taken before more of them are made.

More than two, since results wait for that of the segment before."""


@contextmanager
def on_ray(address: str | None = None) -> Iterator[Each[Any]]:
    """Join a cluster, or begin one on this machine, and give a ``map`` that runs on it.

    Results come in the order of the segments, so that sums of them are the same each time.  A task
    whose worker or node is lost is done again; segments have to be where all nodes see them.

    Parameters
    ----------
    address : str, optional
        Default ``RAY_ADDRESS``.

    Raises
    ------
    MissingPackageError
        If Ray is not installed.
    ServerError
        If the cluster cannot be reached, or fails again and again.
    FeatxError
        What a task raises.
    """
    with joined(address):
        yield _each


def _each(function: Callable[[Part], Any], parts: Iterable[Part]) -> Iterator[Any]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    task = ray.remote(num_cpus=1, max_retries=RESTARTS)(_done)
    told = ray.put(function)  # sent to a node once, not with every task
    has: dict[str, float] = ray.cluster_resources()
    cpus = int(has.get("CPU", 1))
    waiting = iter(parts)
    first = islice(waiting, TASKS_EACH * max(1, cpus))
    running = deque(task.remote(told, part) for part in first)
    try:
        while running:
            found = ray.get(running.popleft())
            running.extend(task.remote(told, part) for part in islice(waiting, 1))
            if isinstance(found, Problem):
                raise found.error()
            yield found
    except RayTaskError:
        raise  # a bug of ours, which another try does not mend
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = (lines or [type(error).__name__])[-1]
        raise ServerError(f"ray: a segment was lost {RESTARTS + 1} times: {said}") from error


def _done(function: Callable[[Part], Any], part: Part) -> Any:  # noqa: ANN401
    try:
        return function(part)
    except FeatxError as error:
        return Problem.of(error)
