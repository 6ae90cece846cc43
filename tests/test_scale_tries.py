"""Which problems of workers end a try, and which tries end a run."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from denyingstore import denying_store
from featx.embedding import Policy, Progress
from featx.errors import FeatxError, StoreError
from featx.scale.assignment import Assignment, Outcome, Recipe
from featx.scale.cluster import Share
from featx.scale.destination import Destination
from featx.scale.rayengine import Problem, RayEngine
from scaling import DIM

pytest.importorskip("ray", reason="ray is not installed: pip install 'featx[ray]'")
pytestmark = pytest.mark.ray

DENIED = [Problem("StoreError", "denied", worker) for worker in "abc"]
TOLD = Assignment(
    recipe=Recipe(model="identity", dim=DIM),
    policy=Policy(),
    url="",
    set_id="",
    fingerprint="",
    version="",
    items=4,
    run="",
)


def done(number: int) -> Outcome:
    return Outcome(number=number, key="", entry=None, progress=Progress(total=1))


@dataclass
class Told:
    """What came of the units of one try after the other, and how many of these were looked at."""

    tries: list[list[Outcome | Problem]]
    taken: list[int] = field(default_factory=list)


class Telling(RayEngine):
    """An engine of two workers, of which a test says what they did."""

    def __init__(self, told: Told) -> None:
        super().__init__(TOLD.recipe)
        self.told = told

    def _first_workers(self, units: Mapping[int, bytes], share: Share) -> int:
        return 2

    def _stream(
        self, units: Mapping[int, bytes], told: Assignment, share: Share
    ) -> Generator[Outcome | Problem]:
        self.told.taken.append(0)
        for each in self.told.tries.pop(0):
            self.told.taken[-1] += 1
            yield each


def run(told: Told) -> list[int]:
    wave = dict.fromkeys(range(4), b"")
    return [outcome.number for outcome in Telling(told)._wave(wave, TOLD, Share(1))]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_three_tries_without_a_unit_done_end_a_run(waits: list[float]) -> None:
    a, b, c = DENIED
    told = Told([[a, b, c], [a, a, a, b, c], [b, a, c]])

    with pytest.raises(StoreError, match=r"^denied$"):
        run(told)

    assert told.taken == [2, 4, 2]  # a try ends once both workers have failed
    assert waits == [2, 8]


def test_one_worker_that_fails_again_and_again_ends_no_try(waits: list[float]) -> None:
    a, b, _ = DENIED
    told = Told([[a, a, done(0), b, done(1), a, a], [done(2), done(3)]])

    assert run(told) == [0, 1, 2, 3]
    assert told.taken == [7, 2]
    assert waits == []


def test_what_no_other_try_mends_ends_a_run_at_once(waits: list[float]) -> None:
    told = Told([[Problem("", "another version"), done(0)]])

    with pytest.raises(FeatxError, match=r"^another version$"):
        run(told)

    assert told.taken == [1]
    assert waits == []


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_workers_that_may_read_nothing_end_a_run(tmp_path: Path) -> None:
    out, facts = tmp_path / "t.emb", Recipe(model="minilm-l6").facts()
    with Destination.open(out, "0000", model=facts, source={}) as destination:
        destination.commit([], finished=False, size=8)

    command = [sys.executable, "-m", "featx", "embed", "s3://team/secret", "-m", "minilm-l6"]
    with denying_store() as environment:
        done = subprocess.run(
            [*command, "-o", str(out), "--engine", "ray", "--workers", "2", "--no-cache"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: the worker on {socket.gethostname()} can read nothing of a uni")
    assert "s3://team/secret/" in line
    assert ": denied; credentials are read from the environment: " in line
    assert list(out.glob("segment-*")) == []
