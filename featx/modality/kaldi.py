"""Kaldi's filter banks in plain NumPy, as ``torchaudio.compliance.kaldi.fbank`` has them.

Frames of 25 ms begin inside the sound and end inside it; each loses its mean and is raised towards
high frequencies.  Sums run in float64.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
MELS, BREAK_HZ = 1127.0, 700.0
FRAMES_PER_S = 40

FLOOR = float(np.finfo(np.float32).eps)
"""Power below which it does not look."""

BLOCK_FRAMES = 4096
"""Frames transformed at once; bounds the memory that a long sound takes."""


def kaldi_banks(
    waveform: NDArray[np.float32],
    *,
    sample_rate_hz: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
) -> NDArray[np.float32]:
    """Return natural logarithms of the power in each band, one row a frame.

    Parameters
    ----------
    waveform : ndarray, shape (samples,)
        A shorter sound than one frame is filled up with zeros.
    sample_rate_hz, n_fft, hop_length, n_mels : int
        `n_fft` is at least the 25 ms of a frame.

    Returns
    -------
    ndarray of float32, shape (1 + (samples - frame) // hop_length, n_mels)
    """
    length = sample_rate_hz // FRAMES_PER_S
    sound = np.pad(waveform, (0, max(0, length - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, length)[::hop_length]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / (length - 1))
    filters = _filters(sample_rate_hz, n_fft, n_mels).T
    banks = np.empty((len(frames), n_mels), dtype=np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        centred = frames[block] - frames[block].mean(axis=1, keepdims=True, dtype=np.float64)
        # The sample before the first is the first.
        before = np.concatenate([centred[:, :1], centred[:, :-1]], axis=1)
        spectrum = np.fft.rfft((centred - PREEMPHASIS * before) * hann, n=n_fft, axis=1)
        banks[block] = np.log(np.maximum(np.abs(spectrum) ** 2 @ filters, FLOOR))
    return banks


@lru_cache(maxsize=16)
def _filters(sample_rate_hz: int, n_fft: int, n_mels: int) -> NDArray[np.float64]:
    """Return filters (n_mels, 1 + n_fft // 2) that are triangles on the scale of mels."""
    bins = MELS * np.log1p(np.arange(1 + n_fft // 2) * (sample_rate_hz / n_fft) / BREAK_HZ)
    lowest, highest = (MELS * math.log1p(hz / BREAK_HZ) for hz in (LOWEST_HZ, sample_rate_hz / 2))
    edges = np.linspace(lowest, highest, n_mels + 2)
    low, centre, high = (edges[i : i + n_mels, None] for i in range(3))
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    filters.flags.writeable = False
    return filters
