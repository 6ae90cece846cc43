"""A report in a real Chromium, from its file: it draws, opens what counts count, and fits."""

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import comparing
from command_line import done
from report_sets import picture_set
from test_report_elements import HOSTILE
from visiting import PHONE, WIDE, scrolls_sideways

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]

BAD = ("error", "warning")
OWN_READING = "willReadFrequently"  # a warning on how these tests read a canvas
DARK, LIGHT = "rgb(21, 23, 26)", "rgb(250, 249, 246)"

# Of the pixels of a canvas: how many are not transparent.
_PAINTED = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let painted = 0;
    for (let at = 3; at < data.length; at += 4) painted += data[at] > 40;
    return painted;
}"""

_COLOURS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 200) found.add(data.slice(at, at + 3).map(v => v >> 5).join());
    }
    return [...found];
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a page on 90 pictures of three classes, one of a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    names = ["cat", "dog", HOSTILE.replace("/", "|")]
    held = picture_set(folder, names, each=30, apart=1.5)
    done("report", held, "-o", folder / "r.html", "-q")
    return folder / "r.html"


@contextmanager
def opened(chromium: "Browser", path: Path, **options: Any) -> "Iterator[Page]":  # noqa: ANN401
    """Open a file without a network; nothing may go wrong in it, and nothing else be asked for."""
    context = chromium.new_context(
        **{"viewport": WIDE, "offline": True, "reduced_motion": "reduce", **options}
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in BAD else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: problems.append(r.url) if is_other(r.url, path) else None)
    page.goto(path.as_uri())
    page.evaluate("drawn")
    yield page
    context.close()
    assert [problem for problem in problems if OWN_READING not in problem] == []


def is_other(url: str, path: Path) -> bool:
    return url.partition("#")[0] != path.as_uri() and not url.startswith("data:")


def canvas(page: "Page", section: str) -> "Locator":
    return page.locator(f"#{section} figure.plot canvas").first


def test_every_plot_is_drawn_without_a_network(chromium: "Browser", report: Path) -> None:
    with opened(chromium, report) as page:
        plots = page.locator("figure.plot")
        sections = [each.evaluate("e => e.closest('section').id") for each in plots.all()]

        assert sections == ["accuracy", "reliability", "learning", "map"]
        for name in sections:
            assert canvas(page, name).evaluate(_PAINTED) > 500


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_have_the_colours_of_the_page_and_change_with_it(
    chromium: "Browser", report: Path, scheme: Scheme
) -> None:
    other: Scheme = "light" if scheme == "dark" else "dark"
    with opened(chromium, report, color_scheme=scheme) as page:
        before = canvas(page, "map").evaluate(_COLOURS)
        page.emulate_media(color_scheme=other)
        page.wait_for_timeout(300)
        after = canvas(page, "map").evaluate(_COLOURS)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")

        assert before
        assert set(before).isdisjoint(after)
        assert background == (DARK if other == "dark" else LIGHT)


def test_a_count_opens_the_items_that_it_counts(chromium: "Browser", report: Path) -> None:
    with opened(chromium, report) as page:
        count = page.get_by_role("button", name="cat, right")
        times = int(count.inner_text())
        count.click()
        dialog = page.get_by_role("dialog")

        assert dialog.get_by_role("listitem").count() == times
        image = dialog.locator("img").first
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") == 64
        assert dialog.get_by_role("heading").inner_text() == f"cat, right: {times}"
        page.keyboard.press("Escape")
        assert dialog.count() == 0
        assert page.evaluate("document.activeElement.className") == "count"


def test_the_matrix_is_one_stop_of_the_tab_key_and_walked_by_arrows(
    chromium: "Browser", report: Path
) -> None:
    with opened(chromium, report) as page:
        counts = page.locator("table.matrix button.count")
        counts.first.focus()
        page.keyboard.press("ArrowRight")
        right = page.evaluate("document.activeElement.dataset.guess")
        page.keyboard.press("ArrowDown")
        down = page.evaluate("document.activeElement.dataset.label")
        page.keyboard.press("Tab")

        assert (right, down) == ("1", "1")
        assert page.evaluate("document.activeElement.closest('table.matrix')") is None
        assert page.locator("table.matrix button.count:not([tabindex='-1'])").count() == 1
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert page.get_by_role("dialog").is_visible()


def test_an_item_under_the_pointer_and_one_that_is_pressed_are_shown(
    chromium: "Browser", report: Path
) -> None:
    with opened(chromium, report) as page:
        page.locator("#map").scroll_into_view_if_needed()
        x, y = page.evaluate(
            """() => {
                const plot = plots.get("map");
                const view = [...plot.roots()][0];
                const { x, y } = plot.get_model_by_name("points").data;
                const frame = Bokeh.index.get_one(view).frame;
                const place = document.querySelector("#map figure.plot > div");
                const box = place.getBoundingClientRect();
                return [box.x + frame.x_scale.compute(x[0]), box.y + frame.y_scale.compute(y[0])];
            }"""
        )
        page.mouse.move(x - 3, y)  # a pointer that enters has not moved yet
        page.mouse.move(x, y)
        preview = page.locator("#preview")
        preview.wait_for()

        shown = preview.locator(".id").inner_text()
        assert re.fullmatch(r".+/\d+\.png", shown)
        page.mouse.click(x, y)
        assert page.locator("#picked .id").inner_text() == shown
        page.mouse.move(5, 5)
        assert preview.is_hidden()


def test_a_group_of_the_legend_is_picked_out_and_colours_are_chosen(
    chromium: "Browser", report: Path
) -> None:
    with opened(chromium, report) as page:
        legend = page.locator("#legend")
        assert sorted(legend.locator(".name").all_inner_texts()) == sorted(
            ["cat", "dog", HOSTILE.replace("/", "|")]
        )
        whole = canvas(page, "map").evaluate(_PAINTED)
        legend.get_by_role("button", name="cat").click()
        page.wait_for_timeout(200)
        alone = canvas(page, "map").evaluate(_PAINTED)
        page.get_by_role("radio", name="error").check()
        page.wait_for_timeout(200)

        assert alone < whole / 2
        assert set(legend.locator(".name").all_inner_texts()) <= {"right", "wrong", "not judged"}
        assert canvas(page, "map").evaluate(_PAINTED) > 2 * alone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_a_phone(chromium: "Browser", report: Path, scheme: Scheme) -> None:
    with opened(
        chromium, report, viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True
    ) as page:
        assert not scrolls_sideways(page)
        for name in ("accuracy", "reliability", "learning", "map"):
            width = canvas(page, name).evaluate("node => node.getBoundingClientRect().width")
            assert width <= PHONE["width"]
        touch = page.locator("#map .plot > div").evaluate(
            """place => {
                const find = root => {
                    for (const each of root.querySelectorAll("*")) {
                        if (each.classList.contains("bk-events")) return each;
                        const found = each.shadowRoot && find(each.shadowRoot);
                        if (found) return found;
                    }
                };
                return getComputedStyle(find(place)).touchAction;
            }"""
        )
        assert touch == "auto"  # a finger on the map scrolls the page
        tools = page.locator("#map .bk-tool-icon")
        assert [each.is_visible() for each in tools.all()] == [True] * 4


def test_a_table_that_is_wider_than_a_phone_says_so_by_a_shadow(
    chromium: "Browser", report: Path
) -> None:
    with opened(chromium, report, viewport=PHONE) as page:
        table = page.locator("#accuracy .scrolls").first
        style = table.evaluate(
            "e => [getComputedStyle(e).backgroundAttachment, getComputedStyle(e).backgroundImage]"
        )

        assert style[0] == "local, local, scroll, scroll"
        assert style[1].count("linear-gradient") == 4


def test_a_plot_has_names_where_there_is_room_and_numbers_on_a_phone(
    chromium: "Browser", tmp_path: Path
) -> None:
    comparing.save_items(tmp_path / "items.npz", 60)
    for name, columns in (("half", range(4, 12)), ("whole", range(8))):
        comparing.seeing(tmp_path, name, columns)
    models = [part for name in ("half", "whole") for part in ("-m", tmp_path / f"{name}.toml")]
    done("compare", tmp_path / "items.npz", *models, "-o", tmp_path / "c.html", "--no-cache")
    shown = """() => [...plots.get("front").all_models]
        .filter(model => model.tags.some(tag => tag.startsWith("visible=")) && model.visible)
        .map(model => model.tags.join())"""

    with opened(chromium, tmp_path / "c.html") as page:
        wide = page.evaluate(shown)
        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        page.wait_for_timeout(300)
        narrow = page.evaluate(shown)

    assert (wide, narrow) == (["visible=wide"], ["visible=narrow"])


def test_nothing_of_a_hostile_label_is_markup(chromium: "Browser", report: Path) -> None:
    with opened(chromium, report) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        heads = page.locator("table.matrix tbody th").all_inner_texts()

        assert min(heads).startswith("<|script><script>alert")
