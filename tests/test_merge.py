"""``featx merge`` joins finished sets of one backbone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from featx.cli import main
from featx.data.labels import Labels, apply_labels
from featx.data.ledger import Failure, Ledger
from featx.data.merge import merge, merged_source
from featx.data.origin import contents_of
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.types import Vectors

DIM = 3
MODEL = {
    "name": "identity",
    "modality": "array",
    "dim": DIM,
    "normalize": False,
    "fingerprint": "f" * 64,
    "space": "s" * 64,
}
SOURCE = {"kind": "arrays", "paths": ["x.npy"], "limit": None}


def vector(number: int) -> Vectors:
    return np.array([number, number % 7, -number], dtype=np.float32)


def matrix(numbers: Sequence[int]) -> Vectors:
    return np.stack([vector(number) for number in numbers])


def make(
    path: Path,
    numbers: Sequence[int],
    *,
    fingerprint: str = "f" * 64,
    source: dict[str, Any] | None = None,
    finished: bool = True,
) -> Path:
    """Write a set of the items ``i<number>``; those below 0 have another content."""
    rows = [
        Row(id=f"i{abs(n)}", digest=f"{n:064x}", uri=f"/{n}", label=f"c{n % 2}", preview=f"p{n}")
        for n in numbers
    ]
    model = MODEL | {"fingerprint": fingerprint}
    if fingerprint != "f" * 64:
        model["name"] = "other"
    with SetWriter(path, model=model, command="featx embed x", source=source) as writer:
        writer.append(rows, matrix(numbers))
        writer.tell([Facts(row.id, row.uri, row.label) for row in rows])
        if finished:
            writer.finish()
        else:
            writer.seal()
    return path


def featx(*argv: str | Path) -> Result:
    return CliRunner().invoke(main, ["merge", *map(str, argv)])


def ids_of(path: Path) -> list[str]:
    return EmbeddingSet.open(path).ids


def test_rows_come_in_the_order_of_the_arguments_with_all_their_facts(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [4, 5]), make(tmp_path / "b.emb", [1, 2, 3])

    result = featx(b, a, "-o", tmp_path / "c.emb", "--json")

    merged = EmbeddingSet.open(tmp_path / "c.emb")
    out = {"items": 5, "sets": 2, "repeated": 0, "out": str(merged.path)}
    assert (result.exit_code, json.loads(result.stdout)) == (0, out)
    parts = [EmbeddingSet.open(path).items for path in (b, a)]
    assert merged.items.to_pylist() == [row for part in parts for row in part.to_pylist()]
    np.testing.assert_array_equal(np.asarray(merged.X), matrix([1, 2, 3, 4, 5]))
    assert merged.finished


def test_an_item_of_two_sets_is_taken_from_the_first_and_counted(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1, 2, 3]), make(tmp_path / "b.emb", [3, 4, 2])

    result = featx(a, b, "-o", tmp_path / "c.emb")

    assert result.output == f"{tmp_path}/c.emb: 4 items of 2 sets, 2 items in two of them\n"
    assert ids_of(tmp_path / "c.emb") == ["i1", "i2", "i3", "i4"]


def test_an_id_with_two_contents_is_refused_and_both_sets_are_named(tmp_path: Path) -> None:
    paths = [make(tmp_path / f"{n}.emb", ids) for n, ids in enumerate([[1], [2, 3], [4, -3]])]

    result = featx(*paths, "-o", tmp_path / "c.emb")

    assert result.exit_code == 1
    expected = f"error: {paths[2]}: 'i3' is in {paths[1]} too, with another content; "
    assert result.output.startswith(expected)
    assert result.output.count("\n") == 1


def test_a_merge_goes_on_where_it_was_stopped_and_follows_its_sets(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1, 2, 3]), make(tmp_path / "b.emb", [-3, 4])
    assert featx(a, b, "-o", tmp_path / "c.emb").exit_code == 1
    assert not EmbeddingSet.open(tmp_path / "c.emb").finished
    make(b, [4, 5])

    merge([b, a], tmp_path / "c.emb")

    merged = EmbeddingSet.open(tmp_path / "c.emb")
    assert merged.ids == ["i4", "i5", "i1", "i2", "i3"]
    np.testing.assert_array_equal(np.asarray(merged.X), matrix([4, 5, 1, 2, 3]))


def test_labels_that_were_attached_come_along(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1, 2]), make(tmp_path / "b.emb", [3])
    apply_labels(a, Labels(labels={"i2": "given"}, splits={"i1": "test"}))

    merge([a, b], tmp_path / "c.emb")

    merged = EmbeddingSet.open(tmp_path / "c.emb")
    assert merged.y.tolist() == ["c1", "given", "c1"]
    assert merged.items.column("split").to_pylist() == ["test", None, None]


def test_what_no_set_could_embed_stays_listed(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1]), make(tmp_path / "b.emb", [2])
    for path, failed in [(a, ["i2", "i8"]), (b, ["i9"])]:
        ledger = Ledger(path)
        ledger.add([Failure(item_id, f"/{item_id}", "damaged") for item_id in failed])
        ledger.close()

    merge([a, b], tmp_path / "c.emb")

    lines = (tmp_path / "c.emb" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": item_id, "uri": f"/{item_id}", "problem": "damaged"} for item_id in ("i8", "i9")
    ]


def test_shards_of_one_source_become_a_set_of_that_source(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", matrix(range(7)))
    for shard in ("1/2", "2/2"):
        arguments = ["embed", str(tmp_path / "x.npy"), "-m", "identity", "--no-cache", "-q"]
        out = str(tmp_path / f"{shard[0]}.emb")
        run = CliRunner().invoke(main, [*arguments, "--shard", shard, "-o", out])
        assert run.exit_code == 0, run.output

    featx(tmp_path / "1.emb", tmp_path / "2.emb", "-o", tmp_path / "c.emb")

    merged = EmbeddingSet.open(tmp_path / "c.emb")
    X = np.asarray(merged.X)
    assert sorted(X[:, 0].tolist()) == list(range(7))
    read = contents_of(merged)
    assert read is not None
    np.testing.assert_array_equal(np.stack([np.asarray(row) for row in read(range(7))]), X)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([SOURCE, SOURCE], SOURCE),
        (
            [SOURCE | {"shard": "1/2"}, SOURCE | {"shard": "2/2"}],
            {"kind": "arrays", "paths": ["x.npy"]},
        ),
        (
            [SOURCE | {"shard": "1/2", "limit": 3}, SOURCE | {"shard": "2/2", "limit": 3}],
            {
                "kind": "merge",
                "sources": [SOURCE | {"shard": f"{i}/2", "limit": 3} for i in (1, 2)],
            },
        ),
        (
            [SOURCE | {"limit": 1}, SOURCE | {"limit": 2}],
            {"kind": "merge", "sources": [SOURCE | {"limit": 1}, SOURCE | {"limit": 2}]},
        ),
        (
            [{"kind": "a"}, {"kind": "b"}],
            {"kind": "merge", "sources": [{"kind": "a"}, {"kind": "b"}]},
        ),
    ],
)
def test_the_merged_source_is_what_the_sources_are_parts_of(
    sources: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    assert merged_source(sources) == expected


def test_a_set_of_several_kinds_of_source_has_no_contents_to_read_again(tmp_path: Path) -> None:
    a = make(tmp_path / "a.emb", [1], source=SOURCE)
    b = make(tmp_path / "b.emb", [2], source=SOURCE | {"paths": ["y.npy"]})

    merge([a, b], tmp_path / "c.emb")

    assert contents_of(EmbeddingSet.open(tmp_path / "c.emb")) is None


def test_sets_of_other_settings_are_refused_by_both_names(tmp_path: Path) -> None:
    a = make(tmp_path / "a.emb", [1])
    b = make(tmp_path / "b.emb", [2], fingerprint="e" * 64)

    result = featx(a, b, "-o", tmp_path / "c.emb")

    assert (result.exit_code, result.output) == (
        1,
        f"error: {b} holds vectors of other (eeeeeeeeeeee), {a} holds vectors of identity "
        "(ffffffffffff); only sets made with the same settings can be merged\n",
    )
    assert not (tmp_path / "c.emb").exists()


def test_a_place_that_holds_vectors_of_another_model_is_refused(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1]), make(tmp_path / "b.emb", [2])
    out = make(tmp_path / "c.emb", [3], fingerprint="e" * 64)

    result = featx(a, b, "-o", out)

    assert result.exit_code == 1
    assert result.output.startswith(f"error: {out}: holds vectors of other (eeee")
    assert ids_of(out) == ["i3"]


def test_an_unfinished_set_is_refused_with_the_command_to_run(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1]), make(tmp_path / "b.emb", [2, 3], finished=False)

    result = featx(a, b, "-o", tmp_path / "c.emb")

    assert result.exit_code == 1
    assert result.output == f"error: {b}: unfinished, 2 items; first run: featx embed x\n"


def test_a_set_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    a = make(tmp_path / "a.emb", [1])

    result = featx(a, tmp_path / "." / "a.emb", "-o", tmp_path / "c.emb")

    assert result.exit_code == 1
    assert result.output == f"error: {a}: named twice; name each set once\n"


def test_one_set_alone_is_refused(tmp_path: Path) -> None:
    result = featx(make(tmp_path / "a.emb", [1]), "-o", tmp_path / "c.emb")

    assert (result.exit_code, result.output) == (
        1,
        "error: 1 set to merge; name two sets or more\n",
    )


def test_a_set_that_is_to_be_merged_is_no_place_for_the_result(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1]), make(tmp_path / "b.emb", [2])

    result = featx(a, b, "-o", a)

    assert result.exit_code == 1
    assert result.output == f"error: {a}: is one of the sets to merge; choose another -o\n"
    assert ids_of(a) == ["i1"]


def test_a_missing_set_and_a_folder_that_is_none_are_refused(tmp_path: Path) -> None:
    a = make(tmp_path / "a.emb", [1])
    (tmp_path / "no.emb").mkdir()

    missing = featx(a, tmp_path / "x.emb", "-o", tmp_path / "c.emb")
    no_set = featx(a, tmp_path / "no.emb", "-o", tmp_path / "c.emb")

    assert (missing.exit_code, no_set.exit_code) == (2, 1)
    assert "x.emb' does not exist" in missing.output
    assert no_set.output.startswith(f"error: {tmp_path}/no.emb: not an embedding set")


def shards(tmp_path: Path, count: int) -> list[Path]:
    """Write sets that are the shards of one source, two items each."""
    return [
        make(
            tmp_path / f"{i}.emb",
            [2 * i, 2 * i + 1],
            source=SOURCE | {"shard": f"{i}/{count}"},
        )
        for i in range(1, count + 1)
    ]


def test_shards_are_put_in_the_order_of_their_source(tmp_path: Path) -> None:
    first, second, third = shards(tmp_path, 3)

    result = featx(third, first, second, "-o", tmp_path / "c.emb")

    assert result.exit_code == 0, result.output
    merged = EmbeddingSet.open(tmp_path / "c.emb")
    assert merged.ids == [f"i{i}" for i in range(2, 8)]
    np.testing.assert_array_equal(np.asarray(merged.X), matrix(range(2, 8)))
    assert merged.manifest["source"] == {"kind": "arrays", "paths": ["x.npy"]}


def test_shards_of_which_some_are_missing_are_refused_by_number(tmp_path: Path) -> None:
    paths = shards(tmp_path, 9)

    one = featx(*paths[:6], *paths[7:], "-o", tmp_path / "c.emb")
    most = featx(paths[8], paths[1], "-o", tmp_path / "c.emb")

    hint = "make each, with another --shard and -o, as this one: featx embed x\n"
    assert (one.exit_code, one.output) == (
        1,
        f"error: {paths[0]}: is shard 1/9 of its source; missing: 7/9; {hint}",
    )
    assert (most.exit_code, most.output) == (
        1,
        f"error: {paths[1]}: is shard 2/9 of its source; missing: 1/9, 3/9, 4/9, 5/9, 6/9, ...; "
        f"{hint}",
    )
    assert not (tmp_path / "c.emb").exists()


def test_an_item_that_the_merged_set_is_to_drop_stays_listed_once(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.emb", [1]), make(tmp_path / "b.emb", [2, 3])
    merge([a, b], tmp_path / "c.emb")
    make(b, [2])
    for path in (a, b):
        ledger = Ledger(path)
        ledger.add([Failure("i3", "/3", "damaged")])
        ledger.close()

    merge([a, b], tmp_path / "c.emb")

    listed = (tmp_path / "c.emb" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in listed] == ["i3"]
    assert ids_of(tmp_path / "c.emb") == ["i1", "i2"]
