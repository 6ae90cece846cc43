"""Searching on the command line: files, texts and sets, as a table, JSON or a page."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featx
from command_line import call, done, objects, refused
from featx import samples
from featx.cli.named import names_file
from featx.data.rows import Row
from featx.data.writer import SetWriter
from featx.gallery.gallery import Gallery
from featx.types import Vectors

pytestmark = pytest.mark.usefixtures("own_cache")

CLIPART = samples.folder() / "clipart"


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with ``x.knn``: 30 labelled and split points, and ``q.emb`` of five."""
    folder = tmp_path_factory.mktemp("clusters")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4)) + np.repeat([[3.0, 0, 0, 0], [0, 0, 0, 3.0]], 15, axis=0)
    np.savez(folder / "x.npz", X=X, y=np.repeat(["apple", "birch"], 15))
    np.save(folder / "q.npy", rng.normal(size=(5, 4)))
    for name in ("x.npz", "q.npy"):
        place = (folder / name).with_suffix(".emb")
        done("embed", folder / name, "-m", "identity", "-o", place)
    splits = ["test" if row % 3 == 0 else "train" for row in range(30)]
    lines = [f"x.npz:{row + 1},{split}" for row, split in enumerate(splits)]
    (folder / "s.csv").write_text("\n".join(["id,split", *lines]) + "\n", encoding="utf-8")
    done("label", folder / "x.emb", folder / "s.csv")
    done("index", folder / "x.emb", "-o", folder / "x.knn")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with ``p.knn``, a gallery of twelve pictures of two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("birds", "bugs"):
        (folder / "p" / name).mkdir(parents=True)
        for path in sorted((CLIPART / name).glob("*.png"))[:6]:
            (folder / "p" / name / path.name).symlink_to(path)
    done("embed", folder / "p", "-m", "efficientnet-lite0", "-o", folder / "p.emb")
    done("index", folder / "p.emb", "-o", folder / "p.knn")
    return folder


def cosines(Q: Vectors, X: Vectors) -> Vectors:
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (Q, X)]
    similarities: Vectors = unit[0] @ unit[1].T
    return similarities


def test_a_set_is_searched_by_its_vectors(clusters: Path) -> None:
    queries, opened = featx.open(clusters / "q.emb"), featx.open(clusters / "x.emb")
    near = cosines(np.asarray(queries.X), np.asarray(opened.X))
    order = np.argsort(-near, axis=1)[:, :3]

    found = objects(done("search", clusters / "x.knn", clusters / "q.emb", "-k", 3, "--json"))

    assert [list(answer) for answer in found] == [["id", "neighbours", "vote"]] * 5
    assert [answer["id"] for answer in found] == queries.ids
    for row, answer in enumerate(found):
        assert [n["id"] for n in answer["neighbours"]] == [opened.ids[at] for at in order[row]]
        assert [n["label"] for n in answer["neighbours"]] == opened.y[order[row]].tolist()
        similarities = [n["similarity"] for n in answer["neighbours"]]
        np.testing.assert_allclose(similarities, near[row, order[row]], atol=1e-6)


def test_the_vote_is_that_of_the_gallery(clusters: Path) -> None:
    found = objects(done("search", clusters / "x.knn", clusters / "q.emb", "-k", 1, "--json"))

    with Gallery.open(clusters / "x.knn") as opened:
        said = opened.classify(np.asarray(featx.open(clusters / "q.emb").X))
    expected = [{"label": v.label, "probability": v.probability, "novel": v.novel} for v in said]
    assert [answer["vote"] for answer in found] == expected


def test_people_read_a_table_and_the_vote(clusters: Path) -> None:
    (found, *_) = objects(done("search", clusters / "x.knn", clusters / "q.emb", "--json"))
    nearest, vote = found["neighbours"][0], found["vote"]

    lines = done("search", clusters / "x.knn", clusters / "q.emb", "-k", 2).splitlines()

    assert lines[0] == "q.npy:1"
    assert lines[1].startswith(f"vote: {vote['label']}, {vote['probability']:.0%} of the ")
    assert lines[2].split() == ["similarity", "label", "id"]
    assert lines[3].split()[:3] == [
        f"{nearest['similarity']:.3f}", nearest["label"], nearest["id"],
    ]  # fmt: skip
    assert len(lines) == 5 * 5


