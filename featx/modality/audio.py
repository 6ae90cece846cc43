"""Sounds: any common file to windows of mel features or of samples.

``load`` = decode → mono → resample → raise the volume → cut into windows → features.
"""

import io
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from featx.errors import ItemError, ManifestError
from featx.modality.content import NPY_MAGIC, first_line, npy_array, read_bytes
from featx.modality.mel import log_mel, mel_spectrogram
from featx.types import Content, Sample
from featx.zoo.manifest import AudioOptions, Manifest

ROLE = "windows"

MAX_SECONDS = 3600
"""Longest sound; its samples and windows are held in memory."""

BLOCK_SAMPLES = 1 << 20
"""Samples decoded at once, over all channels."""

STREAMED_BYTES = 0x7FFF0000
"""WAV sizes from here on are what programs write that do not know the length in advance."""

Waveform = NDArray[np.float32]


class Audio:
    """Sounds as windows of features, cut as `AudioOptions` says; an item takes one part a window.

    Content is a path, the bytes of a file, or a float array (samples,) or (samples, channels) at
    `AudioOptions.sample_rate_hz`.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[frozenset[str]] = frozenset(
        {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf"}
    )

    def __init__(self, manifest: Manifest) -> None:
        if manifest.audio is None:
            message = f"{manifest.name}: modality 'audio' needs an [audio] table"
            raise ManifestError(message)
        self.options = manifest.audio

    def read(self, content: Content) -> bytes:
        """Return the file's bytes; an array becomes ``.npy`` bytes.

        Raises
        ------
        ItemError
            If there is nothing to read, or an array is not a waveform of floats.
        """
        if isinstance(content, np.ndarray):
            _check_waveform(content)
        return read_bytes(content)

    def load(self, raw: bytes) -> Sample:
        """Decode a sound and compute its windows.

        Raises
        ------
        ItemError
            If it cannot be decoded, is silent, longer than an hour, or holds samples that are
            not finite.
        """
        options = self.options
        sound = _checked(_mono(raw, options.sample_rate_hz))
        if options.target_dbfs is not None:
            sound = raise_volume(sound, options.target_dbfs)
        window = options.window_frames * options.hop_length
        starts = window_starts(len(sound), options)
        # Zeros fill the last window before the transform, which looks past a window's end.
        sound = np.pad(sound, (0, max(0, starts[-1] * options.hop_length + window - len(sound))))
        if options.features == "waveform":
            begins = [start * options.hop_length for start in starts]
            return Sample(inputs={ROLE: _cut(sound, begins, window)}, cost=1)
        mels = mel_spectrogram(
            sound,
            sample_rate_hz=options.sample_rate_hz,
            n_fft=options.n_fft,
            hop_length=options.hop_length,
            n_mels=options.n_mels,
            mel_scale=options.mel_scale,
            power=options.power,
        )
        features = log_mel(mels) if options.features == "log_mel" else mels
        return Sample(inputs={ROLE: _cut(features, starts, options.window_frames)}, cost=1)

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one batch of all their windows, in order."""
        return {ROLE: np.concatenate([sample.inputs[ROLE] for sample in samples])}

    def preview(self, raw: bytes) -> str:
        """Return format, length and rate, such as ``WAV 2.5 s 16000 Hz``, or nothing."""
        if raw.startswith(NPY_MAGIC):
            return ""
        try:
            with soundfile.SoundFile(io.BytesIO(raw)) as file:
                seconds = file.frames / file.samplerate
                return f"{file.format} {seconds:.1f} s {file.samplerate} Hz"
        except soundfile.SoundFileError:
            return ""


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


