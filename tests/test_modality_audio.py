import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from featx.errors import ItemError, ManifestError
from featx.modality.audio import Audio, raise_volume
from featx.modality.mel import MelScale, hz_to_mel, log_mel, mel_spectrogram, mel_to_hz
from featx.modality.windows import window_starts
from featx.zoo.manifest import AudioOptions, Manifest

RATE = 16000
GE2E = AudioOptions(
    sample_rate_hz=RATE, window_frames=160, window_step_frames=80, features="mel", n_mels=40
)
WAVEFORM = AudioOptions(
    sample_rate_hz=RATE, window_frames=10, window_step_frames=5, features="waveform"
)
REFERENCE = Path(__file__).parent / "data" / "mel_reference.npz"

FLOAT32_TOLERANCE = 2e-6
"""The reference sums in float32: a few units in the last place."""


def build(options: AudioOptions | None = GE2E, *, mask: bool = False) -> Audio:
    return Audio(
        Manifest(
            schema=1,
            name="tiny",
            modality="audio",
            summary="",
            license="",
            source="",
            weights="tiny",
            dim=4,
            pooling="none",
            normalize=True,
            inputs={"windows": "mel"} | ({"sample_mask": "mask"} if mask else {}),
            audio=options,
        )
    )


def noise(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(n_samples)).astype(np.float32)


def encode(sound: NDArray[Any], rate: int = RATE, kind: str = "WAV", sub: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=kind, subtype=sub)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "rate", "n_fft", "hop", "n_mels", "scale", "power"),
    [
        ("ge2e", 16000, 400, 160, 40, "slaney", 2.0),
        ("htk", 16000, 512, 200, 26, "htk", 2.0),
        ("odd", 8000, 255, 100, 20, "slaney", 1.0),
    ],
)
def test_mel_spectrograms_equal_librosas(
    name: str, rate: int, n_fft: int, hop: int, n_mels: int, scale: MelScale, power: float
) -> None:
    with np.load(REFERENCE) as reference:
        sound, expected = reference["sound"], reference[name]

    mels = mel_spectrogram(
        sound,
        sample_rate_hz=rate,
        n_fft=n_fft,
        hop_length=hop,
        n_mels=n_mels,
        mel_scale=scale,
        power=power,
    )

    np.testing.assert_allclose(mels, expected, rtol=FLOAT32_TOLERANCE)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mels_and_hertz_are_inverse(scale: MelScale) -> None:
    hz = np.array([0.0, 440.0, 1000.0, 7999.0])

    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)


def oracle_starts(n: int, o: AudioOptions) -> list[int]:
    n_frames = int(np.ceil((n + 1) / o.hop_length))
    steps = max(1, n_frames - o.window_frames + o.window_step_frames + 1)
    starts = list(range(0, steps, o.window_step_frames))
    coverage = (n - starts[-1] * o.hop_length) / (o.window_frames * o.hop_length)
    if coverage < o.min_coverage and len(starts) > 1:
        starts = starts[:-1]
    return starts


@pytest.mark.parametrize("n_samples", [1, 159, 160, 25599, 25600, 32000, 38400, 40000, 100_000])
def test_windows_start_where_the_model_of_the_rule_says(n_samples: int) -> None:
    assert window_starts(n_samples, GE2E) == oracle_starts(n_samples, GE2E)


def test_windows_are_slices_of_the_mel_spectrogram_of_the_padded_sound() -> None:
    sound, audio = noise(60_000), build()

    windows = audio.load(encode(sound)).inputs["windows"]

    starts = window_starts(len(sound), GE2E)
    padded = np.pad(sound, (0, max(0, (starts[-1] + 160) * 160 - len(sound))))
    mels = mel_spectrogram(
        padded,
        sample_rate_hz=RATE,
        n_fft=400,
        hop_length=160,
        n_mels=40,
        mel_scale="slaney",
        power=2.0,
    )
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(windows, np.stack([mels[s : s + 160] for s in starts]))


def test_log_mel_is_the_natural_logarithm_with_a_floor() -> None:
    mels = np.array([0.0, 1.0, math.e], dtype=np.float32)

    np.testing.assert_allclose(log_mel(mels), [math.log(1e-10), 0, 1], atol=1e-6)


def test_waveform_windows_hold_the_samples_and_zeros_at_the_end() -> None:
    sound = noise(2000)

    windows = build(WAVEFORM).load(encode(sound)).inputs["windows"]

    padded = np.pad(sound, (0, 400))
    np.testing.assert_array_equal(windows, [padded[:1600], padded[800:2400]])


