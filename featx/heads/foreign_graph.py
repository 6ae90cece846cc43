"""From a fitted scikit-learn estimator to an ONNX graph that gives the same logits."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from featx.errors import InputError
from featx.heads.calibration import softmax
from featx.heads.foreign_scorer import INPUT, OUTPUT, onnx_logits
from featx.heads.foreign_trees import is_histogram_boosting, trees_to_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

PROBABILITY_FLOOR = 1e-5
"""Least probability of which a logarithm is taken: float32 rounds 1 - p to steps of 6e-8, and so
the logarithm of a smaller one would be noise."""

LOGIT_TOLERANCE = 0.05
"""Largest difference of a logit; what float32 makes of a probability just above the floor."""

PROBABILITY_TOLERANCE = 1e-3
"""Largest difference of a probability: one tree of a thousand that takes another branch."""

TIES = 0.02
"""Share of rows, or one, whose scores may differ more while all labels agree: scores that count the
votes of pairs of classes jump where two are level, and float32 may see another winner."""

VALUE_TOLERANCE = 1e-4
"""Largest difference of a regressor's value, in standard deviations of its values."""

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Versions that graphs are written in, whatever the converter's newest are."""

ALTERNATIVES = {
    "CalibratedClassifierCV": "logreg, which is calibrated on held-out rows",
    "GaussianProcessClassifier": "sklearn:svm.SVC or logreg",
    "KNeighborsClassifier": "knn",
    "LinearDiscriminantAnalysis": "lda",
    "NearestCentroid": "centroid",
    "QuadraticDiscriminantAnalysis": "lda",
    "RadiusNeighborsClassifier": "knn",
}


def to_graph(
    estimator: Any,  # noqa: ANN401 - scikit-learn has no types
    X: NDArray[np.float32],
    n_columns: int,
    *,
    name: str,
) -> tuple[NDArray[np.uint8], float]:
    """Convert a fitted estimator, and prove on `X` that both say the same.

    Parameters
    ----------
    estimator : classifier or regressor of scikit-learn
        Fitted to labels 0 to `n_columns` - 1, or to `n_columns` targets.
    X : ndarray of float32, shape (N, D)
        Rows to compare on.
    n_columns : int
    name : str
        What messages call it.

    Returns
    -------
    graph : ndarray of uint8
        Bytes of an ONNX file with input ``X`` (N, D) and output ``logits`` (N, n_columns).
    difference : float
        Largest difference between the logits (values) of the two.

    Raises
    ------
    InputError
        If it cannot be converted, or the graph says something else.
    """
    expected = estimator_logits(estimator, X, name=name)
    instead = _instead(estimator)
    with in_one_line(f"sklearn:{name}: has no ONNX form (", f"); {instead}"):
        model = _converted(estimator, X.shape[1], n_columns)
        graph = np.frombuffer(model.SerializeToString(deterministic=True), dtype=np.uint8)
        found = onnx_logits({"graph": graph}, X, n_columns)
    judge = _classifier_problem if is_classifier(estimator) else _regressor_problem
    if problem := judge(found.astype(np.float64), expected):
        message = f"sklearn:{name}: its ONNX graph {problem}; {instead}"
        raise InputError(message)
    return graph, float(np.abs(found - expected).max(initial=0))


def estimator_logits(
    estimator: Any,  # noqa: ANN401
    X: NDArray[np.float32],
    *,
    name: str,
) -> NDArray[np.float64]:
    """Return logits (N, C) of a fitted classifier, or values (N, T) of a regressor.

    They are the logarithms of its probabilities where it has any, else its decision values; with
    two classes minus and plus half of the one value, whose softmax is the same.

    Raises
    ------
    InputError
        If scikit-learn raises anything.
    """
    with in_one_line(f"sklearn:{name}: scikit-learn says: "):
        if not is_classifier(estimator):
            return np.asarray(estimator.predict(X), dtype=np.float64).reshape(len(X), -1)
        if hasattr(estimator, "predict_proba"):
            probabilities = np.asarray(estimator.predict_proba(X), dtype=np.float64)
            return np.asarray(np.log(np.maximum(probabilities, PROBABILITY_FLOOR)))
        values = np.asarray(estimator.decision_function(X), dtype=np.float64)
        return np.stack([-values, values], axis=1) / 2 if values.ndim == 1 else values


@contextmanager
def in_one_line(before: str, after: str = "") -> Iterator[None]:
    """Turn whatever other people's code fails with into one line, and silence its warnings.

    Raises
    ------
    InputError
        With the first line of what was raised between `before` and `after`.
    """
    try:
        with warnings.catch_warnings():
            # The converter reads attributes that scikit-learn is about to drop.
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        raise
    except Exception as cause:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        message = f"{before}{lines[0][:200].rstrip('. ')}{after}"
        raise InputError(message) from cause


