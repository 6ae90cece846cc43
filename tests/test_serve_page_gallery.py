"""What a person looks around in on the page, and how it fits them, in a real Chromium."""

import re
from pathlib import Path

import pytest

from serving import Served, serving
from visiting import (
    MAIL,
    PHONE,
    Visit,
    a_picture,
    choose,
    labels_of,
    noticed,
    scrolls_sideways,
    type_in,
    winner,
)

pytestmark = pytest.mark.browser


def test_the_gallery_is_browsed_by_class_and_by_search(pictures: Served, visit: Visit) -> None:
    page = visit(pictures, "/#browse")
    grid = page.locator("#grid li")
    grid.nth(17).wait_for()
    assert page.locator("#browse-count").inner_text() == "18 items"

    page.get_by_label("Class", exact=True).select_option(label="drinks (6)")
    page.locator("#browse-count", has_text="6 items").wait_for()
    assert set(grid.locator(".label").all_inner_texts()) == {"drinks"}
    name = a_picture("drinks", 2).name
    page.get_by_label("Search ids and texts").fill(name.upper())
    page.locator("#browse-count", has_text=re.compile("^1 item$")).wait_for()
    grid.get_by_role("button").click()

    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").inner_text() == f"drinks/{a_picture('drinks', 2).name}"
    dialog.get_by_role("button", name="Relabel").click()
    dialog.get_by_role("combobox").fill("cups")
    dialog.get_by_role("button", name="Save").click()
    noticed(page, "is cups now")
    assert dialog.count() == 0
    assert labels_of(pictures) == {"birds": 6, "cups": 1, "drinks": 5, "fruit": 6}


def test_a_long_gallery_is_shown_a_page_at_a_time(vector_gallery: Path, visit: Visit) -> None:
    with serving(vector_gallery) as served:
        page = visit(served, "/#browse", viewport=PHONE)
        grid = page.locator("#grid li")
        grid.nth(47).wait_for()

        page.locator("#more").scroll_into_view_if_needed()
        grid.nth(59).wait_for()

        assert grid.count() == 60
        assert page.get_by_role("button", name="Show more").is_hidden()


def test_an_item_of_the_gallery_is_asked_about(mails: Served, visit: Visit) -> None:
    page = visit(mails, "/#browse")
    page.locator("#grid li button").first.click()
    page.get_by_role("button", name="Ask about it").click()
    winner(page).wait_for()

    assert page.get_by_role("tab", name="Classify").get_attribute("aria-selected") == "true"
    first = mails.json("GET", "/v1/examples?limit=1")[1]["items"][0]
    assert page.get_by_label("Text", exact=True).input_value() == first["preview"]


_COLOURS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 200) found.add(data.slice(at, at + 3).map(v => v >> 4).join());
    }
    return found.size;
}"""


def test_the_map_is_drawn_and_walked_by_keys(pictures: Served, visit: Visit) -> None:
    page = visit(pictures)
    choose(page, a_picture("fruit", 7))
    winner(page).wait_for()
    page.get_by_role("tab", name="Map").click()
    page.locator("#legend button").nth(2).wait_for(timeout=60_000)
    canvas = page.locator("#canvas")

    legend = page.locator("#legend button").all_inner_texts()
    assert [each.split() for each in legend] == [["birds", "6"], ["drinks", "6"], ["fruit", "6"]]
    assert canvas.evaluate(_COLOURS) >= 4  # three classes and the ring of the item asked about
    canvas.focus()
    page.keyboard.press("n")
    assert page.locator("#tip .label").inner_text() == "birds"
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before
    page.keyboard.press("0")
    page.get_by_role("button", name="birds 6").click()
    assert page.get_by_role("button", name="birds 6").get_attribute("aria-pressed") == "true"
    canvas.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").get_by_role("heading").inner_text().startswith("birds/")


def test_the_map_is_zoomed_moved_and_pointed_at(pictures: Served, visit: Visit) -> None:
    page = visit(pictures, "/#map")
    page.locator("#legend button").nth(2).wait_for(timeout=60_000)
    page.get_by_text("The same as a list").click()
    first = page.locator("#map-items button").first
    first.focus()
    page.locator("#tip").wait_for()
    assert page.locator("#map-said").inner_text() == f"{first.inner_text()}, birds"

    box = page.locator("#canvas").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    still = page.locator("#canvas").evaluate("canvas => canvas.toDataURL()")
    page.mouse.move(*middle)
    page.mouse.wheel(0, -600)
    page.mouse.down()
    page.mouse.move(middle[0] + 80, middle[1] + 40)
    page.mouse.up()
    assert page.locator("#canvas").evaluate("canvas => canvas.toDataURL()") != still


def test_it_is_light_or_dark_as_the_system_is_until_one_is_chosen(
    text_head: Path, visit: Visit
) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with serving(text_head) as served:
        page = visit(served, color_scheme="dark")
        dark = page.evaluate(background)
        page.get_by_role("button", name="Light colours").click()
        light = page.evaluate(background)
        page.reload()

        assert (dark, light) == ("rgb(21, 23, 26)", "rgb(250, 249, 246)")
        assert page.evaluate(background) == light
        page.get_by_role("button", name="Dark colours").click()
        page.emulate_media(color_scheme="light")
        assert page.evaluate(background) == light  # the system's again


@pytest.mark.parametrize("view", ["", "#browse", "#map"])
def test_a_phone_shows_it_without_scrolling_sideways(
    mails: Served, visit: Visit, view: str
) -> None:
    page = visit(mails, f"/{view}", viewport=PHONE)
    if not view:
        type_in(page, MAIL * 5 + " " + "x" * 300)
        page.locator("#near-items li").nth(5).wait_for()
        page.locator("#near-items").get_by_role("button", name="Relabel").first.click()
    elif view == "#browse":
        page.locator("#grid li").nth(20).wait_for()
    else:
        page.locator("#legend button").first.wait_for(timeout=60_000)

    assert not scrolls_sideways(page)


def test_all_of_it_is_reached_by_keys(mails: Served, visit: Visit) -> None:
    page = visit(mails)
    page.locator("#samples").wait_for()
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert names[:7] == ["skip", "", "theme", "tab-ask", "text", "go-text", "live"]

    page.locator("#tab-ask").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#browse").is_visible()
    page.keyboard.press("End")
    assert page.locator("#map").is_visible()
    page.keyboard.press("Home")
    assert page.locator("#ask").is_visible()
