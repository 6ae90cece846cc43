"""Models of a hub: pinned to a commit, continued after a cut, and refused in one line."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from featx.errors import FeatxError, ServerError, StoreError
from featx.onboard.fetch.files import open_files
from featx.onboard.fetch.hub import Repository
from featx.onboard.fetch.origin import parse_origin
from featx.onboard.gathering import gather
from featx.onboard.read.choices import Choices
from hubfolders import add, opens, sentence_files
from websites import COMMIT, Site, add_repository, served, use_hub

FILES = sentence_files()
GRAPH = FILES["onnx/model.onnx"]
CHUNK_BYTES = 10 << 20
"""What the hub's client writes at a time."""

LARGE = f"/large/{hashlib.sha256(GRAPH).hexdigest()}"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()
    with served(site):
        add_repository(site, "org/small", FILES)
        use_hub(monkeypatch, site, tmp_path / "hub")
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield site


def opened(what: str = "hf:org/small") -> Repository:
    files = open_files(parse_origin(what), limit_bytes=1 << 20, say=lambda _: None)
    assert isinstance(files, Repository)
    return files


def refusal(what: str, tmp_path: Path) -> ServerError:
    with pytest.raises(ServerError) as caught:
        opened(what).take("config.json", tmp_path / "taken")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("what", ["hf:org/small", "hf:org/small@main", f"hf:org/small@{COMMIT}"])
def test_a_revision_is_pinned_to_its_commit(what: str) -> None:
    files = opened(what)

    assert files.origin.revision == COMMIT
    assert files.weights_of("onnx/model.onnx") == f"org/small@{COMMIT}"
    assert files.sizes == {name: len(raw) for name, raw in FILES.items()}
    assert files.url("config.json", "") == f"hf:org/small@{COMMIT}:config.json"


@pytest.mark.parametrize(
    ("graphs", "model"),
    [
        (("model.onnx", "onnx/model.onnx", "onnx/model_fp16.onnx", "model_quantized.onnx"), ""),
        (("onnx/model_qint8_avx512_vnni.onnx", "onnx/model_O3.onnx", "onnx/model_q4f16.onnx"), ""),
        (("onnx/text_model.onnx", "onnx/vision_model.onnx", "onnx/audio_model_int8.onnx"), ""),
        (("small/model.onnx", "small/text_model.onnx", "small/model_int8.onnx"), ":small/model"),
        (("onnx/large.onnx", "onnx/large_fp16.onnx"), ":onnx/large"),
        (("onnx/model_large.onnx",), ":onnx/model_large"),
        (("onnx/decoder_model.onnx",), ":onnx/decoder_model"),
    ],
)
def test_other_models_of_a_repository_have_other_weights(
    graphs: tuple[str, ...], model: str
) -> None:
    files = opened()

    assert {files.weights_of(graph) for graph in graphs} == {f"org/small@{COMMIT}{model}"}


def test_two_models_of_a_repository_share_no_space(
    hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    names = ("small/model.onnx", "large/model.onnx", "large/model_fp16.onnx")
    shared = {name: raw for name, raw in FILES.items() if name != "onnx/model.onnx"}
    add_repository(hub, "org/models", shared | dict.fromkeys(names, GRAPH))

    small, large, half = (
        add(f"hf:org/models:{name}", Choices(name=f"m{number}"), checks=opens).manifest
        for number, name in enumerate(names)
    )

    assert small.weights == f"org/models@{COMMIT}:small/model"
    assert large.weights == f"org/models@{COMMIT}:large/model"
    assert small.space() != large.space() == half.space()


def test_a_file_of_unknown_size_is_refused(hub: Site) -> None:
    path = "/api/models/org/small/revision/main"
    told = json.loads(hub.files[path])
    del told["siblings"][0]["size"]
    hub.files[path] = json.dumps(told).encode()

    with pytest.raises(FeatxError, match=r"does not say how large 'README\.md' is; refused"):
        opened("hf:org/small@main")


def test_a_file_in_the_way_of_the_hubs_cache_is_no_matter_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))

    with pytest.raises(StoreError, match="a file is in the way; choose another place"):
        opened().take("config.json", tmp_path / "taken")


