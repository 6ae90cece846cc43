"""Shared manifests: their files are fetched where they say, checked, and written last of all."""

import hashlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from featx.errors import FeatxError, InputError, ManifestError, ServerError, StoreError
from featx.onboard.fetch.kept import kept
from featx.onboard.fetch.pulling import add_manifest, pull
from featx.onboard.placing import remove
from featx.onboard.read.choices import Choices
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry, Manifest
from featx.zoo.writing import manifest_text, write_manifest
from hubfolders import add, opens, sentence_files, text_graph, tokenizer_bytes, write_files
from websites import Site, add_repository, served, use_hub

GRAPH, TOKENIZER = text_graph(), tokenizer_bytes()


@pytest.fixture(autouse=True)
def user_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FEATX_ZOO", raising=False)
    return tmp_path / "data" / "featx" / "zoo"


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Site()) as site:
        yield site


def entry(path: str, raw: bytes, url: str = "") -> FileEntry:
    sha256 = hashlib.sha256(raw).hexdigest()
    return FileEntry(path=path, sha256=sha256, size_bytes=len(raw), url=url)


def manifest(name: str = "team", *, url: str = "") -> Manifest:
    """Return a manifest of two files, the graph at a URL of its own if there is one."""
    graph = entry("files/model.onnx", GRAPH)
    return Manifest(
        schema=1,
        name=name,
        modality="text",
        summary="a test",
        license="CC0-1.0",
        source="a test",
        weights="test/team",
        dim=4,
        pooling="mean",
        normalize=True,
        max_length=16,
        files={
            "graph": replace(graph, url=url and f"{url}#sha256={graph.sha256}"),
            "tokenizer": entry("files/tokenizer.json", TOKENIZER),
        },
        inputs={"token_ids": "input_ids", "attention_mask": "attention_mask"},
        outputs={"tokens": "last_hidden_state"},
    )


def share(site: Site, found: Manifest) -> None:
    """Serve a zoo of one manifest under /zoo."""
    site.files |= {
        f"/zoo/{found.name}.toml": manifest_text(found).encode(),
        "/zoo/files/model.onnx": GRAPH,
        "/zoo/files/tokenizer.json": TOKENIZER,
        f"/zoo/golden/{found.name}.npz": b"golden",
    }


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Have the system refuse to write more to a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def problems(name: str) -> list[str]:
    return [check.problem for check in catalog.check_files(catalog.find(name))]


def test_a_model_of_a_zoo_at_a_url_is_pulled(
    site: Site, user_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(site, manifest())
    monkeypatch.setenv("FEATX_ZOO", f"{user_zoo.parent}{os.pathsep}{site.url}/zoo")

    pulled, is_new = pull("team")

    assert (pulled.folder, is_new) == (user_zoo, True)
    assert problems("team") == ["", ""]
    assert pulled.facts() == manifest().facts()
    assert pulled.files["graph"].url.startswith(f"{site.url}/zoo/files/model.onnx#sha256=")
    assert catalog.golden_file(pulled).read_bytes() == b"golden"
    asked = len(site.asked)
    assert pull("team") == (catalog.find("team"), False)
    assert len(site.asked) == asked


def test_a_name_with_spaces_is_asked_for_as_a_url_has_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = entry("files/my model #2.onnx", GRAPH)
    share(site, replace(manifest(), files=manifest().files | {"graph": spaced}))
    site.files["/zoo/files/my model #2.onnx"] = GRAPH
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/zoo")

    pulled, _ = pull("team")

    assert problems("team") == ["", ""]
    assert pulled.file("graph").name == "my model #2.onnx"
    assert pulled.files["graph"].url.startswith(f"{site.url}/zoo/files/my%20model%20%232.onnx#")


def test_a_store_that_may_not_be_listed_says_forbidden_where_nothing_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(site, manifest())
    del site.files["/zoo/golden/team.npz"]
    for path in ("/s3/team.toml", "/s3/other.toml", "/zoo/golden/team.npz"):
        site.statuses[path] = 403
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/s3{os.pathsep}{site.url}/zoo")

    pulled, _ = pull("team")

    assert pulled.facts() == manifest().facts()
    assert not catalog.golden_file(pulled).exists()
    with pytest.raises(ServerError, match=r"/s3/other\.toml: answered 403 .*or not there"):
        pull("other")


def test_golden_vectors_that_the_disk_does_not_take_are_said(
    site: Site, user_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(site, manifest())
    most = max(len(GRAPH), len(TOKENIZER), 20_000)
    site.files["/zoo/golden/team.npz"] = bytes(2 * most)
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/zoo")

    with largest_file(most), pytest.raises(StoreError, match=r"golden/team\.npz: File too large"):
        pull("team")

    assert list(user_zoo.iterdir()) == []


def test_the_download_of_a_tokenizer_is_not_kept(site: Site, tmp_path: Path) -> None:
    site.files["/tokenizer.json"] = TOKENIZER
    write_files(tmp_path / "small", sentence_files(**{"tokenizer.json": None}))
    url = f"{site.url}/tokenizer.json#sha256={hashlib.sha256(TOKENIZER).hexdigest()}"

    added = add(str(tmp_path / "small"), Choices(tokenizer=url), checks=opens).manifest

    assert added.file("tokenizer").read_bytes() == TOKENIZER
    assert added.files["tokenizer"].url == url
    assert list(kept("").iterdir()) == []


def test_a_model_that_no_zoo_has_is_unknown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/zoo/")

    with pytest.raises(FeatxError, match="unknown model 'team'"):
        pull("team")
    assert [path for _, path, _ in site.asked] == ["/zoo/team.toml"]


def test_looking_a_model_up_asks_no_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    share(site, manifest())
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/zoo")

    with pytest.raises(FeatxError, match="or run: featx models pull team"):
        catalog.find("team")
    assert site.asked == []


def test_a_manifest_in_a_folder_is_completed_in_place(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/model.onnx"] = GRAPH
    write_files(tmp_path / "shared", {"files/tokenizer.json": TOKENIZER})
    write_manifest(tmp_path / "shared" / "team.toml", manifest(url=f"{site.url}/model.onnx"))
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path / "shared"))

    with pytest.raises(InputError, match="team: not on this machine; run: featx models pull team"):
        catalog.require_files(catalog.find("team"))
    pull("team")

    assert problems("team") == ["", ""]
    assert (tmp_path / "shared" / "files" / "model.onnx").read_bytes() == GRAPH
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"files", "team.toml"}


