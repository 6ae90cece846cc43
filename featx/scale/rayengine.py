"""Workers of a Ray cluster; Ray Data hands them the units and brings back what came of them.

No state is kept in Ray: what is lost is not in the set's manifest, and is done again.
"""

import logging
import os
import pickle
import socket
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from featx.errors import (
    DeviceError,
    FeatxError,
    InputError,
    ItemError,
    MissingPackageError,
    ServerError,
    StoreError,
)
from featx.scale.assignment import Assignment, Outcome, Recipe
from featx.scale.cluster import Node, Share
from featx.scale.unit import Unit
from featx.scale.worker import Worker

WAVE_BYTES = 64 << 20
UNITS_EACH = 8
"""Units are handed out in waves of so many bytes and so many for each worker, or more ..."""

MOST_BYTES = 1 << 30
LEAST_EACH = 2
"""... but a wave ends with so many bytes, once there are so many units for each worker."""

TRIES = 3
"""A wave is given up once it failed so often without one more unit done."""

RESTARTS = 3
"""How often a unit may end its worker, or a worker while it starts, before the wave fails."""

STORE_BYTES = 200_000_000
"""Memory of Ray's object store on this machine: only lists of items travel."""

ANSWER_S = 10.0
"""How long an address is waited for."""

ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""What Ray is told, unless the user has: it calls nobody, and its own logs stay in its files."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of a worker, as it travels: errors of their own kind may not be unpickled."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: FeatxError) -> "Problem":
        """Return what is said of an error."""
        kinds = (StoreError, DeviceError, ItemError)
        return cls(next((k.__name__ for k in kinds if isinstance(error, k)), ""), str(error))

    @property
    def may_pass(self) -> bool:
        """Whether another try, or another machine, may do better."""
        return self.kind == "StoreError"

    def error(self) -> FeatxError:
        """Return the error."""
        kinds: dict[str, type[FeatxError]] = {"StoreError": StoreError, "DeviceError": DeviceError}
        return kinds.get(self.kind, InputError)(self.message)


class UnitActor:
    """A worker, as Ray Data calls it: a table with a unit in, a table with what came of it out.

    Parameters
    ----------
    assignment : Assignment
    """

    def __init__(self, assignment: Assignment) -> None:
        self._worker = Worker(assignment)

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """Embed the units of a batch."""
        found = [self._do(pickle.loads(raw.as_py())) for raw in batch.column("unit")]  # noqa: S301
        return pa.table({"outcome": [pickle.dumps(each) for each in found]})

    def _do(self, unit: Unit) -> Outcome | Problem:
        try:
            return self._worker.do(unit)
        except FeatxError as error:
            return Problem.of(error)


class RayEngine:
    """Embeds units on a Ray cluster, or on a small one of this machine alone.

    Parameters
    ----------
    recipe : Recipe
        Its threads are those of one worker.
    address : str, optional
        Of the cluster; default ``RAY_ADDRESS``, else one is started here and stopped at the end.
    workers : int, optional
        The most of them; default as many as the cluster holds.
    gpus : float
        Of each worker.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        address: str | None = None,
        workers: int | None = None,
        gpus: float = 0.0,
    ) -> None:
        asked = recipe.settings
        if gpus and asked.device == "cpu":
            raise InputError("--gpus-per-worker: workers with a GPU cannot be on --device cpu")
        if not gpus and asked.device.startswith("cuda"):
            raise InputError("--device cuda: with --engine ray, add --gpus-per-worker 1")
        self.recipe = recipe
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._most = workers
        self._gpus = gpus

    def facts(self) -> dict[str, Any]:
        """Return what a set records of the backbone, asked of a worker where devices matter."""
        settings = self.recipe.settings
        if not settings.deterministic and settings.precision != "fp16":
            return self.recipe.facts()
        with self._connected() as share:
            import ray

            recipe = _fitted(self.recipe, share)
            asked = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(_facts)
            found: dict[str, Any] | Problem = ray.get(asked.remote(recipe))
        if isinstance(found, Problem):
            raise found.error()
        return found

    def run(self, assignment: Assignment, units: Iterable[Unit]) -> Generator[Outcome]:
        """Yield what came of each unit, as soon as it is done.

        Raises
        ------
        FeatxError
            If the cluster cannot be reached or holds no worker, a worker does not fit the run, or
            Ray fails again and again.
        """
        waiting = iter(units)
        first = next(waiting, None)
        if first is None:
            return
        with self._connected() as share:
            told = replace(assignment, recipe=_fitted(self.recipe, share))
            for wave in waves(first, waiting, self._pool_size(share)):
                yield from self._wave(wave, told, share)

    def _pool_size(self, share: Share) -> int:
        """Return how many workers there are to be: those that were asked for, or all that fit."""
        return self._most or max(1, _room(share))

    def _wave(
        self, units: Mapping[int, bytes], told: Assignment, share: Share
    ) -> Iterator[Outcome]:
        """Do some units, again and again while some are done each time."""
        left, failures = dict(units), 0
        while left:
            before = len(left)
            problem = yield from self._try(left, told, share)
            failures = 0 if len(left) < before else failures + 1
            if left and failures == TRIES:
                raise problem or ServerError("ray: units were lost, and no error was given")

    def _try(
        self, left: dict[int, bytes], told: Assignment, share: Share
    ) -> Generator[Outcome, None, FeatxError | None]:
        """Hand out units, take those from `left` that are done; return what came in the way.

        Raises
        ------
        FeatxError
            Of a worker, where another try would end as this one.
        """
        from ray.exceptions import RayError, UserCodeException

        problem: FeatxError | None = None
        try:
            for found in self._stream(left, told, share):
                if isinstance(found, Outcome):
                    if left.pop(found.number, None) is not None:
                        yield found
                    continue
                problem = found.error()
                if not found.may_pass:
                    raise problem
        except UserCodeException:
            raise  # a bug of ours, which another try does not mend
        except RayError as error:
            problem = _explained(error)
        return problem

    def _stream(
        self, units: Mapping[int, bytes], told: Assignment, share: Share
    ) -> Iterator[Outcome | Problem]:
        """Hand out the units once, and yield what comes back, in any order."""
        import ray.data

        most = self._pool_size(share)
        pool = ray.data.ActorPoolStrategy(
            min_size=1, max_size=most, initial_size=max(1, min(most, _room(share), len(units)))
        )
        # Blocks that hold one unit each, and no task that reads: workers may take every CPU.
        rows = [{"unit": raw} for raw in units.values()]
        listed = ray.data.from_items(rows, override_num_blocks=len(rows))
        with warnings.catch_warnings():
            # Without a limit, a unit that ends its worker would do so for ever.
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            done = listed.map_batches(
                UnitActor,
                fn_constructor_args=[told],
                batch_size=1,
                batch_format="pyarrow",
                compute=pool,
                num_cpus=share.cpus,
                num_gpus=share.gpus or None,
                max_task_retries=RESTARTS,
            )
        for batch in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            assert isinstance(batch, pa.Table)
            # Written by a worker of this run, and read from the cluster that was asked for it.
            yield from (pickle.loads(raw.as_py()) for raw in batch.column("outcome"))  # noqa: S301

    @contextmanager
    def _connected(self) -> Iterator[Share]:
        """Join the cluster, or begin one, and leave it at the end; give a worker's share of it."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
            import ray.data
        except ImportError as cause:
            raise MissingPackageError("ray", "'featx[ray]'") from cause

        is_ours = not ray.is_initialized()
        if is_ours:
            join(self._address)
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.max_consecutive_actor_init_deaths = RESTARTS
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            yield Share.of(_nodes(), threads=self.recipe.settings.threads, gpus=self._gpus)
        finally:
            if is_ours:
                ray.shutdown()


