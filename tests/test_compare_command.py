"""``featx compare`` as people and programs use it, and what they get wrong."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import comparing
from command_line import call, done, objects, refused
from featx import samples
from featx.report.elements import DASH
from featx.zoo import catalog
from featx.zoo.writing import write_manifest

pytestmark = pytest.mark.usefixtures("own_cache")

MAILS = samples.folder() / "mails.csv"

KEYS = {
    "best", "level", "fastest", "verdict", "modality", "items", "backbones", "mixes",
    "skipped_backbones", "notes", "seconds",
}  # fmt: skip
OF_EACH = {
    "name", "accuracy", "interval", "n", "level", "difference", "dropped", "heads", "logme",
    "items_per_s", "on_front", "dim", "size_bytes",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give items, and three backbones for them."""
    folder = tmp_path_factory.mktemp("compared")
    comparing.save_items(folder / "items.npz", 300)
    for name, columns in {"half": range(4, 12), "none": range(12, 20), "whole": range(8)}.items():
        comparing.seeing(folder, name, columns)
    return folder


def command(folder: Path, *options: object, names: str = "half none whole") -> list[object]:
    models = [part for name in names.split() for part in ("-m", folder / f"{name}.toml")]
    return ["compare", folder / "items.npz", *models, *options]


def facts(*arguments: object) -> dict[str, Any]:
    (found,) = objects(done(*arguments, "--json"))
    return found


def test_json_is_one_object_with_what_is_promised(folder: Path) -> None:
    found = facts(*command(folder))

    assert found.keys() == KEYS
    assert (found["best"], found["level"], found["modality"]) == ("whole", [], "array")
    assert found["items"] == {
        "labelled": 300, "looked_at": 300, "compared": 300, "skipped": 0, "classes": 3,
    }  # fmt: skip
    assert [each["name"] for each in found["backbones"]] == ["whole", "half", "none"]
    assert all(each.keys() == OF_EACH for each in found["backbones"])
    whole, half, _ = found["backbones"]
    assert whole["interval"][0] < whole["accuracy"] < whole["interval"][1]
    assert whole["difference"] is None
    assert half["difference"]["interval"][1] < 0
    assert whole["on_front"]
    assert min(each["items_per_s"] for each in found["backbones"]) > 0


def test_people_see_a_line_a_backbone_and_what_to_take(folder: Path) -> None:
    result = call(*command(folder))

    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines[0] == (
        f"{folder / 'items.npz'}: 300 of 300 labelled items, 3 classes, each item left out in turn"
    )
    assert " ".join(lines[1].split()[:6]) == ("backbone accuracy interval difference its interval")
    assert [line[2:].split()[0] for line in lines[2:5]] == ["whole", "half", "none"]
    assert [line[0] for line in lines[2:5]] == ["*", " ", " "]
    assert "whole is the best of 3, by more than chance on 300 items" in lines[5:]
    assert "nan" not in result.stdout


def test_what_was_compared_is_not_embedded_again(folder: Path, tmp_path: Path) -> None:
    def ranked() -> list[Any]:
        found = facts(*command(folder, "--cache-dir", tmp_path))
        return [(each["name"], each["accuracy"], each["logme"]) for each in found["backbones"]]

    first = ranked()

    options = ("-o", tmp_path / "x.emb", "--cache-dir", tmp_path)
    found = facts("embed", folder / "items.npz", "-m", folder / "whole.toml", *options)
    assert (found["embedded"], found["cached"]) == (0, 300)
    assert ranked() == first


def test_a_page_shows_the_same(folder: Path, tmp_path: Path) -> None:
    out = done(*command(folder, "-o", tmp_path / "x.html"))

    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert out.splitlines()[-1] == f"{tmp_path / 'x.html'}: the same as a page, with a plot"
    assert "<h1>3 backbones compared</h1>" in html
    assert "whole is the best of 3, by more than chance on 300 items" in html
    assert html.count('<th scope="row">whole</th>') == 2
    assert '<figure class="plot"' in html


def test_where_names_have_no_room_a_plot_has_the_numbers_of_the_table(
    folder: Path, tmp_path: Path
) -> None:
    done(*command(folder, "-o", tmp_path / "x.html"))

    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    (plot,) = re.findall(r'<script type="application/json">(.*)</script>', html)
    tags = re.findall(r'"visible=(\w+)"', plot)
    assert sorted(tags) == ["narrow", "wide"]
    for number, name in enumerate(["whole", "half", "none"], start=1):
        assert f'<th scope="row">{name}</th><td class="number">{number}</td>' in html
        assert f'"{name}"' in plot
        assert f'"{number}"' in plot


def test_rows_may_be_a_number_or_all(folder: Path) -> None:
    assert facts(*command(folder, "--rows", 60))["items"]["compared"] == 60
    assert facts(*command(folder, "--rows", "all"))["items"]["compared"] == 300
    assert call(*command(folder, "--rows", "0")).exit_code == 2
    assert call(*command(folder, "--rows", "many")).exit_code == 2


def test_a_budget_is_kept(folder: Path) -> None:
    found = facts(*command(folder, "--budget", 60))

    assert found["best"] == "whole"
    assert found["seconds"] < 60
    assert call(*command(folder, "--budget", "0")).exit_code == 2


