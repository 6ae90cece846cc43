"""What a head must beat: a guess, and a ridge head on the raw contents."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler

from featx.errors import InputError, ItemError
from featx.heads.ridge import RidgeProbe, RidgeProbeRegressor
from featx.modality.content import read_bytes
from featx.types import Content, Task

MAX_ROWS = 2_000
"""Rows that the raw baseline is fitted to and scored on, at most."""

_THUMBNAIL = (16, 16)
_FRAME, _HOP, _BANDS = 1024, 512, 40
_BAND_HZ = (50.0, 8000.0)
# Powers are kept above this before the logarithm; full scale is 1.
_POWER_FLOOR = 1e-10


def guess(task: Task, y: NDArray[Any]) -> dict[str, float]:
    """Return what is reached without looking at the items, by the name of the guess.

    Of classes the share of the commonest; of tags the micro F1 of giving every item the same
    ones, the commonest that do best; of values 0, the r2 of their mean.

    Parameters
    ----------
    task : {"classify", "multilabel", "regress"}
    y : ndarray
        As `featx.evaluate.truth.label_numbers` gives it.

    Examples
    --------
    >>> guess("classify", np.array([0, 1, 1, 1]))
    {'majority': 0.75}
    """
    if task == "classify":
        return {"majority": float(np.bincount(y).max() / len(y))}
    if task == "regress":
        return {"mean": 0.0}
    # Giving every item the n commonest tags hits all that these have, of n tags an item given.
    counts = np.sort((y > 0).sum(axis=0))[::-1]
    given = len(y) * np.arange(1, len(counts) + 1)
    return {"majority": float((2 * counts.cumsum() / (given + counts.sum())).max())}


def raw_features(modality: str, contents: Sequence[Content]) -> NDArray[np.float32] | None:
    """Return what is plain to see in the contents, without any backbone.

    Images: 16 by 16 RGB pixels, 0 to 1.  Sounds: mean and standard deviation of the log power in
    40 bands from 50 to 8000 Hz.  None for text, whose words are counted, and for arrays, which are
    raw already.

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
    if modality not in _READERS:
        return None
    return np.stack([_READERS[modality](_bytes(content)) for content in contents])


class RawBaseline:
    """A ridge head on what is plain to see in the contents.

    Pixels and bands are standardised; texts become TF-IDF of words and word pairs.  It tunes and
    scores itself by leave-one-out, as the heads that it is compared with do.

    Parameters
    ----------
    modality : str
        One that `has_raw_baseline`.
    task : {"classify", "multilabel", "regress"}

    Attributes
    ----------
    held_out_logits_ : ndarray, shape (N, C)
        Of each training item without itself; of two classes two columns.
    """

    held_out_logits_: NDArray[Any]

    def __init__(self, modality: str, task: Task) -> None:
        self._features: _Words | _Standardised
        self._features = _Words() if modality == "text" else _Standardised(modality)
        self._head: Any = RidgeProbeRegressor() if task == "regress" else RidgeProbe()

    def fit(self, contents: Sequence[Content], y: NDArray[Any]) -> Self:
        """Fit to contents and labels as numbers; a class that no item has is not known.

        Raises
        ------
        InputError
            If a content cannot be decoded.
        """
        self._head.fit(self._features.fit(contents), y)
        self.held_out_logits_ = self._head.held_out_logits_
        return self

    def predict(self, contents: Sequence[Content]) -> NDArray[Any]:
        """Return class codes (N,), tags (N, C) or values (N, T) as `fit` took them."""
        found: NDArray[Any] = self._head.predict(self._features.transform(contents))
        return found


def sampled(n_fitted: int, n_scored: int, n_rows: tuple[int, int]) -> list[str]:
    """Return a note if the raw baseline saw fewer rows than the head.

    Examples
    --------
    >>> sampled(2000, 500, (9000, 500))
    ['the raw baseline was fitted to 2,000 of 9,000 rows']
    """
    parts = [("fitted to", n_fitted, n_rows[0]), ("scored on", n_scored, n_rows[1])]
    fewer = [f"{done} {n:,} of {of:,} rows" for done, n, of in parts if n < of]
    return [f"the raw baseline was {' and '.join(fewer)}"] if fewer else []


def has_raw_baseline(modality: str) -> bool:
    """Return whether raw contents of this kind can be learned from; arrays are raw already."""
    return modality == "text" or modality in _READERS


class _Standardised:
    """Features of `raw_features`, each of mean 0 and variance 1."""

    def __init__(self, modality: str) -> None:
        self._modality = modality
        self._scaler = StandardScaler()

    def fit(self, contents: Sequence[Content]) -> NDArray[Any]:
        found: NDArray[Any] = self._scaler.fit_transform(raw_features(self._modality, contents))
        return found

    def transform(self, contents: Sequence[Content]) -> NDArray[Any]:
        found: NDArray[Any] = self._scaler.transform(raw_features(self._modality, contents))
        return found


class _Words:
    """TF-IDF of texts, in the coordinates that the training texts span.

    A ridge head sees inner products only, so that nothing is lost; they number N^2, the words
    and word pairs many more.
    """

    def __init__(self) -> None:
        # scikit-learn's own pattern drops words of one character, and with them whole texts.
        pattern = r"\S+"
        self._counter = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern
        )

    def fit(self, contents: Sequence[Content]) -> NDArray[Any]:
        self._words = self._counter.fit_transform([_text(content) for content in contents])
        products = (self._words @ self._words.T).toarray()
        squares, vectors = np.linalg.eigh(products)
        kept = squares > squares[-1] * np.finfo(np.float64).eps * len(squares)
        self._vectors = vectors[:, kept] / np.sqrt(squares[kept])
        return np.asarray(products @ self._vectors, dtype=np.float32)

    def transform(self, contents: Sequence[Content]) -> NDArray[Any]:
        words = self._counter.transform([_text(content) for content in contents])
        products = (words @ self._words.T).toarray()
        return np.asarray(products @ self._vectors, dtype=np.float32)


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


_READERS: dict[str, Callable[[bytes], NDArray[np.float32]]] = {"audio": _bands, "image": _pixels}
