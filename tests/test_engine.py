"""The engine as a whole: the same vectors whatever the company, order or batch size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featx.backbone.backbone import Backbone, bucketed
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.embedding import embed_all, stream
from featx.errors import ItemError
from featx.types import Sample, Vectors
from featx.zoo import catalog

LEAST_COSINE = 1 - 1e-6
"""A text's vector may differ by this much between batches: padding changes float32 sums."""

TEXTS = [
    "The parcel arrived on Tuesday.",
    "Rain is expected in the north, with strong winds along the coast towards the evening.",
    "no",
    "How do I reset my password?",
    "Die Katze schläft auf dem Sofa.",
    "An invoice that is " + "very " * 40 + "long",
    "🙂",
    "Train 14 leaves from platform 3 at noon; please have your ticket ready.",
]


def backbone(*, deterministic: bool = False, budget: int | None = None) -> Backbone:
    chosen = Settings(device="cpu", threads=2, deterministic=deterministic, budget=budget)
    return Backbone(catalog.find("minilm-l6"), chosen.in_bulk())


USUAL = backbone()


def encoded(texts: list[str], model: Backbone) -> Vectors:
    rows = [row for row in stream(texts, model) if not isinstance(row, ItemError)]
    return np.stack(rows) if rows else np.empty((0, model.dim), dtype=np.float32)


@pytest.fixture(scope="module")
def alone() -> Vectors:
    return np.concatenate([encoded([text], USUAL) for text in TEXTS])


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.lists(st.integers(0, len(TEXTS) - 1), max_size=12),
    budget=st.sampled_from([1, 64, 512, 4096]),
)
def test_vectors_follow_their_items_in_any_order_and_batch(
    alone: Vectors, order: list[int], budget: int
) -> None:
    model = backbone(budget=budget)
    model.__dict__["session"] = USUAL.session  # opened once

    found = encoded([TEXTS[i] for i in order], model)

    assert found.shape == (len(order), 384)
    assert (np.sum(found * alone[order], axis=1) >= LEAST_COSINE).all()


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(len(TEXTS))))
def test_deterministic_vectors_have_the_same_bits_in_any_company(order: list[int]) -> None:
    model = backbone(deterministic=True)
    model.__dict__["session"] = USUAL.session
    single = {text: encoded([text], model)[0] for text in TEXTS[:3]}

    found = encoded([TEXTS[i] for i in order], model)

    for row, i in zip(found, order, strict=True):
        if TEXTS[i] in single:
            np.testing.assert_array_equal(row, single[TEXTS[i]])


def test_padding_to_the_buckets_of_a_gpu_changes_no_vector(alone: Vectors) -> None:
    class Padded(type(USUAL.modality)):  # type: ignore[misc]
        def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
            return bucketed(super().collate(samples))

    model = backbone()
    model.__dict__ |= {"session": USUAL.session, "modality": Padded(model.manifest)}

    found = encoded(TEXTS, model)

    assert (np.sum(found * alone, axis=1) >= LEAST_COSINE).all()


def test_determinism_has_a_fingerprint_of_its_own_in_the_same_space() -> None:
    exact = backbone(deterministic=True)

    assert exact.fingerprint != USUAL.fingerprint
    assert exact.space == USUAL.space


def test_a_batch_size_does_not_change_the_fingerprint() -> None:
    assert backbone(budget=64).fingerprint == USUAL.fingerprint


def test_a_stream_is_taken_as_it_comes_and_errors_keep_their_place() -> None:
    found = list(stream(["a text", "  ", "another"], USUAL))

    assert isinstance(found[1], ItemError)
    np.testing.assert_array_equal(found[0], encoded(["a text"], USUAL)[0])
    assert isinstance(found[2], np.ndarray)


def test_chunks_are_averaged(tmp_path: Path) -> None:
    manifest = catalog.find("minilm-l6").adjusted(overflow="chunk")
    model = Backbone(manifest, Settings(device="cpu").in_bulk())
    half = "one two three four five six seven eight nine ten " * 20
    (tmp_path / "t.txt").write_text(f"{half}{half}\n{half}\n")

    found = embed_all(open_source(tmp_path / "t.txt", modality="text"), model, tmp_path / "t.emb")

    # Two equal halves of 200 words each: their mean is the vector of one.
    assert float(found.X[0] @ found.X[1]) > 0.999
    assert found.items.column("n_tokens").to_pylist() == [402, 202]
