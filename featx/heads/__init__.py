"""Classical heads on embeddings.  Adding a head is one file and one line here."""

HEADS = {
    "centroid": "featx.heads.centroid:CentroidProbe",
    "knn": "featx.heads.knn:KNNClassifier",
    "lda": "featx.heads.lda:LDAProbe",
    "logreg": "featx.heads.linear:LinearProbe",
    "ridge": "featx.heads.ridge:RidgeProbe",
}
"""Kind → classifier."""

REGRESSORS = {
    "ridge": "featx.heads.ridge:RidgeProbeRegressor",
}
"""Kind → regressor, of one output or several."""
