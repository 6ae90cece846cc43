"""Files of exported estimators, and the door that pickles come in by."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from featx.data.files import explained, writing
from featx.errors import FeatxError, MissingPackageError, StoreError
from featx.export.portable import TOLERANCE, largest_difference, to_estimator
from featx.export.restored import to_head

if TYPE_CHECKING:
    from types import ModuleType

    from featx.heads.predict import Head


class Exported(NamedTuple):
    """What was written.

    Attributes
    ----------
    name : str
        Of the estimator's class.
    difference : float
        Largest difference to the head, in probability or value, on random vectors.
    """

    name: str
    difference: float


def load_portable(path: Path, *, unsafe_pickle: bool = False) -> "Head":
    """Read a head from an exported file, by its suffix; see `load_joblib` and `load_skops`.

    Parameters
    ----------
    path : Path
        Ends in ``.joblib`` or ``.skops``.
    unsafe_pickle : bool, default False
        Whether whoever made a joblib file is trusted.
    """
    if path.suffix == ".skops":
        return load_skops(path)
    return load_joblib(path, unsafe_pickle=unsafe_pickle)


def save_joblib(path: Path, head: "Head") -> Exported:
    """Write the estimator of `head` with joblib, whole or not at all, and compare what is read.

    Raises
    ------
    InputError
        If no estimator of scikit-learn is like the head.
    StoreError
        If the file cannot be written, or says something else than the head.
    """
    import joblib

    estimator = to_estimator(head)
    with writing(path) as temporary:
        joblib.dump(estimator, temporary)
        return _compared(path, joblib.load(temporary), head)


def save_skops(path: Path, head: "Head") -> Exported:
    """Write the estimator of `head` with skops, whole or not at all, and compare what is read.

    Raises
    ------
    MissingPackageError
        If skops is not installed.
    InputError, StoreError
        As `save_joblib`.
    """
    skops = _skops()
    content = skops.dumps(to_estimator(head))
    with writing(path) as temporary:
        temporary.write_bytes(content)
        return _compared(path, skops.loads(content), head)


def load_joblib(path: Path, *, unsafe_pickle: bool = False) -> "Head":
    """Read a head from a joblib file, which runs whatever code is in it.

    Parameters
    ----------
    path : Path
        Written by `save_joblib`.
    unsafe_pickle : bool, default False
        Whether whoever made the file is trusted.

    Raises
    ------
    StoreError
        If not, and nothing of the file has been read; or if it holds no such head.
    """
    if not unsafe_pickle:
        message = (
            f"{path}: a joblib file runs the code that is in it; if you trust whoever made it,"
            " add --unsafe-pickle; else ask for the .head or a .skops file"
        )
        raise StoreError(message)
    import joblib

    with explained(path), path.open("rb") as file:
        try:
            estimator = joblib.load(file)
        except Exception as cause:
            message = f"{path}: cannot be unpickled: {_first_line(cause)}"
            raise StoreError(message) from cause
    return _as_head(path, estimator)


def load_skops(path: Path) -> "Head":
    """Read a head from a skops file; types that skops does not trust by itself are refused.

    Raises
    ------
    MissingPackageError
        If skops is not installed.
    StoreError
        If the file holds another type or no such head, or cannot be read.
    """
    skops = _skops()
    with explained(path):
        content = path.read_bytes()
    try:
        untrusted = skops.get_untrusted_types(data=content)
        estimator = None if untrusted else skops.loads(content)
    except Exception as cause:
        message = f"{path}: no skops file, or a damaged one: {_first_line(cause)}"
        raise StoreError(message) from cause
    if untrusted:
        message = f"{path}: holds {untrusted[0]!r:.80}, which skops does not trust; refused"
        raise StoreError(message)
    return _as_head(path, estimator)


def _compared(path: Path, estimator: Any, head: "Head") -> Exported:  # noqa: ANN401
    """Return the facts of an estimator that was read back, if it says what the head says."""
    difference = largest_difference(estimator, head)
    if not difference <= TOLERANCE:
        message = f"{path}: not written: it would differ from the head by {difference:.2g}"
        raise StoreError(message)
    return Exported(type(estimator).__name__, difference)


def _as_head(path: Path, estimator: Any) -> "Head":  # noqa: ANN401 - whatever a file holds
    try:
        return to_head(estimator)
    except FeatxError as cause:
        message = f"{path}: {cause}"
        raise StoreError(message) from cause


def _first_line(cause: Exception) -> str:
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]


def _skops() -> "ModuleType":
    from importlib import import_module

    try:
        return import_module("skops.io")
    except ModuleNotFoundError as cause:
        raise MissingPackageError("skops", "skops") from cause
