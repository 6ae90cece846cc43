"""Settings of transformers' feature extractors for sounds as options of the manifest."""

from collections.abc import Iterator, Mapping
from typing import Any

from featx.onboard.read.facts import Fact
from featx.onboard.read.told import Reader, Told

HOP = 160
"""Samples of a frame of waveforms, which is but a unit."""

LONGEST_S = 30
"""Length from which featx cuts a waveform that no file limits."""

WHISPER_HZ = 16000
"""The rate whose half is the top of Whisper's mel filters."""


def wav2vec2(told: Told) -> Iterator[Fact]:
    """Yield the facts of extractors that give the waveform, such as those of wav2vec 2.0."""
    if told.get("feature_size") != 1:
        raise told.refused("feature_size", "1, a mono waveform")
    rate_hz = told.whole("sampling_rate")
    yield told.fact("modality", "audio")
    yield told.fact("audio.sample_rate_hz", rate_hz, "sampling_rate")
    yield told.fact("audio.features", "waveform")
    yield told.fact("audio.unit_variance", bool(told.get("do_normalize")), "do_normalize")
    yield told.fact("audio.window_length", "fit")
    source = f"featx: longer sounds than {LONGEST_S} s are cut into windows"
    for name in ("window_frames", "window_step_frames"):
        yield Fact(f"audio.{name}", LONGEST_S * rate_hz // HOP, source)
    yield Fact("audio.hop_length", HOP, "featx: unit of window_frames")
    yield Fact("audio.least_samples", rate_hz // 40, "featx: a frame of 25 ms")


def whisper(told: Told) -> Iterator[Fact]:
    """Yield the facts of Whisper's extractor: windows that are filled up with silence."""
    if told.get("sampling_rate") != WHISPER_HZ:
        raise told.refused("sampling_rate", str(WHISPER_HZ))
    if told.get("dither"):
        raise told.refused("dither", "0: the same item gives the same vector")
    hop = told.whole("hop_length")
    frames = told.whole("chunk_length") * WHISPER_HZ // hop
    yield told.fact("modality", "audio")
    yield told.fact("audio.sample_rate_hz", WHISPER_HZ, "sampling_rate")
    yield told.fact("audio.features", "whisper")
    yield told.fact("audio.n_fft", told.whole("n_fft"), "n_fft")
    yield told.fact("audio.hop_length", hop, "hop_length")
    yield told.fact("audio.n_mels", told.whole("feature_size"), "feature_size")
    for name in ("window_frames", "window_step_frames"):
        yield told.fact(f"audio.{name}", frames, "chunk_length", "hop_length")


def spectrogram_transformer(told: Told) -> Iterator[Fact]:
    """Yield the facts of the Audio Spectrogram Transformer's extractor."""
    rate_hz, frames = told.whole("sampling_rate"), told.whole("max_length")
    yield told.fact("modality", "audio")
    yield told.fact("audio.sample_rate_hz", rate_hz, "sampling_rate")
    yield told.fact("audio.features", "kaldi")
    yield told.fact("audio.n_mels", told.whole("num_mel_bins"), "num_mel_bins")
    yield told.fact("audio.n_fft", 1 << (rate_hz // 40 - 1).bit_length())
    yield told.fact("audio.hop_length", rate_hz // 100)
    for name in ("window_frames", "window_step_frames"):
        yield told.fact(f"audio.{name}", frames, "max_length")
    if told.get("do_normalize"):
        yield told.fact("audio.feature_mean", told.number("mean"), "mean")
        yield told.fact("audio.feature_std", 2 * told.number("std"), "std")


EXTRACTORS: dict[str, tuple[Reader, Mapping[str, Any]]] = {
    "AST": (
        spectrogram_transformer,
        {
            "sampling_rate": 16000,
            "num_mel_bins": 128,
            "max_length": 1024,
            "do_normalize": True,
            "mean": -4.2677393,
            "std": 4.5689974,
        },
    ),
    "Wav2Vec2": (wav2vec2, {"feature_size": 1, "sampling_rate": 16000, "do_normalize": True}),
    "Whisper": (
        whisper,
        {
            "feature_size": 80,
            "sampling_rate": 16000,
            "hop_length": 160,
            "chunk_length": 30,
            "n_fft": 400,
        },
    ),
}
"""Class, without its ending → what reads its settings, and the values it has by default."""
