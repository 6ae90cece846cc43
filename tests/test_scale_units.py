"""How a source is cut into units, what identifies them, and what workers refuse."""

import os
import pickle
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import InputError, ServerError, StoreError
from featx.scale.assignment import Assignment, Recipe
from featx.scale.cluster import Node, Share
from featx.scale.cutting import cut
from featx.scale.raycluster import require_answer, unjoined
from featx.scale.rayengine import UnitActor
from featx.scale.unit import References, Unit
from featx.scale.worker import Worker
from featx.types import Content, Item, Span
from scaling import DIM, assigned, names


def items(ids: Sequence[str]) -> list[Item]:
    return [Item(id=item_id, content=item_id) for item_id in ids]


def units(ids: Sequence[str], size: int = 64) -> list[Unit]:
    return list(cut(items(ids), size=size, seed=""))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.integers(1, 40))
def test_units_hold_every_item_once_and_in_order(count: int, size: int) -> None:
    made = units(names(count), size)

    assert [item.id for unit in made for item in unit.items] == names(count)
    assert [unit.number for unit in made] == list(range(len(made)))
    assert all(size // 2 <= len(unit.items) <= 4 * size for unit in made[:-1])


def test_units_are_as_long_as_was_asked_on_average() -> None:
    lengths = [len(unit.items) for unit in units(names(50_000))]

    assert 56 <= np.mean(lengths) <= 72


@pytest.mark.parametrize("place", [0, 5_000, 10_000])
def test_one_new_item_changes_one_unit(place: int) -> None:
    ids = names(10_000)

    before = {unit.key for unit in units(ids)}
    after = {unit.key for unit in units([*ids[:place], "new", *ids[place:]])}

    assert len(after - before) == 1


def test_much_content_makes_short_units() -> None:
    heavy = [Item(id=name, content=bytes(1 << 20)) for name in names(64)]

    lengths = [len(unit.items) for unit in cut(heavy, size=1024, seed="")]

    assert sum(lengths) == 64
    assert 5 <= np.mean(lengths) <= 12


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "b"),
        ("a", b"a"),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        (np.zeros(2, np.float32), np.zeros((1, 2), np.float32)),
        (Span(Path("x.tar"), 0, 5), Span(Path("x.tar"), 512, 5)),
    ],
)
def test_another_content_is_another_reference(before: Content, after: Content) -> None:
    references = References()

    assert references.of(before) != references.of(after)
    assert references.of(before) == References().of(before)


