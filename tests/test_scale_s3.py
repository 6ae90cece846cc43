"""Sets that are made unit by unit in a bucket."""

from pathlib import Path

import numpy as np
import pytest

from featx.backbone.backbone import Backbone, identity
from featx.data.places import open_place
from featx.data.store import EmbeddingSet
from featx.embedding import Progress
from featx.errors import ChangedError, StoreError
from featx.scale.destination import Destination
from featx.scale.engine import InProcess
from featx.scale.run import ScaledRun
from scaling import DIM, SIZE, Scaled, names, numbers

pytestmark = pytest.mark.s3


@pytest.fixture
def scaled(tmp_path: Path, bucket: str, own_cache: None) -> Scaled:
    return Scaled(tmp_path / "t.npz", Backbone(identity(DIM)), Path(bucket, "t.emb"))


def run(scaled: Scaled, url: str) -> Progress:
    *_, last = ScaledRun(scaled.source, InProcess(scaled.backbone), url).steps()
    return last


def test_a_set_in_a_bucket_follows_its_source(scaled: Scaled, bucket: str) -> None:
    url, X = f"{bucket}/t.emb", numbers(100)
    scaled.save(X, names(100))
    with Destination.open(
        url, "0000", model=scaled.backbone.facts, source=scaled.source.describe()
    ) as destination:
        destination.commit([], finished=False, size=SIZE)

    first, again = run(scaled, url), run(scaled, url)
    X[40] += 1
    scaled.save(X, names(100), ["a"] * 100)
    changed = run(scaled, url)

    assert first == Progress(total=100, embedded=100)
    assert again == Progress(total=100, kept=100)
    assert 1 <= changed.embedded < 50
    emb = EmbeddingSet.open(url)
    assert emb.ids == names(100)
    assert set(emb.y) == {"a"}
    np.testing.assert_array_equal(np.asarray(emb.X), X)


def test_of_two_runs_the_slower_one_gives_way(scaled: Scaled, bucket: str) -> None:
    url = f"{bucket}/t.emb"
    scaled.save(numbers(20), names(20))
    facts, source = scaled.backbone.facts, scaled.source.describe()

    with Destination.open(url, "0000", model=facts, source=source) as destination:
        run(scaled, url)
        with pytest.raises(ChangedError, match="another run has written to it meanwhile"):
            destination.commit([], finished=False, size=SIZE)

    assert EmbeddingSet.open(url).ids == names(20)


def test_a_prefix_that_holds_something_else_is_refused(scaled: Scaled, bucket: str) -> None:
    open_place(f"{bucket}/t.emb").put("notes.txt", b"mine")
    scaled.save(numbers(20), names(20))

    with pytest.raises(StoreError, match=r"no embedding set, but 'notes\.txt' lies there"):
        run(scaled, f"{bucket}/t.emb")
