"""Frozen ONNX backbones in; cached embeddings, classical heads and kNN classifiers out.

Names are imported on first use, so that ``import featx`` is free.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featx.client import Client
    from featx.data.store import EmbeddingSet
    from featx.estimators import Embedder, embed
    from featx.evaluate.curation.inspect import inspect_set
    from featx.finetune.recipe import Recipe as TuningRecipe
    from featx.finetune.run import fine_tune
    from featx.gallery.build import GalleryRecipe, build_gallery
    from featx.gallery.gallery import Gallery
    from featx.gallery.items import ItemFacts
    from featx.heads.centroid import CentroidProbe
    from featx.heads.headfile import load_head
    from featx.heads.knn import KNNClassifier
    from featx.heads.lda import LDAProbe
    from featx.heads.linear import LinearProbe
    from featx.heads.ridge import RidgeProbe, RidgeProbeRegressor
    from featx.heads.zeroshot import zero_shot
    from featx.transfer.adapt.adapt import adapt_head
    from featx.transfer.adapt.probe import AdaptedProbe
    from featx.transfer.labelnext.next import label_next

    open = EmbeddingSet.open

__version__ = "0.1.0"

_HOMES = {
    "AdaptedProbe": "featx.transfer.adapt.probe:AdaptedProbe",
    "CentroidProbe": "featx.heads.centroid:CentroidProbe",
    "Client": "featx.client:Client",
    "Embedder": "featx.estimators:Embedder",
    "EmbeddingSet": "featx.data.store:EmbeddingSet",
    "Gallery": "featx.gallery.gallery:Gallery",
    "GalleryRecipe": "featx.gallery.build:GalleryRecipe",
    "ItemFacts": "featx.gallery.items:ItemFacts",
    "KNNClassifier": "featx.heads.knn:KNNClassifier",
    "LDAProbe": "featx.heads.lda:LDAProbe",
    "LinearProbe": "featx.heads.linear:LinearProbe",
    "RidgeProbe": "featx.heads.ridge:RidgeProbe",
    "RidgeProbeRegressor": "featx.heads.ridge:RidgeProbeRegressor",
    "TuningRecipe": "featx.finetune.recipe:Recipe",
    "adapt_head": "featx.transfer.adapt.adapt:adapt_head",
    "build_gallery": "featx.gallery.build:build_gallery",
    "embed": "featx.estimators:embed",
    "fine_tune": "featx.finetune.run:fine_tune",
    "label_next": "featx.transfer.labelnext.next:label_next",
    "inspect_set": "featx.evaluate.curation.inspect:inspect_set",
    "load_head": "featx.heads.headfile:load_head",
    "open": "featx.data.store:EmbeddingSet.open",
    "zero_shot": "featx.heads.zeroshot:zero_shot",
}

__all__ = [
    "AdaptedProbe",
    "CentroidProbe",
    "Client",
    "Embedder",
    "EmbeddingSet",
    "Gallery",
    "GalleryRecipe",
    "ItemFacts",
    "KNNClassifier",
    "LDAProbe",
    "LinearProbe",
    "RidgeProbe",
    "RidgeProbeRegressor",
    "TuningRecipe",
    "adapt_head",
    "build_gallery",
    "embed",
    "fine_tune",
    "inspect_set",
    "label_next",
    "load_head",
    "open",
    "zero_shot",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'featx' has no attribute {name!r}"
        raise AttributeError(message)
    module, _, path = _HOMES[name].partition(":")
    found: object = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def __dir__() -> list[str]:
    return __all__
