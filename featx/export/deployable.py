"""An exported file taken back: a backbone and a head that answer as the file does.

The head is the part of the graph from `EMBEDDING` on, cut out and run by itself, so that vectors
can be scored without the backbone; it may only do what graphs of heads may (`foreign_scorer`).
Of the metadata no path is opened, and no number that sizes something is taken unchecked.
"""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.backbone.variants import Variant
from featx.backbone.window import Limits
from featx.data.opening import Say, open_backbone_of
from featx.errors import InputError, StoreError
from featx.export.facts import ConformalFacts, Facts
from featx.export.headgraph import head_graph
from featx.export.metadata import read
from featx.export.names import EMBEDDING, LOGITS, NOVEL, PIXELS, WINDOWS
from featx.export.onnxfile import parse, properties_of, require_weights
from featx.export.pixels import Pixels
from featx.fingerprint import file_sha256, hash_facts
from featx.heads.conformal import Conformal
from featx.heads.foreign_scorer import graph_widths, onnx_logits
from featx.heads.headcheck import Damage, check_head
from featx.heads.predict import Head
from featx.modality.image import ROLE
from featx.modality.text import Text
from featx.types import Modality
from featx.zoo.manifest import FileEntry, Manifest, Precision

_IN_HEADER = (
    "model", "modality", "prompt", "dim", "fingerprint", "space", "metrics", "chosen", "coverage",
)  # fmt: skip

_OF_GRAPHS = "sklearn"
"""Kind of a head that is a graph."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Deployable:
    """An exported file that is opened.

    Attributes
    ----------
    path : Path
    facts : Facts
    head : Head
        Its header says what the head that was exported was trained on.
    settings : Settings
    say : callable
        Told what is to be known of a backbone from the zoo.
    """

    path: Path
    facts: Facts
    head: Head
    settings: Settings
    say: Say

    @property
    def is_whole(self) -> bool:
        """Whether the file holds its backbone; else that of the zoo is needed for items."""
        return self.facts.manifest is not None

    @cached_property
    def backbone(self) -> Backbone:
        """What makes embeddings of items: the file itself, or the backbone of that name.

        Raises
        ------
        FeatxError
            If a file of the head alone needs a backbone that is not here.
        """
        manifest = self.facts.manifest
        if manifest is None:
            header, dim = self.head.header, self.head.dim
            return open_backbone_of(header, dim, self.settings, beside=self.path, say=self.say)
        return FileBackbone(self.path, self.facts, manifest, self.settings)


class FileBackbone(Backbone):
    """The backbone in an exported file: the graph pools, cuts and scales itself.

    Parameters
    ----------
    path : Path
        Of the file.
    facts : Facts
    manifest : Manifest
    settings : Settings
    """

    def __init__(self, path: Path, facts: Facts, manifest: Manifest, settings: Settings) -> None:
        own = {"graph": FileEntry(path=path.name, sha256="", size_bytes=0)}
        manifest = replace(manifest, files=own, folder=path.parent)
        super().__init__(manifest, settings, prompt=facts.head.prompt, dim=facts.head.dim)
        self._path, self._facts = path, facts

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the file, which holds all that changes a vector but how content is read."""
        return hash_facts(
            {
                "featx-fingerprint": 1,
                "deployable": file_sha256(self._path),
                "revision": self.modality.revision,
            }
        )

    @property
    def precision(self) -> Precision:
        """Of the file; another one cannot be asked for."""
        return self._facts.head.precision

    @cached_property
    def modality(self) -> Modality:
        """What turns content into arrays: of the manifest and tokenizer in the file."""
        if self._facts.head.takes == "pixels":
            return Pixels(self.manifest)
        if self.manifest.modality == "text":
            return self._text()
        return super().modality

    @cached_property
    def limits(self) -> Limits:
        """What a batch may hold; pictures of any size run one by one."""
        if self._facts.head.takes == "pixels":
            return Limits(budget=1, parts=1)
        return super().limits

    @cached_property
    def _variant(self) -> Variant:
        is_pixels = self._facts.head.takes == "pixels"
        # Windows of one sound may be too many for one run, so they are averaged outside.
        output = WINDOWS if self.manifest.audio is not None else EMBEDDING
        inputs = {ROLE: PIXELS} if is_pixels else self.manifest.inputs
        return Variant(self._path, inputs, output, is_pooled=True)

    def replicas(self) -> list[Backbone]:
        """Return the backbone alone."""
        return [self]

    def _text(self) -> Text:
        """Return the modality with its tokenizer, which is read by a path and has none."""
        with TemporaryDirectory(prefix="featx-") as name:
            place = Path(name) / "tokenizer.json"
            place.write_text(self._facts.tokenizer, encoding="utf-8")
            entry = FileEntry(path=place.name, sha256="", size_bytes=0)
            manifest = replace(self.manifest, files={"tokenizer": entry}, folder=Path(name))
            made = Text(manifest)
            try:
                made.tokenizer  # noqa: B018 - read now, and kept
            except StoreError as cause:
                message = f"{self._path}: {str(cause).removeprefix(f'{place}: ')}; export it again"
                raise StoreError(message) from cause
        return made


