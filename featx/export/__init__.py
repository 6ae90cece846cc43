"""Heads, galleries and embedding sets in forms that others read.

Heads become estimators of scikit-learn or one ONNX file, rows of vectors become tables and indexes.
Adding a form of either is one function and one line here.
"""

FORMATS = {
    "joblib": "featx.export.files:save_joblib",
    "skops": "featx.export.files:save_skops",
}
"""Form → function of (path, head) that writes a file; the suffix of the file is the form's name."""

DEPLOYABLE = "onnx"
"""Form, and suffix, of a file that holds the backbone too."""

VECTORS = {
    "parquet": "featx.export.vectors.parquet:write_parquet",
    "arrow": "featx.export.vectors.arrow:write_arrow",
    "lance": "featx.export.vectors.lance:write_lance",
    "hf": "featx.export.vectors.huggingface:write_hf",
    "faiss": "featx.export.vectors.faiss:write_faiss",
    "npy": "featx.export.vectors.npy:write_npy",
}
"""Form → function of (path, `featx.export.vectors.table.VectorTable`, choices) that writes rows."""

TAKES = {
    DEPLOYABLE: ("head", "gallery"),
    **dict.fromkeys(FORMATS, ("head",)),
    **dict.fromkeys(VECTORS, ("embedding set", "gallery")),
}
"""Form → kinds of things that are exported so."""
