"""Mel spectrograms in plain NumPy, equal to ``librosa.feature.melspectrogram``.

Frames are centred (zeros or its mirror image are put around the sound), the window is a periodic
Hann window and the filters are triangles of unit area (Slaney's normalisation).  Sums run in
float64.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MelScale = Literal["slaney", "htk"]

LOG_FLOOR = 1e-10
"""Power below which `log_mel` does not look."""

WHISPER_DECADES = np.float32(8)
"""How far below the highest value of its window Whisper looks."""

BLOCK_FRAMES = 4096
"""Frames transformed at once; bounds the memory that a long sound takes."""

# Slaney's Auditory Toolbox: linear up to 1000 Hz, then 27 mels for each factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def mel_spectrogram(  # noqa: PLR0913  (the parameters of the transform)
    waveform: NDArray[np.float32],
    *,
    sample_rate_hz: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    mel_scale: MelScale,
    power: float,
    edge: Literal["zeros", "mirror"] = "zeros",
) -> NDArray[np.float32]:
    """Return the mel spectrogram of a sound, one row a frame.

    Parameters
    ----------
    waveform : ndarray, shape (samples,)
    sample_rate_hz, n_fft, hop_length, n_mels : int
    mel_scale : {"slaney", "htk"}
    power : float
        Exponent of the magnitude: 2 for power, 1 for amplitude.
    edge : {"zeros", "mirror"}
        What frames see before the first sample and after the last.

    Returns
    -------
    ndarray of float32, shape (1 + samples // hop_length, n_mels)
    """
    filters = mel_filters(sample_rate_hz, n_fft, n_mels, mel_scale).T
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(waveform, n_fft // 2, mode="constant" if edge == "zeros" else "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    # An odd n_fft has room for one frame too many.
    frames = frames[: 1 + len(waveform) // hop_length]
    mels = np.empty((len(frames), n_mels), dtype=np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        magnitude = np.abs(np.fft.rfft(frames[block] * hann, axis=1))
        mels[block] = magnitude**power @ filters
    return mels


def log_mel(mels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``ln(max(mels, 1e-10))``."""
    return np.log(np.maximum(mels, np.float32(LOG_FLOOR)))


def whisper_log_mel(
    waveform: NDArray[np.float32],
    *,
    sample_rate_hz: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
) -> NDArray[np.float32]:
    """Return what Whisper's encoder is fed with for one window.

    Decimal logarithms of powers, none more than 8 below the window's highest, then
    ``(x + 4) / 4`` (Radford et al. 2022, arXiv:2212.04356; ``whisper.audio.log_mel_spectrogram``).

    Returns
    -------
    ndarray of float32, shape (n_mels, samples // hop_length)
    """
    mels = mel_spectrogram(
        waveform,
        sample_rate_hz=sample_rate_hz,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        mel_scale="slaney",
        power=2.0,
        edge="mirror",
    )
    decades = np.log10(np.maximum(mels[:-1].T, np.float32(LOG_FLOOR)))
    audible = np.maximum(decades, decades.max() - WHISPER_DECADES)
    scaled: NDArray[np.float32] = (audible + 4) / 4
    return scaled


@lru_cache(maxsize=16)
def mel_filters(
    sample_rate_hz: int, n_fft: int, n_mels: int, mel_scale: MelScale
) -> NDArray[np.float64]:
    """Return triangular filters from 0 Hz to half the sample rate, each of unit area.

    Returns
    -------
    ndarray of float64, shape (n_mels, 1 + n_fft // 2)
        Shared between calls and read-only.
    """
    top_hz = sample_rate_hz / 2.0
    bins_hz = np.arange(1 + n_fft // 2) * (sample_rate_hz / n_fft)
    top_mel = hz_to_mel(np.array([top_hz]), mel_scale)[0]
    edges_hz = mel_to_hz(np.linspace(0.0, top_mel, n_mels + 2), mel_scale)
    low, centre, high = (edges_hz[i : i + n_mels, None] for i in range(3))
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))
    filters.flags.writeable = False
    return filters


def hz_to_mel(hz: NDArray[np.float64], scale: MelScale) -> NDArray[np.float64]:
    """Return frequencies in mels.

    Examples
    --------
    >>> hz_to_mel(np.array([200.0, 1000.0]), "slaney")
    array([ 3., 15.])
    """
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, above, hz / _HZ_PER_MEL)


def mel_to_hz(mel: NDArray[np.float64], scale: MelScale) -> NDArray[np.float64]:
    """Return mels as frequencies; the inverse of `hz_to_mel`."""
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(0.0, mel - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, above, mel * _HZ_PER_MEL)
