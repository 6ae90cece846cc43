"""``featx inspect`` as people and programs use it."""

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import featx
from command_line import call, done, objects, refused
from featx.cli.inspect import _FINDINGS
from featx.errors import InputError
from featx.evaluate.curation.cleaned import FINDINGS, Change, write_set
from featx.types import Vectors

pytestmark = pytest.mark.usefixtures("own_cache")

N = 240
WRONG = (5, 17, 40, 90)
"""Rows of the set with a wrong label."""


def blobs() -> tuple[Vectors, NDArray[np.object_]]:
    """Give four classes that are easily told apart, no two items nearly the same."""
    rng = np.random.default_rng(0)
    codes = np.arange(N) % 4
    X = 2 * np.eye(4, 32)[codes] + 0.4 * rng.normal(size=(N, 32))
    return X.astype(np.float32), np.array([f"class {code}" for code in codes], dtype=object)


def made(folder: Path) -> Path:
    """Give blobs with four wrong labels, a row twice, and a test row that train holds too."""
    X, y = blobs()
    y[list(WRONG)] = ["class 0" if each != "class 0" else "class 1" for each in y[list(WRONG)]]
    X, y = np.concatenate([X, X[[30, 31]]]), np.concatenate([y, y[[30, 31]]])
    np.savez(folder / "x.npz", X=X, y=y.astype(str))
    done("embed", folder / "x.npz", "-m", "identity", "-o", folder / "x.emb")
    is_test = [row >= 200 and row != N for row in range(N + 2)]
    lines = [f"x.npz:{row + 1},{'test' if test else 'train'}" for row, test in enumerate(is_test)]
    (folder / "splits.csv").write_text("\n".join(["id,split", *lines]) + "\n", encoding="utf-8")
    done("label", folder / "x.emb", folder / "splits.csv")
    return folder / "x.emb"


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("spoilt"))


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def labels(path: Path) -> NDArray[np.object_]:
    return featx.open(path).y


def test_json_is_one_object_with_what_is_promised(spoilt: Path) -> None:
    (found,) = objects(done("inspect", spoilt, "--json"))

    assert found.keys() == {
        "items", "labelled", "classes", "accuracy", "interval", "distinct", "suspects",
        "clusters", "duplicates", "leaks", "outliers", "overlaps", "not_doubted", "imbalance",
        "unfit", "notes", "applied", "out",
    }  # fmt: skip
    suspects = {each["id"]: each for each in found["suspects"]}
    truth = blobs()[1]
    assert suspects.keys() == {f"x.npz:{row + 1}" for row in WRONG}
    assert suspects["x.npz:6"]["suggested"] == truth[5]
    assert suspects["x.npz:6"]["label"] == labels(spoilt)[5]
    groups = [[each["id"] for each in group["items"]] for group in found["duplicates"]]
    assert sorted(groups) == [["x.npz:31", "x.npz:241"], ["x.npz:32", "x.npz:242"]]
    assert [(leak["id"], leak["split"], leak["other"]) for leak in found["leaks"]] == [
        ("x.npz:242", "test", "x.npz:32")
    ]
    assert (found["items"], found["applied"], found["out"]) == (N + 2, 0, None)
    assert found["not_doubted"] is None


def test_people_read_headings_and_tables(spoilt: Path) -> None:
    result = call("inspect", spoilt, "-n", 2)

    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        f"{spoilt}: 242 items, 242 labelled in 4 classes of 59 (class 1) to 62 (class 0); "
    )
    at = next(i for i, line in enumerate(lines) if line.endswith("labels look wrong"))
    assert lines[at + 1].split() == ["confidence", "label", "suggested", "id"]
    assert lines[at + 4].startswith("... and ")
    assert (
        "2 groups of duplicates, 2 items too many; contents are equal in 2 groups" in result.stdout
    )
    assert "1 item of val or test is nearly in an earlier split too" in lines
    assert result.exit_code == 0


