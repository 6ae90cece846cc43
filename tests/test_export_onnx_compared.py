"""An exported file against Python: each thing that it gives is compared, and may be wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import LinearBackbone
from exporting import belonging, head_of, linear_head, matrix, tag_head, value_head, wary
from featx import samples
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.errors import InputError
from featx.export.comparing import compare
from featx.export.comparison import Comparison, require_equal
from featx.export.deploy import Form, deploy
from featx.export.exportable import Exportable, of_head
from featx.export.real import real_items
from featx.heads.novelty import Novelty
from featx.heads.predict import Head
from featx.zoo import catalog

Change = Callable[[Any], Any]


@pytest.fixture
def backbone(linear_backbone: LinearBackbone) -> Backbone:
    """Give a backbone from eight numbers to five."""
    return linear_backbone(matrix(8, 1))


def blind_head() -> Head:
    """Return a head that answers alike whatever it is given."""
    return head_of("logreg", {"coef": np.zeros((3, 5), "f4"), "intercept": matrix(1)[0, :3]})


def set_constant(path: Path, name: str, change: Change) -> None:
    """Change one constant of a file."""
    model = onnx.load(path)
    (tensor,) = [each for each in model.graph.initializer if each.name == name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    onnx.save(model, path)


def compared(head: Head, backbone: Backbone, path: Path, name: str, change: Change) -> Comparison:
    """Write the file of a head, change a constant of it, and compare it with Python."""
    exported = of_head(belonging(head, backbone), "x.head")
    deploy(path, exported, backbone)
    set_constant(path, name, change)
    return compare(path, exported, backbone, real_items(backbone), "inputs")


@pytest.mark.parametrize(
    ("head", "name", "change", "message"),
    [
        (
            wary(linear_head()),
            "featx/head/novel_threshold",
            lambda limit: np.asarray(limit - 5),
            r"judges [1-9]\d* of 32 items otherwise on novelty; serve it instead",
        ),
        (
            value_head(2),
            "featx/head/spread",
            lambda spread: spread * np.float32(1.001),
            r"answers of the file and of Python differ by .*; at most 1e-05",
        ),
        (
            blind_head(),
            "W",
            lambda W: W * np.float32(1.001),
            r"embeddings of the file and of Python differ by 0\.001; at most 0\.0001",
        ),
    ],
    ids=["novel", "interval", "embedding"],
)
def test_what_differs_is_refused(
    head: Head, name: str, change: Change, message: str, backbone: Backbone, tmp_path: Path
) -> None:
    found = compared(head, backbone, tmp_path / "x.onnx", name, change)

    with pytest.raises(InputError, match=rf"x\.head: not written: .*{message}"):
        require_equal(found, "x.head", is_exact=True)


def test_a_rule_that_says_the_opposite_is_not_written(backbone: Backbone, tmp_path: Path) -> None:
    head = wary(linear_head())
    assert isinstance(head.novelty, Novelty)
    exported = of_head(belonging(head, backbone), "x.head")
    other = replace(exported, novelty=replace(head.novelty, beyond=0.0, threshold=-1e9))

    with pytest.raises(InputError, match="items otherwise on novelty"):
        deploy(tmp_path / "x.onnx", other, backbone)

    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_an_item_at_the_threshold_may_be_novel_or_not(backbone: Backbone, tmp_path: Path) -> None:
    head = wary(linear_head())
    assert isinstance(head.novelty, Novelty)
    distances = head.novelty.distances(backbone.encode(real_items(backbone)))
    middle = float(np.sort(distances)[16])
    head = replace(head, novelty=replace(head.novelty, threshold=middle))

    def just_below(limit: Any) -> Any:  # noqa: ANN401
        return np.asarray(limit - 1e-4 * abs(limit))

    name = "featx/head/novel_threshold"
    found = compared(head, backbone, tmp_path / "x.onnx", name, just_below)

    assert (found.novel, found.misjudged) == (1, 0)
    require_equal(found, "x.head", is_exact=True)


def test_intervals_are_those_of_the_head(backbone: Backbone, tmp_path: Path) -> None:
    exported = of_head(belonging(value_head(2), backbone), "x.head")
    other = replace(exported, arrays={"spread": 100 * exported.arrays["spread"]})

    with pytest.raises(InputError, match=r"answers .* differ by .*; at most 1e-05"):
        deploy(tmp_path / "x.onnx", other, backbone)


def test_nothing_is_compared_on_no_items(backbone: Backbone, tmp_path: Path) -> None:
    exported = of_head(belonging(linear_head(), backbone), "x.head")

    with pytest.raises(InputError, match=r"x\.head: items: none to compare on; name some"):
        deploy(tmp_path / "x.onnx", exported, backbone, items=[])


def test_small_values_are_compared_by_their_own_size(backbone: Backbone, tmp_path: Path) -> None:
    arrays = {name: array * 1e-7 for name, array in value_head(2).arrays.items()}
    arrays |= {name: arrays[name].astype("f4") for name in ("coef", "intercept")}
    exported = of_head(belonging(replace(value_head(2), arrays=arrays), backbone), "x.head")
    deploy(tmp_path / "x.onnx", exported, backbone)
    other = replace(exported, answers=lambda X: 1.001 * exported.answers(X))

    with pytest.raises(InputError, match=r"differ by 0\.0.*; at most 1e-05"):
        deploy(tmp_path / "x.onnx", other, backbone)


def test_tags_must_be_those_of_the_probabilities(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the labels of the file are not those of its prob"):
        compared(tag_head(), backbone, tmp_path / "x.onnx", "featx/head/names", np.flip)


def test_windows_of_sounds_are_compared(tmp_path: Path) -> None:
    backbone = Backbone(catalog.find("ge2e"), Settings(device="cpu", threads=1))
    arrays = {"coef": matrix(3, dim=backbone.dim), "intercept": np.zeros(3, np.float32)}
    exported = of_head(belonging(head_of("logreg", arrays), backbone), "x.head")
    sounds = sorted((samples.folder() / "sounds").rglob("*.flac"))[::30]
    path = tmp_path / "x.onnx"
    written = deploy(path, exported, backbone, items=list(sounds))
    model = onnx.load(path)
    (maker,) = [each for each in model.graph.node if "window_embedding" in each.output]
    for node in model.graph.node:
        node.input[:] = [maker.input[0] if n == "window_embedding" else n for n in node.input]
    maker.op_type = "Neg"
    onnx.save(model, path)

    found = compare(path, exported, backbone, list(sounds), "inputs")

    assert written.comparison.vectors < 1e-5
    assert found.difference < 1e-5
    assert found.vectors == pytest.approx(2)


def test_weights_of_others_stay(linear_backbone: LinearBackbone, tmp_path: Path) -> None:
    path, wide = tmp_path / "x.onnx", linear_backbone(matrix(400, 1))
    stranger = tmp_path / "x.onnx.0123456789abcdef.data"
    stranger.write_text("precious")

    def exported(head: Head) -> Exportable:
        return of_head(belonging(head, wide), "x.head")

    _, weights = deploy(path, exported(linear_head()), wide, Form(external_above=1000)).files
    deploy(path, exported(linear_head("lda")), wide, Form(external_above=1000))
    assert weights.is_file()  # of both
    inside = deploy(path, exported(linear_head()), wide)

    assert inside.files == (path,)
    assert sorted(tmp_path.glob("x.onnx*")) == [path, stranger]
    assert stranger.read_text() == "precious"
