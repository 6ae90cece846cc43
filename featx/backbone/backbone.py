"""One frozen backbone, ready to encode."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from featx import registry
from featx.backbone.batching import batches
from featx.backbone.pooling import normalize, pool_parts, pool_tokens
from featx.backbone.runtime import Session, open_session
from featx.errors import InputError, ItemError
from featx.fingerprint import hash_facts
from featx.modality import MODALITIES
from featx.types import Content, Device, Modality, Sample, Vectors
from featx.zoo.manifest import Manifest

TOKEN_BUDGET = 2048
LARGEST_BATCH = {"text": 128, "image": 16, "audio": 32, "array": 1024}


class Backbone:
    """A manifest with its modality and session; nothing is opened before it is used.

    Parameters
    ----------
    manifest : Manifest
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
    threads : int or None
        Threads of the session on the CPU.
    prompt : str
        Name of one of the manifest's prompts, put before every text; empty for none.
    dim : int or None
        Keep the first `dim` columns, if the manifest lists that width.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        device: Device = "auto",
        threads: int | None = None,
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
        self._device = device
        self._threads = threads
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
    def session(self) -> Session:
        """The graph, loaded; opening it takes tenths of a second."""
        return open_session(self.manifest.file("graph"), device=self._device, threads=self._threads)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every fact that changes a vector; the cache's key."""
        facts = self.manifest.facts() | {
            "featx-fingerprint": 1,
            "dim": self.dim,
            "prompt": self._prompt,
            "revision": self.modality.revision,
        }
        return hash_facts(facts)

    @cached_property
    def space(self) -> str:
        """Hash of the space of the vectors; vectors of one space may be compared."""
        return self.manifest.space(dim=self.dim)

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
        return self.modality.load(self._prompt.encode() + raw if self._prompt else raw)

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
        largest = LARGEST_BATCH.get(self.manifest.modality, 32)
        budget = TOKEN_BUDGET if self.manifest.modality == "text" else sum(s.cost for s in samples)
        for batch in batches(samples, budget=max(budget, 1), largest=largest):
            X[batch] = self._encode_batch([samples[i] for i in batch])
        return X

    def _encode_batch(self, samples: Sequence[Sample]) -> Vectors:
        roles = self.modality.collate(samples)
        X = self._run_slices(roles) if "graph" in self.manifest.files else roles["array"]
        parts = np.array([sample.parts for sample in samples], dtype=np.int64)
        audio = self.manifest.audio
        unit = audio is not None and audio.window_pooling == "unit_mean"
        X = pool_parts(X.astype(np.float32, copy=False), parts, unit=unit)[:, : self.dim]
        return normalize(X) if self.manifest.normalize else X

    def _run_slices(self, roles: dict[str, Any]) -> Vectors:
        """Run the graph on at most `LARGEST_BATCH` rows at a time: one sound has many windows."""
        length = LARGEST_BATCH.get(self.manifest.modality, 32)
        rows = len(next(iter(roles.values())))
        slices = [slice(start, start + length) for start in range(0, rows, length)]
        return np.concatenate(
            [self._run({role: array[part] for role, array in roles.items()}) for part in slices]
        )

    def _run(self, roles: dict[str, Any]) -> Vectors:
        manifest = self.manifest
        feeds = {name: roles[role] for role, name in manifest.inputs.items()}
        output = "embedding" if manifest.pooling == "none" else "tokens"
        (result,) = self.session.run([manifest.outputs[output]], feeds)
        if manifest.pooling == "none":
            return np.asarray(result, dtype=np.float32)
        return pool_tokens(result.astype(np.float32), roles["attention_mask"], manifest.pooling)


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
