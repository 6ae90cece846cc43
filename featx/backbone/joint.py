"""Backbones that take the same samples and have most of a graph in common, run as one."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnx

from featx.backbone.backbone import Backbone
from featx.backbone.graphs.external import weight_files
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING, append_embedding
from featx.backbone.graphs.probing import Feeds, made_up_feeds
from featx.backbone.graphs.union import Traced, trace, unite
from featx.backbone.variants import LEAST_OPSET, MOST_BYTES, can_pool, has_one_part
from featx.fingerprint import hash_facts
from featx.types import Vectors
from featx.zoo.manifest import FileEntry

LEAST_SHARED = 0.5
"""Of the nodes of the smaller graph: backbones with less in common are run by themselves."""

MOST_EACH_BYTES = 1 << 29
"""Graphs that are larger are run by themselves: united ones are held in memory twice."""

AGREEMENT = 1e-4
"""Largest difference to what a backbone gives by itself, as a share of its largest number."""


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


def lone(backbone: Backbone) -> Joint:
    """Return a backbone that runs by itself."""
    return Joint(backbone, (backbone,))


class Joiner:
    """Puts backbones into groups that one run of a graph gives the vectors of.

    Vectors are those of each backbone by itself, but for the order of sums; made-up items prove
    it.  Texts that are cut, images and arrays, on a CPU and in float32; any other backbone is left
    by itself, and so is one whose graph is odd in any way.

    Parameters
    ----------
    folder : Path
        Where joint graphs are written, and deleted as soon as they are opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: dict[Backbone, _Part] = {}
        self._made = 0

    def join(self, backbones: Sequence[Backbone]) -> list[Joint]:
        """Return each backbone in one group; those of a group share nodes of their graphs.

        Graphs are kept for the next call, but those that are like no other.
        """
        kinds = Counter(map(_taken, backbones))
        groups: list[list[_Part]] = []
        for backbone in backbones:
            if backbone not in self._parts:
                is_one_of_several = kinds[_taken(backbone)] > 1
                self._parts[backbone] = _part(backbone) if is_one_of_several else _Part(backbone)
            part = self._parts[backbone]
            home = next((group for group in groups if part.belongs_to(group)), None)
            if home is None:
                groups.append([part])
            else:
                home.append(part)
        self._parts = {
            part.backbone: part if len(group) > 1 else _Part(part.backbone)
            for group in groups
            for part in group
        }
        return [joint for group in groups for joint in self._joint(group)]

    def _joint(self, group: "Sequence[_Part]") -> list[Joint]:
        """Return the backbones of a group as one, or each by itself if there is no other way."""
        if len(group) > 1:
            self._made += 1
            path = self._folder / f"joint-{self._made}.onnx"
            try:
                joint = _united(group, path)
            except Exception:  # noqa: BLE001  (such as a full disk: alone they do not need it)
                joint = None
            finally:
                with suppress(OSError):  # what has been opened needs its file no more
                    path.unlink(missing_ok=True)
            if joint is not None:
                return [joint]
        return [lone(part.backbone) for part in group]


@dataclass(frozen=True)
class _Part:
    """A backbone, and its graph if that may be united with others.

    Attributes
    ----------
    backbone : Backbone
    traced : Traced or None
    feeds : dict of str to ndarray
        Made-up inputs, by role.
    size_bytes : int
        Of the graph.
    """

    backbone: Backbone
    traced: Traced | None = None
    feeds: Feeds | None = None
    size_bytes: int = 0

    def belongs_to(self, group: "Sequence[_Part]") -> bool:
        """Return whether one graph is worth it for this backbone and those of a group."""
        own, others = self.traced, [part.traced for part in group]
        if own is None or any(_taken(self.backbone) != _taken(part.backbone) for part in group):
            return False
        if self.size_bytes + sum(part.size_bytes for part in group) > MOST_BYTES:
            return False
        fitting = [other for other in others if other is not None and own.fits(other)]
        return len(fitting) == len(others) and max(map(own.shared, fitting)) >= LEAST_SHARED