def test_a_cleaned_table_goes_through_label_and_train(spoilt: Path, tmp_path: Path) -> None:
    before = contents(spoilt)
    out = tmp_path / "clean.csv"

    text = done("inspect", spoilt, "--apply", out)

    assert contents(spoilt) == before
    rows = table(out)
    assert [row["id"] for row in rows] == featx.open(spoilt).ids
    assert all(rows[row]["label"] == "" and rows[row]["finding"] == "suspects" for row in WRONG)
    assert (rows[31]["label"], rows[31]["finding"]) == ("", "leaks")
    assert [row["given"] for row in rows] == labels(spoilt).tolist()
    kept = [row for row in rows if not row["finding"]]
    assert all(row["label"] == row["given"] for row in kept)
    assert f"look through it, then run: featx label {spoilt} {out}" in text
    assert f"\n{out}: {len(WRONG)} suspects taken out, 1 leaking item taken out\n" in text
    copy = made(tmp_path)
    done("label", copy, out)
    (again,) = objects(done("inspect", copy, "--json"))
    assert again["leaks"] == []
    assert not {f"x.npz:{row + 1}" for row in WRONG} & {each["id"] for each in again["suspects"]}
    done("train", copy, "-o", tmp_path / "x.head", "--head", "ridge")


def test_relabelled_suspects_get_what_they_probably_are(spoilt: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.csv"

    done("inspect", spoilt, "--apply", out, "--relabel", "--fix", "suspects")

    rows, truth = table(out), blobs()[1]
    assert [rows[row]["label"] for row in WRONG] == truth[list(WRONG)].tolist()
    assert {row["finding"] for row in rows} == {"", "suspects"}


def test_one_of_each_group_of_duplicates_stays_in_each_split(spoilt: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.csv"

    done("inspect", spoilt, "--apply", out, "--fix", "duplicates")

    gone = [row["id"] for row in table(out) if row["finding"]]
    assert gone == ["x.npz:241"]  # x.npz:32 is in train, its copy in test


def test_a_cleaned_set_holds_what_is_left(spoilt: Path, tmp_path: Path) -> None:
    before = contents(spoilt)
    out = tmp_path / "clean.emb"

    (found,) = objects(done("inspect", spoilt, "--apply", out, "--json"))

    old, new = featx.open(spoilt), featx.open(out)
    kept = [row for row, item_id in enumerate(old.ids) if item_id in set(new.ids)]
    assert len(old) - len(new) == found["applied"]
    assert not {*WRONG, 31} & set(kept)
    np.testing.assert_array_equal(new.X[:], old.X[kept])
    assert new.items.to_pylist() == old.items.take(kept).to_pylist()
    assert (new.space, new.fingerprint, new.finished) == (old.space, old.fingerprint, True)
    assert contents(spoilt) == before


def test_a_cleaned_set_may_have_new_labels(spoilt: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.emb"

    done("inspect", spoilt, "--apply", out, "--relabel", "--fix", "suspects")

    assert labels(out)[list(WRONG)].tolist() == blobs()[1][list(WRONG)].tolist()
    assert featx.open(out).ids == featx.open(spoilt).ids


def test_a_table_is_written_again_but_no_other_file(spoilt: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.csv"
    done("inspect", spoilt, "--apply", out)
    first = out.read_bytes()

    done("inspect", spoilt, "--apply", out)

    assert out.read_bytes() == first
    out.write_text("id,label\nprecious,1\n", encoding="utf-8")
    assert "a file that lists no findings is in the way" in refused(
        "inspect", spoilt, "--apply", out
    )
    assert out.read_text(encoding="utf-8") == "id,label\nprecious,1\n"


def test_labels_of_test_items_that_go_are_told(tmp_path: Path) -> None:
    made(tmp_path)
    place, out = tmp_path / "x.emb", tmp_path / "clean.csv"
    done("inspect", place, "--apply", out)
    rows = table(out)
    (tmp_path / "splits.csv").write_text(
        "id,split\n" + "".join(f"{row['id']},test\n" for row in rows if row["finding"]), "utf-8"
    )
    done("label", place, tmp_path / "splits.csv")

    told = call("inspect", place, "--apply", tmp_path / "again.csv").stderr

    gone = sum(bool(row["finding"]) for row in table(tmp_path / "again.csv"))
    note = f"note: {gone} labels of val or test are among them: what is measured there will look"
    assert f"{note} better" in told.splitlines()


@pytest.mark.parametrize(
    ("row", "column", "value", "problem"),
    [
        (2, "label", "mine", "1 of its label or split is not in x.emb; run: featx label x.emb"),
        (2, "label", "", "1 of its label or split is not in"),
        (5, "label", "mine", "1 of its label or split is not in"),
        (2, "split", "val", "1 of its label or split is not in"),
        (5, "label", "class 0", "a person kept 1 of the labels it doubts; choose another name"),
    ],
    ids=["another label", "no label", "another than suggested", "another split", "kept"],
)
def test_a_table_that_a_person_corrected_is_not_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: int,
    column: str,
    value: str,
    problem: str,
) -> None:
    made(tmp_path)
    monkeypatch.chdir(tmp_path)
    done("inspect", "x.emb", "--apply", "clean.csv")
    rows = table(Path("clean.csv"))
    rows[row][column] = value
    with Path("clean.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    assert problem in refused("inspect", "x.emb", "--apply", "clean.csv")

    assert table(Path("clean.csv")) == rows
    done("label", "x.emb", "clean.csv")
    if "kept" not in problem:
        done("inspect", "x.emb", "--apply", "clean.csv")


def test_a_table_names_items_as_featx_label_finds_them(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for name, row in zip([b"caf\xe9.npy", b"a,b.npy", b' "c" .npy'], blobs()[0], strict=False):
        np.save(folder / os.fsdecode(name), row)
    done("embed", folder, "-m", "identity", "-o", tmp_path / "x.emb")

    done("inspect", tmp_path / "x.emb", "--apply", tmp_path / "clean.csv")

    assert [row["id"] for row in table(tmp_path / "clean.csv")] == featx.open(
        tmp_path / "x.emb"
    ).ids
    done("label", tmp_path / "x.emb", tmp_path / "clean.csv")
    done("inspect", tmp_path / "x.emb", "--apply", tmp_path / "clean.csv")


def test_a_set_from_which_everything_would_go_is_not_made(spoilt: Path, tmp_path: Path) -> None:
    opened = featx.open(spoilt)
    everything = dict.fromkeys(range(len(opened)), Change("outliers", None))

    with pytest.raises(InputError, match="no item would be left; act on fewer findings"):
        write_set(tmp_path / "none.emb", opened, everything)
    assert not (tmp_path / "none.emb").exists()


def test_a_set_without_labels_or_splits_is_inspected(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.concatenate([blobs()[0][:60], blobs()[0][:1]]))
    done("embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb")

    result = call("inspect", tmp_path / "x.emb")

    assert "note: labels are not judged: no item has a label" in result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'x.emb'}: 61 items, none labelled\n")
    assert "1 group of duplicates, 1 item too many" in result.stdout
    assert "\nlabels are not judged: no item has a label\n" in result.stdout
    for claim in ("look wrong", "mislabelled", "taken for each other"):
        assert claim not in result.stdout
    (found,) = objects(done("inspect", tmp_path / "x.emb", "--json"))
    assert found["not_doubted"] == "labels are not judged: no item has a label"
    assert [found[name] for name in ("suspects", "clusters", "overlaps")] == [None] * 3


def test_a_gallery_is_inspected_as_its_set_is(spoilt: Path, tmp_path: Path) -> None:
    done("index", spoilt, "-o", tmp_path / "x.knn")

    (of_set,), (of_gallery,) = (
        objects(done("inspect", place, "--json")) for place in (spoilt, tmp_path / "x.knn")
    )

    assert of_gallery == of_set
    line = refused("inspect", tmp_path / "x.knn", "--apply", tmp_path / "x.emb")
    assert "is a gallery; expected a table of it, X.csv" in line


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("clean.txt", "expected a table, X.csv, or a set, X.emb"),
        ("nowhere/clean.csv", "nowhere is no folder"),
        ("x.emb", "is x.emb or lies in it"),
        ("x.emb/clean.csv", "or lies in it; choose a place outside"),
        ("there.emb", "there.emb: is there already; delete it"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is_read(
    spoilt: Path, monkeypatch: pytest.MonkeyPatch, out: str, problem: str
) -> None:
    monkeypatch.chdir(spoilt.parent)
    (spoilt.parent / "there.emb").mkdir(exist_ok=True)

    assert problem in refused("inspect", "x.emb", "--apply", out)


def test_options_that_would_do_nothing_are_a_mistake(spoilt: Path) -> None:
    for options in (["--relabel"], ["--fix", "outliers"]):
        result = call("inspect", spoilt, *options)
        assert result.exit_code == 2
        assert "add --apply FILE" in result.stderr


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    assert "not an embedding set" in refused("inspect", tmp_path / "no.emb")


def test_the_findings_of_the_option_are_all_there_are() -> None:
    assert _FINDINGS == FINDINGS
