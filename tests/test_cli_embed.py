"""``featx embed`` and ``featx retry``, with sources that are good, bad and hostile."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL.Image
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from featx.backbone.backbone import Backbone
from featx.cli import main
from featx.data.sources import open_description
from featx.data.sources.chosen import Chosen
from featx.data.statindex import StatIndex
from featx.data.store import EmbeddingSet
from featx.embedding import Policy, Run
from featx.fingerprint import file_sha256
from featx.types import Item, Vectors
from featx.zoo import catalog
from hostile.make import EITHER, OK, make

SIDE = 8


def featx(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def embed(*arguments: str | Path) -> dict[str, Any]:
    """Run ``featx embed --json``, and return what it prints with its exit code."""
    result = featx("embed", *arguments, "--json", "-q")
    assert result.stdout, result.stderr
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed | {"rc": result.exit_code}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Give the manifest of a backbone that returns an image's mean colour, 0 to 1."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "colours", [x], [y])
    opset = helper.make_opsetid("", 17)
    path = folder / "colours.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    manifest = folder / "colours.toml"
    manifest.write_text(f"""schema = 1
name = "colours"
modality = "image"
summary = "the mean colour"
license = "CC0-1.0"
source = "a test"
weights = "test/colours"
dim = 3
pooling = "none"
normalize = false
[files.graph]
path = "colours.onnx"
sha256 = "{file_sha256(path)}"
size_bytes = {path.stat().st_size}
[inputs]
image = "x"
[outputs]
embedding = "y"
[image]
size = [{SIDE}]
mean = [0.0, 0.0, 0.0]
std = [255.0, 255.0, 255.0]
""")
    return manifest


def paint(folder: Path, names: Sequence[str], seed: int = 0) -> Vectors:
    """Write plain pictures, and return their colours, 0 to 1."""
    rgb = np.random.default_rng(seed).integers(0, 256, (len(names), 3), dtype=np.uint8)
    for name, colour in zip(names, rgb, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (SIDE, SIDE), tuple(colour.tolist())).save(path)
    return (rgb / np.float32(255)).astype(np.float32)


def rows(path: Path) -> dict[str, list[float]]:
    opened = EmbeddingSet.open(path)
    return dict(zip(opened.ids, np.asarray(opened.X).tolist(), strict=True))


def ledger(path: Path) -> dict[str, str]:
    lines = (path / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["id"]: entry["problem"] for entry in map(json.loads, lines)}


IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def hostile_pictures(folder: Path, count: int) -> list[str]:
    """Make `count` files that cannot be embedded, some of them several times."""
    corpus = [h for h in make(folder / "corpus") if h.modality == "image"]
    files = [
        folder / "corpus" / h.name
        for h in corpus
        if h.outcome not in {OK, EITHER} and Path(h.name).suffix in IMAGE_SUFFIXES
    ]
    files = [path for path in files if path.is_file() and not path.is_symlink()]
    names = [f"{i:03d}{files[i % len(files)].suffix}" for i in range(count)]
    for i, name in enumerate(names):
        shutil.copy(files[i % len(files)], folder / name)
    shutil.rmtree(folder / "corpus")
    return names


def test_a_hundred_hostile_files_among_two_thousand_cost_only_themselves(
    tmp_path: Path, colours: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    good = [f"good/{i:04d}.png" for i in range(1900)]
    X = paint(photos, good)
    bad = [f"bad/{name}" for name in hostile_pictures(photos / "bad", 100)]

    result = embed(photos, "-m", colours, "-o", out)

    assert (result["rc"], result["items"], result["errors"]) == (3, 1900, 100)
    assert list(ledger(out)) == bad
    assert list(rows(out)) == good
    np.testing.assert_allclose(list(rows(out).values()), X, atol=1e-6)


def test_pipes_sockets_and_broken_links_are_listed_and_never_opened(
    tmp_path: Path, colours: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    paint(photos, ["good.png"])
    make(photos / "bad")

    embed(photos / "bad", photos / "good.png", "-m", colours, "-o", out)

    listed = {Path(name).name for name in ledger(out)}
    assert {"fifo.jpg", "socket.jpg", "loop-1.jpg", "dangling.jpg"} <= listed


def test_retry_embeds_what_can_be_read_now_and_lists_the_rest(
    tmp_path: Path, colours: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    names = ["a.png", "b.png", "c.png"]
    X = paint(photos, names)
    for name in ("a.png", "b.png"):
        shutil.move(photos / name, tmp_path / name)
        (photos / name).write_text("no picture")
    assert embed(photos, "-m", colours, "-o", out)["rc"] == 3
    shutil.move(tmp_path / "a.png", photos / "a.png")

    again = featx("retry", out, "-m", colours, "--json")

    assert (again.exit_code, json.loads(again.stdout)["items"]) == (3, 1)
    assert list(rows(out)) == ["c.png", "a.png"]
    np.testing.assert_allclose(list(rows(out).values()), X[[2, 0]], atol=1e-6)
    assert list(ledger(out)) == ["b.png"]
    shutil.move(tmp_path / "b.png", photos / "b.png")
    assert featx("retry", out, "-m", colours).exit_code == 0
    assert featx("retry", out).stdout == f"{out}: the last run skipped nothing\n"
    assert embed(photos, "-m", colours, "-o", out)["cached"] == 3
    assert list(rows(out)) == names


@dataclass
class Interrupted:
    """A source in which Ctrl-C is pressed after the first item."""

    inner: Chosen
    skipped: int = 0

    def __iter__(self) -> Iterator[Item]:
        yield next(iter(self.inner))
        raise KeyboardInterrupt

    def __len__(self) -> int:
        return len(self.inner)

    def describe(self) -> dict[str, Any]:
        return self.inner.describe()


def test_a_retry_that_is_interrupted_still_lists_what_it_did_not_reach(
    tmp_path: Path, colours: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    paint(photos, [f"{i}.png" for i in range(4)])
    for name in ("1.png", "2.png"):
        (photos / name).write_text("no picture")
    embed(photos, "-m", colours, "-o", out)
    source = open_description(EmbeddingSet.open(out).manifest["source"])
    run = Run(
        Interrupted(Chosen(source, list(ledger(out)))),
        Backbone(catalog.find(str(colours))),
        out,
        policy=Policy(partial=True),
    )

    with pytest.raises(KeyboardInterrupt):
        list(run.steps())

    assert list(ledger(out)) == ["1.png", "2.png"]


def test_a_label_outlives_a_run_in_which_its_item_could_not_be_read(
    tmp_path: Path, colours: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    paint(photos, ["a.png", "b.png"])
    embed(photos, "-m", colours, "-o", out)
    (tmp_path / "labels.csv").write_text("id,label\na.png,red\nb.png,blue\n")
    assert featx("label", out, tmp_path / "labels.csv").exit_code == 0
    shutil.move(photos / "b.png", tmp_path / "b.png")
    (photos / "b.png").write_text("no picture")
    for _ in range(2):
        embed(photos, "-m", colours, "-o", out)
    shutil.move(tmp_path / "b.png", photos / "b.png")

    featx("retry", out, "-m", colours)

    assert EmbeddingSet.open(out).y.tolist() == ["red", "blue"]


def test_retry_refuses_the_texts_that_were_refused(tmp_path: Path, texts: Path) -> None:
    out = tmp_path / "x.emb"
    embed(texts, "-m", "minilm-l6", "--on-truncate", "error", "-o", out)

    result = featx("retry", out)

    assert result.exit_code == 3
    assert len(rows(out)) == 2
    assert list(ledger(out)) == ["t.txt:2"]


def test_a_file_whose_name_is_not_utf_8_is_listed_like_any_other(
    tmp_path: Path, colours: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    paint(photos, ["good.png"])
    (photos / os.fsdecode(b"bad\xff.png")).symlink_to("missing.png")

    result = embed(photos, "-m", colours, "-o", out)

    assert (result["rc"], result["items"]) == (3, 1)
    assert list(ledger(out)) == ["bad\\xff.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on-error", "fail"], "1 of 60 items could not be embedded; at most 0 are allowed"),
        (["--max-errors", "2"], "of 60 items could not be embedded; at most 2 are allowed"),
        (["--max-errors", "5%"], "of 60 items could not be embedded; at most 5% are allowed"),
    ],
)
def test_too_many_errors_end_the_run_and_what_is_done_stays(
    tmp_path: Path, colours: Path, options: list[str], message: str
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos.emb"
    names = [f"{i:02d}.png" for i in range(60)]
    X = paint(photos, names)
    wrong = names[50:] if options[0] != "--on-error" else names[59:]
    for name in wrong:
        (photos / name).write_text("no picture")

    result = featx("embed", photos, "-m", colours, "-o", out, *options)

    assert result.exit_code == 1
    assert message in result.stderr
    assert "first problem: " + wrong[0] in result.stderr
    np.testing.assert_allclose(list(rows(out).values()), X[: 60 - len(wrong)], atol=1e-6)


def test_errors_below_the_limit_are_only_listed(tmp_path: Path, colours: Path) -> None:
    photos = tmp_path / "photos"
    paint(photos, ["a.png", "b.png"])
    (photos / "b.png").write_text("no picture")

    result = embed(photos, "-m", colours, "-o", tmp_path / "x.emb", "--max-errors", "50%")

    assert (result["rc"], result["items"], result["errors"]) == (3, 1, 1)


def test_shards_together_are_the_whole(tmp_path: Path, colours: Path) -> None:
    photos = tmp_path / "photos"
    paint(photos, [f"{i}.png" for i in range(10)])
    parts = [tmp_path / f"{i}.emb" for i in (1, 2, 3)]

    for number, part in enumerate(parts, start=1):
        embed(photos, "-m", colours, "-o", part, "--shard", f"{number}/3")
    merged = featx("merge", *parts, "-o", tmp_path / "merged.emb")
    embed(photos, "-m", colours, "-o", tmp_path / "whole.emb")

    assert merged.exit_code == 0
    assert [len(rows(part)) for part in parts] == [3, 3, 4]
    assert list(rows(tmp_path / "merged.emb").items()) == list(rows(tmp_path / "whole.emb").items())


def test_rows_that_are_gone_from_the_source_are_counted(tmp_path: Path, colours: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "x.emb"
    paint(photos, ["a.png", "b.png", "c.png"])
    embed(photos, "-m", colours, "-o", out)
    (photos / "a.png").unlink()
    paint(photos, ["b.png", "d.png"], seed=3)

    result = embed(photos, "-m", colours, "-o", out)

    assert (result["items"], result["embedded"], result["removed"]) == (3, 2, 1)
    (photos / "d.png").unlink()
    assert ", 1 removed, " in featx("embed", photos, "-m", colours, "-o", out).stdout


def test_retry_of_a_run_that_embedded_nothing_says_what_to_do(
    tmp_path: Path, colours: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("no picture")
    featx("embed", tmp_path / "photos", "-m", colours, "-o", tmp_path / "x.emb")

    result = featx("retry", tmp_path / "x.emb", "-m", colours)

    assert result.exit_code == 1
    assert "run its embed command again" in result.stderr


def test_a_limit_is_a_limit(tmp_path: Path, colours: Path) -> None:
    paint(tmp_path / "photos", [f"{i}.png" for i in range(5)])

    embed(tmp_path / "photos", "-m", colours, "-o", tmp_path / "x.emb", "--limit", "2")

    assert list(rows(tmp_path / "x.emb")) == ["0.png", "1.png"]


def test_a_dry_run_says_what_there_is_and_makes_nothing(tmp_path: Path, colours: Path) -> None:
    paint(tmp_path / "photos", ["cats/1.png", "cats/2.png", "dogs/1.png"])
    (tmp_path / "photos" / "notes.doc").touch()

    result = featx("embed", tmp_path / "photos", "-m", colours, "--dry-run")
    printed = featx("embed", tmp_path / "photos", "-m", colours, "--dry-run", "--json").stdout

    assert result.stdout.splitlines()[:2] == [
        "3 items; 1 other files: 1 .doc",
        "2 labels: cats 2, dogs 1",
    ]
    assert json.loads(printed)["labels"] == {"cats": 2, "dogs": 1}
    assert not list(tmp_path.glob("*.emb"))


def test_a_file_that_is_changed_behind_its_time_stamp_is_found_with_verify(
    tmp_path: Path, colours: Path, cache: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "x.emb"
    X = paint(photos, ["a.png", "b.png"])
    for path in photos.iterdir():
        os.utime(path, (1, 1))
    embed(photos, "-m", colours, "-o", out)
    index = StatIndex(cache)
    (before,) = index.look([photos / "a.png"])
    Y = paint(photos, ["a.png"], seed=1)
    os.utime(photos / "a.png", (1, 1))
    (after,) = index.look([photos / "a.png"])
    assert before.digest is not None
    # As if size, times and inode were those of the old file.
    index.remember([(photos / "a.png", after.stat, before.digest)])
    index.close()

    trusting = embed(photos, "-m", colours, "-o", out)
    old = rows(out)["a.png"]
    verified = embed(photos, "-m", colours, "-o", out, "--verify")

    assert (trusting["embedded"], verified["embedded"]) == (0, 1)
    np.testing.assert_allclose(old, X[0], atol=1e-6)
    np.testing.assert_allclose(rows(out)["a.png"], Y[0], atol=1e-6)


def test_stats_say_where_the_time_went(tmp_path: Path, colours: Path) -> None:
    paint(tmp_path / "photos", [f"{i}.png" for i in range(20)])
    arguments: list[str | Path] = [
        "embed",
        tmp_path / "photos",
        "-m",
        colours,
        "-o",
        tmp_path / "x.emb",
        "--stats",
    ]

    told = featx(*arguments, "--no-cache").stderr
    shutil.rmtree(tmp_path / "x.emb")
    stats = json.loads(featx(*arguments, "--no-cache", "--json").stdout)["stats"]

    assert "wait-decode" in told
    assert "advice: " in told
    assert stats["cost"] == stats["padded_cost"] == 20
    assert stats["batches"] >= 3


def test_a_batch_size_is_the_largest_batch(tmp_path: Path, colours: Path) -> None:
    paint(tmp_path / "photos", [f"{i}.png" for i in range(20)])

    result = embed(
        tmp_path / "photos", "-m", colours, "-o", tmp_path / "x.emb", "--batch-size", "1", "--stats"
    )

    assert result["stats"]["batches"] == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "expected auto, or a number of 1 or more"),
        (["--max-errors", "many"], "expected a number such as 20, or a share such as 5%"),
        (["--shard", "3/2"], "shard '3/2': out of range"),
        (["--on-truncate", "chunk"], "chunks are for texts"),
        (["--precision", "int4"], "'int4' is not one of"),
        (["--loaders", "0"], "0 is not in the range"),
    ],
)
def test_bad_options_are_refused(
    tmp_path: Path, colours: Path, options: list[str], message: str
) -> None:
    paint(tmp_path / "photos", ["a.png"])

    result = featx("embed", tmp_path / "photos", "-m", colours, "-o", tmp_path / "x.emb", *options)

    assert result.exit_code in {1, 2}
    assert message in result.stderr
    assert not (tmp_path / "x.emb").exists()


def test_fast_preprocessing_is_for_images(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a text\n")

    result = featx(
        "embed", tmp_path / "t.txt", "-m", "minilm-l6", "-o", tmp_path / "x.emb",
        "--preprocess", "fast",
    )  # fmt: skip

    assert result.exit_code == 1
    assert "fast preprocessing is for images, not for text" in result.stderr


def test_two_kinds_of_preprocessing_do_not_mix_in_one_set(tmp_path: Path, colours: Path) -> None:
    paint(tmp_path / "photos", ["a.png"])
    arguments: list[str | Path] = [
        "embed",
        tmp_path / "photos",
        "-m",
        colours,
        "-o",
        tmp_path / "x.emb",
    ]
    featx(*arguments)

    result = featx(*arguments, "--preprocess", "fast")

    assert result.exit_code == 1
    assert "made with other settings" in result.stderr


LONG = "word " * 300


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "t.txt"
    path.write_text(f"a short one\n{LONG}\nanother\n")
    return path


def test_long_texts_are_cut_and_counted_by_default(tmp_path: Path, texts: Path) -> None:
    result = embed(texts, "-m", "minilm-l6", "-o", tmp_path / "x.emb")

    assert (result["rc"], result["items"], result["truncated"]) == (0, 3, 1)
    table = EmbeddingSet.open(tmp_path / "x.emb").items
    assert table.column("truncated").to_pylist() == [False, True, False]
    assert table.column("n_tokens").to_pylist()[1] == 302


def test_long_texts_can_be_refused_wherever_their_vector_would_come_from(
    tmp_path: Path, texts: Path
) -> None:
    refuse = ["-m", "minilm-l6", "--on-truncate", "error"]

    computed = embed(texts, *refuse, "-o", tmp_path / "1.emb")
    embed(texts, "-m", "minilm-l6", "-o", tmp_path / "2.emb")
    cached = embed(texts, *refuse, "-o", tmp_path / "3.emb")
    kept = embed(texts, *refuse, "-o", tmp_path / "2.emb")

    for result in (computed, cached, kept):
        assert (result["rc"], result["items"], result["errors"]) == (3, 2, 1)
    assert len(rows(tmp_path / "2.emb")) == 2
    assert "302 tokens; the model takes 256" in ledger(tmp_path / "1.emb")["t.txt:2"]


def test_long_texts_can_be_averaged_over_their_chunks(tmp_path: Path, texts: Path) -> None:
    result = embed(texts, "-m", "minilm-l6", "-o", tmp_path / "x.emb", "--on-truncate", "chunk")

    assert (result["rc"], result["truncated"]) == (0, 0)
    assert EmbeddingSet.open(tmp_path / "x.emb").manifest["model"]["adjusted"] == {
        "overflow": "chunk"
    }


def test_two_runs_into_one_set_do_not_mix(tmp_path: Path, texts: Path) -> None:
    from featx.data.writer import SetWriter

    out = tmp_path / "x.emb"
    with SetWriter(out, model=Backbone(catalog.find("minilm-l6")).facts):
        result = featx("embed", texts, "-m", "minilm-l6", "-o", out)

    assert result.exit_code == 1
    assert "another process is writing to it" in result.stderr
    assert embed(texts, "-m", "minilm-l6", "-o", out)["items"] == 3


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path: Path, texts: Path) -> None:
    (tmp_path / "file").touch()

    result = featx(
        "embed", texts, "-m", "minilm-l6", "-o", tmp_path / "x.emb",
        "--cache-dir", tmp_path / "file" / "cache",
    )  # fmt: skip

    assert result.exit_code == 0
    assert "note: " in result.stderr
    assert len(rows(tmp_path / "x.emb")) == 3
