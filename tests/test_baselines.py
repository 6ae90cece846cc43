"""Baselines see what is plain in the contents, and no more."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer

from featx.errors import InputError
from featx.evaluate.baselines import RawBaseline, _Words, guess, has_raw_baseline, raw_features
from featx.evaluate.measures import headline
from featx.evaluate.multilabel import micro_f1


def png(colour: tuple[int, int, int], width: int = 24) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 20), colour).save(buffer, "PNG")
    return buffer.getvalue()


def wav(frequency_hz: float, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    time_s = np.arange(8000) / 16000
    sound = 0.5 * np.sin(2 * np.pi * frequency_hz * time_s) + 0.01 * rng.normal(size=8000)
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, 16000, format="WAV")
    return buffer.getvalue()


def test_a_guess_is_the_commonest_class_or_the_mean() -> None:
    assert guess("classify", np.array([2, 0, 2, 1, 2])) == {"majority": 0.6}
    assert guess("regress", np.array([[2.0], [3.0]])) == {"mean": 0.0}


def test_guessed_tags_are_the_commonest_that_do_best() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((200, 5)) < [0.9, 0.05, 0.5, 0.4, 0.0]).astype(np.float64)

    found = guess("multilabel", y)["majority"]

    order = np.argsort(-y.sum(axis=0))
    tried = [np.isin(np.arange(5), order[:n]) for n in range(1, 6)]
    best = max(micro_f1(y > 0, np.broadcast_to(tags, y.shape)) for tags in tried)
    assert found == pytest.approx(best)
    assert guess("multilabel", np.zeros((3, 2)))["majority"] == 0.0


def test_pixels_are_those_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png((255, 0, 51)))

    features = raw_features("image", [tmp_path / "x.png", png((0, 255, 0))])

    assert features is not None
    np.testing.assert_allclose(features[0].reshape(256, 3), np.tile([1, 0, 0.2], (256, 1)))
    np.testing.assert_allclose(features[1].reshape(256, 3), np.tile([0, 1, 0], (256, 1)))


def test_an_image_is_turned_as_its_exif_says() -> None:
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)

    features = raw_features("image", [buffer.getvalue()])

    assert features is not None
    rows = features[0].reshape(16, 16, 3).mean(axis=(1, 2))
    np.testing.assert_array_equal(rows, [0] * 8 + [1] * 8)


def test_the_loudest_band_holds_the_tone() -> None:
    features = raw_features("audio", [wav(440), wav(3000)])

    assert features is not None
    edges = np.geomspace(50, 8000, 41)
    for row, frequency in zip(features, (440, 3000), strict=True):
        band = int(row[:40].argmax())
        assert edges[band] / 1.1 <= frequency <= edges[band + 1] * 1.1
    assert features.shape == (2, 80)


def test_a_sound_shorter_than_a_frame_is_padded() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(10, 0.5), 8000, format="WAV")

    features = raw_features("audio", [buffer.getvalue()])

    assert features is not None
    assert np.isfinite(features).all()


def test_text_and_arrays_have_no_features_of_their_own() -> None:
    assert raw_features("text", ["a"]) is None
    assert raw_features("array", [np.ones(3)]) is None


def held_out_accuracy(modality: str, contents: list[Any], y: NDArray[np.int64]) -> float:
    found = RawBaseline(modality, "classify").fit(contents, y)
    return headline("classify", found.held_out_logits_, y)


def test_words_that_tell_classes_apart_are_found() -> None:
    contents = [f"{'good' if i % 2 else 'bad'} thing {i}" for i in range(40)]

    assert held_out_accuracy("text", contents, np.arange(40) % 2) == 1.0


def test_texts_of_single_characters_are_texts() -> None:
    y = np.arange(12) % 2

    assert held_out_accuracy("text", ["x" if code else "y" for code in y], y) == 1.0


def test_colours_and_tones_tell_classes_apart() -> None:
    y = np.arange(20) % 2
    images = [png((200 * int(code), 50 + i, 90)) for i, code in enumerate(y)]
    sounds = [wav(300 + 2000 * int(code), i) for i, code in enumerate(y)]

    assert held_out_accuracy("image", images, y) == 1.0
    assert held_out_accuracy("audio", sounds, y) == 1.0


def test_random_labels_are_not_learned() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    contents = [" ".join(rng.choice(list("abcdefgh"), 5)) for _ in y]

    assert 0.35 < held_out_accuracy("text", contents, y) < 0.65


def test_the_coordinates_of_words_keep_their_inner_products() -> None:
    texts = ["a b c", "b c d", "e", "a a b", "e"]
    new = ["a b", "z", "c e"]
    words = _Words()

    known = words.fit(texts)

    counter = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    plain = counter.fit_transform(texts).toarray()
    np.testing.assert_allclose(known @ known.T, plain @ plain.T, atol=1e-6)
    expected = counter.transform(new).toarray() @ plain.T
    np.testing.assert_allclose(words.transform(new) @ known.T, expected, atol=1e-6)


def test_a_baseline_predicts_what_it_was_taught() -> None:
    contents = ["red", "round", "red round", "plain"] * 5
    tags = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 5)
    values = np.array([1.0, 2.0, 3.0, 0.0] * 5)

    tagger = RawBaseline("text", "multilabel").fit(contents, tags)
    np.testing.assert_array_equal(tagger.predict(["round", "red"]), [[0, 1], [1, 0]])
    estimator = RawBaseline("text", "regress").fit(contents, values)
    np.testing.assert_allclose(estimator.predict(["round", "red"]), [2, 1], atol=0.1)
    assert estimator.held_out_logits_.shape[0] == 20


def test_arrays_have_no_raw_baseline() -> None:
    assert [has_raw_baseline(name) for name in ("text", "image", "audio", "array")] == [
        True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_contents_that_cannot_be_decoded_are_refused(modality: str) -> None:
    with pytest.raises(InputError, match=r"raw baseline: not an? (image|sound)"):
        raw_features(modality, [b"nonsense"])
