"""Exported heads: equal probabilities without featx, and no pickle that was not asked for."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline

from command_line import call
from featx.errors import InputError, MissingPackageError, StoreError
from featx.export.files import (
    Exported,
    load_joblib,
    load_portable,
    load_skops,
    save_joblib,
    save_skops,
)
from featx.export.portable import HEADER, to_estimator
from featx.export.restored import to_head
from featx.heads.conformal import Conformal
from featx.heads.headfile import save_head
from featx.heads.predict import Head

DIM = 5
CLASSES = ("ant", "bee", "čáp")
PROBABILITY_TOLERANCE = 1e-6  # the head's logits are of float32, the estimator's of float64


def matrix(n_rows: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n_rows, DIM)).astype(np.float32)


def linear_head(n_classes: int = 3, kind: str = "logreg", **changes: Any) -> Head:  # noqa: ANN401
    settings: dict[str, Any] = {
        "kind": kind,
        "classes": CLASSES[:n_classes],
        "arrays": {"coef": matrix(n_classes), "intercept": matrix(1)[0, :n_classes]},
        "temperature": 0.4,
        "conformal": Conformal(method="lac", coverage=0.9, quantiles=np.array([0.7])),
        "header": {"fingerprint": "f1", "space": "s1", "model": "tiny", "dim": DIM},
    }
    return Head(**(settings | changes))


def centroid_head(n_classes: int = 3) -> Head:
    arrays = {"centre": matrix(1, 5)[0], "centroids": matrix(n_classes, 6)}
    return linear_head(n_classes, kind="centroid", arrays=arrays)


def tag_head() -> Head:
    arrays = {
        "coef": matrix(3),
        "intercept": matrix(1)[0, :3],
        "scale": np.array([1.0, 0.5, 2.0]),
        "shift": np.array([0.1, 0.0, -0.3]),
    }
    return linear_head(kind="ridge", arrays=arrays, task="multilabel", conformal=None)


def value_head(n_outputs: int = 1) -> Head:
    arrays = {
        "coef": matrix(n_outputs),
        "intercept": np.full(n_outputs, 7, dtype=np.float32),
        "spread": np.arange(1.0, n_outputs + 1),
    }
    return linear_head(n_outputs, kind="ridge", arrays=arrays, task="regress", conformal=None)


HEADS = {
    "two classes": linear_head(2),
    "three classes": linear_head(3, kind="lda"),
    "two centroids": centroid_head(2),
    "three centroids": centroid_head(3),
    "tags": tag_head(),
    "one value": value_head(1),
    "two values": value_head(2),
}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def said_by(head: Head, X: NDArray[Any]) -> NDArray[np.float64]:
    return head.logits(X).astype(np.float64) if head.task == "regress" else head.probabilities(X)


@every_head
def test_an_estimator_says_what_its_head_says(head: Head) -> None:
    X = matrix(20, seed=9)
    X[0] = 0

    estimator = to_estimator(head)

    is_value = head.task == "regress"
    found = estimator.predict(X).reshape(20, -1) if is_value else estimator.predict_proba(X)
    np.testing.assert_allclose(found, said_by(head, X), atol=PROBABILITY_TOLERANCE)
    if head.task == "classify":
        labels = [item.label for item in head.predict(X)]
        assert estimator.predict(X).tolist() == labels
    if head.task == "multilabel":
        tags = [[name in item.tags for name in head.classes] for item in head.tag(X)]
        np.testing.assert_array_equal(estimator.predict(X), tags)


@every_head
def test_a_head_comes_back_from_its_estimator(head: Head) -> None:
    X = matrix(20, seed=9)

    back = to_head(to_estimator(head))

    np.testing.assert_allclose(said_by(back, X), said_by(head, X), atol=PROBABILITY_TOLERANCE)
    assert (back.kind, back.classes, back.task) == (head.kind, head.classes, head.task)
    assert back.header == head.header
    assert back.dim == DIM
    if head.task == "classify":
        ids = [str(number) for number in range(20)]
        assert [p.set for p in back.predict(X, ids)] == [p.set for p in head.predict(X, ids)]
    if head.task == "regress":
        found, expected = (
            np.array([item.intervals for item in each.estimate(X)]) for each in (back, head)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_estimators_are_of_plain_scikit_learn() -> None:
    kinds = {name: type(to_estimator(head)) for name, head in HEADS.items()}

    assert kinds == {
        "two classes": LogisticRegression,
        "three classes": LogisticRegression,
        "two centroids": Pipeline,
        "three centroids": Pipeline,
        "tags": OneVsRestClassifier,
        "one value": Ridge,
        "two values": Ridge,
    }
    assert to_estimator(linear_head(2)).coef_.shape == (1, DIM)


@every_head
@pytest.mark.parametrize(
    ("save", "load", "suffix"),
    [(save_joblib, load_joblib, "joblib"), (save_skops, load_skops, "skops")],
)
def test_a_file_gives_the_head_back(
    head: Head,
    save: Callable[[Path, Head], Exported],
    load: Callable[..., Head],
    suffix: str,
    tmp_path: Path,
) -> None:
    path, X = tmp_path / f"x.{suffix}", matrix(9, seed=3)

    exported = save(path, head)
    back = load(path, unsafe_pickle=True) if suffix == "joblib" else load(path)

    assert exported.name == type(to_estimator(head)).__name__
    assert exported.difference < PROBABILITY_TOLERANCE
    np.testing.assert_allclose(said_by(back, X), said_by(head, X), atol=PROBABILITY_TOLERANCE)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_exported_file_needs_no_featx(tmp_path: Path) -> None:
    head = linear_head(3)
    save_joblib(tmp_path / "x.joblib", head)
    code = (
        "import joblib, sys, numpy as np; made = joblib.load(sys.argv[1]);"
        " print(made.predict(np.ones((1, 5)))[0]); assert 'featx' not in sys.modules"
    )

    command = [sys.executable, "-c", code, str(tmp_path / "x.joblib")]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)

    assert done.stdout.decode().strip() == head.predict(np.ones((1, DIM), np.float32))[0].label


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_run_unless_asked_for(tmp_path: Path) -> None:
    trace, path = tmp_path / "ran", tmp_path / "x.joblib"
    path.write_bytes(pickle.dumps(Bomb(trace)))

    with pytest.raises(StoreError, match="runs the code that is in it; if you trust") as caught:
        load_portable(path)
    result = call("predict", path, "text")

    assert result.exit_code == 1
    assert result.stderr == f"error: {caught.value}\n"
    assert not trace.exists()
    with pytest.raises(StoreError, match="no head that featx exported, or a damaged one"):
        load_portable(path, unsafe_pickle=True)
    assert trace.exists()


def test_a_skops_file_with_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.skops"
    estimator = to_estimator(linear_head())
    estimator.extra_ = Bomb(tmp_path / "ran")
    estimator.more_ = subprocess.Popen
    skops.io.dump(estimator, path)

    with pytest.raises(StoreError, match=r"x\.skops: holds '.*', which skops does not trust"):
        load_portable(path)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x05\x06" + bytes(18)])
@pytest.mark.parametrize("suffix", ["joblib", "skops"])
def test_other_bytes_are_refused_in_one_line(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"x\.(joblib|skops): (cannot be unpickled|no skops file)"):
        load_portable(path, unsafe_pickle=True)
    with pytest.raises(StoreError, match=r"none\.(joblib|skops): No such file"):
        load_portable(tmp_path / f"none.{suffix}", unsafe_pickle=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99 is newer than 1; upgrade featx"),
        ({"format": "other"}, "no head that featx exported"),
        ({"task": "sort"}, "no head that featx exported"),
        ({"classes": ["ant", "bee"]}, "no head that featx exported"),
        ({"temperature": None}, "no head that featx exported"),
        ({"conformal": {}}, "no head that featx exported"),
        (
            {"conformal": {"method": "luck", "coverage": 0.9, "quantiles": [0.5]}},
            "no head that featx exported",
        ),
        (
            {"conformal": {"method": "class", "coverage": 0.9, "quantiles": [0.5]}},
            "no head that featx exported",
        ),
        ({"temperature": 0}, "no head that featx exported"),
        ({"kind": "knn"}, "no head that featx exported"),
        ({"kind": "tree"}, "no head that featx exported"),
        ({"kind": ["ridge"]}, "no head that featx exported"),
        ({"header": 3}, "no head that featx exported"),
    ],
)
def test_a_changed_header_is_refused(change: dict[str, Any], message: str) -> None:
    estimator = to_estimator(linear_head())
    setattr(estimator, HEADER, json.dumps(json.loads(getattr(estimator, HEADER)) | change))

    with pytest.raises(StoreError, match=message):
        to_head(estimator)


@pytest.mark.parametrize(
    "estimator", [None, LogisticRegression(), np.ones(3), {"coef_": 1}], ids=repr
)
def test_other_objects_are_no_heads(estimator: object) -> None:
    with pytest.raises(StoreError, match="no head that featx exported"):
        to_head(estimator)


def test_coefficients_that_are_not_finite_are_refused() -> None:
    estimator = to_estimator(linear_head())
    estimator.coef_[1, 1] = np.nan

    with pytest.raises(StoreError, match="no head that featx exported"):
        to_head(estimator)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("knn", "train one that is: featx train SET -o X.head --head logreg"), ("sklearn", "ONNX")],
)
def test_kinds_without_an_estimator_are_refused(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"head: kind '{kind}' cannot be exported: .*{message}"):
        save_joblib(tmp_path / "x.joblib", linear_head(kind=kind))

    assert list(tmp_path.iterdir()) == []


def test_without_skops_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "skops.io", None)

    with pytest.raises(MissingPackageError, match="skops is not installed; run: pip install skops"):
        save_skops(tmp_path / "x.skops", linear_head())
    with pytest.raises(MissingPackageError, match="skops is not installed"):
        load_skops(tmp_path / "x.skops")


def test_the_command_writes_and_compares(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", linear_head())

    told = call("export", tmp_path / "x.head", "-o", tmp_path / "x.joblib")
    (facts,) = call(
        "export", tmp_path / "x.head", "-o", tmp_path / "x.skops", "--json"
    ).stdout.splitlines()

    assert told.exit_code == 0, told.stderr
    assert told.stdout.startswith(
        f"{tmp_path / 'x.joblib'}: LogisticRegression of scikit-learn, 5 columns, 3 outputs;"
        " differs from the head by "
    )
    assert list(json.loads(facts)) == ["out", "format", "estimator", "difference"]
    assert json.loads(facts)["difference"] < PROBABILITY_TOLERANCE
    assert joblib.load(tmp_path / "x.joblib").classes_.tolist() == list(CLASSES)


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("x.bin", (), "unknown suffix '.bin'; expected .onnx, .joblib or .skops"),
        ("x.head", ("--format", "joblib"), "another file is in the way; choose a name that ends"),
        ("mails.csv", ("--format", "skops"), "another file is in the way"),
        ("no/x.skops", (), "No such file or directory"),
    ],
)
def test_places_that_will_not_do_are_refused(
    out: str, options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    save_head(tmp_path / "x.head", linear_head())
    (tmp_path / "mails.csv").write_text("text\n", encoding="utf-8")
    before = (tmp_path / "x.head").read_bytes()

    result = call("export", tmp_path / "x.head", "-o", tmp_path / out, *options)

    assert result.exit_code == 1
    assert message in result.stderr
    assert (tmp_path / "x.head").read_bytes() == before
    assert (tmp_path / "mails.csv").read_text(encoding="utf-8") == "text\n"
