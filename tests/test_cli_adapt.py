"""``featx adapt`` as people and programs use it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from command_line import call, done, refused
from featx.data.store import EmbeddingSet
from featx.heads.headfile import load_head

pytestmark = pytest.mark.usefixtures("own_cache")

Pixels = NDArray[np.float64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give digits with their head, others like them, and others whose contrast is half."""
    folder = tmp_path_factory.mktemp("domains")
    pixels, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, labels = pixels[order] / 16, np.array([f"digit {n}" for n in numbers[order]])
    embed(folder / "source", pixels[:500], labels[:500])
    embed(folder / "alike", pixels[500:900], labels[500:900])
    embed(folder / "faded", 0.5 * pixels[500:900] + 0.25)
    embed(folder / "test", 0.5 * pixels[900:1500] + 0.25, labels[900:1500])
    done("train", folder / "source.emb", "-o", folder / "x.head", "--head", "ridge")
    return folder


def embed(place: Path, X: Any, y: Any = None) -> Path:  # noqa: ANN401 - what NumPy saves
    arrays: dict[str, Any] = {"X": X} | ({} if y is None else {"y": np.array(y)})
    np.savez(place.with_suffix(".npz"), **arrays)
    out = place.with_suffix(".emb")
    done("embed", place.with_suffix(".npz"), "-m", "identity", "-o", out)
    return out


def report(*arguments: object) -> dict[str, Any]:
    (line,) = done(*arguments, "--json").splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def accuracy(head: Path, target: Path) -> float:
    return float(report("evaluate", head, target, "--no-raw-baseline")["accuracy"])


