"""Head files come back as they went, and nothing else is read as one."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import InputError, SpaceError, StoreError
from featx.heads.conformal import Conformal
from featx.heads.foreign import SklearnHead
from featx.heads.headfile import load_head, refuse_strangers, save_head
from featx.heads.novelty import Novelty, fit_novelty
from featx.heads.predict import Head, check_space


def linear_head() -> Head:
    rng = np.random.default_rng(0)
    return Head(
        kind="ridge",
        classes=("cat", "dög"),
        arrays={
            "coef": rng.normal(size=(2, 3)).astype(np.float32),
            "intercept": np.array([0.5, -0.5], dtype=np.float32),
            "trained_digests": rng.integers(0, 256, size=(4, 32), dtype=np.uint8),
        },
        temperature=0.7,
        conformal=Conformal(method="lac", coverage=0.8, quantiles=np.array([0.25])),
        header={"fingerprint": "f1", "space": "s1", "model": "tiny", "metrics": {"n": 4}},
    )


def knn_head(k: int = 3) -> Head:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    return Head(
        kind="knn",
        classes=("a", "b", "c"),
        arrays={
            "vectors": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
            "codes": np.arange(20) % 3,
            "k": np.array(k),
            "vote_temperature": np.array(0.07),
        },
    )


def centroid_head() -> Head:
    rng = np.random.default_rng(2)
    return Head(
        kind="centroid",
        classes=("a", "b", "c"),
        arrays={
            "centre": rng.normal(size=3).astype(np.float32),
            "centroids": rng.normal(size=(3, 3)).astype(np.float32),
        },
        conformal=Conformal(method="class", coverage=0.9, quantiles=np.array([0.5, 1.0, 0.0])),
        novelty=novelty(3),
    )


def tagging_head() -> Head:
    head = linear_head()
    arrays = {**head.arrays, "scale": np.array([2.0, 0.5]), "shift": np.array([0.1, -1.0])}
    return replace(head, task="multilabel", arrays=arrays, conformal=None, temperature=1.0)


def estimating_head() -> Head:
    head = replace(linear_head(), classes=("kg", "cm"), conformal=None, temperature=1.0)
    return replace(head, task="regress", arrays={**head.arrays, "spread": np.array([0.5, 2.0])})


def foreign_head() -> Head:
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    fitted = SklearnHead("linear_model.LogisticRegression").fit(X + 3 * y[:, None], y)
    return Head(kind="sklearn", classes=("a", "b"), arrays=fitted.head_arrays())


def novelty(dim: int) -> Novelty:
    codes = np.arange(60) % 2
    X = np.random.default_rng(4).normal(size=(60, dim)) + 9 * codes[:, None]
    return fit_novelty(X.astype(np.float32), codes, n_classes=2)


HEADS = {
    "centroid": centroid_head,
    "estimating": estimating_head,
    "knn": knn_head,
    "linear": linear_head,
    "sklearn": foreign_head,
    "tagging": tagging_head,
}


def rewrite(path: Path, change: dict[str, bytes | None], **header: Any) -> Path:  # noqa: ANN401
    """Copy a head with members changed or dropped (None), and header values set."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["header.json"] = json.dumps({**json.loads(members["header.json"]), **header}).encode()
    changed = path.with_suffix(".changed")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, old in (members | change).items():
            if old is not None:
                archive.writestr(name, old)
    return changed


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def assert_equal_parts(back: Any, there: Any) -> None:  # noqa: ANN401 - two of any dataclass
    for part in fields(there):
        mine, other = getattr(back, part.name), getattr(there, part.name)
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(mine, other, strict=True)
        elif is_dataclass(other):
            assert_equal_parts(mine, other)
        elif part.name == "arrays":
            assert sorted(mine) == sorted(other)
            for name, array in other.items():
                np.testing.assert_array_equal(mine[name], array, strict=True)
        else:
            assert mine == other


@pytest.mark.parametrize("name", HEADS)
def test_a_head_comes_back_as_it_went(name: str, tmp_path: Path) -> None:
    head = HEADS[name]()
    X = np.random.default_rng(5).normal(size=(9, head.dim)).astype(np.float32)
    save_head(tmp_path / "x.head", head)

    back = load_head(tmp_path / "x.head")

    assert_equal_parts(back, head)
    np.testing.assert_array_equal(back.logits(X), head.logits(X))


def test_a_head_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match=r"x\.head: a file is in the way; choose another place"):
        save_head(tmp_path / "file" / "x.head", linear_head())


