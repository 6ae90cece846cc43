"""URLs as sources, as far as no server is needed: prefixes over a folder, patterns, file URLs."""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

import featx
from command_line import done, refused
from featx.cli import main
from featx.cli.index import build
from featx.cli.localpath import local_path
from featx.data.places import open_place
from featx.data.places.keeping import copies, drop, held, release, using
from featx.data.sources import open_source
from featx.data.sources.folder import Folder
from featx.data.sources.options import Options
from featx.data.sources.tree import StoredTree
from featx.data.sources.urls import matches
from featx.errors import InputError, StoreError
from featx.types import Stored
from gallery_sets import vectors, write_set

NAMES = ["cat/10.jpg", "cat/9.jpg", "dog/b.JPG", "dog/x.md", ".h/a.jpg", "dog/.h.jpg", "top.jpg"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes(name.encode())
    return tmp_path / "there"


def test_a_prefix_is_listed_as_a_folder_is(tree: Path) -> None:
    options = Options(modality="image")
    far, near = Folder(StoredTree(open_place(tree)), options), Folder(tree, options)

    def facts(folder: Folder) -> list[tuple[str, str | None, str]]:
        return [(item.id, item.label, item.uri) for item in folder]

    assert facts(far) == facts(near)
    assert [ident for ident, _, _ in facts(far)][:2] == ["cat/9.jpg", "cat/10.jpg"]
    assert (len(far), far.skipped_suffixes) == (len(near), near.skipped_suffixes)
    contents = [item.content for item in far if isinstance(item.content, Stored)]
    assert [content.size_bytes for content in contents] == [9, 10, 9, 7]
    assert len({content.tag for content in contents}) == 4


@pytest.mark.parametrize(
    ("pattern", "name", "is_one"),
    [
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "a/b.jpg", False),
        ("**/*.jpg", "a.jpg", True),
        ("**/*.jpg", "a/b/c.jpg", True),
        ("**/*.jpg", "a/.h/c.jpg", False),
        ("a/*/c.jpg", "a/b/c.jpg", True),
        ("[ab]?.jpg", "b1.jpg", True),
        ("*.jpg", ".h.jpg", False),
        (".*.jpg", ".h.jpg", True),
        ("A.jpg", "a.jpg", False),
    ],
)
def test_a_pattern_matches_what_a_glob_does(
    tmp_path: Path, pattern: str, name: str, is_one: bool
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()

    assert matches(name.split("/"), pattern.split("/")) == is_one
    assert (tmp_path / name in tmp_path.glob(pattern)) == is_one or ".h" in name


def test_a_file_url_is_a_source(tree: Path) -> None:
    far = open_source(f"file://{tree}", modality="image")

    assert [item.id for item in far] == [i.id for i in open_source(tree, modality="image")]
    assert far.describe()["paths"] == [str(tree)]


def test_a_set_at_a_file_url_is_mapped_where_it_lies(tmp_path: Path) -> None:
    near = write_set(tmp_path / "x.emb", vectors(10))
    url = f"file://{tmp_path}/x.emb"

    assert featx.open(url).path == near.path
    assert done("cat", url) == done("cat", near.path)
    assert done("label", url, labels(tmp_path)).startswith(str(near.path))


def labels(tmp_path: Path) -> Path:
    (tmp_path / "labels.csv").write_text("id,label\ni0,new\n")
    return tmp_path / "labels.csv"


def test_a_url_is_no_folder_to_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        np.save(f"{name}.npy", vectors(10))
        done("embed", f"{name}.npy", "-m", "identity", "-o", f"{name}.emb")

    line = refused("merge", "a.emb", "b.emb", "-o", "s3://team/y.emb")

    assert line == "s3://team/y.emb: is a URL; a path of this machine is needed here"
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "a.emb", "-o", "s3://team/y"),
        ("train", "a.emb", "-o", "x.head", "--suspects", "s3://team/y"),
        ("zeroshot", "a.emb", "-o", "s3://team/y", "--class", "a"),
        ("export", "a.emb", "-o", "s3://team/y"),
        ("adapt", "s3://team/y", "--target", "a.emb", "-o", "x.head"),
        ("adapt", "x.head", "--target", "a.emb", "-o", "s3://team/y"),
        ("finetune", "a.npy", "-m", "identity", "-o", "s3://team/y"),
        ("predict", "s3://team/y", "a.emb"),
        ("predict", "x.head", "a.emb", "-o", "s3://team/y"),
        ("evaluate", "s3://team/y", "a.emb"),
        ("search", "s3://team/y", "a.emb"),
        ("index", "a.emb", "-o", "s3://team/y"),
        ("index", "add", "s3://team/y", "a.emb"),
        ("index", "stats", "s3://team/y"),
        ("report", "a.emb", "-o", "s3://team/y"),
        ("map", "a.emb", "-o", "s3://team/y"),
        ("compare", "a", "-o", "s3://team/y"),
        ("inspect", "a.emb", "--apply", "s3://team/y"),
        ("label", "a.emb", "s3://team/y"),
        ("label-next", "a.emb", "-o", "s3://team/y"),
        ("merge", "a.emb", "-o", "s3://team/y"),
        ("serve", "s3://team/y"),
        ("cache", "stats", "--cache-dir", "s3://team/y"),
    ],
)
def test_what_has_to_lie_on_this_machine_is_no_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.emb").mkdir()

    assert refused(*arguments) == "s3://team/y: is a URL; a path of this machine is needed here"


