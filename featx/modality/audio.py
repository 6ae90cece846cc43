"""Sounds: any common file to windows of mel features or of samples.

``load`` = decode → mono → resample → scale → cut into windows → features.
"""

import io
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from featx.errors import ItemError, ManifestError
from featx.modality.content import NPY_MAGIC, first_line, load_each, npy_array, read_bytes
from featx.modality.windows import Waveform, sample_mask, windows_of
from featx.types import Content, Sample
from featx.zoo.manifest import Manifest

ROLE, MASK_ROLE = "windows", "sample_mask"

COST_S = 1.6
"""Seconds of a window that count as one, when batches are filled."""

TINY_VARIANCE = 1e-7
"""Added to the variance of a sound, as wav2vec 2.0 does."""

MAX_SECONDS = 3600
"""Longest sound; its samples and windows are held in memory."""

BLOCK_SAMPLES = 1 << 20
"""Samples decoded at once, over all channels."""

PROMISES: dict[bytes, tuple[int, int, Literal["little", "big"], int]] = {
    b"RIFF": (4, 4, "little", 8),
    b"FORM": (4, 4, "big", 8),
    b"riff": (16, 8, "little", 0),
}
"""Where WAV, AIFF and W64 say their size: offset, width, order, and bytes that are not counted."""

STREAMED_BYTES = 0x7FFF0000
"""Sizes from here on are what programs write that do not know the length in advance."""

LOST_MP3_SAMPLES = 2 * 1152
"""Two frames: what may lack of an MP3 file whose encoder counted another way."""


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
        self.has_mask = MASK_ROLE in manifest.inputs

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
            If it cannot be decoded, is cut off, silent, longer than an hour, or holds samples
            that are not finite.
        """
        options = self.options
        sound = _mono(raw, options.sample_rate_hz)
        _check_finite(sound, 0)
        _check_audible(sound)
        if options.target_dbfs is not None:
            sound = raise_volume(sound, options.target_dbfs)
        if options.unit_variance:
            sound = _unit_variance(sound)
        windows = windows_of(sound, options)
        inputs: dict[str, NDArray[Any]] = {ROLE: windows}
        if self.has_mask:
            inputs[MASK_ROLE] = sample_mask(len(sound), windows, options)
        seconds = options.window_frames * options.hop_length / options.sample_rate_hz
        return Sample(inputs=inputs, cost=max(1, round(seconds / COST_S)))

    def load_many(self, raws: Sequence[bytes]) -> list[Sample | ItemError]:
        """Load several, one by one."""
        return load_each(self.load, raws)

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one batch of all their windows, in order."""
        roles = samples[0].inputs
        return {role: np.concatenate([each.inputs[role] for each in samples]) for role in roles}

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


def raise_volume(sound: Waveform, target_dbfs: float) -> Waveform:
    """Scale a sound up to a root mean square of `target_dbfs`; a louder one stays as it is.

    Examples
    --------
    >>> raise_volume(np.full(4, 0.01, dtype=np.float32), -20.0).round(3).tolist()
    [0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.10000000149011612]
    """
    starts = range(0, len(sound), BLOCK_SAMPLES)
    blocks = (sound[start : start + BLOCK_SAMPLES] for start in starts)
    power = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks) / len(sound)
    gain = 10.0 ** (target_dbfs / 20.0) / math.sqrt(power)
    return sound if gain <= 1.0 else (sound * gain).astype(np.float32, copy=False)


def _unit_variance(sound: Waveform) -> Waveform:
    """Return a sound of mean 0 and variance 1."""
    mean, variance = sound.mean(dtype=np.float64), sound.var(dtype=np.float64)
    scaled: Waveform = ((sound - mean) / math.sqrt(variance + TINY_VARIANCE)).astype(np.float32)
    return scaled


