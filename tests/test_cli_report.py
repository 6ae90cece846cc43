"""``featx report`` and ``featx map`` on the command line: what they write, and what they refuse."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from command_line import call, done, refused
from featx.data.store import EmbeddingSet
from featx.heads.headfile import load_head, save_head
from featx.heads.predict import Head
from featx.report.places import lay_out
from report_sets import picture_set, text_rows, text_set, vectors, written
from test_report_elements import HOSTILE, Outline, policy_of

LARGEST_BYTES = 5_000_000


def report(*arguments: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(done("report", *arguments, "--json"))
    return found


def read(path: Path) -> Outline:
    """Return what a page is made of, once it is sure that it asks for nothing."""
    html = path.read_text(encoding="utf-8")
    outline = Outline(html)
    named = [
        str(found[name])
        for _, found in outline.elements
        for name in ("src", "href", "srcset", "action", "poster", "data")
        if name in found
    ]
    assert [each for each in named if not each.startswith(("data:image/webp;base64,", "#"))] == []
    assert {tag for tag, _ in outline.elements} & {
        "link",
        "iframe",
        "object",
        "embed",
        "base",
    } == set()
    assert not [name for _, found in outline.elements for name in found if name.startswith("on")]
    assert policy_of(outline)["default-src"] == ["'none'"]
    ids = [found["id"] for _, found in outline.elements if "id" in found]
    assert len(ids) == len(set(ids))
    links = [str(a["href"]).removeprefix("#") for a in outline.of("a")]
    assert set(links) <= set(ids)
    return outline


def sections(outline: Outline) -> list[str | None]:
    return [each["id"] for each in outline.of("section")]


def data(outline: Outline, name: str) -> dict[str, Any]:
    (text,) = [text for attributes, text in outline.scripts if attributes.get("id") == name]
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with ``t.emb``, 80 texts, and ``t.head`` and its ``t.html``."""
    folder = tmp_path_factory.mktemp("texts")
    done("train", text_set(folder / "t.emb"), "-o", folder / "t.head", "--curve")
    done("report", folder / "t.emb", "-o", folder / "t.html", "-q")
    return folder


def test_a_report_on_a_set_says_how_good_a_head_is_and_shows_all_items(
    texts: Path, tmp_path: Path
) -> None:
    told = report(texts / "t.emb", "-o", tmp_path / "t.html")
    trained = json.loads(done("train", texts / "t.emb", "-o", tmp_path / "t.head", "--json"))

    outline = read(tmp_path / "t.html")

    for name in ("accuracy", "interval", "n", "baselines"):
        assert told[name] == trained[name]
    assert (told["items"], told["shown"], told["pictures"]) == (80, 80, 0)
    assert told["bytes"] == (tmp_path / "t.html").stat().st_size
    names = sections(outline)
    assert names[:4] == ["summary", "accuracy", "confusion", "reliability"]
    assert {"learning", "map", "errors", "provenance"} <= set(names)
    items = data(outline, "items")
    held = EmbeddingSet.open(texts / "t.emb")
    assert sorted(map(str, items["ids"])) == sorted(held.ids)
    by_id = dict(zip(items["ids"], items["labels"], strict=True))
    assert [items["names"][str(by_id[each])] for each in held.ids] == held.y.tolist()
    wrong = sum(a != b for a, b in zip(items["labels"], items["guesses"], strict=True))
    assert 1 - wrong / 80 == pytest.approx(told["accuracy"])


def test_a_page_begins_with_a_summary_in_words(texts: Path) -> None:
    words = read(texts / "t.html").words

    at = words.index("Summary")
    assert words[words.index("t.emb") :][0] == "t.emb"
    assert re.match(
        r"80 texts in 2 classes, embedded with tiny\. The head \(\w+\) is right on [\d.]+\u202f% "
        r"of 80 items left out of the fit in turn \(95\u202f% interval [\d.]+.[\d.]+\u202f%\); "
        r"guessing reaches 50\.0\u202f%\.$",
        words[at + 1],
    )


