"""Names of scikit-learn's own estimators, as in ``svm.SVC(C=10, kernel='rbf')``.

A name may come from a shell script or a server's form: it reaches what scikit-learn publishes as a
classifier or regressor, and plain values as arguments; nothing else is imported or run.
"""

import ast
import inspect
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from featx.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from featx.types import Task

MODULES = (
    "calibration",
    "cross_decomposition",
    "discriminant_analysis",
    "ensemble",
    "gaussian_process",
    "kernel_ridge",
    "linear_model",
    "multiclass",
    "multioutput",
    "naive_bayes",
    "neighbors",
    "neural_network",
    "svm",
    "tree",
)
"""Modules of scikit-learn that hold classifiers or regressors."""

_MIXINS = {"classify": ClassifierMixin, "regress": RegressorMixin}


def make_estimator(name: str, *, task: "Task | None" = None, random_state: int = 0) -> Any:  # noqa: ANN401
    """Return a new estimator of that name, with `random_state` where it has one and none is given.

    Parameters
    ----------
    name : str
        ``"svm.SVC"``, ``"svm.SVC(C=10)"`` or either after ``"sklearn:"``.
    task : "classify" or "regress", optional
        What it must be able to do; by default either.
    random_state : int, default 0

    Returns
    -------
    object
        Any, since scikit-learn has no types.

    Raises
    ------
    UnknownNameError
        If scikit-learn publishes no such classifier or regressor.
    InputError
        If the name cannot be read, an argument is unknown or missing, or the task is another.

    Examples
    --------
    >>> make_estimator("svm.SVC(C=10)")
    SVC(C=10, random_state=0)
    """
    path, arguments = _parse(name)
    kind = _find(path)
    _check_task(path, kind, task)
    _check_arguments(path, kind, arguments)
    takes_seed = "random_state" in inspect.signature(kind).parameters
    if takes_seed and arguments.get("random_state") is None:
        arguments["random_state"] = random_state
    return kind(**arguments)


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """Return the dotted path and the arguments of a name; values are literals."""
    text = name.removeprefix("sklearn:").strip()
    found = f"sklearn: found {text[:100]!r}"
    wanted = "expected a name such as svm.SVC or svm.SVC(C=10, kernel='rbf')"
    try:
        node = ast.parse(text, mode="eval").body
        keywords = node.keywords if isinstance(node, ast.Call) else []
        arguments = {str(each.arg): ast.literal_eval(each.value) for each in keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as cause:
        message = f"{found}, not a name with plain values; {wanted}"
        raise InputError(message) from cause
    if isinstance(node, ast.Call) and (node.args or any(each.arg is None for each in keywords)):
        message = f"{found}, an argument without a name; {wanted}"
        raise InputError(message)
    path = ast.unparse(node.func if isinstance(node, ast.Call) else node)
    if not all(part.isidentifier() for part in path.split(".")):
        message = f"{found}, not a dotted name; {wanted}"
        raise InputError(message)
    return path.removeprefix("sklearn."), arguments


def _find(path: str) -> type:
    """Return the class of a path such as ``svm.SVC``."""
    module, _, name = path.rpartition(".")
    known = _published(module) if module in MODULES else {}
    if name not in known:
        raise UnknownNameError("scikit-learn estimator", path[:80], _hints(module, name))
    return known[name]


def _hints(module: str, name: str) -> list[str]:
    """Return what was most probably meant; else the modules that there are."""
    every = [f"{each}.{found}" for each in MODULES for found in _published(each)]
    same = [path for path in every if path.rpartition(".")[2].lower() == name.lower()]
    near = get_close_matches(f"{module}.{name}"[:80], same or every, n=1)
    return near or same or [f"{each}.*" for each in MODULES]


def _published(module: str) -> dict[str, type]:
    """Return the classifiers and regressors of a module, by name."""
    place = f"sklearn.{module}"
    return {
        name: kind
        for name, kind in vars(import_module(place)).items()
        if inspect.isclass(kind)
        and issubclass(kind, BaseEstimator)
        and issubclass(kind, (ClassifierMixin, RegressorMixin))
        and kind.__module__.startswith(place)
        and not name.startswith("_")
    }


def _check_arguments(path: str, kind: type, arguments: dict[str, Any]) -> None:
    known = inspect.signature(kind).parameters
    for name in arguments:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            message = f"sklearn:{path}: unknown argument {name!r}; {hint}"
            raise InputError(message)
    needed = [name for name, each in known.items() if each.default is inspect.Parameter.empty]
    if needed:
        message = (
            f"sklearn:{path}: needs {needed[0]!r}, another estimator; only estimators that stand"
            " alone are taken, such as svm.SVC or ensemble.RandomForestClassifier"
        )
        raise InputError(message)


def _check_task(path: str, kind: type, task: "Task | None") -> None:
    if task is None or issubclass(kind, _MIXINS.get(task, ())):
        return
    what = "classifier" if issubclass(kind, ClassifierMixin) else "regressor"
    does = "classify" if what == "classifier" else "regress"
    message = f"sklearn:{path} is a {what}; task {task!r} needs another; use it with --task {does}"
    raise InputError(message)
