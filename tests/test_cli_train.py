"""``featx train`` and ``featx evaluate`` as people and programs use them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from command_line import call, done, refused
from featx.heads.headfile import load_head

pytestmark = pytest.mark.usefixtures("own_cache")

TRAIN_KEYS = {
    "accuracy", "interval", "n", "baselines", "classes", "chosen", "task", "strict", "suspects",
    "duplicates", "curve", "warnings", "log_loss", "calibration_error", "set_coverage",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give sets of digits: by class, by tags, by values of two outputs, and new ones."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, numbers = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(pixels))[:320]
    pixels, numbers = pixels[rows] / 16, numbers[rows]
    labels = [f"digit {number}" for number in numbers]
    tags = [f"{'even' if n % 2 == 0 else ''}|{'big' if n > 4 else ''}" for n in numbers]
    pairs = [f"{n}|{row.mean():.3f}" for n, row in zip(numbers, pixels, strict=True)]
    for name, y in (("classes", labels), ("tags", tags), ("values", pairs)):
        embed(folder / name, pixels[:240], y[:240])
    embed(folder / "new", pixels[240:], labels[240:])
    return folder


def embed(place: Path, X: Any, y: Any) -> Path:  # noqa: ANN401 - what NumPy saves
    np.savez(place.with_suffix(".npz"), X=X, y=np.array(y))
    out = place.with_suffix(".emb")
    done("embed", place.with_suffix(".npz"), "-m", "identity", "-o", out)
    return out


def test_equal_runs_print_and_write_the_same(folder: Path, tmp_path: Path) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--seed", 3)

    first = done(*command, "--head", "lda")
    before = (tmp_path / "x.head").read_bytes()

    assert done(*command, "--head", "lda") == first
    assert (tmp_path / "x.head").read_bytes() == before


def test_what_was_tried_is_printed_with_the_chosen_one_marked(folder: Path, tmp_path: Path) -> None:
    lines = done("train", folder / "classes.emb", "-o", tmp_path / "x.head").splitlines()

    assert lines[0].split() == ["head", "accuracy", "log", "loss", "seconds", "tuned"]
    kinds = [line[3:].split()[0] for line in lines[1:6]]
    assert kinds == ["ridge", "lda", "logreg", "knn", "centroid"]
    (marked,) = [kind for kind, line in zip(kinds, lines[1:6], strict=True) if line[0] == "*"]
    assert marked == load_head(tmp_path / "x.head").kind
    assert lines[6].startswith(f"{tmp_path / 'x.head'}: {marked} (")
    assert not any("nan" in line or "np." in line or "-0.000" in line for line in lines)


def test_json_is_one_object_with_what_is_promised(folder: Path, tmp_path: Path) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--json")

    (line,) = done(*command).splitlines()

    report = json.loads(line)
    assert report.keys() >= TRAIN_KEYS
    assert report["n"] == report["duplicates"]["distinct"] == 238
    assert report["baselines"].keys() == {"majority"}
    compared = report["chosen"]["compared"]
    assert all(each.keys() == {"accuracy", "log_loss", "seconds"} for each in compared.values())
    low, high = report["interval"]
    assert low < compared[report["chosen"]["head"]]["accuracy"] == report["accuracy"] < high
    (line,) = done("evaluate", tmp_path / "x.head", folder / "new.emb", "--json").splitlines()
    assert json.loads(line).keys() >= TRAIN_KEYS - {
        "task", "strict", "suspects", "duplicates", "curve", "warnings",
    }  # fmt: skip


def test_tags_are_trained_scored_and_shown(folder: Path, tmp_path: Path) -> None:
    head = tmp_path / "x.head"

    text = done("train", folder / "tags.emb", "-o", head, "--task", "multilabel")

    assert text.splitlines()[0].split()[1:3] == ["hamming", "loss"]
    assert ", 2 tags, 240 of 240 rows used" in text
    report = json.loads(
        done("train", folder / "tags.emb", "-o", head, "--task", "multilabel", "--json")
    )
    assert report["micro_f1"] > 0.85 > report["baselines"]["majority"]
    assert report["task"] == "multilabel"
    assert load_head(head).classes == ("big", "even")


def test_values_are_trained_scored_and_shown(folder: Path, tmp_path: Path) -> None:
    head = tmp_path / "x.head"

    text = done("train", folder / "values.emb", "-o", head, "--task", "regress")

    lines = text.splitlines()
    assert lines[0].endswith("2 outputs, 240 of 240 rows used")
    assert lines[1].split()[0] == "r2"
    assert [line[:22].strip() for line in lines[2:]] == [
        "mean", "mae", "rmse", "spearman", "interval coverage", "interval width",
    ]  # fmt: skip
    assert "error" in call("evaluate", head, folder / "new.emb").stderr


def test_one_output_is_one(folder: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(30, 3))
    place = embed(tmp_path / "one", X, [f"{row.sum():.3f}" for row in X])

    text = done("train", place, "-o", tmp_path / "x.head", "--task", "regress")

    assert ", 1 output, " in text
    done("evaluate", tmp_path / "x.head", embed(tmp_path / "two", X[:1] + 1, ["7.5"]), "--json")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--task", "regress"], "label 'digit "),
        (["--task", "regress", "--head", "logreg"], "head 'logreg': cannot do the task regress"),
        (["--task", "multilabel", "--head", "sklearn:svm.SVC"], "cannot do the task multilabel"),
        (["--task", "multilabel", "--curve"], "curve: task 'multilabel' has no accuracy"),
        (["--task", "multilabel", "--suspects", "s.csv"], "--suspects: the task multilabel has no"),
        (["--suspects", "x.head"], "--suspects: x.head is where the head goes"),
        (["--suspects", "nowhere/s.csv"], "nowhere/s.csv: nowhere is no folder"),
        (["--suspects", "."], ".: a folder is in the way"),
        (["--head", "sklearn:nonsense"], "unknown scikit-learn estimator 'nonsense'"),
        (["--head", "sklearn:svm.SVR"], "sklearn:svm.SVR is a regressor"),
        (["--head", "sklearn"], "unknown head 'sklearn'; did you mean 'sklearn:NAME'?"),
        (
            ["--strict", "--coverage", "0.99"],
            "make the sets or intervals; coverage 0.99 needs 99 or more",
        ),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert problem in refused("train", folder / "classes.emb", "-o", "x.head", *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [["--coverage", "1.5"], ["--coverage", "0"], ["--conformal", "raps"], ["--task", "x"]],
)
def test_options_out_of_range_are_usage_errors(
    folder: Path, tmp_path: Path, options: list[str]
) -> None:
    result = call("train", folder / "classes.emb", "-o", tmp_path / "x.head", *options)

    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.stderr


def test_thirty_rows_are_too_few_for_a_curve(folder: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(30, 9))
    place = embed(tmp_path / "x", X, ["a", "b"] * 15)

    line = refused("train", place, "-o", tmp_path / "x.head", "--curve")

    assert line.startswith("curve: 30 different rows of 2 classes; needs 40 or more")


def test_a_curve_is_printed(folder: Path, tmp_path: Path) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--head", "ridge")

    lines = done(*command, "--curve").splitlines()

    start = lines.index("labels  accuracy  of fifths")
    assert [line.split()[0] for line in lines[start + 1 : -1]] == ["20", "30", "60", "119", "190"]
    assert lines[-1].startswith("with 476 labels instead of 238 expect 0.")


def test_labels_that_look_wrong_are_written(folder: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3)) + np.repeat([[0.0], [9.0]], 30, axis=0)
    labels = np.repeat(["a", "b"], 30)
    labels[4] = "b"
    place = embed(tmp_path / "x", X, labels)

    command = ("train", place, "-o", tmp_path / "x.head", "--head", "ridge")
    result = call(*command, "--suspects", tmp_path / "s.csv")

    rows = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "id,label,suggested,confidence"
    assert [row.rpartition(",")[0] for row in rows[1:]] == ["x.npz:5,b,a"]
    assert f"1 label looks wrong, first x.npz:5: 'b', rather 'a'; listed in {tmp_path}" in (
        result.stderr
    )
    assert call(*command, "--quiet").stderr == ""


def test_a_list_of_suspects_replaces_another_and_no_other_file(
    folder: Path, tmp_path: Path
) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--head", "centroid")
    listed, mine = tmp_path / "s.csv", tmp_path / "labels.csv"
    listed.write_text("id,label,suggested,confidence\nold,a,b,0.9\n", encoding="utf-8")
    mine.write_text("id,label\na.png,ant\n", encoding="utf-8")

    line = refused(*command, "--suspects", mine)

    assert f"{mine}: a file that lists no suspects is in the way; choose another name" in line
    assert mine.read_text(encoding="utf-8") == "id,label\na.png,ant\n"
    assert not (tmp_path / "x.head").exists()
    done(*command, "--suspects", listed)
    assert "old" not in listed.read_text(encoding="utf-8")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["labels.csv", "s.csv", "x.head"]


def test_a_head_of_scikit_learn_is_trained_and_predicts(folder: Path, tmp_path: Path) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head")

    text = done(*command, "--head", "sklearn:svm.SVC(C=10)")

    assert "sklearn (estimator svm.SVC(C=10), folds 5" in text
    report = json.loads(done("evaluate", tmp_path / "x.head", folder / "new.emb", "--json"))
    assert report["accuracy"] > 0.85
    assert report["chosen"]["head"] == "sklearn"


@pytest.mark.parametrize("method", ["aps", "class"])
def test_sets_of_each_method_cover_new_items(folder: Path, tmp_path: Path, method: str) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--head", "ridge")
    done(*command, "--conformal", method, "--coverage", "0.8")

    report = json.loads(done("evaluate", tmp_path / "x.head", folder / "new.emb", "--json"))

    assert report["set_coverage"] > 0.7
    conformal = load_head(tmp_path / "x.head").conformal
    assert conformal is not None
    assert (conformal.method, conformal.coverage) == (method, 0.8)


def test_sets_that_hold_everything_are_told(folder: Path, tmp_path: Path) -> None:
    command = ("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--head", "ridge")

    result = call(*command, "--conformal", "class", "--coverage", "0.99")

    assert "note: every class is in every set: a coverage of 0.99 needs 99 rows" in result.stderr


def test_scoring_shows_classes_and_confusions(folder: Path, tmp_path: Path) -> None:
    done("train", folder / "classes.emb", "-o", tmp_path / "x.head", "--head", "lda")

    lines = done("evaluate", tmp_path / "x.head", folder / "new.emb").splitlines()

    report = json.loads(done("evaluate", tmp_path / "x.head", folder / "new.emb", "--json"))
    blank = [row for row, line in enumerate(lines) if not line]
    table = [line.split() for line in lines[blank[0] + 2 : blank[1]]]
    assert [row[1] for row in table] == [str(number) for number in range(10)]
    assert [int(row[-1]) for row in table] == [
        each["support"] for each in report["per_class"].values()
    ]
    counts = [line.split()[3:] for line in lines[blank[1] + 2 :]]
    assert counts == [[str(count or ".") for count in row] for row in report["confusion"]["counts"]]


@pytest.mark.parametrize("classes", [30, 1_001])  # as a matrix, and as the cells of one
def test_of_many_classes_the_worst_are_shown(classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.tile(3 * rng.normal(size=(classes, 8)), (8, 1)) + rng.normal(size=(8 * classes, 8))
    labels = [f"c{row % classes:04d}" for row in range(8 * classes)]
    place = embed(tmp_path / "many", X[: 5 * classes], labels[: 5 * classes])
    done("train", place, "-o", tmp_path / "x.head", "--head", "centroid")

    rest = embed(tmp_path / "rest", X[5 * classes :], labels[5 * classes :])
    text = done("evaluate", tmp_path / "x.head", rest)

    assert f"... the 20 that do worst of {classes:,}" in text
    assert text.splitlines()[-1].split()[0].isdigit()
    assert ["times", "true", "predicted"] in [line.split() for line in text.splitlines()]


def test_what_is_no_head_is_refused(folder: Path) -> None:
    line = refused("evaluate", folder / "new.npz", folder / "new.emb")

    assert line.endswith("not a head: its first member is not header.json")


def test_equal_contents_with_other_labels_are_told(folder: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[7] = X[2]
    place = embed(tmp_path / "x", X, [f"c{row % 2}" for row in range(30)])

    result = call("train", place, "-o", tmp_path / "x.head", "--head", "ridge")

    (note, *_) = result.stderr.splitlines()
    assert note == (
        "note: 1 item is there again with another label; the first label counts: x.npz:3"
    )
    assert ", 29 of 30 rows used" in result.stdout


def test_leaks_that_were_not_looked_for_are_told_to_programs_only(
    folder: Path, tmp_path: Path
) -> None:
    head = tmp_path / "x.head"
    done("train", folder / "classes.emb", "-o", head, "--head", "ridge", "--quiet")
    command = ("evaluate", head, folder / "new.emb")

    report = json.loads(done(*command, "--json"))

    assert report["leaks"] == {"n": None}
    assert report["notes"][-1].startswith("leaks were not looked for: the rows trained on are not")
    assert "leaks" not in call(*command).stderr
