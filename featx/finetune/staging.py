"""How new files take the places of old ones: all of them, or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp

from featx.data.files import explained, sync_file, sync_folder
from featx.finetune.files import Files


@contextmanager
def staged(files: Files) -> Iterator[Files]:
    """Give a folder for new files, which then take the places of those of an earlier run.

    What has no successor goes away.  If one file cannot be moved, all is as it was before.

    Raises
    ------
    StoreError
        If the files cannot be written, or not take their places.
    """
    with (
        explained(files.graph),
        TemporaryDirectory(dir=files.folder, prefix=f".{files.name}.", suffix=".tmp") as folder,
    ):
        made = Files(Path(folder) / files.graph.name)
        yield made
        for source in made.in_order():
            if source.exists():
                sync_file(source)
        _exchange(made, files)
        sync_folder(files.folder)


def _exchange(made: Files, files: Files) -> None:
    """Put old files aside and new ones into their places, all of them or none.

    No manifest is there meanwhile: a graph is not read with the manifest of another one, whose
    fingerprint would stand for its vectors.  Wherever it is killed, `require_place` takes what is
    left for a run's own.
    """
    # Should even the way back fail, this folder stays.
    aside = Path(mkdtemp(dir=files.folder, prefix=f".{files.name}.", suffix=".old"))
    old = [place for place in reversed(files.in_order()) if place.is_file()]
    moves = [(place, aside / place.name) for place in old]
    new = zip(made.in_order(), files.in_order(), strict=True)
    moves += [(source, place) for source, place in new if source.exists()]
    moved = []
    try:
        for source, target in moves:
            target.parent.mkdir(exist_ok=True)
            source.replace(target)
            moved.append((source, target))
    except BaseException:
        for source, target in reversed(moved):
            target.replace(source)
        aside.rmdir()
        raise
    rmtree(aside)