def test_a_short_sound_is_one_window_padded_with_zeros() -> None:
    sound = noise(100)

    windows = build(WAVEFORM).load(encode(sound)).inputs["windows"]

    np.testing.assert_array_equal(windows, [np.pad(sound, (0, 1500))])


FIT = replace(WAVEFORM, window_frames=10, window_length="fit")


@pytest.mark.parametrize(("n_samples", "shape"), [(1000, (1, 1000)), (1601, (2, 800))])
def test_a_window_that_fits_holds_the_sound_and_nothing_else(
    n_samples: int, shape: tuple[int, int]
) -> None:
    sound = noise(n_samples)

    windows = build(FIT).load(encode(sound)).inputs["windows"]

    np.testing.assert_array_equal(windows, sound[: math.prod(shape)].reshape(shape))


def test_a_sound_that_is_too_short_is_filled_up() -> None:
    sound = noise(100)

    windows = build(replace(FIT, least_samples=150)).load(encode(sound)).inputs["windows"]

    np.testing.assert_array_equal(windows, [np.pad(sound, (0, 50))])


def test_a_mask_tells_samples_from_added_zeros() -> None:
    fixed, fit = build(WAVEFORM, mask=True), build(replace(FIT, least_samples=150), mask=True)

    masks = [
        each.load(encode(noise(n))).inputs["sample_mask"] for each, n in ((fixed, 2000), (fit, 100))
    ]

    expected = np.pad(np.ones(2000, dtype=np.int64), (0, 400))
    np.testing.assert_array_equal(masks[0], [expected[:1600], expected[800:2400]])
    np.testing.assert_array_equal(masks[1], [np.repeat([1, 0], [100, 50])])


def test_unit_variance_comes_before_the_zeros() -> None:
    sound = noise(1000) + np.float32(0.5)

    windows = build(replace(WAVEFORM, unit_variance=True)).load(encode(sound)).inputs["windows"]

    x = sound.astype(np.float64)
    expected = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
    np.testing.assert_allclose(windows[0, :1000], expected, atol=1e-6)
    assert not windows[0, 1000:].any()


@pytest.mark.parametrize("features", ["kaldi", "whisper"])
def test_a_long_sound_is_cut_into_windows_as_its_parts_would_be(
    features: Literal["kaldi", "whisper"],
) -> None:
    options = replace(GE2E, features=features, n_mels=20, window_frames=50, window_step_frames=50)
    sound, audio = noise(16_000), build(replace(options, feature_mean=1.0, feature_std=2.0))

    windows = audio.load(encode(sound)).inputs["windows"]

    first = build(options).load(encode(sound[: 50 * 160 + (240 if features == "kaldi" else 0)]))
    assert len(windows) == 2
    np.testing.assert_allclose(windows[0], (first.inputs["windows"][0] - 1) / 2, atol=1e-6)


def test_a_window_costs_what_its_seconds_do() -> None:
    whisper = replace(GE2E, features="whisper", window_frames=3000, window_step_frames=3000)

    costs = [build(each).load(encode(noise(1000))).cost for each in (GE2E, whisper)]

    assert costs == [1, 19]


def test_channels_are_averaged_and_rates_converted() -> None:
    stereo = np.stack([noise(3200, 1), noise(3200, 2)], axis=1)

    windows = build(WAVEFORM).load(encode(stereo, 32000)).inputs["windows"]

    mono = soxr.resample(stereo.mean(axis=1, dtype=np.float64).astype(np.float32), 32000, RATE)
    np.testing.assert_array_equal(windows, mono[None])


def test_a_waveform_array_reads_as_the_same_float_file() -> None:
    sound, audio = noise(5000), build()

    from_array = audio.load(audio.read(sound)).inputs["windows"]

    np.testing.assert_array_equal(from_array, audio.load(encode(sound)).inputs["windows"])


def test_volume_is_raised_and_never_lowered() -> None:
    quiet, loud = noise(1000) * np.float32(0.01), noise(1000) * np.float32(5)

    raised = raise_volume(quiet, -30.0)

    rms = math.sqrt(float(np.mean(raised.astype(np.float64) ** 2)))
    assert 20 * math.log10(rms) == pytest.approx(-30.0, abs=1e-5)
    np.testing.assert_array_equal(raise_volume(loud, -30.0), loud)


