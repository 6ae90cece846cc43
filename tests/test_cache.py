"""Vectors in the user-wide cache."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.vectorcache import VectorCache, inside
from featx.fingerprint import digest
from featx.types import Vectors

FINGERPRINT = "ab" * 32
NAME = f"vectors-{FINGERPRINT[:32]}.sqlite"


def numbers(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, 3), dtype=np.float32)


def keys(count: int) -> list[bytes]:
    return [digest(str(i).encode()) for i in range(count)]


@contextmanager
def opened(folder: Path, dim: int = 3) -> Iterator[VectorCache]:
    cache = VectorCache(folder, fingerprint=FINGERPRINT, dim=dim)
    try:
        yield cache
    finally:
        cache.close()


def filled(folder: Path, count: int) -> Path:
    with opened(folder) as cache:
        cache.put(keys(count), numbers(count))
    return folder / NAME


def rows_of(cache: VectorCache, count: int) -> dict[int, list[float]]:
    """Return what is there, by number of the key."""
    found = cache.get_many(keys(count))
    return {i: found[key][0].tolist() for i, key in enumerate(keys(count)) if key in found}


def test_what_is_put_is_got_again(tmp_path: Path) -> None:
    X = numbers(1200)
    facts = [
        {"n_tokens": i, "truncated": i % 2 == 0, "preview": f"no {i} \udc80"} for i in range(3)
    ]
    with opened(tmp_path) as cache:
        cache.put(keys(1200), X)
        cache.put(keys(3), X[:3], facts)

    with opened(tmp_path) as cache:
        found = cache.get_many([*keys(1300), *keys(5)])

    assert sorted(found) == sorted(keys(1200))
    np.testing.assert_array_equal(np.stack([found[key][0] for key in keys(1200)]), X)
    assert [found[key][1] for key in keys(4)] == [*facts, {}]


@given(writes=st.lists(st.tuples(st.integers(0, 5), st.floats(width=32)), max_size=12))
def test_the_cache_is_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, float]]
) -> None:
    wanted: dict[bytes, float] = {}
    with opened(tmp_path_factory.mktemp("cache")) as cache:
        for key, value in writes:
            cache.put(keys(6)[key : key + 1], np.full((1, 3), value, dtype=np.float32))
            wanted[keys(6)[key]] = value

        found = cache.get_many(keys(6))

    assert found.keys() == wanted.keys()
    for name, (row, _) in found.items():
        np.testing.assert_array_equal(row, np.full(3, wanted[name], dtype=np.float32))


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    with opened(tmp_path / "cache") as cache:
        cache.put([], numbers(0))
        assert cache.get_many([]) == {}

    assert not (tmp_path / "cache").exists()


def test_a_store_knows_its_backbone_and_how_many_vectors_it_holds(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, fingerprint=FINGERPRINT, dim=3, name="minilm-l6")
    cache.put(keys(7), numbers(7))
    while_open = inside(tmp_path / NAME)
    cache.close()
    before = (tmp_path / NAME).stat()

    after = inside(tmp_path / NAME)

    assert (while_open, after) == (("minilm-l6", 7), ("minilm-l6", 7))
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_mtime_ns == before.st_mtime_ns
    assert inside(tmp_path / "nothing") == ("", 0)


def test_vectors_of_another_width_are_not_given_and_are_replaced(tmp_path: Path) -> None:
    filled(tmp_path, 2)

    with opened(tmp_path, dim=2) as other:
        assert other.get_many(keys(2)) == {}
        other.put(keys(1), numbers(1)[:, :2])
        assert rows_of(other, 2) == {0: numbers(1)[0, :2].tolist()}


def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no database at all " * 100)

    with opened(tmp_path) as cache:
        cache.put(keys(2), numbers(2))

        assert rows_of(cache, 2) == dict(enumerate(numbers(2).tolist()))
        assert cache.problem == ""


@pytest.mark.parametrize("start", [0, 100, 16384])
def test_a_damaged_database_is_begun_anew(tmp_path: Path, start: int) -> None:
    path = filled(tmp_path, 2000)
    raw = bytearray(path.read_bytes())
    raw[start:] = b"\xff" * (len(raw) - start)
    path.write_bytes(raw)

    with opened(tmp_path) as cache:
        assert rows_of(cache, 2000) == {}
        cache.put(keys(500), numbers(500))
        assert rows_of(cache, 2000) == dict(enumerate(numbers(500).tolist()))
        assert cache.problem == ""


def test_a_database_that_was_cut_short_gives_no_wrong_vector(tmp_path: Path) -> None:
    path = filled(tmp_path, 2000)
    os.truncate(path, path.stat().st_size // 2)
    wanted = dict(enumerate(numbers(2000).tolist()))

    with opened(tmp_path) as cache:
        found = rows_of(cache, 2000)
        cache.put(keys(2000), numbers(2000))
        again = rows_of(cache, 2000)

    assert found.items() <= wanted.items()
    assert again == wanted


def test_a_vector_that_rotted_on_the_disk_is_not_given(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    row = numbers(3)[1].tobytes()
    raw = path.read_bytes()
    assert raw.count(row) == 1
    path.write_bytes(raw.replace(row, bytes([row[0] ^ 1]) + row[1:]))

    with opened(tmp_path) as cache:
        assert sorted(rows_of(cache, 3)) == [0, 2]
        cache.put(keys(3), numbers(3))
        assert rows_of(cache, 3) == dict(enumerate(numbers(3).tolist()))


def test_a_store_of_an_older_version_is_begun_anew_silently(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / NAME)
    database.execute("CREATE TABLE vectors (digest BLOB PRIMARY KEY, row BLOB, facts TEXT)")
    database.execute("INSERT INTO vectors VALUES (?, ?, '{}')", (keys(1)[0], b"\0" * 12))
    database.execute("PRAGMA user_version=1")
    database.commit()
    database.close()

    with opened(tmp_path) as cache:
        assert rows_of(cache, 2) == {}
        cache.put(keys(2), numbers(2))
        assert rows_of(cache, 2) == dict(enumerate(numbers(2).tolist()))
        assert cache.problem == ""


def test_a_newer_store_is_left_alone_and_named(tmp_path: Path) -> None:
    path = filled(tmp_path, 2)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version=9")
    database.close()
    before = path.read_bytes()

    with opened(tmp_path) as cache:
        cache.put(keys(3), numbers(3))
        assert rows_of(cache, 3) == {}
        assert "featx-cache version 9 is newer than 2; upgrade featx" in cache.problem

    assert path.read_bytes() == before


WRITE = """
import sys
from pathlib import Path
import numpy as np
from featx.data.vectorcache import VectorCache
from featx.fingerprint import digest
cache = VectorCache(Path(sys.argv[1]), fingerprint=sys.argv[2], dim=3)
first = int(sys.argv[3])
for i in range(first, first + 2000):
    key = digest(str(i).encode())
    cache.put([key], np.full((1, 3), i, dtype=np.float32))
    assert cache.get_many([key])[key][0].tolist() == [i] * 3
