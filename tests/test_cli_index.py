"""Galleries on the command line: built, added to, removed from, compacted and described."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import featx
from command_line import call, done, objects, refused
from featx import samples
from featx.cli import main
from featx.cli.index import SUBCOMMANDS
from featx.evaluate.interval import wilson_interval
from featx.gallery.gallery import Gallery
from featx.gallery.thumbnails import thumbnail

pytestmark = pytest.mark.usefixtures("own_cache")

BIRDS = sorted((samples.folder() / "clipart" / "birds").glob("*.png"))[:4]
BUGS = sorted((samples.folder() / "clipart" / "bugs").glob("*.png"))[:4]
BUILD_KEYS = {
    "items", "kind", "metric", "k", "temperature", "accuracy", "interval", "n", "recall",
    "latency_ms", "size_bytes", "out",
}  # fmt: skip


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with ``x.emb``, two clusters in four dimensions, and its ``x.knn``."""
    folder = tmp_path_factory.mktemp("clusters")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4)) + np.repeat([[3.0, 0, 0, 0], [0, 0, 0, 3.0]], 10, axis=0)
    y = np.repeat(["a", "b"], 10)
    y[0] = "b"
    np.savez(folder / "x.npz", X=X, y=y)
    done("embed", folder / "x.npz", "-m", "identity", "-o", folder / "x.emb")
    done("index", folder / "x.emb", "-o", folder / "x.knn")
    return folder


