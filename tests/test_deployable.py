"""Exported files taken back: equal answers from the command line and over HTTP; bad files."""

import base64
import json
import os
import subprocess
import venv
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from command_line import call, done, objects, refused
from conftest import LinearBackbone
from exporting import (
    HEADS,
    belonging,
    linear_head,
    matrix,
    wary,
)
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.errors import InputError, StoreError
from featx.export.bounds import require_possible
from featx.export.deploy import Form, deploy
from featx.export.deployable import open_deployable
from featx.export.exportable import of_head
from featx.export.metadata import read, written
from featx.heads.predict import Head
from featx.zoo import catalog
from serving import cache_folder, copy_of, serving

EXACT = 1e-5
ON_CPU = Settings(device="cpu", threads=1)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(cache_folder()))
    monkeypatch.setenv("FEATX_DEVICE", "cpu")


@pytest.fixture
def backbone(linear_backbone: LinearBackbone) -> Backbone:
    """Give a backbone from eight numbers to five."""
    return linear_backbone(matrix(8, 1))


@pytest.fixture
def path(backbone: Backbone, tmp_path: Path) -> Path:
    """Give the file of a head that tells novel items."""
    out = tmp_path / "x.onnx"
    deploy(out, of_head(belonging(wary(linear_head()), backbone), "x.head"), backbone)
    return out


@pytest.fixture(scope="module")
def text_file(text_head: Path) -> Path:
    """Give the file of a head that tells spam from ham."""
    out = text_head.with_suffix(".onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATX_CACHE_DIR", str(cache_folder()))
        done("export", text_head, "-o", out, "--items", "you have won money", "--items", "hi there")
    return out


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_comes_back_from_its_file(head: Head, backbone: Backbone, tmp_path: Path) -> None:
    digests = np.arange(64, dtype=np.uint8).reshape(2, 32)
    head = belonging(head, backbone)
    head = replace(head, arrays={**head.arrays, "trained_digests": digests})
    X, ids = matrix(9, 3), [f"item {number}" for number in range(9)]
    deploy(tmp_path / "x.onnx", of_head(head, "x.head"), backbone)

    back = open_deployable(tmp_path / "x.onnx", ON_CPU).head

    assert (back.task, back.classes, back.dim) == (head.task, head.classes, 5)
    np.testing.assert_array_equal(back.arrays["trained_digests"], digests)
    assert back.header["space"] == head.header["space"]
    if head.task == "classify":
        np.testing.assert_allclose(back.probabilities(X), head.probabilities(X), atol=EXACT)
        assert [p.set for p in back.predict(X, ids)] == [p.set for p in head.predict(X, ids)]
    elif head.task == "multilabel":
        np.testing.assert_allclose(back.probabilities(X), head.probabilities(X), atol=EXACT)
        assert [t.tags for t in back.tag(X)] == [t.tags for t in head.tag(X)]
    else:
        found, expected = ([e.intervals for e in each.estimate(X)] for each in (back, head))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    if head.novelty is not None:
        assert back.novelty is not None
        np.testing.assert_array_equal(back.novelty.flags(X), head.novelty.flags(X))


def test_its_backbone_makes_the_vectors_of_the_original(backbone: Backbone, path: Path) -> None:
    items = list(matrix(7, 2, dim=8))

    back = open_deployable(path, ON_CPU).backbone

    np.testing.assert_allclose(back.encode(items), backbone.encode(items), atol=1e-6)
    assert back.space == backbone.space
    assert back.fingerprint != backbone.fingerprint


@pytest.mark.parametrize("name", ["efficientnet-lite0", "ge2e", "minilm-l6", "quiet"])
def test_a_manifest_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    manifest = catalog.find("ge2e" if name == "quiet" else name)
    if name == "quiet":  # of a backbone that takes sounds as loud as they are
        assert manifest.audio is not None
        manifest = replace(manifest, audio=replace(manifest.audio, target_dbfs=None))
    backbone = Backbone(manifest, ON_CPU)
    exported = of_head(belonging(linear_head(), backbone), "x.head")

    properties = written(exported, manifest, takes="inputs", precision="fp32")
    facts = read(properties, tmp_path / "x.onnx")

    expected = replace(manifest, files={}, measured={}, folder=tmp_path)
    assert facts.manifest == expected
    assert facts.tokenizer == (
        "" if name != "minilm-l6" else manifest.file("tokenizer").read_text()
    )


