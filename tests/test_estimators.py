import pickle
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import featx
from featx import samples
from featx.errors import InputError, ItemError, UnknownNameError

pytestmark = pytest.mark.usefixtures("own_cache")

if TYPE_CHECKING:
    from featx.types import Content

TEXTS = ["the cat sleeps", "a dog barks", "the bank raised rates", "stocks fell on monday"]
LABELS = ["animals", "animals", "money", "money"]
PICTURE = min((samples.folder() / "clipart" / "birds").glob("*.png"))


@pytest.fixture(scope="module")
def embedder() -> featx.Embedder:
    return featx.Embedder("minilm-l6", device="cpu", threads=1)


def test_parameters_are_those_of_the_constructor_and_can_be_set(embedder: featx.Embedder) -> None:
    params = {
        "model": "minilm-l6",
        "device": "cpu",
        "threads": 1,
        "prompt": "",
        "dim": None,
        "precision": None,
        "deterministic": False,
    }
    assert embedder.get_params() == params
    assert clone(embedder).set_params(threads=2).get_params() == {**params, "threads": 2}


def test_a_stream_gives_each_item_its_number_and_vector(embedder: featx.Embedder) -> None:
    X = embedder.transform(TEXTS)

    found = dict(embedder.stream(text for text in TEXTS))

    assert list(found) == [0, 1, 2, 3]
    np.testing.assert_allclose([found[i] for i in range(4)], X, atol=1e-6)


def test_a_stream_ends_at_a_bad_item_or_leaves_it_out(embedder: featx.Embedder) -> None:
    texts = ["one", " ", "three"]

    with pytest.raises(ItemError, match="item 1: is empty"):
        list(embedder.stream(texts))
    assert [number for number, _ in embedder.stream(texts, on_error="skip")] == [0, 2]


def test_a_stream_takes_items_only_as_fast_as_they_are_wanted(embedder: featx.Embedder) -> None:
    taken = []

    def endless() -> Iterator[str]:
        for number in count():
            taken.append(number)
            yield f"text {number}"

    stream = embedder.stream(endless())
    first = [number for number, _ in islice(stream, 3)]
    stream.close()  # type: ignore[attr-defined]

    assert first == [0, 1, 2]
    assert len(taken) <= 2048


def test_a_text_gives_one_unit_row(embedder: featx.Embedder) -> None:
    X = embedder.transform(TEXTS)
    assert X.shape == (4, 384)
    assert X.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1.0, rtol=1e-5)
    assert X[0] @ X[1] > X[0] @ X[2]
    assert embedder.transform([]).shape == (0, 384)


def test_clone_and_pickle_leave_the_session_behind_and_give_equal_vectors(
    embedder: featx.Embedder,
) -> None:
    X = embedder.transform(TEXTS)
    raw = pickle.dumps(embedder)
    assert len(raw) < 1000
    for copy in (clone(embedder), pickle.loads(raw)):
        assert not hasattr(copy, "_opened")
        assert copy.get_params() == embedder.get_params()
    np.testing.assert_array_equal(pickle.loads(raw).transform(TEXTS), X)


def test_a_changed_parameter_is_used(embedder: featx.Embedder) -> None:
    changed = clone(embedder)
    assert changed.transform(TEXTS[:1]).shape == (1, 384)
    assert changed.set_params(model="efficientnet-lite0").transform([PICTURE]).shape == (1, 1280)


def test_a_pipeline_learns_and_survives_pickle(embedder: featx.Embedder) -> None:
    pipeline = make_pipeline(clone(embedder), LogisticRegression(C=100.0)).fit(TEXTS, LABELS)
    wanted = ["animals", "money"]
    queries = ["a kitten and a puppy", "investors sold bonds"]
    assert pipeline.predict(queries).tolist() == wanted
    assert pickle.loads(pickle.dumps(pipeline)).predict(queries).tolist() == wanted
    assert clone(pipeline).fit(TEXTS, LABELS).predict(queries).tolist() == wanted


def test_set_output_names_the_columns(embedder: featx.Embedder) -> None:
    pytest.importorskip("pandas")
    frame = clone(embedder).set_output(transform="pandas").transform(TEXTS)
    assert list(frame.columns[:2]) == ["minilm-l6_0", "minilm-l6_1"]
    assert frame.shape == (4, 384)
    np.testing.assert_array_equal(frame.to_numpy(), embedder.transform(TEXTS))


def test_an_unknown_model_is_named_with_the_nearest_one() -> None:
    wrong = featx.Embedder("minilm-l7")
    with pytest.raises(UnknownNameError, match="did you mean 'minilm-l6'"):
        wrong.fit(TEXTS)
    with pytest.raises(UnknownNameError, match="unknown model 'minilm-l7'"):
        wrong.transform(TEXTS)


def test_a_width_the_model_was_not_trained_for_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be cut to 3 dimensions; allowed: 384"):
        featx.Embedder("minilm-l6", dim=3).get_feature_names_out()


@pytest.mark.parametrize("single", ["a cat", b"a cat", Path("cat.txt")])
def test_one_item_that_is_no_sequence_is_refused(
    embedder: featx.Embedder, single: str | bytes | Path
) -> None:
    with pytest.raises(InputError, match="expected a sequence of items"):
        embedder.transform(single)  # type: ignore[arg-type]


def test_an_item_that_cannot_be_read_is_named(embedder: featx.Embedder) -> None:
    with pytest.raises(ItemError, match="item 1: is empty"):
        embedder.transform(["a cat", ""])
    with pytest.raises(ItemError, match="item 0: is an array; expected a text"):
        embedder.transform([np.zeros(3)])


def test_path_str_bytes_and_pixels_of_one_picture_give_one_vector() -> None:
    embedder = featx.Embedder("efficientnet-lite0", device="cpu", threads=1)
    with Image.open(PICTURE) as image:
        pixels = np.asarray(image.convert("RGBA"))
    contents: list[Content] = [PICTURE, str(PICTURE), PICTURE.read_bytes(), pixels]
    X = embedder.encode(contents)
    assert X.shape == (4, 1280)
    for row in X[1:]:
        np.testing.assert_allclose(row, X[0], rtol=1e-4, atol=1e-5)


def test_text_as_bytes_and_as_a_file_is_the_text(embedder: featx.Embedder, tmp_path: Path) -> None:
    path = tmp_path / "cat.txt"
    path.write_text("a cat", encoding="utf-8")
    X = embedder.transform([path, b"a cat", "a cat", np.str_("a cat")])
    np.testing.assert_allclose(X, np.repeat(X[:1], 4, axis=0), atol=1e-6)


def test_embed_and_open_give_vectors_labels_and_items(tmp_path: Path) -> None:
    table = tmp_path / "texts.csv"
    rows = [
        f"t{i},{text},{label}" for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    table.write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    made = featx.embed(table, "minilm-l6", tmp_path / "texts.emb")
    opened = featx.open(tmp_path / "texts.emb")
    np.testing.assert_allclose(
        opened.X, featx.Embedder("minilm-l6", device="cpu").transform(TEXTS), atol=1e-4
    )
    np.testing.assert_array_equal(opened.X, made.X)
    assert opened.y.tolist() == LABELS
    assert opened.items.column("id").to_pylist() == ["t0", "t1", "t2", "t3"]
    assert opened.items.column("preview").to_pylist() == TEXTS


def test_every_public_name_can_be_reached_and_no_other_is_offered() -> None:
    assert featx.__all__ == sorted(featx.__all__)
    assert dir(featx) == featx.__all__
    for name in featx.__all__:
        assert callable(getattr(featx, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'Embeder'"):
        _ = featx.Embeder