def test_a_file_is_taken_at_the_commit_and_kept_in_the_hubs_cache(
    hub: Site, tmp_path: Path
) -> None:
    opened().take("onnx/model.onnx", tmp_path / "a.onnx")
    opened().take("onnx/model.onnx", tmp_path / "b.onnx")

    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes() == GRAPH
    assert not (tmp_path / "a.onnx").is_symlink()
    assert hub.counted()[LARGE] == 1
    heads = {path for method, path, _ in hub.asked if method == "HEAD"}
    assert f"/org/small/resolve/{COMMIT}/onnx/model.onnx" in heads


def test_the_token_is_sent(hub: Site) -> None:
    opened()

    sent = {headers.get("Authorization") for _, _, headers in hub.asked}
    assert sent == {"Bearer hf_secret"}


def test_a_cut_connection_is_continued(hub: Site, tmp_path: Path) -> None:
    raw = bytes(range(256)) * (12 << 12)
    large = f"/large/{hashlib.sha256(raw).hexdigest()}"
    add_repository(hub, "org/large", {"model.onnx": raw})
    hub.cuts[large] = [CHUNK_BYTES + 5000]
    files = open_files(parse_origin("hf:org/large"), limit_bytes=1 << 30, say=lambda _: None)

    files.take("model.onnx", tmp_path / "model.onnx")

    assert (tmp_path / "model.onnx").read_bytes() == raw
    assert hub.ranges(large) == ["", f"bytes={CHUNK_BYTES}-"]


