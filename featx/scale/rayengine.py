"""Workers of a Ray cluster; Ray Data hands them the units and brings back what came of them.

No state is kept in Ray: what is lost is not in the set's manifest, and is done again.
"""

import logging
import pickle
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

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
from featx.scale.cluster import Share
from featx.scale.raycluster import Say, has_worker, is_free, joined, nodes, room, telling
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

RETRY_WAITS_S = (2.0, 8.0)
"""Before the second and the third try: a head that starts anew takes seconds."""

WORKER_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Before a worker's next unit, after so many in a row that it could not do: others take them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of a worker, as it travels: errors of their own kind may not be unpickled."""

    kind: str
    message: str
    worker: str = ""

    @classmethod
    def of(cls, error: FeatxError, worker: str = "") -> "Problem":
        """Return what is said of an error; `worker` tells whose it is."""
        kinds = (StoreError, DeviceError, ItemError)
        kind = next((k.__name__ for k in kinds if isinstance(error, k)), "")
        return cls(kind, str(error), worker)

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
        self._name = token_hex(4)
        self._failed = 0  # units in a row

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """Embed the units of a batch."""
        found = [self._do(pickle.loads(raw.as_py())) for raw in batch.column("unit")]  # noqa: S301
        return pa.table({"outcome": [pickle.dumps(each) for each in found]})

    def _do(self, unit: Unit) -> Outcome | Problem:
        # A machine that can do nothing would else be the first to ask for all of them.
        time.sleep(WORKER_WAITS_S[min(self._failed, len(WORKER_WAITS_S) - 1)])
        try:
            outcome = self._worker.do(unit)
        except FeatxError as error:
            self._failed += 1
            return Problem.of(error, self._name)
        self._failed = 0
        return outcome


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
    say : callable, optional
        Told what is waited for, where nothing begins.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        address: str | None = None,
        workers: int | None = None,
        gpus: float = 0.0,
        say: Say = lambda _: None,
    ) -> None:
        asked = recipe.settings
        if gpus and asked.device == "cpu":
            raise InputError("--gpus-per-worker: workers with a GPU cannot be on --device cpu")
        if gpus > 1 and gpus != int(gpus):
            raise InputError(
                f"--gpus-per-worker {gpus:g}: expected a share of one GPU, such as 0.5, or a whole "
                "number of them"
            )
        if not gpus and asked.device.startswith("cuda"):
            raise InputError("--device cuda: with --engine ray, add --gpus-per-worker 1")
        self.recipe = recipe.located()  # workers run in the folder of ``ray start``
        self._address = address
        self._most = workers
        self._gpus = gpus
        self._say = say

    @contextmanager
    def ready(self) -> Iterator[Share]:
        """Join the cluster, or begin one, and leave it at the end; give a worker's share of it.

        Within another one the cluster stays joined.
        """
        with joined(self._address):
            try:
                import ray.data
            except ImportError as cause:
                raise MissingPackageError("ray", "'featx[ray]'") from cause

            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.max_consecutive_actor_init_deaths = RESTARTS
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            yield Share.of(nodes(), threads=self.recipe.settings.threads, gpus=self._gpus)

    def facts(self) -> dict[str, Any]:
        """Return what a set records of the backbone, asked of a worker where devices matter."""
        settings = self.recipe.settings
        if not settings.deterministic and settings.precision != "fp16":
            return self.recipe.facts()
        with self.ready() as share:
            import ray

            elsewhere = replace(settings, cache=None)  # this machine's is not there
            recipe = _fitted(replace(self.recipe, settings=elsewhere), share)
            asked = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(_facts)
            was_free = is_free(share)
            with telling(self._say, share, lambda: was_free):
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
        with self.ready() as share:
            told = replace(assignment, recipe=_fitted(assignment.recipe, share))
            for wave in waves(first, waiting, self._pool_size(share)):
                yield from self._wave(wave, told, share)

    def _pool_size(self, share: Share) -> int:
        """Return how many workers there are to be: those that were asked for, or all that fit."""
        return self._most or max(1, room(share))

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
            if left and failures:
                time.sleep(RETRY_WAITS_S[failures - 1])

    def _try(
        self, left: dict[int, bytes], told: Assignment, share: Share
    ) -> Generator[Outcome, None, FeatxError | None]:
        """Hand out units, take those from `left` that are done; return what came in the way.

        It ends when every worker has failed since the last unit was done.

        Raises
        ------
        FeatxError
            Of a worker, where another try would end as this one.
        """
        from ray.exceptions import RayError, UserCodeException

        problem: FeatxError | None = None
        count, failed = self._first_workers(left, share), set[str]()
        try:
            with closing(self._stream(left, told, share)) as stream:
                for found in stream:
                    if isinstance(found, Outcome):
                        failed.clear()
                        if left.pop(found.number, None) is not None:
                            yield found
                        continue
                    problem = found.error()
                    failed.add(found.worker)
                    if not found.may_pass:
                        raise problem
                    if len(failed) >= count:
                        break
        except UserCodeException:
            raise  # a bug of ours, which another try does not mend
        except RayError as error:
            problem = _explained(error)
        return problem

    def _first_workers(self, units: Mapping[int, bytes], share: Share) -> int:
        """Return how many workers begin; more may join them."""
        return max(1, min(self._pool_size(share), room(share), len(units)))

    def _stream(
        self, units: Mapping[int, bytes], told: Assignment, share: Share
    ) -> Generator[Outcome | Problem]:
        """Hand out the units once, and yield what comes back, in any order."""
        import ray.data

        pool = ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=self._pool_size(share),
            initial_size=self._first_workers(units, share),
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
        was_free = is_free(share)  # what is in use soon after is this run's: processes take seconds
        with telling(self._say, share, lambda: was_free or has_worker()):
            for batch in done.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                assert isinstance(batch, pa.Table)
                # Written by a worker of this run, and read from the cluster that it asked.
                yield from (pickle.loads(raw.as_py()) for raw in batch.column("outcome"))  # noqa: S301


def _facts(recipe: Recipe) -> dict[str, Any] | Problem:
    try:
        return recipe.facts()
    except FeatxError as error:
        return Problem.of(error)


def _fitted(recipe: Recipe, share: Share) -> Recipe:
    """Return the recipe for a worker that has no more than its share."""
    device = recipe.settings.device
    if device == "auto":
        device = "cuda" if share.gpus else "cpu"
    settings = replace(recipe.settings, threads=share.cpus, device=device).in_bulk()
    return replace(recipe, settings=settings)


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
