"""Golden vectors: items and what the original weights make of them, whole path, to compare with."""

import numpy as np

from featx.backbone.backbone import Backbone
from featx.errors import InputError
from featx.types import Content, Vectors
from featx.zoo.catalog import golden_file

LEAST_COSINE = 1 - 1e-5
"""Another machine's float32 sums differ by about 1e-7; wrong preprocessing by more than 1e-5."""


def load_golden(backbone: Backbone) -> tuple[list[Content], Vectors]:
    """Return the golden items of a backbone and their reference vectors, shape (N, D).

    Raises
    ------
    InputError
        If it has none.
    """
    path = golden_file(backbone.manifest)
    if not path.is_file():
        message = f"{backbone.manifest.name}: has no golden vectors at {path}"
        raise InputError(message)
    with np.load(path, allow_pickle=False) as file:
        vectors = file["vectors"].astype(np.float32)
        if "items" in file:
            return [str(item) for item in file["items"]], vectors
        return [file[f"item_{i}"].tobytes() for i in range(len(vectors))], vectors


def golden_cosines(backbone: Backbone, *, first: int | None = None) -> Vectors:
    """Encode the (first) golden items and return their cosines to the reference, shape (N,)."""
    contents, wanted = load_golden(backbone)
    contents, wanted = contents[:first], wanted[:first]
    found = backbone.encode(contents)
    products = np.einsum("nd,nd->n", found.astype(np.float64), wanted.astype(np.float64))
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines: Vectors = (products / np.maximum(lengths, 1e-30)).astype(np.float32)
    return cosines