def test_a_file_is_another_one_when_its_size_or_time_is(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    seen = [References().of(file)]
    for text, time_s in [("a", 1), ("ab", 1), ("ab", 2)]:
        file.write_text(text)
        os.utime(file, (time_s, time_s))
        seen.append(References().of(file))

    assert len(set(map(repr, seen))) == 4
    assert References().of(file) == seen[-1]


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    return assigned(tmp_path / "t.emb")


UNIT = Unit(0, "key", "facts", [Item(id="a", content=np.ones(DIM, np.float32))])


def test_a_worker_writes_a_pair_and_says_what_it_is(assignment: Assignment) -> None:
    outcome = Worker(assignment).do(UNIT)

    assert outcome.entry is not None
    name = outcome.entry["name"]
    assert outcome.entry == {
        "name": name,
        "rows": 1,
        "truncated": 0,
        "failed": 0,
        "items": f"{name}.parquet",
        "unit": "key",
        "facts": f"{name}.parquet facts",
    }
    np.testing.assert_array_equal(
        np.load(Path(assignment.url, f"{name}.npy")), np.ones((1, DIM), np.float32)
    )


def test_a_worker_that_does_not_see_the_files_refuses(
    assignment: Assignment, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    np.save(folder / "a.npy", np.ones(DIM, np.float32))
    (unit,) = cut([Item(id="a", content=folder / "a.npy")], size=8, seed="")
    folder.rename(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match=r"a\.npy: not seen by the worker on .*; read from a fold"):
        Worker(assignment).do(unit)


def test_a_worker_of_another_version_refuses(assignment: Assignment) -> None:
    with pytest.raises(InputError, match=r"but 0\.0\.9 where the run was started; install"):
        Worker(replace(assignment, version="0.0.9")).do(UNIT)


def test_a_worker_whose_vectors_would_be_others_refuses(assignment: Assignment) -> None:
    with pytest.raises(InputError, match="its vectors would be others than where the run was"):
        Worker(replace(assignment, recipe=Recipe(model="identity", dim=DIM + 1))).do(UNIT)


def test_a_worker_that_does_not_see_the_destination_refuses(
    assignment: Assignment, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"not seen by the worker on .*; write to a folder that"):
        Worker(replace(assignment, url=str(tmp_path / "elsewhere.emb"))).do(UNIT)
    with pytest.raises(StoreError, match=r"not seen by the worker on .*; write to a folder that"):
        Worker(replace(assignment, set_id="other")).do(UNIT)


def test_units_that_hold_the_same_repeated_ids_have_keys_of_their_own() -> None:
    same = [Item(id="a", content="", problem="its id occurs twice") for _ in range(4)]

    made = list(cut(same, size=2, seed=""))

    assert len(made) >= 2
    assert len({unit.key for unit in made}) == len(made)
    assert [u.key for u in cut(same, size=2, seed="")] == [u.key for u in made]


def test_a_worker_that_fails_waits_longer_each_time(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    actor = UnitActor(replace(assignment, set_id="another"))
    batch = pa.table({"unit": [pickle.dumps(UNIT)]})

    found = [pickle.loads(actor(batch).column("outcome")[0].as_py()) for _ in range(4)]

    assert waits == [0, 1, 2, 4]
    assert all(each.may_pass and each.worker == found[0].worker != "" for each in found)


@pytest.mark.parametrize(
    ("nodes", "threads", "gpus", "share"),
    [
        ([Node(2), Node(4)], None, 0.0, Share(1)),
        ([Node(2), Node(4)], 4, 0.0, Share(4)),
        ([Node(0), Node(96, 8)], None, 1.0, Share(12, 1.0)),
        ([Node(96, 8)], None, 0.5, Share(6, 0.5)),
        ([Node(96, 8)], 2, 2.0, Share(2, 2.0)),
    ],
)
def test_a_worker_takes_its_share_of_a_node(
    nodes: list[Node], threads: int | None, gpus: float, share: Share
) -> None:
    assert Share.of(nodes, threads=threads, gpus=gpus) == share


@pytest.mark.parametrize(
    ("threads", "gpus", "taken"),
    [
        (8, 0.0, "8 CPUs and 0 GPUs"),
        (None, 2.0, "2 CPUs and 2 GPUs"),
        (1, 1.5, "1 CPU and 1.5 GPUs"),
    ],
)
def test_a_worker_that_no_node_holds_is_refused_with_numbers(
    threads: int | None, gpus: float, taken: str
) -> None:
    nodes = [Node(4), Node(4, 1)]

    with pytest.raises(InputError) as caught:
        Share.of(nodes, threads=threads, gpus=gpus)

    assert str(caught.value).startswith(
        f"a worker takes {taken}, and no node of the cluster has that; nodes: 4 CPUs and 0 GPUs; "
        "4 CPUs and 1 GPU; ask for less with --threads or --gpus-per-worker"
    )


def test_what_a_dead_node_had_is_not_counted() -> None:
    found = [
        {"Alive": True, "Resources": {"CPU": 4.0, "memory": 1.0}},
        {"Alive": False, "Resources": {"CPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}},
    ]

    assert Node.all(found) == [Node(4), Node(2, 1)]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_answers_is_told_at_once(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # held, and not listened at
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(ServerError, match=f"^ray: nothing answers at {address}: "):
            require_answer(address)


@pytest.mark.parametrize("address", [None, "auto"])
def test_what_is_no_address_is_left_to_ray(address: str | None) -> None:
    assert not require_answer(address)


@pytest.mark.parametrize(
    ("is_there", "mode", "words"),
    [
        (
            True,
            "",
            "^ray: head:1 answers, .*: said; if it asks for a token, set RAY_AUTH_MODE=token",
        ),
        (
            True,
            "token",
            "^ray: head:1 answers, .*: said; is the token of RAY_AUTH_TOKEN, .* that of",
        ),
        (False, "", "^ray: head:1 cannot be used: said; start one with: ray start --head"),
    ],
)
def test_a_cluster_that_answers_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, is_there: bool, mode: str, words: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)

    assert re.match(words, unjoined("head:1", "said", is_there=is_there))


def test_one_of_a_resource_is_no_plural() -> None:
    assert (str(Node(1, 1)), str(Node(2, 0.5))) == ("1 CPU and 1 GPU", "2 CPUs and 0.5 GPUs")


def test_an_address_has_a_port() -> None:
    with pytest.raises(InputError, match=r"address 'head:many': .*; expected HOST:PORT"):
        require_answer("head:many")
