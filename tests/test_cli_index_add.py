"""Adding to galleries that hold some of the items already, and runs that are stopped."""

import os
import re
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from command_line import call, done, objects, refused
from featx.cli.named import NamedItems
from featx.cli.queries import SET_ROWS
from featx.data.rows import Row
from featx.data.sources import open_source
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.gallery import thumbnails
from featx.gallery.changelog import Change
from featx.gallery.gallery import Gallery
from featx.gallery.writer import GalleryWriter

pytestmark = pytest.mark.usefixtures("own_cache")

HELD = [f"x.npz:{row}" for row in range(1, 11)]


def embedded(folder: Path, rows: int, name: str = "x") -> Path:
    """Return a set of points ``x.npz:1`` ..., of which smaller ones hold the first."""
    X = np.random.default_rng(0).normal(size=(99, 4))[:rows]
    np.savez(folder / "x.npz", X=X, y=np.resize(["a", "b"], rows))
    done("embed", folder / "x.npz", "-m", "identity", "-o", folder / f"{name}.emb")
    return folder / f"{name}.emb"


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Give ``x.knn``, a gallery of ten points of ``x.emb``."""
    done("index", embedded(tmp_path, 10), "-o", tmp_path / "x.knn")
    return tmp_path / "x.knn"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Give ``t.knn``, a gallery of two texts."""
    (tmp_path / "t.csv").write_text("id,text\na,a cat sleeps\nb,a dog barks\n", encoding="utf-8")
    done("embed", tmp_path / "t.csv", "-m", "minilm-l6", "-o", tmp_path / "t.emb")
    done("index", tmp_path / "t.emb", "-o", tmp_path / "t.knn")
    return tmp_path / "t.knn"


def saved(path: Path, *rows: list[float]) -> Path:
    np.save(path, np.array(rows, np.float32))
    return path


def ids_of(path: Path) -> list[str]:
    with Gallery.open(path) as opened:
        return [item_id for item_id, _ in opened.items()]


def test_items_that_are_held_stay_as_they_are(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "n.npy", [9, 9, 0, 0])
    done("index", "add", gallery, new)
    saved(new, [0, 9, 9, 0], [1, 2, 3, 4])

    line = done("index", "add", gallery, new, "--skip-existing")
    (report,) = objects(done("index", "add", gallery, new, "--skip-existing", "--json"))

    assert line == f"{gallery}: 1 item added, 1 held already; 12 in all\n"
    counts = {"added": 0, "replaced": 0, "held": 2, "errors": 0, "items": 12}
    assert report == counts | {"out": str(gallery)}
    with Gallery.open(gallery) as opened:
        (near,) = opened.search(np.array([[9, 9, 0, 0]], np.float32), 1)
    assert (near[0].id, round(near[0].similarity, 6)) == ("n.npy:1", 1.0)


