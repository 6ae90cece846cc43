"""Classical heads on embeddings.  Adding a head is one file and one line here."""

HEADS = {
    "knn": "featx.heads.knn:KNNClassifier",
    "logreg": "featx.heads.linear:LinearProbe",
    "ridge": "featx.heads.ridge:RidgeProbe",
}
