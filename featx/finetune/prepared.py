"""A backbone cut in two, and proven to be trainable before anything is computed for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ValueInfoProto, helper

from featx.backbone.backbone import Backbone
from featx.backbone.graphs.graph import Graph
from featx.errors import InputError
from featx.finetune.graph.cuts import Cut, cut_for_blocks, cut_named, find_cuts
from featx.finetune.graph.parameters import trainable
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.split import Split, split
from featx.finetune.recipe import L2_SP, Recipe
from featx.finetune.steps.activations import extra_inputs
from featx.finetune.steps.body import Body
from featx.finetune.steps.optimiser import Optimiser
from featx.finetune.steps.trainer import Trainer

ROWS, TOKENS = 2, 8
"""Of the made-up batch that the tail is tried with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A backbone that is ready to be tuned.

    Attributes
    ----------
    backbone : Backbone
    graph : Graph
        The whole, plain.
    parts : Split
    names : list of str
        Initializers of the tail that are trained.
    """

    backbone: Backbone
    graph: Graph
    parts: Split
    names: list[str]

    @property
    def cut(self) -> Cut:
        """Where."""
        return self.parts.cut

    def trainer(self, names: Sequence[str], classes: int) -> Trainer:
        """Return a trainer with a head drawn at random: one of zeros would have no gradients.

        Parameters
        ----------
        names : sequence of str
            Initializers that are trained.
        classes : int
        """
        width = self.backbone.manifest.dim
        weight = np.random.default_rng(0).normal(size=(classes, width)).astype(np.float32)
        return Trainer(
            self.parts.tail,
            names,
            head=(weight, np.zeros(classes, dtype=np.float32)),
            optimiser=Optimiser(l2_sp=L2_SP),
            settings=self.backbone.settings,
        )

    def facts(self) -> dict[str, Any]:
        """Return where the backbone was cut, as JSON values."""
        return {
            "tensor": self.cut.tensor,
            "blocks": self.cut.blocks,
            "layers_after": self.cut.layers_after,
            "parameters_after": self.cut.parameters_after,
            "bytes_a_sample": self.cut.bytes_a_sample,
        }


def prepare(backbone: Backbone, recipe: Recipe) -> Prepared:
    """Cut a backbone where the recipe says.

    Raises
    ------
    InputError
        If its graph cannot be trained, has no such cut, or nothing to train after it, or the
        recipe asks for views of what is no image.
    """
    manifest = backbone.manifest
    if recipe.views > 1 and manifest.modality != "image":
        message = f"views: {manifest.name} takes {manifest.modality}; views are of images"
        raise InputError(message)
    if "graph" not in manifest.files:
        message = f"{manifest.name}: has no graph, so nothing to tune; run: featx train"
        raise InputError(message)
    if backbone.dim != manifest.dim:
        message = f"{manifest.name}: cut to {backbone.dim} columns; fine-tuning takes all of them"
        raise InputError(message)
    graph = plain_graph(manifest)
    cuts = find_cuts(graph, probe_feeds(graph, manifest), name=manifest.name)
    cut = cut_named(cuts, recipe.cut) if recipe.cut else cut_for_blocks(cuts, recipe.blocks)
    parts = split(graph, cut)
    names = trainable(parts.tail, tune=recipe.tune)
    if not names:
        what = "norms and biases" if recipe.tune == "norm" else "weights"
        message = f"{manifest.name}: no {what} after {cut.tensor!r}; choose another cut"
        raise InputError(message)
    prepared = Prepared(backbone=backbone, graph=graph, parts=parts, names=names)
    _rehearse(prepared)
    return prepared


def _rehearse(prepared: Prepared) -> None:
    """Raise before any item is encoded if the tail cannot be fed, or not be trained."""
    extra_inputs(Body(prepared.backbone, prepared.parts))
    feeds = {item.name: _made_up(item) for item in prepared.parts.tail.graph.input}
    prepared.trainer(prepared.names, classes=2).check(feeds)


def _made_up(item: ValueInfoProto) -> NDArray[Any]:
    """Return an input of the tail, of few rows and tokens; ones, so that no text is empty."""
    tensor = item.type.tensor_type
    first, *others = (each.dim_value for each in tensor.shape.dim)
    shape = [first or ROWS, *(size or TOKENS for size in others)]
    return np.ones(shape, dtype=helper.tensor_dtype_to_np_dtype(tensor.elem_type))
