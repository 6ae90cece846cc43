"""Writers of a gallery that are killed or out of space, and readers in another process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featx.errors import StoreError
from featx.gallery.gallery import Gallery
from gallery_sets import DIM, build, expected, pairs, vectors

ADD = """
import os, resource, sys, threading
import numpy as np
from featx.errors import StoreError
from featx.gallery import writer as gallerywriter
from featx.gallery.gallery import Gallery, ItemFacts
gallerywriter.FOLD_AT = 20
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
gallery = Gallery.open(path, writable=True)
if limit := int(os.environ.get("LARGEST_FILE_BYTES", "0")):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def compact():
    while not stop.wait(0.02):  # what a compaction left out another would put right
        gallery.compact()
stop = threading.Event()
if os.environ.get("COMPACTS"):
    threading.Thread(target=compact, daemon=True).start()
for seed in range(first, first + count):
    x = np.random.default_rng(seed).standard_normal((1, 6)).astype(np.float32)
    thumbnail = bytes(1000 if limit else 10)
    try:
        gallery.add([f"n{seed}"], x, facts=[ItemFacts(label="new", thumbnail=thumbnail)])
        if seed % 3 == 0:
            gallery.remove([f"n{seed}"])
    except StoreError as error:
        print(error, file=sys.stderr)
        print(len(gallery), flush=True)
        gallery.close()
        sys.exit(1)
    print(seed, flush=True)
gallery.close()
"""
SEARCH = """
import sys
import numpy as np
from featx.gallery.gallery import Gallery
gallery = Gallery.open(sys.argv[1])
for line in sys.stdin:
    x = np.random.default_rng(int(line)).standard_normal((1, 6)).astype(np.float32)
    print(gallery.search(x, 1)[0][0].id, flush=True)
"""


def start(code: str, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def acknowledged(process: "subprocess.Popen[str]") -> Iterator[int]:
    assert process.stdout is not None
    return (int(line) for line in process.stdout if line.endswith("\n"))


def check(path: Path, seeds: list[int], *, maybe: int) -> None:
    """Check that a gallery holds what was acknowledged; the seed `maybe` may be there too."""
    content = {f"i{r}": x for r, x in enumerate(vectors())}
    for seed in seeds:
        if seed % 3:
            x = np.random.default_rng(seed).standard_normal((1, DIM)).astype(np.float32)
            content[f"n{seed}"] = x[0]
    for writable in (False, True):
        with Gallery.open(path, writable=writable) as gallery:
            if f"n{maybe}" in gallery:
                x = np.random.default_rng(maybe).standard_normal((1, DIM)).astype(np.float32)
                content[f"n{maybe}"] = x[0]
            assert len(gallery) == len(content)
            Q = vectors(3, seed=8)
            for q, found in zip(Q, gallery.search(Q, len(content)), strict=True):
                assert pairs(found) == expected(content, q, len(content))


def test_a_writer_that_is_killed_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path, seeds = build(tmp_path).path, list[int]()

    for first, after, compacts in ((10_000, 50, ""), (20_000, 35, "1"), (30_000, 60, "1")):
        process = start(ADD, path, first, 9000, COMPACTS=compacts)
        for seed in acknowledged(process):
            seeds.append(seed)
            if seed == first:
                with pytest.raises(StoreError, match="another process is writing to it"):
                    Gallery.open(path, writable=True)
            if seed - first >= after:
                process.kill()
        assert process.communicate()[1] == ""
        check(path, seeds, maybe=seeds[-1] + 1)
        with Gallery.open(path, writable=True) as gallery:
            if f"n{seeds[-1] + 1}" in gallery:
                gallery.remove([f"n{seeds[-1] + 1}"])


def test_a_full_disk_refuses_the_add_and_leaves_the_gallery_as_it_was(tmp_path: Path) -> None:
    path = build(tmp_path).path

    process = start(ADD, path, 0, 2000, LARGEST_FILE_BYTES="150000")
    out, err = process.communicate(timeout=60)

    *seeds, items = [int(line) for line in out.split()]
    assert process.returncode == 1
    assert "log.sqlite: " in err
    assert "free some space" in err
    assert items == 60 + sum(1 for seed in seeds if seed % 3)
    check(path, seeds, maybe=-1)


def test_a_reader_in_another_process_sees_each_item_once_it_is_acknowledged(tmp_path: Path) -> None:
    path = build(tmp_path).path
    writer, reader = start(ADD, path, 1, 45), start(SEARCH, path)
    assert reader.stdin is not None
    assert reader.stdout is not None

    for seed in acknowledged(writer):
        reader.stdin.write(f"{seed}\n")
        reader.stdin.flush()
        found = reader.stdout.readline().strip()
        assert (found == f"n{seed}") == bool(seed % 3)

    assert (writer.communicate()[1], reader.communicate()[1]) == ("", "")


def test_a_second_writing_process_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path).path
    with Gallery.open(path, writable=True):
        _, err = start(ADD, path, 0, 1).communicate()

        assert "another process is writing to it; wait for it to end" in err