def test_a_speed_that_there_was_no_time_for_is_no_number(folder: Path, tmp_path: Path) -> None:
    lines = done(*command(folder, "--budget", 1e-9, "-o", tmp_path / "x.html")).splitlines()

    assert [line.split()[-4:] for line in lines[2:5]] == [
        ["-", "8", size, "64"] for size in [line.split()[-2] for line in lines[2:5]]
    ]
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert html.count(f'<td class="number">{DASH}</td><td class="number">8</td>') == 3
    assert '<figure class="plot"' not in html
    assert "Time was over before a speed was measured." in html
    assert html.count(f"{DASH}</td></tr>") == 3  # nobody knows what is on the front
    assert lines[-1] == f"{tmp_path / 'x.html'}: the same as a page"


def test_arrays_may_be_compared_as_they_are(folder: Path) -> None:
    found = facts(*command(folder, "-m", "identity", names="whole none"))

    names = [each["name"] for each in found["backbones"]]
    assert sorted(names) == ["identity", "none", "whole"]
    (identity,) = (each for each in found["backbones"] if each["name"] == "identity")
    assert (identity["dim"], identity["size_bytes"]) == (comparing.WIDTH, 0)


def test_all_takes_what_suits_and_says_what_it_skips(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_ZOO", str(folder))

    result = call("compare", folder / "items.npz", "--all", "--json")

    assert result.exit_code == 0
    (found,) = objects(result.stdout)
    assert {each["name"] for each in found["backbones"]} == {"half", "identity", "none", "whole"}
    others = set(catalog.names()) - {"half", "none", "whole"}
    assert found["skipped_backbones"].keys() == others
    assert "skipped ge2e: takes 'audio', the items are 'array'" in result.stderr.splitlines()


def test_skipped_items_are_listed_and_exit_with_three(folder: Path, tmp_path: Path) -> None:
    import numpy as np

    X, y = comparing.items(60)
    for number, (row, label) in enumerate(zip(X, y, strict=True)):
        place = tmp_path / "items" / label / f"{number:02}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, row if number else row[:3])
    models = ("-m", folder / "whole.toml", "-m", folder / "none.toml")

    result = call("compare", tmp_path / "items", *models)

    assert result.exit_code == 3
    assert result.stderr.splitlines()[0].startswith("skipped class 0/00.npy: has shape (3,)")
    assert ": 59 of 60 labelled items, " in result.stdout


def test_one_backbone_is_refused_however_often_it_is_named(folder: Path) -> None:
    line = refused(*command(folder, names="whole whole"))

    assert line.startswith("compare: one backbone, whole; expected two or more; name, fetch or")


@pytest.mark.parametrize("options", [(), ("--all", "-m", "identity")])
def test_backbones_are_named_or_all_are_taken(folder: Path, options: tuple[str, ...]) -> None:
    result = call("compare", folder / "items.npz", *options)

    assert result.exit_code == 2
    assert "name backbones with -m, or take all that fit with --all" in result.stderr


def test_backbones_of_two_kinds_are_refused_by_the_one_that_does_not_fit() -> None:
    line = refused("compare", MAILS, "-m", "minilm-l6", "-m", "efficientnet-lite0")

    assert line == (
        f"efficientnet-lite0: takes items of kind 'image', but {MAILS} holds 'text'; leave it out"
    )


def test_what_cannot_be_compared_is_one_line(folder: Path, tmp_path: Path) -> None:
    models = command(folder)[2:]
    done("embed", folder / "items.npz", "-m", "identity", "-o", tmp_path / "x.emb")

    assert "unknown model 'minilm-6'; did you mean 'minilm-l6'?" in refused(
        "compare", MAILS, "-m", "minilm-6", "-m", "minilm-l6"
    )
    assert refused("compare", tmp_path / "x.emb", *models) == (
        f"{tmp_path / 'x.emb'}: is an embedding set; name the source that it was made of"
    )
    assert "no such file or folder" in refused("compare", tmp_path / "y.npz", *models)
    assert "is read by this command" in refused(*command(folder, "-o", folder / "items.npz"))
    assert "nowhere is no folder" in refused(*command(folder, "-o", "nowhere/x.html"))
    (tmp_path / "own.html").write_text("<!doctype html> mine")
    assert "not a page of featx is in the way" in refused(
        *command(folder, "-o", tmp_path / "own.html")
    )
    assert refused(*command(folder, "-o", "-")) == (
        "-: unknown suffix ''; a page ends in .html or .htm"
    )


@pytest.mark.slow
def test_real_texts_are_compared_with_two_ways_of_pooling(tmp_path: Path) -> None:
    manifest = catalog.find("minilm-l6")
    for role in manifest.files:
        place = tmp_path / manifest.files[role].path
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(manifest.file(role))
    cls = replace(manifest, name="cls", pooling="cls", weights="test/cls")
    write_manifest(tmp_path / "cls.toml", cls)

    models = ("-m", "minilm-l6", "-m", tmp_path / "cls.toml")
    found = facts("compare", MAILS, *models, "--rows", 80, "-o", tmp_path / "x.html")

    accuracies = {each["name"]: each["accuracy"] for each in found["backbones"]}
    assert found["items"]["compared"] > 70
    assert accuracies.keys() == {"minilm-l6", "cls"}
    assert min(accuracies.values()) > 0.8
