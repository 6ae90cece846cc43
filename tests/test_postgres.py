"""Galleries in a real PostgreSQL: graphs, several databases, lost connections, refusals."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from command_line import call, done, objects, refused
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.errors import FeatxError, InputError, SpaceError, StoreError, UnknownNameError
from featx.gallery.build import GalleryRecipe
from featx.gallery.gallery import Gallery, ItemFacts
from featx.gallery.postgres import fitting
from featx.gallery.postgres.held import PostgresHeld
from featx.types import Vectors
from gallery_sets import MODEL, NEW, expected, label_of, pairs, split_of, vectors, write_set
from postgres import Keeper, Postgres, in_database, keeper_in
from serving import serving

pytestmark = pytest.mark.pg

WIDE = 24
ROWS = 6000
AUTO = GalleryRecipe(kind="auto")


def clustered(n: int, seed: int) -> Vectors:
    centres = np.random.default_rng(0).standard_normal((200, WIDE))
    rng = np.random.default_rng(seed)
    X = centres[rng.integers(0, 200, n)] + 0.5 * rng.standard_normal((n, WIDE))
    return np.asarray(X, np.float32)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingSet:
    """Give a set of more rows than are compared one by one."""
    path = tmp_path_factory.mktemp("many") / "a.emb"
    model = {**MODEL, "dim": WIDE}
    labels = ["rare" if row % 100 == 7 else f"c{row % 3}" for row in range(ROWS)]
    rows = [Row(id=f"i{r}", digest="00", label=labels[r], split=split_of(r)) for r in range(ROWS)]
    with SetWriter(path, model=model) as writer:
        writer.append(rows, clustered(ROWS, 1))
        writer.seal()
    return EmbeddingSet.open(path)


@pytest.fixture(scope="module", params=[1, 2], ids=["one database", "two databases"])
def graph(
    request: pytest.FixtureRequest,
    postgres: Postgres,
    many: EmbeddingSet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Gallery:
    """Give a gallery that is searched through its graph."""
    keeper = keeper_in(postgres, request.param)
    out = tmp_path_factory.mktemp("graph") / "a.knn"
    return keeper.build_from(many, out, AUTO, storage="halfvec")


def in_halves(X: Vectors) -> Vectors:
    unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    halves: Vectors = unit.astype(np.float16).astype(np.float32)
    return halves


def found_share(gallery: Gallery, keep: np.ndarray, **filters: str) -> float:
    """Return the share of the true ten nearest of new queries that a gallery finds."""
    X, Q = clustered(ROWS, 1), clustered(100, 2)
    unit = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1)[:, None]
    near = Q @ unit.T
    near[:, ~keep] = -np.inf
    true = np.argsort(-near, axis=1)[:, :10]
    found = gallery.search(Q, 10, **filters)
    hits = [len({n.row for n in each} & set(t)) for each, t in zip(found, true, strict=True)]
    return sum(hits) / (10 * len(Q))


def test_the_graph_finds_what_was_promised(graph: Gallery, many: EmbeddingSet) -> None:
    facts = graph.facts
    labels = np.array(many.y)

    assert (facts["index"]["kind"], facts["storage"]) == ("hnsw", "halfvec")
    assert facts["metrics"]["recall"] >= 0.99
    assert 20 <= facts["index"]["settings"]["ef_search"] < 1000
    assert found_share(graph, np.ones(ROWS, bool)) >= 0.99
    assert found_share(graph, labels == "c1", label="c1") >= 0.99
    assert found_share(graph, labels == "rare", label="rare") == 1.0  # one by one


def test_similarities_are_those_of_the_stored_halves(graph: Gallery) -> None:
    halves = in_halves(clustered(ROWS, 1)).astype(np.float64)
    q = clustered(1, 2)
    cosines = halves @ q[0] / np.linalg.norm(halves, axis=1) / np.linalg.norm(q[0].astype(float))

    (found,) = graph.search(q, 10)

    np.testing.assert_allclose(
        [n.similarity for n in found], cosines[[n.row for n in found]], atol=2e-7
    )


def test_many_queries_at_once_are_answered_as_each_alone(graph: Gallery) -> None:
    Q = clustered(40, 3)

    assert graph.search(Q, 7) == [graph.search(q[None], 7)[0] for q in Q]


def test_more_neighbours_than_the_graph_gives_at_once_are_found(graph: Gallery) -> None:
    (found,) = graph.search(clustered(1, 2), 5500)

    assert len({n.row for n in found}) == 5500


def test_two_databases_answer_as_one(postgres: Postgres, tmp_path: Path) -> None:
    one, two = (keeper_in(postgres, n).build(tmp_path / f"{n}", n=600, segment=700) for n in (1, 2))
    Q = vectors(30, seed=4)

    assert one.search(Q, 9, label="odd", split="test") == two.search(
        Q, 9, label="odd", split="test"
    )
    assert one.classify(Q) == two.classify(Q)
    assert [one.facts[name] for name in ("k", "temperature", "novel_below")] == [
        two.facts[name] for name in ("k", "temperature", "novel_below")
    ]
    of_two = [postgres.run(counting(two), name)[0][0] for name in ("first", "second")]
    assert sum(of_two) == 600
    assert min(of_two) > 250


def counting(gallery: Gallery) -> str:
    return f"SELECT count(*) FROM featx_{gallery.facts['id']}_items"


def test_a_large_gallery_grows_shrinks_and_is_compacted(
    postgres: Postgres, many: EmbeddingSet, tmp_path: Path
) -> None:
    path = keeper_in(postgres, 2).build_from(many, tmp_path / "a.knn", AUTO).path
    more = clustered(50, 5)
    keep = np.ones(ROWS, bool)
    keep[:600] = False

    with Gallery.open(path, writable=True) as gallery:
        gallery.remove([f"i{row}" for row in range(600)])
        assert found_share(gallery, keep) >= 0.99
        gallery.add([f"n{row}" for row in range(50)], more, facts=[ItemFacts(label="n")] * 50)
        assert [each[0].id for each in gallery.search(more, 1)] == [f"n{r}" for r in range(50)]
        before = gallery.stats()
        gallery.remove([f"n{row}" for row in range(50)])
        gallery.compact()
        after = gallery.stats()
        assert found_share(gallery, keep) >= 0.99

    assert (before["items"], before["removed"], before["classes"]["n"]) == (5450, 600, 50)
    assert (after["items"], after["removed"], after["generation"]) == (5400, 0, 2)
    assert "n" not in after["classes"]
    assert after["recall"] >= 0.99
    assert sum(postgres.run(counting(gallery), name)[0][0] for name in ("first", "second")) == 5400


def case(postgres: Postgres, folder: Path, databases: int = 1) -> tuple[Keeper, Path]:
    keeper = keeper_in(postgres, databases)
    return keeper, keeper.build(folder).path


def lose_connections(postgres: Postgres) -> None:
    """End every connection but the one that asks, as a restart would."""
    postgres.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


def test_a_connection_that_was_lost_is_made_again(postgres: Postgres, tmp_path: Path) -> None:
    _, path = case(postgres, tmp_path, 2)
    with Gallery.open(path) as gallery:
        before = gallery.search(vectors(3), 5)
        lose_connections(postgres)

        assert gallery.search(vectors(3), 5) == before
        lose_connections(postgres)
        assert gallery.stats()["items"] == 60
        lose_connections(postgres)
        assert gallery.thumbnail(0) is None


REFUSING = "RAISE 'no' USING ERRCODE = 'disk_full'"
LOSING = "PERFORM pg_terminate_backend(pg_backend_pid())"


def hinder(postgres: Postgres, path: Path, doing: str = "") -> str:
    """Have the last step of each change fail, or no more; return the name of the items."""
    name = f"featx_{json.loads((path / 'gallery.json').read_text())['id']}"
    postgres.run(f"DROP TRIGGER IF EXISTS no ON {name}_state")
    if doing:
        postgres.run(
            "CREATE OR REPLACE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {doing}; RETURN NEW; END $$"
        )
        postgres.run(
            f"CREATE TRIGGER no BEFORE UPDATE ON {name}_state FOR EACH ROW "
            "EXECUTE FUNCTION hinder()"
        )
    return f"{name}_items"


def test_a_change_whose_connection_was_lost_is_done_as_a_whole_or_not(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path, 2)
    ids = [f"n{row}" for row in range(8)]
    with Gallery.open(path, writable=True) as gallery:
        lose_connections(postgres)
        gallery.add(ids[:4], NEW[:4])  # nothing was under way
        hinder(postgres, path, LOSING)
        with pytest.raises(StoreError, match=r"PostgreSQL at .*cannot be reached"):
            gallery.add(ids[4:], NEW[4:8])
        hinder(postgres, path)
        assert len(gallery) == 64

        gallery.add(ids[4:], NEW[4:8])

        assert len(gallery) == 68
        assert [n[0].id for n in gallery.search(NEW[:8], 1)] == ids
        with Gallery.open(path) as reader:
            assert len(reader) == 68


def test_what_a_change_left_that_failed_on_one_server_is_taken_back(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path, 2)
    items = hinder(postgres, path, REFUSING)
    ids = [f"n{row}" for row in range(8)]
    with Gallery.open(path, writable=True) as gallery:
        with pytest.raises(StoreError, match="free some space on the server and do it again"):
            gallery.add([*ids, "i1"], NEW[:9], replace=True)
        left = f"SELECT count(*) FROM {items} WHERE added > 0 OR removed < 9223372036854775807"
        assert postgres.run(left, "first") == [(0,)]
        assert postgres.run(left, "second")[0][0] > 0
        with Gallery.open(path) as reader:
            assert len(reader) == 60
            assert pairs(reader.search(vectors(2)[1:], 1)[0]) == [("i1", 1.0)]
    hinder(postgres, path)

    with Gallery.open(path, writable=True) as gallery:
        assert postgres.run(left, "second") == [(0,)]
        gallery.add(ids[:3], NEW[:3])

    with Gallery.open(path) as reader:
        content = {f"i{r}": x for r, x in enumerate(vectors())}
        content |= dict(zip(ids[:3], NEW, strict=False))
        for q, found in zip(NEW[:9], reader.search(NEW[:9], 6), strict=True):
            assert pairs(found) == expected(content, q, 6)


def test_what_was_seen_stays_as_it_was_while_others_change_it(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path)
    with Gallery.open(path) as reader, Gallery.open(path, writable=True) as writer:
        held = reader.snapshot
        before, counts = held.search(vectors(3), 60), held.label_counts
        writer.remove(["i0", "i2"])
        writer.add(["n"], NEW[:1], facts=[ItemFacts(label="even")])

        assert (held.search(vectors(3), 60), held.label_counts, len(held)) == (before, counts, 60)
        assert [n.id for n in held.describe(np.array([0, 2]))] == ["i0", "i2"]
        assert reader.snapshot.label_counts == {"even": 23, "odd": 24}
        assert len(reader) == 59


def test_searches_beside_changes_see_all_of_a_change_or_nothing(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path, 2)
    stop, wrong = threading.Event(), []
    pair = ["p0", "p1", "p2", "p3"]

    def look() -> None:
        with Gallery.open(path) as reader:
            while not stop.is_set():
                held = reader.snapshot
                there = [held.find(each) is not None for each in pair]
                near = [n.id in pair for n in held.search(NEW[:1], 4)[0]]
                if len({*there}) != 1 or sum(near) not in (0, 4):
                    wrong.append((there, near))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        with Gallery.open(path, writable=True) as gallery:
            for _ in range(15):
                gallery.add(pair, NEW[[0, 0, 0, 0]])
                gallery.remove(pair)
    finally:
        stop.set()
        thread.join()

    assert wrong == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("UPDATE {} SET version = 2", StoreError, "of version 2, newer than 1; upgrade featx"),
        ("UPDATE {} SET space = 'x'", SpaceError, "its vectors are of another space"),
        (
            "UPDATE {} SET shard = 1, shards = 3",
            StoreError,
            "is server 2 of 3 of gallery",
        ),
        ("DROP TABLE {}", StoreError, "are gone .*; build it anew: featx index SET -o"),
    ],
)
def test_tables_that_are_not_the_gallerys_are_refused(
    postgres: Postgres, tmp_path: Path, change: str, error: type[FeatxError], message: str
) -> None:
    _, path = case(postgres, tmp_path)
    name = json.loads((path / "gallery.json").read_text())["id"]
    postgres.run(change.format(f"featx_{name}_state"))

    for writable in (False, True):
        with pytest.raises(error, match=message):
            Gallery.open(path, writable=writable)


def test_one_database_named_twice_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    before = postgres.run("SELECT count(*) FROM pg_class")

    with pytest.raises(InputError, match="is a database that another --dsn names too"):
        Keeper([postgres.dsn(), postgres.dsn(rest="&connect_timeout=9")]).build(tmp_path)

    assert postgres.run("SELECT count(*) FROM pg_class") == before
    assert not (tmp_path / "a.knn").exists()


def test_who_may_not_make_tables_is_told(postgres: Postgres, tmp_path: Path) -> None:
    postgres.run("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")

    with pytest.raises(StoreError, match="permission denied for schema public; ask who runs"):
        Keeper([postgres.dsn(user="guest")]).build(tmp_path)
    with pytest.raises(StoreError, match='role "nobody" does not exist'):
        Keeper([postgres.dsn(user="nobody")]).build(tmp_path)
    with pytest.raises(StoreError, match='database "none" does not exist; create it, or correct'):
        Keeper([postgres.dsn("none")]).build(tmp_path)


def test_a_database_without_pgvector_says_which_right_is_needed(
    postgres: Postgres, tmp_path: Path
) -> None:
    postgres.run("DROP ROLE IF EXISTS owner", "postgres")
    postgres.run("CREATE ROLE owner LOGIN", "postgres")
    postgres.run("CREATE DATABASE bare", "postgres")

    with pytest.raises(StoreError, match="ask an administrator to run in it: CREATE EXTENSION vec"):
        Keeper([postgres.dsn("bare", user="owner")]).build(tmp_path)
    gallery = Keeper([postgres.dsn("bare")]).build(tmp_path)  # who may sets it up

    assert len(gallery) == 60
    gallery.close()
    postgres.run("DROP EXTENSION vector CASCADE", "bare")
    with pytest.raises(StoreError, match="the database has no pgvector; run in it: CREATE EXTENS"):
        Gallery.open(gallery.path)
    postgres.run("DROP DATABASE bare WITH (FORCE)", "postgres")


def test_pgvector_may_have_a_schema_of_its_own(postgres: Postgres, tmp_path: Path) -> None:
    postgres.run("CREATE DATABASE apart", "postgres")
    postgres.run("CREATE SCHEMA ext; CREATE SCHEMA own", "apart")
    postgres.run("CREATE EXTENSION vector SCHEMA ext", "apart")

    with Keeper([postgres.dsn("apart", rest="&options=-csearch_path%3Down")]).build(tmp_path) as it:
        assert pairs(it.search(vectors(1), 1)[0]) == [("i0", 1.0)]
        assert it.stats()["servers"][0].endswith(f', "own"."featx_{it.facts["id"]}_state")')
    postgres.run("DROP DATABASE apart WITH (FORCE)", "postgres")


def test_a_password_is_asked_of_the_environment_after_the_build(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.run("CREATE ROLE keyed LOGIN PASSWORD 's3cret'; GRANT ALL ON SCHEMA public TO keyed")
    rules = Path(postgres.run("SHOW hba_file")[0][0])
    kept = rules.read_text()
    rules.write_text(f"local all keyed scram-sha-256\n{kept}")
    postgres.run("SELECT pg_reload_conf()")
    monkeypatch.setenv("PGPASSFILE", os.devnull)
    out = tmp_path / "a.knn"
    embedding_set = write_set(tmp_path / "a.emb", vectors()).path
    dsn = postgres.dsn(user="keyed:s3cret")
    build = ("index", embedding_set, "-o", out, "--backend", "pgvector", "--dsn", dsn)
    try:
        assert "60 items, 6 numbers each" in done(*build)
        wrong = call(*build[:-1], postgres.dsn(user="keyed:s4cret"), "--drop-changes").stderr
        assert "the password is wrong" in wrong
        assert "s4cret" not in wrong
        assert "s3cret" not in (out / "gallery.json").read_text()
        assert "it asks for a password" in refused("cat", out)
        assert "set PGPASSWORD, or put it into ~/.pgpass" in refused("index", "stats", out)
        monkeypatch.setenv("PGPASSWORD", "s3cret")
        assert len(objects(done("search", out, embedding_set, "--json"))) == 60
    finally:
        rules.write_text(kept)
        postgres.run("SELECT pg_reload_conf()")


def test_a_replica_or_a_reader_is_told_that_it_may_not_write(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path)
    facts = json.loads((path / "gallery.json").read_text())
    facts["servers"][0]["dsn"]["options"] = "-cdefault_transaction_read_only=on"
    (path / "gallery.json").write_text(json.dumps(facts))

    with Gallery.open(path, writable=True) as gallery:
        assert pairs(gallery.search(vectors(1), 1)[0]) == [("i0", 1.0)]
        with pytest.raises(StoreError, match="read-only transaction; name the primary server"):
            gallery.remove(["i0"])
        assert len(gallery) == 60


def test_items_that_others_delete_in_sql_are_not_found_any_more(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path)
    name = json.loads((path / "gallery.json").read_text())["id"]
    postgres.run(f"DELETE FROM featx_{name}_items WHERE label = 'odd'")

    with Gallery.open(path) as gallery:
        left = {f"i{r}": x for r, x in enumerate(vectors()) if label_of(r) != "odd"}
        assert pairs(gallery.search(NEW[:1], 60)[0]) == expected(left, NEW[0], 60)
        assert gallery.search(NEW[:1], 5, label="odd") == [[]]


def test_what_postgresql_cannot_store_is_refused_as_a_whole(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path)
    with Gallery.open(path, writable=True) as gallery:
        with pytest.raises(InputError, match=r"'b\\x00': holds a zero byte, which PostgreSQL"):
            gallery.add(["a", "b\0"], NEW[:2])
        with pytest.raises(InputError, match="'c': holds a zero byte"):
            gallery.add(["c"], NEW[:1], facts=[ItemFacts(label="x\0")])
        assert "b\0" not in gallery
        gallery.add(["a"], NEW[:1], facts=[ItemFacts(preview="p\0q", label="x" * 3000)])

        assert len(gallery) == 61
        assert gallery.search(NEW[:1], 1)[0][0].preview == "pq"


def test_a_label_that_no_item_ever_had_is_named(postgres: Postgres, tmp_path: Path) -> None:
    _, path = case(postgres, tmp_path)
    with Gallery.open(path, writable=True) as gallery:
        gallery.remove([f"i{r}" for r in range(60) if label_of(r) == "odd"])

        assert gallery.search(NEW[:1], 5, label="odd") == [[]]
        with pytest.raises(UnknownNameError, match="unknown label 'evn'; did you mean 'even'"):
            gallery.search(NEW[:1], 5, label="evn")
        gallery.compact()
        with pytest.raises(UnknownNameError, match="unknown label 'odd'"):
            gallery.search(NEW[:1], 5, label="odd")


def test_building_anew_leaves_no_old_tables(postgres: Postgres, tmp_path: Path) -> None:
    keeper, path = case(postgres, tmp_path, 2)
    old = json.loads((path / "gallery.json").read_text())["id"]
    query = f"SELECT count(*) FROM pg_class WHERE relname LIKE 'featx_{old}%'"
    assert postgres.run(query, "second")[0][0] > 0

    keeper.build_from(EmbeddingSet.open(tmp_path / "a.emb"), path, AUTO).close()

    assert [postgres.run(query, name) for name in ("first", "second")] == [[(0,)], [(0,)]]


def tables_of(postgres: Postgres, name: str = "first") -> set[str]:
    found = postgres.run("SELECT relname FROM pg_class WHERE relname LIKE 'featx_%'", name)
    return {relname for (relname,) in found}


def test_a_build_whose_gallery_cannot_be_written_leaves_no_tables(
    postgres: Postgres, tmp_path: Path
) -> None:
    (tmp_path / "a.knn" / "gallery.json").mkdir(parents=True)
    before = tables_of(postgres), tables_of(postgres, "second")

    with pytest.raises(StoreError, match="a folder is in the way; choose another place"):
        keeper_in(postgres, 2).build(tmp_path)

    assert (tables_of(postgres), tables_of(postgres, "second")) == before


def test_old_tables_that_cannot_be_deleted_are_told_with_the_sql_that_does(
    postgres: Postgres, tmp_path: Path
) -> None:
    embedding_set, out = write_set(tmp_path / "a.emb", vectors()).path, tmp_path / "a.knn"
    build = ("index", embedding_set, "-o", out, "--backend", "pgvector", "--dsn", postgres.dsn())
    done(*build)
    old = json.loads((out / "gallery.json").read_text())["id"]
    postgres.run(f"CREATE VIEW of_mine AS SELECT id FROM featx_{old}_items")

    again = call(*build)

    drop = again.stderr.partition("are left there: ")[2].splitlines()[0]
    assert again.exit_code == 0
    assert "other objects depend on them; tables that no gallery needs" in again.stderr
    assert f"featx_{old}_items" in tables_of(postgres)
    postgres.run("DROP VIEW of_mine")
    postgres.run(drop)
    assert {name for name in tables_of(postgres) if old in name} == set()


def test_the_server_that_failed_is_the_one_that_is_named(
    postgres: Postgres, tmp_path: Path
) -> None:
    X = clustered(ROWS, 1)
    ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"

    def thumbnails(rows: list[int]) -> list[bytes | None]:
        postgres.run(f"{ending} WHERE datname = 'first' AND query LIKE 'COPY%'")
        return [None] * len(rows)

    with SetWriter(tmp_path / "a.emb", model={**MODEL, "dim": WIDE}) as writer:
        writer.append([Row(id=f"i{row}", digest="00") for row in range(ROWS)], X)
        writer.seal()
    opened = EmbeddingSet.open(tmp_path / "a.emb")

    with pytest.raises(StoreError, match="dbname=first"):
        keeper_in(postgres, 2).build_from(opened, tmp_path / "a.knn", thumbnails=thumbnails)


@pytest.mark.parametrize("scale", [1e-9, 1e-5, 1.0, 1e5, 1e9])
def test_the_length_of_a_query_does_not_change_its_neighbours(
    postgres: Postgres, tmp_path: Path, scale: float
) -> None:
    X = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    q = np.float32(scale) * np.random.default_rng(1).standard_normal((1, 16)).astype(np.float32)

    found = in_database(postgres, tmp_path, X, "dot").search(q, 5)

    assert found.rows[0].tolist() == np.argsort(-(X @ q[0]))[:5].tolist()


def test_far_queries_find_the_rows_that_are_least_far(postgres: Postgres, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((4200, 16)).astype(np.float32)
    X = X.astype(np.float16).astype(np.float32)
    Q = np.random.default_rng(1).standard_normal((70, 16)).astype(np.float32)
    Q[::2] *= 1e5
    with SetWriter(tmp_path / "a.emb", model={**MODEL, "dim": 16}) as writer:
        writer.append([Row(id=f"i{row}", digest="00") for row in range(4200)], X)
        writer.seal()
    opened = EmbeddingSet.open(tmp_path / "a.emb")
    recipe = GalleryRecipe(kind="hnsw", metric="l2")

    gallery = keeper_in(postgres).build_from(opened, tmp_path / "a.knn", recipe, storage="halfvec")

    found = -gallery.snapshot.nearest(Q, 5).similarities
    true = np.sort([np.linalg.norm(X.astype(float) - q, axis=1) for q in Q], axis=1)[:, :5]
    np.testing.assert_allclose(found[::2], true[::2], rtol=1e-6)
    assert np.mean(found[1::2] <= true[1::2] * (1 + 1e-6)) >= 0.97  # by the graph


def test_rows_that_halves_do_not_tell_apart_are_found_as_promised(
    postgres: Postgres, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    X = (100 + 0.01 * rng.standard_normal((4200, 16))).astype(np.float32)
    with SetWriter(tmp_path / "a.emb", model={**MODEL, "dim": 16}) as writer:
        writer.append([Row(id=f"i{row}", digest="00") for row in range(4200)], X)
        writer.seal()
    opened = EmbeddingSet.open(tmp_path / "a.emb")
    Q = X[:50] + np.float32(0.001) * rng.standard_normal((50, 16)).astype(np.float32)
    true = [np.argsort(np.linalg.norm(X.astype(float) - q, axis=1))[:10] for q in Q]

    gallery = keeper_in(postgres).build_from(
        opened, tmp_path / "a.knn", GalleryRecipe(metric="l2"), storage="auto"
    )

    found = gallery.snapshot.nearest(Q, 10).rows
    assert gallery.facts["index"]["indexed"] == "vector"
    assert gallery.facts["metrics"]["recall"] >= 0.99
    assert np.mean([np.isin(a, b).mean() for a, b in zip(found, true, strict=True)]) >= 0.98


def test_a_recall_that_is_not_reached_is_told(postgres: Postgres, tmp_path: Path) -> None:
    X = (100 + 0.01 * vectors()).astype(np.float32)
    embedding_set, recipe = (
        write_set(tmp_path / "a.emb", X),
        GalleryRecipe(kind="exact", metric="l2"),
    )

    with pytest.warns(UserWarning, match=r"a recall of 0\.\d+ is reached, less than the 0\.99 "):
        keeper_in(postgres).build_from(embedding_set, tmp_path / "a.knn", recipe, storage="halfvec")


def held_of(gallery: Gallery) -> PostgresHeld:
    held = gallery.snapshot
    assert isinstance(held, PostgresHeld)
    return held


def test_few_labelled_rows_of_many_are_drawn_by_the_servers(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (held_of(keeper_in(postgres, n).build(tmp_path / f"{n}")) for n in (1, 2))
    labelled = [row for row in range(60) if label_of(row) is not None]

    drawn = one.stored.drawn(20)
    monkeypatch.setattr(fitting, "LISTED_ROWS", 20)

    assert sorted(set(drawn.tolist())) == drawn.tolist()
    assert len(drawn) == 20
    assert two.stored.drawn(20).tolist() == drawn.tolist()
    assert fitting._rows(two, 20).tolist() == drawn.tolist()
    assert two.stored.drawn(99, is_labelled=True).tolist() == labelled
    assert fitting._rows(two, 99, is_labelled=True).tolist() == labelled


def test_rows_that_others_insert_in_sql_do_not_stop_a_writer(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path)
    name = f"featx_{json.loads((path / 'gallery.json').read_text())['id']}"
    postgres.run(
        f"INSERT INTO {name}_items SELECT 60, 'by hand', uri, label, split, preview, thumbnail, "
        f"vec, added, removed FROM {name}_items WHERE row = 0"
    )
    postgres.run(f"UPDATE {name}_state SET items = items + 1")

    with Gallery.open(path, writable=True) as gallery:
        gallery.add(["n0", "n1"], NEW[:2])
        gallery.remove(["by hand"])

        assert (gallery.snapshot.find("n0"), gallery.snapshot.find("n1"), len(gallery)) == (
            61,
            62,
            62,
        )


def test_who_may_read_the_tables_of_the_figures_may_search(
    postgres: Postgres, tmp_path: Path
) -> None:
    _, path = case(postgres, tmp_path, 2)
    with Gallery.open(path) as gallery:
        servers = gallery.stats()["servers"]
    facts = json.loads((path / "gallery.json").read_text())
    postgres.run("DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN")
    for name, each, place in zip(("first", "second"), facts["servers"], servers, strict=True):
        each["dsn"]["user"] = "looker"
        postgres.run(f"GRANT SELECT ON {place[place.index(' (') + 2 : -1]} TO looker", name)
    (path / "gallery.json").write_text(json.dumps(facts))

    with Gallery.open(path) as gallery:
        assert pairs(gallery.search(vectors(1), 1, label="even")[0]) == [("i0", 1.0)]
        assert gallery.classify(vectors(1))[0].label == "even"
        assert gallery.stats()["items"] == 60


def test_the_commands_of_a_gallery_work_on_it(postgres: Postgres, tmp_path: Path) -> None:
    X = vectors()
    X[1] = X[7]
    embedding_set = write_set(tmp_path / "a.emb", X).path
    more = write_set(tmp_path / "b.emb", vectors(70, seed=3)).path
    out = tmp_path / "a.knn"
    dsns = [word for name in ("first", "second") for word in ("--dsn", postgres.dsn(name))]

    done("index", embedding_set, "-o", out, "--backend", "pgvector", *dsns)
    shown = done("index", "stats", out)
    (first, *_) = objects(done("search", out, embedding_set, "-k", "2", "--json"))
    (alike,) = objects(done("index", "duplicates", out, "--threshold", "0.9999", "--json"))
    added = objects(done("index", "add", out, more, "--skip-existing", "--json"))
    removed = objects(done("index", "remove", out, "i69", "i0", "--json"))
    done("index", "compact", out)
    listed = objects(done("cat", out, "--json"))
    scored = objects(done("evaluate", out, "--json"))

    assert "dbname=second" in shown
    assert "hnsw, cosine (" in shown
    assert first["neighbours"][0]["id"] == "i0"
    assert first["vote"]["label"] == "even"
    assert [[each["id"] for each in group["items"]] for group in alike["groups"]] == [["i1", "i7"]]
    assert (added[0]["added"], added[0]["held"], added[0]["items"]) == (10, 60, 70)
    assert (removed[0]["removed"], removed[0]["items"]) == (2, 68)
    assert [row["id"] for row in listed] == [f"i{r}" for r in range(1, 69)]
    assert scored[0]["n"] == sum(label_of(r) is not None for r in range(1, 69))
    line = refused("index", "remove", out, "i99")
    assert "no item has the id 'i99'; nothing was removed; did you mean 'i9'" in line


def test_a_service_answers_from_it_and_teaches_it(
    postgres: Postgres, tmp_path: Path, vector_set: Path
) -> None:
    out = tmp_path / "vectors.knn"
    done("index", vector_set, "-o", out, "--backend", "pgvector", "--dsn", postgres.dsn())
    q = [float(number) for number in np.arange(8)]

    with serving(out, allow_teach=True) as served:
        status, _ = served.json("POST", "/v1/examples", {"examples": [{"id": "new", "input": q}]})
        found = served.json("POST", "/v1/search", {"input": [q], "k": 1})[1]
        listing = served.json("GET", "/v1/examples?q=new")[1]
        lose_connections(postgres)
        again = served.json("POST", "/v1/search", {"input": [q], "k": 1})
        model = served.json("GET", "/v1/models")[1]

    assert status == 201
    assert "'new'" in str(found)
    assert listing["total"] == 1
    assert again == (200, found)
    assert model["data"][0]["items"] == 61