assert cache.problem == "", cache.problem
cache.close()
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "cache"), FINGERPRINT]
    running = [subprocess.Popen([*command, str(first)]) for first in (0, 1500, 3000)]
    codes = [process.wait(timeout=100) for process in running]

    with opened(tmp_path / "cache") as cache:
        found = rows_of(cache, 5000)

    assert codes == [0, 0, 0]
    assert found == {i: [i] * 3 for i in range(5000)}


def test_several_threads_share_a_cache(tmp_path: Path) -> None:
    X = numbers(400)
    with opened(tmp_path) as cache:

        def put_and_get(start: int) -> list[list[float]]:
            part = keys(400)[start : start + 20]
            cache.put(part, X[start : start + 20])
            found = cache.get_many(part)
            return [found[key][0].tolist() for key in part]

        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(put_and_get, range(0, 400, 20)))

    assert [row for part in parts for row in part] == X.tolist()


def test_a_cache_may_be_deleted_again_and_again_while_it_is_written(tmp_path: Path) -> None:
    folder, is_done = tmp_path / "cache", Event()

    def keep_deleting() -> None:
        while not is_done.is_set():
            shutil.rmtree(folder, ignore_errors=True)

    deleting = Thread(target=keep_deleting)
    with opened(folder) as cache, opened(folder) as other:
        deleting.start()
        try:
            for i in range(150):
                (cache, other)[i % 2].put(keys(5), np.full((5, 3), i, dtype=np.float32))
                for row in rows_of(cache, 5).values():
                    assert row in ([i] * 3, [i - 1] * 3)
        finally:
            is_done.set()
            deleting.join()


