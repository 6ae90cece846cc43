"""What a page weighs: less than five megabytes, whatever the items are."""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.evaluate.curation.inspection import (
    Balance,
    DuplicateGroup,
    Inspection,
    Leaks,
    MislabelledCluster,
    Outliers,
    Overlap,
    SuspectedLabels,
)
from featx.heads.predict import Head
from featx.report import report
from featx.report.elements import short
from featx.report.findings import Findings, Wish
from featx.report.judgement import Judgement
from report_sets import vectors, written
from test_report_pictures import noisy_set

LARGEST_BYTES = 5_000_000
N = 5_000
LONG = 2_500
"""Characters of a label, where there are few."""

HEAD = Head(kind="ridge", classes=("a", "b"), arrays={}, header=MappingProxyType({}))


def texts_of(path: Path, character: str, n_classes: int) -> EmbeddingSet:
    """Write a set of texts of one character, whose ids are of it too."""
    labels = [f"{at}{character * (LONG if n_classes <= 20 else 200)}" for at in range(n_classes)]
    rows = [
        Row(
            id=f"{at}{character * 240}",
            digest=f"{at:064x}",
            label=labels[at % n_classes],
            preview=character * 200,
        )
        for at in range(N)
    ]
    return written(path, rows, vectors(np.arange(N) % 8), "text")


def judged(held: EmbeddingSet) -> Judgement:
    """Return guesses at random."""
    rng = np.random.default_rng(0)
    names = tuple(sorted(set(held.y.tolist())))
    labels = np.searchsorted(names, held.y.tolist())
    return Judgement(
        task="classify",
        measures={"accuracy": 0.1, "interval": [0.05, 0.15], "n": N, "baselines": {"majority": 0}},
        how="left out of the fit in turn",
        names=names,
        rows=np.arange(N),
        labels=labels,
        guesses=rng.integers(len(names), size=N),
        sure=rng.random(N),
    )


def inspected(n: int, classes: tuple[str, ...]) -> Inspection:
    """Return findings without end."""
    rows, shares = np.arange(n), np.full(n, 0.123456789)
    group = DuplicateGroup(
        rows=rows[:30], similarities=shares[:30], is_exact=False, labels_differ=True
    )
    cluster = MislabelledCluster(
        rows=rows[:30], label=classes[0], suggested=classes[1], confidence=0.9
    )
    overlap = Overlap(first=classes[0], second=classes[1], times=99, share=0.3)
    return Inspection(
        n=n,
        classes=classes,
        confidence=shares,
        predicted=rows % len(classes),
        likeness=shares,
        accuracy=0.1,
        interval=(0.05, 0.15),
        distinct=n,
        suspects=SuspectedLabels(rows=rows, suggested=rows % len(classes), confidence=shares),
        duplicates=(group,) * 2_000,
        leaks=Leaks(rows=rows, others=rows[::-1], similarities=shares),
        outliers=Outliers(rows=rows, likeness=shares),
        clusters=(cluster,) * 2_000,
        overlaps=(overlap,) * 2_000,
        balance=Balance(counts=dict.fromkeys(classes, 3)),
        unfit=np.empty(0, np.int64),
        notes=(),
    )


@pytest.mark.parametrize(
    ("character", "n_classes"),
    [
        ("'", 20),
        *(
            pytest.param(character, n_classes, marks=pytest.mark.slow)
            for character in ("<", "語", "\N{GRINNING FACE}", "\x07")
            for n_classes in (20, 5_000)
        ),
    ],
)
def test_a_page_holds_any_texts(tmp_path: Path, character: str, n_classes: int) -> None:
    held = texts_of(tmp_path / "t.emb", character, n_classes)
    judgement = judged(held)
    found = Findings(
        subject="set",
        name="t.emb",
        embedding_set=held,
        head=HEAD,
        judgement=judgement,
        inspection=inspected(N, judgement.names),
        notes=[f"{at} {character * LONG}" for at in range(1_000)],
    )

    told = report.write_report(found, tmp_path / "t.html", Wish())

    assert (told["bytes"], told["shown"]) == ((tmp_path / "t.html").stat().st_size, N)
    assert told["bytes"] < LARGEST_BYTES
    html = (tmp_path / "t.html").read_text("utf-8")
    assert "3,952 more; featx inspect lists them." in html
    assert "976 more notes; --json lists them" in html


@pytest.mark.parametrize("most_bytes", [1_600_000, pytest.param(3_000_000, marks=pytest.mark.slow)])
def test_pictures_take_what_the_rest_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(report, "MOST_BYTES", most_bytes)
    held = noisy_set(tmp_path, 200)
    found = Findings(
        subject="set",
        name="p.emb",
        embedding_set=held,
        inspection=inspected(200, ("a", "b")),  # whose sections show 144, some of them twice
    )

    told = report.write_report(found, tmp_path / "p.html", Wish())

    assert 0.9 * most_bytes < told["bytes"] < most_bytes + 50_000
    assert told["pictures"] == 200
    assert (tmp_path / "p.html").read_text("utf-8").count("<img ") > 8  # large ones


@pytest.mark.parametrize("character", ["<", "語", "\N{GRINNING FACE}", "a"])
def test_a_text_is_cut_by_what_it_takes_on_a_page(character: str) -> None:
    for length in (10, 40, 160):
        cut = short(character * 1_000, length)

        assert cut == character * (len(cut) - 1) + "…"
        assert len(cut) <= length
        weight = {"<": 6, "a": 1}.get(character, len(character.encode()))
        assert weight * (len(cut) - 1) <= 3 * length + 100