def paths_of(command: click.Command) -> Iterator[click.Parameter]:
    with click.Context(command) as ctx:
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                if (found := command.get_command(ctx, name)) is not None:
                    yield from paths_of(found)
    yield from (each for each in command.params if isinstance(each.type, click.Path))


def test_every_path_of_a_command_says_what_it_does_with_urls() -> None:
    kinds = {type(each.type).__name__ for each in (*paths_of(main), *build.params)}

    assert "Path" not in kinds
    assert {"LocalPath", "NewSet", "OwnSet", "SetPath"} <= kinds


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert local_path(f"file://{tmp_path}/a%20b") == f"{tmp_path}/a b"
    assert local_path("a:b/c") == "a:b/c"


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "http://host/y", "-m", "identity", "-o", "x.emb"),
        ("embed", "a.npy", "-m", "identity", "-o", "http://host/y"),
        ("train", "http://host/y", "-o", "x.head"),
    ],
)
def test_urls_that_are_not_read_are_told_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert refused(*arguments) == (
        "http://host/y: no URL that is read here; expected a path, s3://BUCKET/NAME, "
        "gs://BUCKET/NAME, az://CONTAINER/NAME or file:///PATH"
    )


def test_a_list_says_which_of_its_urls_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.list").write_text("s3://me:hidden@team/a.jpg\ns3://team/b.jpg\n")

    items = list(open_source(tmp_path / "x.list", modality="image"))

    assert "holds a user name or a password" in items[0].problem
    assert "hidden" not in items[0].problem + items[0].id
    assert (items[1].id, items[1].uri) == ("s3://team/b.jpg", "s3://team/b.jpg")


def test_a_copy_that_is_used_is_not_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "places" / "one"
    with held(folder) as is_alone:
        (folder / "x").touch()

    assert is_alone
    assert not drop(folder)
    release()
    assert drop(folder)
    assert not folder.exists()


def test_without_a_cache_copies_lie_nowhere_that_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "a"))

    assert copies() == tmp_path / "a" / "places"
    with using(tmp_path / "b"):
        assert copies() == tmp_path / "b" / "places"
        with using(None):
            assert not copies().is_relative_to(tmp_path)
    assert copies() == tmp_path / "a" / "places"


def test_a_name_that_leads_out_of_a_place_is_refused(tree: Path) -> None:
    with pytest.raises(StoreError, match="refused"):
        StoredTree(open_place(tree)).place.read("../secret")
    with pytest.raises(InputError, match="names no bucket"):
        open_source("s3://", modality="image")
