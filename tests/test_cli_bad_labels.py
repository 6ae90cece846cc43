"""Labels that users get wrong: one line, and what can be used is used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import featx
from command_line import call, done, refused

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a set of two clusters in four dimensions and a head."""
    folder = tmp_path_factory.mktemp("clusters")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4)) + np.repeat([[0.0], [5.0]], 10, axis=0)
    np.savez(folder / "x.npz", X=X, y=np.repeat(["a", "b"], 10))
    done("embed", folder / "x.npz", "-m", "identity", "-o", folder / "x.emb")
    done("train", folder / "x.emb", "-o", folder / "x.head", "--head", "ridge")
    return folder


def test_one_class_only_cannot_be_trained(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=np.eye(4), y=["a"] * 4)
    done("embed", tmp_path / "x.npz", "-m", "identity", "-o", tmp_path / "x.emb")
    line = refused("train", tmp_path / "x.emb", "-o", tmp_path / "x.head")
    assert "hold one class, 'a'; expected two classes or more" in line
    assert not (tmp_path / "x.head").exists()


def test_no_labels_are_answered_with_the_command_that_adds_them(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(4))
    done("embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb")
    line = refused("train", tmp_path / "x.emb", "-o", tmp_path / "x.head")
    assert line.endswith("no labels; run: featx label SET labels.csv")


def test_a_class_with_one_item_is_noted_and_trained(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", X=rng.normal(size=(8, 4)), y=["a"] * 7 + ["lonely"])
    done("embed", tmp_path / "x.npz", "-m", "identity", "-o", tmp_path / "x.emb")
    result = call("train", tmp_path / "x.emb", "-o", tmp_path / "x.head")
    assert result.exit_code == 0
    assert "note: 1 class has fewer than 5 items: lonely (1);" in result.stderr
    assert featx.load_head(tmp_path / "x.head").classes == ("a", "lonely")


def test_spaces_around_a_label_are_no_part_of_it(clusters: Path, tmp_path: Path) -> None:
    target = shutil.copytree(clusters / "x.emb", tmp_path / "x.emb")
    table = tmp_path / "l.csv"
    table.write_text("id,label\nx.npz:1, a\nx.npz:2,b \nx.npz:3,  \n", encoding="utf-8")

    done("label", target, table)

    assert featx.open(target).y.tolist()[:4] == ["a", "b", None, "a"]


def test_labels_of_unknown_ids_are_listed_and_the_others_applied(
    clusters: Path, tmp_path: Path
) -> None:
    target = shutil.copytree(clusters / "x.emb", tmp_path / "x.emb")
    table = tmp_path / "l.csv"
    table.write_text("id,label\nx.npz:1,new\nnobody,new\n", encoding="utf-8")
    result = call("label", target, table)
    assert result.exit_code == 3
    assert result.stderr.startswith("skipped nobody: names no item of ")
    assert featx.open(target).y[:2].tolist() == ["new", "a"]
    table.write_text("id,label\nnobody,new\n", encoding="utf-8")
    assert call("label", target, table).exit_code == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("l.csv", b"ident,label\na,x\n", "no column 'id'; columns: ident, label"),
        ("l.csv", b"id,lable\na,x\n", "no column 'label' or 'split'; did you mean 'lable'?"),
        ("l.csv", b"", "empty; the first line must name the columns"),
        ("l.csv", b"id,label\n", "holds no rows; at least one is needed"),
        ("l.csv", b"id,label\na,x\na,y\n", "row 2: id 'a' is also in row 1"),
        ("l.csv", b"id,split\na,trian\n", "row 1: unknown split 'trian'"),
        ("l.parquet", b"abc", "not a parquet file"),
        ("l.xlsx", b"abc", "expected a csv, tsv, jsonl or parquet table"),
    ],
)
def test_label_tables_that_cannot_be_used_are_refused(
    clusters: Path, tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    line = refused("label", clusters / "x.emb", path)
    assert line.startswith(f"{path}: ")
    assert problem in line


def test_rows_of_a_label_table_that_cannot_be_used_are_skipped(
    clusters: Path, tmp_path: Path
) -> None:
    target = shutil.copytree(clusters / "x.emb", tmp_path / "x.emb")
    table = tmp_path / "l.csv"
    table.write_bytes(b"id,label\nx.npz:1,new\nx.npz:2,c,d\nx.npz:3,\xff\n,new\n")
    result = call("label", target, table, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "changed": 1,
        "unknown": 0,
        "errors": 3,
        "out": str(target),
    }
    assert result.stderr.splitlines() == [
        f"skipped {table}: row 2: 3 fields; the header has 2",
        f"skipped {table}: row 3: not UTF-8",
        f"skipped {table}: row 4: 'id' is empty; each row needs an id",
    ]
    assert featx.open(target).y[:3].tolist() == ["new", "a", "a"]


def test_class_folders_label_by_file_name_unless_two_claim_one_item(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("a", "b", "c"):
        np.save(flat / f"{name}.npy", np.ones(3))
    done("embed", flat, "-m", "identity", "-o", tmp_path / "x.emb")
    for place in ("cats/a", "dogs/b", "cats/c", "dogs/c"):
        (tmp_path / "sorted" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sorted" / f"{place}.npy").write_bytes(b"")
    result = call("label", tmp_path / "x.emb", tmp_path / "sorted")
    assert result.exit_code == 3
    assert [line.split()[1] for line in result.stderr.splitlines()] == [
        "cats/c.npy:",
        "dogs/c.npy:",
    ]
    assert featx.open(tmp_path / "x.emb").y.tolist() == ["cats", "dogs", None]


def test_labels_that_a_head_does_not_know_are_noted(clusters: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "y.npz", X=np.full((2, 4), 5.0) + np.eye(2, 4), y=["b", "c"])
    done("embed", tmp_path / "y.npz", "-m", "identity", "-o", tmp_path / "y.emb")
    result = call("evaluate", clusters / "x.head", tmp_path / "y.emb")
    assert result.exit_code == 0
    assert "note: the head knows no c" in result.stderr.splitlines()
    assert result.stdout.splitlines()[1].split()[:2] == ["accuracy", "0.500"]
