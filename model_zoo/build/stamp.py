"""Write the hash and size of a backbone's files into its manifest, or say where they differ."""

import hashlib
import re
import tomllib
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(manifest: Path) -> list[str]:
    """Return a line for each file that is not what the manifest says."""
    lines = []
    for entry in _built(manifest.read_text(encoding="utf-8")):
        found = sha256(manifest.parent / entry["path"])
        if found != entry["sha256"]:
            lines.append(f"{manifest.name}: {entry['path']} is {found}, not {entry['sha256']}")
    return lines


def stamp(manifest: Path) -> None:
    """Replace the hashes and sizes in place; every other byte stays."""
    text = manifest.read_text(encoding="utf-8")
    for entry in _built(text):
        path = manifest.parent / entry["path"]
        lines = f'path = "{entry["path"]}"\nsha256 = "{sha256(path)}"\n'
        lines += f"size_bytes = {path.stat().st_size}"
        pattern = rf'path = "{re.escape(entry["path"])}"\nsha256 = "[^"]*"\nsize_bytes = \d+'
        text = re.sub(pattern, lines, text)
    manifest.write_text(text, encoding="utf-8")


def _built(text: str) -> list[dict]:
    """Return the files of a manifest but those that are fetched from elsewhere."""
    return [entry for entry in tomllib.loads(text)["files"].values() if "url" not in entry]
