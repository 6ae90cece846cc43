"""The map of a gallery: who is on it, where, and how a service has it drawn."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import StoreError
from featx.evaluate.projection import PROGRAM, evenly, laid_out, project
from featx.gallery.gallery import Gallery, ItemFacts
from featx.serve.routes import projection
from featx.serve.routes.projection import Cartographer
from serving import DIM, Served, copy_of, process, serving, vectors

LONGEST_S = 60.0


def drawn(served: Served) -> Any:  # noqa: ANN401
    """Return the map, as soon as there is one."""
    ends_s = time.monotonic() + LONGEST_S
    while time.monotonic() < ends_s:
        status, found = served.json("GET", "/v1/map")
        assert status == 200, found
        if found["ready"]:
            return found
        assert (found["points"], found["shown"]) == ([], 0)
        time.sleep(0.1)
    pytest.fail("there is no map")


def test_neighbours_lie_beside_each_other(vector_gallery: Path) -> None:
    with Gallery.open(vector_gallery) as gallery:
        snapshot = gallery.snapshot
    found = project(snapshot)

    assert found.method == "t-SNE"
    assert found.rows.tolist() == list(range(60))
    assert found.places.min() >= 0
    assert found.places.max() <= 1
    assert np.ptp(found.places, axis=0).max() == pytest.approx(1)
    codes = np.arange(60) % 3
    apart = np.linalg.norm(found.places[:, None] - found.places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (codes[apart.argmin(axis=1)] == codes).mean() > 0.9


def test_a_map_is_the_same_each_time(vector_gallery: Path) -> None:
    with Gallery.open(vector_gallery) as gallery:
        snapshot = gallery.snapshot

    np.testing.assert_array_equal(project(snapshot).places, project(snapshot).places)


def test_items_are_drawn_evenly_over_the_classes(vector_gallery: Path, tmp_path: Path) -> None:
    with Gallery.open(copy_of(vector_gallery, tmp_path), writable=True) as gallery:
        gallery.remove([f"v{row}" for row in range(0, 51, 3)])  # all but three of class a
        gallery.add(["w"], vectors(1), facts=[ItemFacts()])  # which has no label
        snapshot = gallery.snapshot
        rows = evenly(snapshot, 20, np.random.default_rng(0))
        labels = [snapshot.item(row)[1].label for row in rows.tolist()]
        every = evenly(snapshot, 100, np.random.default_rng(0))

    assert rows.tolist() == sorted(set(rows.tolist()))
    assert {label: labels.count(label) for label in ("a", "b", "c", None)} == {
        "a": 3,
        "b": 8,
        "c": 8,
        None: 1,
    }
    np.testing.assert_array_equal(every, snapshot.rows)


@pytest.mark.parametrize(
    ("X", "method"),
    [
        (np.empty((0, 4), np.float32), "PCA"),
        (np.ones((1, 4), np.float32), "PCA"),
        (np.ones((40, 4), np.float32), "PCA"),
        (np.eye(2, 4, dtype=np.float32), "PCA"),
        (np.eye(11, 4, dtype=np.float32), "PCA"),
        (np.eye(12, 4, dtype=np.float32), "t-SNE"),
        (np.arange(30, dtype=np.float32)[:, None], "t-SNE"),
        (np.eye(30, dtype=np.float32) * np.float32(1e18), "t-SNE"),
        (np.repeat(np.eye(2, 5, dtype=np.float32), 20, axis=0), "t-SNE"),
    ],
    ids=["none", "one", "all alike", "two", "few", "enough", "one column", "large", "two places"],
)
def test_whatever_there_is_has_a_place(X: np.ndarray[Any, Any], method: str) -> None:
    places, found = laid_out(X, seed=0)

    assert found == method
    assert places.shape == (len(X), 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()


def test_the_program_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", PROGRAM, str(tmp_path / "none.knn")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "none.knn: no such gallery" in line


def test_the_program_ends_with_the_process_that_began_it(vector_gallery: Path) -> None:
    command = [sys.executable, "-m", PROGRAM, "--parent", "1", str(vector_gallery)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")


def test_a_service_gives_the_map_as_the_gallery_is_now(
    vector_gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "AGAIN_S", 0.0)
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as served:
        first = drawn(served)
        served.json("DELETE", "/v1/examples?id=v7")
        served.json("PATCH", "/v1/examples", {"id": "v5", "label": "z"})
        example = {"id": "new", "label": "a", "input": [1.0] * DIM}
        served.json("POST", "/v1/examples", {"examples": [example]})
        second = drawn(served)  # still the first map
        ends_s = time.monotonic() + LONGEST_S
        while (third := drawn(served))["shown"] != 60:
            assert time.monotonic() < ends_s
            time.sleep(0.1)

    assert (first["items"], first["shown"], first["method"]) == (60, 60, "t-SNE")
    assert [point["id"] for point in first["points"]] == [f"v{row}" for row in range(60)]
    assert [point["label"] for point in first["points"]] == list("abc" * 20)
    assert all(0 <= point[axis] <= 1 for point in first["points"] for axis in "xy")
    kept = [point for point in first["points"] if point["id"] != "v7"]
    changed = [point | {"label": "z"} if point["id"] == "v5" else point for point in kept]
    assert (second["items"], second["points"]) == (60, changed)
    assert {point["id"] for point in third["points"]} >= {"new", "v5"}


def test_scikit_learn_is_never_part_of_a_service(vector_gallery: Path) -> None:
    with process(vector_gallery) as served:
        assert drawn(served)["shown"] == 60
        assert served.json("POST", "/v1/classify", {"input": [1.0] * DIM})[0] == 200
        maps = (Path("/proc") / str(served.pid) / "maps").read_text(encoding="utf-8")

    assert "onnxruntime" in maps or "numpy" in maps
    assert "sklearn" not in maps


def test_processes_of_one_service_share_a_map(
    vector_gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = []
    run = projection._run

    def counted(path: Path) -> bytes:
        printed.append(run(path))
        return printed[-1]

    monkeypatch.setattr(projection, "_run", counted)
    one, two = Cartographer(tmp_path), Cartographer(tmp_path)
    with Gallery.open(vector_gallery) as gallery:
        held = gallery.snapshot
        ends_s = time.monotonic() + LONGEST_S
        while one.newest(vector_gallery, held) is None or two.newest(vector_gallery, held) is None:
            assert time.monotonic() < ends_s
            time.sleep(0.05)
        found, other = one.newest(vector_gallery, held), two.newest(vector_gallery, held)

    assert found is not None
    assert found == other
    (document,) = map(json.loads, printed)
    assert document["method"] == "t-SNE"
    assert [item_id for item_id, _, _ in document["points"]] == [f"v{row}" for row in range(60)]


def test_a_map_that_cannot_be_drawn_is_an_error(
    vector_gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> bytes:
        raise StoreError(f"{path}: is gone")

    monkeypatch.setattr(projection, "_run", failing)
    with serving(copy_of(vector_gallery, tmp_path)) as served:
        served.json("GET", "/v1/map")
        ends_s = time.monotonic() + LONGEST_S
        while (answer := served.json("GET", "/v1/map"))[0] == 200:
            assert time.monotonic() < ends_s
        status, body = answer

    assert (status, body["error"]["code"]) == (503, "no_map")
    assert body["error"]["message"].startswith("the map could not be drawn: ")
