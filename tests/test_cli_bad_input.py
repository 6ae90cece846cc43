"""What users get wrong: one line that names the item, what was found and what to do."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import featx
from command_line import call, done, refused
from featx import samples
from featx.data.files import writing
from featx.errors import InputError
from featx.zoo import catalog

BIRDS = sorted((samples.folder() / "clipart" / "birds").glob("*.png"))[:2]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATX_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("FEATX_DEVICE", "cpu")
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a set of two clusters in four dimensions, a head and a gallery."""
    folder = tmp_path_factory.mktemp("clusters")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4)) + np.repeat([[0.0], [5.0]], 10, axis=0)
    np.savez(folder / "x.npz", X=X, y=np.repeat(["a", "b"], 10))
    done("embed", folder / "x.npz", "-m", "identity", "-o", folder / "x.emb")
    done("train", folder / "x.emb", "-o", folder / "x.head", "--head", "ridge")
    done("index", folder / "x.emb", "-o", folder / "x.knn")
    return folder


def skipped(out: Path, *arguments: object) -> dict[str, str]:
    """Return id → problem of a run that went on without some items."""
    result = call(*arguments, "-o", out)
    assert result.exit_code == 3, result.stderr
    listed = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    problems = {row["id"]: row["problem"] for row in listed}
    assert result.stderr.splitlines() == [f"skipped {k}: {v}" for k, v in problems.items()]
    return problems


