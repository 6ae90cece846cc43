"""Nearest neighbours: exact indexes over rows of vectors, and galleries on disk."""

INDEXES = {
    "exact": "featx.index.faiss:FaissFlat",
    "numpy": "featx.index.flat:NumpyFlat",
}
"""Name → index class: built by ``Index(X)``, asked by ``.search(Q, k) -> Neighbours``."""
