"""Teaching a served gallery: grouped, durable, one failing alone; from other processes too."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from featx.errors import FeatxError, InputError, StoreError, TakenError
from featx.gallery.gallery import Gallery, ItemFacts
from featx.serve.batcher import BrokenError, BusyError, TimedOutError
from featx.serve.engine import Engine
from featx.serve.settings import ServeSettings
from featx.serve.teach import teachersocket, teaching
from featx.serve.teach.teachersocket import RemoteTeacher
from featx.serve.teach.teaching import (
    Example,
    LocalTeacher,
    SharedTeacher,
    Teacher,
    open_teacher,
)
from featx.serve.thing import open_thing
from serving import copy_of, vectors

NEW = vectors(64, seed=7)
LONGEST_S = 60.0

WRITER = """
import asyncio, sys
from pathlib import Path
from featx.serve.engine import Engine
from featx.serve.settings import ServeSettings
from featx.serve.teach.teaching import open_teacher
from featx.serve.thing import open_thing

async def main(path, folder):
    chosen = {"workers": 2, "allow_teach": True, "folder": Path(folder)}
    settings = ServeSettings(thing=path, **chosen)
    engine = Engine(open_thing(settings))
    assert engine.thing.may_write
    teacher = await open_teacher(settings, engine)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def gallery(vector_gallery: Path, tmp_path: Path) -> Path:
    return copy_of(vector_gallery, tmp_path)


@contextmanager
def opened(gallery: Path, **chosen: object) -> Iterator[Engine]:
    """Open a gallery as a process that teaches does."""
    engine = Engine(open_thing(settings_of(gallery, **chosen)))
    try:
        yield engine
    finally:
        engine.close()


def settings_of(gallery: Path, **chosen: object) -> ServeSettings:
    return ServeSettings(thing=str(gallery), **{"allow_teach": True, **chosen})  # type: ignore[arg-type]


def example(engine: Engine, row: int, item_id: str = "", *, replace: bool = False) -> Example:
    return Example(
        id=item_id or f"new{row}",
        vector=NEW[row],
        space=engine.thing.backbone.space,
        facts=ItemFacts(
            label="d", split="train", uri=f"/n/{row}", preview=f"näu {row}", thumbnail=b"\xff\xd8"
        ),
        replace=replace,
    )


async def add(
    teacher: Teacher | RemoteTeacher, examples: Sequence[Example], *, within_s: float = LONGEST_S
) -> list[FeatxError | None]:
    return await teacher.add(examples, deadline_s=time.monotonic() + within_s)


async def remove(
    teacher: Teacher | RemoteTeacher, ids: Sequence[str], *, within_s: float = LONGEST_S
) -> None:
    await teacher.remove(ids, deadline_s=time.monotonic() + within_s)


def texts(outcomes: list[FeatxError | None]) -> list[str]:
    return [str(each) for each in outcomes if each is not None]


def held_by_another(gallery: Path) -> set[str]:
    """Return the ids that a process finds which opens the gallery now."""
    with Gallery.open(gallery) as reader:
        return {item_id for item_id, _ in reader.items()}


def test_adds_of_many_requests_are_grouped_and_on_the_disk(gallery: Path) -> None:
    async def teach(teacher: LocalTeacher) -> list[list[FeatxError | None]]:
        return await asyncio.gather(*(add(teacher, [example(engine, row)]) for row in range(64)))

    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        outcomes = asyncio.run(teach(teacher))
        found = held_by_another(gallery)
        batches = teacher._batcher.batches
        teacher.close()

    assert outcomes == [[None]] * 64
    assert {f"new{row}" for row in range(64)} <= found
    assert batches < 64