def length_of(raw: bytes) -> tuple[float, int]:
    """Return seconds, and samples of all channels, by the header of a sound.

    It may be wrong; both are 0 where it does not say.
    """
    if raw.startswith(NPY_MAGIC):
        return 0.0, 0
    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            return file.frames / file.samplerate, file.frames * file.channels
    except soundfile.SoundFileError:
        return 0.0, 0


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
            sound, n_samples = _decode(file, sample_rate_hz)
            promised = file.frames if _is_mp3_with_length(file, raw) else 0
    except soundfile.SoundFileError as cause:
        message = f"is not a sound that can be read: {_reason(cause)}; starts with {raw[:12]!r}"
        raise ItemError(message) from cause
    if n_samples + LOST_MP3_SAMPLES < promised:
        message = f"is cut off: it holds {n_samples} of {promised} samples"
        raise ItemError(message)
    return sound


def _decode(file: soundfile.SoundFile, sample_rate_hz: int) -> tuple[Waveform, int]:
    """Return the sound, mixed and resampled, and the number of samples before.

    It runs in blocks: the length in a damaged header may be anything, and an hour of two channels
    at 192 kHz takes 5 GB.
    """
    frames = max(1, BLOCK_SAMPLES // file.channels)
    resampler = None
    if file.samplerate != sample_rate_hz:
        resampler = soxr.ResampleStream(
            file.samplerate, sample_rate_hz, 1, dtype="float32", quality="HQ"
        )
    blocks, n_samples, is_last = [], 0, False
    while not is_last:
        block = _mixed(file.read(frames, dtype="float32", always_2d=True))
        is_last = len(block) < frames
        # A resampler would spread one bad sample over its neighbours.
        _check_finite(block, n_samples)
        n_samples += len(block)
        _check_length(n_samples, file.samplerate)
        blocks.append(resampler.resample_chunk(block, last=is_last) if resampler else block)
    return np.concatenate(blocks), n_samples


def _mixed(channels: NDArray[Any]) -> Waveform:
    """Return the mean of the channels of (samples, channels)."""
    mixed: Waveform = channels.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mixed


def _check_audible(sound: Waveform) -> None:
    if not len(sound):
        message = "has no samples"
        raise ItemError(message)
    if not sound.any():
        message = "is silent: every sample of the mix of its channels is 0"
        raise ItemError(message)


def _check_finite(sound: Waveform, start: int) -> None:
    """Raise `ItemError` if a sample is not finite; the first is number `start` of the file."""
    is_finite = np.isfinite(sound)
    if not is_finite.all():
        message = f"holds samples that are not finite, the first at {start + is_finite.argmin()}"
        raise ItemError(message)


def _check_whole(raw: bytes) -> None:
    """Raise `ItemError` if a file is cut off that libsndfile would take for a shorter sound."""
    if raw[:4] in PROMISES:
        offset, width, order, uncounted = PROMISES[raw[:4]]
        promised = int.from_bytes(raw[offset : offset + width], order) + uncounted
        # Some writers count a last padding byte.
        if len(raw) + 1 < promised < STREAMED_BYTES:
            message = f"is cut off: it holds {len(raw)} of {promised} bytes"
            raise ItemError(message)
    if raw.startswith(b"OggS") and not _ends_stream(raw):
        message = "is cut off: its last Ogg page does not end the stream"
        raise ItemError(message)


def _ends_stream(raw: bytes) -> bool:
    """Tell whether the last Ogg page (RFC 3533) is whole and the last of its stream."""
    start = raw.rfind(b"OggS")
    if len(raw) < start + 27:
        return False
    lengths = raw[start + 27 : start + 27 + raw[start + 26]]
    is_whole = len(raw) >= start + 27 + raw[start + 26] + sum(lengths)
    return is_whole and bool(raw[start + 5] & 4)


def _is_mp3_with_length(file: soundfile.SoundFile, raw: bytes) -> bool:
    """Tell whether an MP3 file counts its frames; else its length is an estimate."""
    start = 0
    if raw.startswith(b"ID3"):  # seven bits in each of four bytes
        start = 10 + sum(byte << 7 * i for i, byte in enumerate(raw[9:5:-1]))
    head = raw[start : start + 256]
    return file.format == "MP3" and (b"Xing" in head or b"Info" in head)


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