def _taken(backbone: Backbone) -> str:
    """Return what a backbone's samples, and how they are run, depend on."""
    facts = backbone.manifest.facts()
    kept = {key: facts[key] for key in ("modality", "max_length", "options")}
    kept |= {"tokenizer": facts["files"].get("tokenizer"), "revision": backbone.modality.revision}
    return hash_facts(kept) + repr(backbone.settings)


def _part(backbone: Backbone) -> _Part:
    """Return a backbone with its graph; without one if it is to be run by itself."""
    manifest = backbone.manifest
    may = (
        "graph" in manifest.files
        and (manifest.modality in {"text", "image"} or manifest.array is not None)
        and backbone.device == "cpu"
        and backbone.precision == "fp32"
        and not backbone.settings.deterministic
        and not backbone.facts["prompt"]
        and backbone.dim == manifest.dim
        and can_pool(manifest)
        and has_one_part(manifest)
    )
    try:
        return _opened(backbone) if may else _Part(backbone)
    except Exception:  # noqa: BLE001  (whoever opens it by itself says what is wrong)
        return _Part(backbone)


def _opened(backbone: Backbone) -> _Part:
    manifest = backbone.manifest
    path = manifest.file("graph")
    files = [path, *(path.parent / name for name in weight_files(path))]
    size_bytes = sum(file.stat().st_size for file in files)
    if size_bytes > MOST_EACH_BYTES:
        return _Part(backbone)
    graph = Graph.load(path)
    if graph.opset < LEAST_OPSET:
        return _Part(backbone)
    made_up = made_up_feeds(graph, manifest)[0]
    append_embedding(
        graph,
        manifest.output,
        pooling=manifest.pooling,
        mask=manifest.inputs.get("attention_mask", ""),
        normalize=manifest.normalize,
    )
    graph.prune()
    feeds = {role: made_up[name] for role, name in manifest.inputs.items()}
    return _Part(backbone, trace(graph, manifest.inputs), feeds, size_bytes)


def _united(group: Sequence[_Part], path: Path) -> Joint | None:
    """Return the backbones of a group as one, opened; None if that gives other vectors."""
    members = tuple(part.backbone for part in group)
    model = unite([part.traced for part in group if part.traced is not None])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    joint = Joint(_backbone(members, path), members)
    feeds: Feeds = {}
    for part in group:
        feeds |= part.feeds or {}
    _ = joint.backbone.limits  # which are told by the file
    X = _vectors(joint.backbone, feeds)
    if X.shape[1] != sum(each.dim for each in members):
        return None
    for member, columns in zip(members, joint.columns, strict=True):
        alone = _vectors(member, feeds)
        allowed = AGREEMENT * np.abs(alone).max(initial=0)
        if alone.shape[1] != member.dim or not np.abs(X[:, columns] - alone).max() <= allowed:
            return None
    return joint


def _vectors(backbone: Backbone, feeds: Feeds) -> Vectors:
    rows = len(next(iter(feeds.values())))
    roles = {role: feeds[role] for role in backbone.manifest.inputs}
    return backbone.encode_arrays(roles, np.ones(rows, np.int64), most=rows)


def _backbone(members: Sequence[Backbone], path: Path) -> Backbone:
    """Return the backbone of a united graph, with the files of the first that prepare samples."""
    first = members[0].manifest
    graph = FileEntry(
        path=str(path.resolve()),
        sha256=hash_facts({"featx-joint": [each.fingerprint for each in members]}),
        size_bytes=path.stat().st_size,
    )
    files = {role: entry for role, entry in first.files.items() if role == "tokenizer"}
    roles = [role for each in members for role in each.manifest.inputs]
    manifest = replace(
        first,
        name=", ".join(each.manifest.name for each in members),
        weights=", ".join(each.manifest.weights for each in members),
        dim=sum(each.dim for each in members),
        dims=(),
        pooling="none",
        normalize=False,
        files=files | {"graph": graph},
        inputs={role: role for role in roles},
        outputs={"embedding": EMBEDDING},
        tower=None,
        tuned=None,
        measured={},
    )
    return Backbone(manifest, members[0].settings)
