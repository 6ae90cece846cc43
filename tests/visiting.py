"""The page of a service in a real Chromium, as the tests of it open it."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from featx import samples
from serving import Served, copy_of, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
PICTURES = samples.folder() / "clipart"
MAIL = "free offer click here to win money now"

Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "chromium is not installed"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: "Browser") -> Iterator[Visit]:
    """Give a function that opens the page of a service.

    At the end nothing may have gone wrong in the browser, and no request have left the service;
    `told` are parts of messages of the browser that a test is about.
    """
    contexts, problems, places = [], list[str](), set[str]()
    expected, origins = list[str](), set[str]()

    def heard(message: "ConsoleMessage") -> None:
        is_bad = message.type in {"error", "warning"}
        if is_bad and not any(each in message.text for each in expected):
            problems.append(message.text)

    def asked(request: "Request") -> None:
        found = urlsplit(request.url)
        if found.scheme not in {"blob", "data"}:
            places.add(f"{found.scheme}://{found.netloc}")

    def opened(
        served: Served,
        path: str = "/",
        *,
        told: tuple[str, ...] = (),
        **options: Any,  # noqa: ANN401 (as a context of the browser has them)
    ) -> "Page":
        expected.extend(told)
        origins.add(served.url)
        context = chromium.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", heard)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", asked)
        page.goto(served.url + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
    assert places <= origins


@pytest.fixture
def mails(text_gallery: Path, tmp_path: Path) -> Iterator[Served]:
    """Serve a gallery of mails that may be taught."""
    with serving(copy_of(text_gallery, tmp_path), allow_teach=True) as served:
        yield served


@pytest.fixture
def pictures(image_gallery: Path, tmp_path: Path) -> Iterator[Served]:
    """Serve a gallery of pictures that may be taught."""
    with serving(copy_of(image_gallery, tmp_path), allow_teach=True) as served:
        yield served


def type_in(page: "Page", text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_label("Text", exact=True).press("Control+Enter")


def choose(page: "Page", *files: Path) -> None:
    """Choose files; they may have been chosen by a person only once the page is ready."""
    page.locator("#for-file").wait_for()
    page.locator("#file").set_input_files(files)


def winner(page: "Page") -> "Locator":
    return page.locator("#answer .winner")


def say(page: "Page", label: str) -> None:
    """Wait until the answer is a label."""
    page.locator("#answer .winner", has_text=re.compile(f"^{re.escape(label)}$")).wait_for()


def teach(page: "Page", label: str) -> None:
    page.get_by_label("Wrong? It is").fill(label)
    page.get_by_role("button", name="Teach", exact=True).click()


def noticed(page: "Page", told: str) -> None:
    """Wait until it is said that something was done."""
    page.locator("#notice p", has_text=told).wait_for()


def said_of(served: Served, text: str) -> Any:  # noqa: ANN401
    status, told = served.json("POST", "/v1/classify", {"input": text})
    assert status == 200
    return told["results"][0]


def items_of(served: Served) -> int:
    total: int = served.json("GET", "/v1/examples")[1]["total"]
    return total


def labels_of(served: Served) -> dict[str, int]:
    found: dict[str, int] = served.json("GET", "/v1/examples")[1]["labels"]
    return found


def ids_in(cards: "Locator") -> list[str]:
    """Return the ids of cards that may be changed."""
    names = cards.get_by_role("button", name=re.compile("^Forget "))
    names.first.wait_for()
    return [str(each.get_attribute("aria-label")).removeprefix("Forget ") for each in names.all()]


def pictured(page: "Page") -> None:
    """Wait until the nearest neighbour shows its picture."""
    first = page.locator("#near-items img[src]").first
    assert first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def scrolls_sideways(page: "Page") -> bool:
    found: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return found


def a_picture(label: str = "vehicles", at: int = 0) -> Path:
    return sorted((PICTURES / label).iterdir())[at]
