"""What a person asks about on the page and is told, in a real Chromium."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

from command_line import done
from featx import samples
from featx.backbone.backbone import Backbone, identity
from featx.data.rows import Row
from featx.data.writer import SetWriter
from serving import Served, serving, vectors
from visiting import (
    MAIL,
    Visit,
    a_picture,
    choose,
    ids_in,
    pictured,
    said_of,
    say,
    type_in,
    winner,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

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


def test_the_description_is_read_without_a_key(image_gallery: Path, visit: Visit) -> None:
    with serving(image_gallery, keys=("open sesame",)) as served:
        page = visit(served, told=("status of 401",))
        page.get_by_label("API key").wait_for()
        page.get_by_role("link", name="API").click()
        page.get_by_role("heading", level=1, name="featx: clipart").wait_for()

        assert page.locator("#teach").is_visible()
        assert "birds" not in page.content()
        page.get_by_role("link", name="OpenAPI 3.1").click()
        page.wait_for_url("**/openapi.json")
        assert "clipart" in page.content()


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


def labelled(folder: Path, label: Callable[[int], str | None]) -> Path:
    """Return a set of vectors with labels."""
    X = vectors()
    rows = [Row(id=f"v{n}", digest=f"{n:064x}", uri="", label=label(n)) for n in range(len(X))]
    with SetWriter(folder / "things.emb", model=Backbone(identity(X.shape[1])).facts) as writer:
        writer.append(rows, X)
        writer.seal()
    return folder / "things.emb"


def ask_for_first(page: "Page") -> None:
    field = page.get_by_label("8 numbers")
    field.fill(str(vectors()[0].tolist()))
    field.press("Control+Enter")


def test_tags_are_shown_with_their_bars(tmp_path: Path, visit: Visit) -> None:
    place = labelled(tmp_path, lambda n: "abc"[n % 3] + "|" + ["even", "odd"][n % 2])
    done("train", place, "-o", tmp_path / "tags.head", "--task", "multilabel", "--head", "ridge")
    with serving(tmp_path / "tags.head") as served:
        page = visit(served)
        assert page.get_by_role("button", name="Tag").is_visible()
        ask_for_first(page)
        page.locator("#answer .bars").wait_for()
        _, told = served.json("POST", "/v1/classify", {"input": {"vector": vectors()[0].tolist()}})

    (expected,) = told["results"]
    assert page.locator("#answer .tags li").all_inner_texts() == expected["tags"]
    assert page.locator("#answer .in th").all_inner_texts() == expected["tags"]
    assert page.locator("#answer th").all_inner_texts() == list(expected["probabilities"])


def test_values_are_shown_with_their_intervals(tmp_path: Path, visit: Visit) -> None:
    place = labelled(tmp_path, lambda n: str(10 * (n % 3)))
    done("train", place, "-o", tmp_path / "values.head", "--task", "regress", "--head", "ridge")
    with serving(tmp_path / "values.head") as served:
        page = visit(served)
        ask_for_first(page)
        winner(page).wait_for()
        _, told = served.json("POST", "/v1/classify", {"input": {"vector": vectors()[0].tolist()}})

    ((name, value),) = told["results"][0]["values"].items()
    low, high = told["results"][0]["intervals"][name]
    shown = [winner(page).inner_text(), *page.locator(".range span").all_inner_texts()]
    assert [float(each) for each in shown if each] == pytest.approx([value, low, high], rel=1e-3)


def test_a_gallery_without_labels_is_searched_until_it_is_taught_one(
    tmp_path: Path, visit: Visit
) -> None:
    place = labelled(tmp_path, lambda _: None)
    done("index", place, "-o", tmp_path / "things.knn", "--standalone")
    with serving(tmp_path / "things.knn", allow_teach=True) as served:
        page = visit(served)
        page.get_by_role("tab", name="Search").wait_for()
        ask_for_first(page)
        assert ids_in(page.locator("#near-items li"))[0] == "v0"
        assert page.locator("#near-items .label").first.inner_text() == "no label"
        page.get_by_label("It is").fill("first")
        page.get_by_role("button", name="Teach", exact=True).click()
        say(page, "first")

        assert page.get_by_role("tab", name="Classify").is_visible()


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