def test_equal_heads_give_equal_bytes_and_leave_no_other_file(tmp_path: Path) -> None:
    save_head(tmp_path / "a.head", linear_head())
    save_head(tmp_path / "b.head", linear_head())
    save_head(tmp_path / "b.head", linear_head())

    assert (tmp_path / "a.head").read_bytes() == (tmp_path / "b.head").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.head", "b.head"]
    with zipfile.ZipFile(tmp_path / "a.head") as archive:
        assert archive.namelist()[0] == "header.json"


@pytest.mark.parametrize(
    ("change", "header", "message"),
    [
        ({}, {"version": 3}, "version 3 is newer than 2, the newest known; upgrade featx"),
        ({}, {"version": 1}, "version 1 is older than 2; train it again"),
        ({}, {"version": "2"}, "version is missing or of the wrong type"),
        ({}, {"format": "other"}, "does not say format 'featx-head'"),
        ({}, {"kind": "os:system"}, "kind 'os:system' is unknown; known: centroid, knn, lda"),
        ({}, {"task": "rank"}, "task 'rank' is unknown; known: classify, multilabel, regress"),
        ({}, {"task": "multilabel"}, "array 'scale' is missing or of the wrong type"),
        ({}, {"task": 3}, "task is missing or of the wrong type"),
        ({}, {"classes": ["a", "a"]}, "not 2 or more different names"),
        ({}, {"classes": [["a"], ["b"]]}, "not 2 or more different names"),
        ({}, {"metrics": np.nan}, "NaN is no number"),
        ({}, {"conformal": None}, "what makes its conformal sets is missing"),
        ({}, {"conformal": {"method": "lac", "coverage": 1.5}}, "what makes its conformal sets"),
        ({}, {"conformal": {"method": "class", "coverage": 0.9}}, "do not fit each other"),
        ({"quantiles.npy": npy(np.array([1.5]))}, {}, "do not fit each other"),
        ({"quantiles.npy": npy(np.array([0]))}, {}, "what makes its conformal sets is missing"),
        ({}, {"temperature": -1.0}, "out of range"),
        ({}, {"arrays": ["coef", "nothing"]}, "its array 'nothing' is missing"),
        ({"coef.npy": None}, {}, "its array 'coef' is missing"),
        ({"coef.npy": b"nonsense"}, {}, "array 'coef' is not an npy file"),
        ({"coef.npy": npy(np.ones(6)).replace(b"}", b"(", 1)}, {}, "array 'coef' is not an npy"),
        ({"coef.npy": npy(np.ones((3, 3)))}, {}, "do not fit each other or 2 classes"),
        ({"coef.npy": npy(np.full((2, 3), np.nan))}, {}, "not finite"),
        ({"coef.npy": npy(np.ones((2, 3), dtype=complex))}, {}, "holds complex128; allowed"),
        ({"header.json": b"[]"}, {}, "not a head"),
        ({"header.json": b"{"}, {}, "header.json is not JSON"),
        ({"../coef.npy": b""}, {}, "has a name that no head has"),
    ],
)
def test_a_wrong_file_is_refused(
    change: dict[str, bytes | None], header: dict[str, object], message: str, tmp_path: Path
) -> None:
    save_head(tmp_path / "x.head", linear_head())
    changed = rewrite(tmp_path / "x.head", change, **header)

    with pytest.raises(StoreError, match=message) as caught:
        load_head(changed)

    assert str(caught.value).startswith(str(changed))
    assert "\n" not in str(caught.value)


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", linear_head())
    objects = npy(np.array([print, None], dtype=object), allow_pickle=True)
    changed = rewrite(tmp_path / "x.head", {"coef.npy": objects, "intercept.npy": pickle.dumps(1)})

    with pytest.raises(StoreError, match="array 'coef' holds object"):
        load_head(changed)


def test_an_absurd_shape_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", linear_head())
    huge = npy(np.ones((2, 3), dtype=np.float32))
    huge = huge.replace(b"(2, 3), }   ", b"(9999999,),}", 1)
    changed = rewrite(tmp_path / "x.head", {"coef.npy": huge})

    with pytest.raises(StoreError, match=r"shape \(9999999,\) but 24 bytes"):
        load_head(changed)


def test_a_compressed_member_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.head", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", "{}" * 1000)

    with pytest.raises(StoreError, match="is compressed or encrypted"):
        load_head(tmp_path / "x.head")


