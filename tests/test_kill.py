"""Runs that are killed, interrupted or out of space, and go on from there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import StoreError
from featx.types import Vectors

ITEMS, DIM = 12_000, 16
SMALL_FILES_BYTES = 900_000
COMMITTED = 1024
"""Rows that are committed together, if they come faster than one second."""
LAUNCH = """
import os, resource, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
if limit := int(os.environ.get("LARGEST_FILE_BYTES", "0")):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from featx.__main__ import run
run()
"""


@dataclass
class Job:
    """One ``featx embed`` that is run again and again."""

    source: Path
    out: Path
    X: Vectors

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        arguments = ["embed", str(self.source), "-m", "identity", "-o", str(self.out)]
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments, "--no-cache", "--json", "-q"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def wait_for_rows(self, process: "subprocess.Popen[str]", count: int) -> None:
        """Return once the process has written `count` rows (0: has begun), or has ended."""
        segment, lock = self.out / "segment-00000.npy", self.out / "lock"
        needed = 128 + 4 * DIM * count
        while process.poll() is None:
            with suppress(FileNotFoundError):
                if (segment if count else lock).stat().st_size >= (needed if count else 0):
                    return
            time.sleep(0.002)

    def finish(self) -> dict[str, Any]:
        """Run to the end, and check that the set is that of one uninterrupted run."""
        out, err = self.start().communicate(timeout=60)
        assert err == ""
        emb = EmbeddingSet.open(self.out)
        assert emb.items.column("id").to_pylist() == [
            f"{self.source.name}:{i + 1}" for i in range(ITEMS)
        ]
        np.testing.assert_array_equal(np.asarray(emb.X), self.X)
        assert emb.finished
        result: dict[str, Any] = json.loads(out)
        return result


@pytest.fixture
def job(tmp_path: Path) -> Job:
    X = np.random.default_rng(0).standard_normal((ITEMS, DIM), dtype=np.float32)
    np.save(tmp_path / "x.npy", X)
    return Job(tmp_path / "x.npy", tmp_path / "x.emb", X)


def kill_often(job: Job, times: int, seed: int) -> None:
    moments = np.sort(np.random.default_rng(seed).integers(1, ITEMS, times))
    moments[0] = 0
    for moment in moments.tolist():
        process = job.start()
        job.wait_for_rows(process, moment)
        process.kill()
        process.communicate()
    job.finish()


def test_five_kills_lose_nothing_and_repeat_nothing(job: Job) -> None:
    kill_often(job, 5, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_twenty_kills_lose_nothing_and_repeat_nothing(job: Job, seed: int) -> None:
    kill_often(job, 20, seed)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_keeps_what_is_committed(
    job: Job, number: signal.Signals, code: int, word: str
) -> None:
    process = job.start()
    job.wait_for_rows(process, COMMITTED + 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (code, f"{word}; everything committed so far is kept\n")
    assert job.finish()["cached"] >= COMMITTED


def test_a_full_disk_keeps_what_is_committed(job: Job) -> None:
    process = job.start(LARGEST_FILE_BYTES=str(SMALL_FILES_BYTES))
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err.count("\n")) == (1, 1)
    assert err.startswith(f"error: {job.out}")
    assert job.finish()["cached"] >= COMMITTED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full_keeps_what_is_committed(job: Job, small_disk: Path) -> None:
    job.out = small_disk / "x.emb"
    process = job.start()
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err.count("\n")) == (1, 1)
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert job.finish()["cached"] >= COMMITTED


TEXTS, INTERRUPTIONS = 3000, 50
WORDS = ["a", "parcel", "was", "sent", "to", "the", "wrong", "house", "and", "nobody", "knew"]
LEAST_COSINE = 1 - 1e-6


def run_texts(source: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    arguments = ["embed", str(source), "-m", "minilm-l6", "-o", str(out), "-q", "--json", *options]
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FEATX_CACHE_DIR": str(out.parent / "cache")},
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [["--deterministic"], []], ids=["deterministic", "usual"])
def test_fifty_kills_and_terminations_end_in_the_set_of_one_run(
    tmp_path: Path, options: list[str]
) -> None:
    rng = np.random.default_rng(7)
    lines = [f"{i} {' '.join(rng.choice(WORDS, rng.integers(3, 40)))}" for i in range(TEXTS)]
    source, out, whole = tmp_path / "t.txt", tmp_path / "t.emb", tmp_path / "whole.emb"
    source.write_text("\n".join(lines), encoding="utf-8")

    for number in range(INTERRUPTIONS):
        process = run_texts(source, out, "--no-cache", *options)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=float(rng.uniform(0.2, 1.6)))
        process.send_signal([signal.SIGKILL, signal.SIGTERM][number % 2])
        process.communicate()
        # SIGTERM just ends a process that has not begun.
        assert process.returncode in {0, 143, -signal.SIGKILL, -signal.SIGTERM}
    printed, err = run_texts(source, out, "--no-cache", *options).communicate()
    assert err == ""
    run_texts(source, whole, "--no-cache", *options).communicate()

    interrupted, single = EmbeddingSet.open(out), EmbeddingSet.open(whole)
    assert json.loads(printed)["cached"] > 0
    assert interrupted.items.to_pylist() == single.items.to_pylist()
    A, B = np.asarray(interrupted.X), np.asarray(single.X)
    if options:
        assert A.tobytes() == B.tobytes()
    assert (np.sum(A.astype(np.float64) * B, axis=1) >= LEAST_COSINE).all()


# Line by line: an interruption may come at any of them.

MODEL = {
    "name": "identity",
    "modality": "array",
    "dim": 2,
    "normalize": False,
    "fingerprint": "f",
    "space": "s",
}
WANTED = [(f"i{i}", f"{i:02x}", np.full(2, i, dtype=np.float32)) for i in (6, 0, 1, 7, 3, 8)]
"""What the source holds now; the set is made of i0 to i5, i1 as another vector."""


def begin(path: Path) -> None:
    old = [(f"i{i}", f"{i:02x}" if i != 1 else "old", i) for i in range(6)]
    with SetWriter(path, model=MODEL, segment_rows=4) as writer:
        for name, digest, value in old:
            writer.append([Row(id=name, digest=digest)], np.full((1, 2), value, dtype=np.float32))
        writer.tell([Facts(id=name) for name, _, _ in old])
        writer.finish()


def bring_in_line(writer: SetWriter) -> None:
    held = writer.held([name for name, _, _ in WANTED])
    for name, digest, row in WANTED:
        if name not in held or held[name].digest != digest:
            writer.append([Row(id=name, digest=digest)], row[None])
        writer.tell([Facts(id=name, label="new")])
    writer.finish()


def is_interrupted(action: Callable[[], None], *, at: int) -> bool:
    """Run `action`, and raise `KeyboardInterrupt` at the `at`-th line in ``featx/data``."""
    passed = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401
        nonlocal passed
        if "/featx/data/" not in frame.f_code.co_filename:
            return None
        passed += event == "line"
        if passed == at:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def interrupt_at_lines(folder: Path, *, first: int, step: int, seals: bool) -> int:
    """Interrupt one run after the other, each later than the last, until one gets through."""
    for at in range(first, 100_000, step):
        path = folder / f"{at}.emb"
        begin(path)
        writer = SetWriter(path, model=MODEL, segment_rows=4)
        stopped = is_interrupted(lambda w=writer: bring_in_line(w), at=at)  # type: ignore[misc]
        if seals:
            with suppress(StoreError):
                writer.seal()
        writer.close()
        _ = EmbeddingSet.open(path).X, EmbeddingSet.open(path).items
        with SetWriter(path, model=MODEL, segment_rows=4) as again:
            bring_in_line(again)

        emb = EmbeddingSet.open(path)
        assert emb.items.column("id").to_pylist() == [name for name, _, _ in WANTED], at
        np.testing.assert_array_equal(np.asarray(emb.X), [row for _, _, row in WANTED])
        if not stopped:
            return at
    raise AssertionError


@pytest.mark.parametrize("seals", [True, False])
def test_an_interruption_at_any_line_loses_nothing(tmp_path: Path, seals: bool) -> None:
    assert interrupt_at_lines(tmp_path, first=5, step=41, seals=seals) > 300


@pytest.mark.slow
@pytest.mark.parametrize("seals", [True, False])
@pytest.mark.parametrize("first", range(1, 9))
def test_an_interruption_at_every_line_loses_nothing(
    tmp_path: Path, first: int, seals: bool
) -> None:
    assert interrupt_at_lines(tmp_path, first=first, step=8, seals=seals) > 300