def test_no_distance_is_zero_not_minus_zero(clusters: Path, tmp_path: Path) -> None:
    done("index", clusters / "x.emb", "-o", tmp_path / "x.knn", "--metric", "l2")
    X = np.asarray(featx.open(clusters / "x.emb").X)
    np.save(tmp_path / "q.npy", X[:2] + np.array([[0.0], [1e-5]]))
    command = ("search", tmp_path / "x.knn", tmp_path / "q.npy", "-k", 1)

    lines = done(*command).splitlines()
    same, near = objects(done(*command, "--json"))
    done(*command, "--html", tmp_path / "q.html")

    assert [line.split()[:3] for line in (lines[3], lines[7])] == [
        ["0.000", "apple", "x.npz:1"], ["0.000", "apple", "x.npz:2"],
    ]  # fmt: skip
    assert str(same["neighbours"][0]["similarity"]) == "0.0"
    assert -1e-4 < near["neighbours"][0]["similarity"] < 0
    html = (tmp_path / "q.html").read_text(encoding="utf-8")
    assert html.count('<p class="similarity"><span>0.000</span></p>') == 2


def test_fewer_neighbours_are_given_where_there_are_fewer(clusters: Path) -> None:
    (found, *_) = objects(
        done("search", clusters / "x.knn", clusters / "q.emb", "-k", 99, "--json")
    )

    assert sorted(n["id"] for n in found["neighbours"]) == sorted(
        featx.open(clusters / "x.emb").ids
    )


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (("--label", "birch"), range(15, 30)),
        (("--split", "test"), range(0, 30, 3)),
        (("--label", "apple", "--split", "test"), range(0, 15, 3)),
    ],
    ids=["label", "split", "both"],
)
def test_neighbours_can_be_of_one_label_or_split(
    clusters: Path, options: tuple[str, ...], rows: range
) -> None:
    command = ("search", clusters / "x.knn", clusters / "q.emb", "-k", 99, "--json")

    found = objects(done(*command, *options))

    for answer in found:
        ids = {n["id"] for n in answer["neighbours"]}
        assert ids == {f"x.npz:{row + 1}" for row in rows}
        assert answer["vote"] is None


def test_a_filter_that_matches_nothing_is_answered_with_what_there_is(clusters: Path) -> None:
    command = ("search", clusters / "x.knn", clusters / "q.emb")

    assert refused(*command, "--label", "aple") == "unknown label 'aple'; did you mean 'apple'?"
    assert refused(*command, "--label", "oak") == "unknown label 'oak'; known: apple, birch"
    assert refused(*command, "--split", "tset") == "unknown split 'tset'; did you mean 'test'?"
    assert refused(*command, "--split", "val") == "unknown split 'val'; known: test, train"


def test_two_filters_that_no_item_meets_are_named(tmp_path: Path, clusters: Path) -> None:
    np.savez(tmp_path / "x.npz", X=np.eye(4)[:2], y=np.array(["a", "b"]))
    done("embed", tmp_path / "x.npz", "-m", "identity", "-o", tmp_path / "x.emb")
    text = "id,split\nx.npz:1,train\nx.npz:2,test\n"
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    done("label", tmp_path / "x.emb", tmp_path / "s.csv")
    done("index", tmp_path / "x.emb", "-o", tmp_path / "x.knn")

    command = ("search", tmp_path / "x.knn", clusters / "q.emb", "--label", "a", "--split", "test")
    assert refused(*command).endswith("x.knn: no item has the label 'a' and the split 'test'")


def test_a_split_whose_items_were_removed_is_named_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(2, dtype=np.float32))
    done("embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb")
    gallery = tmp_path / "x.knn"
    done("index", tmp_path / "x.emb", "-o", gallery)
    np.save(tmp_path / "t.npy", np.ones((1, 2), np.float32))
    done("index", "add", gallery, tmp_path / "t.npy", "--split", "test")
    done("index", "remove", gallery, "t.npy:1")

    line = refused("search", gallery, tmp_path / "x.emb", "--split", "test")
    assert line.endswith("x.knn: no item has the split 'test'")


