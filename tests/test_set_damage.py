"""Sets whose files are damaged: one line says what was found, and what it says mends the set."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import featx
from command_line import call, done, refused
from featx.data.finite import require_finite
from featx.data.segment import HEADER_BYTES
from featx.errors import InputError, StoreError

pytestmark = pytest.mark.usefixtures("own_cache")

Damage = Callable[[Path], None]


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run a command as it is typed: it is recorded."""
    monkeypatch.setattr(sys, "argv", ["featx", *map(str, arguments)])
    return done(*arguments)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder, the current one, with ``x.npz`` and ``x.emb``, ``x.head`` and ``x.knn``."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4)) + np.repeat([[0.0], [5.0]], 10, axis=0)
    np.savez("x.npz", X=X, y=np.repeat(["a", "b"], 10))
    typed(monkeypatch, "embed", "x.npz", "-m", "identity", "-o", "x.emb")
    done("train", "x.emb", "-o", "x.head", "--head", "ridge")
    done("index", "x.emb", "-o", "x.knn")
    return tmp_path


def cut(name: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])

    return damage


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def without_key(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["model"]["dim"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def spoilt(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(b"PAR1 no parquet PAR1")

    return damage


DAMAGES = {
    "cut vectors": (cut("segment-00000.npy"), r"segment-00000.npy: damaged: "),
    "no vectors": (gone("segment-00000.npy"), "segment-00000.npy: No such file or directory"),
    "cut table": (cut("segment-00000.parquet"), "segment-00000.parquet: cannot be read"),
    "spoilt table": (spoilt("segment-00000.parquet"), "segment-00000.parquet: cannot be read"),
    "no table": (gone("segment-00000.parquet"), "segment-00000.parquet: cannot be read"),
    "cut manifest": (cut("manifest.json"), "manifest.json: damaged: "),
    "no key": (without_key, "manifest.json: damaged: 'dim' of 'model' is missing"),
    "no manifest": (gone("manifest.json"), "manifest.json is missing"),
}
READERS = [("train", "x.emb", "-o", "y.head"), ("index", "x.emb", "-o", "y.knn")]


@pytest.mark.parametrize("name", DAMAGES)
def test_what_the_message_says_mends_a_damaged_set(
    made: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, found = DAMAGES[name]
    before = np.array(featx.open("x.emb").X)
    damage(made / "x.emb")

    for reader in READERS:
        line = refused(*reader)
        assert line.startswith("x.emb")
        assert found in line
        assert "restore it, or delete x.emb and " in line

    is_manifest_lost = "manifest" in line
    command = ["featx", "embed", "x.npz", "-m", "identity", "-o", "x.emb"]
    if not is_manifest_lost:
        assert shlex.split(line.partition(" and run: ")[2]) == command
    shutil.rmtree("x.emb")
    typed(monkeypatch, *command[1:])
    np.testing.assert_array_equal(np.asarray(featx.open("x.emb").X), before)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_set_is_not_embedded_into_as_if_it_were_whole(made: Path, name: str) -> None:
    DAMAGES[name][0](made / "x.emb")
    before = {path.name: path.read_bytes() for path in (made / "x.emb").iterdir()}

    line = refused("embed", "x.npz", "-m", "identity", "-o", "x.emb")

    assert line.startswith("x.emb")
    after = {path.name: path.read_bytes() for path in (made / "x.emb").iterdir()}
    assert {name: after[name] for name in before} == before


def test_a_gallery_tells_of_the_damage_of_its_set_and_how_both_are_mended(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut("segment-00000.npy")(made / "x.emb")

    for command in (
        ("search", "x.knn", "x.npz"),
        ("evaluate", "x.knn"),
        ("index", "stats", "x.knn"),
    ):
        line = refused(*command)
        assert line.startswith("x.knn: ")
        assert line.endswith(
            f"restore it, or delete {made / 'x.emb'} and run: featx embed x.npz -m identity "
            "-o x.emb; then run: featx index x.emb -o x.knn"
        )
    shutil.rmtree("x.emb")
    typed(monkeypatch, "embed", "x.npz", "-m", "identity", "-o", "x.emb")
    done("index", "x.emb", "-o", "x.knn")
    done("search", "x.knn", "x.npz")


@pytest.mark.parametrize("content", [b"no database at all " * 100, b""])
def test_a_damaged_log_of_a_finished_set_is_made_anew(made: Path, content: bytes) -> None:
    before = np.array(featx.open("x.emb").X)
    (made / "x.emb" / "index.sqlite").write_bytes(content)

    assert "20 items, 0 embedded, 20 already known" in done(
        "embed", "x.npz", "-m", "identity", "-o", "x.emb"
    )

    np.testing.assert_array_equal(np.asarray(featx.open("x.emb").X), before)


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[]", b'{"id": "a", "what": 1}'])
def test_a_damaged_list_of_problems_is_mended_by_deleting_the_line(made: Path, line: bytes) -> None:
    problems = made / "x.emb" / "errors.jsonl"
    problems.write_bytes(b'{"id": "a", "uri": "", "problem": "p"}\n' + line + b"\n")

    for command in (("embed", "x.npz", "-m", "identity", "-o", "x.emb"), ("retry", "x.emb")):
        assert refused(*command) == (
            "x.emb/errors.jsonl: line 2: damaged; delete that line and run the command again"
        )
    problems.write_bytes(problems.read_bytes().splitlines(keepends=True)[0])
    done("embed", "x.npz", "-m", "identity", "-o", "x.emb")


def test_what_is_no_set_is_not_embedded_over(made: Path) -> None:
    (made / "y.emb").mkdir()
    (made / "y.emb" / "notes.txt").write_text("mine")

    line = refused("cat", "y.emb")

    assert line.endswith("make one with: featx embed SOURCE -m MODEL -o OTHER.emb")
    assert refused("cat", "z.emb").endswith("featx embed SOURCE -m MODEL -o z.emb")


def test_a_file_that_cannot_be_reached_is_no_damage(made: Path) -> None:
    path = made / "x.emb/segment-00000.npy"
    path.unlink()
    path.symlink_to(path)

    with pytest.raises(StoreError, match=r"segment-00000\.npy: Too many levels") as caught:
        _ = featx.open("x.emb").X
    assert "delete" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_told_by_its_name(made: Path) -> None:
    path = made / "x.emb/segment-00000.npy"
    path.unlink()
    path.mkdir()

    with pytest.raises(StoreError, match=r"segment-00000\.npy: a folder is in the way"):
        _ = featx.open("x.emb").X


def spoil_rows(*rows: int) -> None:
    """Put NaN into some rows of ``x.emb``, as a damaged disk may."""
    path = Path("x.emb/segment-00000.npy")
    content = bytearray(path.read_bytes())
    for row in rows:
        at = HEADER_BYTES + row * 16
        content[at : at + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(content)


@pytest.mark.parametrize(
    "command",
    [
        ("index", "x.emb", "-o", "y.knn"),
        ("index", "x.emb", "-o", "y.knn", "--standalone"),
        ("predict", "x.head", "x.emb"),
        ("search", "x.knn", "x.emb"),
        ("index", "add", "x.knn", "x.emb", "--replace"),
        ("index", "duplicates", "x.knn", "--against", "x.emb"),
    ],
)
def test_vectors_that_are_not_finite_are_named_and_counted(
    made: Path, command: tuple[str, ...]
) -> None:
    spoil_rows(6, 11)

    assert refused(*command) == (
        "x.emb: row 6 is NaN or infinite: item 'x.npz:7', the first of 2 such; restore it, or "
        "delete x.emb and run: featx embed x.npz -m identity -o x.emb"
    )


def test_vectors_that_are_not_finite_are_left_out_of_training_with_a_note(made: Path) -> None:
    spoil_rows(6, 11)
    note = (
        "note: 2 labelled vectors are NaN or infinite and left out, first that of 'x.npz:7'; to "
        "mend it delete x.emb and embed it again"
    )

    trained = call("train", "x.emb", "-o", "y.head", "--head", "ridge")
    np.savez("new.npz", X=np.ones((1, 4)), y=["a"])
    done("embed", "new.npz", "-m", "identity", "-o", "new.emb")
    done("index", "new.emb", "-o", "new.knn")
    scored = call("evaluate", "new.knn", "x.emb")

    assert (trained.exit_code, scored.exit_code) == (0, 0)
    assert note in trained.stderr.splitlines()
    assert note in scored.stderr.splitlines()
    assert "18 of 20 rows used" in trained.stdout


def test_a_set_of_finite_vectors_is_passed(made: Path) -> None:
    opened = featx.open("x.emb")
    require_finite(opened)
    spoil_rows(19)

    require_finite(opened, np.asarray(opened.X[:19]))
    with pytest.raises(InputError, match=r"row 19 is NaN or infinite: item 'x\.npz:20'; "):
        require_finite(opened, np.asarray(opened.X[10:]))