def test_a_shared_manifest_is_added_with_the_files_beside_it(
    tmp_path: Path, user_zoo: Path
) -> None:
    write_files(
        tmp_path / "shared",
        {
            "files/model.onnx": GRAPH,
            "files/tokenizer.json": TOKENIZER,
            "golden/team.npz": b"golden",
        },
    )
    write_manifest(tmp_path / "shared" / "team.toml", manifest())

    added = add_manifest(str(tmp_path / "shared" / "team.toml"))

    assert added == catalog.find("team")
    assert added.file("graph") == user_zoo / "team" / "model.onnx"
    assert problems("team") == ["", ""]
    assert catalog.golden_file(added).read_bytes() == b"golden"


def test_a_shared_manifest_is_added_from_a_url(site: Site) -> None:
    share(site, manifest())
    sha256 = hashlib.sha256(site.files["/zoo/team.toml"]).hexdigest()

    add_manifest(f"{site.url}/zoo/team.toml#sha256={sha256}")

    assert problems("team") == ["", ""]


def test_weights_in_a_folder_of_their_own_stay_where_the_graph_looks(tmp_path: Path) -> None:
    raw = b"weights"
    graph = text_graph(external="large/part.bin")
    files = manifest().files | {
        "graph": entry("files/model.onnx", graph),
        "weights": entry("files/large/part.bin", raw),
    }
    write_files(
        tmp_path / "shared",
        {
            "files/model.onnx": graph,
            "files/large/part.bin": raw,
            "files/tokenizer.json": TOKENIZER,
        },
    )
    write_manifest(tmp_path / "shared" / "team.toml", replace(manifest(), files=files))

    added = add_manifest(str(tmp_path / "shared" / "team.toml"))

    assert added.file("weights") == added.file("graph").parent / "large" / "part.bin"
    assert problems("team") == ["", "", ""]


def test_an_added_model_of_a_hub_is_pulled_elsewhere_by_its_manifest(
    site: Site, tmp_path: Path, user_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_repository(site, "org/small", sentence_files())
    use_hub(monkeypatch, site, tmp_path / "hub")
    first = add("hf:org/small", Choices(), checks=opens).manifest
    text = (user_zoo / "small.toml").read_text()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "another-hub"))
    (tmp_path / "sent.toml").write_text(text)

    again = add_manifest(str(tmp_path / "sent.toml"))

    assert again.folder != first.folder
    assert again.facts() == first.facts()
    assert problems("small") == ["", ""]


def test_a_file_that_is_not_what_the_manifest_says_is_refused(
    site: Site, user_zoo: Path, tmp_path: Path
) -> None:
    write_files(tmp_path, {"files/model.onnx": GRAPH[::-1], "files/tokenizer.json": TOKENIZER})
    write_manifest(tmp_path / "team.toml", manifest())

    with pytest.raises(InputError, match=r"files/model\.onnx: sha256 .*; the manifest says "):
        add_manifest(str(tmp_path / "team.toml"))
    assert list(user_zoo.iterdir()) == []