def test_what_was_fetched_is_there_without_a_network(
    hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened("hf:org/small@main").take("onnx/model.onnx", tmp_path / "a.onnx")
    asked = len(hub.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    files = opened(f"hf:org/small@{COMMIT}")
    files.take("onnx/model.onnx", tmp_path / "b.onnx")

    assert files.sizes == {"onnx/model.onnx": len(GRAPH)}
    assert (tmp_path / "b.onnx").read_bytes() == GRAPH
    assert len(hub.asked) == asked


def test_offline_a_graph_is_not_the_only_one_because_no_other_was_fetched(
    hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_repository(hub, "org/small", FILES | {"onnx/model_fp16.onnx": GRAPH})
    gather(opened("hf:org/small:onnx/model_fp16.onnx"), tmp_path / "a", name="small")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(FeatxError, match=r"are here: onnx/model_fp16\.onnx; name the one to take"):
        gather(opened(f"hf:org/small@{COMMIT}"), tmp_path / "b", name="small")
    named = gather(
        opened(f"hf:org/small@{COMMIT}:onnx/model_fp16.onnx"), tmp_path / "c", name="small"
    )
    assert named.path("graph").read_bytes() == GRAPH


@pytest.mark.parametrize("what", ["hf:org/small", "hf:org/small@main"])
def test_offline_a_branch_is_the_commit_that_it_was_when_fetched(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(what).take("onnx/model.onnx", tmp_path / "a.onnx")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    again = opened(what)

    assert again.origin.revision == COMMIT
    again.take("onnx/model.onnx", tmp_path / "b.onnx")
    assert (tmp_path / "b.onnx").read_bytes() == GRAPH


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_what_was_never_fetched_is_refused(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")

    assert str(refusal("hf:org/other", tmp_path)) == (
        f"hf:org/other: not in the hub's cache, and {variable} is set; unset it"
    )


LOADED_OFFLINE = f"""
import os, sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import huggingface_hub.constants
from featx.errors import ServerError
from featx.onboard.fetch.hub import Repository, open_hub
from featx.onboard.fetch.origin import parse_origin

del os.environ["HF_HUB_OFFLINE"]
options = dict(limit_bytes=1 << 20, say=lambda _: None)
listed = Repository(parse_origin("hf:org/small@{COMMIT}"), {{"config.json": 2}}, **options)
for step in (
    lambda: open_hub(parse_origin("hf:org/small"), **options),
    lambda: listed.take("config.json", Path(sys.argv[1])),
):
    try:
        step()
    except ServerError as error:
        print(error.code, error)
"""


def test_a_client_that_was_loaded_offline_stays_so(hub: Site, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOADED_OFFLINE, str(tmp_path / "taken")]

    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    reason = (
        "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE was set when the hub's client was loaded;"
        " start Python again"
    )
    assert ran.stdout.splitlines() == [
        f"offline hf:org/small: {reason}",
        f"offline hf:org/small@{COMMIT}:config.json: {reason}",
    ]
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "header", "message", "code"),
    [
        (401, {}, "the hub answered 401; set HF_TOKEN, or run: hf auth login", "refused"),
        (404, {}, "the hub answered 404; check name and revision, or set HF_TOKEN", "refused"),
        (401, {"X-Error-Code": "RepoNotFound"}, "no such repository, or a private", "not_found"),
        (404, {"X-Error-Code": "RepoNotFound"}, "no such repository, or a private", "not_found"),
        (403, {"X-Error-Code": "GatedRepo"}, "gated; accept its terms on its page", "gated"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "no such revision, or no longer", "moved"),
        (418, {}, "the hub answered 418; try again later", "refused"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(
    hub: Site, tmp_path: Path, status: int, header: dict[str, str], message: str, code: str
) -> None:
    path = "/api/models/org/other/revision/v9"
    hub.statuses[path], hub.headers[path] = status, header

    found = refusal("hf:org/other@v9", tmp_path)

    assert str(found).startswith(f"hf:org/other@v9: {message}")
    assert (found.status, found.code) == (status, code)


def test_weights_that_may_be_a_pickle_are_refused_before_they_are_fetched(
    hub: Site, tmp_path: Path
) -> None:
    add_repository(hub, "org/small", {"pytorch_model.bin": b"\x80\x02"})

    with pytest.raises(FeatxError, match=r"pytorch_model\.bin: may be a Python pickle"):
        gather(opened("hf:org/small:pytorch_model.bin"), tmp_path, name="small")
    assert all("/resolve/" not in path for path in hub.counted())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match=f"hf:org/small@{COMMIT}: has no file 'none.json'"):
        opened().take("none.json", tmp_path / "none")


def test_a_file_that_is_gone_from_its_commit_is_said(hub: Site, tmp_path: Path) -> None:
    files = opened()
    path = f"/org/small/resolve/{COMMIT}/config.json"
    hub.statuses[path], hub.headers[path] = 404, {"X-Error-Code": "EntryNotFound"}

    with pytest.raises(ServerError, match=r"config\.json: no such file at this revision"):
        files.take("config.json", tmp_path / "taken")


def test_a_file_larger_than_allowed_is_not_fetched(hub: Site, tmp_path: Path) -> None:
    files = open_files(parse_origin("hf:org/small"), limit_bytes=100, say=lambda _: None)

    with pytest.raises(FeatxError, match="at most 100 bytes are allowed"):
        files.take("onnx/model.onnx", tmp_path / "taken")
    assert hub.counted()[LARGE] == 0


def test_names_that_lead_elsewhere_are_left_out(hub: Site) -> None:
    add_repository(hub, "org/evil", {"../../x": b"", "/etc/x": b"", "a\\b": b"", "model.onnx": b""})

    assert set(opened("hf:org/evil").sizes) == {"model.onnx"}


def test_no_network_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Site()) as gone:
        pass
    monkeypatch.setenv("HF_ENDPOINT", gone.url)

    found = refusal("hf:org/small", tmp_path)

    assert str(found).startswith("hf:org/small: the hub cannot be reached: ")
    assert str(found).endswith("set HF_HUB_OFFLINE=1 to use what was fetched before")
    assert found.status is None