def test_items_that_are_held_are_not_read(gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    np.save(tmp_path / "new" / "a.npy", np.arange(4.0))
    done("index", "add", gallery, tmp_path / "new")
    (tmp_path / "new" / "a.npy").write_bytes(b"no array any more")
    np.save(tmp_path / "new" / "b.npy", np.ones(4))

    read = call("index", "add", gallery, tmp_path / "new", "--replace")
    passed = call("index", "add", gallery, tmp_path / "new", "--skip-existing")

    assert read.stderr.startswith("skipped a.npy: ")
    assert (passed.exit_code, passed.stderr) == (0, "")
    assert passed.stdout == f"{gallery}: 0 items added, 2 held already; 12 in all\n"


def test_what_is_new_in_a_set_is_added_with_its_facts(gallery: Path, tmp_path: Path) -> None:
    grown = embedded(tmp_path, 12, "grown")

    line = done("index", "add", gallery, grown, "--skip-existing")

    assert line == f"{gallery}: 2 items added, 10 held already; 12 in all\n"
    assert ids_of(gallery) == [*HELD, "x.npz:11", "x.npz:12"]
    with Gallery.open(gallery) as opened:
        found = opened.search(np.asarray(EmbeddingSet.open(grown).X), 1)
    assert [(n.id, n.label) for (n,) in found][9:] == [
        ("x.npz:10", "b"), ("x.npz:11", "a"), ("x.npz:12", "b"),
    ]  # fmt: skip


def test_no_thumbnail_is_made_of_what_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "identity", "modality": "image", "dim": 2, "normalize": False}
    model |= {"fingerprint": "f" * 64, "space": "5" * 64}
    (tmp_path / "p").mkdir()
    for name in "abc":
        (tmp_path / "p" / f"{name}.png").touch()
    facts = {"modality": "image", "columns": {}, "labels_from_folders": True}
    source = {"kind": "folder", "paths": [str(tmp_path / "p")], **facts}
    with SetWriter(tmp_path / "p.emb", model=model, source=source) as writer:
        rows = [Row(id=f"{name}.png", digest="00") for name in "abc"]
        writer.append(rows, np.eye(3, 2, dtype=np.float32) + 1)
        writer.seal()
    done("index", tmp_path / "p.emb", "-o", tmp_path / "p.knn", "--standalone", "--no-thumbnails")
    done("index", "remove", tmp_path / "p.knn", "b.png")
    made: list[object] = []
    monkeypatch.setattr(thumbnails, "thumbnail", made.append)

    done("index", "add", tmp_path / "p.knn", tmp_path / "p.emb", "--skip-existing")

    assert made == [tmp_path / "p" / "b.png"]


def test_an_id_that_comes_twice_in_the_source_is_not_held_already(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.cli.queries.WINDOW_ITEMS", 1)

    result = call("index", "add", texts, "one", "two", "one", "--skip-existing", "--json")

    assert result.exit_code == 3
    assert result.stderr == (
        "skipped one: its id occurs twice in the source; give each item its own\n"
    )
    (report,) = objects(result.stdout)
    assert (report["added"], report["held"], report["errors"]) == (2, 0, 1)


def test_items_either_give_way_or_stay(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "n.npy", [9, 9, 0, 0])
    done("index", "add", gallery, new)

    both = call("index", "add", gallery, new, "--replace", "--skip-existing")
    neither = refused("index", "add", gallery, new)

    assert both.exit_code == 2
    assert "--replace and --skip-existing exclude each other: give one." in both.stderr
    assert neither == (
        f"n.npy:1: is in {gallery} already; add --replace to put the new item in its place, "
        "--skip-existing to leave the old one there, or give it another id"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "2 items added; run it again with --skip-existing to go on"),
        (("--skip-existing",), "2 items added; run it again with --skip-existing to go on"),
        (("--replace",), "at least 0 items added or replaced; run it again for the others"),
    ],
)
def test_a_run_that_is_interrupted_says_what_is_on_the_disk(
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    said: str,
) -> None:
    new = saved(tmp_path / "n.npy", [9, 9, 0, 0], [0, 9, 9, 0])
    write = GalleryWriter._write

    def stopped(writer: GalleryWriter, changes: Sequence[Change]) -> None:
        write(writer, changes)
        raise KeyboardInterrupt  # before anybody is told

    with monkeypatch.context() as patch:
        patch.setattr(GalleryWriter, "_write", stopped)
        result = call("index", "add", gallery, new, *options)

    assert result.exit_code == 130
    assert result.stderr.splitlines() == [
        f"{gallery}: {said}",
        "interrupted; everything committed so far is kept",
    ]
    assert ids_of(gallery) == [*HELD, "n.npy:1", "n.npy:2"]


