"""From a labelled source to a tuned backbone, or to a head on the frozen one."""

import io
import resource
import shutil
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

import tunable
from exported_models import FOLDER, exported_manifest
from featx import samples
from featx.backbone.backbone import Backbone
from featx.backbone.golden import golden_cosines
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.data.store import EmbeddingSet
from featx.embedding import embed_all
from featx.errors import InputError, SpaceError, StoreError
from featx.export.real import real_items
from featx.finetune import search
from featx.finetune.files import Files, require_space
from featx.finetune.gathered import gather
from featx.finetune.material import Material
from featx.finetune.recipe import Recipe
from featx.finetune.run import Outcome, Watch, tune
from featx.finetune.solved import Solved
from featx.finetune.solved import solve as solve_head
from featx.finetune.views import augmented
from featx.fingerprint import file_sha256
from featx.heads.headfile import load_head
from featx.heads.predict import check_space
from featx.modality.content import npy_bytes
from featx.types import Rows, Sample
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry, Manifest

STRONG = Recipe(lr=1e-2, epochs=6)
"""What teaches the small backbone to tell its items apart."""


STRONG_FOLDS = Recipe(lr=2e-2, epochs=8, batch_size=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a backbone, a source and what came of tuning one to the other."""
    folder = tmp_path_factory.mktemp("tuned")
    tunable.tunable(folder)
    tunable.save_items(folder / "items.npz", 700)
    return folder


@pytest.fixture(scope="module")
def tuned(folder: Path) -> Outcome:
    return run(folder, folder / "tuned.onnx", STRONG)


def run(folder: Path, out: Path, recipe: Recipe, source: str = "items.npz") -> Outcome:
    opened = open_source(folder / source, modality="array")
    whole = tunable.backbone(folder / "layers.toml")
    return tune(opened, whole, out, recipe, cache=folder / "cache")


def written(outcome: Outcome) -> Backbone:
    return tunable.backbone(outcome.files.manifest)


def test_a_tuned_backbone_tells_new_items_apart_that_the_frozen_one_cannot(
    folder: Path, tuned: Outcome
) -> None:
    X, y = tunable.items(1000, seed=9)
    head = load_head(folder / "tuned.head")

    answers = head.predict(written(tuned).encode(list(X)))

    assert tuned.is_tuned
    accuracy = np.mean([answer.label == label for answer, label in zip(answers, y, strict=True)])
    frozen, finetuned = (tuned.report[each]["accuracy"] for each in ("frozen", "finetuned"))
    assert frozen < 0.7
    assert finetuned > 0.8
    assert abs(accuracy - finetuned) < 0.08


def test_only_weights_after_the_cut_are_changed(folder: Path, tuned: Outcome) -> None:
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in onnx.load(folder / name).graph.initializer}
        for name in ("layers.onnx", "tuned.onnx")
    )

    assert tuned.report["cut"]["tensor"] == "layer2"
    assert before.keys() == after.keys()
    same = {name: np.array_equal(before[name], after[name]) for name in before}
    assert same == dict.fromkeys(["W1", "b1", "W2", "b2"], True) | {"W3": False, "b3": False}


def test_the_written_graph_is_plain_and_gives_what_numpy_gives(
    folder: Path, tuned: Outcome
) -> None:
    model = onnx.load(folder / "tuned.onnx")
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    X, _ = tunable.items(50, seed=2)

    value = X
    for number in (1, 2):
        value = np.maximum(value @ arrays[f"W{number}"] + arrays[f"b{number}"], 0)
    wanted = value @ arrays["W3"] + arrays["b3"]

    np.testing.assert_allclose(written(tuned).encode(list(X)), wanted, atol=1e-5)
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    assert tuned.report["difference"] <= 1e-5


def test_the_manifest_records_the_parent_and_has_a_space_of_its_own(
    folder: Path, tuned: Outcome
) -> None:
    parent, made = (Manifest.read(folder / f"{name}.toml") for name in ("layers", "tuned"))

    assert made.tuned is not None
    assert (made.name, made.tuned.parent, made.tuned.cut) == ("tuned", "layers", "layer2")
    assert made.tuned.parent_fingerprint == Backbone(parent).fingerprint
    assert made.space() != parent.space()
    assert Backbone(made).fingerprint != Backbone(parent).fingerprint
    assert not [check for check in catalog.check_files(made) if check.problem]
    assert made.summary == "layers with its last block tuned on 560 items of 2 classes"


def test_the_golden_vectors_are_those_of_the_tuned_backbone(tuned: Outcome) -> None:
    np.testing.assert_allclose(golden_cosines(written(tuned)), 1, atol=1e-6)


def test_old_vectors_are_refused_by_the_tuned_head(folder: Path, tuned: Outcome) -> None:
    parent = tunable.backbone(folder / "layers.toml")

    with pytest.raises(SpaceError, match=r"head was trained on tuned .+ -m tuned.toml -o"):
        check_space(tuned.head, parent.fingerprint, parent.space)

    assert check_space(tuned.head, written(tuned).fingerprint, written(tuned).space) is None


def test_a_tuned_set_is_embedded_and_old_vectors_are_not_mixed_in(
    folder: Path, tuned: Outcome, tmp_path: Path
) -> None:
    source = open_source(folder / "items.npz", modality="array")
    embed_all(source, tunable.backbone(folder / "layers.toml"), tmp_path / "old.emb")

    with pytest.raises(SpaceError, match="made with other settings"):
        embed_all(source, written(tuned), tmp_path / "old.emb")

    new = embed_all(source, written(tuned), tmp_path / "new.emb")
    assert new.model == "tuned"
    assert not np.allclose(new.X[:5], EmbeddingSet.open(tmp_path / "old.emb").X[:5], atol=0.1)


def test_the_head_is_calibrated_and_covers_what_it_promises(folder: Path, tuned: Outcome) -> None:
    X, y = tunable.items(1500, seed=5)
    head = tuned.head

    answers = head.predict(written(tuned).encode(list(X)))

    covered = np.mean([label in answer.set for answer, label in zip(answers, y, strict=True)])
    assert head.conformal is not None
    assert abs(covered - head.conformal.coverage) < 0.07
    assert (
        abs(np.mean([a.probability for a in answers]) - tuned.report["finetuned"]["accuracy"])
        < 0.08
    )


def test_an_equal_run_writes_equal_files(folder: Path, tuned: Outcome, tmp_path: Path) -> None:
    again = run(folder, tmp_path / "tuned.onnx", STRONG)

    for name in ("tuned.onnx", "tuned.toml", "tuned.head"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    assert again.report["history"] == tuned.report["history"]


def test_items_that_are_told_apart_anyway_keep_the_frozen_head(
    folder: Path, tmp_path: Path
) -> None:
    X, _ = tunable.items(600, seed=4)
    column = tunable.forward(X)[:, 0]
    np.savez(folder / "easy.npz", X=X, y=np.where(column > np.median(column), "a", "b"))

    outcome = run(folder, tmp_path / "x.onnx", Recipe(), "easy.npz")

    assert not outcome.is_tuned
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.head"]
    head = load_head(tmp_path / "x.head")
    assert head.header["space"] == Backbone(Manifest.read(folder / "layers.toml")).space
    assert outcome.report["tuned"] is False
    assert outcome.report["reason"].endswith("the frozen head is kept")
    assert outcome.report["out"] is None


def test_a_result_that_is_no_longer_tuned_takes_the_old_backbone_away(
    folder: Path, tuned: Outcome, tmp_path: Path
) -> None:
    run(folder, tmp_path / "x.onnx", STRONG)
    assert (tmp_path / "x.toml").exists()

    # A rate of nearly nothing changes no answer.
    run(folder, tmp_path / "x.onnx", replace(STRONG, lr=1e-12))

    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.head"]


def test_few_items_are_judged_by_folds_and_all_of_them_train(folder: Path, tmp_path: Path) -> None:
    tunable.save_items(folder / "few.npz", 200, seed=3)
    said: list[str] = []
    opened = open_source(folder / "few.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")
    recipe = Recipe(lr=2e-2, epochs=8, batch_size=16)

    outcome = tune(opened, whole, tmp_path / "x.onnx", recipe, watch=Watch(say=said.append))

    assert outcome.is_tuned
    assert outcome.report["validation"] == "5 folds"
    assert outcome.report["items"]["train"] == outcome.report["items"]["val"] == 200
    assert said[0].startswith("note: a validation part of 40 rows is too small to choose by")
    assert said[1].startswith("fold 1 of 5, epoch 1: loss ")
    assert said[-1].startswith(f"all rows, epoch {outcome.report['epochs']}: loss ")
    assert len(outcome.head.arrays["trained_digests"]) == 200
    assert outcome.head.novelty is None


def test_rows_of_split_test_judge_the_result_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    X, y = tunable.items(600, seed=6)
    splits = ["train"] * 300 + ["val"] * 150 + ["test"] * 150
    np.savez(folder / "parts.npz", X=X, y=y, split=np.array(splits))

    outcome = run(folder, tmp_path / "x.onnx", STRONG, "parts.npz")

    items, test = outcome.report["items"], outcome.report["test"]
    assert (items["train"], items["val"], items["test"]) == (300, 150, 150)
    answers = outcome.head.predict(written(outcome).encode(list(X[450:])))
    hits = np.mean([a.label == label for a, label in zip(answers, y[450:], strict=True)])
    assert test["finetuned"]["accuracy"] == pytest.approx(hits, abs=0.01)
    assert test["gain"]["n"] == 150


def test_norm_tunes_biases_alone_where_there_are_no_norms(folder: Path, tmp_path: Path) -> None:
    outcome = run(folder, tmp_path / "x.onnx", replace(STRONG, tune="norm", blocks=2))

    arrays = [
        {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        for path in (folder / "layers.onnx", tmp_path / "x.onnx")
    ]
    assert outcome.is_tuned
    changed = {name for name in arrays[0] if not np.array_equal(arrays[0][name], arrays[1][name])}
    assert changed == {"b2", "b3"}


def test_unit_vectors_are_tuned_as_unit_vectors(tmp_path: Path) -> None:
    tunable.tunable(tmp_path, normalize=True)
    tunable.save_items(tmp_path / "items.npz", 600)

    outcome = run(tmp_path, tmp_path / "x.onnx", STRONG)

    X, _ = tunable.items(20, seed=8)
    assert outcome.is_tuned
    assert Manifest.read(tmp_path / "x.toml").normalize
    np.testing.assert_allclose(
        np.linalg.norm(written(outcome).encode(list(X)), axis=1), 1, atol=1e-6
    )


def test_columns_that_never_change_do_no_harm_at_the_start(tmp_path: Path) -> None:
    tunable.tunable(tmp_path)
    model = onnx.load(tmp_path / "layers.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "W3":
            values = numpy_helper.to_array(tensor).copy()
            values[:, :3] *= 1e-9
            tensor.CopyFrom(numpy_helper.from_array(values, "W3"))
    raw = model.SerializeToString()
    (tmp_path / "layers.onnx").write_bytes(raw)
    tunable.describe(tmp_path)
    tunable.save_items(tmp_path / "items.npz", 600)

    outcome = run(tmp_path, tmp_path / "x.onnx", STRONG)

    frozen = outcome.report["frozen"]["accuracy"]
    history = outcome.report["history"]
    assert history[0]["accuracy"] >= frozen - 0.05
    assert max(epoch["loss"] for epoch in history) < 1


def test_a_loss_that_is_no_number_stops_and_keeps_the_best_until_then(
    folder: Path, tmp_path: Path
) -> None:
    X, y = tunable.items(600, seed=1)
    splits = np.array(["train"] * 400 + ["val"] * 200)
    np.savez(tmp_path / "items.npz", X=X, y=y, split=splits)

    def spoil(line: str) -> None:
        if line.startswith("epoch 2"):
            (path,) = (tmp_path / "cache").glob("activations/*/values")
            values = np.memmap(path, np.float16, mode="r+").reshape(600, -1)
            trained = tunable.before_last(X[:400])
            apart = np.abs(values[:, None] - trained).max(axis=2).min(axis=1)
            values[apart < 0.01] = np.nan

    opened = open_source(tmp_path / "items.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")
    cache, watch = tmp_path / "cache", Watch(say=spoil)

    outcome = tune(opened, whole, tmp_path / "x.onnx", STRONG, cache=cache, watch=watch)

    assert outcome.report["stopped"] == "the loss is not a number"
    assert [epoch["epoch"] for epoch in outcome.report["history"]] == [1, 2]
    assert outcome.is_tuned
    written = asdict(Manifest.read(tmp_path / "x.toml"))
    assert written["tuned"]["epochs"] == outcome.report["epochs"]


def test_a_rate_that_is_far_too_large_is_given_up(folder: Path, tmp_path: Path) -> None:
    tunable.save_items(folder / "long.npz", 2000)

    outcome = run(folder, tmp_path / "x.onnx", Recipe(lr=0.99, blocks=2), "long.npz")

    assert not outcome.is_tuned
    assert "more than 3 times that at the start" in outcome.report["stopped"]


def test_a_disk_without_room_for_the_result_is_told_before_the_training(tmp_path: Path) -> None:
    files = Files(tmp_path / "tuned.onnx")
    free = shutil.disk_usage(tmp_path).free

    require_space(files, free // 2)
    with pytest.raises(StoreError, match=r"tuned.onnx: .+ MB are free; a tuned backbone takes"):
        require_space(files, 2 * free)


def test_the_backbone_keeps_no_session_while_its_tail_is_trained(
    folder: Path, tmp_path: Path
) -> None:
    backbone = tunable.backbone(folder / "layers.toml")
    source = open_source(folder / "items.npz", modality="array")
    held: list[bool] = []
    watch = Watch(say=lambda _: held.append("session" in vars(backbone)))

    tune(source, backbone, tmp_path / "tuned.onnx", replace(STRONG, epochs=2), watch=watch)

    assert held == [False, False]


def test_an_interrupt_keeps_the_best_until_then(folder: Path, tmp_path: Path) -> None:
    def say(line: str) -> None:
        if line.startswith("epoch 3"):
            raise KeyboardInterrupt

    opened = open_source(folder / "items.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", STRONG, watch=Watch(say=say))

    assert isinstance(outcome.interrupt, KeyboardInterrupt)
    assert outcome.is_tuned
    assert outcome.report["stopped"] == "interrupted"
    assert outcome.report["epochs"] == 3
    written = asdict(Manifest.read(tmp_path / "x.toml"))
    assert written["tuned"]["epochs"] == outcome.report["epochs"]


def test_a_full_disk_while_activations_are_kept_ends_the_run_and_the_next_one_goes_on(
    folder: Path, tmp_path: Path
) -> None:
    X, y = tunable.items(600)
    X[1] = X[0]  # which a note tells of, after the items are embedded
    np.savez(tmp_path / "items.npz", X=X, y=y)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(line: str) -> None:
        if line.startswith("note: 1 row holds"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    opened = open_source(tmp_path / "items.npz", modality="array")
    whole, cache = tunable.backbone(folder / "layers.toml"), tmp_path / "cache"
    try:
        with pytest.raises(StoreError) as caught:
            tune(opened, whole, tmp_path / "x.onnx", STRONG, cache=cache, watch=Watch(say=fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert str(caught.value).startswith(str(cache / "activations"))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("x.*"))
    assert tune(opened, whole, tmp_path / "x.onnx", STRONG, cache=cache).is_tuned


@pytest.mark.parametrize("fold", ["fold 2 of 5, epoch 1", "fold 5 of 5, epoch 8"])
def test_an_interrupt_within_the_folds_keeps_the_frozen_head(
    folder: Path, tmp_path: Path, fold: str
) -> None:
    tunable.save_items(folder / "few.npz", 200, seed=3)

    def say(line: str) -> None:
        if line.startswith(fold):
            raise KeyboardInterrupt

    opened = open_source(folder / "few.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", STRONG_FOLDS, watch=Watch(say=say))

    assert isinstance(outcome.interrupt, KeyboardInterrupt)
    assert not outcome.is_tuned
    assert [path.name for path in tmp_path.iterdir()] == ["x.head"]


def test_an_interrupt_between_the_folds_keeps_the_frozen_head(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunable.save_items(folder / "few.npz", 200, seed=3)
    solved = []

    def solve(material: Material, rows: Rows, *, seed: int) -> Solved:
        solved.append(len(rows))
        if len(solved) == 3:
            raise KeyboardInterrupt
        return solve_head(material, rows, seed=seed)

    monkeypatch.setattr(search, "solve", solve)
    opened = open_source(folder / "few.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", STRONG_FOLDS)

    assert isinstance(outcome.interrupt, KeyboardInterrupt)
    assert outcome.report["stopped"] == "interrupted"
    assert solved[-1] == outcome.report["items"]["train"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.head"]


def test_of_an_id_that_stands_twice_the_first_item_counts(folder: Path, tmp_path: Path) -> None:
    X, y = tunable.items(300)
    members = [(f"{label}/{row}.npy", X[row]) for row, label in enumerate(y)]
    members.append((members[0][0], X[0] + 5))
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name, array in members:
            member = tarfile.TarInfo(name)
            member.size = len(raw := npy_bytes(array))
            archive.addfile(member, io.BytesIO(raw))
    source = open_source(tmp_path / "t.tar", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    found = gather(source, whole, tmp_path / "x.emb", cache=None, progress=lambda *_: None)

    first = next(name for name in found.embedded.ids if name.endswith(members[0][0]))
    vector = found.embedded.X[found.embedded.ids.index(first)]
    assert found.skipped == 1
    np.testing.assert_allclose(whole.encode([found.contents[first]])[0], vector, atol=1e-6)


@pytest.mark.usefixtures("tuned")
def test_what_a_killed_run_left_is_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    # The manifest would have come last.
    for name in ("tuned.head", "tuned.onnx", "golden/tuned.npz"):
        shutil.copy(folder / name, tmp_path / name)

    outcome = run(folder, tmp_path / "tuned.onnx", STRONG)

    assert outcome.is_tuned
    assert (tmp_path / "tuned.toml").read_bytes() == (folder / "tuned.toml").read_bytes()


def test_a_head_that_cannot_be_written_leaves_the_earlier_result(
    folder: Path, tmp_path: Path
) -> None:
    assert run(folder, tmp_path / "x.onnx", STRONG).is_tuned
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("x.*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(line: str) -> None:
        if line.startswith("epoch 6"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    opened = open_source(folder / "items.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")
    frozen = replace(STRONG, lr=1e-12)
    cache, watch = folder / "cache", Watch(say=fill)
    try:
        with pytest.raises(StoreError):
            tune(opened, whole, tmp_path / "x.onnx", frozen, cache=cache, watch=watch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    after = {path.name: path.read_bytes() for path in tmp_path.rglob("x.*") if path.is_file()}
    assert after == before
    assert sorted(before) == ["x.head", "x.npz", "x.onnx", "x.toml"]


def test_the_frozen_head_that_is_written_is_the_one_that_was_judged(
    folder: Path, tmp_path: Path
) -> None:
    X, y = tunable.items(700, seed=6)
    splits = np.array(["train"] * 150 + ["val"] * 150 + ["test"] * 400)
    np.savez(tmp_path / "items.npz", X=X, y=y, split=splits)
    opened = open_source(tmp_path / "items.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", replace(STRONG, lr=1e-12))

    said = load_head(tmp_path / "x.head").predict(whole.encode(list(X[300:])))
    hits = np.mean([answer.label == label for answer, label in zip(said, y[300:], strict=True)])
    assert not outcome.is_tuned
    assert hits == outcome.report["test"]["frozen"]["accuracy"]
    header = outcome.head.header
    assert header["finetune"] == {"parent": "layers", "tuned": False, "graph": None}
    assert not header.keys() & {"duplicates", "suspects"}  # none were searched


def test_a_class_that_no_item_judges_is_not_taken_for_novel(folder: Path, tmp_path: Path) -> None:
    X, y = tunable.items(600, seed=2)
    labels = y.astype("U8")
    labels[:40] = "rare"
    X[:40] += 4
    splits = np.array(["train"] * 400 + ["val"] * 200)
    np.savez(tmp_path / "items.npz", X=X, y=labels, split=splits)
    opened = open_source(tmp_path / "items.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", STRONG)

    assert outcome.is_tuned
    assert outcome.head.classes == ("other", "rare", "same")
    assert outcome.head.novelty is None


def save_files(folder: Path, n: int) -> Path:
    """Write a file for each item, in a folder for each class; return that of the first."""
    X, y = tunable.items(n)
    for row, label in enumerate(y):
        place = folder / label / f"{row}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, X[row])
    return folder / str(y[0]) / "0.npy"


def test_a_file_that_changes_after_it_was_embedded_ends_the_run(
    folder: Path, tmp_path: Path
) -> None:
    first = save_files(tmp_path / "items", 50)

    def change(line: str) -> None:
        if line.startswith("note: a validation part"):
            np.save(first, np.ones(4, np.float32))

    opened = open_source(tmp_path / "items", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    with pytest.raises(InputError, match=r"0\.npy: changed while it was used: .*; run it again"):
        tune(opened, whole, tmp_path / "x.onnx", STRONG, watch=Watch(say=change))


def test_files_that_go_away_while_it_trains_do_no_harm(folder: Path, tmp_path: Path) -> None:
    save_files(tmp_path / "items", 600)

    def clear(line: str) -> None:
        if line.startswith("epoch 1:"):
            shutil.rmtree(tmp_path / "items")

    opened = open_source(tmp_path / "items", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", STRONG, watch=Watch(say=clear))

    assert outcome.is_tuned
    assert outcome.report["difference"] <= 1e-5


def test_golden_items_are_samples_where_the_parent_has_none(folder: Path, tuned: Outcome) -> None:
    parent = tunable.backbone(folder / "layers.toml")

    with np.load(folder / "golden" / "tuned.npz") as golden:
        kept = {golden[name].tobytes() for name in golden.files if name.startswith("item_")}

    # None is the user's own: the file is passed on with the backbone.
    assert kept == {parent.read(item) for item in real_items(parent)[:8]}
    assert tuned.is_tuned


def test_items_of_no_split_beside_a_split_train_are_told(folder: Path, tmp_path: Path) -> None:
    X, y = tunable.items(400)
    splits = np.array(["train"] * 200 + ["val"] * 150 + [""] * 50)
    np.savez(tmp_path / "items.npz", X=X, y=y, split=splits)
    opened = open_source(tmp_path / "items.npz", modality="array")
    whole = tunable.backbone(folder / "layers.toml")

    outcome = tune(opened, whole, tmp_path / "x.onnx", replace(STRONG, epochs=1))

    note = "50 labelled items of no split are left out beside a split train"
    assert outcome.report["warnings"] == [note]


def test_texts_that_are_cut_are_told_and_counted(tmp_path: Path) -> None:
    words = [chr(97 + i) for i in range(26)]
    tokens = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}))
    tokens.pre_tokenizer = WhitespaceSplit()
    tokens.save(str(tmp_path / "tokenizer.json"))
    shutil.copy(FOLDER / "bert_dynamo.onnx", tmp_path)
    manifest = exported_manifest("bert_dynamo", folder=tmp_path)
    path = tmp_path / "tokenizer.json"
    entry = FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
    manifest = replace(manifest, files={**manifest.files, "tokenizer": entry})
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for row in range(24):
        drawn = rng.choice(words, 60 if row < 3 else 6)  # 32 tokens are the most
        lines.append(f"{' '.join(drawn)},{'early' if drawn[0] < 'n' else 'late'}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    opened = open_source(tmp_path / "t.csv", modality="text")
    whole = Backbone(manifest, Settings(device="cpu", threads=1))
    said: list[str] = []

    outcome = tune(
        opened, whole, tmp_path / "x.onnx", Recipe(epochs=1), watch=Watch(say=said.append)
    )

    assert outcome.report["truncated"] == 3
    assert "3 items were longer than the model takes, and were cut" in said


def test_mixed_items_and_smoothed_labels_teach_too(folder: Path, tmp_path: Path) -> None:
    recipe = replace(STRONG, mixup=0.2, label_smoothing=0.1)

    outcome = run(folder, tmp_path / "x.onnx", recipe)

    assert outcome.is_tuned
    assert outcome.report["gain"]["accuracy"] > 0.1


def test_views_are_crops_and_every_second_one_is_mirrored() -> None:
    darker = np.linspace(250, 5, 60) + np.linspace(0, 5, 40)[:, None]  # to the right
    pixels = np.repeat(darker.astype(np.uint8)[None, :, :, None], 3, axis=3)
    sample = Sample(inputs={"image": pixels}, cost=1)

    made = [augmented(sample, n, np.random.default_rng(n)).inputs["image"] for n in range(1, 9)]

    assert {view.shape for view in made} == {(1, 40, 60, 3)}
    is_left = [view[0, :, :10].mean() > view[0, :, -10:].mean() for view in made]
    assert is_left == [False, True] * 4
    again = augmented(sample, 1, np.random.default_rng(1)).inputs["image"]
    np.testing.assert_array_equal(again, made[0])
    assert len({view.tobytes() for view in made}) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sample", "recipe"),
    [
        ("efficientnet-lite0", "clipart", Recipe(epochs=2, views=2)),
        ("minilm-l6", "mails.csv", Recipe(epochs=1, tune="norm")),
    ],
)
def test_the_backbones_of_the_zoo_are_tuned(
    model: str, sample: str, recipe: Recipe, tmp_path: Path
) -> None:
    parent = Backbone(catalog.find(model), Settings(device="cpu"))
    opened = open_source(samples.folder() / sample, modality=parent.manifest.modality)

    outcome = tune(opened, parent, tmp_path / "x.onnx", recipe, cache=tmp_path / "cache")

    start, *_ = outcome.report["history"]
    assert start["accuracy"] >= outcome.report["frozen"]["accuracy"] - 0.03
    if outcome.is_tuned:
        assert outcome.report["difference"] <= 1e-5
        made = Manifest.read(tmp_path / "x.toml")
        np.testing.assert_allclose(golden_cosines(Backbone(made, parent.settings)), 1, atol=1e-5)
        graph = onnx.load(tmp_path / "x.onnx").graph
        wanted = list(parent.manifest.outputs.values())[:1]
        assert [output.name for output in graph.output] == wanted
