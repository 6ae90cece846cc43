"""Sources list the same items each time, and say what is wrong with which row."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.log import CommitLog
from featx.data.sources import (
    SOURCES,
    Columns,
    guess_modality,
    open_description,
    open_source,
)
from featx.data.sources.walk import natural_key, walk
from featx.errors import InputError, ItemError, UnknownNameError
from featx.modality.content import read_bytes
from featx.registry import resolve

if TYPE_CHECKING:
    from featx.types import Item


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def facts(items: "list[Item]") -> list[tuple[str, str | None, str | None]]:
    return [(item.id, item.label, item.split) for item in items]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_kind_of_source_can_be_imported() -> None:
    assert all(callable(resolve("source", SOURCES, kind)) for kind in SOURCES)


def test_class_folders_give_labels_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a10.jpg", "dog/a9.JPG", "cat/deep/x.png", "cat/notes.md", "cat/.h.jpg")
    touch(tmp_path, ".hidden/y.jpg")

    source = open_source(tmp_path, modality="image")

    expected = [("cat/deep/x.png", "cat"), ("dog/a9.JPG", "dog"), ("dog/a10.jpg", "dog")]
    assert facts(list(source)) == [(name, label, None) for name, label in expected]
    assert [item.uri for item in source] == [str(tmp_path / name) for name, _ in expected]
    assert (len(source), source.skipped) == (3, 1)


def test_split_folders_give_splits_and_the_labels_below(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "Valid/dog/2.jpg", "test/cat/3.jpg", "extra/4.jpg")

    found = facts(list(open_source(tmp_path, modality="image")))

    assert found == [
        ("extra/4.jpg", None, None),
        ("test/cat/3.jpg", "cat", "test"),
        ("train/cat/1.jpg", "cat", "train"),
        ("Valid/dog/2.jpg", "dog", "val"),
    ]


def test_a_flat_folder_has_no_labels_and_labels_can_be_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "flat/1.jpg", "classes/cat/1.jpg")

    flat = open_source(tmp_path / "flat", modality="image")
    plain = open_source(tmp_path / "classes", modality="image", labels_from_folders=False)

    assert [item.label for item in [*flat, *plain]] == [None, None]


def test_symlink_loops_end_and_broken_links_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg")
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    (tmp_path / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "cat" / "self.jpg").symlink_to(tmp_path / "cat" / "self.jpg")

    items = list(open_source(tmp_path, modality="image"))

    assert [item.id for item in items] == ["cat/1.jpg", "cat/gone.jpg", "cat/self.jpg"]
    with pytest.raises(ItemError, match="does not exist"):
        read_bytes(items[1].content)
    with pytest.raises(ItemError, match="symbolic links"):
        read_bytes(items[2].content)


def test_pipes_and_sockets_are_problems_and_a_folder_with_a_suffix_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "folder.jpg/1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "null.jpg").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # the path of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.jpg")

    source = open_source(tmp_path, modality="image")

    assert [(item.id, item.problem) for item in source] == [
        ("folder.jpg/1.jpg", ""),
        ("null.jpg", "is a device; only regular files are read"),
        ("pipe.jpg", "is a pipe; only regular files are read"),
        ("socket.jpg", "is a socket; only regular files are read"),
    ]
    assert (len(source), source.skipped) == (4, 1)


def test_a_folder_that_cannot_be_listed_is_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "z/2.jpg")
    name = "d" * 200
    folder = os.open(tmp_path / "a", os.O_RDONLY)
    for _ in range(25):  # deeper than a path may be long
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)

    source = open_source(tmp_path, modality="image")
    items = list(source)

    assert [item.problem for item in items] == ["", "cannot be listed: File name too long", ""]
    assert (items[0].id, items[1].id[:4], items[2].id) == ("a/1.jpg", "a/dd", "z/2.jpg")
    assert items[1].id.endswith("d/")
    assert len(open_source(tmp_path, modality="image")) == 3
    with pytest.raises(InputError, match="cannot be listed"):
        walk(tmp_path, None)
    shutil.rmtree(tmp_path / "a")


names_of_files = st.text(st.sampled_from("aB0129_é.ß "), min_size=1, max_size=7)


@given(st.lists(names_of_files, max_size=30))
def test_names_are_sorted_piece_by_piece_and_numbers_by_value(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(names, key=oracle_key)


def oracle_key(name: str) -> tuple[list[str | int], str]:
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)], name


def test_a_walk_holds_one_folder_at_a_time(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{c}/{i}.jpg" for c in range(20) for i in range(50)))
    source = open_source(tmp_path, modality="image")
    whole = list(source)
    tracemalloc.start()

    count = sum(1 for _ in source)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (count, whole[49].id, whole[50].id) == (1000, "0/49.jpg", "1/0.jpg")
    assert peak_bytes < 60_000


def test_a_folder_without_matching_files_says_what_it_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.md", "b.md", "c.md")

    with pytest.raises(InputError, match=r"no image files \(.*\.jpg.*\); 3 other files"):
        open_source(tmp_path, modality="image")


def test_a_metadata_file_lists_labels_splits_and_missing_files(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "cat/2.jpg")
    write(tmp_path / "metadata.csv", "file_name,label,split\ncat/2.jpg,dog,dev\n3.jpg,cat,train\n")

    items = list(open_source(tmp_path, modality="image"))

    assert facts(items) == [("cat/2.jpg", "dog", "val"), ("3.jpg", "cat", "train")]
    assert [item.problem for item in items] == ["", "metadata.csv lists '3.jpg': no such file"]


def test_metadata_in_split_folders_takes_its_split_from_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "test/cat/2.jpg")
    write(tmp_path / "train" / "metadata.jsonl", '{"file_name": "1.jpg", "label": 7}\n')

    source = open_source(tmp_path, modality="image")

    assert facts(list(source)) == [("train/1.jpg", "7", "train"), ("test/cat/2.jpg", "cat", "test")]
    assert len(source) == 2


def test_csv_rows_become_items_and_bad_rows_become_problems(tmp_path: Path) -> None:
    rows = b'\xef\xbb\xbftext,label\n"a, ""b""\nc",x\n\nd\ne,f,g\n\xff,x\n,\n"k"l,x\nlast,y\n'
    source = open_source(write(tmp_path / "t.csv", rows), modality="text")

    items = list(source)

    assert [item.id for item in items] == [f"t.csv:{row}" for row in range(1, 8)]
    assert items[0].content == 'a, "b"\nc'
    assert [item.problem for item in items[1:4]] == [
        "row 2: 1 field; the header has 2",
        "row 3: 3 fields; the header has 2",
        "row 4: not UTF-8",
    ]
    assert (items[4].content, items[4].label, items[4].problem) == ("", None, "")
    assert items[5].problem.startswith("row 6: ")
    assert (items[6].content, items[6].label) == ("last", "y")
    assert len(source) == len(items)


def test_a_quote_that_is_never_closed_is_a_problem(tmp_path: Path) -> None:
    items = list(open_source(write(tmp_path / "t.csv", 'text\na\n"b\nc\n'), modality="text"))

    assert items[0].content == "a"
    assert items[1].problem == "row 2: unexpected end of data; check its quotes"


def test_fields_longer_than_the_default_limit_are_read(tmp_path: Path) -> None:
    long = "x" * 300_000

    (item,) = open_source(write(tmp_path / "t.csv", f"text\n{long}\n"), modality="text")

    assert item.content == long


def test_the_only_column_of_text_is_found_and_several_are_an_error(tmp_path: Path) -> None:
    one = write(tmp_path / "one.tsv", "review\tstars\tlabel\ngood\t5\tpos\n")
    two = write(tmp_path / "two.csv", "title,review\na,b\n")

    assert [item.content for item in open_source(one, modality="text")] == ["good"]
    with pytest.raises(InputError, match=r"2 columns of text; columns: title, review;.*--text-col"):
        open_source(two, modality="text")
    chosen = open_source(two, modality="text", columns=Columns(text_col="title"))
    assert [item.content for item in chosen] == ["a"]


def test_a_missing_column_names_its_neighbours(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "text,category\na,b\n")

    with pytest.raises(InputError, match=r"no column 'categry'; did you mean 'category'\? columns"):
        open_source(path, modality="text", columns=Columns(label_col="categry"))


def test_ids_and_splits_are_read_and_checked(tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", "id,text,split,class\nu1,a,TRAIN,1\nu2,b,,\n")
    twice = write(tmp_path / "twice.csv", "id,text\nu1,a\nu2,b\nu1,c\n")
    empty = write(tmp_path / "empty.csv", "id,text\n,a\n,b\n")
    split = write(tmp_path / "split.csv", "text,split\na,train\nb,holdout\n")

    assert facts(list(open_source(good, modality="text"))) == [
        ("u1", "1", "train"),
        ("u2", None, None),
    ]
    with pytest.raises(InputError, match="row 3: id 'u1' is also in row 1"):
        open_source(twice, modality="text")
    assert [item.problem[:34] for item in open_source(split, modality="text")] == [
        "",
        "row 2: unknown split 'holdout'; al",
    ]
    items = list(open_source(empty, modality="text"))
    assert [item.id for item in items] == ["empty.csv:1", "empty.csv:2"]
    assert all("each row needs an id" in item.problem for item in items)


def test_bad_json_lines_are_problems(tmp_path: Path) -> None:
    lines = b'{"text": "a", "label": 1.0}\n{"text": \n[1]\n\n{"label": "x"}\n'
    lines += b'{"text": "\\ud800"}\n\xff\n'
    source = open_source(write(tmp_path / "t.jsonl", lines), modality="text")

    items = list(source)

    assert (items[0].content, items[0].label) == ("a", "1.0")
    assert items[1].problem.startswith("row 2: not JSON: ")
    assert [item.problem for item in items[2:]] == [
        "row 3: a list; each line must be an object",
        "row 4: 'text' is missing",
        "row 5: 'text' is not UTF-8; it must be a string",
        "row 6: not UTF-8",
    ]
    assert len(source) == 6


def test_parquet_labels_become_strings_over_several_row_groups(tmp_path: Path) -> None:
    table = pa.table({"text": [f"t{i}" for i in range(5)], "label": [0.0, 1.0, None, np.nan, 2.5]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)

    source = open_source(tmp_path / "t.parquet", modality="text")

    assert [item.label for item in source] == ["0.0", "1.0", None, None, "2.5"]
    assert [item.content for item in source] == [f"t{i}" for i in range(5)]
    assert len(source) == 5


def test_a_column_of_files_is_relative_to_the_table(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "picture,label\nsub/1.jpg,a\n,b\n")

    items = list(open_source(path, modality="image", columns=Columns(image_col="picture")))

    assert items[0].content == tmp_path / "sub" / "1.jpg"
    assert items[1].problem == "row 2: 'picture' is missing"


def test_numeric_columns_become_vectors(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,b,name,a,label\n7,1,x,2.5,0\n8,,y,1,1\n9,3,z,oops,1\n")

    items = list(open_source(path, modality="array"))

    np.testing.assert_array_equal(np.asarray(items[0].content), [1.0, 2.5])
    assert (items[0].id, items[0].label) == ("7", "0")
    assert [item.problem for item in items[1:]] == [
        "row 2: 'b' is ''; it must be a finite number",
        "row 3: 'a' is 'oops'; it must be a finite number",
    ]


def test_lines_of_text_are_items_and_blank_ones_are_skipped(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "t.txt", b"one\r\n\n\xff\n two\n"), modality="text")

    items = list(source)

    assert [(item.id, item.content) for item in items] == [
        ("t.txt:1", "one"),
        ("t.txt:3", ""),
        ("t.txt:4", " two"),
    ]
    assert items[1].problem == "line 3: not UTF-8"
    assert len(source) == 3


def test_a_list_file_names_each_path_once(tmp_path: Path) -> None:
    path = write(tmp_path / "files.txt", "a.jpg\nsub/b.jpg\na.jpg\n")

    source = open_source(f"@{path}", modality="image")

    assert [item.id for item in source] == ["a.jpg", "sub/b.jpg"]
    assert [item.content for item in source] == [tmp_path / "a.jpg", tmp_path / "sub/b.jpg"]
    assert len(source) == 2


def test_standard_input_can_be_iterated_twice() -> None:
    code = (
        "from featx.data.sources import open_source\n"
        "s = open_source('-', modality='text')\n"
        "print([i.content for i in s], [i.id for i in s], len(s))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"a\nb\n", capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == "['a', 'b'] ['stdin:1', 'stdin:2'] 2"


def test_rows_of_an_array_file_whose_name_is_not_utf_8_have_printable_ids(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"q\xff.npy")
    np.save(path, np.eye(2))

    items = list(open_source(path, modality="array"))

    assert [item.id for item in items] == [r"q\xff.npy:1", r"q\xff.npy:2"]


def test_an_id_that_is_not_utf_8_is_refused_by_the_log(tmp_path: Path) -> None:
    log = CommitLog(tmp_path / "log.sqlite")

    with pytest.raises(InputError, match=r"'b\\udcff': is no text that UTF-8 can hold"):
        log.find(["a", "b\udcff"])
    log.close()


def test_npy_rows_are_memory_mapped(tmp_path: Path) -> None:
    X = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "x.npy", X)

    items = list(open_source(tmp_path / "x.npy", modality="array"))

    np.testing.assert_array_equal(np.stack([np.asarray(item.content) for item in items]), X)
    assert [item.id for item in items] == ["x.npy:1", "x.npy:2", "x.npy:3"]


def test_npz_carries_labels_ids_and_splits(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz", X=np.eye(2), y=np.array([3, 4]), ids=["p", "q"], split=["train", "dev"]
    )

    found = facts(list(open_source(tmp_path / "x.npz", modality="array")))

    assert found == [("p", "3", "train"), ("q", "4", "val")]


def test_arrays_that_cannot_be_rows_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "object.npy", np.array([["a", {}]], dtype=object))
    np.savez(tmp_path / "twice.npz", X=np.eye(2), ids=["p", "p"])
    np.savez(tmp_path / "other.npz", vectors=np.eye(2))
    np.savez(tmp_path / "short.npz", X=np.eye(2), y=[1])
    write(tmp_path / "bad.npz", b"nothing")

    cases = {
        "flat.npy": "two or more axes",
        "object.npy": "cannot be read",
        "twice.npz": "row 2: id 'p' is also in row 1",
        "other.npz": "no array 'X'; arrays: vectors",
        "short.npz": r"'y' has shape \(1,\); \(2,\) is needed",
        "bad.npz": "cannot be read",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            open_source(tmp_path / name, modality="array")
    with pytest.raises(InputError, match="holds arrays; the modality is 'text'"):
        open_source(tmp_path / "flat.npy", modality="text")


def test_a_csv_without_commas_may_have_semicolons_or_tabs(tmp_path: Path) -> None:
    cases = {
        "semicolon.csv": "id;text;label\nu1;a, b;x\n",
        "tab.csv": "id\ttext\tlabel\nu1\ta, b\tx\n",
        "quoted.csv": '"id";"text";"label"\n"u1";"a, b";"x"\n',
        "comma.csv": 'id,text,label;name\nu1,"a, b",x\n',
    }
    for name, content in cases.items():
        (item,) = open_source(write(tmp_path / name, content), modality="text")
        assert (item.id, item.content) == ("u1", "a, b")
        assert item.label == (None if name == "comma.csv" else "x")
    (only,) = open_source(write(tmp_path / "one.csv", "text\na;b\n"), modality="text")
    assert only.content == "a;b"


def test_parquet_cells_of_a_wrong_type_are_problems(tmp_path: Path) -> None:
    not_utf8 = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"text": not_utf8}), tmp_path / "bytes.parquet")
    pq.write_table(pa.table({"text": [1, None]}), tmp_path / "numbers.parquet")
    pq.write_table(pa.table({"text": ["a", "b"], "label": [[1], None]}), tmp_path / "lists.parquet")
    far = pa.array([2**53, 0], pa.timestamp("ms"))
    pq.write_table(pa.table({"text": ["a", "b"], "label": far}), tmp_path / "dates.parquet")
    columns = Columns(text_col="text")

    found = {
        path.stem: [i.problem for i in open_source(path, modality="text", columns=columns)]
        for path in sorted(tmp_path.iterdir())
    }

    assert found["bytes"][0] == ""
    assert found["bytes"][1].startswith("row 2: 'text' cannot be read: 'utf-8' codec")
    assert found["numbers"] == [
        "row 1: 'text' is a int; it must be a string",
        "row 2: 'text' is missing",
    ]
    assert found["lists"] == ["row 1: label is a list; it must be one value", ""]
    assert found["dates"][0].startswith("row 1: 'label' cannot be read: ")
    assert found["dates"][1] == ""


def test_a_damaged_row_group_is_one_problem_that_says_which_rows_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"text": [f"text {i}" for i in range(9)]})
    pq.write_table(
        table,
        path,
        row_group_size=3,
        write_page_checksum=True,
        use_dictionary=False,
        write_statistics=False,
        compression="none",
    )
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"text 4")] ^= 1
    path.write_bytes(raw)

    source = open_source(path, modality="text")
    items = list(source)

    damage = items.pop(3)
    assert [(item.id, item.content, item.problem) for item in items] == [
        (f"t.parquet:{i + 1}", f"text {i}", "") for i in (0, 1, 2, 6, 7, 8)
    ]
    assert damage.problem.startswith("rows 4 to 6: row group 2 is damaged: ")
    assert (damage.id, len(source)) == ("t.parquet:4", 9)


FLIPS = """
import sys
from collections import Counter
from pathlib import Path
from featx.data.sources import open_source
from featx.errors import InputError

