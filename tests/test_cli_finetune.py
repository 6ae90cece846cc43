"""``featx finetune`` as people and programs use it, and what they get wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tunable
from command_line import call, done, objects, refused
from featx.heads.headfile import load_head
from featx.zoo.manifest import Manifest

pytestmark = pytest.mark.usefixtures("own_cache")

FAST = ("--lr", "0.01", "--epochs", "6")

KEYS = {
    "tuned", "reason", "parent", "cut", "items", "validation", "frozen", "finetuned", "gain",
    "test", "epochs", "stopped", "history", "warnings", "skipped", "truncated", "difference",
    "seconds", "out", "manifest", "head",
}  # fmt: skip

LAUNCH = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from featx.__main__ import run
run()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a backbone and a source for it."""
    folder = tmp_path_factory.mktemp("source")
    tunable.tunable(folder)
    tunable.save_items(folder / "items.npz", 700)
    return folder


def command(folder: Path, out: Path, *options: object) -> list[object]:
    manifest = folder / "layers.toml"
    return ["finetune", folder / "items.npz", "-m", manifest, "-o", out, *FAST, *options]


def facts(*arguments: object) -> dict[str, Any]:
    (found,) = objects(done(*arguments, "--json"))
    return found


def test_json_is_one_object_with_what_is_promised(folder: Path, tmp_path: Path) -> None:
    report = facts(*command(folder, tmp_path / "x.onnx"))

    assert report.keys() == KEYS
    assert (report["tuned"], report["parent"], report["validation"]) == (True, "layers", "held out")
    assert report["out"] == str(tmp_path / "x.onnx")
    gain = report["finetuned"]["accuracy"] - report["frozen"]["accuracy"]
    assert report["gain"]["accuracy"] == pytest.approx(gain)
    assert report["gain"]["interval"][0] > 0.05
    assert [epoch["epoch"] for epoch in report["history"]] == [1, 2, 3, 4, 5, 6]


def test_people_see_both_with_intervals_and_what_the_gain_is_worth(
    folder: Path, tmp_path: Path
) -> None:
    result = call(*command(folder, tmp_path / "x.onnx"))

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith(f"{tmp_path / 'x.onnx'}: layers after layer2, ")
    assert lines[1].split() == ["validation", "accuracy", "interval", "log", "loss", "n"]
    assert [line.split()[0] for line in lines[2:4]] == ["frozen", "finetuned"]
    assert lines[4].endswith("on 140 rows: more than chance would give")
    assert lines[6].endswith(
        f"featx models add {tmp_path / 'x.onnx'} --manifest {tmp_path / 'x.toml'}"
    )
    assert result.stderr.splitlines()[0].startswith("epoch 1: loss 0.")


def test_quiet_says_nothing_on_the_way(folder: Path, tmp_path: Path) -> None:
    result = call(*command(folder, tmp_path / "x.onnx", "--quiet"))

    assert (result.exit_code, result.stderr) == (0, "")


def test_the_tuned_backbone_walks_the_whole_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    done(*command(folder, tmp_path / "sharp.onnx"))
    new = tunable.save_items(tmp_path / "new.npz", 300, seed=7)

    done("embed", new, "-m", tmp_path / "sharp.toml", "-o", tmp_path / "new.emb")
    (scored,) = objects(done("evaluate", tmp_path / "sharp.head", tmp_path / "new.emb", "--json"))
    assert scored["accuracy"] > 0.75
    # The head's manifest lies beside it.
    said = objects(done("predict", tmp_path / "sharp.head", new, "--format", "jsonl"))
    assert len({row["label"] for row in said}) == 2
    done("models", "add", tmp_path / "sharp.onnx", "--manifest", tmp_path / "sharp.toml")
    assert "sharp: ok, 1 file right, 8 golden items" in done("models", "verify", "sharp")
    done("train", tmp_path / "new.emb", "-o", tmp_path / "again.head", "--head", "ridge")
    done("predict", tmp_path / "again.head", new, "--format", "jsonl")
    done("embed", new, "-m", folder / "layers.toml", "-o", tmp_path / "old.emb")
    line = refused("predict", tmp_path / "sharp.head", tmp_path / "old.emb")
    assert "the head was trained on sharp" in line


def test_a_frozen_head_that_is_as_good_is_kept_with_the_reason(
    folder: Path, tmp_path: Path
) -> None:
    options = ("--lr", "1e-12")

    report = facts(*command(folder, tmp_path / "x.onnx", *options))
    text = done(*command(folder, tmp_path / "x.onnx", *options))

    assert (report["tuned"], report["out"]) == (False, None)
    assert report["reason"].startswith("fine-tuning did not help: +0.0 points [")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.head"]
    assert load_head(tmp_path / "x.head").header["model"] == "layers"
    assert text.startswith(f"{tmp_path / 'x.head'}: a head on layers as it is; no ")
    assert text.splitlines()[-1].endswith("the frozen head is kept")


