"""Runs of units that are killed between any two steps, and go on from there."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.data.store import EmbeddingSet
from scaling import DIM, names, numbers

ITEMS = 30
KILL = """
import json, os, sys
from pathlib import Path
import numpy as np
from featx.backbone.backbone import Backbone, identity
from featx.data.places.local import LocalPlace
from scaling import DIM, Scaled, names, numbers

folder, items, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
deaths = 0

def dying(step, last):
    def run(*arguments):
        global deaths
        deaths += 1
        if deaths == last:
            os._exit(9)
        return step(*arguments)
    return run

def child(last):
    for name in ("put", "put_file", "put_if", "delete"):
        setattr(LocalPlace, name, dying(getattr(LocalPlace, name), last))

def made(number):
    X = numbers(items)
    scaled = Scaled(folder / f"{number}.npz", Backbone(identity(DIM)), folder / f"{number}.emb")
    if mode == "changed":
        scaled.embed(X, names(items), ["a"] * items)
        X[5] += 1
        scaled.save(np.delete(X, 12, axis=0), [n for n in names(items) if n != "i12"])
    else:
        scaled.save(X, names(items))
        scaled.begin()
    return scaled

number, found = 0, []
while True:
    number += 1
    scaled = made(number)
    pid = os.fork()
    if not pid:
        child(number)
        scaled.run()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    progress = scaled.run()
    found.append([progress.kept, progress.embedded])
    if code == 0:
        break
    assert code == 9, code
print(json.dumps(found))
"""


def killed_at_every_step(tmp_path: Path, mode: str) -> list[list[int]]:
    """Kill a run before each of its writes, run again, and return what that kept and embedded."""
    result = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path), str(ITEMS), mode],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: list[list[int]] = json.loads(result.stdout)
    return found


def test_a_run_that_is_killed_before_any_write_goes_on(tmp_path: Path) -> None:
    found = killed_at_every_step(tmp_path, "new")

    assert len(found) >= 8
    assert found[0] == [0, ITEMS]
    assert found[-1] == [ITEMS, 0]
    for number in range(1, len(found) + 1):
        emb = EmbeddingSet.open(tmp_path / f"{number}.emb")
        assert emb.ids == names(ITEMS)
        assert emb.finished
        np.testing.assert_array_equal(np.asarray(emb.X), numbers(ITEMS))


@pytest.mark.slow
def test_a_run_over_a_changed_source_that_is_killed_goes_on(tmp_path: Path) -> None:
    found = killed_at_every_step(tmp_path, "changed")

    X = numbers(ITEMS)
    X[5] += 1
    assert len(found) >= 5
    assert found[-1] == [ITEMS - 1, 0]
    for number in range(1, len(found) + 1):
        emb = EmbeddingSet.open(tmp_path / f"{number}.emb")
        assert emb.ids == [name for name in names(ITEMS) if name != "i12"]
        np.testing.assert_array_equal(np.asarray(emb.X), np.delete(X, 12, axis=0))
        assert set(emb.y.tolist()) == {"a"}
        assert emb.X.shape[1] == DIM