def open_deployable(
    path: Path, settings: Settings | None = None, *, say: Say = lambda _: None
) -> Deployable:
    """Open a file that `featx export` wrote; nothing in it is trusted.

    Parameters
    ----------
    path : Path
    settings : Settings, optional
        How its backbone runs.
    say : callable, optional

    Raises
    ------
    StoreError
        If it is missing, damaged, of a newer version, or no such file.
    InputError
        If another precision is asked for than that of the file.
    """
    settings = settings or Settings()
    model = parse(path)
    facts = read(properties_of(model), path)
    require_weights(model, path)
    own = facts.head.precision
    if settings.precision not in {None, own} and facts.manifest is not None:
        message = f"{path}: is {own}, not {settings.precision}; export it again with --precision"
        raise InputError(message)
    try:
        _require_names(model, facts)
        head = _head(facts, model)
    except (Damage, InputError) as cause:
        message = f"{path}: {cause}; the file is damaged: export it again"
        raise StoreError(message) from cause
    return Deployable(path=path, facts=facts, head=head, settings=settings, say=say)


def _require_names(model: ModelProto, facts: Facts) -> None:
    """Raise unless the graph takes and gives what the metadata says that it does."""
    inputs = {item.name for item in model.graph.input}
    outputs = {item.name for item in model.graph.output}
    manifest = facts.manifest
    wanted = {EMBEDDING} if manifest is None else set(manifest.inputs.values())
    wanted = {PIXELS} if facts.head.takes == "pixels" else wanted
    given = set() if manifest is None else {EMBEDDING}
    given |= {WINDOWS} if manifest is not None and manifest.audio is not None else set()
    for what, missing in (("input", wanted - inputs), ("output", given - outputs)):
        if missing:
            message = f"its graph has no {what} {min(missing)!r}"
            raise InputError(message)


def _head(facts: Facts, model: ModelProto) -> Head:
    """Return the head in a file.

    Raises
    ------
    Damage, InputError
        If its parts contradict each other, or the graph does what no head does.
    """
    own = facts.head
    arrays: dict[str, NDArray[Any]] = {
        "graph": head_graph(model, LOGITS, own.dim, len(facts.classes))
    }
    if facts.task == "multilabel":  # the graph calibrates them
        n = len(facts.classes)
        arrays |= {"scale": np.ones(n), "shift": np.zeros(n)}
    elif facts.task == "regress":
        arrays["spread"] = np.array(own.spread, dtype=np.float64)
    if facts.digests is not None:
        arrays["trained_digests"] = facts.digests
    head = Head(
        kind=_OF_GRAPHS,
        task=facts.task,
        classes=facts.classes,
        arrays=arrays,
        conformal=_conformal(own.conformal),
        header={key: value for key, value in asdict(own).items() if key in _IN_HEADER},
    )
    check_head(head)
    if not own.is_novelty_known:
        return head
    return replace(head, novelty=_GraphNovelty(head_graph(model, NOVEL, own.dim, 1)))


def _conformal(made: ConformalFacts | None) -> Conformal | None:
    if made is None:
        return None
    quantiles = np.array(made.quantiles, dtype=np.float64)
    return Conformal(method=made.method, coverage=made.coverage, quantiles=quantiles)


class _GraphNovelty:
    """What is novel, as a graph tells it."""

    def __init__(self, graph: NDArray[np.uint8]) -> None:
        graph_widths(graph)  # raises unless it may be run
        self._arrays = {"graph": graph}

    def flags(self, X: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows of `X` (N, D) are unlike the training rows; shape (N,)."""
        return onnx_logits(self._arrays, X, 1)[:, 0] > 0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Refuse: a graph is no arrays of a head file."""
        message = "what tells novel items lies in an exported file; it cannot be saved as a head"
        raise InputError(message)
