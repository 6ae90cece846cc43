"""Values at a cut: computed once, kept whatever happens, and fed as the body gave them."""

import resource
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from exported_models import FOLDER, exported_manifest
from featx.backbone.backbone import Backbone
from featx.backbone.runtime import open_session
from featx.backbone.settings import Settings
from featx.data.cache import CacheFile, contents, keep_within
from featx.errors import InputError, StoreError
from featx.finetune.graph.cuts import cut_for_blocks, find_cuts
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.split import Split, split
from featx.finetune.steps import caching as caching_module
from featx.finetune.steps.activations import Activations
from featx.finetune.steps.body import Body
from featx.finetune.steps.caching import Caching
from featx.finetune.steps.cutstore import KEY_BYTES, RECORD, CutStore
from featx.fingerprint import digest, file_sha256
from featx.types import Content, Sample
from featx.zoo.manifest import FileEntry

HALF = 2.0**-11
"""Relative error of a number rounded to float16."""

SAME = 1e-5
"""Between float32 runs of one graph on batches of different shapes."""

TEXTS = ["a b", "c", "a b c d e f g h i j k", "d d", "a b c d"]


@dataclass(frozen=True)
class Parts:
    """A backbone and its two halves."""

    backbone: Backbone
    split: Split

    def body(self) -> Body:
        return Body(self.backbone, self.split)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Give a small BERT with a tokenizer of 64 words."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "bert_dynamo.onnx").write_bytes((FOLDER / "bert_dynamo.onnx").read_bytes())
    words = ["[UNK]", *(chr(97 + i) for i in range(26))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    manifest = exported_manifest("bert_dynamo", folder=folder)
    path = folder / "tokenizer.json"
    entry = FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
    return cut_up(Backbone(replace(manifest, files={**manifest.files, "tokenizer": entry})))


@pytest.fixture(scope="module")
def images() -> Parts:
    """Give a small ResNet."""
    return cut_up(Backbone(exported_manifest("resnet_legacy")))


def cut_up(backbone: Backbone) -> Parts:
    backbone = Backbone(backbone.manifest, Settings(device="cpu", threads=1))
    graph = plain_graph(backbone.manifest)
    cuts = find_cuts(graph, probe_feeds(graph, backbone.manifest))
    return Parts(backbone, split(graph, cut_for_blocks(cuts, 1)))


def pictures(count: int) -> list[Content]:
    return [
        np.random.default_rng(i).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        for i in range(count)
    ]


def run(caching: Caching) -> list[tuple[int, int]]:
    return list(caching.steps())


def alone(body: Body, content: Content) -> NDArray[np.float32]:
    """Return what the body makes of one item by itself: (tokens, width), or (1, width)."""
    return body.encode_batch([body.load(body.read(content))]).reshape(-1, body.width)


def rows_of(activations: Activations, index: int) -> NDArray[np.float32]:
    (values, *_) = activations.feeds(np.array([index])).values()
    found: NDArray[np.float32] = values.reshape(activations.lengths[index], -1)
    return found


def through_tail(parts: Parts, activations: Activations, rows: list[int]) -> NDArray[np.float32]:
    tail = open_session(parts.split.tail.SerializeToString(), device="cpu", threads=1)
    feeds = activations.feeds(np.array(rows), length=16)
    (embeddings,) = tail.run(list(tail.outputs), feeds)
    made: NDArray[np.float32] = embeddings
    return made


@pytest.mark.parametrize("kind", ["texts", "images"])
@pytest.mark.parametrize(("dtype", "error"), [("float32", SAME), ("float16", 2 * HALF)])
def test_each_item_has_the_values_that_the_body_gives_it_alone(
    kind: str,
    dtype: Literal["float16", "float32"],
    error: float,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    parts: Parts = request.getfixturevalue(kind)
    items: list[Content] = [*TEXTS] if kind == "texts" else pictures(5)
    caching = Caching(parts.body(), items, cache=tmp_path, dtype=dtype)

    steps = run(caching)
    activations = caching.activations()

    assert steps[-1] == (5, 5)
    assert len(activations) == 5
    assert activations.lengths.tolist() == ([2, 1, 11, 2, 4] if kind == "texts" else [1] * 5)
    for index, item in enumerate(items):
        expected = alone(parts.body(), item)
        np.testing.assert_allclose(rows_of(activations, index), expected, rtol=error, atol=error)


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_body_and_tail_together_are_the_backbone(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    parts: Parts = request.getfixturevalue(kind)
    items: list[Content] = [*TEXTS] if kind == "texts" else pictures(5)
    caching = Caching(parts.body(), items, cache=tmp_path, dtype="float32")
    run(caching)

    found = through_tail(parts, caching.activations(), [4, 0, 2])

    expected = parts.backbone.encode(items)[[4, 0, 2]]
    np.testing.assert_allclose(found, expected, rtol=SAME, atol=SAME)


def test_short_texts_are_padded_and_masked_and_a_batch_is_filled_up(
    texts: Parts, tmp_path: Path
) -> None:
    caching = Caching(texts.body(), TEXTS, cache=tmp_path, dtype="float32")
    run(caching)

    values, mask = caching.activations().feeds(np.array([3, 1]), length=3, size=4).values()

    np.testing.assert_array_equal(mask, [[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]])
    assert mask.dtype == np.int64
    assert values.shape[:2] == (4, 3)
    np.testing.assert_array_equal(values[2:], values[[0, 0]])
    np.testing.assert_array_equal(values[1, 1:], 0)


def unable(parts: Parts) -> Body:
    """Return a body that cannot compute anything."""
    return Body(parts.backbone, replace(parts.split, body=ModelProto()))


def test_what_is_kept_is_not_computed_again(texts: Parts, tmp_path: Path) -> None:
    first = Caching(texts.body(), TEXTS, cache=tmp_path)
    run(first)

    again = Caching(unable(texts), TEXTS[::-1], cache=tmp_path)
    run(again)

    for index in range(len(TEXTS)):
        np.testing.assert_array_equal(
            rows_of(again.activations(), len(TEXTS) - 1 - index),
            rows_of(first.activations(), index),
        )
    with pytest.raises(InputError, match="cannot load it"):
        run(Caching(unable(texts), [*TEXTS, "new"], cache=tmp_path))


def test_equal_items_are_computed_and_kept_once(texts: Parts, tmp_path: Path) -> None:
    caching = Caching(texts.body(), ["a b", "c", "a b", "a b"], cache=tmp_path)
    run(caching)

    assert sum(path.stat().st_size for path in tmp_path.rglob("values")) == 3 * 32 * 2
    np.testing.assert_array_equal(
        rows_of(caching.activations(), 3), rows_of(caching.activations(), 0)
    )


@pytest.mark.parametrize("commits", [1, 2])
def test_a_run_that_is_broken_off_keeps_what_was_done(
    texts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    monkeypatch.setattr(caching_module, "COMMIT_BYTES", 1)
    monkeypatch.setattr(caching_module, "TEXT_ROOM", caching_module.TEXT_ROOM.__class__(2, 1, 1))
    items = [f"{a} {b}" for a in "abcd" for b in "efgh"]
    broken = Caching(texts.body(), items, cache=tmp_path).steps()
    for _ in range(commits):
        done, _ = next(broken)
    broken.close()

    known = Caching(unable(texts), items[:done], cache=tmp_path)
    run(known)
    whole = Caching(texts.body(), items, cache=tmp_path)
    run(whole)

    assert 0 < done < len(items)
    for index, item in enumerate(items):
        expected = alone(texts.body(), item)
        found = rows_of(whole.activations(), index)
        np.testing.assert_allclose(found, expected, rtol=2 * HALF, atol=2 * HALF)


def test_items_that_cannot_be_read_are_named_and_the_others_are_there(
    texts: Parts, tmp_path: Path
) -> None:
    items: list[Content] = ["a b", "   ", "c", tmp_path / "missing.txt"]
    caching = Caching(texts.body(), items, cache=tmp_path)
    run(caching)

    assert sorted(caching.problems) == [1, 3]
    assert caching.problems[1] == "is empty: it holds only white space"
    np.testing.assert_allclose(
        rows_of(caching.activations(), 2), alone(texts.body(), "c"), rtol=2 * HALF, atol=2 * HALF
    )


def test_items_that_changed_since_they_were_embedded_get_no_values(
    texts: Parts, tmp_path: Path
) -> None:
    then = np.array([list(digest(text.encode())) for text in TEXTS], dtype=np.uint8)
    items: list[Content] = [*TEXTS[:3], "other", TEXTS[4]]
    run(Caching(texts.body(), items, cache=tmp_path))  # even if the cache has its values

    caching = Caching(texts.body(), items, cache=tmp_path)
    assert list(caching.steps(then))[-1] == (5, 5)

    assert caching.problems == {3: "its bytes are not those that were embedded"}
    assert caching.activations().lengths.tolist() == [2, 1, 11, 0, 4]


def test_nothing_but_broken_items_is_no_error_here(texts: Parts, tmp_path: Path) -> None:
    caching = Caching(texts.body(), ["  ", ""], cache=tmp_path)

    run(caching)

    assert sorted(caching.problems) == [0, 1]
    assert caching.activations().lengths.tolist() == [0, 0]


def mirrored(sample: Sample, number: int, rng: np.random.Generator) -> Sample:
    pixels = sample.inputs["image"][:, :, ::-1] ^ np.uint8(number)
    return replace(sample, inputs={"image": pixels ^ rng.integers(0, 2, pixels.shape, np.uint8)})


def test_views_of_an_item_are_its_own_and_the_same_in_every_run(
    images: Parts, tmp_path: Path
) -> None:
    items = pictures(2)

    def made(folder: str, body: Body) -> list[NDArray[np.float32]]:
        caching = Caching(body, items, cache=tmp_path / folder, views=3, view=mirrored)
        run(caching)
        return [rows_of(caching.activations(view), i) for view in range(3) for i in range(2)]

    first = made("a", images.body())

    np.testing.assert_allclose(first[1], alone(images.body(), items[1]), rtol=2 * HALF, atol=HALF)
    body = images.body()
    raw = body.read(items[1])
    rng = caching_module.generator(caching_module.item_key(raw, 2))
    sample = mirrored(body.load(raw), 2, rng)
    np.testing.assert_allclose(first[5], body.encode_batch([sample]), rtol=2 * HALF, atol=2 * HALF)
    for found, again in zip(first, made("b", images.body()), strict=True):
        np.testing.assert_array_equal(found, again)
    for found, again in zip(first, made("a", unable(images)), strict=True):
        np.testing.assert_array_equal(found, again)


def test_values_that_float16_cannot_hold_are_refused_and_float32_holds_them(
    images: Parts, tmp_path: Path
) -> None:
    model = ModelProto()
    model.CopyFrom(images.split.body)
    for tensor in model.graph.initializer:
        if tensor.data_type == 1:
            array = np.frombuffer(tensor.raw_data, np.float32) * 1000
            tensor.raw_data = array.astype(np.float32).tobytes()
    body = Body(images.backbone, replace(images.split, body=model))

    with pytest.raises(InputError, match=r"cut '.+': its values reach .+ add --activations fp32"):
        run(Caching(body, pictures(2), cache=tmp_path))
    wide = Caching(body, pictures(2), cache=tmp_path, dtype="float32")
    run(wide)
    assert np.abs(rows_of(wide.activations(), 0)).max() > np.finfo(np.float16).max


def test_texts_of_several_parts_are_refused(texts: Parts, tmp_path: Path) -> None:
    manifest = texts.backbone.manifest.adjusted(overflow="chunk")
    body = Body(Backbone(manifest, texts.backbone.settings), texts.split)

    with pytest.raises(InputError, match=r"l7: has 2 parts; .+ items of one; embed without chunks"):
        run(Caching(body, ["a b c d e f g h " * 5], cache=tmp_path, names=["l7"]))


@pytest.mark.parametrize("failure", [None, InputError("told early")])
def test_no_session_is_kept_once_all_is_computed(
    texts: Parts, tmp_path: Path, failure: InputError | None
) -> None:
    body = texts.body()
    steps = Caching(body, TEXTS, cache=tmp_path).steps()
    next(steps)
    session = weakref.ref(body.session._session)

    if failure:
        with pytest.raises(InputError, match="told early"):
            steps.throw(failure)
    assert list(steps) == []
    assert session() is None


def test_a_tail_that_reads_the_tokens_themselves_is_refused(texts: Parts) -> None:
    tail = ModelProto()
    tail.CopyFrom(texts.split.tail)
    tail.graph.input.add().CopyFrom(texts.split.body.graph.input[0])

    with pytest.raises(InputError, match="reads the input 'input_ids' itself, which is not kept"):
        Caching(Body(texts.backbone, replace(texts.split, tail=tail)), TEXTS)


def test_without_a_cache_the_values_go_with_the_activations(texts: Parts) -> None:
    caching = Caching(texts.body(), TEXTS)
    run(caching)
    activations = caching.activations()
    folder = caching.folder
    del caching

    assert rows_of(activations, 2).shape == (11, 32)
    assert folder.is_dir()
    del activations
    assert not folder.exists()


def test_the_cache_counts_activations_and_lets_them_go(texts: Parts, tmp_path: Path) -> None:
    caching = Caching(texts.body(), TEXTS, cache=tmp_path)
    run(caching)

    (listed,) = contents(tmp_path)

    held = sum(path.stat().st_size for path in caching.folder.rglob("*"))
    assert listed == CacheFile(
        f"activations/{caching.folder.name}",
        "activations",
        held + caching.folder.stat().st_size,
        listed.used_s,
    )
    assert keep_within(tmp_path, 0) == listed.size_bytes
    assert contents(tmp_path) == []


# The store by itself.

KEYS = [bytes([number]) * KEY_BYTES for number in range(6)]
ARRAYS = [np.full((number + 1, 3), number, dtype=np.float32) for number in range(6)]


def filled(folder: Path) -> CutStore:
    """Return a store of six items in three commits."""
    store = CutStore(folder, width=3, dtype=np.float32)
    for start in (0, 2, 4):
        store.append(KEYS[start : start + 2], ARRAYS[start : start + 2])
    return store


@contextmanager
def opened(folder: Path) -> Iterator[CutStore]:
    store = CutStore(folder, width=3, dtype=np.float32)
    try:
        yield store
    finally:
        store.close()


def held(store: CutStore) -> list[int]:
    """Return which items are there, having checked the values of each."""
    found = []
    raw = np.fromfile(store.values_path, np.float32)
    values = raw[: len(raw) // 3 * 3].reshape(-1, 3)
    for number, key in enumerate(KEYS):
        if store.holds(key):
            start, rows = store.span(key)
            np.testing.assert_array_equal(values[start : start + rows], ARRAYS[number])
            found.append(number)
    return found


def test_a_store_that_is_opened_again_holds_what_was_appended(tmp_path: Path) -> None:
    filled(tmp_path).close()

    with opened(tmp_path) as store:
        assert held(store) == [0, 1, 2, 3, 4, 5]


@settings(max_examples=40, deadline=None)
@given(file=st.sampled_from(["values", "records"]), share=st.floats(0, 1))
def test_a_store_that_was_cut_short_holds_what_is_whole_and_takes_the_rest_again(
    tmp_path_factory: pytest.TempPathFactory, file: str, share: float
) -> None:
    folder = tmp_path_factory.mktemp("store")
    filled(folder).close()
    size = (folder / file).stat().st_size
    left = int(share * size)
    with (folder / file).open("r+b") as opened_file:
        opened_file.truncate(left)

    with opened(folder) as store:
        whole = held(store)
        missing = [number for number in range(6) if number not in whole]
        store.append([KEYS[n] for n in missing], [ARRAYS[n] for n in missing])
    with opened(folder) as store:
        assert held(store) == [0, 1, 2, 3, 4, 5]

    ends = np.cumsum([array.nbytes for array in ARRAYS])
    unit = ends if file == "values" else RECORD.itemsize * np.arange(1, 7)
    assert whole == list(range(int((unit <= left).sum())))


@settings(max_examples=40, deadline=None)
@given(file=st.sampled_from(["values", "records"]), share=st.floats(0, 1, exclude_max=True))
def test_a_byte_that_rotted_loses_items_and_never_gives_a_wrong_one(
    tmp_path_factory: pytest.TempPathFactory, file: str, share: float
) -> None:
    folder = tmp_path_factory.mktemp("store")
    filled(folder).close()
    raw = bytearray((folder / file).read_bytes())
    place = int(share * len(raw))
    raw[place] ^= 0xFF
    (folder / file).write_bytes(raw)

    with opened(folder) as store:
        whole = held(store)

    if file == "records":
        assert whole == list(range(place // RECORD.itemsize))
    else:
        ends = np.cumsum([array.nbytes for array in ARRAYS])
        hit = int(np.searchsorted(ends, place, side="right"))
        assert whole == [number for number in range(6) if number != hit]


@contextmanager
def file_limit(size_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("limit", [130, 300], ids=["values", "records"])
def test_a_disk_that_is_full_is_said_in_one_line_and_what_was_there_stays(
    tmp_path: Path, limit: int
) -> None:
    store = CutStore(tmp_path, width=3, dtype=np.float32)
    store.append(KEYS[:4], ARRAYS[:4])

    with file_limit(limit), pytest.raises(StoreError, match=r"values: .+") as caught:
        store.append(KEYS[4:], ARRAYS[4:])

    assert "\n" not in str(caught.value)
    assert held(store) == [0, 1, 2, 3]
    store.append(KEYS[4:], ARRAYS[4:])
    store.close()
    with opened(tmp_path) as again:
        assert held(again) == [0, 1, 2, 3, 4, 5]


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path)

    with pytest.raises(StoreError, match="another process is writing to it; wait for it to end"):
        CutStore(tmp_path, width=3, dtype=np.float32)

    store.close()
    with opened(tmp_path) as again:
        assert held(again) == [0, 1, 2, 3, 4, 5]
