"""What is decoded at once has a bound."""

import io
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import PIL.Image
import pytest
import soundfile

from featx.errors import ItemError
from featx.serve.sizes import Sizes

SOON_S = 30.0


def picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def sound(n_samples: int, channels: int, rate_hz: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((n_samples, channels)), rate_hz, format="FLAC")
    return file.getvalue()


def test_two_of_the_largest_images_are_decoded_at_once_and_no_third() -> None:
    sizes, raw = Sizes(pixels=10_000, seconds=1), picture(100, 100)
    two, lock = Barrier(2), Lock()
    now, most = 0, 0

    def decode(_: int) -> None:
        nonlocal now, most
        with sizes.decoding(raw, "image"):
            with lock:
                now += 1
                most = max(most, now)
            two.wait(SOON_S)
            with lock:
                now -= 1

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(decode, range(64)))

    assert most == 2


def test_room_comes_back_where_decoding_fails() -> None:
    sizes, raw = Sizes(pixels=10_000, seconds=1), picture(100, 100)

    for _ in range(5):
        with pytest.raises(ItemError, match="damaged"), sizes.decoding(raw, "image"):
            raise ItemError("is damaged")


def test_an_image_that_is_too_large_waits_for_nothing() -> None:
    sizes = Sizes(pixels=10_000, seconds=1)

    with (
        pytest.raises(ItemError, match="has 101 x 100 pixels; at most 10,000 are taken"),
        sizes.decoding(picture(101, 100), "image"),
    ):
        pass


@pytest.mark.parametrize(
    ("n_samples", "channels", "rate_hz", "message"),
    [
        (48_000, 2, 48_000, ""),
        (96_000, 1, 96_000, ""),
        (16_001, 1, 8_000, "lasts 2 s; at most 1 s are taken"),
        (48_000, 3, 48_000, "holds 144,000 samples of all channels; at most 96,000 are taken"),
        (65_535, 8, 655_350, "holds 524,280 samples of all channels; at most 96,000 are taken"),
    ],
)
def test_a_sound_may_have_the_samples_of_stereo(
    n_samples: int, channels: int, rate_hz: int, message: str
) -> None:
    sizes, found = Sizes(pixels=1, seconds=1), ""

    try:
        with sizes.decoding(sound(n_samples, channels, rate_hz), "audio"):
            pass
    except ItemError as error:
        found = str(error)

    assert found.startswith(message)
    assert bool(found) == bool(message)
