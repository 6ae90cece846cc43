"""``featx label-next``: a table to fill in, round by round, from no labels on."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

import featx
from command_line import call, done, refused
from memory_set import digits

pytestmark = pytest.mark.usefixtures("own_cache")

ROUNDS, STEP = 5, 20
TEXTS = {
    "sport": ["the goal in overtime won it", "a striker was sold", "the match ended in a draw"],
    "cooking": ["simmer the onions in butter", "whisk three eggs", "bake it for an hour"],
}


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """Give a set of digits without labels."""
    np.savez(tmp_path / "x.npz", X=digits(300).X)
    done("embed", tmp_path / "x.npz", "-m", "identity", "-o", tmp_path / "x.emb")
    return tmp_path / "x.emb"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Give a set of texts without labels."""
    rows = [f"{name}{n},{text}" for name, each in TEXTS.items() for n, text in enumerate(each)]
    (tmp_path / "t.csv").write_text("\n".join(["id,text", *rows]) + "\n", encoding="utf-8")
    done("embed", tmp_path / "t.csv", "-m", "minilm-l6", "-o", tmp_path / "t.emb")
    return tmp_path / "t.emb"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fill_in(path: Path, truth: dict[str, str]) -> None:
    rows = table(path)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "label": truth[row["id"]]} for row in rows)


def test_five_rounds_of_asking_labelling_and_training(numbers: Path, tmp_path: Path) -> None:
    ids, y = featx.open(numbers).ids, digits(300).y
    truth = dict(zip(ids, y.tolist(), strict=True))
    asked: list[str] = []
    for number in range(ROUNDS):
        given = ("--head", tmp_path / "x.head") if number else ()
        out = tmp_path / "next.csv"
        done("label-next", numbers, "-n", STEP, "-o", out, *given, "--quiet")
        assert all(row["label"] == "" for row in table(out))
        asked += [row["id"] for row in table(out)]
        fill_in(out, truth)
        done("label", numbers, out)
        report = json.loads(done("train", numbers, "-o", tmp_path / "x.head", "--json"))
        assert len(set(asked)) == STEP * (number + 1)
        assert report["duplicates"]["distinct"] <= report["n"] <= STEP * (number + 1)

    assert report["classes"] == 10
    rest = [row for row, item in enumerate(ids) if item not in set(asked)]
    head = featx.load_head(tmp_path / "x.head")
    winners = head.logits(featx.open(numbers).X[rest]).argmax(axis=1)
    assert np.mean(np.array(head.classes)[winners] == y[rest].astype(str)) > 0.85


def test_json_is_one_object(numbers: Path, tmp_path: Path) -> None:
    (line,) = done("label-next", numbers, "-n", 3, "--json").splitlines()

    report = json.loads(line)
    assert report.keys() == {"items", "by", "waiting", "labelled", "classes", "searched", "out"}
    assert [each.keys() for each in report["items"]] == [{"id", "suggested", "margin", "item"}] * 3
    assert (report["by"], report["waiting"], report["labelled"]) == ("typical", 300, 0)
    assert report["items"][0] | {"id": "", "item": ""} == {
        "id": "", "suggested": None, "margin": None, "item": "",
    }  # fmt: skip
    assert report["out"] is None


def test_items_are_shown_with_what_was_looked_for(numbers: Path) -> None:
    lines = done("label-next", numbers, "-n", 2).splitlines()

    assert lines[0].split() == ["id", "suggested", "margin"]
    assert [line.split()[1:3] for line in lines[1:3]] == [["-", "-"]] * 2
    assert lines[3] == (
        f"{numbers}: 2 of 300 items without a label, typical of many, unlike each other;"
        " 0 have one, of 0 classes"
    )


def test_names_of_classes_suggest_labels_before_there_are_any(texts: Path, tmp_path: Path) -> None:
    names = [part for name in TEXTS for part in ("--class", name)]
    note = "featx zeroshot"
    assert note in call("label-next", texts, "-n", 2).stderr
    done("zeroshot", texts, "-o", tmp_path / "z.head", *names)

    result = call("label-next", texts, "--head", tmp_path / "z.head", "-o", tmp_path / "next.csv")

    assert note not in result.stderr
    assert "note: 6 items left without a label, all of them here" in result.stderr
    assert f"then run: featx label {texts} {tmp_path / 'next.csv'}" in result.stderr
    rows = table(tmp_path / "next.csv")
    assert {row["id"]: row["suggested"] for row in rows} == {
        f"{name}{n}": name for name in TEXTS for n in range(3)
    }
    assert {row["item"] for row in rows} == {text for each in TEXTS.values() for text in each}
    assert all(0 <= float(row["margin"]) <= 1 for row in rows)