def test_weights_beside_a_file_are_found_or_missed_by_name(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    wide = linear_backbone(matrix(400, 1))
    exported = of_head(belonging(linear_head(), wide), "x.head")
    items = list(matrix(3, 2, dim=400))
    deployed = deploy(tmp_path / "x.onnx", exported, wide, Form(external_above=1000))
    path, weights = deployed.files

    found = open_deployable(path, ON_CPU).backbone.encode(items)
    weights.unlink()

    np.testing.assert_allclose(found, wide.encode(items), atol=1e-5)
    with pytest.raises(StoreError, match=rf"x\.onnx: its weights, {weights.name}, are missing"):
        open_deployable(path, ON_CPU)


def test_weights_that_were_changed_are_refused(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    wide = linear_backbone(matrix(400, 1))
    exported = of_head(belonging(linear_head(), wide), "x.head")
    path, weights = deploy(tmp_path / "x.onnx", exported, wide, Form(external_above=1000)).files
    raw = bytearray(weights.read_bytes())
    raw[401] ^= 1
    weights.write_bytes(raw)

    with pytest.raises(StoreError, match=rf"{weights.name}: damaged: .*; export x\.onnx again"):
        open_deployable(path, ON_CPU)


def test_weights_elsewhere_are_never_read(backbone: Backbone, path: Path, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.bin"
    secret.write_bytes(bytes(8 * 5 * 4))
    model = onnx.load(path)
    (W,) = [each for each in model.graph.initializer if each.name == "W"]
    W.ClearField("raw_data")
    W.data_location = TensorProto.EXTERNAL
    W.external_data.add(key="location", value="../secret.bin")
    path.write_bytes(model.SerializeToString())

    with pytest.raises(StoreError, match=r"weights at '\.\./secret\.bin', which .* refused"):
        open_deployable(path, ON_CPU)


def changed(path: Path, **values: str | None) -> Path:
    """Change metadata of a file; None drops it."""
    model = onnx.load(path)
    facts = {each.key: each.value for each in model.metadata_props} | values
    del model.metadata_props[:]
    kept = {key: text for key, text in facts.items() if text is not None}
    helper.set_model_props(model, kept)
    path.write_bytes(model.SerializeToString())
    return path


def answered(path: Path) -> None:
    """Open a file and ask it."""
    file = open_deployable(path, ON_CPU)
    file.head.probabilities(file.backbone.encode(list(matrix(2, dim=8))))


def told(path: Path, key: str, **values: object) -> str:
    """Return a JSON object of the metadata with some values changed."""
    facts = {each.key: each.value for each in onnx.load(path).metadata_props}
    return json.dumps(json.loads(facts[key]) | values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": None},
            r"an ONNX file, but none of featx export; .* featx models add .*x\.onnx",
        ),
        ({"version": "2"}, "featx-deployable version 2 is newer than 1; upgrade featx"),
        ({"version": "9" * 5000}, r"version '9+\.\.\.9+'; expected 1; the file is dam"),
        ({"version": "one"}, "version 'one'; expected 1; the file is damaged: export it again"),
        ({"task": "sort"}, "metadata: task = 'sort'; expected 'classify'"),
        ({"task": None}, "metadata 'task' is missing"),
        ({"classes": None}, "metadata 'classes' is missing"),
        ({"classes": "[1, 2, 3]"}, "classes = 1; expected str"),
        ({"classes": '["a", "a", "b"]'}, "its classes are not 2 or more different names"),
        ({"classes": '["a", "b"]'}, "damaged|expected float32 of shape"),
        ({"head": "{"}, "metadata 'head' is not JSON"),
        ({"head": '{"kind": NaN}'}, "metadata 'head' is not JSON: NaN is no finite number"),
        ({"head": '{"temperature": 1e999}'}, "not JSON: 1e999 is no finite number"),
        ({"head": "[" * 5000}, "recursion"),
        ({"head": "{}"}, "missing 'dim', 'fingerprint', 'kind'"),
        ({"manifest": None}, "metadata 'manifest' is missing"),
        ({"manifest": "[]"}, "is not the table of a backbone"),
        ({"trained_digests": "?"}, "metadata 'trained_digests' is not base64"),
        ({"trained_digests": base64.b64encode(b"abc").decode()}, "no number of digests of 32"),
    ],
)
def test_changed_metadata_is_refused(
    change: dict[str, str | None], message: str, path: Path
) -> None:
    changed(path, **change)

    with pytest.raises((InputError, StoreError), match=message) as caught:
        open_deployable(path, ON_CPU).head.probabilities(matrix(2))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("head", {"dim": 6}, "cannot be cut to 6 dimensions|its graph|Damage|expected"),
        ("head", {"dim": 2**70}, "dim = 1180591620717411303424; expected 1 to 4194304"),
        ("head", {"dim": 10**4000}, r"dim = 10+\.\.\.0+; expected 1 to"),
        ("head", {"dim": 0}, "dim = 0; expected 1 to"),
        ("head", {"temperature": 10**400}, "temperature is too large for a number"),
        ("head", {"coverage": 1.0}, "coverage = 1.0; expected above 0 and below 1"),
        (
            "head",
            {"conformal": {"method": "lac", "coverage": -7.5, "quantiles": [0.7]}},
            "coverage = -7.5; expected above 0 and below 1",
        ),
        ("head", {"takes": "all"}, "takes = 'all'; expected 'embedding'"),
        ("head", {"modality": "text"}, "its head is of 'text', its backbone 'array'"),
        ("head", {"prompt": "q"}, "no prompt 'q'"),
        ("head", {"pickle": "x"}, "unknown key 'pickle'"),
        (
            "head",
            {"conformal": {"method": "lac", "coverage": 0.9, "quantiles": [2.0]}},
            "its arrays do not fit each other",
        ),
        (
            "head",
            {"conformal": {"method": "lac", "coverage": 0.9, "quantiles": ["x"]}},
            "quantiles = 'x'; expected float",
        ),
        ("manifest", {"files": {"graph": {"path": "/etc/passwd"}}}, "without files"),
        ("manifest", {"folder": "/etc"}, "unknown key 'folder'"),
        ("manifest", {"schema": 9}, "schema 9 is newer than 1; upgrade featx"),
        ("manifest", {"inputs": {"array": "z"}}, "its graph has no input 'z'"),
        (
            "manifest",
            {"array": {"shape": [10**12]}},
            r"shape = 1000000000000; expected 1 to 4194304",
        ),
        ("manifest", {"modality": "audio"}, "its head is of 'array', its backbone 'audio'"),
    ],
)
def test_changed_tables_are_refused(
    key: str, values: dict[str, Any], message: str, path: Path
) -> None:
    changed(path, **{key: told(path, key, **values)})

    with pytest.raises((InputError, StoreError), match=message) as caught:
        answered(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("efficientnet-lite0", {"size": (10**6,)}, "size = 1000000; expected 1 to 4096"),
        ("efficientnet-lite0", {"size": (224, 0)}, "size = 0; expected 1 to 4096"),
        (
            "efficientnet-lite0",
            {"crop_fraction": 1e-9},
            "crop_fraction = 1e-09; expected 0.01 to 1",
        ),
        ("ge2e", {"n_fft": 0}, "n_fft = 0; expected 1 to 4194304"),
        ("ge2e", {"n_fft": 10**6}, "n_fft . n_mels = 40000000; expected 1 to 4194304"),
        ("ge2e", {"hop_length": 10**5}, "window_frames . hop_length = 16000000; expected"),
    ],
)
def test_numbers_that_no_backbone_has_are_refused(
    model: str, options: dict[str, Any], message: str
) -> None:
    manifest = catalog.find(model)
    require_possible(manifest)
    table: Any = manifest.image or manifest.audio
    changed_table = {manifest.modality: replace(table, **options)}

    with pytest.raises(InputError, match=message):
        require_possible(replace(manifest, **changed_table))


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_part_of_a_file_is_refused_in_one_line(share: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(StoreError, match=r"x\.onnx: (not an|an) ONNX file") as caught:
        open_deployable(path, ON_CPU)

    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_text_is_refused(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"featx/head/", b"featx\xff\xfeead/"))

    with pytest.raises(StoreError, match=r"x\.onnx: not an ONNX file, .* not UTF-8"):
        open_deployable(path, ON_CPU)


