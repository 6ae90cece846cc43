"""Backbones that share a graph, in a comparison: one run, the caches of each, the same ranks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from command_line import done
from featx import samples
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.data.sources.options import DescribedSource
from featx.transfer.compare.contestant import embedders, line_up
from featx.transfer.compare.recipe import Recipe
from featx.transfer.compare.run import compare
from featx.zoo import catalog

LAYERS = ("minilm-l6", "minilm-l6-layers")


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every fifteenth of the mails inside the package."""
    first, *rows = (samples.folder() / "mails.csv").read_text("utf-8").splitlines()
    place = tmp_path_factory.mktemp("mails") / "mails.csv"
    place.write_text("\n".join([first, *rows[::15]]), "utf-8")
    return place


def opened(*names: str, **settings: Any) -> list[Backbone]:  # noqa: ANN401
    return [Backbone(catalog.find(name), Settings(device="cpu", **settings)) for name in names]


def source_of(table: Path) -> DescribedSource:
    return open_source(table, modality="text")


def test_backbones_keep_their_order_whoever_embeds_for_them(mails: Path, tmp_path: Path) -> None:
    layers, plain = opened("minilm-l6-layers", "minilm-l6")
    (small,) = opened("minilm-l6", precision="int8")

    found = line_up([layers, small, plain], source_of(mails), tmp_path, cache=None)

    assert [each.backbone for each in found] == [layers, small, plain]
    assert [each.name for each in embedders(found)] == ["minilm-l6-layers, minilm-l6", "minilm-l6"]
    assert found[0].embedder is found[2].embedder


def test_caches_and_accuracies_are_those_of_backbones_that_embed_by_themselves(
    mails: Path, tmp_path: Path
) -> None:
    cache, models = tmp_path / "cache", [part for name in LAYERS for part in ("-m", name)]
    on_cpu = ("--device", "cpu", "--json")
    quickly = Recipe(budget_s=1)

    together = json.loads(
        done("compare", mails, *models, *on_cpu, "--budget", 1, "--cache-dir", cache)
    )

    apart = compare(source_of(mails), opened(*LAYERS, deterministic=True), quickly)
    accuracies = {each["name"]: each["accuracy"] for each in together["backbones"]}
    assert accuracies == {each.name: each.accuracy for each in apart.standings}
    assert together["best"] == apart.best.name
    for name in LAYERS:
        command = ("embed", mails, "-m", name, *on_cpu, "-o")
        told = json.loads(done(*command, tmp_path / name, "--cache-dir", cache))
        done(*command, tmp_path / f"{name}-alone", "--no-cache")
        assert told["cached"] == together["items"]["labelled"] == 40
        found, alone = (featx.open(tmp_path / f"{name}{end}").X[:] for end in ("", "-alone"))
        np.testing.assert_allclose(found, alone, atol=2e-6)
