"""Parts of example scripts for sounds: WAV files of 16 bits, by the standard library."""

from string import Template

import numpy as np

from featx.backbone.backbone import Backbone
from featx.errors import InputError
from featx.export.script_parts import Parts
from featx.modality.audio import MASK_ROLE, TINY_VARIANCE
from featx.modality.mel import LOG_FLOOR, hz_to_mel, mel_to_hz
from featx.zoo.manifest import AudioOptions

_SOUND = Template('''
def load(path):
    """Return the windows of a WAV file of 16 bits and $rate Hz."""
    with wave.open(path) as file:
        assert (file.getframerate(), file.getsampwidth()) == ($rate, 2)
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        sound = raw.reshape(-1, file.getnchannels()).mean(axis=1) / 2**15
$volume
    window, step, hop = $frames, $step, $hop
    n_frames = -(-(len(sound) + 1) // hop)
    starts = list(range(0, max(1, n_frames - window + step + 1), step))
    if len(starts) > 1 and (len(sound) - starts[-1] * hop) / (window * hop) < $coverage:
        starts.pop()
    sound = np.pad(sound, (0, max(0, (starts[-1] + window) * hop - len(sound))))
$features
''')

_WAVEFORM = """
    windows = [sound[start * hop : (start + window) * hop] for start in starts]
    return {$name: np.float32(windows)}
"""

_MEL = """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange($n_fft) / $n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, $n_fft // 2), $n_fft)[::hop]
    powers = np.abs(np.fft.rfft(frames[: 1 + len(sound) // hop] * hann)) ** $power
    edges = np.array($edges)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(1 + $n_fft // 2) * ($rate / $n_fft)
    slopes = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    mels = powers @ (np.maximum(0, slopes) * 2 / (high - low)).T
$logarithm
    return {$name: np.float32([mels[start : start + window] for start in starts])}
"""


def sound_parts(backbone: Backbone) -> Parts:
    """Return the parts of a script that cuts sounds into windows.

    Raises
    ------
    InputError
        If that takes more than a few lines.
    """
    options = backbone.manifest.audio
    assert options is not None
    is_plain = options.window_length == "fixed" and MASK_ROLE not in backbone.manifest.inputs
    if options.features not in _FEATURES or not is_plain:
        what = f"features = {options.features!r}, window_length = {options.window_length!r}"
        message = f"{backbone.manifest.name}: no example script for {what}"
        raise InputError(message)
    (name,) = backbone.manifest.inputs.values()
    features = Template(_FEATURES[options.features].strip("\n")).substitute(
        name=repr(name),
        rate=options.sample_rate_hz,
        n_fft=options.n_fft,
        power=options.power,
        edges=_edges(options),
        logarithm=_after(options),
    )
    load = _SOUND.substitute(
        rate=options.sample_rate_hz,
        volume=_volume(options),
        frames=options.window_frames,
        step=options.window_step_frames,
        hop=options.hop_length,
        coverage=options.min_coverage,
        features=features,
    )
    return Parts(items="SOUND.wav", standard="import wave", load=load)


_FEATURES = {"waveform": _WAVEFORM, "mel": _MEL, "log_mel": _MEL}


def _volume(options: AudioOptions) -> str:
    lines = []
    if options.target_dbfs is not None:
        level = 10 ** (options.target_dbfs / 20)
        lines.append(f"    sound = sound * max(1, {level!r} / np.sqrt(np.mean(sound**2)))")
    if options.unit_variance:
        spread = f"np.sqrt(sound.var() + {TINY_VARIANCE!r})"
        lines.append(f"    sound = (sound - sound.mean()) / {spread}")
    return "\n".join(lines)


def _after(options: AudioOptions) -> str:
    lines = []
    if options.features == "log_mel":
        lines.append(f"    mels = np.log(np.maximum(mels, {LOG_FLOOR!r}))")
    if (options.feature_mean, options.feature_std) != (0, 1):
        lines.append(f"    mels = (mels - {options.feature_mean!r}) / {options.feature_std!r}")
    return "\n".join(lines)


def _edges(options: AudioOptions) -> list[float]:
    """Return where the filters begin, peak and end, in Hz."""
    top = hz_to_mel(np.array([options.sample_rate_hz / 2]), options.mel_scale)[0]
    mels = np.linspace(0.0, top, options.n_mels + 2)
    return [float(f"{hz:.10g}") for hz in mel_to_hz(mels, options.mel_scale)]