def texts(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    return path


def test_images_that_cannot_be_read_are_skipped_and_others_embedded(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "x.emb"
    folder.mkdir()
    raw = BIRDS[0].read_bytes()
    (folder / "png-named.jpg").write_bytes(raw)
    (folder / "cut.png").write_bytes(raw[: len(raw) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "noise.png").write_bytes(raw[:8] + bytes(range(256)) * 4)
    (folder / "words.png").write_text("these are words", encoding="utf-8")
    problems = skipped(out, "embed", folder, "-m", "efficientnet-lite0")
    assert problems.keys() == {"cut.png", "empty.png", "noise.png", "words.png"}
    assert problems["cut.png"].startswith("is damaged or truncated")
    assert problems["empty.png"] == "is empty (0 bytes)"
    assert problems["words.png"].startswith("is not an image that can be read: it starts with")
    opened = featx.open(out)
    assert opened.ids == ["png-named.jpg"]
    truth = featx.Embedder("efficientnet-lite0", device="cpu").transform([BIRDS[0]])
    np.testing.assert_allclose(opened.X, truth, rtol=1e-3, atol=1e-4)


def test_nothing_embedded_is_an_error_that_names_the_first_item(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "empty.png").write_bytes(b"")
    line = refused("embed", folder, "-m", "efficientnet-lite0", "-o", tmp_path / "x.emb")
    assert line == "nothing could be embedded; first problem: empty.png: is empty (0 bytes)"


def test_a_mended_item_is_embedded_by_the_next_run(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "x.emb"
    folder.mkdir()
    shutil.copy(BIRDS[0], folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    assert skipped(out, "embed", folder, "-m", "efficientnet-lite0").keys() == {"b.png"}
    shutil.copy(BIRDS[1], folder / "b.png")
    done("embed", folder, "-m", "efficientnet-lite0", "-o", out)
    assert featx.open(out).ids == ["a.png", "b.png"]
    assert (out / "errors.jsonl").read_text() == ""


def test_a_rotated_photo_with_its_exif_note_is_the_upright_photo(tmp_path: Path) -> None:
    photo = Image.new("RGB", (320, 240), "white")
    with Image.open(BIRDS[0]) as bird:
        picture = bird.convert("RGBA")
    photo.paste(picture, (20, 20), picture)
    photo.save(tmp_path / "upright.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to show
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    turned.save(tmp_path / "lying.jpg", quality=95)
    paths = [tmp_path / f"{name}.jpg" for name in ("upright", "turned", "lying")]
    X = featx.Embedder("efficientnet-lite0", device="cpu").transform(paths)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    assert X[0] @ X[1] >= 0.99
    assert X[0] @ X[2] < X[0] @ X[1]


def test_rows_of_a_table_that_cannot_be_used_are_skipped(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [b"id,text", b"a,hello", b"b,", b"c,\xff\xfe", b"d,x,y", b"e,   ", b"f"]
    table.write_bytes(b"\n".join(rows) + b"\n")
    problems = skipped(tmp_path / "t.emb", "embed", table, "-m", "minilm-l6")
    assert problems == {
        "b": "is empty",
        "t.csv:3": "row 3: not UTF-8",
        "t.csv:4": "row 4: 3 fields; the header has 2",
        "e": "is empty: it holds only white space",
        "t.csv:6": "row 6: 1 field; the header has 2",
    }
    assert featx.open(tmp_path / "t.emb").ids == ["a"]


def test_a_text_file_that_is_not_utf8_is_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "bad.txt").write_bytes(b"caf\xe9")
    (folder / "good.txt").write_text("café", encoding="utf-8")
    problems = skipped(tmp_path / "t.emb", "embed", folder, "-m", "minilm-l6")
    assert problems == {"bad.txt": "is not UTF-8 at byte 3"}


def test_a_missing_column_is_named_with_the_columns_there_are(tmp_path: Path) -> None:
    table, out = texts(tmp_path / "t.csv", "a,hello,x"), tmp_path / "t.emb"
    line = refused("embed", table, "-m", "minilm-l6", "-o", out, "--text-col", "texts")
    assert line.endswith("no column 'texts'; did you mean 'text'? columns: id, text, label")
    assert str(table) in line
    line = refused("embed", table, "-m", "efficientnet-lite0", "-o", out)
    assert line.endswith("name one with --image-col")


def test_sounds_that_hold_nothing_are_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(scale=0.1, size=16_000)
    soundfile.write(folder / "ok.wav", noise, 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 16_000)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes((folder / "ok.wav").read_bytes()[:9000])
    assert skipped(tmp_path / "s.emb", "embed", folder, "-m", "ge2e") == {
        "cut.wav": "is cut off: it holds 9000 of 32044 bytes",
        "empty.wav": "is empty (0 bytes)",
        "nothing.wav": "has no samples",
        "silent.wav": "is silent: every sample of the mix of its channels is 0",
    }


def test_a_row_with_nan_is_skipped_wherever_it_is_met(clusters: Path, tmp_path: Path) -> None:
    X = np.ones((3, 4), dtype=np.float32)
    X[1, 2] = np.nan
    np.save(tmp_path / "n.npy", X)
    problem = "holds 1 values that are not finite float32 numbers, the first at [2]"
    problems = skipped(tmp_path / "n.emb", "embed", tmp_path / "n.npy", "-m", "identity")
    assert problems == {"n.npy:2": problem}
    for command in ("predict", "search"):
        suffix = {"predict": "head", "search": "knn"}[command]
        result = call(command, clusters / f"x.{suffix}", tmp_path / "n.npy", "--json")
        assert result.exit_code == 3
        assert result.stderr == f"skipped n.npy:2: {problem}\n"
        ids = [json.loads(line)["id"] for line in result.stdout.splitlines()]
        assert ids == ["n.npy:1", "n.npy:3"]


def test_an_array_file_that_is_damaged_is_skipped_even_if_it_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    (folder / "a.npy").write_bytes(b"abc")
    np.save(folder / "b.npy", np.ones(5))
    np.save(folder / "c.npy", np.ones(4))
    problems = skipped(tmp_path / "x.emb", "embed", folder, "-m", "identity")
    assert problems.keys() == {"a.npy", "c.npy"}
    assert problems["a.npy"].startswith("is not a .npy array")
    assert problems["c.npy"] == "has shape (4,); expected (5,)"


def test_an_unknown_model_is_suggested(tmp_path: Path) -> None:
    table = texts(tmp_path / "t.csv", "a,hello,x")
    line = refused("embed", table, "-m", "minilm-16", "-o", tmp_path / "t.emb")
    assert line == "unknown model 'minilm-16'; did you mean 'minilm-l6'?"
    assert not (tmp_path / "t.emb").exists()


def copied_model(folder: Path, name: str, new_name: str) -> Path:
    manifest = catalog.find(name)
    for entry in manifest.files.values():
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.folder / entry.path, folder / entry.path)
    text = (manifest.folder / f"{name}.toml").read_text(encoding="utf-8")
    path = folder / f"{new_name}.toml"
    path.write_text(text.replace(f'name = "{name}"', f'name = "{new_name}"', 1), encoding="utf-8")
    return path


def test_a_misspelt_key_of_a_manifest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = copied_model(tmp_path, "ge2e", "mine")
    manifest.write_text(manifest.read_text().replace("pooling =", "poling =", 1))
    problem = f"{manifest}: unknown key 'poling'; did you mean 'pooling'?"
    graph = catalog.find("ge2e").file("graph")
    assert refused("models", "add", graph, "--manifest", manifest) == problem
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path))
    sounds = samples.folder() / "sounds"
    assert refused("embed", sounds, "-m", "mine", "-o", tmp_path / "x.emb") == problem


def test_a_file_of_another_sha256_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = copied_model(tmp_path, "ge2e", "mine")
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path))
    graph = catalog.find("mine").file("graph")
    raw = bytearray(graph.read_bytes())
    raw[len(raw) // 2] ^= 1
    graph.write_bytes(raw)
    sounds = samples.folder() / "sounds"
    line = refused("embed", sounds, "-m", "mine", "-o", tmp_path / "x.emb")
    wanted = catalog.find("mine").files["graph"].sha256
    assert line.startswith(f"mine: {graph}: sha256 ")
    assert line.endswith(f"the manifest says {wanted}; restore the file")
    with pytest.raises(InputError, match="restore the file"):
        featx.Embedder("mine").transform([BIRDS[0]])
    monkeypatch.delenv("FEATX_ZOO")
    assert wanted in refused("models", "add", graph, "--manifest", manifest)


@pytest.mark.parametrize("name", ["file", "file/x.emb", "folder"])
def test_an_output_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine", encoding="utf-8")
    table = texts(tmp_path / "t.csv", "a,hello,x")
    line = refused("embed", table, "-m", "minilm-l6", "-o", tmp_path / name)
    assert line.startswith(f"{tmp_path / name}: ")
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("command", ["train", "index"])
@pytest.mark.parametrize("name", ["file/x", "folder"])
def test_a_result_that_cannot_be_written_is_named(
    clusters: Path, tmp_path: Path, command: str, name: str
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine", encoding="utf-8")
    line = refused(command, clusters / "x.emb", "-o", tmp_path / name)
    assert line.startswith(f"{tmp_path / name}: ")
    assert (tmp_path / "folder" / "mine.txt").read_text() == "mine"


def test_a_set_of_another_backbone_is_not_overwritten(clusters: Path, tmp_path: Path) -> None:
    out = shutil.copytree(clusters / "x.emb", tmp_path / "x.emb")
    table = texts(tmp_path / "t.csv", "a,hello,x")
    line = refused("embed", table, "-m", "minilm-l6", "-o", out)
    assert line.startswith(f"{out}: holds vectors of identity, 4 wide (")
    assert " made with other settings than minilm-l6, 384 wide (" in line
    assert line.endswith("choose another -o, or delete it first")
    assert len(featx.open(out)) == 20


def test_a_head_refuses_the_vectors_of_another_backbone(clusters: Path, tmp_path: Path) -> None:
    table = texts(tmp_path / "t.csv", "a,hello,a", "b,goodbye,b")
    target = tmp_path / "t.emb"
    done("embed", table, "-m", "minilm-l6", "-o", target)
    for command in (("predict", clusters / "x.head"), ("evaluate", clusters / "x.head")):
        line = refused(*command, target)
        assert line.startswith(f"{target}: embeddings of minilm-l6, 384 wide (space ")
        assert "), but the head was trained on identity, 4 wide (space " in line
        assert line.endswith("run: featx embed SOURCE -m identity -o OUT.emb")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            ("cat", "no.emb"),
            "no.emb: not an embedding set: nothing is there; make one",
        ),
        (("train", "no.emb", "-o", "x.head"), "no.emb: not an embedding set"),
        (("index", "no.emb", "-o", "x.knn"), "no.emb: not an embedding set"),
        (("predict", "no.head", "text"), "no.head: no such file; train one with: featx train"),
        (("evaluate", "no.head", "no.emb"), "no.head: no such file"),
        (("search", "no.knn", "text"), "no.knn: no such gallery"),
        (("embed", "no.csv", "-m", "minilm-l6", "-o", "x.emb"), "no.csv: no such file"),
    ],
)
def test_what_does_not_exist_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(*command).startswith(problem)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_head_is_suggested(clusters: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.head"
    line = refused("train", clusters / "x.emb", "-o", out, "--head", "rigde")
    assert line == "unknown head 'rigde'; did you mean 'ridge'?"


@pytest.mark.parametrize(
    "command", [("search", "x.knn", ""), ("index", "add", "x.knn", ""), ("index", "stats", "")]
)
def test_an_empty_argument_is_not_the_folder_that_we_are_in(command: tuple[str, ...]) -> None:
    result = call(*command)

    assert result.exit_code == 2
    assert "an argument is empty" in result.stderr


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    with writing(pipe) as place:
        place.write_text("through it")

    assert os.read(reader, 99) == b"through it"
    assert pipe.is_fifo()
    os.close(reader)


def test_a_misspelt_path_is_told_before_scikit_learn_is_imported(clusters: Path) -> None:
    commands = [
        ("evaluate", "no.head", "x.emb"),
        ("evaluate", "x.head", "no.emb"),
        ("evaluate", "no.knn"),
        ("evaluate", "x.knn", "no.emb"),
        ("train", "no.emb", "-o", "y.head"),
        ("predict", "no.head", "x.emb"),
        ("predict", "x.head", "no.npy"),
    ]
    program = (
        "import sys\n"
        "from featx.cli import main\n"
        f"for argv in {commands!r}:\n"
        "    try:\n"
        "        main(argv, prog_name='featx')\n"
        "    except SystemExit as end:\n"
        "        print(end.code, 'sklearn' in sys.modules, *argv)\n"
    )

    found = subprocess.run(
        [sys.executable, "-c", program], cwd=clusters, capture_output=True, text=True, check=True
    )

    assert found.stdout.splitlines() == [f"1 False {' '.join(argv)}" for argv in commands]
    lines = found.stderr.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "no.head", "no.emb", "no.knn", "no.emb", "no.emb", "no.head", "no.npy",
    ]  # fmt: skip
