"""Loading and encoding at the same time."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.job import Job
from featx.backbone.pipeline import Pipeline
from featx.backbone.room import Room
from featx.backbone.runtime import Session
from featx.backbone.settings import LIMITS, Settings
from featx.backbone.window import Limits
from featx.embedding.tuning import Tuner
from featx.errors import DeviceMemoryError, FeatxError, ItemError
from featx.fingerprint import file_sha256
from featx.types import Sample, Vectors
from featx.zoo.manifest import ArrayOptions, FileEntry, Manifest

ROOM = Room(jobs=16, size_bytes=1 << 20, chunk=2)
W = np.arange(12, dtype=np.float32).reshape(6, 2)


def lookup(folder: Path, *, threads: int = 2) -> Backbone:
    """Return a backbone whose graph gives row ``x`` of `W`, and fails where there is none."""
    path = folder / "lookup.onnx"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    nodes = [
        helper.make_node("Squeeze", ["x", "axis"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["rows"], to=TensorProto.INT64),
        helper.make_node("Gather", ["W", "rows"], ["y"]),
    ]
    weights = [numpy_helper.from_array(W, "W"), numpy_helper.from_array(np.array([1]), "axis")]
    graph = helper.make_graph(nodes, "lookup", [x], [y], weights)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    entry = FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
    manifest = Manifest(
        schema=1,
        name="lookup",
        modality="array",
        summary="rows of a table",
        license="none",
        source="a test",
        weights="lookup",
        dim=2,
        pooling="none",
        normalize=False,
        files={"graph": entry},
        inputs={"array": "x"},
        outputs={"embedding": "y"},
        array=ArrayOptions(shape=(1,)),
        folder=folder,
    )
    return Backbone(manifest, Settings(device="cpu", threads=threads).in_bulk())


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return lookup(tmp_path)


def load(jobs: Sequence[Job[int]]) -> None:
    for job in jobs:
        job.sample = Sample(inputs={"array": np.array([[job.what]], dtype=np.float32)}, cost=1)


def run(backbone: Backbone, numbers: Sequence[int], room: Room = ROOM) -> list[Job[int]]:
    pipeline = Pipeline[int]([backbone], load, loaders=2, room=room)
    return [job for jobs in pipeline.run(map(Job, numbers)) for job in jobs]


def outcomes(jobs: Sequence[Job[int]]) -> list[object]:
    return [job.problem if job.vector is None else job.vector.tolist() for job in jobs]


def test_results_come_in_the_order_of_the_source(backbone: Backbone) -> None:
    numbers = np.random.default_rng(0).integers(0, 6, 300).tolist()

    assert outcomes(run(backbone, numbers)) == W[numbers].tolist()


def test_an_empty_source_gives_nothing(backbone: Backbone) -> None:
    assert run(backbone, []) == []


def test_settled_jobs_are_neither_loaded_nor_encoded(backbone: Backbone) -> None:
    jobs = [Job(9), Job(1), Job(9)]
    for job in (jobs[0], jobs[2]):
        job.settle(problem="known")

    pipeline = Pipeline[int]([backbone], load, loaders=1, room=ROOM)
    found = [job for ready in pipeline.run(jobs) for job in ready]

    assert outcomes(found) == ["known", W[1].tolist(), "known"]
    assert pipeline.timings.cost == 1


@pytest.mark.parametrize("poisoned", [[0], [63], [5, 6, 40], list(range(1, 64))])
def test_a_poison_item_fails_alone(backbone: Backbone, poisoned: list[int]) -> None:
    numbers = [99 if i in poisoned else i % 6 for i in range(64)]

    jobs = run(backbone, numbers)

    assert [job.position for job in jobs if job.problem] == poisoned
    assert all("the backbone fails on it" in job.problem for job in jobs if job.problem)
    good = [i for i in range(64) if i not in poisoned]
    assert outcomes([jobs[i] for i in good]) == W[[numbers[i] for i in good]].tolist()


def test_a_backbone_that_never_works_is_an_error_of_the_run(backbone: Backbone) -> None:
    with pytest.raises(FeatxError, match=r"fails on every item: .*out of data bounds"):
        run(backbone, [99] * 40)


class SmallDevice(Backbone):
    """A device that has memory for three items at a time."""

    def encode_batch(self, samples: Sequence[Sample]) -> Vectors:
        if len(samples) > 3:
            message = "out of memory"
            raise DeviceMemoryError(message)
        return super().encode_batch(samples)


def test_out_of_memory_makes_batches_smaller_and_loses_nothing(tmp_path: Path) -> None:
    whole = lookup(tmp_path)
    backbone = SmallDevice(whole.manifest, whole.settings)
    numbers = [i % 6 for i in range(100)]
    pipeline = Pipeline[int]([backbone], load, loaders=2, room=Room(100, 1 << 20, 50))

    found = [job for jobs in pipeline.run(map(Job, numbers)) for job in jobs]

    assert outcomes(found) == W[numbers].tolist()
    assert pipeline.timings.batches < 60


def test_equal_items_are_encoded_once(backbone: Backbone) -> None:
    def load_with_keys(jobs: Sequence[Job[int]]) -> None:
        load(jobs)
        for job in jobs:
            job.key = bytes([job.what])

    numbers = [3] * 10 + [99] + [4] * 5 + [99]
    pipeline = Pipeline[int]([backbone], load_with_keys, loaders=1, room=Room(40, 1 << 20, 40))
    found = [job for jobs in pipeline.run(map(Job, numbers)) for job in jobs]

    assert [job.vector is None for job in found] == [number == 99 for number in numbers]
    assert pipeline.timings.cost == 2
    good = [job.vector.tolist() for job in found if job.vector is not None]
    assert good == W[[number for number in numbers if number != 99]].tolist()


def test_no_more_is_taken_from_the_source_than_there_is_room_for(backbone: Backbone) -> None:
    taken = 0

    def source() -> Iterator[Job[int]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield Job(number % 6)

    given = 0
    for jobs in Pipeline[int]([backbone], load, loaders=2, room=ROOM).run(source()):
        assert taken - given <= ROOM.jobs
        given += len(jobs)

    assert given == 1000


class Counting(Backbone):
    """A backbone that notes how many rows each run of the graph has."""

    def __init__(self, whole: Backbone, *, budget: int) -> None:
        super().__init__(whole.manifest, Settings(device="cpu", budget=budget))
        self.lengths: list[int] = []

    def _run(self, session: Session, roles: dict[str, Any]) -> Vectors:
        self.lengths.append(len(roles["array"]))
        return super()._run(session, roles)


def test_a_batch_is_run_whole_and_one_item_of_many_parts_in_slices(tmp_path: Path) -> None:
    backbone = Counting(lookup(tmp_path), budget=40)
    one = Sample(inputs={"array": np.ones((1, 1), dtype=np.float32)}, cost=1)
    long = Sample(inputs={"array": np.ones((100, 1), dtype=np.float32)}, cost=1)

    backbone.encode_batch([one] * 40)
    backbone.encode_batch([long])

    assert backbone.lengths == [40, 40, 40, 20]


def tuned(backbone: Backbone, folder: Path, numbers: Sequence[int], items: int = 5000) -> object:
    jobs = [Job(number) for number in numbers]
    load(jobs)
    samples = [job.sample for job in jobs if job.sample is not None]
    return Tuner(folder, items).limits(backbone, samples)


def test_the_best_batch_size_is_remembered(tmp_path: Path) -> None:
    backbone = lookup(tmp_path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS, "array", Limits(budget=8, parts=8))
        first = tuned(backbone, tmp_path / "c", [1] * 96)
        again = tuned(backbone, tmp_path / "c", [], items=1)

    (factor,) = json.loads((tmp_path / "c" / "tuned.json").read_text()).values()
    assert first == again == Limits(budget=int(8 * factor), parts=int(8 * factor))


@pytest.mark.parametrize("numbers", [[1] * 40 + [99], [1] * 4], ids=["poison", "few"])
def test_what_cannot_be_measured_is_not_remembered(tmp_path: Path, numbers: list[int]) -> None:
    assert tuned(lookup(tmp_path), tmp_path / "c", numbers) is None
    assert not (tmp_path / "c").exists()


def test_a_bug_in_loading_ends_the_run(backbone: Backbone) -> None:
    def broken(_: Sequence[Job[int]]) -> None:
        message = "a bug"
        raise KeyError(message)

    with pytest.raises(KeyError, match="a bug"):
        list(Pipeline[int]([backbone], broken, loaders=1, room=ROOM).run([Job(1)]))


def test_a_run_that_is_closed_ends_its_threads(backbone: Backbone) -> None:
    before = threading.active_count()
    pipeline = Pipeline[int]([backbone], load, loaders=2, room=ROOM)
    running = pipeline.run(Job(i % 6) for i in range(1000))

    next(running)
    running.close()  # type: ignore[attr-defined]

    assert threading.active_count() == before
    assert all(job.is_settled for job in pipeline.leftovers())


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    numbers=st.lists(st.integers(0, 8), max_size=60),
    jobs=st.integers(1, 40),
    chunk=st.integers(1, 9),
)
def test_any_room_gives_the_same_results(
    backbone: Backbone, numbers: list[int], jobs: int, chunk: int
) -> None:
    good = [0, *numbers]  # a backbone that never works would end the run

    found = run(backbone, good, Room(jobs, 1 << 20, chunk))

    assert [job.vector is None for job in found] == [number >= len(W) for number in good]
    rows = [job.vector.tolist() for job in found if job.vector is not None]
    assert rows == W[[number for number in good if number < len(W)]].tolist()


def test_items_that_cannot_be_read_are_told_apart_from_the_rest(backbone: Backbone) -> None:
    def half(jobs: Sequence[Job[int]]) -> None:
        for job in jobs:
            if job.what % 2:
                job.settle(problem=str(ItemError("odd")))
            else:
                load([job])

    pipeline = Pipeline[int]([backbone], half, loaders=2, room=ROOM)
    found = [job for jobs in pipeline.run(map(Job, range(6))) for job in jobs]

    assert outcomes(found) == [W[i].tolist() if i % 2 == 0 else "odd" for i in range(6)]
