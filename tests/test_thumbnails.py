"""Thumbnails: small, upright, opaque, and none where there is nothing to show."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from featx import samples
from featx.data.rows import Row
from featx.data.sources import open_source
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.gallery.thumbnails import LONGEST, thumbnail, thumbnails_of
from featx.modality.image import MAX_PIXELS
from featx.types import Content

BIRDS = sorted((samples.folder() / "clipart" / "birds").glob("*.png"))[:6]
CODING = 12
"""Levels by which JPEG may change a colour of an even area."""


def pixels(jpeg: bytes | None) -> NDArray[np.int64]:
    assert jpeg is not None
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image, np.int64)


def file_of(image: Image.Image, form: str, **options: Any) -> bytes:  # noqa: ANN401
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def halves(width: int, height: int) -> Image.Image:
    """Return an image that is red above and blue below."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (0, height // 2, width, height))
    return image


def write_set(
    folder: Path,
    ids: list[str],
    *,
    modality: str = "image",
    source: dict[str, object] | None = None,
) -> EmbeddingSet:
    model = {
        "name": "m", "modality": modality, "dim": 2, "normalize": False,
        "fingerprint": "f" * 64, "space": "5" * 64,
    }  # fmt: skip
    place = folder.with_suffix(".emb")
    described = open_source(folder, modality="image").describe() | (source or {})
    with SetWriter(place, model=model, source=described) as writer:
        writer.append([Row(id=i, digest="00") for i in ids], np.ones((len(ids), 2), np.float32))
        writer.seal()
    return EmbeddingSet.open(place)


def test_a_large_photo_becomes_a_few_kilobytes_of_the_same_shape() -> None:
    large = halves(1600, 1200)

    found = thumbnail(file_of(large, "JPEG", quality=95))

    shown = pixels(found)
    assert shown.shape == (72, LONGEST, 3)
    truth = np.asarray(large.resize((96, 72), Image.Resampling.BICUBIC), np.int64)
    assert np.abs(shown - truth)[[0, 20, 50, 71]].max() <= CODING
    assert found is not None
    assert len(found) < 5000


def test_a_small_image_is_not_enlarged() -> None:
    assert pixels(thumbnail(file_of(halves(30, 20), "PNG"))).shape == (20, 30, 3)


def test_an_array_of_pixels_has_a_thumbnail() -> None:
    shown = pixels(thumbnail(np.asarray(halves(192, 96))))

    assert shown.shape == (48, 96, 3)
    np.testing.assert_allclose(shown[0, 0], [255, 0, 0], atol=CODING)


def test_a_note_on_how_to_turn_a_photo_is_followed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to show
    lying = halves(400, 200).transpose(Image.Transpose.ROTATE_90)

    shown = pixels(thumbnail(file_of(lying, "JPEG", exif=exif, quality=95)))

    assert shown.shape == (48, 96, 3)
    np.testing.assert_allclose(shown[2, 40], [255, 0, 0], atol=CODING)
    np.testing.assert_allclose(shown[-3, 40], [0, 0, 255], atol=CODING)


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (50, 50), (255, 0, 0, 0))

    np.testing.assert_allclose(pixels(thumbnail(file_of(clear, "PNG"))), 255, atol=CODING)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"these are words", id="words"),
        pytest.param(BIRDS[0].read_bytes()[:900], id="half a file"),
        pytest.param("a text", id="a text"),
        pytest.param(Path("there-is-no-such-file.png"), id="no file"),
        pytest.param(np.ones(3), id="numbers"),
    ],
)
def test_what_cannot_be_read_has_none(content: Content) -> None:
    assert thumbnail(content) is None


def test_an_image_of_too_many_pixels_has_none() -> None:
    side = int(MAX_PIXELS**0.5) + 2

    assert thumbnail(b"P5 %d %d 255\n" % (side, side)) is None


def test_rows_have_the_thumbnails_of_their_files_in_any_order(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    folder.mkdir()
    for path in BIRDS:
        shutil.copy(path, folder)
    names = [path.name for path in BIRDS]
    expected = {path.name: thumbnail(path) for path in BIRDS}
    opened = write_set(folder, [*names[1:], names[0], "gone.png"])
    make = thumbnails_of(opened)
    assert make is not None

    for rows in ([0, 1], [2, 3, 4, 5], [5, 0], [6], [3, 3]):
        assert make(rows) == [expected.get(opened.ids[row]) for row in rows]


def test_a_file_that_was_deleted_or_damaged_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    folder.mkdir()
    for path in BIRDS[:3]:
        shutil.copy(path, folder)
    names = [path.name for path in BIRDS[:3]]
    opened = write_set(folder, names)
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(b"no image")
    make = thumbnails_of(opened)
    assert make is not None

    assert make([0, 1, 2]) == [None, None, thumbnail(BIRDS[2])]


def test_there_are_none_of_texts_of_merged_sets_and_of_standard_input(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    folder.mkdir()
    shutil.copy(BIRDS[0], folder)

    sources: list[dict[str, object]] = [{"kind": "merge"}, {"paths": ["-"]}, {"paths": ["/no"]}]
    for number, differing in enumerate(sources):
        shutil.copytree(folder, tmp_path / f"{number}")
        assert thumbnails_of(write_set(tmp_path / f"{number}", ["a"], source=differing)) is None
    assert thumbnails_of(write_set(folder, ["a"], modality="text")) is None
