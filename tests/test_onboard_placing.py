"""What is put into a zoo and taken out of it: one process at a time, and nobody else's files."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from featx.errors import StoreError
from featx.onboard.adding import Checked
from featx.onboard.check.golden import write_golden
from featx.onboard.placing import remove
from featx.onboard.read.choices import Choices
from featx.zoo import catalog
from featx.zoo.manifest import Manifest
from hubfolders import TABLE, add, opens, sentence_files, write_files

WAIT_S = 0.3
"""Removing takes a hundredth of it."""


pytestmark = pytest.mark.usefixtures("user_zoo")


@contextmanager
def locked(zoo: Path) -> Iterator[None]:
    """Do what another process does while it moves files into a zoo."""
    descriptor = os.open(zoo, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def added(folder: Path, name: str) -> Manifest:
    write_files(folder / "small", sentence_files())
    return add(str(folder / "small"), Choices(name=name), checks=opens).manifest


def test_golden_vectors_that_cannot_be_kept_are_said_in_one_line(
    tmp_path: Path, user_zoo: Path
) -> None:
    def check(manifest: Manifest) -> Checked:
        write_files(manifest.folder, {"golden": b"in the way", "made.npz": b"golden"})
        return Checked(golden=manifest.folder / "made.npz")

    write_files(tmp_path / "small", sentence_files())
    with pytest.raises(StoreError, match=r"golden/small\.npz: a file is in the way"):
        add(str(tmp_path / "small"), Choices(), checks=check)
    with pytest.raises(StoreError, match=r"small/x\.npz: a file is in the way"):
        write_golden(tmp_path / "small" / "config.json" / "small" / "x.npz", ["red"], TABLE[:1])
    assert list(user_zoo.iterdir()) == []


def test_nothing_is_removed_while_another_process_writes(tmp_path: Path, user_zoo: Path) -> None:
    manifest = added(tmp_path, "small")
    removing = Thread(target=remove, args=("small", user_zoo))

    with locked(user_zoo):
        removing.start()
        removing.join(WAIT_S)
        assert removing.is_alive()
        assert [check.problem for check in catalog.check_files(manifest)] == ["", ""]
    removing.join()
    assert list(user_zoo.iterdir()) == []


def test_a_manifest_cannot_have_other_manifests_and_golden_vectors_removed(
    tmp_path: Path, user_zoo: Path
) -> None:
    good = added(tmp_path, "good")
    write_files(user_zoo, {"golden/good.npz": b"golden", "golden/evil.npz": b"own"})
    text = (user_zoo / "good.toml").read_text().replace('name = "good"', 'name = "evil"')
    text = text.replace('"good/model.onnx"', '"good.toml"')
    text = text.replace('"good/tokenizer.json"', '"golden/good.npz"')
    (user_zoo / "evil.toml").write_text(text)

    assert remove("evil", user_zoo) == 0

    assert catalog.find("good") == good
    assert [check.problem for check in catalog.check_files(good)] == ["", ""]
    assert [path.name for path in (user_zoo / "golden").iterdir()] == ["good.npz"]