def test_items_that_cannot_be_read_are_skipped_and_listed(folder: Path, tmp_path: Path) -> None:
    X, y = tunable.items(700)
    X[3, 0] = np.nan
    np.savez(tmp_path / "items.npz", X=X, y=y)
    manifest = folder / "layers.toml"

    result = call(
        "finetune", tmp_path / "items.npz", "-m", manifest, "-o", tmp_path / "x.onnx", *FAST
    )

    assert result.exit_code == 3
    assert any(line.startswith("skipped items.npz:4: ") for line in result.stderr.splitlines())


def test_an_old_result_is_replaced_and_anything_else_is_not(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    done(*command(folder, out))
    done(*command(folder, out, "--seed", 5))

    (tmp_path / "x.toml").write_text("mine = 1\n")
    line = refused(*command(folder, out))

    assert line == f"{out}: a file that finetune did not write is in the way; choose another name"
    assert (tmp_path / "x.toml").read_text() == "mine = 1\n"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x.pb", "x.pb: unknown suffix '.pb'; expected a name that ends in .onnx"),
        ("no/x.onnx", "no/x.onnx: no is no folder; make it, or choose another place"),
        ("minilm-l6.onnx", "a model is called 'minilm-l6' already; choose another name"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert said in refused(*command(folder, Path(out)))


def test_a_place_that_no_file_can_be_made_in_is_told_before_anything_runs(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "golden").write_text("mine")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "golden").symlink_to("/proc")

    lines = [refused(*command(folder, Path("/proc/x.onnx")))]
    lines += [refused(*command(folder, tmp_path / name / "x.onnx")) for name in ("file", "link")]

    file, link = (tmp_path / name / "golden" for name in ("file", "link"))
    assert lines[0].startswith("/proc: ")
    assert lines[1] == f"{file}: a file is in the way; choose another place"
    assert lines[2].startswith(f"{link}: ")


def test_a_head_of_train_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    done("embed", folder / "items.npz", "-m", "identity", "-o", tmp_path / "x.emb")
    done("train", tmp_path / "x.emb", "-o", tmp_path / "x.head", "--head", "lda")
    before = (tmp_path / "x.head").read_bytes()

    line = refused(*command(folder, tmp_path / "x.onnx"))

    head = tmp_path / "x.head"
    assert line == f"{head}: a head that finetune did not write is in the way; choose another name"
    assert head.read_bytes() == before


def test_a_tuned_head_of_another_name_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    done(*command(folder, tmp_path / "best.onnx"))
    (tmp_path / "best.head").rename(tmp_path / "x.head")

    line = refused(*command(folder, tmp_path / "x.onnx"))

    assert line.startswith(f"{tmp_path / 'x.head'}: a head that finetune did not write is in the")


def test_a_graph_that_lies_beside_a_frozen_head_is_not_deleted(
    folder: Path, tmp_path: Path
) -> None:
    again = command(folder, tmp_path / "x.onnx", "--lr", "1e-12")
    done(*again)
    (tmp_path / "x.onnx").write_bytes(b"exported, or anything")

    line = refused(*again)

    assert line.startswith(f"{tmp_path / 'x.onnx'}: a file that finetune did not write is in the")
    assert (tmp_path / "x.onnx").read_bytes() == b"exported, or anything"


def test_a_backbone_is_not_tuned_in_its_own_place(folder: Path, tmp_path: Path) -> None:
    done(*command(folder, tmp_path / "x.onnx"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    line = refused(
        "finetune", folder / "items.npz", "-m", tmp_path / "x.toml", "-o", tmp_path / "x.onnx"
    )

    assert line.endswith("is a file of the backbone that is tuned; choose another name")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cut", "layre2"), "no cut 'layre2'; the nearest is 'layer2'"),
        (("--blocks", "40"), "40"),
        (("--views", "3"), "views: layers takes array; views are of images"),
        (("--lr", "7"), "lr: found 7.0; must be above 0 and below 1, such as 1e-4"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(
    folder: Path, tmp_path: Path, options: tuple[str, str], said: str
) -> None:
    assert said in refused(*command(folder, tmp_path / "x.onnx", *options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--val", "0.9"),
        ("--epochs", "0"),
        ("--epochs", "many"),
        ("--epochs", "²"),
        ("--epochs", "9" * 5000),
        ("--epochs", "5000"),
        ("--tune", "some"),
    ],
)
def test_options_out_of_range_are_usage_errors(
    folder: Path, tmp_path: Path, options: tuple[str, str]
) -> None:
    result = call(*command(folder, tmp_path / "x.onnx", *options))

    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.stderr


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["same"] * 40, "source: 40 rows of 1 class to train on; fine-tuning needs 10 rows of two"),
        ([""] * 40, "source: none of its 40 items has a label; name the column with --label-col"),
        ([f"{i}" for i in range(40)], "source: 40 rows of 40 classes, one row a class; is it the"),
        (["a", "b"] * 4, "source: 8 rows of 2 classes to train on; fine-tuning needs 10 rows"),
    ],
)
def test_labels_that_teach_nothing_are_one_line(
    folder: Path, tmp_path: Path, labels: list[str], said: str
) -> None:
    X, _ = tunable.items(len(labels))
    np.savez(tmp_path / "items.npz", X=X, y=np.array(labels))

    line = refused(
        "finetune", tmp_path / "items.npz", "-m", folder / "layers.toml", "-o", tmp_path / "x.onnx"
    )

    assert line.startswith(said)
    assert [path.name for path in tmp_path.iterdir()] == ["items.npz"]


def test_a_wrong_label_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text,kind\nhello,a\nworld,b\n")

    line = refused(
        "finetune", table, "-m", "minilm-l6", "-o", tmp_path / "x.onnx", "--label-col", "kinds"
    )

    assert line.endswith("no column 'kinds'; did you mean 'kind'? columns: text, kind")


def graph_of(tmp_path: Path, *nodes: onnx.NodeProto, **weights: Any) -> Path:  # noqa: ANN401 - arrays
    """Write a backbone of these nodes, from ``x`` (n, 4) to ``y``."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("sum3", TensorProto.FLOAT, ["n", 6])
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "graph", [x], [y], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, tmp_path / "layers.onnx")
    return tunable.describe(tmp_path)


def refusal(tmp_path: Path, manifest: Path) -> str:
    """Return the line that tuning this backbone ends with; nothing may be written."""
    source = tunable.save_items(tmp_path / "items.npz", 60)
    line = refused("finetune", source, "-m", manifest, "-o", tmp_path / "x.onnx")
    assert not list(tmp_path.glob("x.*"))
    return line


def test_a_graph_without_a_usable_cut_is_refused(tmp_path: Path) -> None:
    W = np.ones((4, 6), dtype=np.float32)
    manifest = graph_of(tmp_path, helper.make_node("MatMul", ["x", "W"], ["sum3"]), W=W)

    line = refusal(tmp_path, manifest)

    assert line.startswith("layers: ")
    assert "cut" in line


def test_a_quantised_graph_is_refused_with_what_to_do(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "W", "zero"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["sum3"]),
    ]
    manifest = graph_of(tmp_path, *nodes, W=np.ones((4, 6), dtype=np.int8))

    line = refusal(tmp_path, manifest)

    assert "DynamicQuantizeLinear" in line or "MatMulInteger" in line
    assert "float32" in line


def test_an_operator_of_a_vendor_is_refused(tmp_path: Path) -> None:
    W = np.ones((4, 6), dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["sum2"]),
        helper.make_node("QuickGelu", ["sum2"], ["hidden"], domain="com.microsoft"),
        helper.make_node("Strange", ["hidden", "V"], ["sum3"], domain="com.example"),
    ]
    manifest = graph_of(tmp_path, *nodes, W=W, V=np.ones((6, 6), dtype=np.float32))

    assert "Strange" in refusal(tmp_path, manifest)


def test_a_graph_that_lies_about_its_shapes_is_refused(tmp_path: Path) -> None:
    W = np.ones((4, 5), dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["sum2"]),
        helper.make_node("MatMul", ["sum2", "V"], ["sum3"]),
    ]
    manifest = graph_of(tmp_path, *nodes, W=W, V=np.ones((7, 6), dtype=np.float32))

    assert refusal(tmp_path, manifest).count("\n") == 0


def test_a_manifest_that_lies_about_the_width_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["sum2"]),
        helper.make_node("MatMul", ["sum2", "V"], ["sum3"]),
    ]
    weights = {"W": np.ones((4, 5), np.float32), "V": np.ones((5, 7), np.float32)}
    manifest = graph_of(tmp_path, *nodes, **weights)

    assert "its manifest says (2, 6)" in refusal(tmp_path, manifest)


def test_missing_external_weights_are_named(tmp_path: Path) -> None:
    tunable.save_graph(tmp_path / "layers.onnx")
    model = onnx.load(tmp_path / "layers.onnx")
    onnx.save(
        model,
        tmp_path / "layers.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    manifest = tunable.describe(tmp_path)
    (tmp_path / "w.bin").unlink()

    assert "w.bin" in refusal(tmp_path, manifest)


def launched(arguments: list[object], cache: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FEATX_CACHE_DIR": str(cache)},
    )


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_the_best_until_then(
    folder: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    arguments = [*command(folder, tmp_path / "x.onnx"), "--epochs", 1000, "--batch-size", 8]
    process = launched(arguments, tmp_path / "cache")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 5:"):
            break

    process.send_signal(sent)
    out, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert err.splitlines()[-1].endswith("everything committed so far is kept")
    assert "on 140 rows: " in out
    made = Manifest.read(tmp_path / "x.toml")
    assert made.tuned is not None
    assert made.tuned.epochs >= 2
