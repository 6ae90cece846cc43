"""One embedding run of several workers: a set at a folder or URL is brought in line with a source.

What the manifest names is done, everything else is to do: whatever is killed, the next run goes
on from there, on other machines too.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

from featx.backbone.timings import Timings
from featx.data.sources.options import DescribedSource
from featx.embedding import Policy, Progress
from featx.embedding.run import require_any
from featx.errors import StoreError
from featx.scale.assignment import Assignment
from featx.scale.board import Board
from featx.scale.cutting import grown, unit_size
from featx.scale.destination import Destination
from featx.scale.engine import Engine
from featx.scale.plan import Plan


class ScaledRun:
    """One embedding run, shared by workers.

    Parameters
    ----------
    source : DescribedSource
        Listed here; the workers read what it lists.
    engine : Engine
    out : str or Path
        Folder or URL of the set.
    cache : Path or None
        The user-wide cache of the machines that the workers run on; None works without one.
    command : str
        Recorded in the set.
    policy : Policy

    Attributes
    ----------
    timings : Timings
        Sums over the workers.
    notes : list of str
        What a user should know at the end.
    removed : int
        Rows that the set no longer holds, since the source does not list their items.
    """

    def __init__(
        self,
        source: DescribedSource,
        engine: Engine,
        out: str | Path,
        *,
        cache: Path | None = None,
        command: str = "",
        policy: Policy | None = None,
    ) -> None:
        self.source = source
        self.engine = engine
        self.out = out
        self.cache = cache and cache.absolute()  # workers may run in another folder
        self.command = command
        self.policy = policy or Policy()
        self.notes: list[str] = []
        self.removed = 0
        self.timings = Timings()

    def steps(self) -> Iterator[Progress]:
        """Do the work, and yield how far it is after each commit.

        Raises
        ------
        SpaceError
            If `out` holds a set of another backbone.
        StoreError
            If the set cannot be written, or another run writes to it.
        InputError
            If not one item could be embedded, or `out` holds rows that are of no unit.
        ItemError
            If more items failed than the policy allows.
        FeatxError
            If the engine cannot begin, of which nothing is left at `out`, or cannot go on.
        """
        with self.engine.ready():
            yield from self._steps()

    def _steps(self) -> Iterator[Progress]:
        facts = self.engine.facts()
        with Destination.open(
            self.out, token_hex(2), model=facts, source=self.source.describe(), command=self.command
        ) as destination:
            total, size = len(self.source), destination.size
            size = grown(size, total, destination.rows) if size else unit_size(total)
            seed = f"{facts['fingerprint']} {self.policy.on_truncate}"
            plan = Plan.of(self.source, destination, size=size, seed=seed)
            board = Board(plan, destination)
            self.timings = board.timings
            self.notes += board.notes
            assignment = self._assignment(destination, facts["fingerprint"], plan.total)
            try:
                yield from self._embed(board, assignment)
                self.removed = board.finish()
            except BaseException:
                with suppress(StoreError):
                    board.rescue()
                raise
            self._sweep(destination)

    def _sweep(self, destination: Destination) -> None:
        """Delete what the set no longer needs; it is whole without that."""
        try:
            destination.sweep()
        except StoreError as error:
            self.notes.append(f"files of earlier runs are still there, for the next one: {error}")

    def _assignment(self, destination: Destination, fingerprint: str, total: int) -> Assignment:
        recipe = self.engine.recipe
        return Assignment(
            recipe=replace(recipe, settings=replace(recipe.settings, cache=self.cache)),
            policy=replace(self.policy, max_errors=None, partial=True),
            url=destination.url,
            set_id=destination.manifest["set_id"],
            fingerprint=fingerprint,
            version=version("featx"),
            items=total,
            run=destination.run,
            cache=self.cache,
        )

    def _embed(self, board: Board, assignment: Assignment) -> Iterator[Progress]:
        with closing(self.engine.run(assignment, board.to_do())) as outcomes:
            for outcome in outcomes:
                board.add(outcome)
                if board.is_due:
                    board.commit()
                    yield board.progress
                    self.policy.check(*board.errors)
        board.commit()
        yield board.progress
        self.policy.check(*board.errors)
        require_any(board.progress)