def test_a_cut_or_flipped_file_is_refused(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", linear_head())
    whole = (tmp_path / "x.head").read_bytes()

    for end in range(0, len(whole), 37):
        (tmp_path / "cut.head").write_bytes(whole[:end])
        with pytest.raises(StoreError):
            load_head(tmp_path / "cut.head")
    spoilt = bytearray(whole)
    spoilt[whole.index(b"metrics")] ^= 1
    (tmp_path / "cut.head").write_bytes(spoilt)
    with pytest.raises(StoreError, match="a damaged one"):
        load_head(tmp_path / "cut.head")


def test_random_damage_never_ends_in_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save_head(tmp_path / "x.head", knn_head())
    whole = (tmp_path / "x.head").read_bytes()
    refused = 0

    for _ in range(400):
        spoilt = bytearray(whole)
        spoilt[rng.integers(len(spoilt))] = rng.integers(256)
        (tmp_path / "x.head").write_bytes(spoilt)
        try:
            load_head(tmp_path / "x.head")
        except StoreError:
            refused += 1

    assert refused > 300


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file; train one with: featx train SET -o"):
        load_head(tmp_path / "x.head")


def test_a_head_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not written: kind 'tree' is unknown"):
        save_head(tmp_path / "x.head", replace(linear_head(), kind="tree"))
    with pytest.raises(StoreError, match="not written: its header is not JSON"):
        save_head(tmp_path / "x.head", replace(linear_head(), header={"x": np.nan}))

    assert list(tmp_path.iterdir()) == []


def test_linear_predictions_equal_the_formula() -> None:
    head, X = linear_head(), np.array([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]], dtype=np.float32)

    predicted = head.predict(X)

    logits = X @ head.arrays["coef"].T + head.arrays["intercept"]
    powers = np.exp(logits / 0.7)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    for item, row in zip(predicted, probabilities, strict=True):
        assert item.label == head.classes[row.argmax()]
        assert item.probability == pytest.approx(row.max(), rel=1e-5)
        kept = {name for name, p in zip(head.classes, row, strict=True) if 1 - p <= 0.25}
        assert set(item.set) == kept
        assert item.novel is None


@pytest.mark.parametrize("k", [1, 3, 50])
def test_knn_votes_equal_a_loop(k: int) -> None:
    head = knn_head(k)
    queries = np.random.default_rng(2).normal(size=(7, 4)).astype(np.float32)

    probabilities = head.probabilities(3 * queries)

    for query, row in zip(queries, probabilities, strict=True):
        similarities = head.arrays["vectors"] @ (query / np.linalg.norm(query))
        nearest = np.argsort(-similarities)[:k]
        votes = np.zeros(3)
        for neighbour in nearest:
            votes[neighbour % 3] += np.exp((similarities[neighbour] - 1) / 0.07)
        # One neighbour more votes for every class alike.
        n = min(k, 20)
        votes = (n * votes / votes.sum() + 1 / 3) / (n + 1)
        np.testing.assert_allclose(row, votes, rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_embeddings_of_another_width_or_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 5\); expected \(N, 3\)"):
        linear_head().predict(np.zeros((2, 5), dtype=np.float32))
    with pytest.raises(InputError, match="row 1 holds a value that is not finite"):
        linear_head().predict(np.array([[0, 0, 0], [0, np.nan, 0]], dtype=np.float32))


def test_an_item_that_no_class_fits_has_an_empty_set() -> None:
    head = linear_head()
    assert head.conformal is not None
    strict = replace(head.conformal, quantiles=np.array([0.0]))

    (item,) = replace(head, conformal=strict).predict(np.ones((1, 3), dtype=np.float32))

    assert item.set == ()
    assert item.label in head.classes


def test_without_conformal_sets_a_set_is_the_label() -> None:
    X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)

    for item in knn_head().predict(X):
        assert item.set == (item.label,)


def test_what_is_unlike_the_training_rows_is_flagged() -> None:
    X = np.array([[0, 0, 0], [9, 9, 9], [5, 5, 5], [90, 90, 90]], dtype=np.float32)

    assert [item.novel for item in centroid_head().predict(X)] == [False, False, True, True]


def test_the_nearest_class_mean_is_the_label() -> None:
    head = centroid_head()
    X = np.random.default_rng(5).normal(size=(20, 3)).astype(np.float32)

    predicted = [item.label for item in head.predict(X)]

    moved = X - head.arrays["centre"]
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    distances = np.linalg.norm(moved[:, None] - head.arrays["centroids"][None], axis=2)
    assert predicted == [head.classes[code] for code in distances.argmin(axis=1)]


