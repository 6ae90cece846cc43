"""Teaching, forgetting, labelling and browsing a served gallery over HTTP."""

import base64
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import current_thread
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import PIL.Image
import pytest
from blake3 import blake3

from featx import samples
from featx.gallery.gallery import Gallery
from featx.gallery.thumbnails import thumbnail
from featx.serve.routes import examples
from featx.serve.teach import teaching
from serving import Served, copy_of, process, serving, vectors

NEW = vectors(20, seed=3)


@pytest.fixture
def taught(vector_gallery: Path, tmp_path: Path) -> Iterator[Served]:
    """Serve a copy of a gallery of vectors that may be taught."""
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as served:
        yield served


@pytest.fixture(scope="module")
def steady(vector_gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a gallery of vectors that may be taught, to tests that leave it as it is."""
    gallery = copy_of(vector_gallery, tmp_path_factory.mktemp("steady"))
    with serving(gallery, allow_teach=True) as served:
        yield served
        assert listed(served)["total"] == 60


@pytest.fixture(scope="module")
def plain(vector_gallery: Path) -> Iterator[Served]:
    """Serve a gallery of vectors that may not."""
    with serving(vector_gallery) as served:
        yield served


@pytest.fixture(scope="module")
def pictures(image_gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a copy of a gallery of images that may be taught."""
    folder = tmp_path_factory.mktemp("pictures")
    with serving(copy_of(image_gallery, folder), allow_teach=True) as served:
        yield served


def teach(served: Served, examples: list[dict[str, Any]], **more: object) -> tuple[int, Any]:
    return served.json("POST", "/v1/examples", {"examples": examples, **more})


def vector(row: int) -> list[float]:
    return [float(number) for number in NEW[row]]


def listed(served: Served, **asked: object) -> Any:  # noqa: ANN401
    status, page = served.json("GET", f"/v1/examples?{urlencode(asked)}")
    assert status == 200, page
    return page


def ids_of(page: Any) -> list[str]:  # noqa: ANN401
    return [each["id"] for each in page["items"]]


def until(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.05)


def error_of(answer: tuple[int, Any]) -> tuple[int, str]:
    status, body = answer
    return status, body["error"]["code"]


def test_what_is_taught_changes_the_next_answer(text_gallery: Path, tmp_path: Path) -> None:
    gallery = copy_of(text_gallery, tmp_path)
    item = {"input": "the lighthouse keeper feeds nine grey seals"}
    with serving(gallery, allow_teach=True) as served:
        items = listed(served)["total"]
        _, before = served.json("POST", "/v1/classify", {**item, "k": 1})
        status, told = teach(served, [{**item, "label": "seals"}])
        _, after = served.json("POST", "/v1/classify", {**item, "k": 1})

    item_id = f"taught-{blake3(item['input'].encode()).hexdigest()[:16]}"
    assert status == 201
    assert told == {"added": 1, "items": items + 1, "results": [{"id": item_id}]}
    assert before["results"][0]["label"] in {"spam", "ham"}
    (found,) = after["results"]
    assert found["label"] == "seals"
    assert found["neighbours"][0]["id"] == item_id
    assert found["neighbours"][0]["preview"] == item["input"]
    assert found["neighbours"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    with Gallery.open(gallery) as held:  # durable: another process finds it
        assert item_id in held


def test_an_example_that_cannot_be_taught_fails_alone(taught: Served) -> None:
    status, told = teach(
        taught,
        [
            {"id": "n0", "label": "a", "input": vector(0)},
            {"id": "v3", "label": "a", "input": vector(1)},
            {"id": "n2", "input": [1.0, 2.0]},
            {"id": "n3", "input": {"vector": vector(3)}},
        ],
    )

    assert (status, told["added"], told["items"]) == (201, 2, 62)
    results = told["results"]
    assert [each.get("id") for each in results] == ["n0", None, None, "n3"]
    taken = "the gallery has an item of this id already: 'v3', label 'a'; it stays as it is; "
    assert results[1]["error"] == {
        "code": "taken",
        "message": f"examples[1]: {taken}give another id, or send replace: true",
    }
    assert results[2]["error"]["message"].startswith("examples[2]: is a vector of 2 numbers")
    assert listed(taught, q="n3")["items"] == [
        {
            "id": "n3",
            "label": None,
            "split": None,
            "uri": "",
            "preview": listed(taught, q="n0")["items"][0]["preview"].partition(":")[0]
            + ": "
            + " ".join(f"{number:.4g}" for number in NEW[3].tolist()),
            "thumbnail": None,
        }
    ]


def test_the_same_item_is_not_taught_twice_but_told_of(taught: Served) -> None:
    item = {"input": vector(0), "label": "a"}
    _, first = teach(taught, [item])
    (item_id,) = [each["id"] for each in first["results"]]

    status, again = teach(taught, [item | {"label": "b"}])
    _, twice = teach(taught, [{"input": vector(1)}, {"input": vector(1)}])

    assert (status, again["error"]["code"]) == (409, "taken")
    assert again["error"]["message"] == (
        f"examples[0]: the gallery has this very item already: '{item_id}', label 'a'; it stays as "
        "it is; to change its label send replace: true"
    )
    assert "already: 'taught-" in twice["results"][1]["error"]["message"]
    assert ", without a label; " in twice["results"][1]["error"]["message"]
    assert teach(taught, [item | {"label": "b"}], replace=True)[0] == 201
    assert listed(taught)["labels"] == {"a": 20, "b": 21, "c": 20}


def test_where_none_can_be_taught_the_request_fails(steady: Served) -> None:
    one = teach(steady, [{"id": "v3", "input": vector(1)}])
    two = teach(steady, [{"id": "v3", "input": vector(1)}, {"id": "v4", "input": vector(2)}])

    assert error_of(one) == error_of(two) == (409, "taken")
    assert two[1]["error"]["message"].startswith("none of 2 examples could be added; the first: ")


def test_teaching_has_the_deadline_of_its_request_and_a_queue_that_ends(
    steady: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = {"id": "late", "input": vector(1)}
    with monkeypatch.context() as patch:
        patch.setattr(examples, "deadline_of", lambda _: 0.0)
        late = teach(steady, [example])
    monkeypatch.setattr(teaching, "WAITING", 0)

    assert error_of(late) == (503, "timed_out")
    assert error_of(teach(steady, [example])) == (429, "busy")


def test_an_item_gives_way_where_that_is_asked_for(taught: Served) -> None:
    example = {"id": "v3", "label": "z", "input": vector(1)}
    status, told = teach(taught, [example], replace=True)

    assert (status, told["items"]) == (201, 60)
    assert listed(taught, label="z")["total"] == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"examples": []}, 422, "no_items"),
        ({}, 422, "wrong_shape"),
        ({"examples": [{"label": "a"}]}, 422, "wrong_shape"),
        ({"examples": [{"input": [0.0] * 8, "lable": "a"}]}, 422, "wrong_shape"),
        ({"examples": [{"input": [0.0] * 8, "label": 3}]}, 422, "wrong_shape"),
        ({"examples": [{"input": [0.0] * 8, "id": "x" * 1025}]}, 422, "wrong_shape"),
        ({"examples": [{"input": [0.0] * 8, "id": ""}]}, 422, "wrong_shape"),
        ({"examples": [{"input": [0.0] * 8}]}, 422, "unusable_item"),  # zero has no direction
        ({"examples": [{"input": [1e39] + [0.0] * 7}]}, 422, "unusable_item"),
        ({"examples": [{"input": [1.0] * 8}] * 1025}, 413, "too_many_items"),
    ],
)
def test_bad_examples_are_refused(
    steady: Served, body: dict[str, Any], status: int, code: str
) -> None:
    assert error_of(steady.json("POST", "/v1/examples", body)) == (status, code)
    assert listed(steady)["total"] == 60


