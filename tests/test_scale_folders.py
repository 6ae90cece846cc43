"""Workers whose working folder is not the driver's, and folders that killed workers leave."""

import contextlib
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest

from featx.backbone.backbone import Backbone, identity
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.data.store import EmbeddingSet
from featx.errors import InputError, ServerError
from featx.scale.assignment import Assignment, Outcome, Recipe
from featx.scale.engine import InProcess
from featx.scale.rayengine import RayEngine
from featx.scale.run import ScaledRun
from featx.scale.scratch import PREFIX
from featx.scale.unit import Unit
from featx.types import Item
from featx.zoo import catalog
from scaling import DIM, Listed, numbers

WORK = """
import pickle, sys
from featx.scale.worker import Worker
assignment, units = pickle.load(sys.stdin.buffer)
worker = Worker(assignment)
sys.stdout.buffer.write(pickle.dumps([worker.do(unit) for unit in units]))
"""

HOLD = """
import sys
from featx.scale.scratch import scratch
with scratch() as path:
    (path / "unit.npy").write_bytes(b"half")
    print(path, flush=True)
    sys.stdin.read()
"""

SWEEP = """
import sys
from pathlib import Path
from featx.scale.scratch import scratch, sweep
with scratch() as own:
    sweep()
    print([path.exists() for path in (*map(Path, sys.argv[1:]), own)])
"""


class Elsewhere(InProcess):
    """Embeds in a process that runs in another folder."""

    folder: Path

    def run(self, assignment: Assignment, units: Iterable[Unit]) -> Generator[Outcome]:
        done = subprocess.run(
            [sys.executable, "-c", WORK],
            input=pickle.dumps((assignment, list(units))),
            cwd=self.folder,
            capture_output=True,
            check=True,
        )
        yield from pickle.loads(done.stdout)


def test_a_worker_in_another_folder_finds_all_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    X = numbers(20)
    for number, x in enumerate(X):
        np.save(f"{number:02}.npy", x)
    engine = Elsewhere(Backbone(identity(DIM)))
    engine.recipe = Recipe(model="identity", dim=DIM)
    engine.folder = tmp_path / "there"

    run = ScaledRun(open_source(".", modality="array"), engine, "x.emb", cache=Path("cache"))
    *_, last = run.steps()

    assert (last.embedded, last.errors) == (20, 0)
    np.testing.assert_array_equal(np.asarray(EmbeddingSet.open("x.emb").X), X)
    assert list((tmp_path / "there").iterdir()) == []
    assert run.cache == tmp_path / "here" / "cache"


def test_the_paths_of_a_recipe_are_absolute_to_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = catalog.find("minilm-l6")
    monkeypatch.chdir(tmp_path)
    text = (catalog.folders()[-1] / "minilm-l6.toml").read_text("utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")

    told = RayEngine(Recipe(model="./mine.toml", settings=Settings(cache=Path("c")))).recipe
    named = RayEngine(Recipe(model="minilm-l6")).recipe

    assert (told.model, told.settings.cache) == (str(tmp_path / "mine.toml"), tmp_path / "c")
    assert (named.model, named.settings.cache) == ("minilm-l6", None)
    with contextlib.chdir("/"):
        assert told.facts()["dim"] == shipped.dim


@pytest.mark.parametrize("gpus", [0.25, 1.0, 2.0])
def test_a_worker_may_have_a_share_of_a_gpu_or_several(gpus: float) -> None:
    RayEngine(Recipe(model="identity", dim=DIM), gpus=gpus)


def test_one_and_a_half_gpus_are_refused() -> None:
    with pytest.raises(InputError, match=r"^--gpus-per-worker 1\.5: expected a share of one GPU"):
        RayEngine(Recipe(model="identity", dim=DIM), gpus=1.5)


class NoCluster(InProcess):
    """An engine whose cluster is down."""

    def ready(self) -> AbstractContextManager[object]:
        raise ServerError("ray: nothing answers")


def test_a_cluster_that_is_down_is_told_before_the_source_is_listed(tmp_path: Path) -> None:
    class Untouched(Listed):
        def __len__(self) -> int:
            raise AssertionError("listed")

    source = Untouched([Item(id="a", content=numbers(1)[0])])

    with pytest.raises(ServerError, match="nothing answers"):
        list(ScaledRun(source, NoCluster(Backbone(identity(DIM))), tmp_path / "x.emb").steps())

    assert not (tmp_path / "x.emb").exists()


def holder() -> "subprocess.Popen[str]":
    """Start a process that says which folder it holds, until its input ends."""
    command = [sys.executable, "-c", HOLD]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_folder_of_a_killed_worker_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "kept")

    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(holder()) for _ in range(2))
        outputs = (cast("IO[str]", each.stdout) for each in (one, two))
        killed, living = (Path(output.readline().strip()) for output in outputs)
        one.send_signal(signal.SIGKILL)
        one.wait()
        command = [sys.executable, "-c", SWEEP, str(killed), str(living)]
        found = subprocess.check_output(command, text=True)
        two.communicate()

    assert found == "[False, True, True]\n"
    left = {path.name for path in tmp_path.glob(f"{PREFIX}*")}
    assert left == {f"{PREFIX}file", f"{PREFIX}link"}
    assert (tmp_path / "kept").is_dir()
