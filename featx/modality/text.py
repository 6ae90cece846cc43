"""Texts: UTF-8 to token ids, with the tokenizer that the backbone was trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from featx.errors import ItemError, ManifestError, StoreError
from featx.modality.content import PREVIEW_LENGTH, first_line, read_bytes
from featx.types import Content, Sample
from featx.zoo.manifest import Manifest, TextOptions

ROLES = ("token_ids", "attention_mask", "token_type_ids")
PAD_TOKENS = ("[PAD]", "<pad>")
DIRECTIONS = {"end": "right", "start": "left"}


@dataclass(frozen=True, slots=True)
class _Tokenizers:
    """The same tokenizer twice, since truncation is a setting of the object, not of a call."""

    whole: Tokenizer
    truncating: Tokenizer
    pad_id: int


class Text:
    """Texts as token ids and attention mask; a longer text is cut, never its special tokens."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".txt", ".md"})

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.options = manifest.text or TextOptions()

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The inputs of the graph, in the order of `ROLES`."""
        if unknown := [role for role in self.manifest.inputs if role not in ROLES]:
            message = (
                f"{self.manifest.name}: [inputs] holds {unknown[0]!r}; "
                f"a text gives {', '.join(ROLES)}"
            )
            raise ManifestError(message)
        return tuple(role for role in ROLES if role in self.manifest.inputs)

    @cached_property
    def tokenizers(self) -> _Tokenizers:
        """Both tokenizers; two threads may build them at once, to the same effect."""
        path = self.manifest.file("tokenizer")
        try:
            raw = path.read_bytes()
            whole, truncating = Tokenizer.from_buffer(raw), Tokenizer.from_buffer(raw)
        except OSError as cause:
            message = f"{path}: cannot be read: {cause.strerror}"
            raise StoreError(message) from cause
        except ValueError as cause:
            message = f"{path}: not a tokenizer: {first_line(cause)}"
            raise StoreError(message) from cause
        pad_id = _pad_id(whole)
        for tokenizer in (whole, truncating):
            tokenizer.no_padding()
            tokenizer.no_truncation()
        if self.manifest.max_length is not None:
            direction = DIRECTIONS[self.options.truncation]
            truncating.enable_truncation(self.manifest.max_length, direction=direction)
        return _Tokenizers(whole, truncating, pad_id)

    def read(self, content: Content) -> bytes:
        """Return the text in UTF-8; of a file, all of it.

        Raises
        ------
        ItemError
            If there is nothing to read, or a str holds half of a surrogate pair.
        """
        if isinstance(content, np.ndarray):
            message = "is an array; expected a text"
            raise ItemError(message)
        if not isinstance(content, str):
            return read_bytes(content)
        if not content:
            message = "is empty"
            raise ItemError(message)
        try:
            return content.encode()
        except UnicodeEncodeError as cause:
            message = f"holds half of a surrogate pair at character {cause.start}"
            raise ItemError(message) from cause

    def load(self, raw: bytes) -> Sample:
        """Tokenize a text.

        Raises
        ------
        ItemError
            If it is not UTF-8, empty, or white space only.
        """
        try:
            text = raw.decode().removeprefix("\ufeff")
        except UnicodeDecodeError as cause:
            message = f"is not UTF-8 at byte {cause.start}"
            raise ItemError(message) from cause
        if not text.strip():
            message = "is empty: it holds only white space"
            raise ItemError(message)
        ids = self.tokenizers.whole.encode(text).ids
        n_tokens, longest = len(ids), self.manifest.max_length
        is_truncated = longest is not None and n_tokens > longest
        if is_truncated:
            ids = self.tokenizers.truncating.encode(text).ids
        if not ids:
            message = "is empty: the tokenizer finds no token in it"
            raise ItemError(message)
        return Sample(
            inputs=self._inputs(ids), cost=len(ids), n_tokens=n_tokens, truncated=is_truncated
        )

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one batch (N, longest), padded at the end."""
        lengths = [sample.cost for sample in samples]
        fills = {"token_ids": self.tokenizers.pad_id}
        batch = {
            role: np.full((len(samples), max(lengths)), fills.get(role, 0), dtype=np.int64)
            for role in self.roles
        }
        for row, (sample, length) in enumerate(zip(samples, lengths, strict=True)):
            for role in self.roles:
                batch[role][row, :length] = sample.inputs[role][0]
        return batch

    def preview(self, raw: bytes) -> str:
        """Return the first 200 characters on one line."""
        # Four bytes hold any character, and a cut one is dropped.
        head = raw[: 8 * PREVIEW_LENGTH].decode(errors="ignore").removeprefix("\ufeff")
        return " ".join(head.split())[:PREVIEW_LENGTH]

    def _inputs(self, ids: list[int]) -> dict[str, NDArray[np.int64]]:
        token_ids = np.array([ids], dtype=np.int64)
        arrays = {
            "token_ids": token_ids,
            "attention_mask": np.ones_like(token_ids),
            "token_type_ids": np.zeros_like(token_ids),
        }
        return {role: arrays[role] for role in self.roles}


def _pad_id(tokenizer: Tokenizer) -> int:
    """Return the id that the tokenizer pads with; the mask hides it from the graph."""
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    ids = (tokenizer.token_to_id(token) for token in PAD_TOKENS)
    return next((i for i in ids if i is not None), 0)