def test_other_bad_bodies_are_refused(steady: Served) -> None:
    def sent(body: bytes, kind: str) -> tuple[int, str]:
        status, _, answer = steady.request("POST", "/v1/examples", body, {"content-type": kind})
        return error_of((status, json.loads(answer)))

    assert sent(b"{", "application/json") == (400, "no_json")
    assert sent(b"\xff\xfe", "application/json") == (400, "no_json")
    assert sent(b"a,b", "text/csv") == (415, "wrong_content_type")


def test_a_label_changes_and_the_vector_stays(taught: Served) -> None:
    held = taught.service.engine.thing.held
    row = held.find("v5")
    assert row is not None
    before = held.vectors(np.array([row]))

    answer = taught.json("PATCH", "/v1/examples", {"id": "v5", "label": "new"})

    assert answer == (200, {"id": "v5", "label": "new", "items": 60})
    held = taught.service.engine.thing.held
    row = held.find("v5")
    assert row is not None
    unit = before / np.linalg.norm(before)
    np.testing.assert_allclose(held.vectors(np.array([row])), unit, atol=1e-6)
    assert listed(taught, label="new")["items"][0] == {
        "id": "v5",
        "label": "new",
        "split": "train",
        "uri": "",
        "preview": "vector 5",
        "thumbnail": None,
    }
    assert listed(taught)["labels"] == {"a": 20, "b": 20, "c": 19, "new": 1}


