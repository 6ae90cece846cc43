"""What a person teaches a gallery on the page, in a real Chromium."""

from pathlib import Path

import pytest

from serving import Served, copy_of, serving, vectors
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


def test_what_fails_takes_the_answer_before_and_its_teach_away(
    image_gallery: Path, visit: Visit, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(a_picture().read_bytes()[:200])
    (tmp_path / "large.png").write_bytes(bytes(100_000))
    place = copy_of(image_gallery, tmp_path)
    with serving(place, allow_teach=True, body_bytes=50_000) as served:
        page = visit(served, told=("status of 422", "status of 413"))
        alert, button = page.get_by_role("alert"), page.get_by_role("button", name="Teach")
        for name in ("broken.png", "large.png"):
            choose(page, a_picture())
            winner(page).wait_for()
            assert button.first.is_visible()
            choose(page, tmp_path / name)
            alert.get_by_text(f"{name}: ").wait_for()

            assert winner(page).count() == 0
            assert page.locator("#answer .bars").count() == 0
            assert page.locator("#teach").is_hidden()
            assert page.locator("#near").is_hidden()

        page.get_by_role("tab", name="Browse").click()
        assert alert.inner_text() == ""
        assert items_of(served) == 18
        page.close()  # it goes on to load pictures, and the service ends


def test_numbers_that_are_none_are_not_taught_as_those_before(
    vector_gallery: Path, visit: Visit, tmp_path: Path
) -> None:
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as served:
        page = visit(served)
        field = page.get_by_label("8 numbers")
        field.fill(str(vectors()[1].tolist()))
        field.press("Control+Enter")
        say(page, "b")
        field.fill("[1, 2, 3]")
        field.press("Control+Enter")
        page.get_by_role("alert").get_by_text("found 3 numbers").wait_for()

        assert page.locator("#teach").is_hidden()
        assert winner(page).count() == 0
