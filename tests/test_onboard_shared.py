"""A manifest that somebody shared is run before it is added, and nothing is said against it."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from command_line import call, done, refused
from featx.backbone.backbone import Backbone
from featx.backbone.golden import load_golden
from featx.fingerprint import file_sha256
from featx.zoo import catalog
from featx.zoo.manifest import Manifest
from featx.zoo.writing import write_manifest
from hubfolders import sentence_files, write_files
from smallgraphs import node, vectors, words

pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """Return the manifest of a backbone in the zoo of a team."""
    write_files(tmp_path / "small", sentence_files())
    done("models", "add", tmp_path / "small", "--name", "eyes", "--zoo", tmp_path / "team")
    return tmp_path / "team" / "eyes.toml"


def with_graph(path: Path, raw: bytes) -> None:
    """Put another graph into a manifest."""
    manifest = Manifest.read(path)
    manifest.file("graph").write_bytes(raw)
    entry = manifest.files["graph"]
    changed = replace(entry, sha256=file_sha256(manifest.file("graph")), size_bytes=len(raw))
    write_manifest(path, replace(manifest, files={**manifest.files, "graph": changed}))


def test_a_shared_manifest_and_its_golden_vectors_stay_as_they_are(
    team: Path, user_zoo: Path
) -> None:
    done("models", "add", team)

    added, shared = catalog.find("eyes"), Manifest.read(team)
    assert replace(added, folder=shared.folder) == shared
    golden = catalog.golden_file(added)
    assert golden.parent.parent == user_zoo
    assert golden.read_bytes() == catalog.golden_file(shared).read_bytes()


def test_a_graph_that_mixes_the_rows_of_a_batch_is_refused(team: Path, user_zoo: Path) -> None:
    mean = node("ReduceMean", ["rows"], "mean", axes=[0], keepdims=1)
    with_graph(team, words([mean, node("Sub", ["rows", "mean"], "last_hidden_state")]))
    catalog.golden_file(Manifest.read(team)).unlink()

    error = refused("models", "add", team)

    assert error.startswith("eyes: vectors in a batch of 6 items of different length differ from ")
    assert list(user_zoo.iterdir()) == []


def test_a_graph_that_makes_other_vectors_than_the_golden_ones_is_refused(
    team: Path, user_zoo: Path
) -> None:
    with_graph(team, words([node("Relu", ["rows"], "last_hidden_state")]))

    error = refused("models", "add", team)

    assert error.startswith("eyes: eyes.npz: item ")
    assert "expected at least 0.99999" in error
    assert list(user_zoo.iterdir()) == []


def test_golden_vectors_are_made_where_none_were_shared(team: Path) -> None:
    _, kept = load_golden(Backbone(Manifest.read(team)))
    catalog.golden_file(Manifest.read(team)).unlink()

    done("models", "add", team)

    _, made = load_golden(Backbone(catalog.find("eyes")))
    np.testing.assert_array_equal(made, kept)


def test_what_is_odd_of_a_graph_is_told(tmp_path: Path, user_zoo: Path) -> None:
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    raw = vectors([node("Mul", ["x", "zero"], "none"), node("Exp", ["none"], "y")], zero)
    write_files(tmp_path / "small", {"same.onnx": raw})
    flags = ("--modality", "array", "--no-normalize", "--zoo", tmp_path / "team")
    done("models", "add", tmp_path / "small", "--name", "same", *flags)

    result = call("models", "add", tmp_path / "team" / "same.toml")

    assert result.stdout == f"same: added to {user_zoo}\n"
    assert result.stderr == (
        "note: all 4 sample items have the same vector; check pooling and output\n"
    )


def test_a_manifest_without_a_graph_has_nothing_to_run(tmp_path: Path, user_zoo: Path) -> None:
    (tmp_path / "plain.toml").write_text(
        'schema = 1\nname = "plain"\nmodality = "array"\nsummary = "s"\nlicense = "MIT"\n'
        'source = "s"\nweights = "plain"\ndim = 3\npooling = "none"\nnormalize = false\n'
    )

    assert done("models", "add", tmp_path / "plain.toml") == f"plain: added to {user_zoo}\n"
    assert catalog.find("plain").dim == 3


def test_a_shared_manifest_is_given_another_name(team: Path, user_zoo: Path) -> None:
    done("models", "add", team)

    again = refused("models", "add", team)
    told = done("models", "add", team, "--name", "ours")

    assert again == "eyes: a model of this name exists; choose another with --name"
    assert told == f"ours: added to {user_zoo}\n"
    assert catalog.find("ours").facts() == catalog.find("eyes").facts()
    assert catalog.golden_file(catalog.find("ours")).is_file()
    assert done("models", "verify", "ours").startswith("ours: ok, 2 files right, 6 golden items")


@pytest.mark.parametrize("name", ["../x", "golden", "A"])
def test_a_name_that_is_none_is_refused(team: Path, user_zoo: Path, name: str) -> None:
    assert "a name has a-z 0-9" in refused("models", "add", team, "--name", name)
    assert not user_zoo.exists()


def test_a_half_is_not_called_as_its_partner(team: Path) -> None:
    text = team.read_text() + '\n[tower]\nrole = "text"\npartner = "ours"\n'
    team.write_text(text)

    error = refused("models", "add", team, "--name", "ours")

    assert error == f"{team}: [tower] partner = 'ours'; expected the name of the other half"
    assert "ours" not in catalog.names()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--pooling", "cls", "--license", "MIT"), "--pooling, --license"),
        (("--no-normalize",), "--normalize"),
        (("--image", "size=3", "--array", "shape=[3]"), "--image, --array"),
        (("--dims", "2", "--logit-scale", "9", "--partner", "x"), "--dims, --partner, --logit-s"),
        (("--against", "sentence-transformers"), "--against"),
        (("--reference", "x.npz"), "--reference"),
    ],
)
def test_a_flag_beside_a_manifest_is_a_wrong_use(
    team: Path, user_zoo: Path, flags: tuple[str, ...], told: str
) -> None:
    result = call("models", "add", team, *flags)

    assert result.exit_code == 2
    assert f"a manifest says all but a --name; leave out {told}" in result.stderr
    assert not user_zoo.exists()


def test_measured_facts_of_any_kind_are_written_as_they_were_read(team: Path) -> None:
    measured = (
        "day = 2024-05-01\nat = 2024-05-01T10:00:00Z\nclock = 10:00:00.5\nnote = ''\n"
        "runs = [{machine = 'a b', texts_per_s = 3.5}, {}]\nnone = []\n[measured.inner]\n"
    )
    write_manifest(team, replace(Manifest.read(team), measured={}))
    team.write_text(f"{team.read_text()}\n[measured]\n{measured}")

    done("models", "add", team)

    added = catalog.find("eyes")
    assert added.measured == tomllib.loads(measured.replace("measured.", ""))
    info = done("models", "info", "eyes", "--json")
    assert '"day": "2024-05-01"' in info