def test_windows_of_several_sounds_are_joined_in_order() -> None:
    audio = build()
    samples = [audio.load(encode(noise(60_000))), audio.load(encode(noise(100)))]

    batch = audio.collate(samples)["windows"]

    assert [sample.parts for sample in samples] == [4, 1]
    np.testing.assert_array_equal(batch[:4], samples[0].inputs["windows"])
    np.testing.assert_array_equal(batch[4:], samples[1].inputs["windows"])


def with_value(value: float) -> NDArray[np.float32]:
    sound = noise(1000)
    sound[7] = value
    return sound


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"not a sound at all", "is not a sound that can be read: .* starts with b'not a sound"),
        (encode(noise(1000))[:20], "is cut off: it holds 20 of "),
        (encode(noise(1000))[:2000], "is cut off: it holds 2000 of "),
        (encode(noise(0)), "has no samples"),
        (encode(np.zeros(1000)), "is silent"),
        (encode(np.stack([noise(100), -noise(100)], axis=1)), "is silent"),
        (encode(with_value(math.nan)), "holds samples that are not finite, the first at 7"),
        (encode(with_value(math.inf), 44100), "not finite, the first at 7"),
        (encode(np.zeros(3601 * 100), 100, sub="PCM_U8"), "lasts more than 3600 s"),
    ],
    ids=["foreign", "head", "cut", "none", "silent", "cancelling", "nan", "infinite", "long"],
)
def test_an_unusable_sound_is_an_item_error(raw: bytes, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        build().load(raw)


KINDS = [("AIFF", "PCM_16"), ("W64", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
KINDS += [("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("kind", "sub"), KINDS)
def test_a_cut_file_of_any_kind_is_an_item_error(kind: str, sub: str) -> None:
    raw = encode(noise(96_000), 48_000, kind, sub)

    for tenth in range(1, 10):
        with pytest.raises(ItemError, match=r"is cut off: it|is not a sound that can be read"):
            build().load(raw[: len(raw) * tenth // 10])


@pytest.mark.parametrize(("kind", "sub"), KINDS)
def test_a_whole_file_of_any_kind_is_read(kind: str, sub: str) -> None:
    sound = noise(96_000)

    found = build().load(encode(sound, 48_000, kind, sub) + b"TAG" + bytes(125))

    expected = build().load(encode(sound, 48_000)).inputs["windows"]
    assert found.inputs["windows"].shape == expected.shape
    assert np.corrcoef(found.inputs["windows"].ravel(), expected.ravel())[0, 1] > 0.9


def test_an_mp3_whose_length_is_an_estimate_is_read() -> None:
    raw = encode(noise(48_000), 48_000, "MP3", "MPEG_LAYER_III")
    second = raw.index(raw[:2], 4)  # the first frame counts the others

    assert len(build().load(b"ID3\x04\0\0\0\0\1\0" + bytes(128) + raw[second:]).inputs) == 1


def test_a_long_sound_is_resampled_in_blocks_as_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noise(60_001)
    whole = build(WAVEFORM).load(encode(sound, 44_100)).inputs["windows"]

    monkeypatch.setattr("featx.modality.audio.BLOCK_SAMPLES", 5000)
    blocks = build(WAVEFORM).load(encode(sound, 44_100)).inputs["windows"]

    np.testing.assert_array_equal(blocks, whole)
    resampled = soxr.resample(sound, 44_100, RATE)
    np.testing.assert_array_equal(blocks[:20, :800].ravel(), resampled[: 20 * 800])


def test_a_damaged_flac_is_an_item_error() -> None:
    raw = encode(noise(20_000), kind="FLAC", sub="PCM_16")

    for cut in (10, 50):
        with pytest.raises(ItemError, match=r"is not a sound|has no samples"):
            build().load(raw[:cut])


def test_a_streamed_wav_that_does_not_know_its_length_is_read() -> None:
    raw = encode(noise(2000))

    windows = build().load(raw[:4] + b"\xff\xff\xff\xff" + raw[8:]).inputs["windows"]

    np.testing.assert_array_equal(windows, build().load(raw).inputs["windows"])


def test_an_array_of_integers_is_refused() -> None:
    with pytest.raises(ItemError, match=r"int64.*expected floats"):
        build().read(np.arange(10))


def test_a_manifest_without_an_audio_table_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"needs an \[audio\] table"):
        build(None)


def test_the_preview_names_format_length_and_rate() -> None:
    assert build().preview(encode(noise(24000))) == "WAV 1.5 s 16000 Hz"
    assert build().preview(b"nonsense") == ""
