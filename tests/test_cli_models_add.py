"""``featx models add``, ``pull`` and ``remove``, as a user types them."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import call, done, refused
from featx.zoo import catalog
from hubfolders import TABLE, sentence_files, text_graph, tokenizer_bytes, write_files
from websites import COMMIT, Site, add_repository, served, use_hub

WRONG_SHA256 = "it is another file, or the sha256 is wrong; nothing was kept"


pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with served(Site()) as site:
        use_hub(monkeypatch, site, tmp_path / "hub")
        yield site


def test_a_folder_is_added_and_each_value_told_with_its_source(
    tmp_path: Path, user_zoo: Path
) -> None:
    write_files(tmp_path / "small", sentence_files())

    lines = done("models", "add", tmp_path / "small").splitlines()

    told = {line.split()[0]: re.split(r" {2,}", line)[1:] for line in lines[:-1]}
    assert told["pooling"] == ["mean", "1_Pooling/config.json: pooling_mode_mean_tokens"]
    assert told["prompts.query"] == ["'red '", "config_sentence_transformers.json: prompts"]
    assert told["normalize"] == ["yes", "modules.json: Normalize"]
    assert lines[-1] == f"small: added to {user_zoo}"


def test_a_model_of_the_hub_embeds_texts(hub: Site, tmp_path: Path) -> None:
    add_repository(hub, "org/small", sentence_files())
    (tmp_path / "texts.txt").write_text("red cat\n")

    (added,) = json.loads(done("models", "add", "hf:org/small@main", "--json"))["models"]
    done("embed", tmp_path / "texts.txt", "-m", "small", "-o", tmp_path / "texts.emb", "--quiet")

    assert added["name"] == "small"
    graph = catalog.find("small").files["graph"]
    assert graph.url == f"hf:org/small@{COMMIT}:onnx/model.onnx"
    mean = TABLE[[2, 4, 7, 3]].mean(axis=0)
    (row,) = np.load(next((tmp_path / "texts.emb").glob("*.npy")))
    np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_flags_say_what_files_do_not(tmp_path: Path) -> None:
    write_files(tmp_path, {"model.onnx": text_graph(), "words.json": tokenizer_bytes()})
    argv = ("models", "add", tmp_path / "model.onnx", "--name", "mine", "--license", "MIT")

    asked = refused(*argv)
    done(
        *(*argv, "--pooling", "last_token", "--no-normalize", "--max-length", "8"),
        *("--tokenizer", tmp_path / "words.json", "--prompt", "query=red ", "--dim", "4"),
        *("--text", "truncation=start"),
    )

    assert asked.endswith(
        "say: --pooling mean|cls|last_token|none --normalize or --no-normalize "
        "--max-length TOKENS --tokenizer FILE"
    )
    manifest = catalog.find("mine")
    assert (manifest.pooling, manifest.normalize, manifest.max_length) == ("last_token", False, 8)
    assert (manifest.license, manifest.prompts) == ("MIT", {"query": "red "})
    assert manifest.text is not None
    assert manifest.text.truncation == "start"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--text", "truncatio=start"), "unknown key of --text 'truncatio'; did you mean"),
        (("--text", "truncation=middle"), "truncation = 'middle'; expected 'end' | 'start'"),
        (("--text", "truncation"), "--text 'truncation': expected KEY=VALUE"),
        (("--dim", "5"), "dim = 5 by --dim; "),
        (("--name", "../x"), "'../x': a name has a-z 0-9"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path: Path, flags: tuple[str, str], message: str) -> None:
    write_files(tmp_path / "small", sentence_files())

    assert message in refused("models", "add", tmp_path / "small", *flags)


def test_a_prompt_without_a_name_is_a_wrong_use(tmp_path: Path) -> None:
    result = call("models", "add", tmp_path, "--prompt", "query")

    assert result.exit_code == 2
    assert "--prompt 'query': expected NAME=VALUE" in result.stderr


def test_a_size_for_people_bounds_what_is_fetched(hub: Site) -> None:
    add_repository(hub, "org/small", sentence_files())

    found = refused("models", "add", "hf:org/small", "--max-size", "0.1kB")

    assert found.endswith("at most 100 bytes are allowed; allow more with --max-size")
    assert call("models", "add", "x", "--max-size", "huge").exit_code == 2


def test_a_model_is_added_to_another_zoo(tmp_path: Path, user_zoo: Path) -> None:
    write_files(tmp_path / "small", sentence_files())

    done("models", "add", tmp_path / "small", "--zoo", tmp_path / "team")

    assert (tmp_path / "team" / "small.toml").is_file()
    assert not user_zoo.exists()


def test_a_model_that_is_not_here_is_pulled_and_removed(
    tmp_path: Path, user_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "small", sentence_files())
    done("models", "add", tmp_path / "small", "--zoo", tmp_path / "site")
    files = {
        f"/{path.relative_to(tmp_path / 'site').as_posix()}": path.read_bytes()
        for path in (tmp_path / "site").rglob("*")
        if path.is_file()
    }
    with served(Site(files=files)) as site:
        monkeypatch.setenv("FEATX_ZOO", site.url)
        unknown = refused("embed", tmp_path, "-m", "small", "-o", tmp_path / "x.emb")
        first = done("models", "pull", "small")
    second = done("models", "pull", "small")

    assert unknown.startswith("unknown model 'small'; ")
    assert unknown.endswith("; or run: featx models pull small")
    assert first == f"small: fetched to {user_zoo}\n"
    assert second == f"small: is here, in {user_zoo}\n"
    freed = sum(len(files[f"/small/{name}"]) for name in ("model.onnx", "tokenizer.json"))
    removed = json.loads(done("models", "remove", "small", "--json"))
    assert removed == {"models": [{"name": "small", "freed_bytes": freed}]}
    assert [path for path in user_zoo.rglob("*") if path.is_file()] == []


def test_a_wrong_sha256_of_a_url_is_refused(hub: Site) -> None:
    hub.files["/model.onnx"] = text_graph()
    found = hashlib.sha256(text_graph()).hexdigest()

    result = call("models", "add", f"{hub.url}/model.onnx#sha256={'0' * 64}")

    fetching, error = result.stderr.splitlines()
    assert result.exit_code == 1
    assert fetching == f"fetching {hub.url}/model.onnx: {len(text_graph())} bytes"
    assert error.endswith(f"sha256 {found}; expected {'0' * 64}; {WRONG_SHA256}")


def test_a_model_that_nobody_has_is_neither_pulled_nor_removed() -> None:
    assert "unknown model 'none'" in refused("models", "pull", "none")
    assert "unknown model 'none'" in refused("models", "remove", "none")
