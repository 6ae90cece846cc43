"""Parts of a source: the first items, and shards that together are the whole."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.sources import open_description, open_source
from featx.data.sources.options import DescribedSource
from featx.data.sources.part import parse_shard, part
from featx.data.sources.preview import Preview, preview
from featx.errors import InputError


def lines(path: Path, count: int) -> DescribedSource:
    path.write_text("".join(f"{i}\n" for i in range(count)))
    return open_source(path, modality="text")


def contents(source: DescribedSource) -> list[object]:
    return [item.content for item in source]


@given(st.integers(1, 40), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 50)))
def test_shards_are_blocks_that_together_are_the_whole(
    count: int, shards: int, limit: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = lines(Path(folder) / "t.txt", count)
        parts = [part(source, limit=limit, shard=(i, shards)) for i in range(1, shards + 1)]

        found = [contents(each) for each in parts]
        lengths = [len(each) for each in parts]

    whole = [str(i) for i in range(count)]
    blocks = [
        whole[(i - 1) * count // shards : i * count // shards][:limit] for i in range(1, shards + 1)
    ]
    assert found == blocks
    assert lengths == [len(block) for block in blocks]
    assert limit is not None or [content for block in found for content in block] == whole


def test_a_limit_takes_the_first_items(tmp_path: Path) -> None:
    source = lines(tmp_path / "t.txt", 5)

    assert contents(part(source, limit=2)) == ["0", "1"]
    assert [len(part(source, limit=n)) for n in (1, 5, 9)] == [1, 5, 5]
    assert part(source) is source


def test_a_described_part_opens_again(tmp_path: Path) -> None:
    source = part(lines(tmp_path / "t.txt", 10), limit=2, shard=(2, 3))

    described = json.loads(json.dumps(source.describe()))
    again = open_description(described)

    assert (described["kind"], described["shard"], described["limit"]) == ("lines", "2/3", 2)
    assert contents(again) == contents(source) == ["3", "4"]
    assert again.describe() == source.describe()


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    source = lines(tmp_path / "t.txt", 2)

    assert [contents(part(source, shard=(i, 4))) for i in range(1, 5)] == [[], ["0"], [], ["1"]]
    assert len(part(source, shard=(1, 4))) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/4", "shard '0/4': out of range; 4 shards go from 1/4 to 4/4"),
        ("5/4", "shard '5/4': out of range; 4 shards go from 1/4 to 4/4"),
        ("0/0", "shard '0/0': out of range; at least 1"),
        ("2", "shard '2': expected which of how many, from 1/4 to 4/4"),
        ("-1/4", "shard '-1/4': expected which of how many, from 1/4 to 4/4"),
        ("a/b", "shard 'a/b': expected which of how many, from 1/4 to 4/4"),
    ],
)
def test_a_shard_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_shard(text)

    assert str(caught.value) == message


def test_limits_and_shards_out_of_range_are_refused(tmp_path: Path) -> None:
    source = lines(tmp_path / "t.txt", 2)

    with pytest.raises(InputError, match="limit 0: at least 1 item"):
        part(source, limit=0)
    with pytest.raises(InputError, match="shard 3/2: shards are counted from 1/2"):
        part(source, shard=(3, 2))
    with pytest.raises(InputError, match="give limit and shard at once"):
        part(part(source, limit=1), limit=1)


def test_a_merged_source_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="made by featx merge from several sources; "):
        open_description({"kind": "merge", "sources": []})


def test_a_preview_counts_labels_splits_problems_and_other_files(tmp_path: Path) -> None:
    for name in ("train/cat/1.jpg", "train/cat/2.jpg", "test/dog/3.jpg", "a.md", "b.MD", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "test" / "dog" / "4.jpg").symlink_to("/dev/null")
    (tmp_path / "a.md").chmod(0)

    found = preview(open_source(tmp_path, modality="image"), first=2)

    problem = "is a device; only regular files are read"
    assert found == Preview(
        items=4,
        labels={"dog": 2, "cat": 2},
        classes=2,
        labelled=4,
        splits={"test": 2, "train": 2},
        problem_count=1,
        problems=(("test/dog/4.jpg", problem),),
        first=("test/dog/3.jpg", "test/dog/4.jpg"),
        skipped=3,
        skipped_suffixes={".md": 2, ".txt": 1},
    )


def test_a_preview_tells_a_thousand_suffixes_apart(tmp_path: Path) -> None:
    for i in range(1100):
        (tmp_path / f"part.{i}").touch()
    (tmp_path / "1.jpg").touch()

    found = preview(open_source(tmp_path, modality="image"))

    assert (found.skipped, len(found.skipped_suffixes)) == (1100, 1001)
    assert next(iter(found.skipped_suffixes.items())) == ("", 100)


def test_a_preview_of_many_classes_names_the_most_frequent(tmp_path: Path) -> None:
    rows = "".join(f"t,{label}\n" for label in range(30) for _ in range(label + 1))
    path = tmp_path / "t.csv"
    path.write_text(f"text,label\n{rows}")

    found = preview(part(open_source(path, modality="text"), limit=400))

    assert (found.items, found.classes, found.skipped_suffixes) == (400, 28, {})
    assert list(found.labels.items())[:2] == [("26", 27), ("25", 26)]
    assert (len(found.labels), len(found.first)) == (20, 10)
