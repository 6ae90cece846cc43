"""Sources at URLs list what a local copy lists, and what has not changed is not read again."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featx.data.places import open_place
from featx.data.sources import guess_modality, open_description, open_source
from featx.errors import InputError
from featx.modality.content import read_bytes
from featx.types import Content, Item

pytestmark = pytest.mark.s3

Facts = tuple[str, str | None, str | None, bytes | str, str]


@pytest.fixture(autouse=True)
def own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder that is uploaded by `uploaded`."""
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def uploaded(tree: Path, bucket: str) -> str:
    place = open_place(bucket)
    for path in tree.rglob("*"):
        if path.is_file():
            place.put_file(path.relative_to(tree).as_posix(), path)
    return bucket


def written(tree: Path, *names: str) -> None:
    for name in names:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {name}".encode())


def facts(item: Item, root: str) -> Facts:
    content: Content | bytes = item.content
    held = b"" if item.problem else content if isinstance(content, str) else read_bytes(content)
    assert isinstance(held, bytes | str)
    return item.id, item.label, item.split, held, item.uri.removeprefix(root)


def assert_same(there: str, tree: Path, name: str = "", modality: str = "image") -> None:
    """Compare what is listed at a URL with what is listed locally."""
    at = f"/{name}" if name else ""
    far, near = (open_source(f"{root}{at}", modality=modality) for root in (there, str(tree)))
    expected = [facts(item, str(tree)) for item in near]

    assert [facts(item, there) for item in far] == expected
    assert len(far) == len(near) == len(expected)
    assert far.skipped == near.skipped
    assert [facts(i, there) for i in open_description(far.describe())] == expected
    assert guess_modality(f"{there}{at}") == modality


def test_a_prefix_lists_what_a_folder_lists(bucket: str, tree: Path) -> None:
    written(tree, "cat/10.jpg", "cat/9.jpg", "dog/a b%20ü.png", "dog/.hidden.jpg", ".h/a.jpg")
    written(tree, "notes.md", "cat/x.md", "top.jpg")

    assert_same(uploaded(tree, bucket), tree)


def test_splits_are_folders_of_a_prefix(bucket: str, tree: Path) -> None:
    written(tree, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "val/dog/3.jpg")

    assert_same(uploaded(tree, bucket), tree)


def test_a_metadata_file_lists_a_prefix(bucket: str, tree: Path) -> None:
    written(tree, "train/a.jpg", "train/deep/b.jpg", "test/c.jpg")
    listed = "file_name,label\na.jpg,x\ndeep/b.jpg,y\nnone.jpg,z\n"
    (tree / "train" / "metadata.csv").write_text(listed)

    assert_same(uploaded(tree, bucket), tree)


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl", "reviews.parquet"])
def test_a_table_of_texts_is_the_local_one(bucket: str, tree: Path, name: str) -> None:
    table = pa.table({"text": ["good", "bad"], "label": ["p", "n"], "split": ["train", "test"]})
    if name.endswith("parquet"):
        pq.write_table(table, tree / name)
    else:
        rows = '{"text": "good", "label": "p"}\n{"text": "bad"}\n'
        (tree / name).write_text("text,label\ngood,p\nbad,n\n" if "csv" in name else rows)

    assert_same(uploaded(tree, bucket), tree, name, "text")


def test_a_table_names_files_beside_it_and_at_urls(bucket: str, tree: Path) -> None:
    written(tree, "deep/images/a.jpg", "b.jpg")
    rows = f"image\nimages/a.jpg\n../b.jpg\n{bucket}/b.jpg\n/etc/passwd\ns3://u:p@b/x\n"
    (tree / "deep" / "list.csv").write_text(rows)
    there = uploaded(tree, bucket)

    items = list(open_source(f"{there}/deep/list.csv", modality="image"))

    contents = [read_bytes(item.content) for item in items[:3]]
    assert contents == [b"content of deep/images/a.jpg", *[b"content of b.jpg"] * 2]
    assert [item.uri for item in items[1:3]] == [f"{bucket}/b.jpg"] * 2
    assert "does not lie in the bucket of" in items[3].problem
    assert "holds a user name or a password" in items[4].problem
    assert items[0].id == "list.csv:1"


