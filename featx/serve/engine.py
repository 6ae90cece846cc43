"""Engine: from items of requests to answers, many at once.

::

    item ──► ready() ──► batcher: tokenise → sort, cut by budget → graph → head or neighbours
             decodes images and sounds in loader threads; texts and vectors pass through

The same threads make thumbnails, so that all that is decoded at once has one bound.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from featx.backbone.backbone import Backbone
from featx.backbone.settings import cores
from featx.backbone.window import Window
from featx.errors import FeatxError, ItemError
from featx.gallery.thumbnails import thumbnail
from featx.serve.answering import Answer, Ask, said_of
from featx.serve.batcher import Batcher, BrokenError, BusyError, TimedOutError, broken
from featx.serve.sizes import Sizes
from featx.serve.thing import Thing
from featx.types import Content, Sample, Vectors

__all__ = ["Answer", "Ask", "Engine", "Query"]

QUEUED_BATCHES = 8
"""Batches that may wait, at least, before requests are turned away."""

DECODED = frozenset({"image", "audio"})
"""Modalities whose items take long to decode, and then much memory."""

SLICE, SLICES = 32, 2
"""Items of those that a request has decoded at once: a slice while the other is computed."""

TEXT_BYTES = 32
"""Bytes of a text that are as much work as a short text by itself."""

LEAST_BATCH = 8
"""Items that a batch counts for, at least."""


@dataclass(frozen=True, slots=True)
class Query:
    """An item that is ready to be encoded, what is asked of it, and of which thing.

    Attributes
    ----------
    thing : Thing
    ask : Ask
    raw : bytes
        Of a text that is not tokenised yet, with its prompt to come.
    sample : Sample or None
        Of what is decoded already.
    vector : ndarray of float32, shape (D,), or None
        Where nothing is to be encoded.
    """

    thing: Thing
    ask: Ask
    raw: bytes = b""
    sample: Sample | None = None
    vector: Vectors | None = None

    @property
    def tokeniser(self) -> Backbone:
        """What a text is tokenised by, with the prompt that is right for what is asked."""
        return self.thing.queries if self.ask.task == "search" else self.thing.backbone


@dataclass(frozen=True, slots=True)
class _Ready:
    thing: Thing
    ask: Ask
    sample: Sample | None
    vector: Vectors | None


class Engine:
    """One thread that answers requests by a thing, which may be replaced while it does.

    Parameters
    ----------
    thing : Thing
        It answers a request from its beginning to its end, also where it is replaced meanwhile.
    pixels : int
        Most pixels of one image.
    seconds : float
        Longest sound.
    """

    def __init__(self, thing: Thing, *, pixels: int = 50_000_000, seconds: float = 600.0) -> None:
        self.thing = thing
        self.last_success_s = time.monotonic()
        """Time of `time.monotonic` at which an item was answered last."""
        self._sizes = Sizes(pixels=pixels, seconds=seconds)
        self._loaders = ThreadPoolExecutor(max(2, cores()), thread_name_prefix="featx-load")
        self._batcher = Batcher[Query, _Ready, Answer](_Work, name="featx-run", weigh=_weight)
        self._pictures = asyncio.Semaphore(SLICE)
        self._loading = 0
        self._crowd = 0
        self._users = Counter[Thing]()

    @property
    def waiting(self) -> int:
        """Items that are under way."""
        return self._batcher.waiting + self._loading

    @property
    def limit(self) -> int:
        """Items under way from which on requests are turned away.

        Of one request a batch counts at most: since requests take turns, no other waits for more.
        """
        return QUEUED_BATCHES * self._batch

    @property
    def _batch(self) -> int:
        return max(LEAST_BATCH, self.thing.backbone.limits.parts)

    @property
    def is_alive(self) -> bool:
        """Whether the thread that answers runs."""
        return self._batcher.is_alive

    @property
    def batches(self) -> int:
        """Batches computed so far."""
        return self._batcher.batches

    @property
    def answered(self) -> int:
        """Items answered so far."""
        return self._batcher.answered

    def uses(self, thing: Thing) -> bool:
        """Return whether requests are under way that a thing answers."""
        return bool(self._users[thing])

    def require_room(self) -> None:
        """Raise where so much is under way that a request would wait too long.

        Raises
        ------
        BusyError
        """
        if self._crowd >= self.limit:
            raise BusyError(f"{self.waiting} items are under way already; ask again later")

    def answer(
        self, contents: Sequence[Content], ask: Ask, *, deadline_s: float
    ) -> Awaitable[list[Answer | FeatxError]]:
        """Return what comes of each item, in order; an error stands for one that failed.

        It is of the thing that is here when this is called, not when it is awaited.

        Parameters
        ----------
        contents : sequence
            Texts, bytes of files, or arrays: of one dimension and the backbone's width they are
            vectors that are embeddings already.
        ask : Ask
        deadline_s : float
            Time of `time.monotonic`.

        Raises
        ------
        TimedOutError
            If the answer is not there in time.
        """
        return self._answer(self.thing, contents, ask, deadline_s)

    async def _answer(
        self, thing: Thing, contents: Sequence[Content], ask: Ask, deadline_s: float
    ) -> list[Answer | FeatxError]:
        counts_for = min(len(contents), self._batch)
        self._users[thing] += 1
        self._crowd += counts_for
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                answers = await self._answer_in_time(thing, contents, ask, deadline_s)
        except TimeoutError as cause:
            message = "the answer was not there in time; ask again later, or for less"
            raise TimedOutError(message) from cause
        finally:
            self._crowd -= counts_for
            self._users[thing] -= 1
            if not self._users[thing]:
                del self._users[thing]
        if any(isinstance(answer, Answer) for answer in answers):
            self.last_success_s = time.monotonic()
        return answers

    async def _answer_in_time(
        self, thing: Thing, contents: Sequence[Content], ask: Ask, deadline_s: float
    ) -> list[Answer | FeatxError]:
        if thing.modality not in DECODED or len(contents) <= SLICE:
            return await self._answer_slice(thing, contents, ask, deadline_s)
        turns = asyncio.Semaphore(SLICES)

        async def answer(part: Sequence[Content]) -> list[Answer | FeatxError]:
            async with turns:
                return await self._answer_slice(thing, part, ask, deadline_s)

        starts = range(0, len(contents), SLICE)
        parts = await asyncio.gather(*(answer(contents[at : at + SLICE]) for at in starts))
        return [each for part in parts for each in part]

    async def _answer_slice(
        self, thing: Thing, contents: Sequence[Content], ask: Ask, deadline_s: float
    ) -> list[Answer | FeatxError]:
        self._loading += len(contents)
        try:
            ready = await self._ready(thing, contents, ask)
        finally:
            self._loading -= len(contents)
        good = [each for each in ready if isinstance(each, Query)]
        answers = iter(await self._batcher.run(good, deadline_s=deadline_s))
        return [next(answers) if isinstance(each, Query) else each for each in ready]

    async def _ready(
        self, thing: Thing, contents: Sequence[Content], ask: Ask
    ) -> list[Query | FeatxError]:
        """Decode items in other threads, where there is something to decode."""
        if thing.modality == "text" or all(_is_vector(each, thing) for each in contents):
            return [self._prepared(thing, each, ask) for each in contents]
        loop = asyncio.get_running_loop()
        decoding = (
            loop.run_in_executor(self._loaders, self._prepared, thing, each, ask)
            for each in contents
        )
        return await asyncio.gather(*decoding)

    def _prepared(self, thing: Thing, content: Content, ask: Ask) -> Query | FeatxError:
        """Decode an item; a text is tokenised later, with others."""
        try:
            if isinstance(content, np.ndarray) and _is_vector(content, thing):
                return Query(thing, ask, vector=_checked(content))
            raw = thing.backbone.read(content)
            if thing.modality == "text":
                return Query(thing, ask, raw)
            with self._sizes.decoding(raw, thing.modality):
                return Query(thing, ask, sample=thing.backbone.load(raw))
        except FeatxError as error:
            return error
        except Exception as cause:  # noqa: BLE001  (decoders meet what nobody has thought of)
            return broken("it cannot be read", cause)

    async def thumbnail(self, raw: bytes) -> bytes | None:
        """Return a JPEG file that shows an image; None if it cannot be read, or is too large."""
        async with self._pictures:  # no more of them wait before what others want decoded
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._loaders, self._thumbnail, raw)

    def _thumbnail(self, raw: bytes) -> bytes | None:
        try:
            with self._sizes.decoding(raw, "image"):
                return thumbnail(raw)
        except ItemError:
            return None

    def try_on(self, thing: Thing, content: Content, ask: Ask) -> None:
        """Answer one item by a thing that does not serve yet, in this thread.

        Raises
        ------
        FeatxError
            If it cannot be answered.
        """
        work = _Work()
        query = self._prepared(thing, content, ask)
        if isinstance(query, FeatxError):
            raise query
        (ready,) = work.load([query])
        if isinstance(ready, FeatxError):
            raise ready
        (answer,) = work.run([ready])
        if isinstance(answer, FeatxError):
            raise answer

    def close(self) -> None:
        """Answer what waits and end the threads."""
        self._batcher.close()
        self._loaders.shutdown()
        self.thing.close()


def _is_vector(content: Content, thing: Thing) -> bool:
    return isinstance(content, np.ndarray) and content.shape == (thing.backbone.dim,)


def _checked(vector: Vectors) -> Vectors:
    plain = np.ascontiguousarray(vector, np.float32)
    if not np.isfinite(plain).all():
        raise ItemError("holds a number that is not finite")
    return plain


def _weight(query: Query) -> int:
    """Return how much work an item is: of a text, what goes with its length."""
    return 1 + len(query.raw) // TEXT_BYTES


class _Work:
    """What the thread does with the items that it took together."""

    def load(self, items: Sequence[Query]) -> list[_Ready | FeatxError]:
        """Tokenise the texts, of one backbone by one call."""
        texts = defaultdict[Backbone, list[bytes]](list)
        for item in items:
            if item.raw:
                texts[item.tokeniser].append(item.raw)
        samples = {of: iter(of.load_many(raws)) for of, raws in texts.items()}
        loaded: list[_Ready | FeatxError] = []
        for item in items:
            sample = next(samples[item.tokeniser]) if item.raw else item.sample
            if isinstance(sample, FeatxError):
                loaded.append(sample)
            else:
                loaded.append(_Ready(item.thing, item.ask, sample, item.vector))
        return loaded

    def cut(self, loaded: Sequence[_Ready]) -> Iterable[list[int]]:
        """Yield positions of one thing: vectors together, and then samples of like length."""
        of_thing = defaultdict[Thing, list[int]](list)
        for position, each in enumerate(loaded):
            of_thing[each.thing].append(position)
        for thing, positions in of_thing.items():
            if vectors := [at for at in positions if loaded[at].sample is None]:
                yield vectors
            window, limits = Window(), thing.backbone.limits
            for position in positions:
                sample = loaded[position].sample
                if sample is not None:
                    window.add(position, sample)
            while window:
                yield window.take(limits)

    def run(self, batch: Sequence[_Ready]) -> list[Answer | FeatxError]:
        """Encode a batch of one thing and answer what is asked of its vectors."""
        thing = batch[0].thing
        X = _encoded(thing.backbone, batch)
        answers: list[Answer | FeatxError] = [ItemError("has no vector")] * len(batch)
        together = defaultdict[Ask, list[int]](list)
        broken = set(np.nonzero(~np.isfinite(X))[0].tolist())
        for position, each in enumerate(batch):
            if position in broken:
                answers[position] = BrokenError("the backbone gave a vector that is not finite")
            else:
                together[each.ask].append(position)
        for ask, positions in together.items():
            found = said_of(thing, X[positions], ask)
            for position, answer in zip(positions, found, strict=True):
                answers[position] = _counted(answer, batch[position].sample)
        return answers


def _encoded(backbone: Backbone, batch: Sequence[_Ready]) -> Vectors:
    """Return the vectors of a batch, which are there already or none of them."""
    samples = [each.sample for each in batch if each.sample is not None]
    if samples:
        return backbone.encode_batch(samples)
    return np.stack([each.vector for each in batch if each.vector is not None])


def _counted(answer: Answer | FeatxError, sample: Sample | None) -> Answer | FeatxError:
    if isinstance(answer, FeatxError) or sample is None or not sample.n_tokens:
        return answer
    return Answer(answer.vector, answer.said, answer.probabilities, sample.n_tokens)
