"""What sentence-transformers makes of texts, where it is installed: featx itself has no torch."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from featx.errors import InputError, MissingPackageError
from featx.modality.content import first_line
from featx.onboard.fetch.origin import Origin, parse_origin
from featx.types import Content, Vectors

PACKAGE = "sentence-transformers"

GRAPHS = "onnx"
"""Folder of a model that holds its graphs."""


def vectors_of(origin: Origin, items: Sequence[Content]) -> Vectors:
    """Return the vectors of texts by the original weights, shape (N, D).

    No prompt is put before them, no code of the model is run, and of its weights those in
    safetensors are read, never pickles.

    Parameters
    ----------
    origin : Origin
        A folder, a graph in it, or a model of the hub at a commit.
    items : sequence of str

    Raises
    ------
    InputError
        If there are no weights that sentence-transformers can load, or items are no texts.
    MissingPackageError
        If it is not installed.
    """
    texts = [item for item in items if isinstance(item, str)]
    if origin.kind not in {"path", "hub"} or len(texts) < len(items):
        message = f"{origin}: {PACKAGE} is compared with for texts, of a folder or the hub"
        raise InputError(message)
    try:
        package = import_module(PACKAGE.replace("-", "_"))
    except ImportError as cause:
        raise MissingPackageError(PACKAGE, PACKAGE) from cause
    try:
        model = package.SentenceTransformer(
            _place(origin),
            revision=origin.revision or None,
            device="cpu",
            model_kwargs={"use_safetensors": True},
        )
        model.default_prompt_name = None
        rows = model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
    except (OSError, ValueError, RuntimeError) as cause:
        message = f"{origin}: {PACKAGE} cannot load it: {first_line(cause)}"
        raise InputError(message) from cause
    return np.ascontiguousarray(rows, dtype=np.float32)


def at_commit(origin: Origin, url: str) -> Origin:
    """Return where the original weights lie: of the hub at the commit of the graph, by its URL.

    Examples
    --------
    >>> str(at_commit(parse_origin("hf:org/name"), "hf:org/name@c0ffee:onnx/model.onnx"))
    'hf:org/name@c0ffee:onnx/model.onnx'
    """
    graph = parse_origin(url)
    return graph if origin.kind == graph.kind == "hub" else origin


def _place(origin: Origin) -> str:
    if origin.kind == "hub":
        return origin.place
    path = Path(origin.place).expanduser().resolve()
    folder = path if path.is_dir() else path.parent
    return str(folder.parent if folder.name == GRAPHS else folder)