def test_a_local_list_names_urls(bucket: str, tree: Path) -> None:
    written(tree, "a.jpg")
    there = uploaded(tree, bucket)
    (tree / "all.list").write_text(f"{there}/a.jpg\na.jpg\n")

    items = list(open_source(tree / "all.list", modality="image"))

    assert [read_bytes(item.content) for item in items] == [b"content of a.jpg"] * 2
    assert [item.id for item in items] == [f"{there}/a.jpg", "a.jpg"]


@pytest.mark.parametrize("name", ["lines.txt", "vectors.npy", "paths.list", "shard.tar"])
def test_a_file_of_items_is_the_local_one(bucket: str, tree: Path, name: str) -> None:
    written(tree, "a.jpg")
    (tree / "lines.txt").write_text("one\ntwo\n")
    (tree / "paths.list").write_text("a.jpg\n")
    np.save(tree / "vectors.npy", np.eye(3, dtype=np.float32))
    write_tar(tree / "shard.tar", "1.jpg", "2.jpg")
    modality = {"lines.txt": "text", "vectors.npy": "array"}.get(name, "image")

    assert_same(uploaded(tree, bucket), tree, name, modality)


def write_tar(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            raw = f"{path.name} {name}".encode()
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))


def test_tars_below_a_prefix_are_those_below_a_folder(bucket: str, tree: Path) -> None:
    write_tar(tree / "train" / "s-3.tar", "a.jpg", "a.cls")
    write_tar(tree / "test" / "s-1.tar", "b.jpg")
    (tree / "test" / "s-2.tar").write_bytes(b"no tar at all" * 100)

    assert_same(uploaded(tree, bucket), tree)


def test_braces_and_globs_are_those_of_paths(bucket: str, tree: Path) -> None:
    for number in (8, 9, 10):
        write_tar(tree / f"s-{number:02}.tar", "a.jpg")
    written(tree, "x/1.jpg", "x/2.png", "x/y/3.jpg", "x/n.md")
    there = uploaded(tree, bucket)

    def ids(*arguments: str, root: str) -> list[str]:
        found = open_source([f"{root}/{each}" for each in arguments], modality="image")
        return [item.id.removeprefix(root) for item in found]

    for arguments in (["s-{08..10}.tar"], ["x/*.jpg"], ["x/**/*.jpg"], ["x/*", "s-08.tar"], ["x"]):
        near = ids(*arguments, root=str(tree))
        # A folder that a glob matches is one only on a disk.
        near = [each for each in near if arguments[0] != "x/*" or "/y/" not in each]
        assert ids(*arguments, root=there) == near
    with pytest.raises(InputError, match="no files match"):
        ids("x/*.gif", root=there)


def test_single_files_have_their_url_as_id(bucket: str, tree: Path) -> None:
    written(tree, "a.jpg", "b")
    there = uploaded(tree, bucket)

    items = list(open_source([f"{there}/a.jpg", f"{there}/b"], modality="image"))

    assert [(i.id, i.uri) for i in items] == [(f"{there}/a.jpg",) * 2, (f"{there}/b",) * 2]
    assert [read_bytes(item.content) for item in items] == [b"content of a.jpg", b"content of b"]


@pytest.mark.parametrize("name", ["none", "none.jpg", "none.csv", "none.tar"])
def test_what_is_not_there_is_said(bucket: str, name: str) -> None:
    with pytest.raises(Exception, match=rf"^{bucket}/{name}: no such file"):
        open_source(f"{bucket}/{name}", modality="text" if name == "none.csv" else "image")


def test_a_message_names_the_url(bucket: str, tree: Path) -> None:
    (tree / "x.csv").write_text("a,b\n1,2\n")
    there = uploaded(tree, bucket)

    with pytest.raises(InputError, match=f"^{there}/x.csv: no columns of text; columns: a, b"):
        open_source(f"{there}/x.csv", modality="text")


def test_a_file_is_copied_once_for_each_version(bucket: str, tree: Path, tmp_path: Path) -> None:
    (tree / "x.txt").write_text("one\n")
    there = uploaded(tree, bucket)

    def texts() -> list[object]:
        return [item.content for item in open_source(f"{there}/x.txt", modality="text")]

    first, second = texts(), texts()
    copies = sorted((tmp_path / "cache" / "places").iterdir())
    open_place(there).put("x.txt", b"two\n")

    assert (first, second, texts()) == (["one"], ["one"], ["two"])
    assert len(copies) == 1
    assert len(list((tmp_path / "cache" / "places").iterdir())) == 2
