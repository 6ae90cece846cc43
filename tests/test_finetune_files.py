"""How the files of a fine-tuning run take their places, and what of an earlier one may be there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tunable
from featx.data.sources import open_source
from featx.errors import StoreError
from featx.finetune.files import Files, require_place
from featx.finetune.recipe import Recipe
from featx.finetune.run import tune
from featx.finetune.staging import staged

MOVES = 8
"""Head, graph, golden vectors and manifest: old ones are put aside, new ones into their places."""

KILL = """
import os, shutil, sys
from pathlib import Path
from featx.finetune.files import Files
from featx.finetune.staging import staged

def kill(event, _):
    global left
    if event == "os.rename":
        left -= 1
        if left < 0:
            os._exit(9)

new = Files(Path(sys.argv[1]))
for path in sys.argv[2:]:
    left = int(Path(path).parent.name)
    if os.fork():
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
        continue
    sys.addaudithook(kill)
    with staged(Files(Path(path))) as made:
        made.golden.parent.mkdir()
        for source, target in zip(new.in_order(), made.in_order()):
            if source.exists():
                shutil.copy(source, target)
"""
"""Replaces the results in folders 0, 1, ...; that in folder N is killed before move N."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    """Give two results of one name."""
    folder = tmp_path_factory.mktemp("results")
    parent = tunable.backbone(tunable.tunable(folder))
    tunable.save_items(folder / "items.npz", 600)
    found = []
    for seed in range(2):
        (folder / str(seed)).mkdir()
        out, recipe = folder / str(seed) / "x.onnx", Recipe(lr=1e-2, epochs=4, seed=seed)
        source = open_source(folder / "items.npz", modality="array")
        outcome = tune(source, parent, out, recipe, cache=folder / "cache")
        assert outcome.is_tuned
        found.append(outcome.files)
    return found


def put(files: Files, *names: str) -> None:
    """Write new files of these names over old ones."""
    with staged(files) as made:
        made.golden.parent.mkdir()
        for name in names:
            getattr(made, name).write_text("new")


def test_new_files_take_their_places_or_all_old_ones_stay(tmp_path: Path) -> None:
    files = Files(tmp_path / "x.onnx")
    for place in (files.head, files.graph, files.manifest):
        place.write_text(f"old {place.name}")
    files.golden.mkdir(parents=True)  # so that the last but one cannot be moved

    with pytest.raises(StoreError, match="a folder is in the way"):
        put(files, "golden", "graph", "head", "manifest", "tokenizer")

    there = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert there == {name: f"old {name}" for name in ("x.head", "x.onnx", "x.toml")}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["golden"]
    assert list(files.golden.iterdir()) == []


def test_what_has_no_successor_goes_away(tmp_path: Path) -> None:
    files = Files(tmp_path / "x.onnx")
    files.golden.parent.mkdir()
    for place in files.in_order():
        place.write_text("old")

    put(files, "head")

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["golden", "x.head"]
    assert files.head.read_text() == "new"


def test_a_run_that_is_killed_between_any_two_files_leaves_none_in_the_way(
    results: list[Files], tmp_path: Path
) -> None:
    old, new = results
    outs = [tmp_path / str(number) / "x.onnx" for number in range(MOVES)]
    for out in outs:
        shutil.copytree(old.folder, out.parent)

    subprocess.run([sys.executable, "-c", KILL, new.graph, *outs], check=True, timeout=60)

    assert [require_place(out).name for out in outs] == ["x"] * MOVES
    states = [tuple(place.exists() for place in Files(out).in_order()) for out in outs]
    assert len(set(states)) > 2
    # A manifest never stands beside a graph that is not its own.
    assert [Files(out).manifest.exists() for out in outs] == [True] + [False] * (MOVES - 1)


def test_a_graph_that_the_head_beside_it_does_not_name_is_no_remnant(
    results: list[Files], tmp_path: Path
) -> None:
    one, other = results
    shutil.copy(one.head, tmp_path)
    shutil.copy(other.graph, tmp_path)

    with pytest.raises(StoreError, match="a file that finetune did not write is in the way"):
        require_place(tmp_path / "x.onnx")


def test_a_manifest_under_another_name_is_in_the_way(results: list[Files], tmp_path: Path) -> None:
    shutil.copy(results[0].manifest, tmp_path / "copy.toml")

    with pytest.raises(StoreError, match="a file that finetune did not write is in the way"):
        require_place(tmp_path / "copy.onnx")