@pytest.mark.parametrize("place", ["", ".", "id_rsa", "sub/x.onnx.0123456789abcdef.data"])
def test_weights_of_a_name_that_is_none_of_ours_are_refused(place: str, path: Path) -> None:
    model = onnx.load(path)
    tensor = model.graph.node[0].attribute.add(name="value", type=4).t
    tensor.external_data.add(key="location", value=place)
    path.write_bytes(model.SerializeToString())

    with pytest.raises(StoreError, match=r"weights at .*, which featx export never writes; ref"):
        open_deployable(path, ON_CPU)


def looped(model: onnx.ModelProto) -> None:
    """Put a loop where the head reads embeddings."""
    body = helper.make_graph([], "body", [], [])
    node = helper.make_node("Loop", ["", "", "embedding"], ["looped"], body=body)
    _read_by_head(model, node, "looped")


def blown_up(model: onnx.ModelProto) -> None:
    """Put a tensor of a size that is a number where the head reads embeddings."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**31]), "huge"))
    _read_by_head(model, helper.make_node("ConstantOfShape", ["huge"], ["blown"]), "blown")


def from_the_input(model: onnx.ModelProto) -> None:
    """Have the head read the input."""
    _read_by_head(model, helper.make_node("Identity", ["x"], ["aside"]), "aside")


def without_head(model: onnx.ModelProto) -> None:
    """Have nothing make the logits."""
    for node in model.graph.node:
        node.output[:] = ["other" if name == "logits" else name for name in node.output]


def without_embedding(model: onnx.ModelProto) -> None:
    """Have the graph give no embedding."""
    kept = [each for each in model.graph.output if each.name != "embedding"]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _read_by_head(model: onnx.ModelProto, node: onnx.NodeProto, name: str) -> None:
    for each in model.graph.node:
        if each.op_type == "Gemm":
            each.input[0] = name
    model.graph.node.insert(len(model.graph.node) - 1, node)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (looped, "operator 'Loop'; allowed: the"),
        (blown_up, "operator 'ConstantOfShape'; allowed: the"),
        (from_the_input, "its graph has a head that reads 'x', which is no embedding"),
        (without_head, "its graph makes no 'logits'"),
        (without_embedding, "its graph has no output 'embedding'"),
    ],
)
def test_a_head_may_only_do_what_heads_do(
    change: Callable[[onnx.ModelProto], None], message: str, path: Path
) -> None:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())

    with pytest.raises(StoreError, match=message):
        open_deployable(path, ON_CPU)


def test_another_precision_is_refused(path: Path) -> None:
    with pytest.raises(
        InputError, match=r"x\.onnx: is fp32, not fp16; export it again with --prec"
    ):
        open_deployable(path, replace(ON_CPU, precision="fp16"))


def test_a_tokenizer_that_is_none_is_refused(text_file: Path, tmp_path: Path) -> None:
    copy = changed(copy_of(text_file, tmp_path), tokenizer="{}")

    message = refused("predict", copy, "a text")

    assert message.startswith(f"{copy}: not a tokenizer: ")
    assert message.endswith("; export it again")


def test_items_are_predicted_alike(text_head: Path, text_file: Path) -> None:
    texts = ("win money now", "shall we meet on Monday?", "ħ")

    here, there = (
        objects(done("predict", each, *texts, "--json")) for each in (text_head, text_file)
    )

    assert [each["label"] for each in there] == [each["label"] for each in here]
    assert [each["set"] for each in there] == [each["set"] for each in here]
    assert [each["novel"] for each in there] == [each["novel"] for each in here]
    for one, other in zip(here, there, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=2e-6)


def test_sets_are_predicted_and_scored_alike(
    text_head: Path, text_file: Path, text_set: Path, vector_set: Path
) -> None:
    here, there = (
        objects(done("predict", each, text_set, "--json")) for each in (text_head, text_file)
    )

    assert [each["label"] for each in there] == [each["label"] for each in here]
    message = refused("evaluate", text_file, text_set)
    assert "the head was trained on all 40 labelled rows" in message
    other = call("predict", text_file, vector_set)
    assert (other.exit_code, other.stdout) == (1, "")
    assert "embeddings of identity" in other.stderr


def test_a_split_is_scored_as_by_the_head(
    vector_head: Path, vector_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "v.onnx"
    done("export", vector_head, "-o", out)

    here, there = (
        json.loads(done("evaluate", each, vector_set, "--no-raw-baseline", "--json"))
        for each in (vector_head, out)
    )

    assert there["n"] == here["n"] == 30
    assert there["accuracy"] == here["accuracy"]
    assert there["log_loss"] == pytest.approx(here["log_loss"], abs=EXACT)


def test_a_served_file_answers_as_the_served_head(text_head: Path, text_file: Path) -> None:
    body = {"input": ["win money now", "shall we meet on Monday?"]}

    replies = []
    for thing in (text_head, text_file):
        with serving(thing) as served:
            status, reply = served.json("POST", "/v1/classify", body)
        assert status == 200
        assert "a head of 2 classes on minilm-l6" in served.line
        replies.append(reply["results"])

    for one, other in zip(*replies, strict=True):
        assert one["label"] == other["label"]
        assert one["set"] == other["set"]
        assert one["probability"] == pytest.approx(other["probability"], abs=EXACT)
        assert one["novel"] == other["novel"]


def test_a_head_alone_names_a_backbone_and_no_path(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, manifest = tmp_path / "x.onnx", catalog.embedded_zoo() / "minilm-l6.toml"
    exported = of_head(belonging(linear_head(), backbone), "x.head")
    deploy(out, exported, backbone, Form(head_only=True))
    monkeypatch.chdir(manifest.parent)

    above = f"../{manifest.parent.name}/minilm-l6"
    for model in (str(manifest), manifest.name, above, "", "n" * 300):
        file = open_deployable(changed(out, head=told(out, "head", model=model)), ON_CPU)
        with pytest.raises(InputError, match=r"x\.onnx: model '.* no path is opened; refused"):
            file.backbone  # noqa: B018 - opened now


def test_a_head_alone_takes_its_backbone_from_the_zoo(text_head: Path, tmp_path: Path) -> None:
    out = tmp_path / "h.onnx"
    done("export", text_head, "-o", out, "--head-only", "--items", "you have won", "--items", "hi")
    texts = ("win money now", "shall we meet on Monday?")

    here, there = (objects(done("predict", each, *texts, "--json")) for each in (text_head, out))

    assert [each["label"] for each in there] == [each["label"] for each in here]
    assert not open_deployable(out).is_whole
    assert out.stat().st_size < 1 << 20


def test_pictures_of_any_size_come_back(image_set: Path, tmp_path: Path) -> None:
    head, out = tmp_path / "x.head", tmp_path / "x.onnx"
    pictures = sorted((image_set.parent / "clipart" / "birds").iterdir())[:3]
    done("train", image_set, "-o", head, "--head", "ridge", "--no-raw-baseline")
    done("export", head, "-o", out, "--with-preprocessing", "--items", pictures[0])

    here, there = (objects(done("predict", each, *pictures, "--json")) for each in (head, out))

    assert [each["label"] for each in there] == [each["label"] for each in here]
    for one, other in zip(here, there, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=5e-3)
    with serving(out) as served:
        png = pictures[0].read_bytes()
        status, _, reply = served.request(
            "POST", "/v1/classify", png, {"content-type": "image/png"}
        )
    assert status == 200
    (said,) = json.loads(reply)["results"]
    assert said["label"] == here[0]["label"]


def test_sounds_come_back(sound_gallery: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    sounds = sorted(sound_gallery.parent.glob("sounds/*/*.flac"))[::3]
    done("export", sound_gallery, "-o", out, "--items", sounds[0])

    found = objects(done("predict", out, *sounds, "--json"))

    asked = objects(done("search", sound_gallery, *sounds, "--json"))
    assert [each["label"] for each in found] == [each["vote"]["label"] for each in asked]
    for said, vote in zip(found, asked, strict=True):
        assert said["probability"] == pytest.approx(vote["vote"]["probability"], abs=EXACT)


@pytest.mark.slow
def test_a_clean_environment_needs_onnxruntime_and_numpy_alone(path: Path, tmp_path: Path) -> None:
    home = tmp_path / "clean"
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for name in ("numpy", "onnxruntime"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        place = Path(spec.origin).parent
        (packages / name).symlink_to(place)
        if (libraries := place.with_name(f"{name}.libs")).is_dir():
            (packages / libraries.name).symlink_to(libraries)
    code = (
        "import sys, json, numpy as np, onnxruntime as ort;"
        "session = ort.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']);"
        "x = np.load(sys.argv[2]);"
        "p, label = session.run(['probabilities', 'label'], {'x': x});"
        "facts = session.get_modelmeta().custom_metadata_map;"
        "print(json.dumps([p.tolist(), label.tolist(), json.loads(facts['classes'])]));"
        "assert not {'featx', 'onnx', 'sklearn'} & set(sys.modules)"
    )
    items = matrix(5, 3, dim=8)
    np.save(tmp_path / "items.npy", items)

    ran = subprocess.run(
        [home / "bin" / "python", "-I", "-c", code, path, tmp_path / "items.npy"],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"},
    )

    p, label, classes = json.loads(ran.stdout)
    file = open_deployable(path, ON_CPU)
    expected = file.head.probabilities(file.backbone.encode(list(items)))
    np.testing.assert_allclose(p, expected, atol=EXACT)
    assert label == [classes[code] for code in expected.argmax(axis=1)]