@pytest.fixture
def gallery(clusters: Path, tmp_path: Path) -> Path:
    """Give a copy of the gallery that may be changed."""
    shutil.copytree(clusters / "x.emb", tmp_path / "x.emb")
    return shutil.copytree(clusters / "x.knn", tmp_path / "x.knn")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with ``t.csv`` and the set of its texts."""
    folder = tmp_path_factory.mktemp("texts")
    rows = ["a,a cat sleeps,animal", "b,a dog barks,animal", "c,the bank lends money,money"]
    (folder / "t.csv").write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    done("embed", folder / "t.csv", "-m", "minilm-l6", "-o", folder / "t.emb")
    return folder


def saved(path: Path, *rows: list[float]) -> Path:
    np.save(path, np.array(rows, np.float32))
    return path


def ids_of(path: Path) -> list[str]:
    with Gallery.open(path) as opened:
        everything = opened.snapshot
        found = everything.describe(everything.rows)
    return sorted(neighbour.id for neighbour in found)


def test_building_says_what_was_made_and_measured(clusters: Path, tmp_path: Path) -> None:
    opened, out = featx.open(clusters / "x.emb"), tmp_path / "x.knn"

    (made,) = objects(done("index", clusters / "x.emb", "-o", out, "--json"))

    assert made.keys() == BUILD_KEYS
    assert (made["items"], made["kind"], made["metric"]) == (20, "exact", "cosine")
    assert (made["recall"], made["n"], made["out"]) == (1.0, 20, str(out))
    U = np.asarray(opened.X) / np.linalg.norm(opened.X, axis=1, keepdims=True)
    similarities = U @ U.T - 9 * np.eye(20)
    nearest = np.argsort(-similarities, axis=1)[:, : made["k"]]
    hits = 0
    for row, near in enumerate(nearest):
        weights = np.exp(similarities[row, near] / made["temperature"])
        says_b = weights[opened.y[near] == "b"].sum() > weights.sum() / 2
        hits += says_b == (opened.y[row] == "b")
    assert made["accuracy"] == pytest.approx(hits / 20)
    assert made["interval"] == pytest.approx(wilson_interval(hits, 20))
    lines = done("index", clusters / "x.emb", "-o", out).splitlines()
    assert lines[0] == f"{out}: 20 items, 4 numbers each"
    low, high = made["interval"]
    assert lines[1:5] == [
        "index                  exact, cosine; chosen since all rows can be compared in time",
        f"vote                   k {made['k']}, temperature {made['temperature']:g}",
        f"leave-one-out accuracy {hits / 20:.3f}  [{low:.3f}, {high:.3f}]  n=20",
        "recall                 1.0000",
    ]


def test_a_kind_and_a_metric_can_be_asked_for(clusters: Path, tmp_path: Path) -> None:
    command = ("index", clusters / "x.emb", "-o", tmp_path / "x.knn", "--json")

    (made,) = objects(done(*command, "--kind", "numpy", "--metric", "l2"))

    assert (made["kind"], made["metric"], made["recall"]) == ("numpy", "l2", 1.0)
    line = refused(*command, "--kind", "exacts")
    assert line == "unknown index 'exacts'; did you mean 'exact'?"


def test_a_set_without_labels_is_built_without_an_accuracy(tmp_path: Path) -> None:
    saved(tmp_path / "x.npy", [1, 0], [0, 1], [1, 1])
    done("embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb")

    (made,) = objects(done("index", tmp_path / "x.emb", "-o", tmp_path / "x.knn", "--json"))

    assert (made["accuracy"], made["interval"], made["n"]) == (None, None, 0)


def test_a_gallery_that_stands_alone_needs_no_set(clusters: Path, tmp_path: Path) -> None:
    saved(tmp_path / "x.npy", [1, 0], [0, 1])
    done("embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb")
    done("index", tmp_path / "x.emb", "-o", tmp_path / "alone.knn", "--standalone")
    (tmp_path / "x.emb").rename(tmp_path / "gone.emb")

    assert ids_of(tmp_path / "alone.knn") == ["x.npy:1", "x.npy:2"]


def test_changes_are_not_dropped_unless_that_is_asked_for(gallery: Path) -> None:
    done("index", "remove", gallery, "x.npz:1")
    command = ("index", gallery.with_name("x.emb"), "-o", gallery)

    assert "--drop-changes" in refused(*command)
    done(*command, "--drop-changes")
    assert len(ids_of(gallery)) == 20


def test_help_shows_both_uses() -> None:
    output = done("index", "--help")

    assert "[OPTIONS] SET -o X.knn" in output
    assert "COMMAND X.knn [ARGS]..." in output
    assert "--recall" in output
    for name, summary in SUBCOMMANDS.items():
        assert f"  {name} " in output
        command = main.get_command(None, "index").get_command(None, name)  # type: ignore[union-attr,arg-type]
        assert command.help.splitlines()[0] == summary
        assert done("index", name, "--help").startswith(f"Usage: main index {name} [OPTIONS] ")


@pytest.mark.parametrize("argv", [["index", "--help"], ["index", "add", "--help"]], ids=" ".join)
def test_help_imports_no_numpy(argv: list[str]) -> None:
    code = f"import sys\nfrom featx.cli import main\ntry: main({argv!r})\nexcept SystemExit: pass\n"
    code += "assert not {'numpy', 'faiss', 'pyarrow'} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_misspelt_commands_and_sets_are_suggested(clusters: Path, tmp_path: Path) -> None:
    result = call("index", "stat", "x.knn")

    assert result.exit_code == 2
    assert "no such command or set 'stat'; did you mean 'stats'?" in result.stderr
    line = refused("index", clusters / "y.emb", "-o", tmp_path / "x.knn")
    assert line.startswith(f"{clusters / 'y.emb'}: no such embedding set; did you mean ")
    assert call("index").exit_code == 2


def test_a_set_that_is_called_like_a_command_is_reached(
    clusters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("add").symlink_to(clusters / "x.emb")

    done("index", "./add", "-o", "x.knn")
    assert len(ids_of(Path("x.knn"))) == 20


def test_added_items_are_found_with_their_facts(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "new.npy", [9, 9, 0, 0], [0, 9, 9, 0])

    (report,) = objects(done("index", "add", gallery, new, "--label", "c", "--json"))

    counts = {"added": 2, "replaced": 0, "held": 0, "errors": 0, "items": 22}
    assert report == counts | {"out": str(gallery)}
    (found,) = objects(done("search", gallery, saved(tmp_path / "q.npy", [1, 1, 0, 0]), "--json"))
    assert found["neighbours"][0]["id"] == "new.npy:1"
    assert found["neighbours"][0]["label"] == "c"
    assert found["neighbours"][0]["similarity"] == pytest.approx(1.0)


def test_the_rows_of_a_set_are_added_as_they_are(gallery: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(1).normal(size=(5, 4))
    np.savez(tmp_path / "more.npz", X=X, y=np.array(["a", "b", "c", "a", "b"]))
    done("embed", tmp_path / "more.npz", "-m", "identity", "-o", tmp_path / "more.emb")

    line = done("index", "add", gallery, tmp_path / "more.emb", "--split", "test")

    assert line == f"{gallery}: 5 items added; 25 in all\n"
    with Gallery.open(gallery) as opened:
        found = opened.search(X.astype(np.float32), 1, split="test")
    assert [n.id for (n,) in found] == [f"more.npz:{row}" for row in range(1, 6)]
    assert [n.label for (n,) in found] == ["a", "b", "c", "a", "b"]


def test_an_id_that_is_there_is_named_and_replaced_if_asked(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "n.npy", [9, 9, 0, 0])
    done("index", "add", gallery, new)
    saved(new, [0, 9, 9, 0], [1, 2, 3, 4])

    line = refused("index", "add", gallery, new)
    (report,) = objects(done("index", "add", gallery, new, "--replace", "--json"))

    assert line.startswith(f"n.npy:1: is in {gallery} already; add --replace")
    assert (report["added"], report["replaced"], report["items"]) == (2, 1, 22)
    (found,) = objects(done("search", gallery, saved(tmp_path / "q.npy", [0, 1, 1, 0]), "--json"))
    assert found["neighbours"][0]["id"] == "n.npy:1"


def test_items_that_cannot_be_added_are_listed(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "n.npy", [1, 2, 3, 4], [np.nan, 0, 0, 0], [0, 0, 0, 0])
    zero = "its vector is zero, which has no direction and so no cosine"
    problem = "holds 1 values that are not finite float32 numbers, the first at [0]"

    some = call("index", "add", gallery, new)
    none = call("index", "add", gallery, saved(tmp_path / "wide.npy", [1, 2, 3, 4, 5]))

    assert some.exit_code == 3
    assert some.stderr == f"skipped n.npy:2: {problem}\nskipped n.npy:3: {zero}\n"
    assert some.stdout == f"{gallery}: 1 item added, 2 skipped; 21 in all\n"
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr.startswith("skipped wide.npy:1: ")
    assert len(ids_of(gallery)) == 21


def test_an_id_that_comes_twice_is_added_once(texts: Path, tmp_path: Path) -> None:
    done("index", texts / "t.emb", "-o", tmp_path / "t.knn")

    result = call("index", "add", tmp_path / "t.knn", "one", "two", "one", "--json")

    assert result.exit_code == 3
    assert result.stderr == (
        "skipped one: its id occurs twice in the source; give each item its own\n"
    )
    assert ids_of(tmp_path / "t.knn") == ["a", "b", "c", "one", "two"]


def test_a_text_is_added_with_its_label(texts: Path, tmp_path: Path) -> None:
    done("index", texts / "t.emb", "-o", tmp_path / "t.knn")

    done("index", "add", tmp_path / "t.knn", "a rabbit eats", "--label", "animal")
    (found,) = objects(done("search", tmp_path / "t.knn", "a rabbit eats", "-k", 1, "--json"))
    assert found["neighbours"][0]["id"] == "a rabbit eats"
    assert found["neighbours"][0]["label"] == "animal"


def test_a_set_of_another_space_is_refused(gallery: Path, texts: Path, tmp_path: Path) -> None:
    for command in (("index", "add"), ("search",)):
        line = refused(*command, gallery, texts / "t.emb")
        assert line.startswith(f"{texts / 't.emb'}: embeddings of minilm-l6, 384 wide (space ")
        assert f"), but {gallery} holds identity, 4 wide (space " in line
        assert line.endswith("; run: featx embed SOURCE -m identity -o OUT.emb")


def test_a_second_writer_is_refused(gallery: Path, tmp_path: Path) -> None:
    with Gallery.open(gallery, writable=True):
        for command in (("add", gallery, tmp_path), ("remove", gallery, "x"), ("compact", gallery)):
            assert "another process is writing to it" in refused("index", *command)
        assert len(ids_of(gallery)) == 20


def test_pictures_are_kept_small_for_pages(tmp_path: Path) -> None:
    for path in [*BIRDS, *BUGS]:
        (tmp_path / "p" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / path.parent.name / path.name).symlink_to(path)
    done("embed", tmp_path / "p", "-m", "efficientnet-lite0", "-o", tmp_path / "p.emb")
    done("index", tmp_path / "p.emb", "-o", tmp_path / "p.knn")
    done("index", tmp_path / "p.emb", "-o", tmp_path / "plain.knn", "--no-thumbnails")
    new = tmp_path / "new.png"
    with Image.open(BIRDS[0]) as bird:
        bird.convert("RGBA").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(new)
    done("index", "add", tmp_path / "p.knn", new)

    kept = {}
    for name in ("p.knn", "plain.knn"):
        with Gallery.open(tmp_path / name) as opened:
            (found,) = opened.search(np.ones((1, 1280), np.float32), 99)
            kept[name] = {each.id: opened.thumbnail(each.row) for each in found}

    expected = {f"{path.parent.name}/{path.name}": thumbnail(path) for path in [*BIRDS, *BUGS]}
    assert kept["p.knn"] == expected | {str(new): thumbnail(new)}
    assert kept["plain.knn"] == dict.fromkeys(expected)


def test_removed_items_are_gone(gallery: Path) -> None:
    (report,) = objects(done("index", "remove", gallery, "x.npz:3", "x.npz:20", "--json"))

    assert report == {"removed": 2, "items": 18, "out": str(gallery)}
    assert {"x.npz:3", "x.npz:20"} & set(ids_of(gallery)) == set()


def test_ids_can_come_from_standard_input(gallery: Path) -> None:
    def remove(lines: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["index", "remove", str(gallery), "-"], input=lines)
        return result.exit_code, result.output

    assert remove("x.npz:1\r\nx.npz:2\n\nx.npz:2\n") == (
        0,
        f"{gallery}: 2 items removed; 18 in all\n",
    )
    assert remove("\n") == (1, "error: -: no ids on standard input; expected one a line\n")


def test_a_name_that_is_not_utf8_is_removed_as_it_was_added(tmp_path: Path, gallery: Path) -> None:
    name = os.fsdecode(b"bad\xff.npy")
    (tmp_path / "new").mkdir()
    np.save(tmp_path / "new" / name, np.ones(4, np.float32))
    done("index", "add", gallery, tmp_path / "new")
    assert "bad\\xff.npy" in ids_of(gallery)

    done("index", "remove", gallery, name)

    assert "bad\\xff.npy" not in ids_of(gallery)


def test_nothing_is_removed_where_an_id_is_unknown(gallery: Path) -> None:
    line = refused("index", "remove", gallery, "x.npz:1", "x.npz:99")
    lines = refused("index", "remove", gallery, "x.npz:98", "y")
    far = refused("index", "remove", gallery, "y")

    said = "remove: no item has the id"
    assert line == f"{said} 'x.npz:99'; nothing was removed; did you mean 'x.npz:9'?"
    more = "did you mean 'x.npz:9' for 'x.npz:98'?"
    assert lines == f"{said} 'x.npz:98', 'y'; nothing was removed; {more}"
    assert far == f"{said} 'y'; nothing was removed"
    assert len(ids_of(gallery)) == 20


def test_of_large_galleries_only_ids_that_are_very_near_are_suggested(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "remove: no item has the id"

    assert refused("index", "remove", gallery, "x.npy:20").endswith("did you mean 'x.npz:20'?")
    monkeypatch.setattr("featx.cli.index_remove._FEW", 19)
    line = refused("index", "remove", gallery, "x.npy:20")
    assert line == f"{said} 'x.npy:20'; nothing was removed"
    line = refused("index", "remove", gallery, "x.npz:99")
    assert line == f"{said} 'x.npz:99'; nothing was removed; did you mean 'x.npz:9'?"
    monkeypatch.setattr("featx.cli.index_remove.COMPARED", 19)
    line = refused("index", "remove", gallery, "x.npz:99")
    assert line == f"{said} 'x.npz:99'; nothing was removed"


def test_compacting_gives_the_place_of_removed_items_back(gallery: Path) -> None:
    done("index", "remove", gallery, "x.npz:1", "x.npz:2")

    (report,) = objects(done("index", "compact", gallery, "--json"))
    (stats,) = objects(done("index", "stats", gallery, "--json"))

    assert (report["items"], report["out"]) == (18, str(gallery))
    assert report.keys() == {
        "items", "dropped", "removed", "before_bytes", "after_bytes", "out",
    }  # fmt: skip
    assert report["dropped"] + report["removed"] == 2
    assert (stats["items"], stats["pending"]) == (18, 0)
    assert len(ids_of(gallery)) == 18
    assert done("index", "compact", gallery).startswith(f"{gallery}: 18 items; ")


def test_stats_say_what_a_gallery_holds(gallery: Path) -> None:
    done("index", "remove", gallery, "x.npz:1", "x.npz:20")

    (stats,) = objects(done("index", "stats", gallery, "--json"))
    lines = done("index", "stats", gallery).splitlines()

    assert (stats["items"], stats["removed"], stats["pending"]) == (18, 2, 2)
    assert lines[0] == f"{gallery}: 18 items of identity, 4 numbers each"
    assert lines[1] == "labels                 a 9, b 9"


def test_stats_tell_what_compacting_drops_from_what_it_cannot(gallery: Path) -> None:
    def stored() -> str:
        lines = done("index", "stats", gallery).splitlines()
        (line,) = (line for line in lines if line.startswith("stored "))
        return line.removeprefix("stored").strip()

    none = stored()
    done("index", "remove", gallery, "x.npz:1", "x.npz:20")
    before = stored()
    done("index", "compact", gallery)
    after = stored()
    done("index", "remove", gallery, "x.npz:2")

    assert none == "1 part, no changes, 0 removed rows"
    assert before == "1 part, 2 changes in the log, 2 removed rows"
    assert after == "1 part, no changes, 2 removed rows left in the embedding set"
    assert stored() == (
        "1 part, 1 change in the log, 1 removed row, 2 removed rows left in the embedding set"
    )


def test_compacting_what_stands_alone_leaves_no_removed_row(clusters: Path, tmp_path: Path) -> None:
    done("index", clusters / "x.emb", "-o", tmp_path / "x.knn", "--standalone")
    done("index", "remove", tmp_path / "x.knn", "x.npz:1")

    done("index", "compact", tmp_path / "x.knn")

    assert "1 part, no changes, 0 removed rows\n" in done("index", "stats", tmp_path / "x.knn")


def test_the_items_of_a_gallery_are_listed_as_they_are_now(gallery: Path, tmp_path: Path) -> None:
    new = saved(tmp_path / "n.npy", [9, 9, 0, 0])
    done("index", "add", gallery, new, "--label", "c", "--split", "test")
    done("index", "remove", gallery, "x.npz:2")
    opened = featx.open(gallery.with_name("x.emb"))

    lines = done("cat", gallery).splitlines()
    rows = objects(done("cat", gallery, "--json", "--vectors"))

    ids = [*(item_id for item_id in opened.ids if item_id != "x.npz:2"), "n.npy:1"]
    assert [line.split("\t")[0] for line in lines] == ids
    assert lines[0] == done("cat", opened.path, "-n", 1).strip()
    assert lines[-1] == "n.npy:1\tc\ttest\tfloat32 (4,): 9 9 0 0"
    assert [row["id"] for row in rows] == ids
    assert {tuple(row) for row in rows} == {
        ("id", "uri", "label", "split", "preview", "vector"),
    }
    np.testing.assert_array_equal(np.float32(rows[0]["vector"]), opened.X[0])
    np.testing.assert_allclose(rows[-1]["vector"], [0.5**0.5, 0.5**0.5, 0, 0], rtol=1e-6)
    assert objects(done("cat", gallery, "-n", 1, "--json")) == [
        {name: value for name, value in rows[0].items() if name != "vector"}
    ]
    missing = gallery.with_name("y.knn")
    assert refused("cat", missing) == f"{missing}: no such gallery; did you mean 'x.knn'?"


@pytest.mark.parametrize("command", ["add", "remove", "stats", "compact", "duplicates"])
def test_what_is_no_gallery_is_named_with_the_command_that_makes_one(
    clusters: Path, command: str
) -> None:
    more = ["x"] if command in {"add", "remove"} else []
    for place in (clusters / "x.emb", clusters / "no.knn"):
        line = refused("index", command, place, *more)
        assert line.startswith(f"{place}: ")
        assert "build one with: featx index" in line or "did you mean 'x.knn'?" in line


def test_a_label_that_is_new_is_named(gallery: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones((1, 4), np.float32))

    known = call("index", "add", gallery, tmp_path / "one.npy", "--label", "a")
    again = call("index", "add", gallery, tmp_path / "one.npy", "--label", "aa", "--replace")

    assert known.stderr == ""
    assert again.stderr == "note: 1 new label: aa\n"


def test_sets_and_galleries_that_change_places_are_told(clusters: Path) -> None:
    swapped = call("evaluate", clusters / "x.emb", clusters / "x.knn")

    assert swapped.exit_code == 2
    assert "x.emb is an embedding set; it comes second" in swapped.stderr
    assert refused("index", clusters / "x.knn", "-o", clusters / "y.knn").endswith(
        "it is a gallery; name the set that it was made of"
    )
