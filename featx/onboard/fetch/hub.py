"""Models of the Hugging Face hub, by its own client: pinned to a commit, kept in its cache.

The client's settings hold: ``HF_TOKEN`` or a login, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``,
``HF_HUB_CACHE``.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from featx.data.files import explained, writing
from featx.errors import InputError, MissingPackageError, ServerError
from featx.onboard.fetch.files import MOST_FILES, Say, missing, readable, require_size
from featx.onboard.fetch.hubrefusal import explained_hub, is_offline
from featx.onboard.fetch.origin import Origin, safe_name

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo


MAIN = "main"
"""The branch that is meant where none is named."""

OWN = {"model", "onnx/model"}
"""Where the hub keeps a repository's own model; a graph elsewhere may be of another one."""

_TOWER = re.compile(r"^(?:text|vision|audio)_(?=model$)")

_PRECISION = re.compile(r"_(?:fp16|fp32|q?u?int8(?:_\w+)?|q4|q4f16|q8|bnb4|quantized|O[1-4])$")
"""What exporters put behind the name of a graph that computes the same in another way."""


@dataclass(frozen=True)
class Repository:
    """Files of a repository at one commit.

    Attributes
    ----------
    origin : Origin
        With the commit as its revision.
    sizes : mapping of str to int
    limit_bytes : int
    say : callable
    is_complete : bool
        Whether `sizes` lists the whole repository.
    branch : str
        The branch or tag that was pinned to the commit; empty where a commit was named.
    """

    origin: Origin
    sizes: Mapping[str, int]
    limit_bytes: int
    say: Say
    is_complete: bool = True
    branch: str = ""

    @property
    def chosen(self) -> str:
        """The file that the origin names."""
        return self.origin.file

    def weights_of(self, graph: str) -> str:
        """Return the repository at its commit, and which of its models a graph is of.

        Towers of a pair, and other precisions of a graph, are of one model.
        """
        path = PurePosixPath(graph)
        stem = _TOWER.sub("", _PRECISION.sub("", path.stem))
        model = (path.parent / stem).as_posix()
        return f"{self.origin.place}@{self.origin.revision}{'' if model in OWN else f':{model}'}"

    def take(self, name: str, place: Path) -> None:
        """Download one file into the hub's cache, unless it is there, and copy it."""
        if name not in self.sizes:
            raise missing(self.origin.whole, name, self.sizes)
        require_size(f"{self.origin}: {name}", self.sizes[name], self.limit_bytes)
        source = _cached(replace(self.origin, file=name), self.sizes[name], self.branch, self.say)
        with explained(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)

    def url(self, name: str, sha256: str) -> str:
        """Return the file at the commit."""
        return str(replace(self.origin, file=name))

    def close(self) -> None:
        """Leave the hub's cache to the hub's client."""


def open_hub(origin: Origin, *, limit_bytes: int, say: Say) -> Repository:
    """Return the files of a repository, at the commit that its revision is now.

    Raises
    ------
    InputError
        If it has too many files, or a file of unknown size.
    ServerError
        If the hub cannot be reached, or refuses: no such repository or revision, or a private
        or gated one.
    MissingPackageError
        Without the hub's client.
    """
    if find_spec("huggingface_hub") is None:
        raise MissingPackageError("huggingface_hub", "huggingface-hub")
    if is_offline():
        return Repository(*_listed_offline(origin), limit_bytes, say, is_complete=False)
    from huggingface_hub import HfApi

    with explained_hub(origin):
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
        found = api.model_info(origin.place, revision=origin.revision or None, files_metadata=True)
    pinned = replace(origin, revision=found.sha or "")
    if not pinned.revision:
        message = f"{origin}: the hub names no commit"
        raise ServerError(message, code="refused")
    branch = "" if origin.revision == pinned.revision else origin.revision or MAIN
    return Repository(pinned, _sizes(origin, found), limit_bytes, say, branch=branch)


def _sizes(origin: Origin, found: "ModelInfo") -> dict[str, int]:
    siblings = found.siblings or []
    if len(siblings) > MOST_FILES:
        message = f"{origin}: holds {len(siblings):,} files; at most {MOST_FILES:,} are allowed"
        raise InputError(message)
    sizes: dict[str, int] = {}
    for each in siblings:
        if each.size is None:
            message = f"{origin}: the hub does not say how large {each.rfilename!r} is; refused"
            raise InputError(message)
        if safe_name(each.rfilename):
            sizes[each.rfilename] = each.size
    return sizes


def _listed_offline(origin: Origin) -> tuple[Origin, dict[str, int]]:
    """Return what the hub's cache holds of a repository."""
    from huggingface_hub import snapshot_download

    with explained_hub(origin):
        folder = Path(
            snapshot_download(
                origin.place,
                revision=origin.revision or None,
                cache_dir=_cache(),
                local_files_only=True,
            )
        )
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    return replace(origin, revision=folder.name), sizes


def _cached(origin: Origin, size_bytes: int, branch: str, say: Say) -> str:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    options: dict[str, Any] = {"revision": origin.revision, "cache_dir": _cache()}
    known = try_to_load_from_cache(origin.place, origin.file, **options)
    if isinstance(known, str):
        return known
    say(f"fetching {origin}: {readable(size_bytes)}")
    with explained_hub(origin):
        found = str(
            hf_hub_download(
                origin.place,
                origin.file,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
                local_files_only=is_offline(),
                **options,
            )
        )
    if safe_name(branch):
        _remember(Path(found), origin.file, branch)
    return found


def _remember(file: Path, name: str, branch: str) -> None:
    """Note in the hub's cache which commit a branch is, for runs without a network.

    Its client does so where it is asked for a branch; it is asked for a commit.
    """
    snapshot = file.parents[len(PurePosixPath(name).parts) - 1]
    ref = snapshot.parents[1] / "refs" / branch
    with explained(ref):
        ref.parent.mkdir(parents=True, exist_ok=True)
        with writing(ref) as partial:
            partial.write_text(snapshot.name, encoding="utf-8")


def _cache() -> str | None:
    return os.environ.get("HF_HUB_CACHE") or None
