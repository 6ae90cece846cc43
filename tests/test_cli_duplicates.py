"""Near duplicates of a gallery, and leaks from one set into another, on the command line."""

from pathlib import Path

import numpy as np
import pytest

from command_line import done, objects, refused

pytestmark = pytest.mark.usefixtures("own_cache")


def built(folder: Path, name: str, X: list[list[float]], y: list[str]) -> Path:
    """Return a gallery of some vectors; its set lies beside it."""
    np.savez(folder / f"{name}.npz", X=np.array(X, np.float32), y=np.array(y))
    done("embed", folder / f"{name}.npz", "-m", "identity", "-o", folder / f"{name}.emb")
    done("index", folder / f"{name}.emb", "-o", folder / f"{name}.knn")
    return folder / f"{name}.knn"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a gallery of one group of three, one of two, and an item that is alone."""
    X: list[list[float]] = [[1, 0, 0], [0, 1, 0], [1, 0.1, 0], [0, 0, 1], [1, 0, 0.1], [0, 0, 2]]
    return built(tmp_path_factory.mktemp("g"), "x", X, ["a", "b", "a", "c", "b", "c"])


def test_groups_come_largest_first_and_say_whose_labels_differ(gallery: Path) -> None:
    (found,) = objects(done("index", "duplicates", gallery, "--json"))

    near = 1 / np.sqrt(1.01)
    first, second = found["groups"]
    assert [item["id"] for item in first["items"]] == ["x.npz:1", "x.npz:3", "x.npz:5"]
    assert [item["label"] for item in first["items"]] == ["a", "a", "b"]
    assert [item["similarity"] for item in first["items"]] == pytest.approx([near] * 3, abs=1e-6)
    assert first["labels_differ"] is True
    assert second == {
        "items": [
            {"id": "x.npz:4", "label": "c", "similarity": 1.0},
            {"id": "x.npz:6", "label": "c", "similarity": 1.0},
        ],
        "labels_differ": False,
    }


def test_people_read_the_groups_as_tables(gallery: Path) -> None:
    lines = done("index", "duplicates", gallery).splitlines()

    assert lines[0] == "5 items in 2 groups of cosine 0.98 or more; labels differ in 1 of them"
    assert lines[2] == "group 1: 3 items; labels differ: a 2, b 1"
    assert lines[3].split() == ["similarity", "label", "id"]
    assert lines[4].split()[:3] == ["0.9950", "a", "x.npz:1"]
    assert lines[8] == "group 2: 2 items"


def test_a_threshold_decides_what_is_nearly_the_same(gallery: Path) -> None:
    (found,) = objects(done("index", "duplicates", gallery, "--threshold", 0.999, "--json"))

    assert [[i["id"] for i in g["items"]] for g in found["groups"]] == [["x.npz:4", "x.npz:6"]]


def test_items_that_were_added_or_removed_count_as_they_are(tmp_path: Path) -> None:
    made = built(tmp_path, "x", [[1, 0], [1, 0], [0, 1]], ["a", "a", "b"])
    np.save(tmp_path / "n.npy", np.array([[0, 3]], np.float32))
    done("index", "remove", made, "x.npz:2")
    done("index", "add", made, tmp_path / "n.npy")

    (found,) = objects(done("index", "duplicates", made, "--json"))

    assert [[i["id"] for i in g["items"]] for g in found["groups"]] == [["x.npz:3", "n.npy:1"]]


def test_none_are_said_to_be_none(tmp_path: Path) -> None:
    made = built(tmp_path, "x", [[1, 0], [0, 1]], ["a", "b"])

    assert done("index", "duplicates", made) == "no two items have a cosine of 0.98 or more\n"
    assert objects(done("index", "duplicates", made, "--json")) == [{"groups": []}]


@pytest.mark.parametrize("suffix", ["emb", "knn"])
def test_leaks_are_listed_of_a_set_or_a_gallery(gallery: Path, tmp_path: Path, suffix: str) -> None:
    built(tmp_path, "t", [[0, 5, 0.1], [1, 1, 1], [0.1, 0, 5]], ["a", "a", "c"])
    other = tmp_path / f"t.{suffix}"

    (found,) = objects(done("index", "duplicates", gallery, "--against", other, "--json"))
    lines = done("index", "duplicates", gallery, "--against", other).splitlines()

    near = 5 / np.sqrt(25.01)
    assert [
        [leak[key] for key in ("id", "label", "gallery_id", "gallery_label")]
        for leak in found["leaks"]
    ] == [
        ["t.npz:1", "a", "x.npz:2", "b"],
        ["t.npz:3", "c", "x.npz:4", "c"],
    ]
    similarities = [leak["similarity"] for leak in found["leaks"]]
    assert similarities == pytest.approx([near, near], abs=1e-6)
    assert lines[0] == f"2 items of {other} are in {gallery} too, or nearly"
    assert lines[2].split() == ["0.9998", "t.npz:1", "a", "x.npz:2", "b"]


def test_a_set_without_leaks_says_so(gallery: Path, tmp_path: Path) -> None:
    built(tmp_path, "t", [[1, 1, 1]], ["a"])
    other = tmp_path / "t.emb"

    said = done("index", "duplicates", gallery, "--against", other)

    assert said == f"no item of {other} has a cosine of 0.98 or more to {gallery}\n"


def test_leaks_are_not_sought_between_spaces(gallery: Path, tmp_path: Path) -> None:
    built(tmp_path, "t", [[1, 1]], ["a"])

    for other in ("t.emb", "t.knn"):
        line = refused("index", "duplicates", gallery, "--against", tmp_path / other)
        assert "embeddings of identity, 2 wide (space " in line
    line = refused("index", "duplicates", gallery, "--against", tmp_path / "no.emb")
    assert "not an embedding set" in line