def _classifier_problem(found: NDArray[np.float64], expected: NDArray[np.float64]) -> str:
    off = (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max(axis=1, initial=0)
    probabilities = softmax(expected)
    shift = np.abs(softmax(found) - probabilities).max(axis=1, initial=0)
    # Classes that are as probable as each other may change places.
    top = np.sort(probabilities, axis=1)[:, -2:]
    is_clear = top[:, 1] - top[:, 0] > 2 * PROBABILITY_TOLERANCE
    differs = (found.argmax(axis=1) != expected.argmax(axis=1)) & is_clear
    if differs.any():
        return f"gives other labels to {differs.sum()} of {len(found)} rows"
    is_same = (off <= LOGIT_TOLERANCE) & (shift <= PROBABILITY_TOLERANCE)
    if (~is_same).sum() > max(1, TIES * len(found)):
        return (
            f"gives {(~is_same).sum()} of {len(found)} rows logits that differ by {off.max():.2g},"
            f" probabilities by {shift.max():.2g}"
        )
    return ""


def _regressor_problem(found: NDArray[np.float64], expected: NDArray[np.float64]) -> str:
    scale = np.maximum(expected.std(axis=0), np.abs(expected).max(axis=0, initial=0) * 1e-3)
    off = float((np.abs(found - expected) / np.where(scale > 0, scale, 1)).max(initial=0))
    if not off <= VALUE_TOLERANCE:
        return f"gives values that differ by {off:.2g} standard deviations"
    return ""


def _instead(estimator: Any) -> str:  # noqa: ANN401
    usual = "logreg, ridge or sklearn:svm.SVC" if is_classifier(estimator) else "ridge"
    return f"try --head {ALTERNATIVES.get(type(estimator).__name__, usual)}"


def _converted(estimator: Any, dim: int, n_columns: int) -> "ModelProto":  # noqa: ANN401
    if is_histogram_boosting(estimator):
        model, name = trees_to_onnx(estimator, dim, OPSETS), "raw"
    else:
        model = _by_skl2onnx(estimator, dim)
        name = _scores(model.graph)
    _end_in_logits(model, name, estimator, n_columns)
    return model


def _by_skl2onnx(estimator: Any, dim: int) -> "ModelProto":  # noqa: ANN401
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    options: dict[str, Any] = {}
    if is_classifier(estimator) and not hasattr(estimator, "predict_proba"):
        options["raw_scores"] = True
    is_knn = isinstance(estimator, (KNeighborsClassifier, KNeighborsRegressor))
    if is_knn and estimator.effective_metric_ == "euclidean":
        # One operator for all distances, in place of a loop, which `OPERATORS` lacks.
        options["optim"] = "cdist"
    model: ModelProto = convert_sklearn(
        estimator,
        name="head",  # a random one otherwise
        initial_types=[(INPUT, FloatTensorType([None, dim]))],
        options={id(estimator): options} if options else None,
        target_opset=OPSETS,
    )
    return model


def _scores(graph: "GraphProto") -> str:
    """Return the name of the matrix that a graph ends in, before it is made into mappings."""
    name = graph.output[-1].name
    maker = next((node for node in graph.node if name in node.output), None)
    return str(maker.input[0]) if maker is not None and maker.op_type == "ZipMap" else str(name)


def _end_in_logits(
    model: "ModelProto",
    scores: str,
    estimator: Any,  # noqa: ANN401
    n_columns: int,
) -> None:
    """Make float32 `OUTPUT` of the matrix `scores` the one output of a model."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: NDArray[Any]) -> str:
        model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    shape = constant("logits_shape", np.array([-1, n_columns]))
    nodes = [
        helper.make_node("Reshape", [scores, shape], ["logits_matrix"]),
        helper.make_node("Cast", ["logits_matrix"], ["logits_cast"], to=TensorProto.FLOAT),
    ]
    if not is_classifier(estimator):
        nodes.append(helper.make_node("Identity", ["logits_cast"], [OUTPUT]))
    elif hasattr(estimator, "predict_proba"):
        floor = constant("logits_floor", np.array(PROBABILITY_FLOOR, dtype=np.float32))
        nodes.append(helper.make_node("Max", ["logits_cast", floor], ["logits_floored"]))
        nodes.append(helper.make_node("Log", ["logits_floored"], [OUTPUT]))
    else:
        half = constant("logits_half", np.array(0.5 if n_columns == 2 else 1, dtype=np.float32))
        nodes.append(helper.make_node("Mul", ["logits_cast", half], [OUTPUT]))
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, n_columns])
    model.graph.output.append(output)
    if "" not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid("", OPSETS[""]))
