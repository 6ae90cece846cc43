"""The batcher answers as a loop over the items would, and the engine as the thing itself does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.backbone.settings import Settings
from featx.errors import FeatxError, InputError, ItemError
from featx.gallery.answers import Classified, Neighbour
from featx.heads.answers import Prediction
from featx.heads.predict import Head
from featx.serve import batcher as batcher_module
from featx.serve.answering import Said
from featx.serve.batcher import Batcher, BrokenError, TimedOutError
from featx.serve.engine import Answer, Ask, Engine
from featx.serve.settings import ServeSettings
from featx.serve.thing import Thing, open_thing
from serving import DIM, cache_folder, label_of, vectors

T = TypeVar("T")

SOON_S = 30.0


@dataclass
class Doubling:
    """Doubles numbers: those below zero cannot be loaded, and 13 cannot be computed.

    Attributes
    ----------
    most : int
        Items of a batch.
    taken : list
        Items that were loaded together, and batches that were tried.
    gate : Event
        Batches wait for it.
    """

    most: int = 4
    loads: list[list[int]] = field(default_factory=list)
    runs: list[list[int]] = field(default_factory=list)
    gate: Event = field(default_factory=Event)
    is_running: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def load(self, items: Sequence[int]) -> list[int | FeatxError]:
        self.loads.append(list(items))
        return [each if each >= 0 else ItemError(f"is {each}") for each in items]

    def cut(self, loaded: Sequence[int]) -> Iterable[list[int]]:
        order = sorted(range(len(loaded)), key=loaded.__getitem__)
        for start in range(0, len(order), self.most):
            yield order[start : start + self.most]

    def run(self, batch: Sequence[int]) -> list[int | FeatxError]:
        self.is_running.set()
        assert self.gate.wait(SOON_S)
        self.runs.append(list(batch))
        if 13 in batch:
            raise ValueError("13\nis unlucky")
        return [2 * each for each in batch]


def expected(item: int) -> int | str:
    """Return what comes of an item by itself; what is said, where it is an error."""
    if item < 0:
        return f"is {item}"
    return "it cannot be computed: 13" if item == 13 else 2 * item


def plain(outcomes: Iterable[object]) -> list[object]:
    return [str(each) if isinstance(each, FeatxError) else each for each in outcomes]


def run(answer: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await answer()

    return asyncio.run(main())


@settings(deadline=None, max_examples=60)
@given(
    requests=st.lists(st.lists(st.integers(-3, 20), max_size=12), max_size=12),
    most=st.integers(1, 7),
)
def test_requests_are_answered_as_one_item_after_the_other(
    requests: list[list[int]], most: int
) -> None:
    work = Doubling(most)
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> list[list[int | FeatxError]]:
        return await asyncio.gather(*(batcher.run(items) for items in requests))

    found = run(main)
    batcher.close()

    assert [plain(each) for each in found] == [[expected(i) for i in items] for items in requests]
    assert batcher.waiting == 0
    assert batcher.answered == sum(map(len, requests))


def test_all_that_waits_is_taken_as_soon_as_the_thread_is_free() -> None:
    work = Doubling(most=100)
    work.gate.clear()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> None:
        first = asyncio.create_task(batcher.run([1]))
        await asyncio.to_thread(work.is_running.wait, SOON_S)
        rest = [asyncio.create_task(batcher.run([n, n + 1])) for n in (2, 4, 6)]
        await asyncio.sleep(0)
        assert batcher.waiting == 7
        work.gate.set()
        await asyncio.gather(first, *rest)

    run(main)
    batcher.close()

    assert work.loads == [[1], [2, 4, 6, 3, 5, 7]]
    assert work.runs == [[1], [2, 3, 4, 5, 6, 7]]


def test_requests_take_turns() -> None:
    work = Doubling(most=32)
    work.gate.clear()
    batcher = Batcher[int, int, int](lambda: work, name="test")
    ended: list[int] = []

    async def ask(items: Sequence[int]) -> None:
        await batcher.run(items)
        ended.append(len(items))

    async def main() -> None:
        first = asyncio.create_task(ask([1]))
        await asyncio.to_thread(work.is_running.wait, SOON_S)
        rest = [asyncio.create_task(ask(range(20, 20 + n))) for n in (1000, 3, 500)]
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(first, *rest)

    run(main)
    batcher.close()

    assert ended == [1, 3, 500, 1000]
    assert [len(load) for load in work.loads] == [1, 32, 64, 128, 256, 512, 511]


def test_what_weighs_more_is_taken_in_smaller_turns() -> None:
    work = Doubling(most=1000)
    batcher = Batcher[int, int, int](lambda: work, name="test", weigh=lambda item: item)

    run(lambda: batcher.run([16] * 100))
    batcher.close()

    assert [len(load) for load in work.loads] == [2, 4, 8, 16, 32, 38]


def test_what_takes_long_is_taken_in_smaller_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "TURN_S", 0.0)
    work = Doubling()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    run(lambda: batcher.run(range(20, 320)))
    batcher.close()

    assert [len(load) for load in work.loads] == [32, *[16] * 16, 12]


def test_of_a_request_that_is_cancelled_no_further_batch_is_computed() -> None:
    work = Doubling(most=4)
    work.gate.clear()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> None:
        asked = asyncio.create_task(batcher.run(range(100, 1100)))
        await asyncio.to_thread(work.is_running.wait, SOON_S)
        asked.cancel()
        await asyncio.wait({asked})
        work.gate.set()
        assert await batcher.run([1]) == [2]

    run(main)
    batcher.close()

    assert work.runs == [[100, 101, 102, 103], [1]]


def test_a_poison_item_among_31_good_ones_fails_alone() -> None:
    work = Doubling(most=32)
    batcher = Batcher[int, int, int](lambda: work, name="test")
    items = list(range(32))

    found = run(lambda: batcher.run(items))
    batcher.close()

    assert plain(found) == [expected(item) for item in items]
    assert isinstance(found[13], BrokenError)
    assert isinstance(found[13].__cause__, ValueError)
    # 32, 16 + 16, 8 + 8 ... : twice for each halving, and the whole.
    assert len(work.runs) == 1 + 2 * 5


def test_a_cancelled_request_leaves_the_queue() -> None:
    work = Doubling()
    work.gate.clear()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> list[int | FeatxError]:
        first = asyncio.create_task(batcher.run([1]))
        await asyncio.to_thread(work.is_running.wait, SOON_S)
        gone = asyncio.create_task(batcher.run([2, 3]))
        last = asyncio.create_task(batcher.run([4]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        assert batcher.waiting == 2
        work.gate.set()
        return [*await first, *await last]

    assert run(main) == [2, 8]
    batcher.close()
    assert work.loads == [[1], [4]]


def test_items_whose_turn_comes_too_late_fail() -> None:
    work = Doubling()
    work.gate.clear()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> list[int | FeatxError]:
        first = asyncio.create_task(batcher.run([1]))
        await asyncio.to_thread(work.is_running.wait, SOON_S)
        late = asyncio.create_task(batcher.run([2], deadline_s=time.monotonic()))
        work.gate.set()
        return [*await first, *await late]

    two, late = run(main)
    batcher.close()

    assert two == 2
    assert isinstance(late, TimedOutError)
    assert work.loads == [[1]]


def test_a_bug_is_raised_where_it_was_asked_for_and_the_thread_goes_on() -> None:
    class Buggy(Doubling):
        def cut(self, loaded: Sequence[int]) -> Iterable[list[int]]:
            if loaded[0] == 7:
                raise ZeroDivisionError
            return super().cut(loaded)

    work = Buggy()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> list[int | FeatxError]:
        with pytest.raises(ZeroDivisionError):
            await batcher.run([7, 8])
        return await batcher.run([8])

    assert run(main) == [16]
    assert batcher.is_alive
    batcher.close()
    assert not batcher.is_alive


def test_an_item_that_cannot_be_weighed_does_not_end_the_thread() -> None:
    batcher = Batcher[int, int, int](Doubling, name="test", weigh=lambda item: 1 // (item - 7))

    async def main() -> list[int | FeatxError]:
        with pytest.raises(ZeroDivisionError):
            await batcher.run([7])
        return await batcher.run([8])

    assert run(main) == [16]
    batcher.close()


def test_what_waits_is_answered_before_the_thread_ends() -> None:
    work = Doubling()
    batcher = Batcher[int, int, int](lambda: work, name="test")

    async def main() -> list[int | FeatxError]:
        asked = asyncio.create_task(batcher.run([1, 2, 3, 4, 5, 6]))
        await asyncio.sleep(0)
        await asyncio.to_thread(batcher.close)
        return await asked

    assert run(main) == [2, 4, 6, 8, 10, 12]


def opened(thing: object) -> Thing:
    backbone = Settings(device="cpu", threads=1, cache=cache_folder())
    return open_thing(ServeSettings(thing=str(thing), backbone=backbone))


@pytest.fixture(scope="module")
def spam(text_head: Path) -> Iterator[Thing]:
    thing = opened(text_head)
    yield thing
    thing.close()


def answers(
    thing: Thing, requests: Sequence[tuple[Sequence[str | np.ndarray], Ask]]
) -> list[list[Answer | FeatxError]]:
    """Return what an engine answers to requests that come together."""
    engine = Engine(thing)

    async def main() -> list[list[Answer | FeatxError]]:
        deadline_s = time.monotonic() + SOON_S
        asked = (engine.answer(items, ask, deadline_s=deadline_s) for items, ask in requests)
        return list(await asyncio.gather(*asked))

    found = asyncio.run(main())
    engine.close()
    return found


WORDS = st.lists(st.sampled_from(["free", "money", "meeting", "kernel", "the", "é"]), min_size=1)


@settings(deadline=None, max_examples=10)
@given(requests=st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=5))
def test_an_engine_answers_as_the_head_itself(spam: Thing, requests: list[list[list[str]]]) -> None:
    texts = [[" ".join(words) for words in items] for items in requests]

    found = answers(spam, [(items, Ask(task="classify")) for items in texts])

    assert spam.head is not None
    for items, said in zip(texts, found, strict=True):
        X = spam.backbone.encode(items)
        wanted = spam.head.probabilities(X)
        for answer, x, row in zip(said, X, wanted, strict=True):
            assert isinstance(answer, Answer)
            np.testing.assert_allclose(answer.vector, x, atol=1e-5)
            given_ = [answer.probabilities[label] for label in spam.head.classes]
            np.testing.assert_allclose(given_, row, atol=1e-4)


def test_a_head_computes_its_logits_once_a_batch(
    vector_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing, shapes, logits = opened(vector_head), list[tuple[int, ...]](), Head.logits

    def counted(head: Head, X: np.ndarray) -> np.ndarray:
        shapes.append(X.shape)
        return logits(head, X)

    monkeypatch.setattr(Head, "logits", counted)
    (found,) = answers(thing, [(list(vectors(6)), Ask(task="classify"))])

    assert shapes == [(6, DIM)]
    for row, answer in enumerate(found):
        assert isinstance(prediction := said(answer), Prediction)
        assert isinstance(answer, Answer)
        assert prediction.label == label_of(row)
        assert prediction.probability == answer.probabilities[prediction.label]


def test_different_asks_of_one_moment_are_answered_each_in_its_way(vector_gallery: Path) -> None:
    gallery = opened(vector_gallery)
    held = gallery.held
    X = vectors(6, seed=1)
    asks = [
        Ask(task="search", k=3),
        Ask(task="search", k=2, label="b"),
        Ask(task="classify"),
        Ask(task="embed"),
    ]

    three, of_b, votes, embedded = answers(gallery, [(list(X), ask) for ask in asks])

    for at, x in enumerate(X):
        near = held.search(x[None], 3)[0]
        assert [each.id for each in neighbours(three[at])] == [each.id for each in near]
        assert {each.label for each in neighbours(of_b[at])} == {"b"}
        assert isinstance(vote := said(votes[at]), Classified)
        assert vote.label == label_of(at)
        assert said(embedded[at]) is None


def said(answer: Answer | FeatxError) -> Said:
    assert isinstance(answer, Answer)
    return answer.said


def neighbours(answer: Answer | FeatxError) -> list[Neighbour]:
    found = said(answer)
    assert isinstance(found, list)
    return found


def test_an_ask_that_cannot_be_answered_leaves_the_others_alone(vector_gallery: Path) -> None:
    gallery = opened(vector_gallery)
    x = vectors(1)[0]

    (bad,), (good,) = answers(
        gallery, [([x], Ask(task="search", k=1, label="z")), ([x], Ask(task="search", k=1))]
    )

    assert isinstance(bad, FeatxError)
    assert "unknown label 'z'" in str(bad)
    assert isinstance(good, Answer)


def test_an_engine_says_of_each_item_what_is_wrong(spam: Thing) -> None:
    nan = np.full(384, np.nan, np.float32)

    ((empty, good, not_finite),) = answers(spam, [(["", "hello", nan], Ask(task="embed"))])

    assert str(empty) == "is empty"
    assert isinstance(good, Answer)
    assert good.n_tokens == 3
    assert isinstance(not_finite, InputError)


def test_an_engine_has_room_until_eight_batches_wait(vector_head: Path) -> None:
    engine = Engine(opened(vector_head))

    assert engine.limit == 8 * 1024
    engine.require_room()
    assert engine.thing.backbone.dim == DIM


def test_an_answer_that_takes_too_long_is_not_waited_for(spam: Thing) -> None:
    engine = Engine(spam)

    async def main() -> None:
        with pytest.raises(TimedOutError, match="not there in time"):
            await engine.answer(["a"], Ask(task="embed"), deadline_s=time.monotonic() - 1)

    asyncio.run(main())
    assert engine.waiting == 0
    assert not engine.uses(spam)
