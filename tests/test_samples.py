"""The sample data is whole, readable, small and licensed."""

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from featx import samples

ROOT = samples.folder()
LIMIT_BYTES = 5_000_000
CLIPART = {
    "birds": 37,
    "bugs": 40,
    "buildings": 41,
    "drinks": 35,
    "fruit": 42,
    "instruments": 34,
    "roadsigns": 42,
    "vehicles": 35,
}
SOUNDS = {"ambi": 10, "bass": 9, "bd": 12, "drum": 20, "elec": 22, "tabla": 23}


def class_counts(folder: Path) -> dict[str, int]:
    return dict(Counter(path.parent.name for path in folder.glob("*/*")))


def mails() -> list[dict[str, str]]:
    with (ROOT / "mails.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_each_class_has_its_pictures_and_sounds() -> None:
    assert class_counts(ROOT / "clipart") == CLIPART
    assert class_counts(ROOT / "sounds") == SOUNDS


@pytest.mark.parametrize("label", CLIPART)
def test_every_picture_of_a_class_opens_and_shows_something(label: str) -> None:
    for path in sorted((ROOT / "clipart" / label).iterdir()):
        with Image.open(path) as opened:
            assert opened.format == "PNG", path
            pixels = np.asarray(opened.convert("RGBA"))

        visible = pixels[pixels[..., 3] > 128]
        assert max(pixels.shape[:2]) <= 192, path
        assert min(pixels.shape[:2]) >= 8, path
        assert len(visible) > 0, path


def test_no_two_files_have_the_same_content() -> None:
    files = [path for kind in ("clipart", "sounds") for path in (ROOT / kind).glob("*/*")]

    assert len({path.read_bytes() for path in files}) == len(files)


@pytest.mark.parametrize("label", SOUNDS)
def test_every_sound_of_a_class_decodes_and_is_not_silent(label: str) -> None:
    for path in sorted((ROOT / "sounds" / label).iterdir()):
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)

        assert rate == 16_000, path
        assert wave.shape[1] == 1, path
        assert 1_600 <= len(wave) <= 32_000, path
        assert float(np.abs(wave).max()) > 0.01, path


def test_mails_have_unique_ids_distinct_texts_and_both_labels() -> None:
    rows = mails()

    assert list(rows[0]) == ["id", "text", "label"]
    assert Counter(row["label"] for row in rows) == {"ham": 300, "spam": 300}
    assert len({row["id"] for row in rows}) == 600
    assert len({row["text"] for row in rows}) == 600


def test_mails_are_one_line_of_clean_text_without_mail_addresses() -> None:
    for row in mails():
        assert row["text"].isprintable(), row["id"]
        assert 60 <= len(row["text"]) <= 1_500, row["id"]
        assert "\N{REPLACEMENT CHARACTER}" not in row["text"], row["id"]
        assert re.search(r"\w@\w+\.\w", row["text"]) is None, row["id"]


def test_the_samples_stay_small() -> None:
    files = [path for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".pyc"]

    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES


def test_the_licence_page_names_every_sample_set() -> None:
    page = (ROOT / "LICENSES.md").read_text(encoding="utf-8")
    kinds = {path.name for path in ROOT.iterdir() if path.suffix not in {".py", ".md"}}

    assert kinds - {"__pycache__"} == {"clipart", "mails.csv", "sounds"}
    assert [kind for kind in sorted(kinds - {"__pycache__"}) if f"`{kind}`" not in page] == []
