"""One frozen backbone, ready to encode."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx import registry
from featx.backbone.pooling import normalize, pool_parts, pool_tokens
from featx.backbone.runtime import (
    Session,
    devices_of,
    live_device,
    open_session,
    runtime_version,
)
from featx.backbone.settings import GPU_WORKERS, Settings, limits
from featx.backbone.variants import REVISION, Variant, depends_on_neighbours, variant
from featx.backbone.window import Limits, Window
from featx.errors import InputError, ItemError
from featx.fingerprint import hash_facts
from featx.modality import MODALITIES
from featx.types import Content, Modality, Sample, Vectors
from featx.zoo.manifest import Manifest, Precision

BUCKET_TOKENS = 16
"""On a GPU lengths are multiples of this."""

ROWS_STEP = 4
"""On a GPU batches of images and sounds have 1, 4, 16, 64 ... rows."""

TAKEN: dict[str, type[np.generic]] = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
"""Types of inputs that a graph may have; ids, masks and pixels are given as they are taken."""


class Backbone:
    """A manifest with its modality and session; nothing is opened before it is used.

    Parameters
    ----------
    manifest : Manifest
    settings : Settings
    prompt : str
        Name of one of the manifest's prompts, put before every text; empty for none.
    dim : int or None
        Keep the first `dim` columns, if the manifest lists that width.
    """

    def __init__(
        self,
        manifest: Manifest,
        settings: Settings | None = None,
        *,
        prompt: str = "",
        dim: int | None = None,
    ) -> None:
        if prompt and prompt not in manifest.prompts:
            known = ", ".join(sorted(manifest.prompts)) or "none"
            message = f"{manifest.name}: no prompt {prompt!r}; known: {known}"
            raise InputError(message)
        if dim not in {None, manifest.dim, *manifest.dims}:
            known = ", ".join(map(str, sorted({manifest.dim, *manifest.dims})))
            message = f"{manifest.name}: cannot be cut to {dim} dimensions; allowed: {known}"
            raise InputError(message)
        self.manifest = manifest
        self.dim = dim or manifest.dim
        self.settings = settings or Settings()
        self._prompt_name = prompt
        self._prompt = manifest.prompts.get(prompt, "")

    @cached_property
    def modality(self) -> Modality:
        """What turns content into arrays."""
        made: Modality = registry.resolve("modality", MODALITIES, self.manifest.modality)(
            self.manifest
        )
        return made

    @cached_property
    def device(self) -> str:
        """Where it is going to run: ``"cpu"`` or ``"cuda:<n>"``."""
        return live_device(self.settings.device)

    @property
    def precision(self) -> Precision:
        """Of the graph that runs."""
        return self.settings.precision or self.manifest.precision

    @property
    def workers(self) -> int:
        """Batches that are encoded at the same time."""
        return self.settings.workers if self.device == "cpu" else GPU_WORKERS

    @cached_property
    def limits(self) -> Limits:
        """What a batch may hold."""
        if self.settings.deterministic or self._depends_on_neighbours or self._lengths_differ:
            return Limits(budget=1, parts=1)
        on_gpu = self.device != "cpu"
        return limits(self.manifest.modality, self.settings, on_gpu=on_gpu)

    @cached_property
    def _variant(self) -> Variant:
        """The graph that runs, made for the precision and device if need be."""
        cache = self.settings.cache
        return variant(self.manifest, precision=self.precision, device=self.device, folder=cache)

    @cached_property
    def _depends_on_neighbours(self) -> bool:
        return "graph" in self.manifest.files and depends_on_neighbours(self.manifest.file("graph"))

    @property
    def _lengths_differ(self) -> bool:
        """Whether items cannot be joined to a batch, since nothing is padded."""
        return self.manifest.audio is not None and self.manifest.audio.window_length == "fit"

    @cached_property
    def session(self) -> Session | None:
        """The graph, loaded, which takes tenths of a second; None if there is no graph."""
        if "graph" not in self.manifest.files:
            return None
        threads = self.settings.threads_each
        return open_session(
            self._variant.path,
            device=self.device,
            threads=threads,
            deterministic=self.settings.deterministic,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every fact that changes a vector; the cache's key."""
        facts = self.manifest.facts() | {
            "featx-fingerprint": 1,
            "dim": self.dim,
            "prompt": self._prompt,
            "revision": self.modality.revision,
        }
        if self.precision != self.manifest.precision:
            facts |= {"precision": self.precision, "precision_revision": REVISION}
        if self.precision == "fp16":  # on a CPU weights are rounded, and computing is in float32
            facts["computed_on"] = self.device.partition(":")[0]
        if self.settings.deterministic:
            facts["deterministic"] = [self.device, runtime_version(), self.settings.threads_each]
        return hash_facts(facts)

    @cached_property
    def space(self) -> str:
        """Hash of the space of the vectors; vectors of one space may be compared."""
        return self.manifest.space(dim=self.dim)

    def replicas(self) -> "list[Backbone]":
        """Return the backbone once for each device that it may run on."""
        if "graph" not in self.manifest.files or self.device == "cpu":
            return [self]
        devices = devices_of(self.settings.device)
        if len(devices) == 1:
            return [self]
        settings = [replace(self.settings, device=device) for device in devices]
        prompt, dim = self._prompt_name, self.dim
        return [Backbone(self.manifest, each, prompt=prompt, dim=dim) for each in settings]

    @property
    def facts(self) -> dict[str, Any]:
        """What an embedding set records of its backbone."""
        return {
            "name": self.manifest.name,
            "modality": self.manifest.modality,
            "dim": self.dim,
            "normalize": self.manifest.normalize,
            "fingerprint": self.fingerprint,
            "space": self.space,
            "prompt": self._prompt_name,
            "precision": self.precision,
            "deterministic": self.settings.deterministic,
            "adjusted": self.manifest.adjustments,
        }

    def read(self, content: Content) -> bytes:
        """Return the bytes that identify an item (the prompt is not among them).

        Raises
        ------
        ItemError
            If there is nothing to read.
        """
        return self.modality.read(content)

    def load(self, raw: bytes) -> Sample:
        """Decode and preprocess one item.

        Raises
        ------
        ItemError
            If it cannot be decoded.
        """
        return self.modality.load(self._prompted(raw))

    def load_many(self, raws: Sequence[bytes]) -> list[Sample | ItemError]:
        """Decode and preprocess several items; an error takes the place of a sample."""
        return self.modality.load_many([self._prompted(raw) for raw in raws])

    def _prompted(self, raw: bytes) -> bytes:
        # A text without content stays one: the prompt alone is not worth a vector.
        return self._prompt.encode() + raw if self._prompt and raw.strip() else raw

    def encode(self, contents: Sequence[Content]) -> Vectors:
        """Return one vector an item, in order, shape (N, D).

        Raises
        ------
        ItemError
            Naming the first item that cannot be read.
        """
        samples = []
        for number, content in enumerate(contents):
            try:
                samples.append(self.load(self.read(content)))
            except ItemError as cause:
                message = f"item {number}: {cause}"
                raise ItemError(message) from cause
        return self.encode_samples(samples)

    def encode_samples(self, samples: Sequence[Sample]) -> Vectors:
        """Return one vector a sample, in order, shape (N, D).

        The vector of a sample does not depend on its neighbours (cosine above 1 - 1e-6).
        """
        X = np.empty((len(samples), self.dim), dtype=np.float32)
        window = Window()
        for position, sample in enumerate(samples):
            window.add(position, sample)
        while window:
            batch = window.take(self.limits)
            X[batch] = self.encode_batch([samples[i] for i in batch])
        return X

    def encode_batch(self, samples: Sequence[Sample]) -> Vectors:
        """Return one vector a sample, all of them encoded at once, shape (N, D)."""
        roles = self.modality.collate(samples)
        parts = np.array([sample.parts for sample in samples], dtype=np.int64)
        return self.encode_arrays(roles, parts, most=self._most_rows(samples))

    def encode_arrays(
        self, roles: dict[str, NDArray[Any]], parts: NDArray[np.int64], *, most: int
    ) -> Vectors:
        """Return one vector an item, shape (N, D), from what samples were collated to.

        Parameters
        ----------
        roles : dict of str to ndarray
            Role of an input → its rows.
        parts : ndarray of int64, shape (N,)
            Rows of each item.
        most : int
            Rows that run at once.
        """
        if self.manifest.modality == "text" and self.device != "cpu":
            roles = bucketed(roles, self.manifest.max_length)
        session = self.session
        X = roles["array"] if session is None else self._run_slices(session, roles, most)
        audio = self.manifest.audio
        unit = audio is not None and audio.window_pooling == "unit_mean"
        X = pool_parts(X.astype(np.float32, copy=False), parts, unit=unit)[:, : self.dim]
        return normalize(X) if self.manifest.normalize else X

    def _most_rows(self, samples: Sequence[Sample]) -> int:
        """Return how many rows may run at once; only a single item may be too large for that."""
        if self._depends_on_neighbours:
            return 1
        if len(samples) > 1:
            return sum(sample.parts for sample in samples)
        usual = limits(self.manifest.modality, self.settings, on_gpu=self.device != "cpu")
        return max(1, min(usual.parts, usual.budget // samples[0].cost))

    def _run_slices(self, session: Session, roles: dict[str, Any], most: int) -> Vectors:
        """Run the graph on at most `most` rows at a time: one sound has many windows."""
        rows = len(next(iter(roles.values())))
        slices = [slice(start, start + most) for start in range(0, rows, most)]
        return np.concatenate(
            [
                self._run(session, {role: array[part] for role, array in roles.items()})
                for part in slices
            ]
        )

    def _run(self, session: Session, roles: dict[str, Any]) -> Vectors:
        graph, count = self._variant, len(next(iter(roles.values())))
        if self.manifest.modality in {"image", "audio"} and self.device != "cpu":
            roles = filled(roles)
        feeds = {
            name: self._taken(roles[role], name, session.inputs.get(name))
            for role, name in graph.inputs.items()
        }
        (result,) = session.run([graph.output], feeds)
        rows: Vectors = result[:count].astype(np.float32, copy=False)
        if graph.is_pooled or self.manifest.pooling == "none":
            return rows
        mask = roles.get("attention_mask", np.ones(rows.shape[:2], dtype=np.int64))
        return pool_tokens(rows, mask[:count], self.manifest.pooling)

    def _taken(self, array: NDArray[Any], name: str, kind: str | None) -> NDArray[Any]:
        if kind not in TAKEN:
            found = f"is {kind}; known: {', '.join(TAKEN)}" if kind else "is not in its graph"
            message = f"{self.manifest.name}: input {name!r} {found}"
            raise InputError(message)
        return array.astype(TAKEN[kind], copy=False)


def bucketed(roles: dict[str, NDArray[Any]], longest: int | None = None) -> dict[str, NDArray[Any]]:
    """Pad tokens (N, T) at the end to a multiple of 16, masked: a GPU plans for each shape anew.

    `longest` is the most that the backbone has positions for, and is not exceeded.

    Examples
    --------
    >>> {role: array.shape for role, array in bucketed({"token_ids": np.ones((2, 17))}).items()}
    {'token_ids': (2, 32)}
    """
    length = max(array.shape[1] for array in roles.values())
    more = -length % BUCKET_TOKENS
    if longest is not None:
        more = max(0, min(more, longest - length))
    return {role: np.pad(array, ((0, 0), (0, more))) for role, array in roles.items()}


def filled(roles: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Repeat the last row of (N, ...) until there are a power of four.

    For each number of rows that it has not seen yet cuDNN plans anew, which takes seconds.

    Examples
    --------
    >>> {role: array.shape for role, array in filled({"image": np.ones((5, 3, 8, 8))}).items()}
    {'image': (16, 3, 8, 8)}
    """
    count, rows = len(next(iter(roles.values()))), 1
    while rows < count:
        rows *= ROWS_STEP
    if rows == count:  # as most batches are; a copy would take as long as the one to the device
        return roles
    return {
        role: np.pad(array, ((0, rows - count), *((0, 0),) * (array.ndim - 1)), mode="edge")
        for role, array in roles.items()
    }


def identity(dim: int) -> Manifest:
    """Return the manifest of vectors that are embeddings already, of `dim` columns."""
    return Manifest(
        schema=1,
        name="identity",
        modality="array",
        summary="Arrays as they are",
        license="none",
        source="the user's own arrays",
        weights=f"identity:{dim}",
        dim=dim,
        pooling="none",
        normalize=False,
    )
