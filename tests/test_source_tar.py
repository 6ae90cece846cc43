"""Tars list their samples from headers alone, and say where they are cut off or damaged."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.sources import guess_modality, open_description, open_source
from featx.data.sources.headers import HEADER_LIMIT_BYTES
from featx.data.sources.members import read_members
from featx.data.sources.patterns import expand_braces
from featx.errors import InputError, ItemError
from featx.modality.content import read_bytes
from featx.types import Item, Span

Row = tuple[str, str | None, str | None, str]

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def tar_bytes(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members))
    return path


def rows(items: list[Item]) -> list[Row]:
    return [(item.id, item.label, item.split, item.problem) for item in items]


def listed(path: Path, modality: str = "image") -> list[Row]:
    return rows(list(open_source(path, modality=modality)))


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_samples_take_their_label_and_split_from_the_members_of_their_key(
    tmp_path: Path, suffix: str
) -> None:
    members = {
        "0001.jpg": b"one",
        "0001.cls": b"3\n",
        "0001.seg.png": b"mask",
        "0002.json": b'{"label": 4, "split": "validation"}',
        "0002.jpg": b"two",
        "0003.label": "Kätzchen".encode(),
        "0003.json": b'{"label": "other"}',
        "0003.JPG": b"three",
        "0004.txt": b"a caption with no image",
        ".hidden.jpg": b"x",
        "cat/._5.jpg": b"x",
    }
    path = tmp_path / f"s{suffix}"
    path.write_bytes(COMPRESSORS[suffix](tar_bytes(members)))
    source = open_source(path, modality="image")

    items = list(source)

    assert rows(items) == [
        (f"s{suffix}/0001.jpg", "3", None, ""),
        (f"s{suffix}/0002.jpg", "4", "val", ""),
        (f"s{suffix}/0003.JPG", "Kätzchen", None, ""),
    ]
    assert [read_bytes(item.content) for item in items] == [b"one", b"two", b"three"]
    assert [isinstance(item.content, Span) for item in items] == [suffix == ".tar"] * 3
    assert (len(source), source.skipped) == (3, 2)
    assert len(open_source(path, modality="image")) == 3
    assert guess_modality(path) == "image"


def test_folders_in_a_tar_are_classes_and_splits(tmp_path: Path) -> None:
    members = {
        "./cat/1.jpg": b"x",
        "train/dog/2.jpg": b"x",
        "test/3.jpg": b"x",
        "dog/4.jpg": b"x",
        "dog/4.cls": b"0",
        "5.jpg": b"x",
    }
    path = write_tar(tmp_path / "t.tar", members)

    plain = open_source(path, modality="image", labels_from_folders=False)

    assert listed(path) == [
        ("t.tar/cat/1.jpg", "cat", None, ""),
        ("t.tar/train/dog/2.jpg", "dog", "train", ""),
        ("t.tar/test/3.jpg", None, "test", ""),
        ("t.tar/dog/4.jpg", "0", None, ""),
        ("t.tar/5.jpg", None, None, ""),
    ]
    assert [item.label for item in plain] == [None, None, None, "0", None]


def test_names_with_several_dots_are_items_of_their_own(tmp_path: Path) -> None:
    members = {"cat.0.jpg": b"x", "cat.1.jpg": b"x", "dog.0.jpg": b"x", "a.b/c.txt": b"x"}

    assert [row[0] for row in listed(write_tar(tmp_path / "t.tar", members))] == [
        "t.tar/cat.0.jpg",
        "t.tar/cat.1.jpg",
        "t.tar/dog.0.jpg",
    ]


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_thousands_of_members_with_one_key_are_all_listed(tmp_path: Path, suffix: str) -> None:
    members = {f"cat.{i}.jpg": b"%d" % i for i in range(2500)}
    path = tmp_path / f"t{suffix}"
    path.write_bytes(COMPRESSORS[suffix](tar_bytes(members)))

    items = list(open_source(path, modality="image"))

    assert [item.id for item in items] == [f"t{suffix}/{name}" for name in members]
    assert [read_bytes(item.content) for item in items] == list(members.values())


def test_headers_are_not_kept_in_memory(tmp_path: Path) -> None:
    source = open_source(
        write_tar(tmp_path / "t.tar", {f"{i}.jpg": b"x" for i in range(3000)}), modality="image"
    )
    list(source)
    tracemalloc.start()

    ids = sum(len(item.id) for item in source)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert ids == 3000 * len("t.tar/.jpg") + 10 + 90 * 2 + 900 * 3 + 2000 * 4
    assert peak_bytes < 200_000


def test_every_modality_finds_its_members(tmp_path: Path) -> None:
    members = {"1.txt": b"x", "1.npy": b"x", "1.flac": b"x", "1.png": b"x", "1.cls": b"7"}
    path = write_tar(tmp_path / "t.tar", members)

    found = {m: listed(path, m) for m in ("text", "array", "audio", "image")}

    assert found == {
        "text": [("t.tar/1.txt", "7", None, "")],
        "array": [("t.tar/1.npy", "7", None, "")],
        "audio": [("t.tar/1.flac", "7", None, "")],
        "image": [("t.tar/1.png", "7", None, "")],
    }


def test_labels_that_cannot_be_read_are_problems_of_their_item(tmp_path: Path) -> None:
    members = {
        "1.jpg": b"x",
        "1.json": b"{",
        "2.jpg": b"x",
        "2.cls": b"\xff",
        "3.jpg": b"x",
        "3.json": b'{"split": "holdout"}',
        "4.jpg": b"x",
        "4.cls": b"1" * (2**20 + 1),
        "5.jpg": b"x",
        "5.json": b"[1]",
    }

    found = listed(write_tar(tmp_path / "t.tar", members))

    assert [row[3][:34] for row in found] == [
        "1.json: not JSON: Expecting proper",
        "2.cls: label is not UTF-8",
        "3.json: unknown split 'holdout'; a",
        "4.cls: has 1,048,577 bytes; a labe",
        "",
    ]


def test_what_is_no_regular_file_is_a_problem_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = tmp_path / "t.tar"
    kinds = {
        "link.jpg": tarfile.SYMTYPE,
        "hard.jpg": tarfile.LNKTYPE,
        "device.jpg": tarfile.CHRTYPE,
        "pipe.jpg": tarfile.FIFOTYPE,
        "folder.jpg": tarfile.DIRTYPE,
        "odd.jpg": b"Q",
        "link.md": tarfile.SYMTYPE,
    }
    with tarfile.open(path, "w") as tar:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../secret.jpg"
            tar.addfile(member)

    assert [row[3] for row in listed(path)] == [
        "is a symbolic link to '../secret.jpg'; only regular files are read",
        "is a hard link to '../secret.jpg'; only regular files are read",
        "is a device; only regular files are read",
        "is a pipe; only regular files are read",
        "is of an unknown kind; only regular files are read",
    ]


def test_names_that_lead_elsewhere_are_only_names(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    names = ["../../x.jpg", "/etc/y.jpg", "n\udcff.jpg", "é.jpg"]
    inside.mkdir(parents=True)
    with tarfile.open(inside / "t.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"z"))
    before = sorted(tmp_path.rglob("*"))

    items = list(open_source(inside / "t.tar", modality="image"))

    ids = ["t.tar/../../x.jpg", "t.tar//etc/y.jpg", "t.tar/n\\xff.jpg", "t.tar/é.jpg"]
    assert [item.id for item in items] == ids
    assert [read_bytes(item.content) for item in items] == [b"z"] * 4
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sparse_member_is_a_problem(tmp_path: Path) -> None:
    member = tarfile.TarInfo("1.jpg")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[257:265] = b"ustar  \0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "t.tar"
    path.write_bytes(bytes(header) + bytes(1024))

    assert listed(path) == [
        ("t.tar/1.jpg", None, None, "is a sparse file; only regular files are read")
    ]


@pytest.mark.parametrize("cut", range(100, 10240, 100))
def test_a_tar_that_is_cut_off_gives_what_is_whole_and_then_says_where(
    tmp_path: Path, cut: int
) -> None:
    members = {f"{i}.jpg": bytes([65 + i]) * (300 + 300 * i) for i in range(5)}
    whole = tar_bytes(members)
    sizes = [len(content) for content in members.values()]
    starts = np.cumsum([0, *(512 + -(-size // 512) * 512 for size in sizes)]).tolist()
    path = tmp_path / "t.tar"
    path.write_bytes(whole[:cut])
    complete = sum(starts[i] + 512 + size <= cut for i, size in enumerate(sizes))

    if cut < 512:
        with pytest.raises(InputError, match=r"t.tar: not a tar: "):
            open_source(path, modality="image")
        return
    items = list(open_source(path, modality="image"))

    good = [(f"t.tar/{i}.jpg", None, None, "") for i in range(complete)]
    if cut >= starts[5] + 512:
        assert rows(items) == good
        return
    assert rows(items)[:-1] == good
    assert items[-1].id == "t.tar"
    assert items[-1].problem.startswith(("ends early at byte", "ends early, or is damaged, at"))
    assert len(open_source(path, modality="image")) == len(items)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_compressed_tar_that_is_cut_off_is_never_taken_as_whole(
    tmp_path: Path, suffix: str, tenth: int
) -> None:
    noise = np.random.default_rng(0).bytes(40_000)
    members = {f"{i}.jpg": noise[i * 2000 : i * 2000 + 2000] for i in range(20)}
    packed = COMPRESSORS[suffix](tar_bytes(members))
    path = tmp_path / f"t{suffix}"
    path.write_bytes(packed[: len(packed) * tenth // 10])

    try:
        items = list(open_source(path, modality="image"))
    except InputError as error:
        assert "not a tar" in str(error)  # noqa: PT017
        return

    for i, item in enumerate(items[:-1]):
        assert (item.id, item.content) == (f"t{suffix}/{i}.jpg", members[f"{i}.jpg"])
    assert (items[-1].id, "ends early" in items[-1].problem) == (f"t{suffix}", True)


def test_a_sample_that_is_cut_off_is_dropped_since_its_label_may_be_missing(tmp_path: Path) -> None:
    whole = tar_bytes({"0.jpg": b"x", "0.cls": b"1", "1.jpg": b"x", "1.cls": b"2" * 600})
    path = tmp_path / "t.tar"
    path.write_bytes(whole[: 3 * 1024 + 512 + 100])

    assert [row[:2] for row in listed(path)] == [("t.tar/0.jpg", "1"), ("t.tar", None)]


def test_a_damaged_header_and_data_after_the_end_are_reported(tmp_path: Path) -> None:
    first, second = tar_bytes({"1.jpg": b"x", "2.jpg": b"x"}), tar_bytes({"3.jpg": b"x"})
    damaged = bytearray(first)
    damaged[1024 + 150] ^= 1
    (tmp_path / "damaged.tar").write_bytes(damaged)
    (tmp_path / "joined.tar").write_bytes(first + second)
    (tmp_path / "unended.tar").write_bytes(first[:2048])

    assert [row[3] for row in listed(tmp_path / "damaged.tar")] == [
        "",
        "is damaged at byte 1,024: not a header; what follows is not read",
    ]
    assert listed(tmp_path / "joined.tar")[2][3].startswith("has data after its end mark at byte")
    assert listed(tmp_path / "unended.tar")[2][3] == (
        "ends early at byte 2,048, where its end mark or a header is due"
    )


def test_a_header_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    cases = {}
    for name, kind in (("pax", tarfile.XHDTYPE), ("long", tarfile.GNUTYPE_LONGNAME)):
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, HEADER_LIMIT_BYTES + 1
        cases[name] = member.tobuf(tarfile.GNU_FORMAT)
    negative = tarfile.TarInfo("1.jpg")
    negative.size = -512
    cases["negative"] = negative.tobuf(tarfile.GNU_FORMAT)
    good = tar_bytes({"0.jpg": b"x"})[:1024]
    problems = []
    for name, header in cases.items():
        path = tmp_path / f"{name}.tar"
        path.write_bytes(good + header + bytes(10240))
        problems.append([row[3] for row in listed(path)])

    claim = "ends early, or is damaged, at byte 1,024: a header claims more than 16,777,216 bytes"
    assert problems == [
        ["", claim],
        ["", claim],
        ["", "is damaged at byte 1,024: a member of -512 bytes"],
    ]


MEMBER_NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=120)


@given(
    st.lists(st.tuples(MEMBER_NAMES, st.binary(max_size=700)), min_size=1, max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]),
    st.sampled_from([tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE]),
)
def test_members_are_those_that_tarfile_finds(
    members: list[tuple[str, bytes]], kind: int, member_type: bytes
) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), member_type
            with suppress(ValueError, UnicodeEncodeError):  # too long for USTAR; a surrogate
                tar.addfile(member, io.BytesIO(content))
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar if not m.isdir()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.tar"
        path.write_bytes(file.getvalue())
        found = list(read_members(path, lambda _: False, lambda _: False))
        # A file named "/" is read as a folder, and its data as a header: tarfile ends there too.
        found = [member for member in found if not member.ends_tar]

    spans = [member.content for member in found if isinstance(member.content, Span)]
    names = [member.name for member in found]
    assert [(n, s.offset, s.size_bytes) for n, s in zip(names, spans, strict=True)] == expected


@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_any_bytes_are_a_tar_or_an_error(noise: bytes, at: int) -> None:
    whole = tar_bytes({"0.jpg": b"x" * 600, "1.jpg": b"y"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.tar"
        path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
        try:
            items = list(open_source(path, modality="image"))
        except InputError:
            return
        assert len(open_source(path, modality="image")) == len(items)


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_bytes(b"hello " * 1000)
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "zeros.tar").write_bytes(bytes(10240))
    os.mkfifo(tmp_path / "pipe.tar")
    write_tar(tmp_path / "other.tar", {"1.txt": b"x"})

    cases = {
        "text": "not a tar",
        "empty": "not a tar: empty file",
        "zeros": "empty; at least one item",
        "pipe": "not a regular file",
        "other": "empty; at least one item is needed; 1 files with other suffixes",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            open_source(tmp_path / f"{name}.tar", modality="image")


def test_a_tar_that_shrinks_after_it_was_listed_is_reported_when_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tar", {"0.jpg": b"x" * 600})
    (item,) = open_source(path, modality="image")
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ItemError, match="is cut off: 488 of 600 bytes are there at byte 512 of"):
        read_bytes(item.content)


def test_braces_keep_their_zeros_and_name_the_first_missing_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("008", "009", "010"):
        write_tar(tmp_path / "shards" / f"{name}.tar", {f"{name}.jpg": b"x"})
    monkeypatch.chdir(tmp_path)

    source = open_source("shards/{008..010}.tar", modality="image")
    some = open_source("shards/{009,01*}.tar", modality="image")

    ids = [f"shards/{name}.tar/{name}.jpg" for name in ("008", "009", "010")]
    assert [item.id for item in source] == ids
    assert [item.id for item in some] == ids[1:]
    assert [item.id for item in open_description(source.describe())] == ids
    assert guess_modality("shards/{008..010}.tar") == "image"
    with pytest.raises(InputError, match=r"'shards/011.tar' is missing; every path that braces"):
        open_source("shards/{008..999}.tar", modality="image")


def test_braces_expand_as_shells_do() -> None:
    cases = {
        "{a,b}{1..3..2}": ["a1", "a3", "b1", "b3"],
        "{x,{1..2}y}": ["x", "1y", "2y"],
        "{10..8}": ["10", "9", "8"],
        "{c..a}": ["c", "b", "a"],
        "{a}{b": ["{a}{b"],
        "{,s}": ["", "s"],
    }

    assert {pattern: list(expand_braces(pattern)) for pattern in cases} == cases


def test_a_folder_of_tars_is_read_in_natural_order_with_splits(tmp_path: Path) -> None:
    for name in ("train/s10", "train/s9", "val/s0"):
        write_tar(tmp_path / f"{name}.tar", {"1.jpg": b"x"})
    (tmp_path / "README.md").write_text("x")
    source = open_source(tmp_path, modality="image")

    items = list(source)

    assert rows(items) == [
        ("train/s9.tar/1.jpg", None, "train", ""),
        ("train/s10.tar/1.jpg", None, "train", ""),
        ("val/s0.tar/1.jpg", None, "val", ""),
    ]
    assert len(source) == 3
    assert list(open_description(source.describe())) == items
    (tmp_path / "0.jpg").write_bytes(b"x")
    assert [item.id for item in open_source(tmp_path, modality="image")] == ["0.jpg"]


def test_a_damaged_tar_among_others_is_a_problem_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train/0", "train/2"):
        write_tar(tmp_path / f"{name}.tar", {"1.jpg": b"x"})
    (tmp_path / "train" / "1.tar").touch()
    (tmp_path / "train" / "3.tar").write_bytes(b"hello " * 1000)

    for arguments in (str(tmp_path), "train/*.tar", "train/{0..3}.tar"):
        source = open_source(arguments, modality="image")
        counted = open_source(arguments, modality="image")
        items = list(source)

        assert [(item.id, item.problem[:21]) for item in items] == [
            ("train/0.tar/1.jpg", ""),
            ("train/1.tar", "not a tar: empty file"),
            ("train/2.tar/1.jpg", ""),
            ("train/3.tar", "not a tar: invalid he"),
        ]
        assert (len(source), len(counted), source.skipped, counted.skipped) == (4, 4, 0, 0)
    with pytest.raises(InputError, match=r"1.tar: not a tar: empty file"):
        open_source("train/1.*", modality="image")


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_a_sample_that_is_too_large_ends_where_it_is_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr("featx.data.sources.tar.SAMPLE_BYTES", 100)
    members = {"1.jpg": b"x" * 200, "1.json": b"{}" + b" " * 200, "1.seg.jpg": b"y", "1.md": b"z"}
    path = tmp_path / f"t{suffix}"
    path.write_bytes(COMPRESSORS[suffix](tar_bytes(members)))

    items = list(open_source(path, modality="image"))

    assert [item.id for item in items] == [f"t{suffix}/1.jpg", f"t{suffix}/1.seg.jpg"]
    assert len(open_source(path, modality="image")) == 2