def test_labels_that_nobody_took_are_not_replaced(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.csv"
    done("label-next", texts, "-n", 2, "-o", out)
    done("label-next", texts, "-n", 2, "-o", out)
    fill_in(out, dict.fromkeys((row["id"] for row in table(out)), "mine"))

    line = refused("label-next", texts, "-n", 2, "-o", out)

    assert line == (
        f"{out}: 2 of its labels are not in {texts}; run: featx label {texts} {out};"
        " or choose another name"
    )
    assert {row["label"] for row in table(out)} == {"mine"}
    done("label", texts, out)
    done("label-next", texts, "-n", 2, "-o", out)
    assert {row["label"] for row in table(out)} == {""}


def test_the_table_names_items_as_featx_label_finds_them(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    names = [b"caf\xe9.npy", b"a,b.npy", b' "c" .npy', b"d\ne.npy", b"=f.npy", "é.npy".encode()]
    for name, row in zip(names, digits(6).X, strict=True):
        np.save(folder / os.fsdecode(name), row)
    done("embed", folder, "-m", "identity", "-o", tmp_path / "x.emb")
    done("label-next", tmp_path / "x.emb", "-o", tmp_path / "next.csv")
    given = {row["id"]: f"label {n}" for n, row in enumerate(table(tmp_path / "next.csv"))}
    fill_in(tmp_path / "next.csv", given)

    done("label", tmp_path / "x.emb", tmp_path / "next.csv")

    labelled = featx.open(tmp_path / "x.emb")
    assert dict(zip(labelled.ids, labelled.y.tolist(), strict=True)) == given
    assert len(given) == 6


def test_another_table_is_not_replaced(texts: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("id,label\na,b\n", encoding="utf-8")

    line = refused("label-next", texts, "-o", mine)

    assert line == f"{mine}: a file that lists no items to label is in the way; choose another name"
    assert mine.read_text(encoding="utf-8") == "id,label\na,b\n"


def test_the_end_of_the_rounds_is_no_mistake(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", X=np.eye(8, 4) + 0.1, y=["a", "b"] * 4)
    done("embed", tmp_path / "o.npz", "-m", "identity", "-o", tmp_path / "o.emb")
    command = ("label-next", tmp_path / "o.emb", "-o", tmp_path / "next.csv")

    text = call(*command)
    report = json.loads(done(*command, "--json"))

    said = f"{tmp_path / 'o.emb'}: of 8 items none is left to label: 8 have a label\n"
    assert (text.exit_code, text.stdout, text.stderr) == (0, said, "")
    assert (report["items"], report["waiting"], report["labelled"]) == ([], 0, 8)
    assert (tmp_path / "next.csv").read_text() == "id,label,suggested,margin,item\n"


def test_what_is_wrong_is_told_in_one_line(texts: Path, tmp_path: Path) -> None:
    gallery, other = tmp_path / "t.knn", tmp_path / "other"
    np.savez(other.with_suffix(".npz"), X=np.eye(8, 4), y=["a", "b"] * 4)
    done("embed", other.with_suffix(".npz"), "-m", "identity", "-o", tmp_path / "o.emb")
    done("train", tmp_path / "o.emb", "-o", tmp_path / "o.head", "--head", "centroid")
    done("index", texts, "-o", gallery)

    assert "is a gallery; name the set that it was made of" in refused("label-next", gallery)
    assert "expected .csv" in refused("label-next", texts, "-o", tmp_path / "next.txt")
    assert "no such file" in refused("label-next", texts, "--head", tmp_path / "nothing.head")
    line = refused("label-next", texts, "--head", tmp_path / "o.head")
    assert line.endswith("run: featx embed SOURCE -m identity -o OUT.emb")
    assert call("label-next", texts, "-n", 0).exit_code == 2
