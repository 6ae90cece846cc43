"""Histogram gradient boosting as an ONNX tree ensemble, which skl2onnx 1.20 fails to write."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from featx.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def is_histogram_boosting(estimator: Any) -> bool:  # noqa: ANN401 - scikit-learn has no types
    """Return whether `trees_to_onnx` takes an estimator."""
    kinds = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return isinstance(estimator, kinds)


def trees_to_onnx(
    estimator: Any,  # noqa: ANN401
    dim: int,
    opsets: Mapping[str, int],
) -> "ModelProto":
    """Return a model from ``X`` (N, D) to ``raw``: probabilities (N, C), or values (N, 1).

    Parameters
    ----------
    estimator : HistGradientBoostingClassifier or HistGradientBoostingRegressor
        Fitted to numbers, none of them missing.
    dim : int
        D.
    opsets : mapping of str to int
        Domain → version.

    Raises
    ------
    InputError
        If a feature is categorical, or the loss of a regressor has a link.
    """
    from onnx import TensorProto, helper

    if estimator.is_categorical_ is not None:
        message = "categorical features are not converted"
        raise InputError(message)
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, dim])
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, None)
    nodes = [_ensemble(estimator, "sums"), *_link(estimator, "sums", "raw")]
    graph = helper.make_graph(nodes, "histogram_boosting", [x], [raw])
    versions = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def _ensemble(estimator: Any, output: str) -> "NodeProto":  # noqa: ANN401
    """Return the node that sums the leaves, one column for each tree of an iteration."""
    from onnx import helper

    rounds = estimator._predictors
    tables = [(column, tree.nodes) for trees in rounds for column, tree in enumerate(trees)]
    columns = np.concatenate([np.full(len(table), column) for column, table in tables])
    trees = np.concatenate([np.full(len(table), tree) for tree, (_, table) in enumerate(tables)])
    places = np.concatenate([np.arange(len(table)) for _, table in tables])
    every = np.concatenate([table for _, table in tables])
    is_leaf = every["is_leaf"].astype(bool)
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64)
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        [output],
        domain="ai.onnx.ml",
        n_targets=len(rounds[0]),
        base_values=base.ravel().tolist(),
        nodes_treeids=trees.tolist(),
        nodes_nodeids=places.tolist(),
        nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=np.where(is_leaf, 0, every["feature_idx"]).tolist(),
        nodes_values=np.where(is_leaf, 0, _rounded_down(every["num_threshold"])).tolist(),
        nodes_truenodeids=np.where(is_leaf, 0, every["left"]).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, every["right"]).tolist(),
        target_treeids=trees[is_leaf].tolist(),
        target_nodeids=places[is_leaf].tolist(),
        target_ids=columns[is_leaf].tolist(),
        target_weights=every["value"][is_leaf].tolist(),
    )


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 that are not above: the same float32 values go left."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _link(estimator: Any, sums: str, output: str) -> "list[NodeProto]":  # noqa: ANN401
    """Return the nodes from sums of leaves to probabilities or values."""
    from onnx import helper

    if not is_classifier(estimator):
        if estimator.loss not in {"squared_error", "absolute_error", "quantile"}:
            message = f"loss {estimator.loss!r} is not converted"
            raise InputError(message)
        return [helper.make_node("Identity", [sums], [output])]
    if len(estimator.classes_) > 2:
        return [helper.make_node("Softmax", [sums], [output], axis=1)]
    return [
        helper.make_node("Sigmoid", [sums], ["second"]),
        helper.make_node("Neg", [sums], ["reversed"]),
        helper.make_node("Sigmoid", ["reversed"], ["first"]),
        helper.make_node("Concat", ["first", "second"], [output], axis=1),
    ]
