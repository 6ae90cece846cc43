"""How content becomes what a graph is fed with: one table of the manifest for each modality.

An option that came later has the behaviour before it as its default, and `option_facts` leaves it
out while it has that: fingerprints stay as they were.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

LATER = {"later": True}
"""Marks an option that came later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How text becomes token ids.

    Attributes
    ----------
    truncation : {"end", "start"}
        Which end of a text that is longer than `Manifest.max_length` is cut.
    overflow : {"cut", "chunk"}
        What becomes of such a text: it is cut, or encoded in chunks whose vectors are averaged.
    padding : {"longest", "max_length"}
        Whether texts are padded to the longest of their batch, or each to `Manifest.max_length`,
        for a backbone that was trained so and takes no mask.
    pad_token : str
        What texts are padded with; empty for the tokenizer's own.
    """

    truncation: Literal["end", "start"] = "end"
    overflow: Literal["cut", "chunk"] = "cut"
    padding: Literal["longest", "max_length"] = field(default="longest", metadata=LATER)
    pad_token: str = field(default="", metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How an image becomes a (3, height, width) float32 array.

    Resized, cropped or padded at the centre to `size`, then ``(pixel - mean) / std`` with pixels
    0 to 255.

    Attributes
    ----------
    size : tuple of int
        Height and width, or one number for both.
    mean, std : tuple of float
        Of each channel, in the order of `channel_order`.
    resize : {"shortest", "stretch", "pad", "none"}
        Cover the size before the crop, fill it without regard to the aspect ratio, fit inside it,
        or keep the image's own size.
    resize_to : tuple of int
        Size before the crop: height and width, or one number, which is the shorter side
        (``shortest``) or both.  Empty: `size`, divided by `crop_fraction` if ``shortest``.
    crop_fraction : float
        Part of the resized image that `size` is.
    interpolation : str
        Filter of the resize.
    antialias : bool
        Whether the filter grows with the pixels it joins; without, the nearest 2 x 2 or 4 x 4 are
        looked at, as by ``torch.nn.functional.interpolate``.
    rounding : {"nearest", "torchvision", "transformers"}
        Where the longer side, or the first pixel of a crop, is no whole number: the nearest for
        both; the longer side down; both down.
    fill : tuple of float
        Pixel where there is no image; empty for `mean`.
    channel_order : {"rgb", "bgr"}
    transparency : {"white", "drop"}
        Whether a transparent image is laid on white, or shows the colours below as they are.
    decode : {"exact", "fast"}
        With ``fast`` a JPEG is decoded at a half, a quarter or an eighth of its size where that
        is still larger than what is needed.
    """

    size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["shortest", "stretch", "pad", "none"] = "shortest"
    resize_to: tuple[int, ...] = field(default=(), metadata=LATER)
    crop_fraction: float = 1.0
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = (
        "bicubic"
    )
    antialias: bool = field(default=True, metadata=LATER)
    rounding: Literal["nearest", "torchvision", "transformers"] = field(
        default="nearest", metadata=LATER
    )
    fill: tuple[float, ...] = field(default=(), metadata=LATER)
    channel_order: Literal["rgb", "bgr"] = "rgb"
    transparency: Literal["white", "drop"] = field(default="white", metadata=LATER)
    decode: Literal["exact", "fast"] = "exact"

    def problem(self) -> str:
        """Return which values contradict each other, or nothing."""
        sides = (*self.size, *self.resize_to)
        counts = {len(self.size), len(self.resize_to) or 1}
        channels = {len(self.mean), len(self.std), len(self.fill or self.mean)}
        is_twice = self.resize_to and (self.crop_fraction != 1 or self.resize == "none")
        is_plain = self.antialias or self.interpolation in {"bilinear", "bicubic"}
        rules = (
            (counts <= {1, 2} and min(sides) > 0, "size and resize_to take one or two whole sides"),
            (not is_twice, "resize_to excludes crop_fraction and resize = 'none'"),
            (channels <= {1, 3}, "mean, std and fill take one number or 3, one a channel"),
            (0 not in {*self.std, self.crop_fraction}, "std and crop_fraction must not be 0"),
            (is_plain, "antialias = false is for 'bilinear' and 'bicubic'"),
        )
        return next((text for is_kept, text in rules if not is_kept), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioOptions:
    """How a sound becomes windows of samples or features.

    A sound is mixed down to mono, resampled, raised (never lowered) to `target_dbfs` if that is
    given, and cut into windows; their vectors are averaged.

    Attributes
    ----------
    sample_rate_hz : int
    window_frames, window_step_frames : int
        Length of a window and distance between two, in frames of `hop_length` samples.  A shorter
        sound, and the end of a longer one, is filled with zeros.
    window_length : {"fixed", "fit"}
        With ``fit`` a waveform is one window of its own length, and filled with nothing; a longer
        one than `window_frames` is cut into as few windows of equal length as hold it, and what
        then remains, less than one sample a window, is left out.
    features : {"waveform", "mel", "log_mel", "whisper", "kaldi"}
        What a graph is fed with: samples (N, samples); mels or their logarithm (N, frames, mels);
        Whisper's log-mels (N, mels, frames); Kaldi's filter banks (N, frames, mels).
    n_fft, hop_length, n_mels : int
    mel_scale : {"slaney", "htk"}
    power : float
        Exponent of the magnitude.
    feature_mean, feature_std : float
        Subtracted from the features, and what they are divided by then.
    target_dbfs : float or None
    unit_variance : bool
        Whether a sound is scaled to mean 0 and variance 1 before it is cut.
    least_samples : int
        A shorter sound is filled up with zeros to this.
    min_coverage : float
        The last window is kept if at least this part of it is sound.
    window_pooling : {"mean", "unit_mean"}
        Whether vectors of windows are averaged as they are, or scaled to unit length first.
    """

    sample_rate_hz: int
    window_frames: int
    window_step_frames: int
    window_length: Literal["fixed", "fit"] = field(default="fixed", metadata=LATER)
    features: Literal["waveform", "mel", "log_mel", "whisper", "kaldi"] = "log_mel"
    n_fft: int = 400
    hop_length: int = 160
    n_mels: int = 80
    mel_scale: Literal["slaney", "htk"] = "slaney"
    power: float = 2.0
    feature_mean: float = field(default=0.0, metadata=LATER)
    feature_std: float = field(default=1.0, metadata=LATER)
    target_dbfs: float | None = None
    unit_variance: bool = field(default=False, metadata=LATER)
    least_samples: int = field(default=0, metadata=LATER)
    min_coverage: float = 0.75
    window_pooling: Literal["mean", "unit_mean"] = "mean"

    def problem(self) -> str:
        """Return which values contradict each other, or nothing."""
        names = ("sample_rate_hz", "window_frames", "window_step_frames", "hop_length", "n_mels")
        if few := [name for name in names if getattr(self, name) < 1]:
            return f"{few[0]} = {getattr(self, few[0])}; expected 1 or more"
        if self.window_length == "fit" and self.features != "waveform":
            return "window_length = 'fit' is for features = 'waveform'"
        return "feature_std = 0; expected another number" if self.feature_std == 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayOptions:
    """How a numeric array is fed: its shape without the batch axis; empty for vectors of `dim`."""

    shape: tuple[int, ...] = ()


def option_facts(
    options: TextOptions | ImageOptions | AudioOptions | ArrayOptions,
) -> dict[str, Any]:
    """Return the options that change a vector, without later ones that have their default.

    Examples
    --------
    >>> option_facts(TextOptions(pad_token="<pad>"))
    {'truncation': 'end', 'overflow': 'cut', 'pad_token': '<pad>'}
    """
    table = asdict(options)
    later = {item.name: item.default for item in fields(options) if item.metadata == LATER}
    return {name: value for name, value in table.items() if later.get(name, ...) != value}