def test_a_deleted_cache_is_begun_anew_by_those_who_had_it_open(tmp_path: Path) -> None:
    with opened(tmp_path / "cache") as cache, opened(tmp_path / "cache") as other:
        cache.put(keys(2), numbers(2))
        other.put(keys(3), numbers(3))
        shutil.rmtree(tmp_path / "cache")

        assert rows_of(cache, 3) == {}
        cache.put(keys(1), numbers(1))
        assert rows_of(other, 3) == {0: numbers(1)[0].tolist()}
        assert cache.problem == other.problem == ""


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_half_deleted_cache_gives_no_wrong_vector(tmp_path: Path, suffix: str) -> None:
    with opened(tmp_path) as cache:
        cache.put(keys(2), numbers(2))
        (tmp_path / f"{NAME}{suffix}").unlink()

        with opened(tmp_path) as other:
            for one in (other, cache, other):
                one.put(keys(4)[2:], numbers(4)[2:])
                assert rows_of(one, 4).items() <= dict(enumerate(numbers(4).tolist())).items()
            assert cache.problem == other.problem == ""

    with opened(tmp_path) as cache:
        assert {2, 3} <= rows_of(cache, 4).keys()


@pytest.mark.parametrize("what", ["folder", "pipe", "file for the cache's folder"])
def test_a_cache_that_cannot_be_opened_stops_nothing(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "cache"
    if what == "folder":
        (folder / NAME).mkdir(parents=True)
    elif what == "pipe":
        folder.mkdir()
        os.mkfifo(folder / NAME)
    else:
        folder.write_text("my notes")

    with opened(folder) as cache:
        cache.put(keys(2), numbers(2))

        assert rows_of(cache, 2) == {}
        assert cache.problem.startswith(f"{folder / NAME}: ")
        assert "this cache is not used; choose another place with --cache-dir" in cache.problem


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder, where this is allowed."""
    command = ["mount", *options, str(place)]
    mount = shutil.which("mount")
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Give a path of a folder below which nothing can be written."""
    if os.geteuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    view = folder.with_name(f"{folder.name}-view")
    view.mkdir()
    with mounted(view, "-o", "bind,ro", str(folder)):
        yield view


def test_a_read_only_cache_is_read(tmp_path: Path) -> None:
    filled(tmp_path / "cache", 2)

    with (
        read_only(tmp_path / "cache") as view,
        opened(view) as cache,
        opened(view / "new") as absent,
    ):
        cache.put(keys(3), numbers(3))
        absent.put(keys(3), numbers(3))

        assert rows_of(cache, 3) == dict(enumerate(numbers(2).tolist()))
        assert "this cache is only read" in cache.problem
        assert absent.get_many(keys(3)) == {}
        assert "this cache is not used" in absent.problem


def test_a_read_only_cache_with_a_log_is_read(tmp_path: Path) -> None:
    """As a process that was killed leaves it: its last vectors are in the log."""
    folder = tmp_path / "cache"
    with opened(tmp_path / "first") as writer:
        writer.put(keys(2), numbers(2))
        shutil.copytree(tmp_path / "first", folder)
    assert (folder / f"{NAME}-wal").stat().st_size > 0

    with read_only(folder) as view, opened(view) as cache:
        found = rows_of(cache, 3)

    assert found == dict(enumerate(numbers(2).tolist()))


def test_a_full_disk_stops_writing_and_nothing_else(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((100, 2000), dtype=np.float32)

    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        with opened(tmp_path, dim=2000) as cache:
            for start in range(0, 300, 10):
                part = [digest(str(i).encode()) for i in range(start, start + 10)]
                cache.put(part, X[:10])
            found = cache.get_many(keys(300))
            problem = cache.problem

        with opened(tmp_path, dim=2000) as cache:
            later = cache.get_many(keys(300))

    assert "full" in problem
    assert keys(1)[0] in found
    assert keys(1)[0] in later
    for row, _ in [*found.values(), *later.values()]:
        assert row.tolist() in X[:10].tolist()
