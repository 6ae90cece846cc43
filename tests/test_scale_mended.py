"""Sets of units of which something went wrong: ids twice, full disks, runs that were ended."""

import os
import resource
import shutil
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from featx.backbone.backbone import Backbone, identity
from featx.backbone.settings import Settings
from featx.data.places.local import LocalPlace
from featx.data.store import EmbeddingSet
from featx.embedding import Progress
from featx.errors import StoreError
from featx.scale import board as board_module
from featx.scale import cutting, rayengine
from featx.scale.assignment import Assignment, Outcome
from featx.scale.board import Board
from featx.scale.cutting import cut
from featx.scale.destination import LEFTOVER_S, Destination
from featx.scale.engine import InProcess
from featx.scale.plan import Plan
from featx.scale.run import ScaledRun
from featx.scale.unit import Unit
from featx.scale.worker import require_seen
from featx.types import Item
from scaling import DIM, SIZE, Listed, Scaled, names, numbers


@pytest.fixture
def scaled(tmp_path: Path) -> Scaled:
    return Scaled(tmp_path / "t.npz", Backbone(identity(DIM)), tmp_path / "t.emb")


def age(folder: Path) -> None:
    long_ago_s = time.time() - LEFTOVER_S - 60
    for path in folder.iterdir():
        os.utime(path, (long_ago_s, long_ago_s))


def test_an_id_that_occurs_twice_in_a_unit_has_one_row_after_every_run(tmp_path: Path) -> None:
    X, out = numbers(4), tmp_path / "t.emb"
    source = Listed([Item(id=name, content=x) for name, x in zip("abac", X, strict=True)])

    for _ in range(3):
        *_, last = ScaledRun(source, InProcess(Backbone(identity(DIM))), out).steps()
        emb = EmbeddingSet.open(out)

        assert emb.ids == ["a", "b", "c"]
        np.testing.assert_array_equal(np.asarray(emb.X), X[[0, 1, 3]])
        assert (last.kept + last.embedded, last.errors) == (3, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError])
def test_a_run_that_ends_while_it_deletes_has_done_its_work(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    scaled.embed(numbers(20), names(20))
    age(scaled.out)
    X = numbers(20, seed=1)
    scaled.save(X, names(20))
    delete = LocalPlace.delete

    def ended(place: LocalPlace, gone: list[str]) -> None:
        delete(place, gone[:1])
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LocalPlace, "delete", ended)
        try:
            scaled.run()
        except KeyboardInterrupt:
            assert error is KeyboardInterrupt

    assert scaled.set.finished
    np.testing.assert_array_equal(scaled.vectors, X)
    assert scaled.run().kept == 20


def test_an_unfinished_set_holds_each_id_once(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "COMMIT_S", 0.0)
    monkeypatch.setattr(board_module, "PAUSES", 0)
    scaled.embed(numbers(100), names(100))
    X = numbers(100, seed=1)
    scaled.save(X, names(100))

    for progress in ScaledRun(scaled.source, InProcess(scaled.backbone), scaled.out).steps():
        ids = scaled.set.ids
        assert len(ids) == len(set(ids))
        if progress.embedded >= 50:
            break  # which ends the run

    assert not scaled.set.finished
    assert len(scaled.set.manifest["replaced"]) >= 1
    scaled.run()
    assert scaled.set.ids == names(100)
    np.testing.assert_array_equal(scaled.vectors, X)
    assert "replaced" not in scaled.set.manifest


def test_half_a_file_of_a_killed_worker_is_deleted_when_it_is_old(scaled: Scaled) -> None:
    scaled.embed(numbers(20), names(20))
    old, fresh = (scaled.out / f".segment-00009-abcdabcd.npy.{n * 8}.tmp" for n in "12")
    old.touch()
    age(scaled.out)
    fresh.touch()

    scaled.run()

    assert not old.exists()
    assert fresh.exists()


