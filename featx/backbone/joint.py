"""Backbones that take the same samples and have most of a graph in common, run as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import onnx

from featx.backbone.backbone import Backbone
from featx.backbone.graphs.external import read_safely
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING, append_embedding
from featx.backbone.graphs.union import Traced, trace, unite
from featx.backbone.variants import LEAST_OPSET, MOST_BYTES, can_pool, has_one_part
from featx.errors import InputError
from featx.fingerprint import hash_facts
from featx.zoo.manifest import FileEntry

LEAST_SHARED = 0.5
"""Of the nodes of the smaller graph: backbones with less in common are run by themselves."""


@dataclass(frozen=True)
class Joint:
    """One backbone that gives the vectors of several side by side, or of one.

    Attributes
    ----------
    backbone : Backbone
    members : tuple of Backbone
        Whose vectors they are, in order.
    """

    backbone: Backbone
    members: tuple[Backbone, ...]

    @property
    def columns(self) -> list[slice]:
        """Where the vector of each member lies."""
        ends = list(accumulate(each.dim for each in self.members))
        return [slice(end - each.dim, end) for each, end in zip(self.members, ends, strict=True)]


def join(backbones: Sequence[Backbone], folder: Path) -> list[Joint]:
    """Return backbones in groups that one run of a graph gives the vectors of.

    Vectors are those of each backbone by itself, but for the order of sums.  On a CPU, in
    float32; a backbone that runs elsewhere, cuts its vectors, or averages parts of an item is
    left by itself.

    Parameters
    ----------
    backbones : sequence of Backbone
    folder : Path
        Where joint graphs are written.

    Returns
    -------
    list of Joint
        Each backbone is in one of them; those of a group share nodes of their graphs.
    """
    groups: list[list[_Part]] = []
    for backbone in backbones:
        part = _Part(backbone, _traced(backbone))
        home = next((group for group in groups if any(map(part.is_like, group))), None)
        if home is None:
            groups.append([part])
        else:
            home.append(part)
    return [joint for number, group in enumerate(groups) for joint in _joint(group, folder, number)]


@dataclass(frozen=True)
class _Part:
    """A backbone, and its graph if that may be united with others."""

    backbone: Backbone
    traced: Traced | None

    def is_like(self, other: "_Part") -> bool:
        """Return whether both are worth a graph of their own."""
        one, two = self.traced, other.traced
        if one is None or two is None or _taken(self.backbone) != _taken(other.backbone):
            return False
        return one.fits(two) and one.shared(two) >= LEAST_SHARED


def _taken(backbone: Backbone) -> tuple[object, ...]:
    """Return what a backbone's samples, and how they are run, depend on."""
    facts = backbone.manifest.facts()
    kept = [facts[key] for key in ("modality", "max_length", "options")]
    return (*kept, facts["files"].get("tokenizer"), backbone.modality.revision, backbone.settings)


def _traced(backbone: Backbone) -> Traced | None:
    """Return a backbone's graph with pooling and scaling; None if it is to be run by itself."""
    manifest = backbone.manifest
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    may = (
        "graph" in manifest.files
        and backbone.device == "cpu"
        and backbone.precision == "fp32"
        and not backbone.settings.deterministic
        and not backbone.facts["prompt"]
        and backbone.dim == manifest.dim
        and can_pool(manifest)
        and has_one_part(manifest)
        and size_bytes <= MOST_BYTES // 2
    )
    if not may:
        return None
    path = manifest.file("graph")
    try:
        read_safely(path)
        graph = Graph.load(path)
    except (InputError, OSError, ValueError, onnx.checker.ValidationError):
        return None  # who opens it by itself says what is wrong
    if graph.opset < LEAST_OPSET:
        return None
    is_pooled = manifest.pooling == "none"
    append_embedding(
        graph,
        manifest.outputs["embedding" if is_pooled else "tokens"],
        pooling=manifest.pooling,
        mask=manifest.inputs.get("attention_mask", ""),
        normalize=manifest.normalize,
    )
    graph.prune()
    return trace(graph, manifest.inputs)


def _joint(group: Sequence[_Part], folder: Path, number: int) -> list[Joint]:
    """Return the backbones of a group as one, or each by itself if they are one, or cannot be."""
    members = tuple(part.backbone for part in group)
    alone = [Joint(each, (each,)) for each in members]
    if len(group) == 1:
        return alone
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"joint-{number}.onnx"
    onnx.save(unite([part.traced for part in group if part.traced is not None]), path)
    joint = Joint(_backbone(members, path), members)
    try:
        _ = joint.backbone.session
    except InputError:
        return alone
    return [joint]


def _backbone(members: Sequence[Backbone], path: Path) -> Backbone:
    """Return the backbone of a united graph, with the files of the first that prepare samples."""
    first = members[0].manifest
    own = {role: e for role, e in first.files.items() if role not in {"graph", "weights"}}
    graph = FileEntry(
        path=str(path.resolve()),
        sha256=hash_facts({"featx-joint": [each.fingerprint for each in members]}),
        size_bytes=path.stat().st_size,
    )
    roles = [role for each in members for role in each.manifest.inputs]
    manifest = replace(
        first,
        name=", ".join(each.manifest.name for each in members),
        weights=", ".join(each.manifest.weights for each in members),
        dim=sum(each.dim for each in members),
        dims=(),
        pooling="none",
        normalize=False,
        files=own | {"graph": graph},
        inputs={role: role for role in roles},
        outputs={"embedding": EMBEDDING},
        tower=None,
        tuned=None,
        measured={},
    )
    return Backbone(manifest, members[0].settings)
