"""What a person asks about on the page and is told, in a real Chromium."""

import io
import json
import re
from pathlib import Path

import pytest
import soundfile

from featx import samples
from serving import Served, serving, vectors
from visiting import (
    MAIL,
    Visit,
    a_picture,
    choose,
    ids_in,
    items_of,
    labels_of,
    noticed,
    pictured,
    said_of,
    say,
    teach,
    type_in,
    winner,
)

pytestmark = pytest.mark.browser


def test_a_text_gets_its_label_its_bars_and_its_neighbours(mails: Served, visit: Visit) -> None:
    page = visit(mails)

    type_in(page, MAIL)

    expected = said_of(mails, MAIL)
    say(page, expected["label"])
    assert page.locator(".share").inner_text() == f"{100 * expected['probability']:.0f}\u00a0%"
    bars = page.locator("#answer tbody th").all_inner_texts()
    assert bars == list(expected["probabilities"])
    voters = {each["id"] for each in expected["neighbours"]}
    assert voters <= set(ids_in(page.locator("#near-items li")))
    assert page.locator("#said").inner_text().startswith(expected["label"])


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


def test_pictures_are_chosen_many_at_once(pictures: Served, visit: Visit) -> None:
    page = visit(pictures)
    chosen = [a_picture("birds", 8), a_picture("drinks", 8), a_picture("fruit", 8)]

    choose(page, *chosen)
    page.locator("#asked-items li").nth(2).wait_for()

    _, told = pictures.json("GET", "/v1/models")
    assert told["data"][0]["items"] == 18
    body = chosen[0].read_bytes()
    _, _, answer = pictures.request("POST", "/v1/classify", body, {"content-type": "image/png"})
    assert winner(page).inner_text() in answer.decode()
    assert page.locator("#shown img").evaluate("image => image.naturalWidth") > 0
    pictured(page)