def raise_volume(sound: Waveform, target_dbfs: float) -> Waveform:
    """Scale a sound up to a root mean square of `target_dbfs`; a louder one stays as it is.

    Examples
    --------
    >>> raise_volume(np.full(4, 0.01, dtype=np.float32), -20.0).round(3).tolist()
    [0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.10000000149011612]
    """
    rms = math.sqrt(float(np.mean(np.square(sound, dtype=np.float64))))
    gain = 10.0 ** (target_dbfs / 20.0) / rms
    return sound if gain <= 1.0 else (sound * gain).astype(np.float32)


def _mono(raw: bytes, sample_rate_hz: int) -> Waveform:
    """Decode, mix down and resample."""
    if raw.startswith(NPY_MAGIC):
        array = npy_array(raw)
        _check_waveform(array)
        _check_length(len(array), sample_rate_hz)
        with np.errstate(over="ignore"):  # reported as not finite
            return _mixed(array.reshape(len(array), -1))
    _check_whole(raw)
    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            sound, found_hz = _decode(file), int(file.samplerate)
    except soundfile.SoundFileError as cause:
        message = f"is not a sound that can be read: {_reason(cause)}; starts with {raw[:12]!r}"
        raise ItemError(message) from cause
    if found_hz == sample_rate_hz:
        return sound
    _checked(sound)  # a resampler would spread one bad sample over its neighbours
    resampled: Waveform = soxr.resample(sound, found_hz, sample_rate_hz, quality="HQ")
    return resampled


def _decode(file: soundfile.SoundFile) -> Waveform:
    """Decode in blocks, since the length in a damaged header may be anything."""
    frames = max(1, BLOCK_SAMPLES // file.channels)
    blocks, n_samples = [np.empty(0, dtype=np.float32)], 0
    while True:
        block = file.read(frames, dtype="float32", always_2d=True)
        blocks.append(_mixed(block))
        n_samples += len(block)
        _check_length(n_samples, file.samplerate)
        if len(block) < frames:
            return np.concatenate(blocks)


def _mixed(channels: NDArray[Any]) -> Waveform:
    """Return the mean of the channels of (samples, channels)."""
    mixed: Waveform = channels.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mixed


def _cut(rows: NDArray[np.float32], starts: list[int], length: int) -> NDArray[np.float32]:
    """Return rows ``start`` to ``start + length`` for each start, stacked."""
    return np.stack([rows[start : start + length] for start in starts])


def _checked(sound: Waveform) -> Waveform:
    """Return `sound`, or raise `ItemError` if nothing can be computed from it."""
    problem = ""
    bad = ~np.isfinite(sound)
    if not len(sound):
        problem = "has no samples"
    elif bad.any():
        problem = f"holds {int(bad.sum())} samples that are not finite, the first at {bad.argmax()}"
    elif not sound.any():
        problem = "is silent: every sample of the mix of its channels is 0"
    if problem:
        raise ItemError(problem)
    return sound


def _check_whole(raw: bytes) -> None:
    """Raise `ItemError` if a WAV file is cut off, which libsndfile takes for a shorter sound."""
    promised = int.from_bytes(raw[4:8], "little") + 8
    is_known = raw.startswith(b"RIFF") and promised < STREAMED_BYTES
    if is_known and promised > len(raw) + 1:  # some writers count a last padding byte
        message = f"is cut off: it holds {len(raw)} of {promised} bytes"
        raise ItemError(message)


def _check_length(n_samples: int, rate_hz: int) -> None:
    if n_samples > MAX_SECONDS * rate_hz:
        message = f"lasts more than {MAX_SECONDS} s; cut it into shorter sounds"
        raise ItemError(message)


def _check_waveform(array: NDArray[Any]) -> None:
    if array.dtype.kind != "f" or array.ndim not in {1, 2}:
        message = (
            f"is an array of {array.dtype} {array.shape}; "
            "expected floats (samples,) or (samples, channels)"
        )
        raise ItemError(message)


def _reason(cause: soundfile.SoundFileError) -> str:
    """Return what libsndfile says, without the name of the file object."""
    return str(getattr(cause, "error_string", None) or first_line(cause)).rstrip(". ")
