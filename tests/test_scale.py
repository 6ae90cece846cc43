"""Sets that are made unit by unit: the same rows as one plain run, whatever happens."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import call, done
from featx.backbone.backbone import Backbone, identity
from featx.data.store import EmbeddingSet
from featx.embedding import Policy, Progress
from featx.embedding.policy import MaxErrors
from featx.errors import ChangedError, InputError, ItemError, SpaceError, StoreError
from featx.scale.destination import LEFTOVER_S, Destination
from featx.scale.engine import InProcess
from featx.scale.run import ScaledRun
from featx.types import Item, Vectors
from scaling import DIM, SIZE, Listed, Scaled, names, numbers

LinearBackbone = Callable[[Vectors], Backbone]


@pytest.fixture
def scaled(tmp_path: Path) -> Scaled:
    return Scaled(tmp_path / "t.npz", Backbone(identity(DIM)), tmp_path / "t.emb")


def test_units_hold_the_rows_of_a_plain_run(
    scaled: Scaled, linear_backbone: LinearBackbone
) -> None:
    scaled.backbone = linear_backbone(np.ascontiguousarray(numbers(DIM, seed=3)[:, :2]))
    labels = [f"c{number % 3}" for number in range(200)]

    progress = scaled.embed(numbers(200), names(200), labels)

    scaled.plain()
    plain = EmbeddingSet.open(scaled.out.with_suffix(".plain"))
    assert scaled.set.items.equals(plain.items)
    np.testing.assert_allclose(scaled.vectors, np.asarray(plain.X), rtol=1e-6)
    assert progress == Progress(total=200, embedded=200)
    assert scaled.set.finished
    assert 6 <= len(scaled.set.segments) <= 20


def test_a_second_run_encodes_and_writes_nothing(scaled: Scaled) -> None:
    scaled.embed(numbers(100), names(100))
    before = scaled.written

    progress = scaled.run()

    assert progress == Progress(total=100, kept=100)
    assert scaled.written == before


def test_an_item_in_front_changes_one_unit(scaled: Scaled) -> None:
    X = numbers(300)
    scaled.embed(X, names(300))
    before = scaled.written

    scaled.embed(np.concatenate([numbers(1, seed=9), X]), ["new", *names(300)])

    changed = scaled.written.keys() ^ before.keys()
    assert len(scaled.written.keys() - before.keys()) == 1
    assert len(scaled.set.segments) == len(before)
    assert scaled.set.ids == ["new", *names(300)]
    np.testing.assert_array_equal(scaled.vectors[1:], X)
    # The file that was replaced stays for a day, for those who read it just now.
    assert all(name in scaled.written for name in changed)


def test_a_set_follows_its_source(scaled: Scaled) -> None:
    X, new = numbers(100), numbers(2, seed=1)
    scaled.embed(X, names(100), ["a"] * 100)

    # i10 changed, i20 is gone, "new" came in the middle, and i30 has another label
    X2 = np.concatenate([X[:10], new[:1], X[11:20], X[21:50], new[1:], X[50:]])
    ids = [*names(50)[:20], *names(50)[21:], "new", *names(100)[50:]]
    labels = ["b" if name == "i30" else "a" for name in ids]
    progress = scaled.embed(X2, ids, labels)

    assert scaled.set.ids == ids
    np.testing.assert_array_equal(scaled.vectors, X2)
    assert scaled.set.y.tolist() == labels
    assert scaled.removed == 1
    assert progress.kept + progress.embedded == 100


def test_new_labels_encode_nothing(scaled: Scaled) -> None:
    X = numbers(100)
    scaled.embed(X, names(100), ["a"] * 100)
    before = scaled.written

    progress = scaled.embed(X, names(100), ["b"] * 50 + ["a"] * 50)

    assert (progress.embedded, progress.kept) == (0, 100)
    assert scaled.set.y.tolist() == ["b"] * 50 + ["a"] * 50
    assert scaled.written == before


def test_labels_that_only_the_set_knows_stay_when_their_unit_changes(
    scaled: Scaled, tmp_path: Path
) -> None:
    X = numbers(100)
    scaled.embed(X, names(100))
    (tmp_path / "l.csv").write_text("id,label\ni0,cat\ni50,dog\n")
    done("label", scaled.out, tmp_path / "l.csv")
    X[1] += 1

    progress = scaled.embed(X, names(100))

    assert 1 <= progress.embedded < 50
    found = dict(zip(scaled.set.ids, scaled.set.y, strict=True))
    assert {name: label for name, label in found.items() if label} == {"i0": "cat", "i50": "dog"}


def test_what_cannot_be_embedded_is_listed_as_by_a_plain_run(scaled: Scaled) -> None:
    X = numbers(100)
    X[[3, 60]] = np.nan

    progress = scaled.embed(X, names(100))

    scaled.plain()
    plain = scaled.out.with_suffix(".plain")
    listed = (scaled.out / "errors.jsonl").read_text()
    assert listed == (plain / "errors.jsonl").read_text()
    assert [json.loads(line)["id"] for line in listed.splitlines()] == ["i3", "i60"]
    assert (progress.embedded, progress.errors) == (98, 2)
    assert scaled.set.ids == EmbeddingSet.open(plain).ids


def test_what_failed_is_tried_again_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    files = [folder / f"{number:03d}.npy" for number in range(60)]
    for file, row in zip(files, numbers(60), strict=True):
        np.save(file, row)
    good = files[30].read_bytes()
    stat = files[30].stat()
    files[30].write_bytes(b"x" * len(good))
    os.utime(files[30], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    items = [Item(id=file.name, content=file) for file in files]
    backbone, out = Backbone(identity(DIM)), tmp_path / "t.emb"
    facts, source = backbone.facts, Listed(items)
    with Destination.open(out, "0000", model=facts, source=source.describe()) as destination:
        destination.commit([], finished=False, size=SIZE)
    *_, first = ScaledRun(source, InProcess(backbone), out).steps()
    *_, second = ScaledRun(source, InProcess(backbone), out).steps()

    files[30].write_bytes(good)
    os.utime(files[30], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    *_, third = ScaledRun(source, InProcess(backbone), out).steps()

    assert (first.embedded, first.errors) == (59, 1)
    assert (second.embedded, second.kept, second.errors) == (0, 59, 1)
    assert (third.embedded, third.kept, third.errors) == (1, 59, 0)
    emb = EmbeddingSet.open(out)
    assert sorted(emb.ids) == [file.name for file in files]
    row = emb.ids.index("030.npy")
    np.testing.assert_array_equal(np.asarray(emb.X)[row], np.load(files[30]))
    assert (out / "errors.jsonl").read_text() == ""


def test_too_many_failures_end_a_run_and_what_is_done_is_kept(scaled: Scaled) -> None:
    X = numbers(200)
    X[100:110] = np.nan
    scaled.save(X, names(200))

    with pytest.raises(ItemError, match="10 of 200 items could not be embedded"):
        scaled.run(Policy(max_errors=MaxErrors(5)))

    assert not scaled.set.finished
    progress = scaled.run()
    assert progress.kept > 0
    assert progress.kept + progress.embedded == 190
    assert scaled.set.finished


def test_a_source_without_one_good_item_is_refused(scaled: Scaled) -> None:
    scaled.save(np.full((20, DIM), np.nan, dtype=np.float32), names(20))

    with pytest.raises(InputError, match="nothing could be embedded; first problem: i0: "):
        scaled.run()

    assert scaled.embed(numbers(20), names(20)) == Progress(total=20, embedded=20)


def test_an_id_that_occurs_twice_in_different_units_is_an_error(tmp_path: Path) -> None:
    X = numbers(60)
    items = [Item(id=name, content=x) for name, x in zip(names(60), X, strict=True)]
    source = Listed([*items, Item(id="i2", content=X[5])])
    backbone, out = Backbone(identity(DIM)), tmp_path / "t.emb"
    with Destination.open(out, "0000", model=backbone.facts, source={}) as destination:
        destination.commit([], finished=False, size=SIZE)

    *_, progress = ScaledRun(source, InProcess(backbone), out).steps()

    emb = EmbeddingSet.open(out)
    assert emb.ids == names(60)
    np.testing.assert_array_equal(np.asarray(emb.X), X)
    assert progress.first_errors == (
        ("i2", "its id occurs twice in the source; give each item its own"),
    )


def test_another_writer_on_this_machine_is_refused(scaled: Scaled) -> None:
    scaled.save(numbers(50), names(50))
    scaled.begin()
    facts, source = scaled.backbone.facts, scaled.source.describe()

    with (
        Destination.open(scaled.out, "1111", model=facts, source=source),
        pytest.raises(StoreError, match="another process is writing to it"),
    ):
        scaled.run()


def test_tables_of_two_runs_have_names_of_their_own(scaled: Scaled) -> None:
    scaled.embed(numbers(50), names(50))
    facts, source = scaled.backbone.facts, scaled.source.describe()

    with Destination.open(scaled.out, "1111", model=facts, source=source) as destination:
        entry = destination.entries[0]
        table = destination.table(entry)
        first, second = (destination.replace_table(entry, table) for _ in range(2))

    assert first["items"] != second["items"]
    assert first["revision"] == second["revision"] == 1
    for made in (first, second):
        assert destination.table(made) == table


def test_a_manifest_that_another_run_has_committed_is_not_replaced(scaled: Scaled) -> None:
    scaled.embed(numbers(50), names(50))
    facts, source = scaled.backbone.facts, scaled.source.describe()

    with Destination.open(scaled.out, "1111", model=facts, source=source) as destination:
        raw = (scaled.out / "manifest.json").read_bytes()
        (scaled.out / "manifest.json").write_bytes(raw + b"\n")
        with pytest.raises(ChangedError, match="another run has written to it meanwhile; wait"):
            destination.commit([], finished=False, size=SIZE)

    assert scaled.set.ids == names(50)


def test_a_plain_run_goes_on_with_a_set_of_units(scaled: Scaled) -> None:
    X = numbers(100)
    scaled.embed(X, names(100))
    run = scaled.plain(scaled.out)
    X[40] += 1
    scaled.save(X, names(100))

    again = scaled.plain(scaled.out)

    assert (run.removed, again.removed) == (0, 0)
    assert scaled.set.ids == names(100)
    np.testing.assert_array_equal(scaled.vectors, X)
    with pytest.raises(InputError, match="holds rows that were embedded without --engine; go on"):
        scaled.run()


def test_units_go_on_after_a_plain_run_that_changed_nothing(scaled: Scaled) -> None:
    scaled.embed(numbers(100), names(100))
    before = scaled.written
    scaled.plain(scaled.out)

    progress = scaled.run()

    assert progress == Progress(total=100, kept=100)
    assert scaled.written == before


def test_a_set_that_was_begun_without_units_is_refused(scaled: Scaled) -> None:
    scaled.save(numbers(20), names(20))
    scaled.plain(scaled.out)

    with pytest.raises(InputError, match="embedded without --engine; go on without it, or choose"):
        scaled.run()

    assert scaled.set.ids == names(20)


def test_a_set_of_another_backbone_is_refused(
    scaled: Scaled, linear_backbone: LinearBackbone
) -> None:
    scaled.embed(numbers(20), names(20))
    scaled.backbone = linear_backbone(np.eye(DIM, dtype=np.float32))

    with pytest.raises(SpaceError, match=r"holds vectors of identity .* than linear"):
        scaled.run()


def test_a_folder_of_something_else_is_refused(scaled: Scaled) -> None:
    scaled.out.mkdir()
    (scaled.out / "notes.txt").touch()
    scaled.save(numbers(5), names(5))

    with pytest.raises(StoreError, match="a folder that is no embedding set"):
        scaled.begin()


def test_files_that_no_manifest_names_are_deleted_when_they_are_old(scaled: Scaled) -> None:
    scaled.save(numbers(20), names(20))
    scaled.begin()
    fresh, old = (scaled.out / f"segment-00000-{run}0000.npy" for run in ("aaaa", "bbbb"))
    for file in (fresh, old):
        file.touch()
    long_ago_s = old.stat().st_mtime - LEFTOVER_S - 60
    os.utime(old, (long_ago_s, long_ago_s))

    scaled.run()

    assert fresh.exists()
    assert not old.exists()
    assert scaled.set.ids == names(20)


def test_the_command_writes_units_with_an_engine_and_to_a_url(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=numbers(30), ids=names(30))
    plain = ["embed", tmp_path / "t.npz", "-m", "identity", "--no-cache"]

    said = done(*plain, "-o", f"file://{tmp_path}/a.emb")
    done(*plain, "--engine", "local", "-o", tmp_path / "b.emb", "--json")

    assert said.startswith(f"file://{tmp_path}/a.emb: 30 items, 30 embedded")
    for name in ("a.emb", "b.emb"):
        emb = EmbeddingSet.open(tmp_path / name)
        assert emb.ids == names(30)
        assert all("unit" in entry for entry in emb.manifest["segments"])
        np.testing.assert_array_equal(np.asarray(emb.X), numbers(30))


def test_options_of_workers_need_ray(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", numbers(3))
    asked = ["embed", tmp_path / "x.npy", "-m", "identity", "-o", tmp_path / "x.emb"]

    result = call(*asked, "--workers", "2")

    assert result.exit_code == 1
    assert result.stderr == "error: --workers: is for workers of Ray; add --engine ray\n"
