"""What ``featx predict`` says of items, in each form and of each task."""

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import featx
from command_line import call, done, objects
from featx.backbone.backbone import Backbone, identity
from featx.cli.predictions import choose_form, writing_rows
from featx.errors import InputError
from featx.export.files import save_joblib, save_skops
from featx.heads.conformal import Conformal
from featx.heads.headfile import save_head
from featx.heads.novelty import fit_novelty
from featx.heads.predict import Head
from featx.types import Vectors

pytestmark = pytest.mark.usefixtures("own_cache")

DIM = 3
IDS = ["v.npy:1", "v.npy:2", "v.npy:3", "v.npy:4"]
# Near the first class, near the second, between them, and far from all.
ROWS = np.array([[3, 0, 0], [0, 3, 0], [1, 1, 0], [0, 0, 99]], dtype=np.float32)


def training_rows() -> tuple[Vectors, Any]:
    codes = np.arange(60) % 2
    noise = np.random.default_rng(0).normal(size=(60, DIM)) * 0.3
    return (3 * np.eye(DIM)[codes] + noise).astype(np.float32), codes


def class_head(**changes: Any) -> Head:  # noqa: ANN401
    backbone = Backbone(identity(DIM))
    settings: dict[str, Any] = {
        "kind": "logreg",
        "classes": ("ant", "b,ee|"),
        "arrays": {"coef": np.eye(2, DIM, dtype=np.float32), "intercept": np.zeros(2, np.float32)},
        "conformal": Conformal(method="lac", coverage=0.9, quantiles=np.array([0.2])),
        "novelty": fit_novelty(*training_rows(), n_classes=2),
        "header": {
            "fingerprint": backbone.fingerprint,
            "space": backbone.space,
            "model": "identity",
        },
    }
    return Head(**(settings | changes))


def tag_head() -> Head:
    calibration = {"scale": np.ones(2), "shift": np.zeros(2)}
    head = class_head(task="multilabel", conformal=None)
    return replace(head, arrays={**head.arrays, **calibration})


def value_head() -> Head:
    head = class_head(task="regress", conformal=None, novelty=None)
    return replace(head, arrays={**head.arrays, "spread": np.array([0.5, 2.0])})


