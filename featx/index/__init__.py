"""Nearest neighbours: indexes over rows of vectors, and votes of what they find."""

INDEXES = {
    "exact": "featx.index.faiss:FaissFlat",
    "numpy": "featx.index.flat:NumpyFlat",
    "pq": "featx.index.approximate:PQ",
    "ivf": "featx.index.approximate:IVF",
    "hnsw": "featx.index.approximate:HNSW",
}
"""Name → index class, as `featx.index.neighbours.Index` says."""
