"""Galleries, ``X.knn/``: an index with its items, that grow and forget while searched."""

SOURCES = {
    "files": "featx.gallery.follow:Follower",
    "pgvector": "featx.gallery.postgres.reader:PostgresReader",
}
"""Backend → who reads a gallery at a path, as `featx.gallery.held.Source` says."""

WRITERS = {
    "files": "featx.gallery.writer:GalleryWriter",
    "pgvector": "featx.gallery.postgres.writer:PostgresWriter",
}
"""Backend → the one who changes a gallery at a path, as `featx.gallery.held.Writer` says."""
