"""Places outside embedding sets, where other things may be written."""

from pathlib import Path

from featx.data.files import explained
from featx.data.setmanifest import FORMAT, NAME
from featx.errors import StoreError


def require_outside_sets(out: Path) -> None:
    """Raise before something is written into an embedding set, or in the place of one.

    Raises
    ------
    StoreError
        Also if the place cannot be looked at.
    """
    for folder in (out, *out.resolve().parents):
        manifest = folder / NAME
        with explained(out):
            # Web sites have files of that name, too.
            is_set = manifest.is_file() and FORMAT.encode() in manifest.read_bytes()
        if is_set:
            message = f"{out}: lies in the embedding set {folder}; choose a place outside"
            raise StoreError(message)
