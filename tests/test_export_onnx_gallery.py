"""Galleries as one ONNX file: the exact vote of all labelled items, up to a size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporting import outputs_of
from featx.backbone.backbone import Backbone, identity
from featx.errors import InputError
from featx.export import votes
from featx.export.deploy import Deployed, deploy
from featx.export.exportable import of_gallery
from featx.gallery.build import GalleryRecipe
from featx.gallery.gallery import Gallery
from featx.gallery.items import ItemFacts
from featx.index.metric import MetricName
from gallery_sets import DIM, build, vectors

QUERIES = vectors(40, seed=3)
FLOAT32 = 1e-5  # shares are summed in float64 by a gallery
FAR = 1e-3  # numbers of a thousand are known to 6e-5 in float32


def exported(gallery: Gallery, path: Path) -> Deployed:
    backbone = Backbone(identity(DIM))
    made = of_gallery(gallery.snapshot, "x.knn")
    made = replace(made, header={**made.header, "space": backbone.space})
    return deploy(path, made, backbone)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_file_votes_as_its_gallery_does(metric: MetricName, tmp_path: Path) -> None:
    gallery = build(tmp_path, GalleryRecipe(kind="exact", metric=metric), n=200)
    expected = gallery.classify(QUERIES)

    exported(gallery, tmp_path / "x.onnx")

    found = outputs_of(tmp_path / "x.onnx", {"embedding": QUERIES})
    assert found["label"].tolist() == [each.label for each in expected]
    shares = [each.probability for each in expected]
    np.testing.assert_allclose(found["probabilities"].max(axis=1), shares, atol=FLOAT32)
    assert found["novel"].tolist() == [each.novel for each in expected]
    assert len(set(found["label"])) == 2


def test_distances_of_far_items_are_exact(tmp_path: Path) -> None:
    build(tmp_path, GalleryRecipe(kind="exact", metric="l2"), n=40).close()
    far = 1000 + vectors(6)  # whose squares leave nothing of their differences in float32
    facts = [ItemFacts(label=label) for label in ("even", "odd", "odd", "even", "odd", "even")]
    with Gallery.open(tmp_path / "a.knn", writable=True) as gallery:
        gallery.add([f"far{n}" for n in range(6)], far, facts=facts)
    gallery = Gallery.open(tmp_path / "a.knn")

    exported(gallery, tmp_path / "x.onnx")

    found = outputs_of(tmp_path / "x.onnx", {"embedding": far})["probabilities"]
    shares = [each.probability for each in gallery.classify(far)]
    np.testing.assert_allclose(found.max(axis=1), shares, atol=FAR)


def test_what_was_added_and_removed_online_counts(tmp_path: Path) -> None:
    build(tmp_path, n=60).close()
    with Gallery.open(tmp_path / "a.knn", writable=True) as gallery:
        gallery.remove(["i0", "i2"])
        gallery.add(["new"], vectors(1, seed=9), facts=[ItemFacts(label="third")])
    gallery = Gallery.open(tmp_path / "a.knn")

    exported(gallery, tmp_path / "x.onnx")

    found = outputs_of(tmp_path / "x.onnx", {"embedding": np.vstack([QUERIES, vectors(1, seed=9)])})
    assert found["probabilities"].shape == (41, 3)
    assert found["label"][-1] == gallery.classify(vectors(1, seed=9))[0].label
    assert "novel" not in found  # of so few items nothing can be said


def test_too_many_items_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = build(tmp_path, n=60)
    monkeypatch.setattr(votes, "MOST_VECTORS", 47)

    with pytest.raises(InputError, match=r"x\.knn: 48 labelled vectors; at most 47 go into one"):
        exported(gallery, tmp_path / "x.onnx")

    monkeypatch.setattr(votes, "MOST_VECTORS", 48)
    assert exported(gallery, tmp_path / "x.onnx").comparison.difference < FLOAT32


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "odd",
            "x.knn: its items have one label, 'even'; two or more are needed; run: featx label",
        ),
        ("odd even", "x.knn: its items have no label; two or more are needed"),
    ],
)
def test_a_gallery_of_one_label_is_refused(gone: str, message: str, tmp_path: Path) -> None:
    build(tmp_path, n=20).close()
    with Gallery.open(tmp_path / "a.knn", writable=True) as gallery:
        ids = [item_id for item_id, facts in gallery.items() if (facts.label or "-") in gone]
        gallery.remove(ids)

    with pytest.raises(InputError, match=message):
        exported(Gallery.open(tmp_path / "a.knn"), tmp_path / "x.onnx")
