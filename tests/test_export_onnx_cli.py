"""`featx export` of ONNX files: what it says, and what it refuses."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from command_line import call, done, refused
from serving import cache_folder


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(cache_folder()))
    monkeypatch.setenv("FEATX_DEVICE", "cpu")


def test_it_says_what_was_written_and_how_it_differs(vector_head: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.onnx"

    first, second = done("export", vector_head, "-o", out).splitlines()

    assert first.startswith(
        f"{out}: ridge of 3 classes on identity, fp32, 0.0 MB; takes embedding,"
    )
    assert first.endswith("gives probabilities, label, novel")
    assert second.startswith("compared with Python on 32 items: probabilities differ by ")
    assert float(second.split()[-3]) < 1e-5


def test_programs_get_one_object(vector_gallery: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.onnx"

    facts = json.loads(done("export", vector_gallery, "-o", out, "--json", "--script"))

    assert facts["files"] == [str(out)]
    assert facts["size_bytes"] == out.stat().st_size
    assert (facts["inputs"], facts["outputs"]) == (["embedding"], ["probabilities", "label"])
    assert (facts["items"], facts["other_labels"], facts["other_levels"]) == (32, 0, None)
    assert facts["difference"] < 1e-5
    assert (facts["embedding_difference"], facts["other_novelty"]) == (0, 0)
    ast.parse(facts["script"])


def test_a_script_is_all_of_stdout(vector_head: Path, tmp_path: Path) -> None:
    result = call("export", vector_head, "-o", tmp_path / "v.onnx", "--script")

    assert result.exit_code == 0
    ast.parse(result.stdout)
    assert f"InferenceSession({str(tmp_path / 'v.onnx')!r}, " in result.stdout
    assert "compared with Python" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--with-preprocessing",), "preprocessing in the graph is for images, not for modality"),
        (
            ("--precision", "fp16"),
            "fp16 is for weights of a backbone, and there is none in the file",
        ),
        (("--items", "none.npy"), "none.npy"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    options: tuple[str, ...], message: str, vector_head: Path, tmp_path: Path
) -> None:
    told = refused("export", vector_head, "-o", tmp_path / "v.onnx", *options)

    assert message in told
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_not_replaced(vector_head: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), backbone)
    before = backbone.read_bytes()

    assert "not of featx export" in refused("export", vector_head, "-o", backbone)
    assert "No such file" in refused("export", vector_head, "-o", tmp_path / "no" / "x.onnx")
    assert "is exported already" in refused("export", backbone, "-o", tmp_path / "y.onnx")
    assert "another file is in the way" in refused("export", backbone, "-o", backbone)
    assert backbone.read_bytes() == before


def test_a_file_that_would_not_be_taken_back_is_refused(vector_head: Path, tmp_path: Path) -> None:
    out = tmp_path / "i.bin"

    message = refused("export", vector_head, "-o", out, "--format", "onnx")

    assert message == f"{out}: is taken back by its suffix alone; choose a name that ends in .onnx"
    assert not out.exists()


def test_options_of_onnx_are_for_onnx(vector_head: Path, tmp_path: Path) -> None:
    result = call("export", vector_head, "-o", tmp_path / "v.joblib", "--head-only")

    assert result.exit_code == 2
    assert "--format joblib takes none of the options of onnx" in result.stderr


def test_an_onnx_file_of_others_is_told_from_ours(vector_set: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), backbone)

    for command in (("predict", backbone, vector_set), ("serve", backbone)):
        assert f"featx models add {backbone} --manifest FILE.toml" in refused(*command)
    message = refused("predict", tmp_path / "none.onnx", "x.npy")
    assert message == f"{tmp_path / 'none.onnx'}: No such file or directory"


def test_what_serves_a_file_needs_no_scikit_learn(vector_head: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.onnx"
    done("export", vector_head, "-o", out)
    code = (
        "import sys; sys.modules['sklearn'] = None; from pathlib import Path;"
        "from featx.export.deployable import open_deployable; import numpy as np;"
        "head = open_deployable(Path(sys.argv[1])).head;"
        "print(head.predict(3 * np.eye(8, dtype='f4'))[1].label)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code, out], capture_output=True, check=True, env=dict(os.environ)
    )

    assert ran.stdout.decode().strip() == "b"
