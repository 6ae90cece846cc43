"""Pages: whole, self-contained, escaped, and readable without seeing or colours."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from featx.errors import StoreError
from featx.gallery.answers import Classified, Neighbour
from featx.report.neighbours import Query, section
from featx.report.page import writing_page

JPEG = b"\xff\xd8\xff\xe0 a small picture"
HOSTILE = '<script>alert("1")</script>&\'"'
VOID = {"meta", "img"}


class Outline(HTMLParser):
    """What a page is made of: its elements in order, their attributes, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.words.append(data.strip())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(html: str) -> Outline:
    read = Outline()
    read.feed(html)
    read.close()
    assert read.open == []
    return read


def neighbour(number: int, label: str | None, **facts: str) -> Neighbour:
    return Neighbour(
        id=facts.get("id", f"i{number}"),
        label=label,
        similarity=1 - number / 10,
        uri=facts.get("uri", f"/x/{number}"),
        preview=facts.get("preview", f"words {number}"),
        row=number,
        split=None,
        vote=None,
    )


def voted(label: str | None, *neighbours: Neighbour, novel: bool | None = None) -> Classified:
    return Classified(label=label, probability=0.75, neighbours=list(neighbours), novel=novel)


def test_a_page_holds_all_it_needs_and_asks_for_nothing(tmp_path: Path) -> None:
    near = [neighbour(1, "a"), neighbour(2, "b")]
    path = tmp_path / "page.html"

    with writing_page(path, "Neighbours in x.knn", "2 items") as write:
        write(section(Query(id="q", thumbnail=JPEG), near, [JPEG, None], number=1))

    html = path.read_text(encoding="utf-8")
    read = outline(html)
    assert html.startswith("<!doctype html>\n")
    assert read.of("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.of("meta")
    assert {tag for tag, _ in read.elements} & {"script", "link", "iframe", "a", "object"} == set()
    assert [image["src"] for image in read.of("img")] == [
        "data:image/jpeg;base64,/9j/4CBhIHNtYWxsIHBpY3R1cmU="
    ] * 2
    assert re.findall(r"https?:|url\(|@import", html) == []
    assert "prefers-color-scheme: dark" in html
    assert read.words[:3] == ["Neighbours in x.knn", "Neighbours in x.knn", "2 items"]


def test_a_page_that_fails_leaves_the_old_one_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")

    with pytest.raises(ZeroDivisionError), writing_page(path, "t", "s") as write:
        write(f"half a page {1 // 0}")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
    for place, reason in [("page.html/x", "a file is in the way"), ("no/x", "No such file")]:
        with pytest.raises(StoreError, match=reason), writing_page(tmp_path / place, "t", "s"):
            pass


def test_what_users_wrote_is_text_not_html(tmp_path: Path) -> None:
    found = neighbour(1, HOSTILE, id=HOSTILE, uri=HOSTILE, preview=HOSTILE)
    vote = voted(HOSTILE, found)
    query = Query(id=HOSTILE, preview=f"{HOSTILE} 2", vote=vote)

    with writing_page(tmp_path / "page.html", HOSTILE, HOSTILE) as write:
        write(section(query, [found, found], [JPEG, None], number=1))

    read = outline((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in read.elements} & {"script"} == set()
    assert read.of("img")[0]["alt"] == f"{HOSTILE}, labelled {HOSTILE}"
    assert "".join(read.words).count(HOSTILE) == 11


def test_a_name_that_is_not_utf8_is_written_with_escapes(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")

    with writing_page(tmp_path / "page.html", "t", "s") as write:
        write(section(Query(id=name), [], [], number=1))

    words = outline((tmp_path / "page.html").read_text(encoding="utf-8")).words
    assert words[-2:] == ["caf\\udce9.png", "no neighbours"]


def test_labels_that_lost_the_vote_differ_in_words_and_look() -> None:
    near = [neighbour(1, "cat"), neighbour(2, "dog"), neighbour(3, None)]
    query = Query(id="q", vote=voted("cat", *near[:2], novel=True))

    read = outline(section(query, near, [None] * 3, number=7))

    assert [card["class"] for card in read.of("li")] == ["card same", "card other", "card none"]
    assert read.words == [
        "q", "cat", ", 75% of the vote of the 2 nearest", "unlike anything labelled",
        "words 1", "cat", "i1", "0.900",
        "words 2", "another label:", "≠", "dog", "i2", "0.800",
        "words 3", "no label", "i3", "0.700",
    ]  # fmt: skip
    assert read.of("section") == [{"aria-labelledby": "query-7"}]
    assert read.of("h2") == [{"id": "query-7"}]


def test_without_a_vote_no_label_is_better_than_another() -> None:
    near = [neighbour(1, "cat"), neighbour(2, "dog")]

    read = outline(section(Query(id="q"), near, [None, None], number=1))

    assert [card["class"] for card in read.of("li")] == ["card plain"] * 2
    assert "≠" not in read.words


def test_bars_are_drawn_of_cosines_alone() -> None:
    near = [neighbour(1, None), neighbour(12, None)]

    bars = outline(section(Query(id="q"), near, [None, None], number=1)).of("i")
    none = outline(section(Query(id="q"), near, [None, None], number=1, metric="l2")).of("i")

    assert [bar["style"] for bar in bars] == ["width:90.0%", "width:0.0%"]
    assert none == []


def test_colours_of_words_stand_out_from_what_is_behind_them() -> None:
    style = (Path(__file__).parents[1] / "featx" / "report" / "page.css").read_text("utf-8")
    parts = style.split("@media")[:2]
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in parts)
    pairs = [("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card")]
    pairs += [("same", "same-soft"), ("other", "other-soft"), ("same", "paper"), ("other", "card")]

    weak = [
        (words, behind)
        for colours in (light, dark)
        for words, behind in pairs
        if contrast(colours[words], colours[behind]) < 4.5  # WCAG 2.2, level AA
    ]

    assert weak == []


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it, 1 to 21."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
