"""Pages of a gallery's items, by row, and of what they hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import UnknownNameError
from featx.gallery.gallery import Gallery, ItemFacts
from featx.gallery.held import Held
from featx.gallery.listing import labels_of
from gallery_sets import build, vectors

Found = list[tuple[str, ItemFacts]]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """Give a gallery of which some items were removed, and to which some were added."""
    folder = tmp_path_factory.mktemp("listing")
    build(folder, n=60, segment=25).close()
    X = vectors(12, seed=1)
    ids = [f"new/Ärger {row}" for row in range(12)]
    facts = [ItemFacts(label="even", split="test", preview=f"ADDED {row}") for row in range(12)]
    with Gallery.open(folder / "a.knn", writable=True) as gallery:
        gallery.add(ids[:6], X[:6], facts=facts[:6])
        gallery.remove(["i3", "i50", ids[1]])
        gallery.fold()
        gallery.add(ids[6:], X[6:], facts=facts[6:])
        gallery.add(["i7"], X[:1], facts=[ItemFacts(preview="replaced")], replace=True)
        gallery.remove(["i8", ids[7]])
    with Gallery.open(folder / "a.knn") as gallery:
        return gallery.snapshot


def oracle(held: Held, label: str | None, split: str | None, text: str) -> Found:
    return [
        (item_id, facts)
        for item_id, facts in held.items()
        if label in (None, facts.label)
        and split in (None, facts.split)
        and (text.lower() in item_id.lower() or text.lower() in facts.preview.lower())
    ]


def all_pages(held: Held, limit: int, **asked: str | None) -> Found:
    found: Found = []
    after: int | None = -1
    while after is not None:
        page = held.page(after=after, limit=limit, **asked)  # type: ignore[arg-type]
        assert len(page.items) == limit or page.next is None
        found += page.items
        after = page.next
    assert page.total == len(found)
    return found


@given(
    label=st.sampled_from([None, "even", "odd"]),
    split=st.sampled_from([None, "train", "test"]),
    text=st.sampled_from(
        ["", "item 1", "ITEM", "i5", "added", "ärger", "ÄRGER 1", "replaced", "(."]
    ),
    limit=st.integers(1, 80),
)
@settings(deadline=None)
def test_pages_hold_what_a_look_at_every_item_finds(
    changed: Held, label: str | None, split: str | None, text: str, limit: int
) -> None:
    found = all_pages(changed, limit, label=label, split=split, text=text)

    assert found == oracle(changed, label, split, text)


def test_a_label_that_no_item_ever_had_is_named(changed: Held) -> None:
    with pytest.raises(UnknownNameError, match="unknown label 'evn'; did you mean 'even'"):
        changed.page(label="evn", limit=5)


def test_a_row_that_is_gone_is_a_place_to_go_on_from(changed: Held) -> None:
    ids = [item_id for item_id, _ in changed.page(after=3, limit=2).items]

    assert ids == ["i4", "i5"]


def test_labels_are_those_of_the_rows(changed: Held) -> None:
    rows = np.random.default_rng(0).permutation(changed.rows)

    assert labels_of(changed, rows) == [changed.item(row)[1].label for row in rows.tolist()]


def test_an_empty_gallery_has_one_page_without_items(tmp_path: Path) -> None:
    build(tmp_path, n=3).close()
    with Gallery.open(tmp_path / "a.knn", writable=True) as gallery:
        gallery.remove(["i0", "i1", "i2"])
        gallery.compact()
        page = gallery.snapshot.page(text="i", limit=5)

    assert (page.items, page.next, page.total) == ([], None, 0)
