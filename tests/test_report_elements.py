"""Elements of a page and its frame: escaped, reached by keys, with no script but its own."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from featx.report import plot
from featx.report.elements import Cell, block, facts, notes, section, table
from featx.report.page import own_file, writing_page
from test_report import contrast

HOSTILE = '</script><script>alert("1")</script><!--<script>&\'"'
VOID = {"meta", "img", "input"}


class Outline(HTMLParser):
    """Elements in order with their attributes, and the text of scripts and of everything else."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        elif data.strip() and self.open[-1:] != ["style"]:
            self.words.append(data.strip())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def policy_of(read: Outline) -> dict[str, list[str]]:
    (policy,) = [m["content"] for m in read.of("meta") if m.get("http-equiv")]
    parts = [part.split() for part in str(policy).split(";")]
    return {name: values for name, *values in parts}


def test_what_users_wrote_is_text_in_every_element() -> None:
    html = section(
        "own-name",
        HOSTILE,
        HOSTILE,
        table([HOSTILE, "n"], [[HOSTILE, "1"]], caption=HOSTILE),
        facts([(HOSTILE, HOSTILE)]),
        notes([HOSTILE]),
    )

    read = Outline(html)

    assert read.scripts == []
    assert "".join(read.words).count(HOSTILE) == 8
    assert read.of("section") == [{"id": "own-name", "aria-labelledby": "own-name-heading"}]


def test_a_block_of_data_is_json_that_nothing_in_it_can_end() -> None:
    html = block("items", {"ids": [HOSTILE, "\u2028"]})

    ((attributes, text),) = Outline(html).scripts
    assert attributes == {"type": "application/json", "id": "items"}
    assert json.loads(text) == {"ids": [HOSTILE, "\u2028"]}
    assert not set("<>&") & set(text)


def test_a_table_names_its_rows_and_scrolls_by_keys() -> None:
    html = table(
        ["class", "F1", "share"], [["cat", "0.5", "90.1 %"], ["dog", Cell("<b>x</b>"), "1"]]
    )

    read = Outline(html)

    assert read.of("div") == [
        {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": "class, F1, share"}
    ]
    scopes = [(th["scope"], th.get("class")) for th in read.of("th")]
    assert scopes == [("col", None), ("col", None), ("col", "number"), ("row", None), ("row", None)]
    assert [td.get("class") for td in read.of("td")] == ["number", "number", None, "number"]
    assert read.words == [
        "class, F1, share",
        "class",
        "F1",
        "share",
        "cat",
        "0.5",
        "90.1 %",
        "dog",
        "x",
        "1",
    ]


def test_a_page_runs_its_own_scripts_and_no_other(tmp_path: Path) -> None:
    scripts = ("const a = '<b>&';", "a.length;")

    with writing_page(tmp_path / "p.html", "t", "s", scripts=scripts) as write:
        write(block("items", {"a": 1}))

    read = Outline((tmp_path / "p.html").read_text("utf-8"))
    run = [text for attributes, text in read.scripts if "type" not in attributes]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    policy = policy_of(read)
    assert run == list(scripts)
    assert policy["script-src"] == [f"'sha256-{each}'" for each in hashes]
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["img-src"] == ["data:"]


def test_a_page_without_scripts_allows_none(tmp_path: Path) -> None:
    path = tmp_path / "p.html"
    with writing_page(path, "t", "s"):
        pass

    assert "script-src" not in policy_of(Outline(path.read_text("utf-8")))


def test_a_plot_is_data_of_its_models_in_the_colours_of_the_page() -> None:
    drawn = plot.figure(label=HOSTILE, x_label="x", height=200)
    dots = drawn.figure.scatter([1, 2], [3, 4])
    plot.themed(dots.glyph, fill_color="accent", line_color="card")

    read = Outline(plot.block(drawn))

    ((attributes, text),) = read.scripts
    document = json.loads(text)
    assert attributes == {"type": "application/json"}
    assert read.of("figure") == [{"class": "plot", "aria-label": HOSTILE}]
    assert read.of("div") == [{"style": "height:200px"}]
    assert '["fill_color=accent","line_color=card"]' in text
    assert document["doc"]["roots"][0]["attributes"]["height"] == 200


def test_scripts_of_plots_ask_for_nothing_and_make_no_code_or_elements_of_text() -> None:
    for name in ("plots.js", "cards.js", "confusion.js", "map.js"):
        text = own_file(name)
        makers = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|\bFunction\("
        assert re.findall(makers, text) == []
        assert re.findall(r"https?:|fetch\(|XMLHttp|import\(", text) == []
        assert "</script" not in text
    library, first = plot.scripts()
    assert first == own_file("plots.js")
    assert re.findall(r"</script|<!--|\r", library) == []


@pytest.mark.parametrize("name", ["page.css", "report.css"])
def test_every_colour_that_is_used_is_defined(name: str) -> None:
    text, known = own_file(name), own_file("page.css") + "--shade: --share:"

    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= set(re.findall(r"(--[\w-]+):", known))
    assert text.count("{") == text.count("}")
    assert re.findall(r"url\(|@import", text) == []


def test_colours_of_plots_stand_out_from_what_is_behind_them_in_both_themes() -> None:
    parts = own_file("page.css").split("@media")[:2]
    themes = [dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in parts]
    drawn = [each for each in get_args(plot.Colour) if each not in {"line", "paper", "card"}]

    weak = [
        (colour, behind)
        for colours in themes
        for colour in drawn
        for behind in ("paper", "card")
        if contrast(colours[colour], colours[behind]) < 3  # WCAG 2.2, what is no text
    ]

    assert weak == []
    assert set(drawn) > set(plot.SERIES)