def test_a_revision_that_moved_is_found_out(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_repository(site, "org/small", {"model.onnx": GRAPH[::-1]})
    use_hub(monkeypatch, site, tmp_path / "hub")
    files = {"graph": entry("model.onnx", GRAPH, "hf:org/small@main:model.onnx")}
    write_manifest(tmp_path / "team.toml", replace(manifest(), files=files))

    with pytest.raises(InputError, match=r"^hf:org/small@main:model\.onnx: sha256 .*the manifest"):
        add_manifest(str(tmp_path / "team.toml"))


def test_a_file_that_no_url_is_said_of_cannot_be_fetched(tmp_path: Path) -> None:
    write_manifest(tmp_path / "team.toml", manifest())

    with pytest.raises(
        InputError, match=r"model\.onnx: missing, and its manifest has no url of it"
    ):
        add_manifest(str(tmp_path / "team.toml"))


@pytest.mark.parametrize("url", ["/etc/passwd", "../x", "secret.txt"])
def test_a_path_is_no_url_of_a_manifest(tmp_path: Path, url: str) -> None:
    files = {"graph": entry("model.onnx", GRAPH, url)}
    write_manifest(tmp_path / "team.toml", replace(manifest(), files=files))

    with pytest.raises(InputError, match="is a path; expected hf:, pypi: or https:"):
        add_manifest(str(tmp_path / "team.toml"))


@pytest.mark.parametrize("name", ["../evil", "/evil", "golden"])
def test_the_name_in_a_manifest_leads_nowhere(tmp_path: Path, name: str) -> None:
    write_manifest(tmp_path / "team.toml", manifest(name))

    with pytest.raises(InputError, match="a name has a-z 0-9"):
        add_manifest(str(tmp_path / "team.toml"))


def test_another_name_than_the_one_asked_for_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(site, manifest())
    site.files["/zoo/other.toml"] = site.files["/zoo/team.toml"]
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/zoo")

    with pytest.raises(InputError, match=r"other\.toml: name = 'team'; expected 'other'"):
        pull("other")


def test_a_page_instead_of_a_manifest_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/zoo/team.toml"] = b"<html>log in</html>"
    monkeypatch.setenv("FEATX_ZOO", f"{site.url}/zoo")

    with pytest.raises(ManifestError, match=r"/zoo/team\.toml: not a TOML file"):
        pull("team")


def test_deeply_nested_toml_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "team.toml").write_text(f"x = {'[' * 100_000}")

    with pytest.raises(ManifestError, match="not a TOML file"):
        Manifest.read(tmp_path / "team.toml")


def test_a_zoo_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    write_files(tmp_path, {"files/model.onnx": GRAPH, "files/tokenizer.json": TOKENIZER})
    write_manifest(tmp_path / "team.toml", manifest())
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="choose another place"):
        add_manifest(str(tmp_path / "team.toml"), zoo=tmp_path / "file" / "zoo")


def test_a_removed_model_is_gone_but_for_files_that_others_use(
    tmp_path: Path, user_zoo: Path
) -> None:
    write_files(tmp_path, {"files/model.onnx": GRAPH, "files/tokenizer.json": TOKENIZER})
    write_manifest(tmp_path / "team.toml", manifest())
    added = add_manifest(str(tmp_path / "team.toml"))
    other = replace(added, name="other", files={"tokenizer": added.files["tokenizer"]})
    write_manifest(user_zoo / "other.toml", replace(other, pooling="none"))

    assert remove("team", user_zoo) == len(GRAPH)
    assert not added.file("graph").exists()
    assert added.file("tokenizer").read_bytes() == TOKENIZER
    assert remove("other", user_zoo) == len(TOKENIZER)
    assert list(user_zoo.rglob("*")) == []


def test_what_travels_with_featx_is_not_removed(user_zoo: Path) -> None:
    with pytest.raises(InputError, match=r"minilm-l6: lies in .*; it travels with featx"):
        remove("minilm-l6", user_zoo)


@pytest.mark.parametrize(
    ("text", "paths", "urls"),
    [
        ("", [], []),
        ("/a:/b", ["/a", "/b"], []),
        ("https://host/zoo", [], ["https://host/zoo"]),
        ("/a:https://host:8443/zoo/:/b", ["/a", "/b"], ["https://host:8443/zoo"]),
        ("https://host:/b", ["/b"], ["https://host"]),
        ("s3://team/zoo/:/b:gs://other", ["/b"], ["s3://team/zoo", "gs://other"]),
    ],
)
def test_featx_zoo_holds_paths_and_urls(
    monkeypatch: pytest.MonkeyPatch, text: str, paths: list[str], urls: list[str]
) -> None:
    monkeypatch.setenv("FEATX_ZOO", text)

    assert [str(path) for path in catalog.folders()[:-2]] == paths
    assert catalog.remotes() == urls
