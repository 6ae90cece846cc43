"""What a head must beat: the commonest class, and a classifier on the raw contents."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.errors import InputError, ItemError
from featx.heads.folds import stratified_sample
from featx.heads.ridge import RidgeProbe
from featx.modality.content import read_bytes
from featx.types import Content

MAX_ROWS = 2_000
"""Rows that the raw baseline is measured on, at most."""

_THUMBNAIL = (16, 16)
_FRAME, _HOP, _BANDS = 1024, 512, 40
_BAND_HZ = (50.0, 8000.0)
# Powers are kept above this before the logarithm; full scale is 1.
_POWER_FLOOR = 1e-10


def majority_accuracy(codes: NDArray[np.int64]) -> float:
    """Return the share of the commonest class.

    Examples
    --------
    >>> majority_accuracy(np.array([0, 1, 1, 1]))
    0.75
    """
    return float(np.bincount(codes).max() / len(codes))


def raw_features(modality: str, contents: Sequence[Content]) -> NDArray[np.float32] | None:
    """Return what is plain to see in the contents, without any backbone.

    Images: 16 by 16 RGB pixels, 0 to 1.  Sounds: mean and standard deviation of the log power in
    40 bands from 50 to 8000 Hz.  None for text, whose words are counted inside the folds, and for
    arrays, which are raw already.

    Parameters
    ----------
    modality : str
        Key of `featx.modality.MODALITIES`.
    contents : sequence of Content

    Raises
    ------
    InputError
        If a content cannot be decoded.
    """
    readers = {"image": _pixels, "audio": _bands}
    if modality not in readers:
        return None
    return np.stack([readers[modality](_bytes(content)) for content in contents])


def raw_baseline(
    modality: str,
    contents: Sequence[Content],
    y: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    seed: int = 0,
) -> float | None:
    """Return the out-of-fold accuracy of a linear classifier on raw contents.

    Text becomes TF-IDF of words and word pairs, counted on each fold's training rows alone, for
    logistic regression; pixels and bands go to `RidgeProbe`, which tunes itself in each fold.

    Parameters
    ----------
    modality : str
    contents : sequence of Content
        One for each row.
    y : ndarray of int64, shape (N,)
        Class codes.
    folds : ndarray of int64, shape (N,)
        The fold that each row is held out in; give those of the head it is compared with.
    seed : int, default 0
        Draws the 2,000 rows, where there are more.

    Returns
    -------
    float or None
        None for arrays.
    """
    rows = stratified_sample(y, MAX_ROWS, seed=seed)
    chosen = [contents[row] for row in rows]
    if modality == "text":
        features: Any = np.array([_text(content) for content in chosen], dtype=object)
        # scikit-learn's own pattern drops words of one character, and with them whole texts.
        pattern = r"\S+"
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern)
        # Documents have unit length and share few words: with C = 1 the majority class wins.
        pipeline = make_pipeline(words, LogisticRegression(C=100, max_iter=200))
    else:
        features = raw_features(modality, chosen)
        pipeline = make_pipeline(StandardScaler(), RidgeProbe())
    if features is None:
        return None
    hits = [_hits(pipeline, features, y[rows], folds[rows] == fold) for fold in np.unique(folds)]
    return float(sum(hits) / len(rows))


def _hits(
    pipeline: Any,  # noqa: ANN401 - scikit-learn has no types
    features: NDArray[Any],
    y: NDArray[np.int64],
    held_out: NDArray[np.bool_],
) -> int:
    """Return how many held-out rows a fit to the others gets right."""
    if not held_out.any() or held_out.all():
        return 0
    known = y[~held_out]
    if known.min() == known.max():
        return int((y[held_out] == known[0]).sum())
    with warnings.catch_warnings():
        # A baseline need not reach the last digit.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(features[~held_out], known)
    return int((pipeline.predict(features[held_out]) == y[held_out]).sum())


def _bytes(content: Content) -> bytes:
    if isinstance(content, np.ndarray):
        message = "raw baseline: found an array; expected a file or its bytes"
        raise InputError(message)
    try:
        return read_bytes(content)
    except ItemError as cause:
        message = f"raw baseline: {content!r:.100}: {cause}"
        raise InputError(message) from cause


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return _bytes(content).decode("utf-8", errors="replace")


def _pixels(raw: bytes) -> NDArray[np.float32]:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(raw)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            white = Image.new("RGBA", upright.size, "white")
            opaque = Image.alpha_composite(white, upright).convert("RGB")
            small = opaque.resize(_THUMBNAIL, Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as cause:
        message = f"raw baseline: not an image: {cause}"
        raise InputError(message) from cause
    return np.asarray(small, dtype=np.float32).ravel() / np.float32(255)


def _bands(raw: bytes) -> NDArray[np.float32]:
    import soundfile

    try:
        sound, rate_hz = soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as cause:
        message = f"raw baseline: not a sound: {cause}"
        raise InputError(message) from cause
    mono = sound.mean(axis=1)
    mono = np.pad(mono, (0, max(0, _FRAME - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _FRAME)[::_HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1))) / _FRAME**2
    edges = np.geomspace(*_BAND_HZ, _BANDS + 1)
    centres = np.fft.rfftfreq(_FRAME, 1 / rate_hz)
    # Narrow bands hold no bin of their own and take the nearest one.
    first = np.searchsorted(centres, edges[:-1]).clip(max=len(centres) - 1)
    last = np.maximum(np.searchsorted(centres, edges[1:]), first + 1)
    sums = np.concatenate([np.zeros((len(power), 1)), power.cumsum(axis=1)], axis=1)
    log_power = np.log10(np.maximum(sums[:, last] - sums[:, first], _POWER_FLOOR))
    return np.concatenate([log_power.mean(axis=0), log_power.std(axis=0)]).astype(np.float32)
