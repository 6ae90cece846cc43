"""Galleries in PostgreSQL, without a server: addresses, secrets, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="no client: pip install 'featx[pg]'")

from psycopg.pq import Conninfo

from command_line import call
from featx.errors import InputError, StoreError
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery
from featx.gallery.postgres.build import Placement, build_postgres_gallery
from featx.gallery.postgres.dsn import SECRETS, Dsn, without_secrets
from featx.gallery.postgres.near import MOST_EFFORT, Wish
from featx.gallery.postgres.storage import Layout, Needs, layout_for, recall_in_halves
from featx.index.metric import MetricName
from featx.index.stack import Stack
from featx.index.tuning import Trial
from featx.types import Vectors
from gallery_sets import EXACT, build, vectors, write_set

AWAY = "postgresql://me:pässword@127.0.0.1:9/photos?connect_timeout=1"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:s3cret@db:5433/photos",
        "host=db port=5433 user=me password=s3cret dbname=photos",
    ],
)
def test_a_password_is_used_but_neither_shown_nor_kept(text: str) -> None:
    dsn = Dsn.parse(text)

    assert dsn.params == {"host": "db", "port": "5433", "user": "me", "dbname": "photos"}
    assert "s3cret" in dsn.conninfo
    assert "s3cret" not in f"{dsn} {dsn!r}"


@pytest.mark.parametrize("name", ["scram_client_key", "scram_server_key", "sslpassword"])
def test_what_is_as_good_as_a_password_is_treated_as_one(name: str) -> None:
    dsn = Dsn.parse(f"host=db {name}=s3cret")

    assert (dsn.params, dsn.secrets) == ({"host": "db"}, {name: "s3cret"})
    assert "s3cret" not in f"{dsn} {dsn!r}"


def test_all_that_libpq_hides_is_a_secret() -> None:
    hidden = {each.keyword.decode() for each in Conninfo.get_defaults() if each.dispchar == b"*"}

    assert hidden - SECRETS == set()
    assert {"password", "scram_client_key", "sslkeylogfile"} - SECRETS == set()


def test_a_service_file_or_the_environment_may_say_everything() -> None:
    assert Dsn.parse("service=photos").params == {"service": "photos"}
    assert (Dsn.parse("").params, str(Dsn.parse(""))) == ({}, "the default server")


@pytest.mark.parametrize("text", ["s3cret", "host=db password='s3cret", "postgresql://[s3cret/x"])
def test_what_is_no_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(
        InputError, match=r"^--dsn: is no address of PostgreSQL; expected"
    ) as caught:
        Dsn.parse(text)

    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_command_line_is_recorded_without_secrets() -> None:
    dsn = "postgresql://me:it's@db/photos"

    words = without_secrets(["index", "a.emb", "--dsn", dsn, f"--dsn={dsn}"], [dsn, ""])

    shown = "user=me dbname=photos host=db"
    assert words == ["index", "a.emb", "--dsn", shown, f"--dsn={shown}"]


def test_a_dsn_that_another_one_begins_with_is_recorded_without_its_secrets() -> None:
    short = "host=db user=me"
    long = f"{short} dbname=p2 password=s3cret"

    words = without_secrets(["--dsn", short, "--dsn", long, f"--dsn={long}"], [short, long, long])

    shown = "user=me dbname=p2 host=db"
    assert words == ["--dsn", "user=me host=db", "--dsn", shown, f"--dsn={shown}"]


def test_a_server_that_is_away_is_said_to_be_so_in_one_line(tmp_path: Path) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors()).path

    build = ("index", embedding_set, "-o", tmp_path / "a.knn", "--backend", "pgvector")

    result = call(*build, "--dsn", AWAY)

    _, line = result.stderr.splitlines()  # the set is not finished
    assert result.exit_code == 1
    assert line.startswith(
        "error: PostgreSQL at user=me connect_timeout=1 dbname=photos host=127.0.0.1"
    )
    assert "cannot be reached" in line
    assert "Connection refused" in line
    assert line.endswith("is it running, and is --dsn right?")
    assert "pässword" not in line
    assert not (tmp_path / "a.knn").exists()


def test_options_that_do_not_go_together_are_a_wrong_use(tmp_path: Path) -> None:
    out = ["-o", tmp_path / "a.knn"]

    for words in (["--dsn", AWAY], ["--storage", "vector"], ["--backend", "pgvector"]):
        result = call("index", tmp_path / "a.emb", *out, *words)
        assert (result.exit_code, "--backend pgvector" in result.stderr) == (2, True)


def test_a_gallery_in_files_is_not_replaced_by_one_in_postgresql(tmp_path: Path) -> None:
    path = build(tmp_path).path
    placement = Placement(dsns=[Dsn.parse(AWAY)])

    with pytest.raises(StoreError, match="is a gallery in files, which is not replaced by one in"):
        build_postgres_gallery(tmp_path / "a.emb", path, GalleryRecipe(), placement)

    assert len(Gallery.open(path)) == 60


@pytest.mark.parametrize("drop_changes", [False, True])
def test_a_gallery_in_files_that_is_damaged_is_not_taken_for_nothing(
    tmp_path: Path, drop_changes: bool
) -> None:
    path = build(tmp_path).path
    (path / "gallery.json").write_text("{")
    names = sorted(each.name for each in path.iterdir())
    placement, recipe = Placement(dsns=[Dsn.parse(AWAY)]), GalleryRecipe(drop_changes=drop_changes)

    with pytest.raises(StoreError, match="it is a gallery in files, which is not replaced by one"):
        build_postgres_gallery(tmp_path / "a.emb", path, recipe, placement)

    assert sorted(each.name for each in path.iterdir()) == names
    assert (path / "gallery.json").read_text() == "{"


def test_a_damaged_gallery_is_replaced_only_if_changes_may_be_lost(tmp_path: Path) -> None:
    embedding_set, path = write_set(tmp_path / "a.emb", vectors()), tmp_path / "a.knn"
    path.mkdir()
    (path / "gallery.json").write_text("{")
    placement = Placement(dsns=[Dsn.parse(AWAY)])

    with pytest.raises(StoreError, match="give --drop-changes to lose what was changed online"):
        build_postgres_gallery(embedding_set, path, GalleryRecipe(), placement)
    with pytest.raises(StoreError, match="cannot be reached"):
        build_postgres_gallery(embedding_set, path, GalleryRecipe(drop_changes=True), placement)


def in_postgres(path: Path, **changed: object) -> Path:
    """Write what names a gallery in PostgreSQL."""
    path.mkdir()
    facts = {
        "format": "featx-gallery",
        "version": 2,
        "backend": "pgvector",
        "id": "0" * 16,
        "model": "m",
        "modality": "text",
        "prompt": "",
        "space": "s",
        "fingerprint": "f",
        "dim": 6,
        "metric": "cosine",
        "storage": "halfvec",
        "set": {"path": "a.emb", "set_id": "", "segments": [], "items": [], "rows": 1},
        "servers": [{"schema": "public", "dsn": dict(Dsn.parse(AWAY).params)}],
    }
    (path / "gallery.json").write_text(json.dumps(facts | changed))
    return path


@pytest.mark.parametrize("facts", ["{", '{"format": "featx-gallery", "version": 99}'])
def test_what_may_be_a_gallery_in_postgresql_is_not_replaced_by_one_in_files(
    facts: str, tmp_path: Path
) -> None:
    path = in_postgres(tmp_path / "a.knn")
    (path / "gallery.json").write_text(facts)
    (path / "lock").touch()
    embedding_set = write_set(tmp_path / "a.emb", vectors())

    with pytest.raises(StoreError, match=r"it may be a gallery in PostgreSQL: choose another name"):
        build_gallery(embedding_set, path, EXACT)
    assert (path / "gallery.json").read_text() == facts
    assert sorted(each.name for each in path.iterdir()) == ["gallery.json", "lock"]

    gallery = build_gallery(embedding_set, path, GalleryRecipe(kind="exact", drop_changes=True))
    assert len(gallery) == 60


def test_a_gallery_in_postgresql_is_not_replaced_by_one_in_files(tmp_path: Path) -> None:
    path = in_postgres(tmp_path / "a.knn")

    with pytest.raises(StoreError, match="is a gallery in PostgreSQL, which is not replaced by"):
        build_gallery(write_set(tmp_path / "a.emb", vectors()), path, EXACT)

    assert [each.name for each in path.iterdir()] == ["gallery.json"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": '"; DROP'}, "damaged: 'id' of 'gallery' is '\"; DROP'"),
        ({"servers": [{"schema": "public"}]}, r"damaged: 'dsn' of 'servers\[0\]' is missing"),
        (
            {"servers": [{"schema": "public", "dsn": {"host": "db", "password": "s3cret"}}]},
            r"json: 'dsn' of 'servers\[0\]': holds 'password', which is never stored; take it out",
        ),
        (
            {"servers": [{"schema": "public", "dsn": {"host": "db", "autocommit": "s3cret"}}]},
            r"json: 'dsn' of 'servers\[0\]': holds 'autocommit', which is no parameter of libpq",
        ),
        (
            {"servers": [{"schema": "public", "dsn": "postgresql://me:s3cret@db/x"}]},
            r"damaged: 'dsn' of 'servers\[0\]' is missing, or no object of texts",
        ),
        ({"storage": "bit"}, "damaged: 'storage' of 'gallery' is 'bit'"),
        ({"backend": "mysql"}, "damaged: 'backend' is 'mysql'"),
        ({}, "127.0.0.1 port=9: cannot be reached"),
    ],
)
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    path = in_postgres(tmp_path / "a.knn", **changed)

    for writable in (False, True):
        with pytest.raises(StoreError, match=message) as caught:
            Gallery.open(path, writable=writable)
        assert "s3cret" not in str(caught.value)


def test_without_its_client_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from featx.errors import MissingPackageError\n"
        "try:\n    import featx.gallery.postgres.reader\n"
        "except MissingPackageError as error:\n    print(error)\n"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout == "psycopg or pgvector is not installed; run: pip install 'featx[pg]'\n"


def test_galleries_in_files_need_no_client(tmp_path: Path) -> None:
    path = build(tmp_path).path
    code = (
        "import sys; sys.modules['psycopg'] = sys.modules['pgvector'] = None\n"
        "from featx.gallery.gallery import Gallery\n"
        f"print(len(Gallery.open({str(path)!r})))\n"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout == "60\n"


def wish(**changed: object) -> Wish:
    usual = {"seq": 0, "k": 10, "allowed": 100_000, "stored": 100_000, "effort": 60}
    return Wish(**(usual | changed))  # type: ignore[arg-type]


def test_a_search_is_as_hard_as_what_is_asked_for() -> None:
    assert (wish().is_exact, wish().ef_search, wish().fetched) == (False, 60, 28)
    assert wish(k=30).ef_search == 180
    assert wish(allowed=50_000).ef_search == 120
    assert wish(allowed=5_000).ef_search == MOST_EFFORT
    assert wish(allowed=4_096).is_exact
    assert (wish(effort=0).is_exact, wish(effort=0).fetched) == (True, 18)


def layout(X: Vectors, metric: MetricName = "cosine", **asked: object) -> Layout:
    usual = {"storage": "auto", "metric": metric, "recall": 0.99, "is_exact": False}
    stack = Stack([X])
    return layout_for(stack, Trial.of(stack, metric, 10, 0), Needs(**(usual | asked)))  # type: ignore[arg-type]


def test_halves_are_stored_where_they_rank_as_well() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 32)).astype(np.float32)
    alike = (1 + X / 500).astype(np.float32)  # apart by less than halves tell
    wide = np.tile(alike, (1, 63))

    assert layout(X) == Layout(storage="halfvec", indexed="halfvec")
    assert layout(alike) == Layout(storage="vector", indexed="vector")
    assert layout(alike, storage="vector") == Layout(storage="vector", indexed="vector")
    assert layout(alike, storage="halfvec") == Layout(storage="halfvec", indexed="halfvec")
    assert layout(wide) == Layout(storage="vector", indexed=None)  # 2,016 numbers
    assert layout(X, storage="vector") == Layout(storage="vector", indexed="halfvec")
    assert layout(X, is_exact=True) == Layout(storage="halfvec", indexed=None)
    assert layout(np.float32(1e6) * X, "l2") == Layout(storage="vector", indexed="vector")
    with pytest.raises(InputError, match=r"numbers above 65,504, the largest of 16 bits"):
        layout(np.float32(1e6) * X, "l2", storage="halfvec")
    long = np.float32(15_000) * X[:, :20] / np.abs(X).max()  # each number below 65,504
    long += 20_000
    assert np.linalg.norm(long, axis=1).max() > 65_504
    asked = layout(long, "l2", storage="halfvec")
    assert asked == Layout(storage="halfvec", indexed="halfvec")


def test_the_share_that_halves_keep_is_that_of_a_search_in_them() -> None:
    X = (1 + np.random.default_rng(0).standard_normal((300, 8)) / 80).astype(np.float32)
    stack = Stack([X])
    trial = Trial.of(stack, "l2", 10, 0)
    halves = X.astype(np.float16).astype(np.float64)
    shares = []
    for row in range(64):
        true, near = (np.linalg.norm(A - A[row], axis=1) for A in (X.astype(np.float64), halves))
        true[row] = near[row] = np.inf
        found, wanted = np.argsort(near, kind="stable")[:10], np.argsort(true)[:10]
        shares.append(len(set(found) & set(wanted)) / 10)

    assert recall_in_halves(stack, trial, "l2") == pytest.approx(np.mean(shares), abs=0.02)


@pytest.mark.parametrize(
    ("dim", "storage", "indexed"),
    [(2001, "halfvec", "halfvec"), (4001, "vector", None)],
)
def test_vectors_too_wide_for_a_graph_are_searched_one_by_one(
    dim: int, storage: str, indexed: str | None
) -> None:
    X = np.random.default_rng(0).standard_normal((30, dim)).astype(np.float32)

    assert layout(X) == Layout(storage=storage, indexed=indexed)  # type: ignore[arg-type]


def test_vectors_too_wide_to_be_stored_are_refused() -> None:
    with pytest.raises(InputError, match=r"16,001 numbers; pgvector stores up to 16,000"):
        layout(np.ones((2, 16_001), np.float32))


def test_a_server_that_is_down_is_told_before_vectors_are_read(tmp_path: Path) -> None:
    X = vectors(40)
    X[7] = np.nan
    made = write_set(tmp_path / "a.emb", X)
    placement = Placement(dsns=[Dsn.parse(AWAY)])

    with pytest.raises(StoreError, match=r"127\.0\.0\.1.*cannot be reached"):
        build_postgres_gallery(made, tmp_path / "x.knn", GalleryRecipe(), placement)

    assert not (tmp_path / "x.knn").exists()
