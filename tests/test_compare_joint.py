"""Backbones that share a graph, in a comparison: one run, the caches of each, the same ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

import comparing
import featx
from featx import samples
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.data.sources.options import DescribedSource
from featx.embedding.run import Run
from featx.errors import InputError
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.embedder import Embedder, pays
from featx.transfer.compare.pool import list_labelled
from featx.transfer.compare.run import compare
from featx.zoo import catalog
from tiny_graphs import model_of, node, tiny_manifest

LAYERS = ("minilm-l6", "minilm-l6-layers")
TOP, WIDTH = 100.0, comparing.WIDTH


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every fifteenth of the mails inside the package."""
    first, *rows = (samples.folder() / "mails.csv").read_text("utf-8").splitlines()
    place = tmp_path_factory.mktemp("mails") / "mails.csv"
    place.write_text("\n".join([first, *rows[::15]]), "utf-8")
    return place


@pytest.fixture
def arrays(tmp_path: Path) -> DescribedSource:
    """Give 90 rows; a number of every ninth is larger than `TOP`."""
    X, y = comparing.items(90)
    X[::9, 20] = 2 * TOP
    np.savez(tmp_path / "items.npz", X=X, y=np.array(y))
    return open_source(tmp_path / "items.npz", modality="array")


def opened(*names: str, **settings: Any) -> list[Backbone]:  # noqa: ANN401
    return [Backbone(catalog.find(name), Settings(device="cpu", **settings)) for name in names]


def backbone(folder: Path, name: str, *more: NodeProto) -> Backbone:
    """Return one of arrays: the beginning that all have, ``b``, then what is given, ``y``."""
    begin = [node("Relu", "x", "a0"), *(node("Relu", f"a{n}", f"a{n + 1}") for n in range(6))]
    nodes = [*begin, node("Sub", "x a6", "b"), *(more or [node("Identity", "b", "y")])]
    weights = {"top": np.array(TOP, np.float32), "none": np.array(0, np.float32)}
    model = model_of(nodes, weights, shape=("n", WIDTH))
    manifest = tiny_manifest(folder, model, dim=WIDTH, shape=(WIDTH,), name=name)
    return Backbone(manifest, Settings(device="cpu", threads=1))


def failing(folder: Path) -> Backbone:
    """Return one that gives no number where one is above `TOP`."""
    nodes = [node("Sub", "top x", "low"), node("Sqrt", "low", "root"), node("Add", "root b", "y")]
    return backbone(folder, "failing", *nodes)


def blind(folder: Path) -> Backbone:
    return backbone(folder, "blind", node("Mul", "b none", "y"))


def source_of(table: Path) -> DescribedSource:
    return open_source(table, modality="text")


def test_each_gets_its_own_columns_and_its_own_cache(mails: Path, tmp_path: Path) -> None:
    (layers, plain), (small,) = opened(*LAYERS[::-1]), opened("minilm-l6", precision="int8")
    racing = first, second, third = [Contestant(each) for each in (layers, small, plain)]
    source, cache = source_of(mails), tmp_path / "cache"
    items = list(source)
    ids = [item.id for item in items]

    groups = Embedder(source, tmp_path, cache=cache).groups(racing, ids * 10)
    assert all(group.embed(ids) for group in groups)

    assert [group.contestants for group in groups] == [[first, third], [second]]
    assert [group.name for group in groups] == ["minilm-l6-layers, minilm-l6", "minilm-l6"]
    for number, each in enumerate(racing):
        alone = each.backbone.encode([item.content for item in items])
        np.testing.assert_allclose(each.vectors(ids), alone, atol=1e-5)
        out = tmp_path / f"{number}.emb"
        *_, last = Run(source, each.backbone, out, cache=cache).steps()
        assert last.cached == len(ids) == 40
        np.testing.assert_array_equal(featx.open(out).X[:], each.vectors(ids))


def test_few_items_are_not_worth_a_joint_graph() -> None:
    two, three = opened(*LAYERS), opened(*LAYERS, "minilm-l6")

    # Files of 46 MB each; 10 ms are saved for each item and further backbone.
    assert [pays(two, n) for n in (1, 130, 150, 2000)] == [False, False, True, True]
    assert [pays(three, n) for n in (1, 90, 110)] == [False, False, True]
    assert [pays(two, 2000, left_s=seconds) for seconds in (0, 5, 10)] == [False, False, True]


def test_items_that_one_cannot_embed_are_not_lost_to_the_others(
    arrays: DescribedSource, tmp_path: Path
) -> None:
    racing = plain, root = [Contestant(backbone(tmp_path, "plain")), Contestant(failing(tmp_path))]
    cache, ids = tmp_path / "cache", list_labelled(arrays).ids

    (group,) = Embedder(arrays, tmp_path / "sets", cache=cache).groups(racing, ids)
    assert group.embed(ids)

    assert all(each in plain for each in ids)
    assert plain.problems == {}
    lost = [each for each in ids if each not in root]
    assert len(lost) == 10
    assert set(root.problems) == set(lost)
    rows = {item.id: np.asarray(item.content) for item in arrays}
    wanted = np.stack([np.minimum(rows[each], 0) for each in ids])
    np.testing.assert_array_equal(plain.vectors(ids), wanted)
    *_, last = Run(arrays, plain.backbone, tmp_path / "set", cache=cache).steps()
    assert last.cached == len(ids)


def test_the_backbone_that_fails_is_named(arrays: DescribedSource, tmp_path: Path) -> None:
    found = compare(arrays, [backbone(tmp_path, "plain"), failing(tmp_path)])

    assert (found.skipped, found.compared) == (10, 80)
    assert len(found.problems) == 10
    assert all(why.endswith(" (failing)") for why in found.problems.values())


def test_one_that_dropped_out_is_no_longer_embedded(
    arrays: DescribedSource, tmp_path: Path
) -> None:
    ids = list_labelled(arrays).ids
    racing = plain, other, _ = [
        Contestant(each)
        for each in (backbone(tmp_path, "plain"), blind(tmp_path), failing(tmp_path))
    ]
    embedder = Embedder(arrays, tmp_path / "sets", cache=None)
    (everything,) = embedder.groups(racing, ids[:20])
    assert everything.embed(ids[:20])

    (less,) = embedder.groups([plain, other], ids[20:])
    assert less.embed(ids[20:])

    assert less.name == "plain, blind"
    assert other.vectors(ids).shape == (90, WIDTH)
    assert (other.vectors(ids) == 0).all()
    assert (plain.vectors(ids) < 0).any()


def test_one_whose_vectors_are_known_is_not_embedded_with_others(
    arrays: DescribedSource, tmp_path: Path
) -> None:
    racing = [Contestant(each) for each in (backbone(tmp_path, "plain"), blind(tmp_path))]
    cache, ids = tmp_path / "cache", list_labelled(arrays).ids
    for _ in Run(arrays, racing[0].backbone, tmp_path / "set", cache=cache).steps():
        pass

    embedder = Embedder(arrays, tmp_path / "sets", cache=cache)

    assert [group.name for group in embedder.groups(racing, ids)] == ["plain", "blind"]


def test_one_that_fails_on_every_item_is_named(tmp_path: Path) -> None:
    X, y = comparing.items(60)
    np.savez(tmp_path / "items.npz", X=X + 2 * TOP, y=np.array(y))
    source = open_source(tmp_path / "items.npz", modality="array")

    with pytest.raises(InputError, match="0 of 60 items could be embedded by all backbones"):
        compare(source, [backbone(tmp_path, "plain"), failing(tmp_path)])
