"""Vectors that another program made of items, and how near a backbone comes to them."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from featx.backbone.backbone import Backbone
from featx.backbone.golden import LEAST_COSINE
from featx.errors import InputError, ItemError
from featx.modality.content import first_line
from featx.types import Content, Vectors
from featx.zoo.manifest import Pooling

LEAST = {"fp32": LEAST_COSINE, "fp16": 0.999, "int8": 0.95}
"""Precision → least cosine to a reference; that of integers loses most with small models."""

MOST_STRETCH = 0.01
"""How far the length of a vector may be from its reference's, as part of it."""

FORM = "vectors (N, D), and either items (N texts) or item_0, item_1 ... (bytes of files)"

POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "last_token")


@dataclass(frozen=True, slots=True)
class Reference:
    """Items and their vectors, shape (N, D), by the program or file of this name."""

    name: str
    items: Sequence[Content]
    vectors: Vectors


def read_reference(path: Path, backbone: Backbone) -> Reference:
    """Read items and vectors from a ``.npz`` file; pickles are never opened.

    Parameters
    ----------
    path : Path
        With ``vectors``, shape (N, D), and either ``items``, N texts, or ``item_0`` ...
        ``item_<N-1>``, each the bytes of a file as uint8, or an array for a backbone of arrays.
    backbone : Backbone
        That they are to be compared with.

    Raises
    ------
    InputError
        If the file has another form.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, BadZipFile, zlib.error) as cause:
        message = f"{path}: not a .npz file of arrays: {first_line(cause)}; expected {FORM}"
        raise InputError(message) from cause
    vectors = held.pop("vectors", np.empty(0))
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not len(vectors):
        found = f"vectors is {vectors.dtype} {vectors.shape}" if vectors.size else "no vectors"
        message = f"{path}: {found}; expected {FORM}"
        raise InputError(message)
    if not np.isfinite(vectors).all() or vectors.shape[1] != backbone.dim:
        message = f"{path}: vectors {vectors.shape}; expected finite ones of dim {backbone.dim}"
        raise InputError(message)
    items = list(_items(held, len(vectors), path, modality=backbone.manifest.modality))
    return Reference(path.name, items, vectors.astype(np.float32))


def _items(
    held: Mapping[str, NDArray[Any]], count: int, path: Path, *, modality: str
) -> Iterator[Content]:
    texts = held.get("items")
    if texts is not None:
        if texts.dtype.kind != "U" or texts.shape != (count,):
            message = f"{path}: items is {texts.dtype} {texts.shape}; expected {count} texts"
            raise InputError(message)
        yield from (str(text) for text in texts)
        return
    for number in range(count):
        array = held.get(f"item_{number}")
        is_file = array is not None and array.dtype == np.uint8 and array.ndim == 1
        if array is None or not (is_file or modality == "array"):
            message = f"{path}: {count} vectors, but no item_{number}; expected {FORM}"
            raise InputError(message)
        yield array.tobytes() if is_file else array


def compare(backbone: Backbone, reference: Reference) -> float:
    """Encode the items and return the least cosine to their vectors.

    Raises
    ------
    InputError
        If it is too small, or the vectors have other lengths; with what would be nearer, if
        another pooling is.
    """
    found = _encoded(backbone, reference)
    cosines = _cosines(found, reference.vectors)
    worst, least = int(cosines.argmin()), float(cosines.min())
    wanted = LEAST[backbone.manifest.precision]
    where = f"{backbone.manifest.name}: {reference.name}: item {worst}"
    if not least >= wanted:
        message = f"{where}: cosine {least:.6f} to its vector; expected at least {wanted:.5f}"
        raise InputError(f"{message}; {_hint(backbone, reference, wanted)}")
    stretch = _lengths(found) / _lengths(reference.vectors)
    if abs(stretch - 1).max() > MOST_STRETCH:
        flag = "--no-normalize" if backbone.manifest.normalize else "--normalize"
        i = int(abs(stretch - 1).argmax())
        lengths = (
            f"{_lengths(found)[i]:.4g}, that of the reference {_lengths(reference.vectors)[i]:.4g}"
        )
        message = f"{where}: the vector has length {lengths}; say {flag}"
        raise InputError(message)
    return least


def is_near(measured: Mapping[str, Any]) -> bool:
    """Return whether vectors are so near that `featx models verify` may compare with them."""
    return bool(measured.get("cosine_to_reference_min", 0) >= LEAST_COSINE)


def _encoded(backbone: Backbone, reference: Reference) -> Vectors:
    try:
        return backbone.encode(reference.items)
    except ItemError as cause:
        message = f"{reference.name}: {cause}"
        raise InputError(message) from cause


def _hint(backbone: Backbone, reference: Reference, wanted: float) -> str:
    """Return which other pooling makes the vectors, or what else to look at."""
    manifest = backbone.manifest
    for pooling in POOLINGS if "tokens" in manifest.outputs else ():
        if pooling != manifest.pooling:
            other = Backbone(replace(manifest, pooling=pooling), backbone.settings)
            least = float(_cosines(_encoded(other, reference), reference.vectors).min())
            if least >= wanted:
                return f"with --pooling {pooling} it is {least:.6f}"
    if manifest.modality == "text":
        return "check pooling, output, max_length, and the tokenizer"
    return "check pooling, output, and how items are prepared"


def _cosines(A: Vectors, B: Vectors) -> NDArray[np.float64]:
    products = np.einsum("nd,nd->n", A.astype(np.float64), B.astype(np.float64))
    cosines: NDArray[np.float64] = products / (_lengths(A) * _lengths(B))
    return cosines


def _lengths(X: Vectors) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(X.astype(np.float64), axis=1)
    return np.maximum(lengths, 1e-30)
