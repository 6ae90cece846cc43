"""What a person teaches a gallery on the page, in a real Chromium."""

import pytest

from serving import Served
from visiting import (
    MAIL,
    Visit,
    a_picture,
    choose,
    ids_in,
    items_of,
    labels_of,
    noticed,
    said_of,
    say,
    teach,
    type_in,
    winner,
)

pytestmark = pytest.mark.browser


def test_what_is_taught_changes_the_next_answer_and_can_be_undone(
    mails: Served, visit: Visit
) -> None:
    count = items_of(mails)
    page = visit(mails)
    text = "The lighthouse keeper feeds nine grey seals."
    type_in(page, text)
    before = said_of(mails, text)
    say(page, before["label"])

    for word in ("feeds", "counts", "paints", "greets", "follows"):
        type_in(page, text.replace("feeds", word))
        teach(page, "seals")
        noticed(page, f"keeper {word}")
    type_in(page, text)
    say(page, "seals")
    teach(page, "animals")
    noticed(page, "is animals")
    assert labels_of(mails)["seals"] == 4
    page.get_by_role("button", name="Undo").click()
    noticed(page, "As it was before")

    assert labels_of(mails)["seals"] == 5
    assert items_of(mails) == count + 5
    page.locator("#labels option[value=seals]").wait_for(state="attached")


def test_an_answer_that_changes_says_what_it_was(mails: Served, visit: Visit) -> None:
    page = visit(mails)
    type_in(page, MAIL)
    before = said_of(mails, MAIL)
    say(page, before["label"])

    teach(page, "<b>bold</b>")
    page.locator("#answer .was").wait_for()

    after = said_of(mails, MAIL)
    assert "<b>bold</b>" in after["probabilities"]
    assert page.locator("#answer tbody th").all_inner_texts() == list(after["probabilities"])
    assert page.locator("#answer .bar b").count() > 0
    assert page.locator("#answer th b").count() == 0  # text, not markup


def test_a_neighbour_is_forgotten_and_comes_back(mails: Served, visit: Visit) -> None:
    count = items_of(mails)
    page = visit(mails)
    text = "a note of one line"
    note = {"id": "note", "label": "ham", "input": text}
    mails.json("POST", "/v1/examples", {"examples": [note]})
    type_in(page, text)
    page.get_by_role("button", name="Forget note").click()
    noticed(page, "Forgotten")
    assert items_of(mails) == count
    page.get_by_role("button", name="Bring it back").click()
    noticed(page, "As it was before")
    page.get_by_role("button", name="Forget note").wait_for()

    assert items_of(mails) == count + 1
    (found,) = mails.json("GET", "/v1/examples?q=note%20of")[1]["items"]
    assert (found["id"], found["label"], found["preview"]) == ("note", "ham", text)


def test_what_cannot_come_back_is_forgotten_once_that_is_confirmed(
    pictures: Served, visit: Visit
) -> None:
    page = visit(pictures)
    choose(page, a_picture())
    card = page.locator("#near-items li").first
    (item_id,) = ids_in(card)

    card.get_by_role("button", name="Forget").click()
    card.get_by_role("button", name="Keep").click()
    assert items_of(pictures) == 18
    card.get_by_role("button", name="Forget").click()
    card.get_by_role("button", name="Forget").click()
    noticed(page, "Forgotten")

    assert items_of(pictures) == 17
    assert page.get_by_role("button", name="Bring it back").count() == 0
    page.get_by_role("button", name=f"Forget {item_id}").wait_for(state="detached")


def test_a_neighbour_gets_another_label(mails: Served, visit: Visit) -> None:
    page = visit(mails)
    type_in(page, MAIL)
    card = page.locator("#near-items li").first
    (item_id,) = ids_in(card)
    card.get_by_role("button", name="Relabel").click()
    card.get_by_role("combobox").fill("offers")
    card.get_by_role("combobox").press("Enter")
    noticed(page, "is offers now")

    assert mails.json("GET", "/v1/examples?label=offers")[1]["items"][0]["id"] == item_id
    page.get_by_role("button", name="Undo").click()
    noticed(page, "As it was before")
    assert mails.json("GET", "/v1/examples?label=offers")[1]["items"] == []


def test_a_taught_picture_is_the_nearest_and_has_a_thumbnail(
    pictures: Served, visit: Visit
) -> None:
    page = visit(pictures)
    choose(page, a_picture())
    winner(page).wait_for()
    teach(page, "vehicles")
    noticed(page, "is vehicles")

    first = page.locator("#near-items li").first
    first.get_by_text("vehicles", exact=True).wait_for()
    assert first.locator(".similarity").inner_text().split()[:2] == ["similarity", "1.00"]
    assert items_of(pictures) == 19
