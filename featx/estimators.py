"""scikit-learn faces: a transformer from items to embeddings, and `embed` in one call."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.data.cachefolder import cache_folder
from featx.data.sources import open_source
from featx.data.store import EmbeddingSet
from featx.data.verified import fidelity
from featx.embedding import embed_all, stream
from featx.errors import InputError, ItemError
from featx.types import Content, Vectors
from featx.zoo import catalog
from featx.zoo.manifest import Precision


class Embedder(TransformerMixin, BaseEstimator):
    """Turn items into embeddings with a frozen backbone.

    Nothing is fitted: `fit` only checks that the model exists.  The session opens on the first
    `transform` and is left out when the object is pickled or cloned.

    Parameters
    ----------
    model : str
        Name of a backbone (``featx models list``) or path of its manifest.
    device : str, default "auto"
    threads : int or None
        CPU threads; None for one a core.
    prompt : str
        Name of one of the model's prompts.
    dim : int or None
        Cut the vectors to this width, if the model allows it.
    precision : {"fp32", "fp16", "int8"} or None
        None for the model's own.
    deterministic : bool
        Encode each item by itself, so that its vector has the same bits in any company; slower.

    Examples
    --------
    >>> from featx import Embedder
    >>> Embedder("minilm-l6").transform(["a cat", "a dog"]).shape
    (2, 384)
    """

    def __init__(  # noqa: PLR0913  (what scikit-learn can set)
        self,
        model: str = "minilm-l6",
        *,
        device: str = "auto",
        threads: int | None = None,
        prompt: str = "",
        dim: int | None = None,
        precision: Precision | None = None,
        deterministic: bool = False,
    ) -> None:
        self.model = model
        self.device = device
        self.threads = threads
        self.prompt = prompt
        self.dim = dim
        self.precision = precision
        self.deterministic = deterministic

    def fit(self, X: Sequence[Content], y: object = None) -> Self:
        """Check that the model exists; nothing is learned."""
        catalog.find(self.model)
        return self

    def transform(self, X: Sequence[Content]) -> Vectors:
        """Return one vector an item, float32, shape (N, D).

        Parameters
        ----------
        X : sequence of str, Path, bytes or ndarray
            Texts for a text model, or the paths of text files; for other models paths, encoded
            bytes or arrays, and a str is a path too.

        Raises
        ------
        InputError
            If `X` is one item, not a sequence of them.
        ItemError
            Naming the first item that cannot be read.
        """
        X = list(_several(X))
        if not X:
            return np.empty((0, self._backbone().dim), dtype=np.float32)
        return np.stack([vector for _, vector in self.stream(X)])

    def stream(
        self,
        items: Iterable[Content],
        *,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Iterator[tuple[int, Vectors]]:
        """Yield (number of the item, its vector of shape (D,)) in order, in constant memory.

        Items are taken only as fast as vectors are, so they may come from a generator.

        Parameters
        ----------
        items : iterable of str, Path, bytes or ndarray
            As for `transform`.
        on_error : {"raise", "skip"}
            Whether an item that cannot be read ends the stream, or is left out.

        Raises
        ------
        InputError
            If `items` is one item, not several.
        ItemError
            Naming the first item that cannot be read.
        """
        backbone = self._backbone()
        is_text = backbone.manifest.modality == "text"
        several = _several(items)
        contents = (Path(x) if isinstance(x, str) and not is_text else x for x in several)
        for number, found in enumerate(stream(contents, backbone)):
            if not isinstance(found, ItemError):
                yield number, found
            elif on_error == "raise":
                message = f"item {number}: {found}"
                raise ItemError(message)

    encode = transform

    def _backbone(self) -> Backbone:
        settings = Settings(
            device=self.device,
            threads=self.threads,
            precision=self.precision,
            deterministic=self.deterministic,
            cache=cache_folder(),
        ).in_bulk()
        key = (self.model, settings, self.prompt, self.dim)
        if getattr(self, "_opened", (None, None))[0] != key:
            manifest = catalog.find(self.model)
            catalog.require_files(manifest)
            if self.precision not in {None, manifest.precision}:
                fidelity(Backbone(manifest, settings), settings.cache)
            self._opened = (key, Backbone(manifest, settings, prompt=self.prompt, dim=self.dim))
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_opened", None)
        return state

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        return tags

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the output columns: the model's name and a number."""
        backbone = self._backbone()
        names = [f"{backbone.manifest.name}_{column}" for column in range(backbone.dim)]
        return np.array(names, dtype=object)


def _several(items: Iterable[Content]) -> Iterable[Content]:
    if isinstance(items, str | bytes | Path):
        message = f"X is a {type(items).__name__}; expected a sequence of items, such as [X]"
        raise InputError(message)
    return items


def embed(source: str | Path | Sequence[str | Path], model: str, out: str | Path) -> EmbeddingSet:
    """Embed a source into a set, as ``featx embed`` does, and open it.

    Parameters
    ----------
    source : str, Path or sequence of them
        Folder, table, tar, file of lines, arrays, or files.
    model : str
        Name of a backbone.
    out : str or Path
        The set's folder; a run that was interrupted goes on.
    """
    manifest = catalog.find(model)
    catalog.require_files(manifest)
    cache = cache_folder()
    backbone = Backbone(manifest, Settings(cache=cache).in_bulk())
    opened = open_source(source, modality=backbone.manifest.modality)
    return embed_all(opened, backbone, Path(out), cache=cache, command="featx.embed")