_GIVE = """async ([kind, bytes]) => {
    const given = new DataTransfer();
    given.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
    const event = kind === "paste"
        ? new ClipboardEvent(kind, { clipboardData: given, bubbles: true, cancelable: true })
        : new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(pictures: Served, visit: Visit, kind: str) -> None:
    page = visit(pictures)
    page.locator("#samples").wait_for()

    page.evaluate(_GIVE, [kind, list(a_picture("fruit", 7).read_bytes())])
    winner(page).wait_for()

    assert page.locator("#shown .name").inner_text() == "given.png"


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


def test_a_sample_of_the_gallery_may_be_tried(pictures: Served, visit: Visit) -> None:
    page = visit(pictures)

    page.locator("#samples-items button").first.click()
    winner(page).wait_for()

    assert page.locator("#samples").is_hidden()


def test_errors_are_shown_as_the_service_says_them(
    pictures: Served, visit: Visit, tmp_path: Path
) -> None:
    page = visit(pictures, told=("status of 422",))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture at all")

    choose(page, broken)
    alert = page.get_by_role("alert")
    alert.get_by_role("button", name="Dismiss").wait_for()

    _, _, body = pictures.request(
        "POST", "/v1/classify", b"no picture at all", {"content-type": "image/png"}
    )
    told = alert.locator("span").inner_text()
    assert told.startswith("broken.png: is not an image")
    assert told.removeprefix("broken.png: ") in json.loads(body)["error"]["message"]
    choose(page, a_picture())
    winner(page).wait_for()
    assert alert.inner_text() == ""


def test_a_service_that_is_gone_is_said_so(text_head: Path, visit: Visit) -> None:
    with serving(text_head) as served:
        page = visit(served, told=("ERR_CONNECTION_REFUSED",))
        page.get_by_label("Text", exact=True).fill(MAIL)

    page.get_by_role("button", name="Classify").click()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for()

    assert page.get_by_role("button", name="Try again").is_visible()


def test_a_key_is_asked_for_where_one_is_needed(image_gallery: Path, visit: Visit) -> None:
    with serving(image_gallery, keys=("open sesame",)) as served:
        page = visit(served, told=("status of 401",))
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("not known here").wait_for()
        page.get_by_label("API key").fill("open sesame")
        page.get_by_role("button", name="Use it").click()
        choose(page, a_picture("fruit", 7))
        winner(page).wait_for()

        assert page.locator("#key").is_hidden()
        pictured(page)
        assert str(page.locator("#near-items img").first.get_attribute("src")).startswith("blob:")
        page.reload()
        page.get_by_role("heading", level=1, name="clipart").wait_for()
        assert page.locator("#key").is_hidden()


def test_a_text_is_answered_while_it_is_typed(mails: Served, visit: Visit) -> None:
    page = visit(mails)
    page.get_by_label("while I type").check()

    page.get_by_label("Text", exact=True).press_sequentially("win money now", delay=5)
    winner(page).wait_for()

    assert page.locator("#asked").is_hidden()  # a draft is not kept


def test_a_head_says_its_set_in_words_and_has_one_view(text_head: Path, visit: Visit) -> None:
    with serving(text_head) as served:
        page = visit(served)
        type_in(page, MAIL)
        winner(page).wait_for()
        expected = said_of(served, MAIL)

    words = {
        0: "None fits well enough to be in the set.",
        1: f"Only {expected['label']} fits.",
        2: f"One of: {', '.join(expected['set'])}.",
    }
    assert page.locator(".set").inner_text() == words[len(expected["set"])]
    assert page.locator("#tabs").is_hidden()
    assert page.locator("#near").is_hidden()
    assert page.get_by_role("button", name="Teach").count() == 0


def test_a_backbone_shows_its_numbers_and_cosines(text_backbone: str, visit: Visit) -> None:
    with serving(text_backbone) as served:
        page = visit(served)
        type_in(page, "a sunny day")
        page.get_by_text("384 numbers of minilm-l6").wait_for()
        type_in(page, "fine weather")
        page.locator("#answer tbody tr").wait_for()
        asked = {"input": ["a sunny day", "fine weather"], "model": text_backbone}
        _, told = served.json("POST", "/v1/embeddings", asked)

    one, other = (each["embedding"] for each in told["data"])

    cosine = sum(a * b for a, b in zip(one, other, strict=True))
    assert float(page.locator("#answer td").last.inner_text()) == pytest.approx(cosine, abs=2e-3)
    assert page.locator(".numbers").inner_text().startswith(f"{other[0]:.4f}, {other[1]:.4f}")


def test_a_vector_is_pasted_as_numbers(vector_gallery: Path, visit: Visit) -> None:
    with serving(vector_gallery) as served:
        page = visit(served)
        field = page.get_by_label("8 numbers")
        field.fill("[1, 2, 3]")
        field.press("Control+Enter")
        page.get_by_role("alert").get_by_text("found 3 numbers; the model takes 8").wait_for()
        field.fill(str(vectors()[1].tolist()))
        field.press("Control+Enter")
        say(page, "b")


def test_a_sound_is_chosen_or_recorded(sound_gallery: Path, visit: Visit) -> None:
    sound = next((samples.folder() / "sounds" / "bass").iterdir())
    with serving(sound_gallery) as served:
        page = visit(served, permissions=["microphone"])
        choose(page, sound)
        winner(page).wait_for()
        assert page.locator("#shown canvas").is_visible()
        page.get_by_role("button", name="Record").click()
        page.get_by_role("button", name=re.compile(r"Stop \(1 s\)")).click()
        page.locator("#shown .name", has_text="recorded").wait_for()
        page.locator("#asked-items li").nth(1).wait_for()


def test_samples_become_a_wav_file(text_head: Path, visit: Visit) -> None:
    wave = [0.0, 0.5, -0.5, 1.5, -1.5]
    with serving(text_head) as served:
        page = visit(served)
        made = "async wave => [...new Uint8Array((await import('/page/sound.js')).wavOf(wave))]"
        wav = bytes(page.evaluate(made, wave))

    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert (samples.tolist(), rate_hz) == ([0, 16384, -16383, 32767, -32767], 48000)