def test_auto_adapts_where_the_rows_speak_for_it(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.head"

    found = report("adapt", folder / "x.head", "--target", folder / "faded.emb", "-o", out)

    assert found["adapted"] is True
    assert found["expected_gain"] > 0.03
    assert 1.5 < found["shift"]["proxy_a_distance"] <= 2
    before, after = (accuracy(head, folder / "test.emb") for head in (folder / "x.head", out))
    assert after > before + 0.03
    assert load_head(out).header["adapted"]["method"] == found["method"]


def test_auto_keeps_the_head_byte_for_byte_where_nothing_has_shifted(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "d.head"

    found = report("adapt", folder / "x.head", "--target", folder / "alike.emb", "-o", out)

    assert found["adapted"] is False
    assert found["method"] is None
    assert "told apart" in found["reason"]
    assert out.read_bytes() == (folder / "x.head").read_bytes()


def test_a_method_that_no_shift_asks_for_is_told_so(folder: Path, tmp_path: Path) -> None:
    options = ("--target", folder / "alike.emb", "-o", tmp_path / "d.head", "--method", "coral")

    found = report("adapt", folder / "x.head", *options)

    assert found["adapted"] is True
    assert found["shift"]["interval"][0] == 0
    assert any("there may be nothing to adapt to" in note for note in found["notes"])


def test_a_set_in_the_place_of_a_head_is_named(folder: Path, tmp_path: Path) -> None:
    source, out = folder / "source.emb", tmp_path / "d.head"

    line = refused("adapt", source, "--target", folder / "alike.emb", "-o", out)

    assert line == (
        f"{source}: not a head; it is an embedding set; train one with:"
        f" featx train {source} -o {source.with_suffix('.head')}"
    )


def test_a_person_reads_the_shift_the_method_and_the_reason(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.head"

    lines = done(
        "adapt",
        folder / "x.head",
        "--target",
        folder / "faded.emb",
        "-o",
        out,
        "--method",
        "zscore",
    ).splitlines()

    assert [line[:22].strip() for line in lines[:3]] == [
        "proxy A-distance", "prior shift", "unlike anything",
    ]  # fmt: skip
    assert lines[-1] == f"{out}: adapted by zscore: as asked"
    assert not any("nan" in line or "np." in line for line in lines)


def test_an_adapted_head_is_an_ordinary_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.head"
    done(
        "adapt", folder / "x.head", "--target", folder / "faded.emb", "-o", out, "--method", "coral"
    )

    head, source = load_head(out), load_head(folder / "x.head")

    assert (head.kind, head.classes) == (source.kind, source.classes)
    assert head.conformal is None
    assert "metrics" not in head.header
    scored = report("evaluate", out, folder / "test.emb", "--no-raw-baseline")
    assert scored["adapted_to"] == {"n": 0}
    predicted = done("predict", out, folder / "test.emb", "--format", "jsonl").splitlines()
    facts = [json.loads(line) for line in predicted]
    assert all(each["set"] == [each["label"]] for each in facts)
    assert 0.01 < np.mean([each["novel"] for each in facts]) < 0.12


def test_a_set_that_was_moved_with_its_head_is_found(folder: Path, tmp_path: Path) -> None:
    for name in ("x.head", "source.emb"):
        place = tmp_path / name
        (shutil.copytree if (folder / name).is_dir() else shutil.copy)(folder / name, place)
    gone = tmp_path / "elsewhere"
    gone.mkdir()
    shutil.copy(folder / "x.head", gone / "x.head")
    target = ("--target", folder / "faded.emb", "-o", tmp_path / "d.head")

    beside = report("adapt", tmp_path / "x.head", *target)

    assert beside["shift"]["proxy_a_distance"] > 1.5
    assert not [note for note in beside["notes"] if "--source" in note]


def test_without_its_rows_auto_refuses_and_a_method_does_with_what_the_head_remembers(
    folder: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("source", "faded", "test"):
        shutil.copytree(folder / f"{name}.emb", moved / f"{name}.emb")
    done("train", moved / "source.emb", "-o", moved / "x.head", "--head", "ridge")
    shutil.rmtree(moved / "source.emb")
    command = ("adapt", moved / "x.head", "--target", moved / "faded.emb", "-o", moved / "d.head")

    kept = report(*command)
    adapted = report(*command, "--method", "coral")

    assert kept["adapted"] is False
    assert "--source" in kept["reason"]
    assert kept["shift"]["proxy_a_distance"] is None
    assert adapted["adapted"] is True
    with_rows = tmp_path / "with.head"
    done(
        "adapt", folder / "x.head", "--target", folder / "faded.emb", "-o", with_rows,
        "--method", "coral",
    )  # fmt: skip
    np.testing.assert_allclose(
        load_head(moved / "d.head").arrays["coef"], load_head(with_rows).arrays["coef"], atol=0.02
    )


def test_labels_of_the_target_are_read_by_one_method_alone(folder: Path, tmp_path: Path) -> None:
    pixels, numbers = load_digits(return_X_y=True)
    labels = np.array([f"digit {n}" for n in numbers])
    target = embed(tmp_path / "some", 1 - pixels[:60] / 16, labels[:60])
    test = embed(tmp_path / "more", 1 - pixels[600:1200] / 16, labels[600:1200])
    command = ("adapt", folder / "x.head", "--target", target, "-o", tmp_path / "d.head")

    blind = report(*command, "--method", "centre")
    seen = report(*command, "--method", "labelled")

    assert (blind["expected_gain"], blind["interval"]) == (None, None)
    assert seen["expected_gain"] > 0.3
    assert accuracy(tmp_path / "d.head", test) > accuracy(folder / "x.head", test) + 0.3
    low, high = seen["interval"]
    assert 0 < low < seen["expected_gain"] < high < 1
    # Of digits in much white twelve are nearly equal to another.
    assert load_head(tmp_path / "d.head").header["metrics"]["n"] == 48
    assert "trained on all 60" in refused("evaluate", tmp_path / "d.head", target)


def test_labels_of_a_target_that_is_all_test_are_not_read(folder: Path, tmp_path: Path) -> None:
    pixels, numbers = load_digits(return_X_y=True)
    labels = np.array([f"digit {n}" for n in numbers[:60]])
    target = embed(tmp_path / "some", 1 - pixels[:60] / 16, labels)
    held = EmbeddingSet.open(target)
    table = tmp_path / "splits.csv"
    table.write_text("id,split\n" + "".join(f"{each},test\n" for each in held.ids))
    done("label", target, table)
    command = ("adapt", folder / "x.head", "--target", target, "-o", tmp_path / "d.head")

    line = refused(*command, "--method", "labelled")

    assert line.startswith("labelled: the target has no labels")


def test_items_the_head_was_trained_on_are_no_target(folder: Path, tmp_path: Path) -> None:
    found = report(
        "adapt", folder / "x.head", "--target", folder / "source.emb", "-o", tmp_path / "d.head"
    )

    assert found["adapted"] is False
    assert (
        found["reason"] == "the target holds no other items than those that the head was trained on"
    )
    assert found["shift"] == {}
    assert (tmp_path / "d.head").read_bytes() == (folder / "x.head").read_bytes()


def test_five_rows_are_refused_by_auto_and_by_name(folder: Path, tmp_path: Path) -> None:
    target = embed(tmp_path / "few", np.random.default_rng(0).random((5, 64)))
    command = ("adapt", folder / "x.head", "--target", target, "-o", tmp_path / "d.head")

    assert report(*command)["reason"].startswith("5 rows of the target")
    assert refused(*command, "--method", "coral").startswith("coral: the target has 5 rows;")


def test_a_target_of_other_classes_is_refused(folder: Path, tmp_path: Path) -> None:
    target = embed(tmp_path / "cats", np.random.default_rng(0).random((30, 64)), ["cat"] * 30)

    line = refused("adapt", folder / "x.head", "--target", target, "-o", tmp_path / "d.head")

    assert line.startswith(
        f"{target}: its labels are cat, and none is a class of the head (digit 0"
    )
    assert not (tmp_path / "d.head").exists()


def test_a_target_of_another_backbone_is_refused_with_the_command_that_mends_it(
    folder: Path, tmp_path: Path
) -> None:
    target = embed(tmp_path / "wide", np.random.default_rng(0).random((30, 65)))

    line = refused("adapt", folder / "x.head", "--target", target, "-o", tmp_path / "d.head")

    assert line.startswith(f"{target}: embeddings of identity, 65 wide (space ")
    assert "; run: featx embed SOURCE -m identity" in line


def test_a_source_of_another_backbone_is_refused(folder: Path, tmp_path: Path) -> None:
    source = embed(tmp_path / "wide", np.random.default_rng(0).random((30, 65)), ["digit 0"] * 30)
    out = tmp_path / "d.head"

    line = refused(
        "adapt", folder / "x.head", "--target", folder / "faded.emb", "-o", out, "--source", source
    )

    assert line.startswith(f"{source}: embeddings of identity, 65 wide (space ")
    assert not out.exists()


def test_a_head_is_adapted_once(folder: Path, tmp_path: Path) -> None:
    target = ("--target", folder / "faded.emb", "--method", "centre")
    done("adapt", folder / "x.head", *target, "-o", tmp_path / "once.head")

    line = refused("adapt", tmp_path / "once.head", *target, "-o", tmp_path / "twice.head")

    assert line == "adapt: this head was adapted already; adapt the one that it was made of"


def test_other_mistakes_are_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    head, target, out = folder / "x.head", folder / "faded.emb", tmp_path / "d.head"

    def line(*options: object) -> str:
        return refused("adapt", head, "--target", target, *options)

    assert line("-o", out, "--method", "corral") == "unknown method 'corral'; did you mean 'coral'?"
    assert line("-o", head).startswith(f"{head}: is read by this command;")
    assert line("-o", out, "--method", "labelled").startswith("labelled: the target has no labels")
    assert "that the head was trained on;" in line("-o", out, "--source", folder / "alike.emb")
    assert refused("adapt", head, "--target", head, "-o", out) == (
        f"{head}: not an embedding set; it is a head; name a set, X.emb"
    )
    exported = folder / "exported.onnx"
    exported.write_bytes(b"\x08\x08")
    assert refused("adapt", exported, "--target", target, "-o", out) == (
        f"{exported}: not a head; it is an ONNX file; name the head it was made of, X.head"
    )
    assert call("adapt", head, "-o", out).exit_code == 2


def test_heads_of_tags_and_of_values_are_refused(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    place = embed(tmp_path / "values", X, [f"{row.sum():.3f}" for row in X])
    done("train", place, "-o", tmp_path / "x.head", "--task", "regress")

    line = refused("adapt", tmp_path / "x.head", "--target", place, "-o", tmp_path / "d.head")

    assert line == "adapt: the head's task is 'regress'; expected 'classify'"