def test_tags_are_those_of_a_probability_above_one_half() -> None:
    head = tagging_head()
    X = np.random.default_rng(6).normal(size=(30, 3)).astype(np.float32)

    logits = X @ head.arrays["coef"].T + head.arrays["intercept"]
    likely = 1 / (1 + np.exp(-(logits * [2.0, 0.5] + [0.1, -1.0])))
    for item, row in zip(head.tag(X), likely, strict=True):
        assert item.probabilities == pytest.approx(dict(zip(head.classes, row, strict=True)))
        order = sorted(head.classes, key=lambda name: -item.probabilities[name])
        assert item.tags == tuple(name for name in order if item.probabilities[name] > 0.5)


def test_estimates_lie_in_the_middle_of_their_intervals() -> None:
    head = estimating_head()
    X = np.random.default_rng(7).normal(size=(4, 3)).astype(np.float32)

    values = X @ head.arrays["coef"].T + head.arrays["intercept"]
    for item, row in zip(head.estimate(X), values, strict=True):
        assert item.values == pytest.approx(row, rel=1e-6)
        ends = [(row[0] - 0.5, row[0] + 0.5), (row[1] - 2, row[1] + 2)]
        np.testing.assert_allclose(item.intervals, ends, rtol=1e-6)


def test_a_head_does_its_own_task_alone() -> None:
    X = np.zeros((1, 3), dtype=np.float32)

    with pytest.raises(InputError, match="its task is 'multilabel'; expected 'classify'"):
        tagging_head().predict(X)
    with pytest.raises(InputError, match="its task is 'classify'; expected 'multilabel'"):
        linear_head().tag(X)
    with pytest.raises(InputError, match="its task is 'classify'; expected 'regress'"):
        linear_head().estimate(X)
    with pytest.raises(InputError, match="has no probabilities; ask for estimates"):
        estimating_head().probabilities(X)


def test_damaged_novelty_is_refused(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", centroid_head())

    for change in (
        {"novelty_mean.npy": npy(np.zeros(5, dtype=np.float32))},
        {"novelty_whiten.npy": npy(np.zeros((3, 2), dtype=np.float32))},
        {"novelty_threshold.npy": npy(np.array(np.inf))},
        {"novelty_centres.npy": npy(np.zeros((0, 3), dtype=np.float32))},
    ):
        with pytest.raises(StoreError, match=r"changed: its arrays|changed: what tells|not finite"):
            load_head(rewrite(tmp_path / "x.head", dict(change)))


def test_a_graph_of_other_widths_is_refused(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", foreign_head())

    with pytest.raises(StoreError, match="do not fit each other or 3 classes"):
        load_head(rewrite(tmp_path / "x.head", {}, classes=["a", "b", "c"]))
    broken = npy(np.arange(100, dtype=np.uint8))
    with pytest.raises(StoreError, match="changed: "):
        load_head(rewrite(tmp_path / "x.head", {"graph.npy": broken}))


def test_another_zip_is_no_head(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=np.ones(3))

    with pytest.raises(StoreError, match="not a head: its first member is not header"):
        load_head(tmp_path / "x.npz")


def test_spaces_are_compared_by_rule() -> None:
    head = linear_head()

    assert check_space(head, "f1", "s1") is None
    assert "same space, other fingerprint" in (check_space(head, "f2", "s1") or "")
    with pytest.raises(SpaceError, match="run: featx embed SOURCE -m tiny"):
        check_space(head, "f2", "s2")


def test_a_file_that_is_no_head_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    path.write_text("text,label\n", encoding="utf-8")

    with pytest.raises(StoreError, match="a file that is no head is in the way"):
        refuse_strangers(path)

    assert path.read_text(encoding="utf-8") == "text,label\n"


def test_a_head_is_read_and_asked_without_scikit_learn(tmp_path: Path) -> None:
    save_head(tmp_path / "x.head", centroid_head())
    code = (
        "import sys, numpy as np; from pathlib import Path; import featx.heads.headfile as file\n"
        f"file.load_head(Path({str(tmp_path / 'x.head')!r})).predict(np.ones((1, 3)))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "featx" in loaded
    assert loaded & {"sklearn", "scipy", "faiss", "onnxruntime", "pyarrow"} == set()