path, start = Path(sys.argv[1]), int(sys.argv[2])
raw, outcomes = path.read_bytes(), Counter()
for bit in range(8 * start, 8 * len(raw), 13):
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        items = list(open_source(path, modality="text"))
    except InputError:
        outcomes["refused"] += 1
        continue
    is_whole = sum(not item.problem for item in items) == 60
    outcomes["whole" if is_whole else "listed" if any(i.problem for i in items) else "lost"] += 1
print(*sorted(outcomes))
"""


def test_a_footer_with_a_flipped_bit_neither_ends_the_process_nor_loses_rows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"text": [f"t{i}" for i in range(60)], "label": [i % 3 for i in range(60)]})
    pq.write_table(table, path, row_group_size=20)
    raw = path.read_bytes()
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")

    done = subprocess.run(
        [sys.executable, "-c", FLIPS, str(path), str(footer)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "listed refused whole\n", "")


def test_large_cells_of_one_row_group_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    images = [noise.bytes(2**19) for _ in range(64)]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), path, write_batch_size=1)
    pool = pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        held = [
            (item.content == image, pool.bytes_allocated())
            for item, image in zip(open_source(path, modality="image"), images, strict=True)
        ]
    finally:
        pa.set_memory_pool(before)

    assert [is_same for is_same, _ in held] == [True] * 64
    assert max(bytes_held for _, bytes_held in held) < 2**24


def test_globs_files_and_folders_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "p/2.jpg", "p/10.jpg", "p/x.md", "q/train/cat/1.jpg", "r.jpg")
    monkeypatch.chdir(tmp_path)

    source = open_source(["p/*", "r.jpg", "./r.jpg", "q/train"], modality="image")

    assert facts(list(source)) == [
        ("p/2.jpg", None, None),
        ("p/10.jpg", None, None),
        ("r.jpg", None, None),
        ("q/train/cat/1.jpg", "cat", "train"),
    ]
    assert (len(source), source.skipped) == (4, 1)


def test_several_tables_keep_their_ids_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "t.csv", "text\nhello\n")
        write(tmp_path / folder / "u.csv", "id,text\n1,hello\n")
    monkeypatch.chdir(tmp_path)

    found = [item.id for item in open_source("*/*.csv", modality="text")]

    assert found == ["a/t.csv:1", "a/u.csv:1", "b/t.csv:1", "b/u.csv:1"]


def test_what_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "photos/1.jpg")

    with pytest.raises(InputError, match=r"no such file or folder; did you mean '.*photos'"):
        open_source(tmp_path / "photo", modality="image")
    with pytest.raises(InputError, match="no image files"):
        open_source(str(tmp_path / "photos" / "*.png"), modality="image")
    with pytest.raises(InputError, match="empty; at least one item"):
        open_source(write(tmp_path / "e.csv", "text\n"), modality="text")
    with pytest.raises(InputError, match="the first line must name the columns"):
        open_source(write(tmp_path / "f.csv", ""), modality="text")
    with pytest.raises(UnknownNameError, match="did you mean 'image'"):
        open_source(tmp_path, modality="imag")


def test_a_description_opens_the_same_items_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "photos/cat/1.jpg", "photos/dog/2.jpg")
    write(tmp_path / "t.csv", "review,stars,label\na,5,x\nb,4,y\n")
    write(tmp_path / "t.txt", "one\ntwo\n")
    np.save(tmp_path / "x.npy", np.eye(2))
    monkeypatch.chdir(tmp_path)
    sources = [
        open_source("photos", modality="image"),
        open_source("photos/*/*.jpg", modality="image"),
        open_source("t.csv", modality="text"),
        open_source("t.csv", modality="array"),
        open_source("t.txt", modality="text"),
        open_source("x.npy", modality="array"),
    ]
    listed = [[repr(item) for item in source] for source in sources]
    described = [json.dumps(source.describe()) for source in sources]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    again = [[repr(item) for item in open_description(json.loads(d))] for d in described]

    assert again == listed


def test_the_modality_is_guessed_from_suffixes(tmp_path: Path) -> None:
    touch(tmp_path, "p/1.jpg", "p/2.PNG", "p/3.wav", "p/readme", "s/1.flac")

    assert guess_modality(tmp_path / "p") == "image"
    assert guess_modality([tmp_path / "s"]) == "audio"
    assert guess_modality(str(tmp_path / "s" / "*")) == "audio"
    assert [guess_modality(p) for p in ("t.csv", "t.txt", "-", "x.npz")] == [
        "text",
        "text",
        "text",
        "array",
    ]
    assert guess_modality("t.csv", columns=Columns(image_col="p")) == "image"
    with pytest.raises(InputError, match="no files of a known kind"):
        guess_modality(tmp_path / "p" / "readme")


def test_cells_of_an_npz_that_are_no_label_or_split_are_problems(tmp_path: Path) -> None:
    labels, splits = ["a", "b", "\ud800"], ["train", "holdout", "test"]
    np.savez(tmp_path / "x.npz", X=np.eye(3), y=labels, split=splits)

    items = list(open_source(tmp_path / "x.npz", modality="array"))

    assert facts(items) == [
        ("x.npz:1", "a", "train"),
        ("x.npz:2", None, None),
        ("x.npz:3",) + (None,) * 2,
    ]
    assert [item.problem[:30] for item in items] == [
        "",
        "row 2: unknown split 'holdout'",
        "row 3: label is not UTF-8",
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "@t.txt"])
def test_a_source_that_has_gone_is_an_input_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.removeprefix("@")
    path.write_text('{"image": "1.jpg"}\n' if path.suffix == ".jsonl" else "image\n1.jpg\n")
    source = open_source(f"@{path}" if name[0] == "@" else path, modality="image")
    path.unlink()

    with pytest.raises(InputError) as caught:
        list(source)

    assert str(caught.value) == f"{path}: No such file or directory; a readable file is needed"


def test_where_a_file_lies_is_text_though_its_folder_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    write(folder / "t.csv", "image\n1.jpg\n")
    write(folder / "t.lst", "1.jpg\n")

    items = [*open_source(folder / "t.csv", modality="image")]
    items += open_source(folder / "t.lst", modality="image")

    assert [item.uri for item in items] == [f"{tmp_path}/caf\\xe9/1.jpg"] * 2
    assert [item.content for item in items] == [folder / "1.jpg"] * 2