def test_a_label_can_be_taken_away(taught: Served) -> None:
    status, told = taught.json("PATCH", "/v1/examples", {"id": "v5", "label": None})

    assert (status, told["label"]) == (200, None)
    assert listed(taught)["labels"] == {"a": 20, "b": 20, "c": 19}


def test_a_label_of_nothing_cannot_be_changed(steady: Served) -> None:
    unknown = steady.json("PATCH", "/v1/examples", {"id": "gone", "label": "a"})

    assert error_of(unknown) == (404, "example_not_found")
    assert error_of(steady.json("PATCH", "/v1/examples", {"id": "v5"})) == (422, "wrong_shape")


def test_items_are_forgotten_all_or_none(taught: Served) -> None:
    missing = taught.json("DELETE", "/v1/examples?id=v1&id=gone")
    none = taught.json("DELETE", "/v1/examples")
    both = taught.json("DELETE", "/v1/examples?id=v1&id=v2&id=v1")

    assert error_of(missing) == (404, "example_not_found")
    assert error_of(none) == (422, "no_items")
    assert both == (200, {"removed": 2, "items": 58})
    assert not {"v1", "v2"} & set(ids_of(listed(taught, limit=100)))


def test_a_gallery_that_was_emptied_is_taught_anew(taught: Served) -> None:
    ids = "&".join(f"id=v{row}" for row in range(60))
    assert taught.json("DELETE", f"/v1/examples?{ids}") == (200, {"removed": 60, "items": 0})
    assert listed(taught) == {"items": [], "next": None, "total": 0, "labels": {}}

    assert teach(taught, [{"id": "first", "label": "a", "input": vector(0)}])[0] == 201
    _, answer = taught.json("POST", "/v1/classify", {"input": vector(1)})
    assert answer["results"][0]["label"] == "a"


def test_pages_go_through_all_items(plain: Served) -> None:
    found, after = [], ""
    while True:
        page = listed(plain, limit=25, after=after)
        found += ids_of(page)
        if page["next"] is None:
            break
        after = page["next"]

    assert found == [f"v{row}" for row in range(60)]
    assert page["total"] == 60
    assert page["labels"] == {"a": 20, "b": 20, "c": 20}


def test_pages_are_of_a_label_a_split_and_a_text(plain: Served) -> None:
    chosen = [row for row in range(60) if row % 3 == 1 and row % 2 == 0 and "4" in str(row)]

    page = listed(plain, label="b", split="test", q="VECTOR 4")

    assert ids_of(page) == [f"v{row}" for row in chosen if str(row).startswith("4")]
    assert page["next"] is None
    assert error_of(plain.json("GET", "/v1/examples?label=nix")) == (404, "unknown_name")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "after=3", "after=x:1", "after=0:x", "lable=a"],
)
def test_bad_questions_are_refused(plain: Served, query: str) -> None:
    assert error_of(plain.json("GET", f"/v1/examples?{query}")) == (422, "wrong_shape")


def test_a_page_of_a_gallery_that_was_compacted_begins_again(taught: Served) -> None:
    after = listed(taught, limit=5)["next"]
    taught.json("DELETE", "/v1/examples?id=v0")
    gallery = taught.service.engine.thing.gallery
    assert gallery is not None
    gallery.compact()

    answer = taught.json("GET", f"/v1/examples?after={after}")

    assert error_of(answer) == (409, "stale_cursor")