def test_a_poison_example_fails_alone(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        examples = [example(engine, row) for row in range(32)]
        examples[17] = example(engine, 17, "v3")
        examples[20] = example(engine, 20, "")
        examples[21] = example(engine, 21, "new20")
        outcomes = asyncio.run(add(teacher, examples))
        teacher.close()

    assert [at for at, each in enumerate(outcomes) if each is not None] == [17, 21]
    assert texts(outcomes) == [
        "add: 'v3' is in the gallery; choose another id, or replace it",
        "add: 'new20' is in the gallery; choose another id, or replace it",
    ]
    assert all(isinstance(each, TakenError) for each in outcomes if each is not None)
    assert len(held_by_another(gallery)) == 60 + 30


def test_an_example_may_take_the_place_of_another(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        outcomes = asyncio.run(
            add(teacher, [example(engine, 0, "v3", replace=True), example(engine, 1)])
        )
        held = engine.thing.held
        row = held.find("v3")
        assert row is not None
        (_, facts), thumbnail = held.item(row), held.thumbnail(row)
        teacher.close()

    assert outcomes == [None, None]
    assert (facts.label, facts.preview, thumbnail) == ("d", "näu 0", b"\xff\xd8")
    assert len(held_by_another(gallery)) == 61


def test_items_are_removed_all_or_none(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        with pytest.raises(InputError, match="no item has the id 'gone'"):
            asyncio.run(remove(teacher, ["v1", "gone"]))
        assert "v1" in held_by_another(gallery)
        asyncio.run(remove(teacher, ["v1", "v2"]))
        teacher.close()

    assert held_by_another(gallery) == {f"v{row}" for row in range(60)} - {"v1", "v2"}


def test_items_whose_turn_to_be_removed_comes_too_late_stay(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        with pytest.raises(TimedOutError, match="nothing was removed; ask again later"):
            asyncio.run(remove(teacher, ["v1"], within_s=0))
        with teacher._changing, pytest.raises(TimedOutError):  # as while much is added
            asyncio.run(remove(teacher, ["v1"], within_s=0.05))
        assert "v1" in held_by_another(gallery)
        asyncio.run(remove(teacher, ["v1"]))
        teacher.close()

    assert "v1" not in held_by_another(gallery)


def test_vectors_of_another_space_are_refused(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        foreign = Example(id="x", vector=NEW[0], space="0" * 64, facts=ItemFacts())
        outcomes = asyncio.run(add(teacher, [foreign, example(engine, 1)]))
        teacher.close()

    assert texts(outcomes) == ["the gallery was replaced meanwhile; send the examples again"]
    assert isinstance(outcomes[0], BusyError)
    assert "x" not in held_by_another(gallery)


def test_a_disk_that_fails_is_no_fault_of_an_example(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        held = engine.thing.gallery
        assert held is not None
        held.close()
        outcomes = asyncio.run(add(teacher, [example(engine, 0), example(engine, 1)]))
        teacher.close()

    assert all(isinstance(each, StoreError) for each in outcomes)


def test_examples_whose_turn_comes_too_late_are_not_added(gallery: Path) -> None:
    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        (late,) = asyncio.run(add(teacher, [example(engine, 0)], within_s=0))
        teacher.close()

    assert isinstance(late, TimedOutError)
    assert "new0" not in held_by_another(gallery)


def test_examples_are_refused_while_many_wait(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "WAITING", 2)

    async def teach() -> list[list[FeatxError | None] | BaseException]:
        pairs = ([example(engine, row), example(engine, row + 1)] for row in (0, 2))
        return await asyncio.gather(*(add(teacher, two) for two in pairs), return_exceptions=True)

    with opened(gallery) as engine:
        teacher = LocalTeacher(engine)
        first, second = asyncio.run(teach())
        teacher.close()

    assert first == [None, None]
    assert isinstance(second, BusyError)
    assert str(second) == "2 examples wait to be added already; ask again later"


def test_a_folder_too_long_for_a_socket_is_told(gallery: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with (
        opened(gallery) as engine,
        pytest.raises(InputError, match=r"too long a path for a socket.*TMPDIR=/tmp"),
    ):
        asyncio.run(open_teacher(settings_of(gallery, folder=folder), engine))


def test_an_answer_of_nonsense_is_no_bug(tmp_path: Path) -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x00\x00\x01\xc1")
        writer.close()

    async def call() -> None:
        async with await asyncio.start_unix_server(nonsense, tmp_path / "s"):
            await remove(RemoteTeacher(tmp_path / "s"), ["v1"])

    with pytest.raises(BrokenError, match="did not answer"):
        asyncio.run(call())


def test_nothing_teaches_where_that_is_not_allowed(gallery: Path, vector_head: Path) -> None:
    with opened(gallery, allow_teach=False) as engine:
        assert asyncio.run(open_teacher(settings_of(gallery, allow_teach=False), engine)) is None
    with opened(vector_head) as engine:
        assert asyncio.run(open_teacher(settings_of(vector_head), engine)) is None


@contextmanager
def writer(gallery: Path, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that may write to a gallery, and teaches for others."""
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(gallery), str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started
    finally:
        started.kill()
        started.wait()
        assert started.stdout is not None
        started.stdout.close()


@contextmanager
def reader(gallery: Path, folder: Path) -> Iterator[tuple[Engine, Teacher]]:
    """Open a gallery that another process may write to, as a second worker does."""
    settings = settings_of(gallery, workers=2, folder=folder)
    with opened(gallery, workers=2, folder=folder) as engine:
        assert not engine.thing.may_write
        teacher = asyncio.run(open_teacher(settings, engine))
        assert isinstance(teacher, SharedTeacher)
        yield engine, teacher


@pytest.fixture(scope="module")
def elsewhere(
    vector_gallery: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Teacher]]:
    """Give a gallery that a process may write to which is not this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    gallery = copy_of(vector_gallery, folder)
    with writer(gallery, folder), reader(gallery, folder) as opened:
        yield opened


def test_what_another_process_adds_is_found_here_at_once(
    elsewhere: tuple[Engine, Teacher],
) -> None:
    engine, teacher = elsewhere
    for row in range(20):
        assert asyncio.run(add(teacher, [example(engine, row)])) == [None]
        held = engine.thing.held
        at = held.find(f"new{row}")
        assert at is not None
        unit = NEW[row] / np.linalg.norm(NEW[row])
        np.testing.assert_allclose(held.vectors(np.array([at]))[0], unit, atol=1e-6)
        assert held.item(at)[1] == example(engine, row).facts

    for row in range(20):
        asyncio.run(remove(teacher, [f"new{row}"]))
        assert engine.thing.held.find(f"new{row}") is None


def test_errors_cross_from_one_process_to_another(elsewhere: tuple[Engine, Teacher]) -> None:
    engine, teacher = elsewhere
    outcomes = asyncio.run(add(teacher, [example(engine, 0, "v1"), example(engine, 0, "crossed")]))
    with pytest.raises(InputError, match="no item has the id 'gone'"):
        asyncio.run(remove(teacher, ["crossed", "gone"]))

    assert texts(outcomes) == ["add: 'v1' is in the gallery; choose another id, or replace it"]
    assert isinstance(outcomes[0], TakenError)
    assert outcomes[1] is None
    (found,) = engine.thing.held.search(NEW[:1], len(engine.thing.held))
    labels = {each.id: each.label for each in found}
    assert labels["crossed"] == example(engine, 0).facts.label


def test_a_deadline_crosses_from_one_process_to_another(
    elsewhere: tuple[Engine, Teacher],
) -> None:
    engine, teacher = elsewhere
    (late,) = asyncio.run(add(teacher, [example(engine, 0, "late")], within_s=0))

    assert isinstance(late, TimedOutError)
    assert engine.thing.held.find("late") is None


def test_a_removal_has_its_deadline_in_another_process_too(
    elsewhere: tuple[Engine, Teacher],
) -> None:
    engine, teacher = elsewhere
    with pytest.raises(TimedOutError, match="nothing was removed"):
        asyncio.run(remove(teacher, ["v2"], within_s=0))

    assert engine.thing.held.find("v2") == 2


def test_many_calls_at_once_are_all_answered(elsewhere: tuple[Engine, Teacher]) -> None:
    async def teach() -> list[list[FeatxError | None]]:
        each = (example(engine, row, f"many{row}") for row in range(64))
        return await asyncio.gather(*(add(teacher, [one]) for one in each))

    engine, teacher = elsewhere
    assert asyncio.run(teach()) == [[None]] * 64
    assert all(engine.thing.held.find(f"many{row}") is not None for row in range(64))


def test_a_frame_of_nonsense_ends_its_connection_alone(elsewhere: tuple[Engine, Teacher]) -> None:
    async def send(frame: bytes) -> bytes:
        inward, outward = await asyncio.open_unix_connection(str(place))
        outward.write(frame)
        outward.write_eof()
        try:
            return await inward.read()
        finally:
            outward.close()

    engine, teacher = elsewhere
    assert engine.thing.path is not None
    place = engine.thing.path.parent / "teacher.sock"
    for frame in (b"", b"\x00\x00", b"\xff" * 8, b"\x00\x00\x00\x03abc"):
        assert asyncio.run(send(frame)) == b""

    assert place.stat().st_mode & 0o777 == 0o600
    assert asyncio.run(add(teacher, [example(engine, 0, "sense")])) == [None]


def test_a_writer_that_hangs_or_was_killed_is_followed_by_another(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachersocket, "PATIENCE_S", 0.2)
    with writer(gallery, tmp_path) as first, reader(gallery, tmp_path) as (engine, teacher):
        assert asyncio.run(add(teacher, [example(engine, 0)])) == [None]
        first.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(teachersocket, "ANSWER_S", 0.2)
        with pytest.raises(BrokenError, match="did not answer"):
            asyncio.run(add(teacher, [example(engine, 1)]))
        first.send_signal(signal.SIGKILL)
        first.wait()
        monkeypatch.setattr(teachersocket, "ANSWER_S", 30.0)

        with pytest.raises(BusyError, match="the process that writes to the gallery is starting"):
            asyncio.run(add(teacher, [example(engine, 2)]))
        with writer(gallery, tmp_path):
            assert asyncio.run(add(teacher, [example(engine, 2)])) == [None]
            assert {"new0", "new2"} <= {item_id for item_id, _ in engine.thing.held.items()}
