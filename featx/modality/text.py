"""Texts: UTF-8 to token ids, with the tokenizer that the backbone was trained with."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from featx.errors import ItemError, ManifestError, StoreError
from featx.modality.content import PREVIEW_LENGTH, first_line, read_bytes
from featx.types import Content, Sample
from featx.zoo.manifest import Manifest, TextOptions

ROLES = ("token_ids", "attention_mask", "token_type_ids")
PAD_TOKENS = ("[PAD]", "<pad>")

PADDING = -1
"""What fills the shorter parts of a sample; `collate` puts the tokenizer's own id there."""

MAX_TEXT_BYTES = 4 << 20
"""Longest text: a tokenizer takes 135 bytes of memory for a byte of prose, 430 for one of dots."""

TOGETHER_CHARACTERS = 1 << 20
"""Of the texts that one call tokenizes, for the same reason."""

_ONE_LONG_TEXT = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    """A tokenizer that neither cuts nor pads, and what it knows.

    Attributes
    ----------
    whole : Tokenizer
    n_special : int
        Tokens that it puts around a text.
    pad_id : int
        What it would pad with.
    """

    whole: Tokenizer
    n_special: int
    pad_id: int


class Text:
    """Texts as token ids and attention mask.

    A text that is longer than `Manifest.max_length` is cut, never its special tokens; or, as
    `TextOptions.overflow` says, it takes as few parts as hold it, of nearly equal length, each
    with the special tokens of a whole text.
    """

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
    def tokenizer(self) -> _Tokenizer:
        """The tokenizer; two threads may build it at once, to the same effect."""
        path = self.manifest.file("tokenizer")
        try:
            tokenizer = Tokenizer.from_buffer(path.read_bytes())
        except OSError as cause:
            message = f"{path}: cannot be read: {cause.strerror}"
            raise StoreError(message) from cause
        except ValueError as cause:
            message = f"{path}: not a tokenizer: {first_line(cause)}"
            raise StoreError(message) from cause
        pad_id = self._pad_id(tokenizer)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        n_special, longest = tokenizer.num_special_tokens_to_add(False), self.manifest.max_length
        if longest is not None and longest <= n_special:
            message = (
                f"{self.manifest.name}: max_length is {longest}, of which the tokenizer's special "
                f"tokens take {n_special}; nothing is left for the text"
            )
            raise ManifestError(message)
        return _Tokenizer(tokenizer, n_special, pad_id)

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
            If it is not UTF-8, empty, white space only, or longer than `MAX_TEXT_BYTES`.
        """
        (loaded,) = self.load_many([raw])
        if isinstance(loaded, ItemError):
            raise loaded
        return loaded

    def load_many(self, raws: Sequence[bytes]) -> list[Sample | ItemError]:
        """Tokenize several texts by one call, which leaves the GIL to other threads."""
        texts = [_text(raw) for raw in raws]
        samples = self._samples([text for text in texts if isinstance(text, str)])
        return [next(samples) if isinstance(text, str) else text for text in texts]

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one batch (sum of parts, longest), padded at the end."""
        parts = [part for sample in samples for part in sample.inputs["token_ids"]]
        rows = np.full((len(parts), self._padded(max(map(len, parts)))), PADDING, dtype=np.int64)
        for row, part in zip(rows, parts, strict=True):
            row[: len(part)] = part
        is_token = rows != PADDING
        batch = {
            "token_ids": np.where(is_token, rows, self.tokenizer.pad_id),
            "attention_mask": is_token.astype(np.int64),
            "token_type_ids": np.zeros_like(rows),
        }
        return {role: batch[role] for role in self.roles}

    def preview(self, raw: bytes) -> str:
        """Return the first 200 characters on one line."""
        # Four bytes hold any character, and a cut one is dropped.
        head = raw[: 8 * PREVIEW_LENGTH].decode(errors="ignore").removeprefix("\ufeff")
        return " ".join(head.split())[:PREVIEW_LENGTH]

    def _samples(self, texts: Sequence[str]) -> Iterator[Sample | ItemError]:
        for together in _groups(texts):
            is_long = len(together[0]) > TOGETHER_CHARACTERS
            with _ONE_LONG_TEXT if is_long else nullcontext():
                encodings = self._encode(together)
            for found in encodings:
                yield found if isinstance(found, ItemError) else self._sample(found)

    def _encode(self, texts: list[str]) -> Sequence[Encoding | ItemError]:
        tokenizer = self.tokenizer.whole
        try:
            # Without the offsets of tokens, and free of the GIL.
            return tokenizer.encode_batch_fast(texts)
        except Exception as cause:  # noqa: BLE001  (it raises nothing narrower)
            if len(texts) > 1:
                return [encoding for text in texts for encoding in self._encode([text])]
            return [ItemError(f"cannot be tokenized: {first_line(cause)}")]

    def _sample(self, encoding: Encoding) -> Sample | ItemError:
        ids, longest = np.array(encoding.ids, dtype=np.int32), self.manifest.max_length
        if not len(ids):
            return ItemError("is empty: the tokenizer finds no token in it")
        is_whole = longest is None or len(ids) <= longest
        parts = ids[None] if is_whole else self._parts(ids, encoding.special_tokens_mask.index(0))
        return Sample(
            inputs={"token_ids": parts},
            cost=self._padded(parts.shape[1]),
            n_tokens=len(ids),
            truncated=not is_whole and self.options.overflow == "cut",
        )

    def _padded(self, length: int) -> int:
        """Return how long texts are that are at most `length` tokens."""
        is_longest = self.options.padding == "longest"
        return length if is_longest else self.manifest.max_length or length

    def _pad_id(self, tokenizer: Tokenizer) -> int:
        """Return the id that texts are padded with; a mask hides it from most graphs."""
        if token := self.options.pad_token:
            found: int | None = tokenizer.token_to_id(token)
            if found is None:
                message = f"{self.manifest.name}: pad_token {token!r} is no token of its tokenizer"
                raise ManifestError(message)
            return found
        if tokenizer.padding:
            return int(tokenizer.padding["pad_id"])
        ids = (tokenizer.token_to_id(token) for token in PAD_TOKENS)
        return next((i for i in ids if i is not None), 0)

    def _parts(self, ids: NDArray[np.int32], n_before: int) -> NDArray[np.int32]:
        """Cut a text that is too long, after `n_before` special tokens, into (parts, length)."""
        n_special = self.tokenizer.n_special
        room = (self.manifest.max_length or 0) - n_special
        end = len(ids) - (n_special - n_before)
        before, inside, after = ids[:n_before], ids[n_before:end], ids[end:]
        if self.options.overflow == "chunk":
            chunks = np.array_split(inside, math.ceil(len(inside) / room))
        else:
            chunks = [inside[:room] if self.options.truncation == "end" else inside[-room:]]
        # The first chunk is the longest.
        parts = np.full((len(chunks), n_special + len(chunks[0])), PADDING, dtype=np.int32)
        for part, chunk in zip(parts, chunks, strict=True):
            part[: n_special + len(chunk)] = np.concatenate([before, chunk, after])
        return parts


def _text(raw: bytes) -> str | ItemError:
    """Decode, or say why not."""
    if len(raw) > MAX_TEXT_BYTES:
        return ItemError(
            f"is {len(raw)} bytes of text; at most {MAX_TEXT_BYTES} are allowed; split it first"
        )
    try:
        text = raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as cause:
        return ItemError(f"is not UTF-8 at byte {cause.start}")
    return text if text.strip() else ItemError("is empty: it holds only white space")


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in order, together while they hold at most `TOGETHER_CHARACTERS` characters."""
    group: list[str] = []
    room = TOGETHER_CHARACTERS
    for text in texts:
        if group and len(text) > room:
            yield group
            group, room = [], TOGETHER_CHARACTERS
        group.append(text)
        room -= len(text)
    if group:
        yield group