def test_a_full_disk_of_a_worker_is_an_error_of_ours(scaled: Scaled) -> None:
    scaled.save(numbers(5000), names(5000))
    scaled.begin(5000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StoreError, match="featx-unit-"):
            scaled.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_worker_whose_folder_is_empty_refuses(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.npy" for name in "ab"]
    for file in files:
        np.save(file, np.ones(DIM, np.float32))
    (unit,) = cut([Item(id=file.name, content=file) for file in files], size=8, seed="")

    files[0].unlink()
    require_seen(unit)  # one that was deleted is the problem of its item
    files[1].unlink()

    with pytest.raises(StoreError, match="not seen by the worker"):
        require_seen(unit)


def test_a_set_that_was_begun_small_gets_larger_units(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = numbers(400)
    scaled.embed(X[:20], names(20), ["a"] * 20)
    scaled.embed(X[:100], names(100))
    assert scaled.set.manifest["units"] == {"items": SIZE}
    monkeypatch.setattr(cutting, "MANY_UNITS", 2)

    scaled.embed(X, names(400))  # a quarter of it is done: too much to do it again
    assert scaled.set.manifest["units"] == {"items": SIZE}

    shutil.rmtree(scaled.out)
    scaled.embed(X[:20], names(20), ["a"] * 20)
    progress = scaled.embed(X, names(400))
    assert scaled.set.manifest["units"] == {"items": cutting.LEAST_ITEMS}
    assert (progress.kept, progress.embedded, scaled.removed) == (0, 400, 0)
    assert scaled.set.ids == names(400)
    assert scaled.set.y.tolist()[:21] == ["a"] * 20 + [None]
    np.testing.assert_array_equal(scaled.vectors, X)
    assert scaled.run() == Progress(total=400, kept=400)


def test_of_an_id_that_occurs_twice_the_first_says_the_label(tmp_path: Path) -> None:
    X, out = numbers(2), tmp_path / "t.emb"
    for label in ("old", "new"):
        first = Item(id="a", content=X[0], label=label, uri="first")
        again = Item(id="a", content=X[1], label="of another", uri="second")
        source = Listed([first, again])
        *_, last = ScaledRun(source, InProcess(Backbone(identity(DIM))), out).steps()

    assert (last.kept, last.embedded, last.errors) == (1, 0, 1)
    assert EmbeddingSet.open(out).items.select(["uri", "label"]).to_pylist() == [
        {"uri": "first", "label": "new"}
    ]


def test_the_cache_of_the_driver_is_not_that_of_its_workers(tmp_path: Path) -> None:
    class Watched(InProcess):
        def run(self, assignment: Assignment, units: Iterable[Unit]) -> Generator[Outcome]:
            told.append(assignment)
            return super().run(assignment, units)

    told: list[Assignment] = []
    engine = Watched(Backbone(identity(DIM), Settings(cache=tmp_path / "cache")))
    source = Listed([Item(id="a", content=numbers(1)[0])])

    list(ScaledRun(source, engine, tmp_path / "t.emb", cache=None).steps())

    assert engine.recipe.settings.cache == tmp_path / "cache"
    assert [each.recipe.settings.cache for each in told] == [None]


NOBODY = 65534


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user without rights for a while, if this one may read every file."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)  # the last is who may come back
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_worker_whose_user_may_not_read_the_files_refuses() -> None:
    with TemporaryDirectory() as made:  # tests' own folders are closed to other users
        folder = Path(made)
        folder.chmod(0o755)
        np.save(folder / "a.npy", np.ones(DIM, np.float32))
        (unit,) = cut([Item(id="a", content=folder / "a.npy")], size=8, seed="")
        with without_rights():
            require_seen(unit)
        (folder / "a.npy").chmod(0)

        with without_rights(), pytest.raises(StoreError, match="not seen by the worker"):
            require_seen(unit)


def test_commits_take_a_tenth_of_the_time(scaled: Scaled) -> None:
    scaled.save(numbers(20), names(20))
    scaled.begin()
    times = iter([0.0, 5.0, 8.0, 37.0, 38.0])
    facts, source = scaled.backbone.facts, scaled.source
    with Destination.open(scaled.out, "1111", model=facts, source=source.describe()) as destination:
        plan = Plan.of(source, destination, size=SIZE, seed="")
        board = Board(plan, destination, clock=lambda: next(times))

        board.commit()  # from second 5 to 8

        assert [board.is_due, board.is_due] == [False, True]


def test_waves_end_with_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rayengine, "MOST_BYTES", 4000)
    unit = Unit(0, "key", "facts", [Item(id="a", content="x" * 1000)])
    units = (replace(unit, number=number) for number in range(1, 12))

    made = list(rayengine.waves(unit, units, 2))

    assert [list(wave) for wave in made] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