def test_teaching_needs_leave(plain: Served) -> None:
    answers = [
        teach(plain, [{"input": vector(0)}]),
        plain.json("DELETE", "/v1/examples?id=v1"),
        plain.json("PATCH", "/v1/examples", {"id": "v1", "label": "b"}),
    ]

    for status, body in answers:
        assert (status, body["error"]["code"]) == (403, "teaching_not_allowed")
        assert "--allow-teach" in body["error"]["message"]
        assert "--keys-file" in body["error"]["message"]
    assert plain.json("GET", "/v1/models")[1]["data"][0]["can_teach"] is False


def test_a_gallery_with_keys_may_be_served_to_be_read_only(
    vector_gallery: Path, tmp_path: Path
) -> None:
    gallery = copy_of(vector_gallery, tmp_path)
    key = {"authorization": "Bearer secret"}
    with serving(gallery, keys=("secret",), allow_teach=False) as served:
        answers = [
            served.json("POST", "/v1/examples", {"examples": [{"input": vector(0)}]}, key),
            served.json("DELETE", "/v1/examples?id=v1", None, key),
            served.json("PATCH", "/v1/examples", {"id": "v1", "label": "b"}, key),
        ]
        _, models = served.json("GET", "/v1/models", None, key)
        status, _ = served.json("POST", "/v1/classify", {"input": vector(0)}, key)
        with Gallery.open(gallery, writable=True) as writer:  # the lock is free
            writer.remove(["v2"])
        _, page = served.json("GET", "/v1/examples", None, key)

    for each, body in answers:
        assert (each, body["error"]["code"]) == (403, "teaching_not_allowed")
        assert body["error"]["message"].startswith(
            "vectors: is served to be read only (--no-teach)"
        )
    assert models["data"][0]["can_teach"] is False
    assert (status, page["total"]) == (200, 59)


def test_a_key_is_leave_to_teach(vector_gallery: Path, tmp_path: Path) -> None:
    document = {"examples": [{"id": "n", "input": vector(0)}]}
    with serving(copy_of(vector_gallery, tmp_path), keys=("secret",)) as served:
        refused = served.json("POST", "/v1/examples", document)
        status, _ = served.json(
            "POST", "/v1/examples", document, {"authorization": "Bearer secret"}
        )

    assert refused[0] == 401
    assert status == 201


def test_a_head_says_how_to_make_a_gallery(vector_head: Path) -> None:
    with serving(vector_head) as served:
        answers = [
            teach(served, [{"input": vector(0)}]),
            served.json("GET", "/v1/examples"),
            served.json("DELETE", "/v1/examples?id=v1"),
            served.json("PATCH", "/v1/examples", {"id": "v1", "label": "b"}),
            served.json("GET", "/v1/thumbnail?id=v1"),
            served.json("GET", "/v1/map"),
        ]

    assert [error_of(each) for each in answers] == [(409, "no_gallery")] * 6
    assert answers[0][1]["error"]["message"] == (
        "vectors.head: is a head, which cannot be taught online; make a gallery of its embedding "
        "set: featx index SET -o vectors.knn, then featx serve vectors.knn --allow-teach"
    )


def test_other_methods_are_named(plain: Served) -> None:
    status, headers, _ = plain.request("PUT", "/v1/examples", b"", {})

    assert status == 405
    assert set(headers["allow"].split(", ")) >= {"GET", "POST", "PATCH", "DELETE"}


