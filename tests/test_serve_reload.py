"""Another head or gallery at the same place is taken up without a failed request."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from command_line import done
from featx.data.store import EmbeddingSet
from featx.errors import SpaceError, StoreError
from featx.fingerprint import digest
from featx.gallery.gallery import Gallery
from featx.gallery.items import ItemFacts
from featx.serve import reload
from featx.serve.teach.teacher import Example
from featx.serve.teach.teachersocket import RemoteTeacher
from featx.serve.teach.teaching import SOCKET
from serving import Served, copy_of, serving, vectors

SOON_S = 20.0
ASKED = {"input": vectors(3, seed=1).tolist()}


def until(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def metric(served: Served, name: str, **labels: str) -> float:
    _, _, page = served.request("GET", "/metrics")
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def labels_of(served: Served) -> list[str]:
    status, found = served.json("POST", "/v1/classify", ASKED)
    assert status == 200, found
    return [result["label"] for result in found["results"]]


@contextmanager
def asked_all_the_time(served: Served) -> Iterator[list[Any]]:
    """Send requests until the end; give what was answered so far, which must not be an error."""
    answers: list[Any] = []
    is_over = Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                answers.append(served.json("POST", "/v1/classify", ASKED))
            except OSError as error:
                answers.append((0, repr(error)))

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert [answer for answer in answers if answer[0] != 200] == []


@pytest.fixture
def renamed_set(vector_set: Path, tmp_path: Path) -> Path:
    """Give `vector_set` with the labels x, y and z."""
    path = copy_of(vector_set, tmp_path)
    table = tmp_path / "labels.csv"
    ids = [str(each) for each in EmbeddingSet.open(path).ids]
    lines = [f"{each},{'xyz'[int(each[1:]) % 3]}" for each in ids]
    table.write_text("\n".join(["id,label", *lines]) + "\n")
    done("label", path, table)
    return path


@pytest.fixture
def other_head(renamed_set: Path, tmp_path: Path) -> Path:
    done("train", renamed_set, "-o", tmp_path / "other.head", "--head", "ridge")
    return tmp_path / "other.head"


@pytest.fixture
def other_gallery(renamed_set: Path, tmp_path: Path) -> Path:
    out = tmp_path / "other.knn"
    done("index", renamed_set, "-o", out, "--kind", "exact", "--standalone")
    return out


def test_a_head_is_replaced_while_it_is_asked(
    vector_head: Path, other_head: Path, tmp_path: Path
) -> None:
    place = copy_of(vector_head, tmp_path)
    with serving(place) as served:
        assert labels_of(served) == ["a", "b", "c"]
        old = served.service.engine.thing
        with asked_all_the_time(served) as answers:
            until(lambda: len(answers) > 10)
            other_head.replace(place)
            until(lambda: labels_of(served) == ["x", "y", "z"])
            asked = len(answers)
            until(lambda: len(answers) > asked + 10)  # by two, of whom each had begun with the old

        labels = {tuple(r["label"] for r in document["results"]) for _, document in answers}
        assert labels == {("a", "b", "c"), ("x", "y", "z")}
        assert metric(served, "featx_reloads_total", outcome="done") == 1
        new = served.service.engine.thing
        assert new is not old
        assert new.backbone is old.backbone


def test_a_damaged_head_is_not_taken_up(vector_head: Path, tmp_path: Path) -> None:
    place = copy_of(vector_head, tmp_path)
    good = place.read_bytes()
    with serving(place) as served:
        place.write_bytes(good[: len(good) // 2])
        until(lambda: metric(served, "featx_thing_problem") == 1)
        assert metric(served, "featx_reloads_total", outcome="failed") >= 1
        assert labels_of(served) == ["a", "b", "c"]
        assert served.json("GET", "/health/ready")[0] == 200

        place.write_bytes(good)
        served.app.state.reloader.ask()  # type: ignore[union-attr]
        until(lambda: metric(served, "featx_thing_problem") == 0)
        assert labels_of(served) == ["a", "b", "c"]


def test_a_head_that_is_gone_goes_on_answering(vector_head: Path, tmp_path: Path) -> None:
    place = copy_of(vector_head, tmp_path)
    with serving(place) as served:
        place.unlink()
        until(lambda: metric(served, "featx_thing_problem") == 1)
        assert labels_of(served) == ["a", "b", "c"]


def test_that_a_problem_is_over_is_said(
    vector_head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(reload.LOGGER, "info", lambda told, *given: said.append(told % given))
    place = copy_of(vector_head, tmp_path)
    with serving(place) as served:
        place.rename(tmp_path / "aside")
        until(lambda: metric(served, "featx_thing_problem") == 1)
        (tmp_path / "aside").rename(place)
        until(lambda: metric(served, "featx_thing_problem") == 0)

    assert said == [f"{place}: what was opened before is there again"]


def test_a_deployment_is_known_by_its_digest(
    vector_head: Path, other_head: Path, vector_gallery: Path, tmp_path: Path
) -> None:
    def described(served: Served) -> dict[str, Any]:
        found: dict[str, Any] = served.json("GET", "/v1/models")[1]["data"][0]
        return found

    place = copy_of(vector_head, tmp_path)
    with serving(place) as served:
        before = described(served)
        assert before["digest"] == digest(place.read_bytes()).hex()
        time.sleep(1.1)  # seconds are what is told
        other_head.replace(place)
        until(lambda: labels_of(served) == ["x", "y", "z"])
        after = described(served)

    assert after["digest"] == digest(place.read_bytes()).hex()
    assert before["created"] < after["created"] <= time.time()


def test_the_state_of_a_gallery_is_told_as_it_changes(vector_gallery: Path, tmp_path: Path) -> None:
    place = copy_of(vector_gallery, tmp_path)

    def state(served: Served) -> tuple[int, int, int, str]:
        (found,) = served.json("GET", "/v1/models")[1]["data"]
        return found["items"], found["generation"], found["changes"], found["digest"]

    def digest_now() -> str:
        return digest((place / "gallery.json").read_bytes()).hex()

    with serving(place, allow_teach=True) as served:
        gallery = served.service.engine.thing.gallery
        assert gallery is not None
        items, generation, changes, told = state(served)
        assert (items, changes, told) == (60, 0, digest_now())
        served.json("DELETE", "/v1/examples?id=v0&id=v1")
        assert state(served) == (58, generation, 2, told)
        gallery.fold()
        folded = state(served)
        stats = gallery.stats()

    assert folded == (58, stats["generation"], stats["changes"], digest_now())
    assert stats["generation"] > generation
    assert digest_now() != told


def test_vectors_of_another_space_are_told_with_both(vector_gallery: Path, tmp_path: Path) -> None:
    place = copy_of(vector_gallery, tmp_path)
    facts = json.loads((place / "gallery.json").read_text())
    (place / "gallery.json").write_text(json.dumps(facts | {"space": "0" * 64}))

    with pytest.raises(SpaceError) as caught, serving(place):
        pass

    told = str(caught.value)
    assert told.startswith("the backbone here: embeddings of identity (space ")
    assert f"but {place} holds identity (space 000000000000); its weights have changed" in told
    assert "; run: featx embed SOURCE -m identity -o OUT.emb" in told


def test_a_gallery_is_replaced_while_it_is_asked(
    vector_gallery: Path, other_gallery: Path, tmp_path: Path
) -> None:
    place = copy_of(vector_gallery, tmp_path)
    with serving(place) as served:
        old = served.service.engine.thing
        with asked_all_the_time(served) as answers:
            until(lambda: len(answers) > 10)
            place.rename(tmp_path / "old.knn")
            other_gallery.rename(place)
            until(lambda: labels_of(served) == ["x", "y", "z"])

        assert metric(served, "featx_thing_problem") == 0
        assert old.gallery is not None
        gallery = old.gallery
        until(lambda: is_closed(gallery))


def is_closed(gallery: Any) -> bool:  # noqa: ANN401 (a gallery)
    try:
        gallery.snapshot  # noqa: B018
    except StoreError as error:
        return "is closed" in str(error)
    return False


@pytest.mark.parametrize("damage", ["vectors", "facts", "everything"])
def test_a_gallery_replaced_by_a_damaged_one_goes_on_answering(
    vector_gallery: Path, other_gallery: Path, tmp_path: Path, damage: str
) -> None:
    place = copy_of(vector_gallery, tmp_path)
    with serving(place) as served:
        if damage == "everything":
            shutil.rmtree(other_gallery)
            other_gallery.mkdir()
        elif damage == "facts":
            (other_gallery / "gallery.json").write_text("{")
        else:
            (vectors_file,) = other_gallery.glob("vectors-*.npy")
            vectors_file.write_bytes(vectors_file.read_bytes()[:100])
        place.rename(tmp_path / "old.knn")
        other_gallery.rename(place)

        until(lambda: metric(served, "featx_thing_problem") == 1)
        assert labels_of(served) == ["a", "b", "c"]
        assert served.json("GET", "/health/ready")[0] == 200

        shutil.rmtree(place)
        (tmp_path / "old.knn").rename(place)
        served.app.state.reloader.ask()  # type: ignore[union-attr]
        until(lambda: metric(served, "featx_thing_problem") == 0)
        assert labels_of(served) == ["a", "b", "c"]


def test_what_cannot_be_served_at_all_is_tried_again_only_now_and_then(
    vector_head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "RETRY_S", 1000.0)
    place = copy_of(vector_head, tmp_path)
    with serving(place) as served:
        place.unlink()
        place.mkdir()
        (place / "manifest.json").touch()
        until(lambda: metric(served, "featx_thing_problem") == 1)
        reloader = served.app.state.reloader  # type: ignore[union-attr]
        for _ in range(3):
            asyncio.run_coroutine_threadsafe(reloader.look(), reloader._loop).result(SOON_S)

        assert metric(served, "featx_reloads_total", outcome="failed") == 1


def teaches(served: Served, folder: Path) -> None:
    """Teach an item by a request, and another one as a second process does."""
    status, _ = served.json("POST", "/v1/examples", {"examples": [{"input": [1.0] * 8}]})
    assert status == 201
    thing = served.service.engine.thing
    x = np.arange(8, dtype=np.float32)
    new = Example(id="new", vector=x, space=thing.backbone.space, facts=ItemFacts())
    remote = RemoteTeacher(folder / SOCKET)
    assert asyncio.run(remote.add([new], deadline_s=time.monotonic() + SOON_S)) == [None]
    assert thing.held.find("new") is not None


def test_a_process_that_only_reads_writes_once_no_other_does(
    vector_gallery: Path, tmp_path: Path
) -> None:
    place = copy_of(vector_gallery, tmp_path)
    with (
        Gallery.open(place, writable=True) as other,
        serving(place, allow_teach=True, workers=2, folder=tmp_path) as served,
    ):
        service = served.service
        assert not service.engine.thing.may_write
        other.close()
        served.app.state.reloader.ask()  # type: ignore[union-attr]
        until(lambda: service.engine.thing.may_write)

        teaches(served, tmp_path)


def test_a_gallery_whose_lock_was_taken_as_it_was_replaced_is_taught_once_it_is_free(
    vector_gallery: Path, other_gallery: Path, tmp_path: Path
) -> None:
    place = copy_of(vector_gallery, tmp_path)
    with serving(place, allow_teach=True, workers=2, folder=tmp_path) as served:
        service = served.service
        with Gallery.open(other_gallery, writable=True):
            place.rename(tmp_path / "old.knn")
            other_gallery.rename(place)
            until(lambda: labels_of(served) == ["x", "y", "z"])
            assert not service.engine.thing.may_write
        served.app.state.reloader.ask()  # type: ignore[union-attr]
        until(lambda: service.engine.thing.may_write)

        teaches(served, tmp_path)


def test_what_others_add_to_a_gallery_is_seen_at_once(vector_gallery: Path, tmp_path: Path) -> None:
    place = copy_of(vector_gallery, tmp_path)
    x = np.full((1, 8), 1, np.float32)
    asked = {"input": x[0].tolist(), "k": 1}
    with serving(place) as served, Gallery.open(place, writable=True) as writer:
        thing = served.service.engine.thing
        writer.add(["new"], x, facts=[ItemFacts(label="d")])
        _, found = served.json("POST", "/v1/search", asked)
        writer.compact()
        _, again = served.json("POST", "/v1/search", asked)

        assert found["results"][0]["neighbours"][0]["id"] == "new"
        assert again == found
        assert served.service.engine.thing is thing
        assert metric(served, "featx_gallery_items") == 61


def test_a_head_of_another_model_opens_another_backbone(
    vector_head: Path, text_head: Path, tmp_path: Path
) -> None:
    place = copy_of(vector_head, tmp_path)
    with serving(place) as served:
        shutil.copy(text_head, tmp_path / "new.head")
        (tmp_path / "new.head").replace(place)
        until(lambda: served.service.engine.thing.modality == "text")

        status, found = served.json("POST", "/v1/classify", {"input": "free money"})
        assert status == 200
        assert found["results"][0]["label"] in {"spam", "ham"}


def test_what_is_quiet_asks_itself(vector_head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featx.serve.routes import health

    monkeypatch.setattr(health, "QUIET_S", 0.1)
    monkeypatch.setattr(health, "EVERY_S", 0.05)
    with serving(vector_head) as served:
        before = served.service.engine.answered
        until(lambda: served.service.engine.answered > before + 1)

        assert served.json("GET", "/health/ready")[1]["last_success_age_s"] < 5


def test_what_answers_nothing_is_not_ready(
    vector_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featx.serve import service

    with serving(vector_head) as served:
        monkeypatch.setattr(service, "STALE_S", -1.0)
        status, found = served.json("GET", "/health/ready")
        live, _ = served.json("GET", "/health/live")

    assert (status, found["ready"]) == (503, False)
    assert found["why"].startswith("nothing was answered for")
    assert live == 200


@pytest.mark.parametrize(
    "kind", ["text_gallery", "image_gallery", "sound_gallery", "text_backbone"]
)
def test_a_canary_of_every_modality_is_answered(kind: str, request: pytest.FixtureRequest) -> None:
    with serving(request.getfixturevalue(kind)) as served:
        assert served.service.engine.answered == 1
        assert served.json("GET", "/health/ready")[0] == 200
