"""What a report says of a head, row by row, against the head and its own record."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.data.store import EmbeddingSet
from featx.evaluate.evaluate import evaluate_head
from featx.evaluate.interval import wilson_interval
from featx.heads.predict import Head
from featx.report.accuracy import accuracy_section
from featx.report.confusion import confusion_section, most_confused
from featx.report.judgement import (
    Judgement,
    distinct_rows,
    has_unseen,
    judge_held_out,
    judge_recorded,
    judge_unseen,
)
from featx.report.reliability import bins_of
from featx.report.worst import worst_rows
from featx.train.recipe import Recipe
from featx.train.train import train
from report_sets import text_rows, text_set, vectors, written
from test_report_elements import HOSTILE, Outline


def trained(held: EmbeddingSet, kind: str = "ridge") -> Head:
    return train(held, Recipe(head=kind))


def judged(labels: list[int], guesses: list[int], sure: list[float], *names: str) -> Judgement:
    return Judgement(
        task="classify",
        measures={},
        how="",
        names=names,
        rows=np.arange(len(labels)) * 10,
        labels=np.array(labels),
        guesses=np.array(guesses),
        sure=np.array(sure),
    )


def test_held_out_answers_are_those_that_the_head_was_measured_by(tmp_path: Path) -> None:
    held = EmbeddingSet.open(text_set(tmp_path / "t.emb"))
    head = trained(held)

    found = judge_held_out(head, *distinct_rows(held), "ridge")

    assert found.hits.mean() == pytest.approx(head.header["metrics"]["accuracy"])
    assert found.rows.tolist() == list(range(80))
    assert [found.names[code] for code in found.labels] == held.y.tolist()
    # Another fit, of all rows but one, is as sure of that one, up to its temperature.
    X, y = np.asarray(held.X, np.float64), 2.0 * (held.y == "spam") - 1
    centre, mean = X[1:].mean(axis=0), y[1:].mean()
    alpha = head.header["chosen"]["alpha"]
    gram = (X[1:] - centre).T @ (X[1:] - centre) + alpha * np.eye(X.shape[1])
    value = mean + (X[0] - centre) @ np.linalg.solve(gram, (X[1:] - centre).T @ (y[1:] - mean))
    assert found.names[found.guesses[0]] == ("spam" if value > 0 else "ham")


def test_rows_that_a_head_has_not_seen_are_judged_by_the_head(tmp_path: Path) -> None:
    held = EmbeddingSet.open(text_set(tmp_path / "t.emb", splits=True))
    head = trained(held)

    found = judge_unseen(head, held, None)

    splits = np.array(held.items.column("split").to_pylist())
    expected = head.probabilities(np.asarray(held.X)[splits == "test"])
    assert found.rows.tolist() == np.flatnonzero(splits == "test").tolist()
    np.testing.assert_array_equal(found.guesses, expected.argmax(axis=1))
    np.testing.assert_allclose(found.sure, expected.max(axis=1))
    assert found.measures == evaluate_head(head, held)
    assert found.how == "of split test"


def test_a_head_that_has_seen_all_rows_has_none_to_be_judged_by(tmp_path: Path) -> None:
    parted = EmbeddingSet.open(text_set(tmp_path / "p.emb", splits=True))
    whole = EmbeddingSet.open(text_set(tmp_path / "w.emb"))

    assert has_unseen(trained(parted), parted)
    assert not has_unseen(trained(whole), whole)
    recorded = judge_recorded(trained(whole))
    assert recorded is not None
    assert (len(recorded.rows), recorded.names) == (0, ())
    assert recorded.measures["n"] == 80


def test_a_part_of_what_a_head_was_trained_on_is_measured_itself(tmp_path: Path) -> None:
    head = trained(EmbeddingSet.open(text_set(tmp_path / "w.emb")))
    part = EmbeddingSet.open(text_set(tmp_path / "p.emb", each=15))  # the first 30 of the 80

    found = judge_held_out(head, *distinct_rows(part), "ridge")

    assert found.measures["n"] == len(found.rows) == 30
    assert found.measures["accuracy"] == found.hits.mean()
    assert found.measures["interval"] == list(wilson_interval(int(found.hits.sum()), 30))
    assert found.measures["baselines"] == {"majority": 0.5}
    assert head.header["metrics"]["n"] == 80


def test_labels_that_have_changed_since_are_measured_anew(tmp_path: Path) -> None:
    head = trained(EmbeddingSet.open(text_set(tmp_path / "w.emb")))
    other = [["ham", "spam"][at % 3 == 0] for at in range(80)]
    held = written(tmp_path / "r.emb", text_rows(other), vectors([0, 1] * 40, apart=2.0), "text")

    found = judge_held_out(head, *distinct_rows(held), "ridge")

    assert found.measures["accuracy"] == found.hits.mean()
    assert found.measures["accuracy"] < head.header["metrics"]["accuracy"] - 0.1


def test_rows_without_a_digest_are_counted_as_not_known(tmp_path: Path) -> None:
    head = trained(EmbeddingSet.open(text_set(tmp_path / "t.emb")))
    rows = text_rows(["ham", "spam"] * 50)  # 80 it was trained on, 20 others
    rows = [row._replace(digest="" if at >= 90 else row.digest) for at, row in enumerate(rows)]
    held = written(tmp_path / "n.emb", rows, vectors([0, 1] * 50), "text")
    nameless = [row._replace(digest="") for row in rows]
    unknown = written(tmp_path / "u.emb", nameless, vectors([0, 1] * 50), "text")

    found = judge_unseen(head, held, None)

    assert found.rows.tolist() == list(range(80, 100))
    assert found.how == "that it was not trained on, as far as is known (10 have no digest)"
    assert not has_unseen(head, unknown)
    assert has_unseen(replace(head, arrays={"coef": head.arrays["coef"]}), unknown)


def test_the_worst_errors_are_the_surest() -> None:
    found = judged([0, 0, 1, 1, 1], [1, 0, 0, 1, 0], [0.6, 0.9, 0.8, 0.9, 0.7], "a", "b")

    assert worst_rows(found).tolist() == [20, 40, 0]
    assert worst_rows(found, 1).tolist() == [20]
    assert most_confused(found, 5) == [("b", "a", 2), ("a", "b", 1)]


def test_many_classes_are_told_without_a_matrix_of_all_pairs() -> None:
    n = 50_000
    labels = np.arange(n)
    guesses = np.where(labels % 10_000 == 7, labels - 7, labels)
    found = judged(labels.tolist(), guesses.tolist(), [0.5] * n, *map(str, labels))

    html = confusion_section(found, are_texts=False)

    assert most_confused(found, 2) == [("7", "0", 1), ("10007", "10000", 1)]
    assert html.count("taken for") >= 5
    assert "the 200 hardest of 50,000" in html


def test_bins_hold_as_many_items_each_and_count_those_that_are_right() -> None:
    rng = np.random.default_rng(0)
    sure = rng.permutation(np.linspace(0.5, 1, 60))
    hits = rng.random(60) < sure
    found = judged([0] * 60, [0 if hit else 1 for hit in hits], sure.tolist(), "a", "b")

    bins = bins_of(found)

    for part, each in zip(np.array_split(np.argsort(sure), 3), bins, strict=True):
        assert each.n == 20
        assert each.sure == pytest.approx(sure[part].mean())
        assert each.right == hits[part].mean()
        assert each.interval == wilson_interval(int(hits[part].sum()), 20)


def test_counts_of_the_matrix_are_buttons_one_of_which_is_in_the_order_of_keys() -> None:
    found = judged([0, 0, 0, 1], [0, 0, 1, 1], [0.9] * 4, HOSTILE, "b")

    read = Outline(confusion_section(found, are_texts=True))

    buttons = [each for each in read.of("button") if each["class"] == "count"]
    said = [(b["data-label"], b["data-guess"], b["data-times"], b["aria-label"]) for b in buttons]
    assert said == [
        ("0", "0", "2", f"{HOSTILE}, right: 2"),
        ("0", "1", "1", f"{HOSTILE} taken for b: 1"),
        ("1", "1", "1", "b, right: 1"),
    ]
    assert [each.get("tabindex") for each in buttons] == [None, "-1", "-1"]
    shares = [td.get("style") for td in read.of("td") if td.get("style")]
    assert shares == ["--share:0.667", "--share:0.333", "--share:1.000"]
    assert read.scripts == []


def test_baselines_of_any_name_are_drawn_once_each() -> None:
    names = ["this head (ridge)", "a" * 50, "a" * 60, "$$x$$", "raw", "a head on raw features"]
    measures = {
        "accuracy": 0.9, "interval": [0.8, 1.0], "n": 10, "baselines": dict.fromkeys(names, 0.5),
    }  # fmt: skip

    read = Outline(accuracy_section(measures, "classify", "ridge", ""))

    (text,) = [text for attributes, text in read.scripts]
    (drawn,) = re.findall(r'"factors":(\[.*?\])', text)
    others = ["a head on raw features", "$\u200b$x$\u200b$", "a" * 39 + "…"]
    assert json.loads(drawn) == [*others, "this head (ridge)"]


def test_of_many_classes_the_pairs_that_are_confused_most_are_listed() -> None:
    labels = [*range(30), 4, 4, 7]
    guesses = [*range(30), 5, 5, 4]
    names = [f"class {code}" for code in range(30)]

    read = Outline(confusion_section(judged(labels, guesses, [0.9] * 33, *names), are_texts=False))

    counts = [
        (b["data-label"], b["data-guess"]) for b in read.of("button") if b["class"] == "count"
    ]
    assert counts == [("4", "5"), ("7", "4")]
    assert read.words[read.words.index("taken for") + 3 :][:8] == [
        "class 4", "class 5", "2", "3", "class 7", "class 4", "1", "2",
    ]  # fmt: skip
