"""From a mono sound to windows of samples or of features, as `AudioOptions` says."""

import math

import numpy as np
from numpy.typing import NDArray

from featx.modality.kaldi import kaldi_banks
from featx.modality.mel import log_mel, mel_spectrogram, whisper_log_mel
from featx.zoo.manifest import AudioOptions

Waveform = NDArray[np.float32]
Windows = NDArray[np.float32]


def windows_of(sound: Waveform, options: AudioOptions) -> Windows:
    """Return the windows of a sound (samples,), stacked.

    Returns
    -------
    ndarray of float32, shape (N, samples), (N, frames, mels) or, for Whisper, (N, mels, frames)
    """
    if options.window_length == "fit":
        return _fitted(sound, options)
    starts = window_starts(len(sound), options)
    if options.features == "kaldi":
        return _scaled(_kaldi(sound, starts, options), options)
    hop, frames = options.hop_length, options.window_frames
    # Zeros fill the last window before the transform, which looks past a window's end.
    sound = np.pad(sound, (0, max(0, (starts[-1] + frames) * hop - len(sound))))
    samples = _cut(sound, [start * hop for start in starts], frames * hop)
    if options.features == "waveform":
        return samples
    if options.features == "whisper":
        return _scaled(_whisper(samples, options), options)
    mels = mel_spectrogram(
        sound,
        sample_rate_hz=options.sample_rate_hz,
        n_fft=options.n_fft,
        hop_length=hop,
        n_mels=options.n_mels,
        mel_scale=options.mel_scale,
        power=options.power,
    )
    features = log_mel(mels) if options.features == "log_mel" else mels
    return _scaled(_cut(features, starts, frames), options)


def window_starts(n_samples: int, options: AudioOptions) -> list[int]:
    """Return the first frame of every window, at least one.

    The rule of Resemblyzer's ``compute_partial_slices``: windows start `window_step_frames`
    apart while the sound lasts; the last is dropped if sound covers less than `min_coverage` of
    it, unless it is the only one.
    """
    window, step, hop = options.window_frames, options.window_step_frames, options.hop_length
    n_frames = math.ceil((n_samples + 1) / hop)
    starts = list(range(0, max(1, n_frames - window + step + 1), step))
    coverage = (n_samples - starts[-1] * hop) / (window * hop)
    return starts[:-1] if coverage < options.min_coverage and len(starts) > 1 else starts


def sample_mask(n_samples: int, windows: Windows, options: AudioOptions) -> NDArray[np.int64]:
    """Return 1 for each sample of waveform windows that is sound, 0 for an added zero."""
    count, length = windows.shape
    is_fixed = options.window_length == "fixed"
    step = options.window_step_frames * options.hop_length if is_fixed else length
    at = np.arange(count)[:, None] * step + np.arange(length)
    return (at < n_samples).astype(np.int64)


def _fitted(sound: Waveform, options: AudioOptions) -> Windows:
    """Return one window, or as few of equal length as hold a long sound."""
    count = math.ceil(len(sound) / (options.window_frames * options.hop_length))
    length = len(sound) // count
    windows = sound[: count * length].reshape(count, length)
    return np.pad(windows, ((0, 0), (0, max(0, options.least_samples - length))))


def _whisper(samples: Windows, options: AudioOptions) -> Windows:
    windows = [
        whisper_log_mel(
            window,
            sample_rate_hz=options.sample_rate_hz,
            n_fft=options.n_fft,
            hop_length=options.hop_length,
            n_mels=options.n_mels,
        )
        for window in samples
    ]
    return np.stack(windows)


def _kaldi(sound: Waveform, starts: list[int], options: AudioOptions) -> Windows:
    """Cut filter banks; what no sound covers is 0, as in the Audio Spectrogram Transformer."""
    banks = kaldi_banks(
        sound,
        sample_rate_hz=options.sample_rate_hz,
        n_fft=options.n_fft,
        hop_length=options.hop_length,
        n_mels=options.n_mels,
    )
    missing = max(0, starts[-1] + options.window_frames - len(banks))
    return _cut(np.pad(banks, ((0, missing), (0, 0))), starts, options.window_frames)


def _cut(rows: NDArray[np.float32], starts: list[int], length: int) -> Windows:
    """Return rows ``start`` to ``start + length`` for each start, stacked."""
    return np.stack([rows[start : start + length] for start in starts])


def _scaled(features: Windows, options: AudioOptions) -> Windows:
    if (options.feature_mean, options.feature_std) == (0.0, 1.0):
        return features
    scaled: Windows = (features - np.float32(options.feature_mean)) / np.float32(
        options.feature_std
    )
    return scaled
