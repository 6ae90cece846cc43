"""Numeric arrays: vectors that were computed elsewhere, or the input of a custom graph."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from featx.errors import ItemError
from featx.modality.content import PREVIEW_LENGTH, load_each, npy_array, read_bytes
from featx.types import Content, Sample
from featx.zoo.manifest import ArrayOptions, Manifest

ROLE = "array"


class Array:
    """Arrays of `Manifest.array`'s shape, or vectors of `Manifest.dim`, as float32.

    Content is an array or the path or bytes of a ``.npy`` file.  Pickles are never opened.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".npy"})

    def __init__(self, manifest: Manifest) -> None:
        options = manifest.array or ArrayOptions()
        self.shape = options.shape or (manifest.dim,)

    def read(self, content: Content) -> bytes:
        """Return the array as ``.npy`` bytes; see `featx.modality.content.read_bytes`."""
        return read_bytes(content)

    def load(self, raw: bytes) -> Sample:
        """Check the array and turn it into float32.

        Raises
        ------
        ItemError
            If it is no numeric ``.npy`` array, has another shape, or holds a number that is not
            finite or too large for float32.
        """
        array = npy_array(raw)
        if array.shape != self.shape:
            message = f"has shape {array.shape}; expected {self.shape}"
            raise ItemError(message)
        with np.errstate(over="ignore"):  # an overflow is reported below, with its place
            plain = array.astype(np.float32, order="C")
        _check_finite(plain)
        return Sample(inputs={ROLE: plain[None]}, cost=1)

    def load_many(self, raws: Sequence[bytes]) -> list[Sample | ItemError]:
        """Load several, one by one."""
        return load_each(self.load, raws)

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one batch of shape (N, ...)."""
        return {ROLE: np.concatenate([sample.inputs[ROLE] for sample in samples])}

    def preview(self, raw: bytes) -> str:
        """Return the shape and the first values, or nothing if the array cannot be read."""
        try:
            array = npy_array(raw)
        except ItemError:
            return ""
        values = " ".join(f"{value:.4g}" for value in array.ravel()[:8].tolist())
        return f"{array.dtype} {array.shape}: {values}"[:PREVIEW_LENGTH]


def _check_finite(array: NDArray[np.float32]) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        message = (
            f"holds {int(bad.sum())} values that are not finite float32 numbers, "
            f"the first at {list(place)}"
        )
        raise ItemError(message)