HEADS = {"classify": class_head, "multilabel": tag_head, "regress": value_head}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with vectors, a set of them and a head of each task."""
    np.save(tmp_path / "v.npy", ROWS)
    for task, make in HEADS.items():
        save_head(tmp_path / f"{task}.head", make())
    done("embed", tmp_path / "v.npy", "-m", "identity", "-o", tmp_path / "v.emb")
    return tmp_path


def test_classes_are_told_with_probability_set_and_flag(folder: Path) -> None:
    rows = objects(done("predict", folder / "classify.head", folder / "v.npy", "--json"))

    odds = np.exp([3.0, 3.0, 0.0, 0.0])
    assert [list(row) for row in rows] == [["id", "label", "probability", "set", "novel"]] * 4
    assert [row["id"] for row in rows] == IDS
    assert [row["label"] for row in rows] == ["ant", "b,ee|", "ant", "ant"]
    assert [row["probability"] for row in rows] == pytest.approx(odds / (1 + odds), abs=1e-6)
    assert [row["set"] for row in rows] == [["ant"], ["b,ee|"], [], []]
    assert [row["novel"] for row in rows] == [False, False, True, True]


def test_tags_are_told_with_all_probabilities(folder: Path) -> None:
    rows = objects(done("predict", folder / "multilabel.head", folder / "v.npy", "--json"))

    assert [list(row) for row in rows] == [["id", "tags", "probabilities", "novel"]] * 4
    assert [row["tags"] for row in rows] == [["ant"], ["b,ee|"], ["ant", "b,ee|"], []]
    assert rows[0]["probabilities"] == {"ant": pytest.approx(0.952574), "b,ee|": 0.5}
    assert rows[3]["novel"] is True


def test_values_are_told_with_intervals(folder: Path) -> None:
    rows = objects(done("predict", folder / "regress.head", folder / "v.npy", "--json"))

    assert [list(row) for row in rows] == [["id", "values", "intervals", "novel"]] * 4
    assert rows[0] == {
        "id": "v.npy:1",
        "values": [3.0, 0.0],
        "intervals": [[2.5, 3.5], [-2.0, 2.0]],
        "novel": None,
    }


@pytest.mark.parametrize("task", HEADS)
def test_every_form_tells_the_same(task: str, folder: Path) -> None:
    head, source = folder / f"{task}.head", folder / "v.npy"
    rows = objects(done("predict", head, source, "--json"))

    for suffix in ("jsonl", "csv", "parquet"):
        result = call("predict", head, source, "-o", folder / f"out.{suffix}")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == f"{folder / f'out.{suffix}'}: 4 items\n"

    assert objects((folder / "out.jsonl").read_text(encoding="utf-8")) == rows
    assert pq.read_table(folder / "out.parquet").to_pylist() == rows
    text = (folder / "out.csv").read_text(encoding="utf-8")
    assert done("predict", head, source, "--format", "csv") == text
    for read, row in zip(csv.DictReader(StringIO(text)), rows, strict=True):
        assert read["id"] == row["id"]
        assert read["novel"] == {True: "true", False: "false", None: ""}[row["novel"]]
        if task == "classify":
            assert read["set"] == "|".join(row["set"])
            assert (read["label"], float(read["probability"])) == (row["label"], row["probability"])
        elif task == "multilabel":
            assert read["tags"] == "|".join(row["tags"])
            assert float(read["probability:b,ee|"]) == row["probabilities"]["b,ee|"]
        else:
            assert [float(read[f"value:{name}"]) for name in ("ant", "b,ee|")] == row["values"]
            assert [float(read[f"{end}:ant"]) for end in ("low", "high")] == row["intervals"][0]
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("task", "lines"),
    [
        (
            "classify",
            [
                "id       label  probability  set        novel",
                "v.npy:1  ant    0.953        {ant}      no",
                "v.npy:2  b,ee|  0.953        {b,ee|}    no",
                "v.npy:3  ant    0.500        none fits  yes",
                "v.npy:4  ant    0.500        none fits  yes",
            ],
        ),
        (
            "multilabel",
            [
                "id       tags                     novel",
                "v.npy:1  ant 0.953                no",
                "v.npy:2  b,ee| 0.953              no",
                "v.npy:3  ant 0.731, b,ee| 0.731   yes",
                "v.npy:4  none                     yes",
            ],
        ),
        (
            "regress",
            [
                "id       values                            novel",
                "v.npy:1  ant 3 [2.5, 3.5], b,ee| 0 [-2, 2]  -",
                "v.npy:2  ant 0 [-0.5, 0.5], b,ee| 3 [1, 5]  -",
                "v.npy:3  ant 1 [0.5, 1.5], b,ee| 1 [-1, 3]  -",
                "v.npy:4  ant 0 [-0.5, 0.5], b,ee| 0 [-2, 2]  -",
            ],
        ),
    ],
)
def test_people_read_a_table(task: str, lines: list[str], folder: Path) -> None:
    text = done("predict", folder / f"{task}.head", folder / "v.npy", "--format", "table")

    assert [line.split() for line in text.splitlines()] == [line.split() for line in lines]
    if task == "classify":
        assert text.splitlines() == lines


def test_the_form_follows_the_file_or_the_reader() -> None:
    assert choose_form(None, None, is_terminal=True) == "table"
    assert choose_form(None, None, is_terminal=False) == "csv"
    assert choose_form("jsonl", None, is_terminal=True) == "jsonl"
    assert choose_form(None, Path("x.PARQUET"), is_terminal=True) == "parquet"
    assert choose_form("csv", Path("x.csv"), is_terminal=True) == "csv"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "parquet"), "--format parquet: needs a file; add -o FILE.parquet"),
        (("-o", "x.txt"), "x.txt: unknown suffix '.txt'; expected .csv, .jsonl or .parquet"),
        (("-o", "x.table"), "x.table: unknown suffix '.table'"),
        (("-o", "classify.head"), "classify.head: unknown suffix '.head'"),
        (("-o", "x.csv", "--format", "jsonl"), "--format jsonl wants a name that ends in .jsonl"),
        (("-o", "x.csv", "--json"), "--format jsonl wants a name that ends in .jsonl"),
        (("-o", "no/x.csv"), "No such file or directory"),
    ],
)
def test_a_file_that_will_not_do_is_refused(
    options: tuple[str, ...], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())

    result = call("predict", "classify.head", "v.npy", *options)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_file_that_is_read_is_not_written_over(folder: Path) -> None:
    table = folder / "paths.csv"
    table.write_text("array\nv.npy\n", encoding="utf-8")

    result = call("predict", folder / "classify.head", table, "-o", table)

    assert result.exit_code == 1
    assert "is read by this command; choose another name" in result.stderr
    assert table.read_text(encoding="utf-8") == "array\nv.npy\n"


def test_a_set_is_predicted_window_by_window_as_its_vectors(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(700, DIM)).astype(np.float32)
    np.save(tmp_path / "v.npy", X)
    head = class_head(conformal=Conformal(method="aps", coverage=0.9, quantiles=np.array([0.6])))
    save_head(tmp_path / "x.head", head)
    done("embed", tmp_path / "v.npy", "-m", "identity", "-o", tmp_path / "v.emb")

    done("predict", tmp_path / "x.head", tmp_path / "v.emb", "-o", tmp_path / "out.parquet")

    opened = featx.open(tmp_path / "v.emb")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    said = head.predict(np.asarray(opened.X), ids=opened.ids)
    assert [row["id"] for row in rows] == opened.ids
    assert [row["label"] for row in rows] == [item.label for item in said]
    assert [tuple(row["set"]) for row in rows] == [item.set for item in said]
    assert [row["novel"] for row in rows] == [item.novel for item in said]
    assert {len(item.set) for item in said} == {0, 1, 2}


def test_skipped_items_are_named_and_the_rest_is_written(folder: Path) -> None:
    spoilt = ROWS.copy()
    spoilt[1, 1] = np.nan
    np.save(folder / "v.npy", spoilt)

    some = call("predict", folder / "classify.head", folder / "v.npy", "-o", folder / "x.csv")
    np.save(folder / "v.npy", spoilt[1:2])
    none = call("predict", folder / "classify.head", folder / "v.npy", "-o", folder / "y.csv")

    assert some.exit_code == 3
    assert "skipped v.npy:2: " in some.stderr
    rows = csv.DictReader(StringIO((folder / "x.csv").read_text(encoding="utf-8")))
    assert [row["id"] for row in rows] == ["v.npy:1", "v.npy:3", "v.npy:4"]
    assert none.exit_code == 1
    assert "y.csv: not written, since no item could be read" in none.stderr
    assert not (folder / "y.csv").exists()


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"old")

    def stop() -> None:
        with writing_rows(class_head(), "parquet", tmp_path / "x.parquet") as write:
            write([{"id": "a", "label": "ant", "probability": 1, "set": ["ant"], "novel": None}])
            raise InputError("stop")

    with pytest.raises(InputError, match="stop"):
        stop()

    (path,) = tmp_path.iterdir()
    assert (path.name, path.read_bytes()) == ("x.parquet", b"old")


def test_exported_heads_predict_too(folder: Path) -> None:
    head = class_head()
    save_skops(folder / "x.skops", head)
    save_joblib(folder / "x.joblib", head)
    rows = objects(done("predict", folder / "classify.head", folder / "v.npy", "--json"))

    safe = objects(done("predict", folder / "x.skops", folder / "v.npy", "--json"))
    pickled = done("predict", folder / "x.joblib", folder / "v.npy", "--json", "--unsafe-pickle")
    refused = call("predict", folder / "x.joblib", folder / "v.npy", "--json")

    assert safe == [{**row, "novel": None} for row in rows]
    assert objects(pickled) == safe
    assert refused.exit_code == 1
    assert "if you trust whoever made it, add --unsafe-pickle" in refused.stderr