def join(address: str | None) -> None:
    """Join a cluster, or begin one on this machine where there is no address.

    Raises
    ------
    ServerError
        If it cannot be reached.
    """
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if not address:
        quiet |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    require_answer(address)
    try:
        with _muted():
            ray.init(address or "local", **quiet)
        # What Ray tells of lost workers goes to stdout, which is for results alone.
        ray._private.worker._worker_logs_enabled = False
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as cause:
        said = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise ServerError(
            f"ray: {address or 'a cluster on this machine'} cannot be used: {said}; start one "
            "with: ray start --head, name it with --address, and where it asks for a token set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from cause


def require_answer(address: str | None) -> None:
    """Raise where nothing listens at ``HOST:PORT``: Ray itself asks for ten minutes or more."""
    try:
        given = address or ""
        found = urlsplit(given if "://" in given else f"//{given}")
        host, port = found.hostname, found.port
    except ValueError as cause:
        raise InputError(f"address {address!r}: {cause}; expected HOST:PORT") from cause
    if host is None or port is None:
        return  # none is given, or "auto"
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
    except OSError as cause:
        raise ServerError(
            f"ray: nothing answers at {address}: {cause.strerror or cause}; start a cluster with:"
            " ray start --head, and name it with --address HOST:PORT"
        ) from cause


def _facts(recipe: Recipe) -> dict[str, Any] | Problem:
    try:
        return recipe.facts()
    except FeatxError as error:
        return Problem.of(error)


@contextmanager
def _muted() -> Iterator[None]:
    """Keep what Ray's own threads write to stderr while it starts, such as which level they log."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _fitted(recipe: Recipe, share: Share) -> Recipe:
    """Return the recipe for a worker that has no more than its share."""
    device = recipe.settings.device
    if device == "auto":
        device = "cuda" if share.gpus else "cpu"
    settings = replace(recipe.settings, threads=share.cpus, device=device).in_bulk()
    return replace(recipe, settings=settings)


def _room(share: Share) -> int:
    """Return how many workers the cluster holds now."""
    return sum(node.holds(share) for node in _nodes())


def _nodes() -> list[Node]:
    import ray

    found: list[dict[str, Any]] = ray.nodes()
    return Node.all(found)


def waves(first: Unit, rest: Iterator[Unit], workers: int) -> Iterator[dict[int, bytes]]:
    """Yield units, pickled, by their numbers, in waves that keep `workers` busy."""
    wave: dict[int, bytes] = {}
    size_bytes = 0
    unit: Unit | None = first
    while unit is not None:
        raw = pickle.dumps(unit, protocol=pickle.HIGHEST_PROTOCOL)
        wave[unit.number] = raw
        size_bytes += len(raw)
        is_long = len(wave) >= UNITS_EACH * workers and size_bytes >= WAVE_BYTES
        if is_long or (len(wave) >= LEAST_EACH * workers and size_bytes >= MOST_BYTES):
            yield wave
            wave, size_bytes = {}, 0
        unit = next(rest, None)
    if wave:
        yield wave


def _explained(error: Exception) -> ServerError:
    """Return what Ray's own failure is, in one line."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return ServerError(
        f"ray: failed {TRIES} times in a row without one more unit done; what is done is kept; "
        f"last problem: {type(error).__name__}: {lines[-1].strip()}"
    )
