"""Heads of every kind and task on vectors of five numbers, and what the files of them give."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from featx.backbone.backbone import Backbone
from featx.backbone.runtime import open_session
from featx.heads.conformal import Conformal
from featx.heads.foreign_graph import to_graph
from featx.heads.novelty import fit_novelty
from featx.heads.predict import Head
from featx.index.metric import unit_rows

DIM = 5
CLASSES = ("ant", "bee", "čáp")


def matrix(n_rows: int, seed: int = 0, dim: int = DIM) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n_rows, dim)).astype(np.float32)


def head_of(kind: str, arrays: Mapping[str, NDArray[Any]], **changes: Any) -> Head:  # noqa: ANN401
    settings: dict[str, Any] = {
        "kind": kind,
        "classes": CLASSES,
        "arrays": arrays,
        "temperature": 0.4,
        "conformal": Conformal(method="lac", coverage=0.9, quantiles=np.array([0.7])),
        "header": {"modality": "array", "metrics": {"accuracy": 0.75}, "coverage": 0.9},
    }
    return Head(**(settings | changes))


def linear_head(kind: str = "logreg") -> Head:
    return head_of(kind, {"coef": matrix(3), "intercept": matrix(1)[0, :3]})


def centroid_head() -> Head:
    return head_of("centroid", {"centre": matrix(1, 5)[0], "centroids": matrix(3, 6)})


def knn_head(k: int = 4, vote_temperature: float = 0.07) -> Head:
    arrays: dict[str, NDArray[Any]] = {
        "vectors": unit_rows(matrix(30, 7)),
        "codes": np.arange(30) % 3,
        "k": np.array(k),
        "vote_temperature": np.array(vote_temperature),
    }
    return head_of("knn", arrays)


def foreign_head() -> Head:
    X, y = matrix(60, 8), np.arange(60) % 3
    X[np.arange(60), y] += 2
    graph, _ = to_graph(SVC().fit(X, y), X, 3, name="svm.SVC")
    return head_of("sklearn", {"graph": graph})


def tag_head() -> Head:
    linear = dict(linear_head("ridge").arrays)
    calibrated: dict[str, NDArray[Any]] = {
        "scale": np.array([1.0, 0.5, 2.0]),
        "shift": np.array([0.1, 0.0, -0.3]),
    }
    return head_of("ridge", linear | calibrated, task="multilabel", conformal=None)


def value_head(n: int = 2) -> Head:
    arrays = {
        "coef": matrix(n),
        "intercept": np.full(n, 7, np.float32),
        "spread": np.arange(1.0, n + 1),
    }
    names = tuple(f"v{number}" for number in range(n))
    return head_of("ridge", arrays, task="regress", classes=names, conformal=None)


def wary(head: Head, rows: int = 40) -> Head:
    """Return a head that tells novel items too; of few rows by a basis that they span."""
    X, y = matrix(rows, 9), np.arange(rows) % 3
    return replace(head, novelty=fit_novelty(X, y, n_classes=3, quantile=0.5))


HEADS = {
    "logreg": linear_head(),
    "lda": linear_head("lda"),
    "centroid": centroid_head(),
    "knn": knn_head(),
    "knn whose neighbours count the same": knn_head(k=40, vote_temperature=1.7e308),
    "sklearn": foreign_head(),
    "tags": tag_head(),
    "one value": value_head(1),
    "two values": value_head(),
    "wary": wary(linear_head()),
    "wary of few rows": wary(linear_head(), rows=5),
}
"""Name → head."""


def belonging(head: Head, backbone: Backbone) -> Head:
    """Return a head as if it had been trained on vectors of a backbone."""
    facts = backbone.facts
    made = {"model": facts["name"], "prompt": facts["prompt"], "modality": facts["modality"]}
    names = ("dim", "fingerprint", "space")
    own = {name: facts[name] for name in names}
    return replace(head, header={**head.header, **made, **own})


def outputs_of(path: Path, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return all that a file gives."""
    session = open_session(path, device="cpu", threads=1)
    return dict(zip(session.outputs, session.run(session.outputs, feeds), strict=True))