def test_an_emptied_gallery_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(2, dtype=np.float32))
    done("embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb")
    gallery = tmp_path / "x.knn"
    done("index", tmp_path / "x.emb", "-o", gallery)
    done("index", "remove", gallery, "x.npy:1", "x.npy:2")

    line = refused("search", gallery, tmp_path / "x.emb")
    assert line == f"{gallery}: holds no items; run: featx index add {gallery} ITEMS"


def test_an_empty_set_is_no_query(clusters: Path, tmp_path: Path) -> None:
    model = featx.open(clusters / "q.emb").manifest["model"]
    with SetWriter(tmp_path / "q.emb", model=model) as writer:
        writer.finish()

    line = refused("search", clusters / "x.knn", tmp_path / "q.emb")
    assert line == f"{tmp_path / 'q.emb'}: holds no items; run its embed command again"


def test_queries_that_cannot_be_read_are_listed(clusters: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", np.array([[1, 0, 0, 0], [np.inf, 0, 0, 0], [0, 0, 0, 0]]))
    np.save(tmp_path / "wide.npy", np.ones((1, 5)))

    some = call("search", clusters / "x.knn", tmp_path / "q.npy", "--json")
    none = call("search", clusters / "x.knn", tmp_path / "wide.npy", "--json")

    assert some.exit_code == 3
    assert some.stderr.startswith("skipped q.npy:2: ")
    assert [answer["id"] for answer in objects(some.stdout)] == ["q.npy:1", "q.npy:3"]
    zero = objects(some.stdout)[1]["neighbours"]
    assert {n["similarity"] for n in zero} == {0.0}
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr.startswith("skipped wide.npy:1: ")


def test_vectors_that_were_made_in_another_way_are_searched_with_a_note(
    clusters: Path, tmp_path: Path
) -> None:
    queries = featx.open(clusters / "q.emb")
    model = queries.manifest["model"] | {"fingerprint": "0" * 64}
    with SetWriter(tmp_path / "q.emb", model=model) as writer:
        writer.append([Row(id=i, digest="00") for i in queries.ids], np.asarray(queries.X))
        writer.seal()

    result = call("search", clusters / "x.knn", tmp_path / "q.emb", "--json")

    assert result.exit_code == 0
    assert result.stdout == done("search", clusters / "x.knn", clusters / "q.emb", "--json")
    assert (
        "note: same space, other fingerprint: similarities may be off a little\n" in result.stderr
    )


def test_what_is_no_gallery_or_a_damaged_one_is_refused(clusters: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.knn").mkdir()
    (tmp_path / "bad.knn" / "gallery.json").write_text('{"format": "featx-gallery"', "utf-8")

    for place, what in [
        (clusters / "x.emb", "not a gallery"),
        (tmp_path / "no.knn", "no such gallery; did you mean 'bad.knn'?"),
        (tmp_path / "bad.knn", f"run: featx index SET -o {tmp_path / 'bad.knn'}"),
    ]:
        line = refused("search", place, clusters / "q.emb")
        assert what in line


def test_words_for_a_gallery_of_pictures_are_refused(pictures: Path) -> None:
    line = refused("search", pictures / "p.knn", "a red bird")

    assert line == (
        f"'a red bird': no such file; {pictures / 'p.knn'} holds items of kind 'image' "
        "(efficientnet-lite0) and takes files, a folder or a set of them, no texts"
    )
    for name, what in [("p.emb", "is an embedding set"), ("p.knn", "is a gallery")]:
        line = refused("search", pictures / "p.knn", pictures / name, pictures / "p")
        assert line.startswith(f"{pictures / name}: {what}; name ")
    line = refused("search", pictures / "p.knn", pictures / "brid.png")
    assert "brid.png: no such file or folder" in line


def test_a_page_shows_pictures_of_queries_and_neighbours(pictures: Path, tmp_path: Path) -> None:
    query = min((pictures / "p" / "birds").iterdir())
    page = tmp_path / "page.html"

    result = call("search", pictures / "p.knn", query, "-k", 4, "--html", page)
    with_json = objects(done("search", pictures / "p.knn", query, "--html", page, "--json"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{page}: 1 query\n"
    html = page.read_text(encoding="utf-8")
    assert html.count('<img src="data:image/jpeg;base64,') == 1 + 10
    assert f'alt="birds/{query.name}, labelled birds"' in html
    assert [len(answer["neighbours"]) for answer in with_json] == [10]


def test_a_page_of_a_set_shows_its_pictures(pictures: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    done("search", pictures / "p.knn", pictures / "p.emb", "-k", 2, "--html", page)

    html = page.read_text(encoding="utf-8")
    assert html.count("<section ") == 12
    assert html.count('<img src="data:image/jpeg;base64,') == 12 * 3


def test_no_page_is_written_where_nothing_could_be_read(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    page = tmp_path / "page.html"

    result = call("search", pictures / "p.knn", tmp_path / "broken.png", "--html", page)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f"error: {page}: not written, since no item could be read\n")
    assert not page.exists()


def test_a_page_may_not_replace_what_is_asked(pictures: Path, tmp_path: Path) -> None:
    query = tmp_path / "q.png"
    Image.new("RGB", (30, 30), "red").save(query)
    before = query.read_bytes()

    line = refused("search", pictures / "p.knn", query, "--html", query)

    assert line.endswith("is read by this command; choose another name for what it writes")
    assert query.read_bytes() == before


def test_texts_are_searched_by_words(tmp_path: Path) -> None:
    rows = ["a,a cat sleeps in the sun", "b,the bank raised interest rates"]
    (tmp_path / "t.csv").write_text("\n".join(["id,text", *rows]) + "\n", encoding="utf-8")
    done("embed", tmp_path / "t.csv", "-m", "minilm-l6", "-o", tmp_path / "t.emb")
    done("index", tmp_path / "t.emb", "-o", tmp_path / "t.knn")

    (found,) = objects(done("search", tmp_path / "t.knn", "money and loans", "--json"))
    lines = done("search", tmp_path / "t.knn", "money and loans").splitlines()
    done("search", tmp_path / "t.knn", "money <b>&", "--html", tmp_path / "t.html")

    assert (found["id"], found["vote"]) == ("money and loans", None)
    assert [n["id"] for n in found["neighbours"]] == ["b", "a"]
    assert [n["label"] for n in found["neighbours"]] == [None, None]
    assert lines[2].endswith("  -  b   the bank raised interest rates")
    html = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert "<blockquote>the bank raised interest rates</blockquote>" in html
    assert "money &lt;b&gt;&amp;" in html


def test_json_is_one_object_a_query_as_the_help_says(clusters: Path) -> None:
    output = done("search", clusters / "x.knn", clusters / "q.emb", "-k", 1, "--json")

    for line in output.splitlines():
        answer = json.loads(line)
        assert list(answer) == ["id", "neighbours", "vote"]
        assert [list(each) for each in answer["neighbours"]] == [["id", "label", "similarity"]]
        assert list(answer["vote"]) == ["label", "probability", "novel"]
    text = done("search", "--help")
    assert '{"id": "a.jpg",' in text
    assert (
        '"neighbours": [{"id": "b.jpg", "label": "cat" or null, "similarity": 0.93}, ...],' in text
    )


@pytest.mark.parametrize("argument", ["nope.emb", "nope.knn", "mails/"])
def test_a_path_of_ours_that_is_not_there_is_no_text(argument: str) -> None:
    assert names_file(argument)
    assert not names_file("nope or not.")


def test_a_page_replaces_pages_of_its_own_and_nothing_else(pictures: Path, tmp_path: Path) -> None:
    query, other = min((pictures / "p" / "birds").iterdir()), tmp_path / "index.html"
    other.write_text("<!doctype html><title>Mine</title>", encoding="utf-8")

    line = refused("search", pictures / "p.knn", query, "--html", other)

    assert line.startswith(f"{other}: a file that is not a page of featx is in the way;")
    assert other.read_text(encoding="utf-8") == "<!doctype html><title>Mine</title>"