def test_a_report_is_the_same_page_again(texts: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        done("report", texts / "t.emb", "-o", tmp_path / name / "t.html", "-q", "--seed", 3)

    first, second = ((tmp_path / name / "t.html").read_text("utf-8") for name in ("a", "b"))

    ids = re.compile(r'"p\d+"|[0-9a-f]{8}-[0-9a-f-]{27}')
    assert ids.sub("", first) == ids.sub("", second)


def test_a_report_on_a_head_alone_says_what_its_file_says(texts: Path, tmp_path: Path) -> None:
    told = report(texts / "t.head", "-o", tmp_path / "h.html")

    outline = read(tmp_path / "h.html")

    assert {"accuracy", "learning", "provenance"} <= set(sections(outline))
    assert not {"map", "confusion"} & set(sections(outline))
    assert (told["items"], told["shown"]) == (0, 0)
    assert any("if the report is given a set" in word for word in outline.words)


def test_a_head_is_judged_by_the_items_of_a_set_that_it_has_not_seen(
    texts: Path, tmp_path: Path
) -> None:
    rows = text_rows(["ham", "spam"] * 20)
    rows = [
        type(row)(id=f"n{row.id}", digest=f"{at:064x}", label=row.label)
        for at, row in enumerate(rows)
    ]
    written(tmp_path / "n.emb", rows, vectors([0, 1] * 20, seed=9), "text")
    evaluated = json.loads(
        done("evaluate", texts / "t.head", tmp_path / "n.emb", "--json", "--no-raw-baseline")
    )

    told = report(texts / "t.head", tmp_path / "n.emb", "-o", tmp_path / "h.html")

    assert {name: told[name] for name in ("accuracy", "n", "interval")} == {
        name: evaluated[name] for name in ("accuracy", "n", "interval")
    }
    assert "confusion" in sections(read(tmp_path / "h.html"))


@pytest.fixture(scope="module")
def adapted(texts: Path) -> Path:
    """Give ``a.head``, adapted to ``u.emb`` without labels, beside what it was trained on."""
    rows = text_rows([None] * 120)[80:]
    held = written(texts / "u.emb", rows, vectors([0, 1] * 20, seed=4), "text")
    options = ("--source", texts / "t.emb", "--method", "centre")
    done("adapt", texts / "t.head", "--target", held.path, "-o", texts / "a.head", *options)
    return texts / "a.head"


UNMEASURED = (
    "How good it is was not measured when it was made: give the report a set of labelled items"
    " that it has not seen, too."
)


def test_an_adapted_head_that_was_not_measured_has_a_page_without_accuracy(
    adapted: Path, tmp_path: Path
) -> None:
    alone = report(adapted, "-o", tmp_path / "a.html")
    with_target = report(adapted, adapted.with_name("u.emb"), "-o", tmp_path / "u.html")
    with_source = report(adapted, adapted.with_name("t.emb"), "-o", tmp_path / "s.html")

    for told, name in [(alone, "a"), (with_target, "u"), (with_source, "s")]:
        outline = read(tmp_path / f"{name}.html")
        assert "accuracy" not in told
        assert not {"accuracy", "confusion", "reliability"} & set(sections(outline))
        assert any(word.endswith(UNMEASURED) for word in outline.words)
    assert any("none is left to judge it by" in str(note) for note in with_source["notes"])  # type: ignore[attr-defined]
    words = read(tmp_path / "a.html").words
    assert any("trained on 80 items and adapted to 40 that were embedded" in w for w in words)


def test_a_head_made_of_names_is_judged_by_any_labelled_items(texts: Path, tmp_path: Path) -> None:
    held = EmbeddingSet.open(texts / "t.emb")
    centroids = np.stack([held.X[held.y == name].mean(axis=0) for name in ("ham", "spam")])
    head = Head(
        kind="centroid",
        classes=("ham", "spam"),
        arrays={"centre": np.zeros(held.dim, np.float32), "centroids": centroids},
        header={
            **{name: getattr(held, name) for name in ("dim", "fingerprint", "space", "model")},
            "zero_shot": {},
        },
    )
    save_head(tmp_path / "z.head", head)

    alone = report(tmp_path / "z.head", "-o", tmp_path / "z.html")
    told = report(tmp_path / "z.head", texts / "t.emb", "-o", tmp_path / "j.html")

    assert "accuracy" not in alone
    assert any(word.endswith(UNMEASURED) for word in read(tmp_path / "z.html").words)
    taken = np.array(head.classes)[head.logits(np.asarray(held.X)).argmax(axis=1)]
    assert told["accuracy"] == (taken == held.y).mean()
    assert "confusion" in sections(read(tmp_path / "j.html"))


def test_items_of_one_class_that_a_head_was_trained_on_do_not_judge_it(
    texts: Path, tmp_path: Path
) -> None:
    rows = text_rows(["ham", "spam"] * 40)[::2]
    written(tmp_path / "h.emb", rows, vectors([0] * 40), "text")

    told = report(texts / "t.head", tmp_path / "h.emb", "-o", tmp_path / "h.html")

    metrics = load_head(texts / "t.head").header["metrics"]
    assert (told["accuracy"], told["n"]) == (metrics["accuracy"], 80)
    assert "confusion" not in sections(read(tmp_path / "h.html"))
    notes = " ".join(map(str, told["notes"]))  # type: ignore[call-overload]
    assert "the items of the set do not judge the head" in notes
    assert "what was measured when the head was made" in notes


def test_a_head_on_its_own_set_is_judged_by_fits_without_each_item(
    texts: Path, tmp_path: Path
) -> None:
    told = report(texts / "t.head", texts / "t.emb", "-o", tmp_path / "h.html")
    own = report(texts / "t.emb", "-o", tmp_path / "s.html")

    assert told["accuracy"] == own["accuracy"]
    assert any("judged by a fit without it" in str(note) for note in told["notes"])  # type: ignore[attr-defined]


def test_pictures_are_in_the_page_and_texts_stand_for_those_that_moved(tmp_path: Path) -> None:
    held = picture_set(tmp_path, ("cat", "dog", "owl"), each=10)

    told = report(held, "-o", tmp_path / "p.html")
    shutil.move(tmp_path / "photos", tmp_path / "moved")
    gone = report(held, "-o", tmp_path / "g.html")
    found = report(held, "-o", tmp_path / "f.html", "--root", tmp_path / "moved")

    assert (told["pictures"], gone["pictures"], found["pictures"]) == (30, 0, 30)
    assert all(data(read(tmp_path / "p.html"), "items")["pictures"])
    assert not any(data(read(tmp_path / "g.html"), "items")["pictures"])
    notes = " ".join(map(str, gone["notes"]))  # type: ignore[call-overload]
    assert "30 pictures not shown: gone from the source, or changed since" in notes
    assert "--root" in notes


def test_raw_features_are_of_contents_that_may_be_read_and_have_not_changed(
    tmp_path: Path,
) -> None:
    held = picture_set(tmp_path)

    whole = report(held, "-o", tmp_path / "p.html")
    (tmp_path / "photos" / "cat" / "0.png").write_bytes(b"another")
    changed = report(held, "-o", tmp_path / "c.html")
    without = report(held, "-o", tmp_path / "w.html", "--no-raw-baseline")

    assert whole["baselines"] == {"majority": 0.5, "raw": 1.0}
    assert changed["baselines"] == without["baselines"] == {"majority": 0.5}
    said = "no baseline on raw features: cat/0.png: is no longer what was embedded"
    assert said in changed["notes"]  # type: ignore[operator]
    assert said not in without["notes"]  # type: ignore[operator]


def test_what_users_wrote_is_text_everywhere_in_a_page(tmp_path: Path) -> None:
    names = [f"{HOSTILE}$$x$$", "<img src=x onerror=alert(1)>"]
    rows = [
        type(row)(id=f"{row.id}{HOSTILE}", digest=row.digest, label=row.label, preview=HOSTILE)
        for row in text_rows([names[at % 2] for at in range(60)])
    ]
    written(tmp_path / "h.emb", rows, vectors([at % 2 for at in range(60)], apart=1.0), "text")

    told = report(tmp_path / "h.emb", "-o", tmp_path / "h.html")

    outline = read(tmp_path / "h.html")
    assert told["accuracy"] == pytest.approx(0.8, abs=0.1)
    assert outline.of("img") == []
    run = [text for attributes, text in outline.scripts if "type" not in attributes]
    assert len(run) == len(policy_of(outline)["script-src"])
    assert not any("alert(" in text for text in run)
    assert data(outline, "items")["names"] == dict(zip("01", sorted(names), strict=True))


def test_a_set_without_labels_has_a_map_and_no_head(tmp_path: Path) -> None:
    written(tmp_path / "u.emb", text_rows([None] * 30), vectors([0, 1] * 15), "text")

    told = report(tmp_path / "u.emb", "-o", tmp_path / "u.html")

    outline = read(tmp_path / "u.html")
    assert "accuracy" not in told
    assert {"map", "provenance"} <= set(sections(outline))
    assert not {"accuracy", "confusion"} & set(sections(outline))
    (colouring,) = data(outline, "map-data")["colourings"]
    assert len(colouring["codes"]) == 30


def test_vectors_that_are_not_finite_are_left_out_and_said(tmp_path: Path) -> None:
    X = vectors([at % 2 for at in range(60)])
    X[3], X[8, 1] = np.nan, np.inf
    written(tmp_path / "n.emb", text_rows(["ham", "spam"] * 30), X, "text")

    told = report(tmp_path / "n.emb", "-o", tmp_path / "n.html")

    outline = read(tmp_path / "n.html")
    assert (told["items"], told["shown"], told["n"]) == (60, 60, 58)
    assert any("2 vectors are not finite and left out." in word for word in outline.words)
    for colouring in data(outline, "map-data")["colourings"]:
        assert sum(group["count"] for group in colouring["groups"]) == 58  # that are on the map
    items = data(outline, "items")
    judged = dict(zip(items["ids"], items["guesses"], strict=True))
    assert (judged["t3"], judged["t8"]) == (-1, -1)


@pytest.mark.parametrize(
    ("task", "labels", "measure"),
    [
        ("multilabel", ["red", "round", "red|round", "|"], "micro_f1"),
        ("regress", ["1.5", "2", "3.5", "7"], "r2"),
    ],
)
def test_heads_of_other_tasks_have_reports_too(
    tmp_path: Path, task: str, labels: list[str], measure: str
) -> None:
    rows = text_rows([labels[at % 4] for at in range(80)])
    written(tmp_path / "t.emb", rows, vectors([at % 4 for at in range(80)]), "text")
    trained = json.loads(
        done("train", tmp_path / "t.emb", "-o", tmp_path / "t.head", "--task", task, "--json")
    )

    told = report(tmp_path / "t.head", tmp_path / "t.emb", "-o", tmp_path / "t.html")

    assert told[measure] == trained[measure]
    assert "map" in sections(read(tmp_path / "t.html"))


def test_a_page_of_thousands_of_texts_is_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    held = text_set(tmp_path / "t.emb", each=3_000)

    told = report(held, "-o", tmp_path / "t.html", "--no-curve")

    assert (told["items"], told["shown"]) == (6_000, 5_000)
    assert int(str(told["bytes"])) < LARGEST_BYTES
    assert any("5,000 of 6,000 items" in str(note) for note in told["notes"])  # type: ignore[attr-defined]


def test_bad_input_is_one_line_that_says_what_to_do(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    (tmp_path / "own.txt").write_text("mine")

    assert "no such file; train one" in refused("report", tmp_path / "no.head", "-o", out)
    assert "not an embedding set" in refused("report", tmp_path / "no.emb", "-o", out)
    assert "not a head" in refused("report", tmp_path / "own.txt", "-o", out)
    assert "is no folder" in refused("report", texts / "t.emb", "-o", tmp_path / "no" / "r.html")
    (tmp_path / "m.csv").write_text("id,text\na,b\n")
    table = refused("report", tmp_path / "m.csv", "-o", out)
    assert table.endswith(
        f"m.csv: not a head; make one with: featx embed {tmp_path / 'm.csv'} -m MODEL"
        f" -o {tmp_path / 'm.emb'}; then featx train {tmp_path / 'm.emb'} -o {tmp_path / 'm.head'}"
    )
    (tmp_path / "photos").mkdir()
    assert refused("report", tmp_path / "photos", "-o", out) == (
        f"{tmp_path / 'photos'}: not an embedding set; make one with: featx embed"
        f" {tmp_path / 'photos'} -m MODEL -o {tmp_path / 'photos.emb'}"
    )
    head = call("report", texts / "t.emb", "-o", out, "--head", "rigde", "-q")
    assert head.exit_code == 1
    assert head.stderr.endswith("error: unknown head 'rigde'; did you mean 'ridge'?\n")
    second = call("report", texts / "t.emb", texts / "t.emb", "-o", out)
    assert second.exit_code == 2
    assert "it comes second: HEAD SET" in second.stderr
    assert not out.exists()


@pytest.mark.parametrize("name", ["-", "r.txt", "page"])
def test_a_page_and_a_map_are_known_by_their_suffix(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = f"{name}: unknown suffix {Path(name).suffix!r}; "

    page = refused("report", texts / "t.emb", "-o", name)
    drawn = refused("map", texts / "t.emb", "-o", name)

    assert page == f"{found}a page ends in .html or .htm"
    assert drawn == f"{found}a map ends in .parquet"
    assert list(tmp_path.iterdir()) == []


def test_a_layout_that_cannot_be_made_is_told_before_the_training(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)  # as where it is not installed

    result = call("report", texts / "t.emb", "-o", tmp_path / "r.html", "--map", "umap")

    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    problem = "error: umap-learn is not installed; run: pip install 'featx[umap]'\n"
    assert result.stderr.endswith(problem)
    assert "looking for" not in result.stderr


@pytest.mark.parametrize("arguments", [("report", "no.emb"), ("adapt", "no.head")])
def test_a_misspelt_path_is_told_before_scikit_learn_is_imported(
    tmp_path: Path, arguments: tuple[str, str]
) -> None:
    command, name = arguments
    target = ["--target", "t.emb"] if command == "adapt" else []
    out = "x.head" if command == "adapt" else "x.html"
    code = (
        "import sys; from featx.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as ended: print(ended.code, 'sklearn' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, command, name, *target, "-o", out],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "1 False\n", done.stderr


def test_a_report_that_is_interrupted_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    text_set(tmp_path / "t.emb", each=1_000)
    command = [sys.executable, "-m", "featx", "report", "t.emb", "-o", "t.html"]

    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        stderr = cast("IO[str]", process.stderr)
        assert any(line.startswith("looking for wrong labels") for line in stderr)
        process.send_signal(signal.SIGINT)
        said = stderr.read().splitlines()

    assert (process.returncode, said[-1]) == (130, "interrupted; no file is half written")
    assert [path.name for path in tmp_path.iterdir()] == ["t.emb"]


def test_labels_that_were_not_judged_are_not_counted(tmp_path: Path) -> None:
    written(tmp_path / "u.emb", text_rows(["ham"] * 30), vectors([0] * 30), "text")

    told = report(tmp_path / "u.emb", "-o", tmp_path / "u.html")

    assert told["suspects"] is None
    assert "labels are not judged: the only class is 'ham'" in told["notes"]  # type: ignore[operator]


def test_a_set_of_one_item_a_class_and_its_copy_has_a_page_without_accuracy(
    tmp_path: Path,
) -> None:
    X = vectors([0, 0, 1, 1], apart=9.0)
    X[1::2] = X[::2]
    written(tmp_path / "u.emb", text_rows(["ham", "ham", "spam", "spam"]), X, "text")

    told = report(tmp_path / "u.emb", "-o", tmp_path / "u.html")

    assert "accuracy" not in told
    assert not {"accuracy", "confusion"} & set(sections(read(tmp_path / "u.html")))


def test_few_items_are_not_said_to_prove_probabilities(texts: Path) -> None:
    said = " ".join(read(texts / "t.html").words)

    found = re.findall(
        r"Nothing speaks against its probabilities: they are off by [\d.]+\u202f% on average, and"
        r" 80 items cannot tell less than ([\d.]+)\u202f% from chance\.",
        said,
    )
    error, band = (load_head(texts / "t.head").header["metrics"][name] for name in (
        "calibration_error", "calibration_band",
    ))  # fmt: skip
    if error <= band[1]:
        assert [float(share) for share in found] == [pytest.approx(100 * band[1], abs=0.06)]
    else:
        assert found == []
        assert "more than chance explains" in said


def test_a_set_of_another_backbone_is_refused_with_the_command_that_mends_it(
    texts: Path, tmp_path: Path
) -> None:
    shutil.copytree(texts / "t.emb", tmp_path / "o.emb")
    manifest = json.loads((tmp_path / "o.emb" / "manifest.json").read_text())
    manifest["finished"] = True
    manifest["model"] |= {"space": "6" * 64, "fingerprint": "6" * 64}
    (tmp_path / "o.emb" / "manifest.json").write_text(json.dumps(manifest))

    line = refused("report", texts / "t.head", tmp_path / "o.emb", "-o", tmp_path / "r.html", "-q")

    assert "run: featx embed SOURCE -m tiny -o OUT.emb" in line


def test_a_map_is_written_with_a_row_an_item(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.parquet"

    told = json.loads(done("map", texts / "t.emb", "-o", out, "--json"))
    line = done("map", texts / "t.emb", "-o", out)

    held = EmbeddingSet.open(texts / "t.emb")
    places = lay_out(held.X)
    table = pq.read_table(out)
    assert told == {
        "items": 80, "method": "pca", "variance": places.share, "out": str(out),
    }  # fmt: skip
    assert table.column("id").to_pylist() == held.ids
    np.testing.assert_array_equal(table.column("x").to_numpy(), places.xy[:, 0])
    assert line == f"{out}: 80 items, pca, {places.share:.1%} of the variance\n"
    assert done("map", texts / "t.emb", "-o", out, "-q") == line


def test_a_page_replaces_pages_of_its_own_and_nothing_else(texts: Path, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text('<!doctype html>\n<meta charset="utf-8">\n<title>mine</title>')
    (tmp_path / "own.html").write_bytes((texts / "t.html").read_bytes())

    line = refused("report", texts / "t.head", "-o", page)
    done("report", texts / "t.head", "-o", tmp_path / "own.html", "-q")

    assert line == f"{page}: a file that is not a page of featx is in the way; choose another name"
    assert "<title>mine</title>" in page.read_text()
    assert "<title>t.head</title>" in (tmp_path / "own.html").read_text("utf-8")


@pytest.mark.parametrize(("command", "name"), [("report", "r.html"), ("map", "m.parquet")])
def test_nothing_is_written_into_a_set(texts: Path, command: str, name: str) -> None:
    out = texts / "t.emb" / name

    line = refused(command, texts / "t.emb", "-o", out)

    assert line == f"{out}: lies in the embedding set {texts / 't.emb'}; choose a place outside"
    assert not out.exists()


def test_a_map_replaces_maps_of_its_own_and_nothing_else(texts: Path, tmp_path: Path) -> None:
    done("map", texts / "t.emb", "-o", tmp_path / "m.parquet")
    drawn = pq.read_table(tmp_path / "m.parquet")
    pq.write_table(drawn.replace_schema_metadata(), tmp_path / "mine.parquet")
    (tmp_path / "own.parquet").write_bytes(b"PAR1 and no more")

    done("map", texts / "t.emb", "-o", tmp_path / "m.parquet")
    for name in ("mine.parquet", "own.parquet"):
        line = refused("map", texts / "t.emb", "-o", tmp_path / name)
        assert line.endswith("a file that is not a map of featx is in the way; choose another name")

    assert pq.read_table(tmp_path / "mine.parquet").equals(drawn)
    assert (tmp_path / "own.parquet").read_bytes() == b"PAR1 and no more"
    segment = texts / "t.emb" / "segment-00000.parquet"
    assert "choose a place outside" in refused("map", texts / "t.emb", "-o", segment)
    assert "id" in pq.read_schema(segment).names
    lost = tmp_path / "no.emb"
    assert "not an embedding set" in refused("map", lost, "-o", tmp_path / "n.parquet")