def drawn(shade: int) -> bytes:
    """Return a picture of 300 x 200 pixels as a PNG file."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (300, 200), (shade, 20, 200)).save(file, "PNG")
    return file.getvalue()


def thumbnail_of(served: Served, item_id: str) -> PIL.Image.Image:
    status, headers, body = served.request("GET", f"/v1/thumbnail?id={quote(item_id, safe='')}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert headers["cache-control"] == "private, no-cache"
    return PIL.Image.open(io.BytesIO(body))


def test_an_image_is_taught_as_a_body_a_form_or_json(pictures: Served) -> None:
    status, _, body = pictures.request(
        "POST", "/v1/examples?label=red&id=as%20body", drawn(250), {"content-type": "image/png"}
    )
    assert (status, json.loads(body)["results"]) == (201, [{"id": "as body"}])
    form = b"".join(
        b'--X\r\ncontent-disposition: form-data; name="file"; filename="%d.png"\r\n\r\n%s\r\n'
        % (shade, drawn(shade))
        for shade in (240, 230)
    )
    status, _, body = pictures.request(
        "POST",
        "/v1/examples?label=red",
        form + b"--X--\r\n",
        {"content-type": "multipart/form-data; boundary=X"},
    )
    assert status == 201
    assert json.loads(body)["results"] == [
        {"id": f"taught-{blake3(drawn(shade)).hexdigest()[:16]}"} for shade in (240, 230)
    ]
    uri = f"data:image/png;base64,{base64.b64encode(drawn(220)).decode()}"
    assert teach(pictures, [{"id": "c", "label": "red", "input": {"image": uri}}])[0] == 201

    page = listed(pictures, label="red")
    assert page["total"] == 4
    first = page["items"][0]
    assert first["preview"] == "PNG 300 x 200"
    assert first["thumbnail"] == "/v1/thumbnail?id=as%20body"
    small = thumbnail_of(pictures, "as body")
    assert small.size == (96, 64)
    red, green, blue = small.convert("RGB").getpixel((40, 30))  # type: ignore[misc]
    assert abs(red - 250) < 8
    assert abs(green - 20) < 8
    assert abs(blue - 200) < 8


def test_a_thumbnail_is_made_where_images_are_decoded(
    pictures: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def made(raw: bytes) -> bytes | None:
        threads.append(current_thread().name)
        return thumbnail(raw)

    monkeypatch.setattr("featx.serve.engine.thumbnail", made)
    many = [{"input": base64.b64encode(drawn(shade)).decode()} for shade in range(60, 110)]

    assert teach(pictures, many)[0] == 201
    assert len(threads) == 50
    assert {name.rpartition("_")[0] for name in threads} == {"featx-load"}


def test_an_id_is_of_one_file(pictures: Served) -> None:
    part = b'--X\r\ncontent-disposition: form-data; name="f"; filename="a.png"\r\n\r\n%s\r\n'
    form = part % drawn(10) + part % drawn(11) + b"--X--\r\n"
    status, _, body = pictures.request(
        "POST", "/v1/examples?id=one", form, {"content-type": "multipart/form-data; boundary=X"}
    )

    assert error_of((status, json.loads(body))) == (422, "wrong_shape")


def test_what_is_no_image_is_not_taught(pictures: Served) -> None:
    before = listed(pictures)["total"]
    status, _, body = pictures.request(
        "POST", "/v1/examples?label=red", b"GIF89a no", {"content-type": "image/gif"}
    )

    assert error_of((status, json.loads(body))) == (422, "unusable_item")
    assert listed(pictures)["total"] == before


def test_a_thumbnail_is_kept_until_it_changes(pictures: Served) -> None:
    item_id = min(each for each in ids_of(listed(pictures)) if "/" in each)
    path = f"/v1/thumbnail?id={quote(item_id, safe='')}"
    _, headers, body = pictures.request("GET", path)
    status, again, empty = pictures.request("GET", path, None, {"if-none-match": headers["etag"]})

    assert max(PIL.Image.open(io.BytesIO(body)).size) <= 96
    assert (status, again["etag"], empty) == (304, headers["etag"], b"")


def test_a_label_changes_and_the_thumbnail_stays(pictures: Served) -> None:
    item_id = sorted(each for each in ids_of(listed(pictures)) if "/" in each)[1]
    path = f"/v1/thumbnail?id={quote(item_id, safe='')}"
    _, _, before = pictures.request("GET", path)

    assert pictures.json("PATCH", "/v1/examples", {"id": item_id, "label": "seen"})[0] == 200
    assert pictures.request("GET", path)[2] == before


def test_a_thumbnail_that_there_is_none_of(pictures: Served, plain: Served) -> None:
    assert error_of(pictures.json("GET", "/v1/thumbnail?id=x")) == (404, "example_not_found")
    assert error_of(pictures.json("GET", "/v1/thumbnail")) == (422, "wrong_shape")
    assert error_of(plain.json("GET", "/v1/thumbnail?id=v1")) == (404, "no_thumbnail")


def test_a_sound_is_taught_as_a_body(sound_gallery: Path, tmp_path: Path) -> None:
    sound = max((samples.folder() / "sounds").rglob("*.*")).read_bytes()
    with serving(copy_of(sound_gallery, tmp_path), allow_teach=True) as served:
        status, _, body = served.request(
            "POST", "/v1/examples?label=other&id=s", sound, {"content-type": "audio/wav"}
        )
        _, _, answer = served.request(
            "POST", "/v1/classify?k=1", sound, {"content-type": "audio/wav"}
        )

    assert (status, json.loads(body)["items"]) == (201, 9)
    assert json.loads(answer)["results"][0]["label"] == "other"


def test_a_gallery_that_takes_its_place_is_taught(
    taught: Served, vector_gallery: Path, tmp_path: Path
) -> None:
    place = Path(taught.service.settings.thing)
    (tmp_path / "next").mkdir()
    new = copy_of(vector_gallery, tmp_path / "next")
    with Gallery.open(new, writable=True) as gallery:
        gallery.remove(["v0"])
    place.rename(tmp_path / "old.knn")
    new.rename(place)
    until(lambda: taught.json("GET", "/v1/models")[1]["data"][0]["items"] == 59)

    assert teach(taught, [{"id": "n0", "label": "a", "input": vector(0)}])[0] == 201

    assert ids_of(listed(taught, q="n0")) == ["n0"]
    with Gallery.open(place) as held, Gallery.open(tmp_path / "old.knn") as old:
        assert "n0" in held
        assert "n0" not in old


def workers_of(served: Served) -> list[int]:
    """Return the processes that answer: children that listen for others are none of them."""
    listed = Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text(encoding="ascii")
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in listed.split()}
    return [pid for pid, line in lines.items() if b"resource_tracker" not in line]


def test_workers_teach_one_gallery_though_they_are_killed(
    vector_gallery: Path, tmp_path: Path
) -> None:
    gallery = copy_of(vector_gallery, tmp_path)

    def taught(row: int) -> bool:
        try:
            status, told = teach(
                served, [{"id": f"n{row}", "label": f"l{row}", "input": vector(row)}]
            )
        except OSError:  # it was killed while it answered
            return False
        return status == 201 or told["error"]["code"] == "taken"

    with process(gallery, "--workers", 2, "--allow-teach") as served:
        for row in range(12):  # each by a connection of its own, and so by either process
            assert taught(row)
            assert served.json("GET", "/v1/models")[1]["data"][0]["items"] == 61 + row
        until(lambda: len(workers_of(served)) == 2)  # the second starts after it is told of
        for row, pid in enumerate(workers_of(served), 12):  # one of them may write
            os.kill(pid, signal.SIGKILL)
            until(lambda row=row: taught(row))  # type: ignore[misc]
        for row in range(14):
            _, answer = served.json("POST", "/v1/classify", {"input": vector(row), "k": 1})
            assert answer["results"][0]["label"] == f"l{row}"

    with Gallery.open(gallery) as held:
        assert {f"n{row}" for row in range(14)} <= {item_id for item_id, _ in held.items()}


@pytest.mark.parametrize(
    ("change", "status", "items"),
    [
        (("DELETE", "/v1/examples?id=v3", None), 404, 59),
        (
            (
                "POST",
                "/v1/examples",
                {"examples": [{"input": NEW[0].tolist(), "id": "v3"}], "replace": True},
            ),
            429,
            60,
        ),
    ],
)
def test_a_label_does_not_bring_back_what_was_removed_or_replaced_meanwhile(
    taught: Served,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str, Any],
    status: int,
    items: int,
) -> None:
    relabelled = examples._relabelled

    def changed_meanwhile(*asked: Any) -> Any:  # noqa: ANN401  (as what it stands for)
        made = relabelled(*asked)
        assert taught.json(*change)[0] in {200, 201}
        return made

    monkeypatch.setattr(examples, "_relabelled", changed_meanwhile)
    found, _ = taught.json("PATCH", "/v1/examples", {"id": "v3", "label": "b"})

    assert (found, listed(taught)["total"]) == (status, items)
    assert "v3" not in {each["id"] for each in listed(taught, label="b", limit=500)["items"]}
