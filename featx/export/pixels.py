"""Pictures for a graph that resizes them itself: decoded, upright, opaque, of any size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.modality.image import ROLE, Image, decode
from featx.types import Sample


class Pixels(Image):
    """Images as decoded; only those of one size can be batched."""

    def load(self, raw: bytes) -> Sample:
        """Decode; the sample holds pixels (1, H, W, 3) of 8 bits.

        Raises
        ------
        ItemError
            If it is no image, is damaged or truncated, or holds too many pixels.
        """
        return Sample(inputs={ROLE: np.asarray(decode(raw, self.options))[None]}, cost=1)

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples of one size into a batch (N, H, W, 3) of uint8."""
        return {ROLE: np.concatenate([sample.inputs[ROLE] for sample in samples])}