def test_a_run_that_is_stopped_keeps_what_it_added_and_goes_on(
    gallery: Path, tmp_path: Path
) -> None:
    n = 20 * SET_ROWS
    model = EmbeddingSet.open(tmp_path / "x.emb").manifest["model"]
    with SetWriter(tmp_path / "big.emb", model=model) as writer:
        rows = [Row(id=f"b{row}", digest="00") for row in range(n)]
        writer.append(rows, np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32))
        writer.seal()
    command = [sys.executable, "-m", "featx", "index", "add"]
    command += [str(gallery), str(tmp_path / "big.emb")]

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with Gallery.open(gallery) as reader:
        while (seen := len(reader) - 10) == 0:
            assert process.poll() is None
        process.terminate()
        _, said = process.communicate(timeout=60)

    assert process.returncode == 143
    kept = len(ids_of(gallery)) - 10
    assert kept % SET_ROWS == 0
    assert seen <= kept < n
    assert said.splitlines()[-2:] == [
        f"{gallery}: {kept:,} items added; run it again with --skip-existing to go on",
        "terminated; everything committed so far is kept",
    ]
    line = done("index", "add", gallery, tmp_path / "big.emb", "--skip-existing")
    counts = f"{n - kept:,} items added, {kept:,} held already; {n + 10:,} in all"
    assert line == f"{gallery}: {counts}\n"


def test_a_build_that_would_lose_changes_names_a_command_that_loses_none(
    gallery: Path, tmp_path: Path
) -> None:
    done("index", "add", gallery, saved(tmp_path / "n.npy", [9, 9, 0, 0]))
    done("index", "remove", gallery, "x.npz:3")
    grown = embedded(tmp_path, 12, "grown")

    line = refused("index", grown, "-o", gallery)
    command = re.search(r"; featx (index add .* --skip-existing) keeps what was added and ", line)

    assert command
    assert "; or give --drop-changes to lose them, or choose another name with -o" in line
    done(*command[1].split())
    assert set(ids_of(gallery)) == {*HELD, "n.npy:1", "x.npz:11", "x.npz:12"}


def test_no_command_is_named_that_could_not_add(gallery: Path, tmp_path: Path) -> None:
    done("index", "remove", gallery, "x.npz:3")
    saved(tmp_path / "wide.npy", [1, 2, 3, 4, 5])
    done("embed", tmp_path / "wide.npy", "-m", "identity", "-o", tmp_path / "wide.emb")

    other = refused("index", tmp_path / "wide.emb", "-o", gallery)
    changed = refused("index", embedded(tmp_path, 12), "-o", gallery)

    for line in (other, changed):
        assert "--skip-existing" not in line
        assert "knows nothing; give --drop-changes to lose them, or choose another name" in line


def test_a_file_has_one_id_however_it_is_spelt(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "n.npy", [9, 9, 0, 0])
    saved(tmp_path / "m.npy", [0, 9, 9, 0])
    monkeypatch.chdir(tmp_path)
    done("index", "add", gallery, "n.npy", "m.npy")

    for n, m in [("./n.npy", "./m.npy"), (tmp_path / "n.npy", tmp_path / "m.npy")]:
        line = done("index", "add", gallery, n, m, "--skip-existing")
        assert line == f"{gallery}: 0 items added, 2 held already; 12 in all\n"
    (tmp_path / "p.jpg").touch()
    for spelt in ("p.jpg", "./p.jpg", tmp_path / "p.jpg", "./*.jpg"):
        assert [item.id for item in open_source(spelt, modality="image")] == ["p.jpg"]


def test_named_items_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\n\ntwo\nthree\n", encoding="utf-8")

    items = NamedItems(["a text", str(tmp_path / "t.txt"), "another"], "text")

    assert [item.content for item in items] == ["a text", "another", "one", "two", "three"]
    assert len(items) == 5
    assert len(NamedItems(["a text"], "text")) == 1


def test_a_bar_on_a_terminal_counts_to_the_number_of_items(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "n.npy", [1, 2, 3, 4], [0, 0, 0, 0], [4, 3, 2, 1])
    command = [sys.executable, "-m", "featx", "index", "add", str(gallery), str(new)]
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))

    process = subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)

    assert process.returncode == 3
    assert "0/3 [" in shown
    assert "| 3/3 [" in shown
