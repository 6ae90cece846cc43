"""What a user reads whose model cannot be added: true, of the file that was given, and a way on."""

from pathlib import Path

import pytest

from command_line import call, done
from featx.onboard.fetch.wheel import _refusal
from featx.zoo import catalog
from hubfolders import sentence_files, text_graph, tokenizer_bytes, vector_graph, write_files
from websites import COMMIT, Site, add_repository, served, use_hub

VECTORS = ("--modality", "array", "--no-normalize")
IMAGES = ("--modality", "image", "--no-normalize")


pytestmark = pytest.mark.usefixtures("user_zoo")


def refusal(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (text_graph(external="/etc/passwd"), "weights at '/etc/passwd', an absolute path; refused"),
        (text_graph(external="../x"), "weights at '../x', outside its folder; refused"),
        (vector_graph()[:60], "not an ONNX graph: "),
    ],
)
def test_a_graph_is_named_as_it_was_given(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(raw)

    line = refusal("models", "add", path)

    assert line.startswith(f"error: {path}: odd.onnx: {said}")
    assert line.endswith(("export it with its weights beside it", "is it whole? fetch it again"))


def test_weights_that_were_cut_are_said_to_be_short(tmp_path: Path) -> None:
    files = sentence_files(**{"onnx/model.onnx": text_graph(external="w.data")})
    write_files(tmp_path / "small", {**files, "onnx/w.data": bytes(100)})

    line = refusal("models", "add", tmp_path / "small")

    ends = "a file of its weights ends at 100 bytes, and 144 are needed; fetch or export it again"
    assert line == f"error: small: model.onnx: {ends}"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--image", "resiz=none"), "unknown key of --image 'resiz'; did you mean 'resize'?"),
        (("--image", "mean=1,2,3"), "--image mean=1,2,3: expected a number, or several as [1,2,3]"),
        (
            ("--output", "embedding=z"),
            "--output embedding=z: the graph has no output 'z'; it has: y",
        ),
        (("--input", "image=z"), "--input image=z: the graph has no input 'z'; it has: x"),
    ],
)
def test_a_wrong_flag_is_told_before_those_that_are_missing(
    tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    (tmp_path / "sum.onnx").write_bytes(vector_graph())

    assert refusal("models", "add", tmp_path / "sum.onnx", *IMAGES, *flags) == f"error: {said}"


def test_an_input_that_nothing_is_left_for_is_no_matter_of_a_flag(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(vector_graph(("a", "b")))

    assert refusal("models", "add", path, *VECTORS, "--input", "array=a") == (
        f"error: {path}: takes more than featx has for it: 'b' float (n, 3); export it without that"
    )


def test_a_file_that_is_not_there_is_told_with_its_like(tmp_path: Path) -> None:
    site = Site()
    with served(site), pytest.MonkeyPatch.context() as patch:
        add_repository(site, "org/small", sentence_files())
        use_hub(patch, site, tmp_path / "hub")

        line = refusal("models", "add", "hf:org/small:model_int8.onnx")

    where = f"hf:org/small@{COMMIT}"
    assert line == f"error: {where}: has no file 'model_int8.onnx'; it has onnx/model.onnx"


def test_a_tokenizer_may_be_that_of_a_folder(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "words", {"tokenizer.json": tokenizer_bytes()})
    (tmp_path / "bare.onnx").write_bytes(text_graph())
    flags = ("--pooling", "mean", "--normalize", "--max-length", "9")

    done("models", "add", tmp_path / "bare.onnx", "--tokenizer", folder, *flags)

    assert catalog.find("bare").file("tokenizer").read_bytes() == tokenizer_bytes()


def test_a_name_that_no_zoo_has_is_not_to_be_pulled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Site()) as site:
        monkeypatch.setenv("FEATX_ZOO", site.url)

        line = refusal("models", "pull", "none")

    assert line.endswith(f"; nor has {site.url} one of that name")


def test_a_zoo_of_another_scheme_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_ZOO", "ftp://host/zoo")

    assert refusal("models", "list") == (
        "error: FEATX_ZOO: ftp://host/zoo: unknown scheme 'ftp'; expected folders, https:// URLs "
        "and those of object stores: s3://, gs://, az://"
    )


def test_a_folder_of_featx_zoo_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path / "gone"))

    line = refusal("models", "info", "none")

    assert line.endswith(f"; FEATX_ZOO names {tmp_path / 'gone'}, which is no folder")


def test_a_backbone_of_another_zoo_is_removed_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sum.onnx").write_bytes(vector_graph())
    team = tmp_path / "team"
    done("models", "add", tmp_path / "sum.onnx", *VECTORS, "--zoo", team)
    monkeypatch.setenv("FEATX_ZOO", str(team))

    assert refusal("models", "remove", "sum").endswith(f"; say --zoo {team}")
    done("models", "remove", "sum", "--zoo", team)

    assert list(team.glob("*.toml")) == []


def test_an_index_that_pip_cannot_reach_is_told_with_the_reason() -> None:
    said = (
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError("
        "'<object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')'"
    )

    assert str(_refusal("small==1", said)) == (
        "pypi:small==1: pip cannot reach its index: [Errno 111] Connection refused; is the "
        "network there? pip's own settings say where the index is: pip config list"
    )
