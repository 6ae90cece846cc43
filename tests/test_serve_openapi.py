"""The description of the service: complete, true, and fit to be read."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from featx.serve.app import create_app
from featx.serve.describe import pages
from featx.serve.describe.operations import OPERATIONS
from featx.serve.routes.page import FILES
from featx.serve.settings import ServeSettings
from serving import Served, copy_of, serving


@pytest.fixture(scope="module")
def texts(text_head: Path) -> Iterator[Served]:
    with serving(text_head) as server:
        yield server


def described(server: Served) -> dict[str, Any]:
    status, document = server.json("GET", "/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    found: dict[str, Any] = document
    return found


def test_every_route_is_described_and_nothing_else() -> None:
    app = create_app(ServeSettings(thing="minilm-l6"))

    routes = {
        (method.lower(), re.sub(r":\w+}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path not in FILES
        for method in (route.methods or set()) - {"HEAD"}
    }

    assert routes == {(each.method, each.path) for each in OPERATIONS}


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere_and_every_schema_is_used(texts: Served) -> None:
    document = described(texts)

    found = set(references(document))

    schemas = document["components"]["schemas"]
    assert found == {f"#/components/schemas/{name}" for name in schemas}
    assert "VoteResult" not in schemas


def test_fields_say_what_their_struct_says_of_them(texts: Served) -> None:
    schemas = described(texts)["components"]["schemas"]

    assert schemas["ClassifyBody"]["description"] == "What is classified, and how."
    assert schemas["ClassifyBody"]["properties"]["top"] == {
        "description": "Probabilities that are told, the largest; 0 for all.",
        "type": "integer",
        "minimum": 0,
        "maximum": 10_000,
        "default": 5,
    }


def test_what_is_served_is_in_the_description(texts: Served, vector_gallery: Path) -> None:
    with serving(vector_gallery) as server:
        vectors = described(server)

    item = described(texts)["components"]["schemas"]["Item"]["anyOf"]
    assert item[0] == {"type": "string", "minLength": 1, "pattern": r"\S"}
    (item, *_) = vectors["components"]["schemas"]["Item"]["anyOf"]
    assert (item["minItems"], item["maxItems"]) == (8, 8)
    assert vectors["paths"]["/v1/classify"]["post"]["requestBody"]["content"].keys() == {
        "application/json"
    }


def test_a_key_is_in_the_description_where_one_is_asked_for(text_head: Path, texts: Served) -> None:
    with serving(text_head, keys=("secret",)) as server:
        closed = described(server)  # which needs none itself
    open_document = described(texts)

    assert "securitySchemes" not in open_document["components"]
    classify, live = (
        closed["paths"]["/v1/classify"]["post"],
        closed["paths"]["/health/live"]["get"],
    )
    assert classify["security"] == [{"bearer": []}, {"key": []}]
    assert "401" in classify["responses"]
    assert "security" not in live
    assert "401" not in live["responses"]


def operations(document: dict[str, Any]) -> set[str]:
    return {
        each["operationId"] for methods in document["paths"].values() for each in methods.values()
    }


OF_GALLERIES = {"search", "list_examples", "teach", "relabel", "forget", "map"}
ALL = {each.name for each in OPERATIONS}


def test_only_what_can_succeed_is_described(
    vector_head: Path, vector_gallery: Path, image_gallery: Path, text_backbone: str
) -> None:
    found = dict[str, dict[str, Any]]()
    things = {"head": vector_head, "backbone": text_backbone, "gallery": vector_gallery}
    for name, thing in {**things, "pictures": image_gallery}.items():
        with serving(thing) as server:
            found[name] = described(server)

    assert operations(found["head"]) == ALL - OF_GALLERIES - {"thumbnail"}
    assert operations(found["backbone"]) == ALL - OF_GALLERIES - {"thumbnail", "classify"}
    assert operations(found["gallery"]) == ALL - {"thumbnail"}
    assert operations(found["pictures"]) == ALL
    assert [tag["name"] for tag in found["head"]["tags"]] == [
        "Ask", "Models", "Open Inference Protocol", "Operate"
    ]  # fmt: skip
    assert found["head"]["info"]["description"].endswith("Only a gallery is searched and taught.")


def test_a_gallery_that_is_only_read_says_so_where_it_would_be_changed(
    vector_gallery: Path, tmp_path: Path
) -> None:
    with serving(vector_gallery) as server:
        read_only = described(server)
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as server:
        taught = described(server)

    for document, is_told in ((read_only, True), (taught, False)):
        examples = document["paths"]["/v1/examples"]
        for method in ("post", "patch", "delete"):
            about = examples[method].get("description", "")
            assert about.startswith("It is served to be read only") is is_told
        assert document["info"]["description"].endswith("to be read only.") is is_told


def test_a_description_that_all_may_read_tells_nothing_of_what_is_held(
    vector_gallery: Path, tmp_path: Path
) -> None:
    held = json.dumps(["v0", "a"])[1:-1].split(", ")
    with serving(copy_of(vector_gallery, tmp_path), keys=("secret",)) as server:
        closed = [json.dumps(described(server)), page_of(server)]
    with serving(vector_gallery) as server:
        open_ = json.dumps(described(server))

    assert all(f'"id": {held[0]}, "label": {held[1]}' not in text for text in closed)
    assert f'"id": {held[0]}, "label": {held[1]}' in open_
    assert '"id": "cats/1.jpg", "label": "cat"' in closed[0]
    assert "v0" not in closed[0] + closed[1]


def test_a_description_follows_what_is_served_and_is_kept_meanwhile(
    vector_gallery: Path, tmp_path: Path
) -> None:
    def label(server: Served) -> str:
        content = described(server)["paths"]["/v1/examples"]["post"]["requestBody"]["content"]
        found: str = content["application/json"]["example"]["examples"][0]["label"]
        return found

    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as server:
        before = label(server)
        for port in range(20):  # each is another place, by its name
            assert server.request("GET", "/docs", headers={"host": f"localhost:{port}"})[0] == 200
        assert server.app is not None
        kept: pages.Descriptions = server.app.state.descriptions
        server.json("PATCH", "/v1/examples", {"id": "v0", "label": "Aa"})
        after = label(server)

    assert (before, after) == ("a", "Aa")
    assert len(kept._kept) <= pages.MOST


def test_fields_that_need_words_have_them(vector_gallery: Path, vector_head: Path) -> None:
    with serving(vector_gallery) as server:
        gallery = described(server)["components"]["schemas"]
    with serving(vector_head) as server:
        head = described(server)["components"]["schemas"]

    told = {
        "set": head["ClassResult"]["properties"]["set"],
        "novel": head["ClassResult"]["properties"]["novel"],
        "vote": gallery["NeighbourReply"]["properties"]["vote"],
        "top": gallery["ClassifyBody"]["properties"]["top"],
        "digest": gallery["ModelReply"]["properties"]["digest"],
    }
    words = {
        "set": "holds the true class as often",
        "novel": "unlike anything that the head was trained on",
        "vote": "those of all neighbours of an item add up to 1",
        "top": "0 for all",
        "digest": "of a gallery of its ``gallery.json``, which is written anew",
    }
    for name, field in told.items():
        assert words[name] in field["description"]


def with_examples(path: str, operation: dict[str, Any]) -> str:
    """Return a path with the examples of its parameters."""
    for each in operation.get("parameters", ()):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
    return path


def test_every_example_of_a_body_works(vector_gallery: Path, tmp_path: Path) -> None:
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as server:
        for path, methods in described(server)["paths"].items():
            for method, operation in methods.items():
                if content := operation.get("requestBody", {}).get("content"):
                    example = content["application/json"]["example"]
                    place = with_examples(path, operation)
                    status, answer = server.json(method.upper(), place, example)
                    assert status in {200, 201}, (path, answer)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_line_for_curl_works(vector_gallery: Path, tmp_path: Path) -> None:
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as server:
        for methods in described(server)["paths"].values():
            for operation in methods.values():
                (sample,) = operation["x-codeSamples"]
                line = sample["source"].replace("curl", "curl -sS -f -o /dev/null", 1)
                done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
                assert (done.returncode, done.stderr) == (0, ""), line


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(page)
    return parser.tags


def page_of(server: Served) -> str:
    status, headers, raw = server.request("GET", "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    return raw.decode()


def test_the_page_shows_every_operation_with_a_line_for_curl(texts: Served) -> None:
    page = page_of(texts)

    ids = [attributes.get("id") for tag, attributes in tags_of(page) if tag == "article"]
    possible = operations(described(texts))
    assert possible < set(ids)
    assert set(ids) & ALL == possible
    assert len(ids) == len(set(ids))
    assert page.count("<pre") == len(possible)
    assert page.count("curl ") >= len(possible)


def test_the_page_needs_no_script_and_nothing_from_elsewhere(texts: Served) -> None:
    tags = tags_of(page_of(texts))

    assert {"script", "style", "iframe"}.isdisjoint(tag for tag, _ in tags)
    targets = [value for _, a in tags for name in ("href", "src") if (value := a.get(name))]
    assert all(target[0] in "/#" for target in targets)
    for path in {target for target in targets if target[0] == "/"}:
        assert texts.request("GET", path)[0] == 200
    anchors = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert {target[1:] for target in targets if target[0] == "#"} <= anchors
    assert not any(name == "style" or name.startswith("on") for _, a in tags for name in a)


def test_a_name_cannot_put_markup_into_the_page(vector_gallery: Path, tmp_path: Path) -> None:
    copy = copy_of(vector_gallery, tmp_path)
    path = copy.rename(copy.with_name("<b>&'quoted'.knn"))

    with serving(path) as server:
        page = page_of(server)

    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
