"""The page: the files that it is made of, and how they are served."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from featx.serve.routes import page as served_page
from serving import Served, serving

FOLDER = Path(served_page.__file__).parent / "page_files"
SOURCES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in SOURCES if path.suffix == ".js"]
LARGEST = 60_000
NAMESPACE = "http://www.w3.org/2000/svg"


class Outline(HTMLParser):
    """Collects what a document is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] in {"script", "style"}:
            self.inline.append(text)

    def values(self, name: str) -> list[str]:
        return [str(found[name]) for _, found in self.attributes if name in found]


@pytest.fixture(scope="module")
def outline() -> Outline:
    return Outline((FOLDER / "index.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_is_small_and_names_no_other_place(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")

    assert len(text) < LARGEST
    assert re.findall(r"(?:https?:|wss?:|[\"'(])//", text) == []


def test_every_file_of_the_folder_is_served() -> None:
    assert sorted(served_page.FILES.values()) == [path.name for path in SOURCES]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_elements_of_no_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    makers = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|\bFunction\("
    assert re.findall(makers, text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_finds_the_elements_and_files_that_it_names(path: Path, outline: Outline) -> None:
    text = path.read_text(encoding="utf-8")

    assert set(re.findall(r'byId\("([^"]+)"\)', text)) <= set(outline.values("id"))
    assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(served_page.NAMES)


def test_the_document_is_whole(outline: Outline) -> None:
    ids = outline.values("id")
    named = [
        each
        for name in ("for", "aria-controls", "aria-labelledby", "aria-describedby")
        for each in outline.values(name)
    ]

    assert outline.open == []
    assert outline.inline == []  # the policy would refuse it
    assert len(ids) == len(set(ids))
    assert set(named) <= set(ids)
    assert not [name for _, found in outline.attributes for name in found if name == "style"]
    assert not [name for _, found in outline.attributes for name in found if name.startswith("on")]
    assert {urlsplit(each).path for each in outline.values("src")} <= set(served_page.FILES)


def test_every_colour_that_is_used_is_defined() -> None:
    text = (FOLDER / "page.css").read_text(encoding="utf-8")

    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= set(re.findall(r"(--[\w-]+):", text))
    assert text.count("{") == text.count("}")


@pytest.fixture(scope="module")
def plain(vector_gallery: Path) -> Iterator[Served]:
    with serving(vector_gallery, keys=("a key",)) as served:
        yield served


@pytest.mark.parametrize("path", sorted(served_page.FILES))
def test_a_file_is_served_without_a_key_and_checked_again_each_time(
    plain: Served, path: str
) -> None:
    status, headers, body = plain.request("GET", path)
    again, tagged, nothing = plain.request("GET", path, headers={"If-None-Match": headers["etag"]})

    assert (status, body) == (200, (FOLDER / served_page.FILES[path]).read_bytes())
    assert headers["cache-control"] == "no-cache"
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert headers["x-content-type-options"] == "nosniff"
    assert (again, nothing, tagged["etag"]) == (304, b"", headers["etag"])


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_says_its_type(plain: Served, path: str, media_type: str) -> None:
    assert plain.request("HEAD", path)[1]["content-type"] == media_type


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/other.js", "/page/../page.py", "/page/%2e%2e/page.py", "/page//etc/passwd"],
)
def test_no_other_file_is_served(plain: Served, path: str) -> None:
    status, _, body = plain.request("GET", path)

    assert status == 404
    assert b"not_found" in body
