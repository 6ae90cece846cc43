"""The whole line on small real data: embed, label, train, evaluate, predict, index, search, cat."""

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import featx
from command_line import call, done, objects
from featx import samples

ANIMALS = [
    f"the {who} {what}"
    for who, what in product(
        ["cat", "puppy", "horse", "hamster", "cow"],
        ["sleeps in the straw", "is hungry again", "runs over the meadow", "has soft fur"],
    )
]
MONEY = [
    f"{who} {what}"
    for who, what in product(
        ["the central bank", "the stock market", "an investor", "the treasury", "a hedge fund"],
        ["raised interest rates", "lost two percent", "sold its bonds", "fears inflation"],
    )
]
EMBED_KEYS = {"items", "embedded", "cached", "errors", "truncated", "removed", "seconds", "out"}
TRAIN_KEYS = {"accuracy", "interval", "n", "baselines", "classes", "chosen"}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATX_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("FEATX_DEVICE", "cpu")
        patch.setenv("FEATX_THREADS", "2")
        yield


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with ``texts.csv``, the unlabelled set made of it, and ``labels.csv``."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [(f"a{i}", text, "animals") for i, text in enumerate(ANIMALS)]
    rows += [(f"m{i}", text, "money") for i, text in enumerate(MONEY)]
    lines = ["id,text", *(f"{item_id},{text}" for item_id, text, _ in rows)]
    (folder / "texts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    splits = ["test" if number % 4 == 0 else "train" for number in range(len(rows))]
    labels = [f"{row[0]},{row[2]},{split}" for row, split in zip(rows, splits, strict=True)]
    text = "\n".join(["id,label,split", *labels]) + "\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    done("embed", folder / "texts.csv", "-m", "minilm-l6", "-o", folder / "texts.emb")
    return folder


@pytest.fixture(scope="module")
def trained(texts: Path) -> Path:
    done("label", texts / "texts.emb", texts / "labels.csv")
    done("train", texts / "texts.emb", "-o", texts / "texts.head")
    done("index", texts / "texts.emb", "-o", texts / "texts.knn")
    return texts


def test_embed_reports_and_a_second_run_encodes_nothing(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.emb"
    command = ("embed", texts / "texts.csv", "-m", "minilm-l6", "-o", out, "--json")
    (first,) = objects(done(*command, "--no-cache"))
    assert first.keys() == EMBED_KEYS
    assert first["seconds"] > 0.0
    counts = {"items": 40, "embedded": 40, "cached": 0, "errors": 0, "truncated": 0, "removed": 0}
    assert first == {**counts, "seconds": first["seconds"], "out": str(out)}
    (second,) = objects(done(*command))
    assert (second["embedded"], second["cached"]) == (0, 40)


def test_the_cache_spares_the_encoding_of_a_new_set(texts: Path, tmp_path: Path) -> None:
    command = ("embed", texts / "texts.csv", "-m", "minilm-l6", "-o", tmp_path / "x.emb", "--json")
    (report,) = objects(done(*command))
    assert (report["embedded"], report["cached"]) == (0, 40)
    X, old = featx.open(tmp_path / "x.emb").X, featx.open(texts / "texts.emb").X
    np.testing.assert_array_equal(X, old)


def test_labels_change_rows_and_leave_vectors(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained / "texts.emb", tmp_path / "x.emb")
    before = np.array(featx.open(copy).X)
    (tmp_path / "labels.csv").write_text("id,label\na0,cats\nm1,\n", encoding="utf-8")
    (report,) = objects(done("label", copy, tmp_path / "labels.csv", "--json"))
    assert report == {"changed": 2, "unknown": 0, "errors": 0, "out": str(copy)}
    opened = featx.open(copy)
    changed = {"a0": "cats", "a1": "animals", "m0": "money", "m1": None}
    found = dict(zip(opened.ids, opened.y.tolist(), strict=True))
    assert {item_id: found[item_id] for item_id in changed} == changed
    np.testing.assert_array_equal(opened.X, before)


def test_train_says_how_good_the_head_is(trained: Path, tmp_path: Path) -> None:
    command = ("train", trained / "texts.emb", "-o", tmp_path / "x.head", "--head", "ridge")
    (report,) = objects(done(*command, "--json"))
    assert report.keys() >= TRAIN_KEYS
    assert report["n"] == 30
    assert report["classes"] == 2
    assert report["chosen"]["head"] == "ridge"
    assert report["accuracy"] >= 0.9
    low, high = report["interval"]
    assert low - 1e-9 <= report["accuracy"] <= high + 1e-9
    assert report["baselines"]["majority"] == pytest.approx(0.5)
    assert 0.0 <= report["baselines"]["raw"] <= 1.0
    (plain,) = objects(done(*command, "--json", "--no-raw-baseline"))
    assert plain["baselines"].keys() == {"majority"}


def test_evaluate_scores_the_test_rows_only(trained: Path) -> None:
    (report,) = objects(done("evaluate", trained / "texts.head", trained / "texts.emb", "--json"))
    assert report.keys() >= TRAIN_KEYS
    assert report["n"] == 10
    assert report["accuracy"] >= 0.9
    assert report["baselines"]["majority"] == 0.5
    assert 0.0 <= report["baselines"]["raw"] <= 1.0
    (plain,) = objects(
        done(
            "evaluate", trained / "texts.head", trained / "texts.emb", "--json", "--no-raw-baseline"
        )
    )
    assert plain == {**report, "baselines": {"majority": 0.5}, "notes": plain["notes"]}


def test_evaluate_refuses_the_rows_of_the_training(trained: Path) -> None:
    command = ("evaluate", trained / "texts.head", trained / "texts.emb", "--split", "train")
    result = call(*command)
    assert result.exit_code == 1
    assert "trained on all 30 labelled rows" in result.stderr


def test_predict_takes_texts_and_sets(trained: Path) -> None:
    head = trained / "texts.head"
    found = objects(done("predict", head, "a kitten plays", "shares fell sharply", "--json"))
    assert [list(row) for row in found] == [["id", "label", "probability", "set", "novel"]] * 2
    assert [row["id"] for row in found] == ["a kitten plays", "shares fell sharply"]
    assert [row["label"] for row in found] == ["animals", "money"]
    for row in found:
        assert 0.5 <= row["probability"] <= 1.0
        assert row["set"] in ([row["label"]], [], ["animals", "money"], ["money", "animals"])
        assert type(row["novel"]) is bool
    rows = objects(done("predict", head, trained / "texts.emb", "--json"))
    assert [row["id"] for row in rows] == featx.open(trained / "texts.emb").ids
    again = objects(done("predict", head, trained / "texts.csv", "--json"))
    assert [row["label"] for row in again] == [row["label"] for row in rows]


def test_a_misspelt_file_is_not_taken_for_a_text(trained: Path) -> None:
    result = call("predict", trained / "texts.head", trained / "text.csv")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "no such file or folder; did you mean" in result.stderr


@pytest.mark.parametrize("text", ["is 5 * 3 [really] 15?", "The end.", "a" * 5000])
def test_a_text_with_marks_of_a_path_is_a_text(trained: Path, text: str) -> None:
    (found,) = objects(done("predict", trained / "texts.head", text, "--json"))
    assert found["id"] == text


def test_index_and_search_find_what_a_matrix_product_finds(trained: Path, tmp_path: Path) -> None:
    opened = featx.open(trained / "texts.emb")
    gallery = tmp_path / "x.knn"
    (made,) = objects(done("index", trained / "texts.emb", "-o", gallery, "--json"))
    assert made["items"] == 40
    assert made["accuracy"] >= 0.9
    query = "a kitten plays"
    (found,) = objects(done("search", gallery, query, "-k", 3, "--json"))
    assert found["id"] == query
    similarities = opened.X @ featx.Embedder("minilm-l6", device="cpu").transform([query])[0]
    best = np.argsort(-similarities)[:3]
    assert [row["id"] for row in found["neighbours"]] == [opened.ids[row] for row in best]
    for neighbour, row in zip(found["neighbours"], best, strict=True):
        assert list(neighbour) == ["id", "label", "similarity"]
        assert neighbour["label"] == opened.y[row]
        assert neighbour["similarity"] == pytest.approx(similarities[row], abs=1e-4)


def test_cat_prints_rows_as_lines_or_json(trained: Path) -> None:
    target = trained / "texts.emb"
    assert done("cat", target, "-n", 1) == f"a0\tanimals\ttest\t{ANIMALS[0]}\n"
    (row,) = objects(done("cat", target, "-n", 1, "--json", "--vectors"))
    assert (row["id"], row["label"], row["preview"]) == ("a0", "animals", ANIMALS[0])
    np.testing.assert_array_equal(np.float32(row["vector"]), featx.open(target).X[0])
    assert len(done("cat", target).splitlines()) == 40


@pytest.mark.parametrize(
    ("kind", "suffix", "model", "classes", "accuracy"),
    [
        ("clipart", "png", "efficientnet-lite0", ("birds", "buildings"), 0.7),
        ("sounds", "flac", "ge2e", (), 0.0),
    ],
)
def test_the_line_runs_on_folders_of_classes(
    tmp_path: Path, kind: str, suffix: str, model: str, classes: tuple[str, ...], accuracy: float
) -> None:
    chosen = classes or sorted(p.name for p in (samples.folder() / kind).iterdir())[:2]
    for name in chosen:
        (tmp_path / kind / name).mkdir(parents=True)
        for path in sorted((samples.folder() / kind / name).glob(f"*.{suffix}"))[:12]:
            shutil.copy(path, tmp_path / kind / name)
    target, head, gallery = (tmp_path / f"x.{end}" for end in ("emb", "head", "knn"))
    (report,) = objects(done("embed", tmp_path / kind, "-m", model, "-o", target, "--json"))
    items = report["items"]
    assert items == len([p for p in (tmp_path / kind).rglob("*") if p.is_file()])
    (report,) = objects(done("train", target, "-o", head, "--head", "ridge", "--json"))
    assert (report["classes"], report["n"]) == (2, items)
    assert report["accuracy"] >= accuracy
    assert report["baselines"].keys() == {"majority", "raw"}
    done("index", target, "-o", gallery)
    path = min((tmp_path / kind / chosen[0]).iterdir())
    (found,) = objects(done("predict", head, path, "--json"))
    assert found["label"] in chosen
    (found,) = objects(done("search", gallery, path, "-k", 1, "--json"))
    assert found["neighbours"][0]["id"] == f"{chosen[0]}/{path.name}"
    assert found["neighbours"][0]["similarity"] == pytest.approx(1.0, abs=1e-4)


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion() -> None:
    result = call("embde")
    assert result.exit_code == 2
    assert "no such command 'embde'; did you mean 'embed'?" in result.stderr


def test_a_missing_option_is_a_usage_error() -> None:
    result = call("embed", "texts.csv", "-m", "minilm-l6")
    assert result.exit_code == 2
    assert "Missing option '-o'" in result.stderr


@pytest.mark.parametrize("seed", ["-1", "4294967296", "one"])
def test_a_seed_that_no_generator_takes_is_a_usage_error(trained: Path, seed: str) -> None:
    result = call("train", trained / "texts.emb", "-o", trained / "no.head", "--seed", seed)
    assert result.exit_code == 2
    assert "Invalid value for '--seed'" in result.stderr


def test_people_read_results_on_stdout_and_notes_on_stderr(trained: Path, tmp_path: Path) -> None:
    result = call("train", trained / "texts.emb", "-o", tmp_path / "x.head", "--head", "knn")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'x.head'}: knn (k ")
    assert lines[0].endswith("2 classes, 30 of 40 rows used")
    names = [line[:22].strip() for line in lines[1:]]
    assert names == [
        "accuracy", "majority", "raw", "balanced accuracy", "macro f1", "log loss",
        "calibration error", "set coverage", "set size",
    ]  # fmt: skip
    assert all(line[22] == " " and line[23].isdigit() for line in lines[1:])
    assert all(line.startswith("note: ") for line in result.stderr.splitlines())
