"""From an origin into a staging folder: the graph with its weights, and what describes it."""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from featx.backbone.graphs.external import weight_files
from featx.errors import InputError
from featx.fingerprint import file_sha256
from featx.onboard.fetch.files import Files, readable
from featx.onboard.fetch.origin import safe_name
from featx.onboard.read.content import EXPORT, SUFFIX, require_onnx, require_onnx_name
from featx.onboard.read.facts import MOST_JSON_BYTES
from featx.onboard.read.stated import TRANSFORMER
from featx.zoo.manifest import FileEntry

TOKENIZER = "tokenizer.json"

MOST_TOKENIZER_BYTES = 64 << 20

DESCRIBING = (
    "README.md", "config.json", "config_sentence_transformers.json", "modules.json",
    "preprocessor_config.json", "processor_config.json", *TRANSFORMER, "tokenizer_config.json",
)  # fmt: skip
"""Small files that say what a model is."""

USUAL_GRAPHS = ("onnx/model.onnx", "model.onnx")
"""Where the hub keeps a model's own graph; others beside it are variants."""

_MODULE = re.compile(r"\d+_\w+/config\.json")

CONFIG = ".config"

WEIGHTS = "weights at "
"""How messages on the place of weights begin."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Files of a backbone that is being added.

    Attributes
    ----------
    where : str
        Its origin, which starts messages.
    files : Files
    graph : str
        Name of the graph at the origin.
    others : tuple of str
        Graphs that were there and not chosen.
    folder : Path
        What paths of `entries` are relative to.
    entries : dict of str to FileEntry
        Role → file, as a manifest has it.
    sources : dict of str to str
        Role → where the file comes from, for people.
    """

    where: str
    files: Files
    graph: str
    others: tuple[str, ...]
    folder: Path
    entries: dict[str, FileEntry]
    sources: dict[str, str]

    @property
    def config(self) -> Path:
        """Folder of the small files that describe the model, laid out as on the hub."""
        return self.folder / CONFIG

    def path(self, role: str) -> Path:
        """Return where a file lies."""
        return self.folder / self.entries[role].path


def gather(
    files: Files,
    folder: Path,
    *,
    name: str,
    tokenizer: Files | None = None,
) -> Gathered:
    """Copy what belongs to a backbone into a folder, as its zoo will hold it.

    Parameters
    ----------
    files : Files
        At its origin.
    folder : Path
        Empty.
    name : str
        Of the backbone; its files come into a folder of that name.
    tokenizer : Files, optional
        Of which one is its tokenizer, if that does not lie with the graph.

    Raises
    ------
    InputError
        If there is no graph or more than one, or a part of it is missing or may not be read.
    ServerError
        If something cannot be fetched.
    """
    where, graphs = files.origin.whole, _graphs(files)
    graph = _chosen(files, graphs, where)
    entries: dict[str, FileEntry] = {}
    sources: dict[str, str] = {}

    def take(role: str, source: Files, source_name: str, target: str) -> Path:
        place = folder / name / target
        source.take(source_name, place)
        sha256 = file_sha256(place)
        sources[role] = source.url(source_name, sha256) or source_name
        entries[role] = FileEntry(
            path=f"{name}/{target}",
            sha256=sha256,
            size_bytes=place.stat().st_size,
            url=source.url(source_name, sha256),
        )
        return place

    above = PurePosixPath(graph).parent
    place = take("graph", files, graph, PurePosixPath(graph).name)
    require_onnx(place, graph)
    for number, part in enumerate(_weights(place, files, above)):
        take("weights" if not number else f"weights_{number + 1}", files, *part)
    if tokenizer:
        take("tokenizer", tokenizer, _named(tokenizer), TOKENIZER)
    elif found := _nearest(files, above, TOKENIZER):
        take("tokenizer", files, found, TOKENIZER)
    if "tokenizer" in entries:
        _require_small(TOKENIZER, entries["tokenizer"].size_bytes, MOST_TOKENIZER_BYTES)
    _describe(files, above, folder / CONFIG)
    others = tuple(other for other in graphs if other != graph)
    return Gathered(where, files, graph, others, folder, entries, sources)


def _graphs(files: Files) -> list[str]:
    return [name for name in files.sizes if PurePosixPath(name).suffix.lower() == SUFFIX]


def _chosen(files: Files, graphs: list[str], where: str) -> str:
    """Return the graph that the user named, or the only one, or the model's own."""
    if files.chosen:
        require_onnx_name(files.chosen)
        return files.chosen
    usual = [name for name in USUAL_GRAPHS if name in graphs]
    if len(usual) == 1:
        return usual[0]
    if len(graphs) == 1 and files.is_complete:
        return graphs[0]
    if not graphs:
        held = ", ".join(sorted(files.sizes)[:5]) or "nothing"
        message = f"{where}: holds no {SUFFIX} file, but {held}; {EXPORT}"
        raise InputError(message)
    held = f"holds {len(graphs)} graphs" if files.is_complete else "of its graphs these are here"
    one = replace(files.origin, file=graphs[0])
    named = f"{where.rstrip('/')}/{graphs[0]}" if one.kind == "path" else str(one)
    message = f"{where}: {held}: {', '.join(graphs)}; name the one to take, such as {named}"
    raise InputError(message)


def _named(files: Files) -> str:
    if files.chosen or TOKENIZER in files.sizes:
        return files.chosen or TOKENIZER
    message = f"{files.origin}: has no {TOKENIZER}; name the file that is one"
    raise InputError(message)


def _weights(place: Path, files: Files, above: PurePosixPath) -> list[tuple[str, str]]:
    """Return name at the origin and name beside the graph of each file of external weights."""
    found = []
    for location in _locations(place, f"{files.origin.whole}: {place.name}"):
        name = (above / location).as_posix()
        if not safe_name(location) or location in {place.name, TOKENIZER}:
            message = f"{files.origin.whole}: weights at {location!r}; refused"
            raise InputError(message)
        if name not in files.sizes:
            message = (
                f"{files.origin.whole}: {place.name} keeps weights in {location!r}, which is "
                "missing; put it beside the graph"
            )
            raise InputError(message)
        found.append((name, location))
    return found


def _locations(place: Path, where: str) -> list[str]:
    """Return where a graph keeps weights; messages speak of the origin, not of the copy."""
    try:
        return weight_files(place)
    except InputError as cause:
        said = str(cause).removeprefix(f"{place}: ")
        is_graph = said.startswith(WEIGHTS)
        advice = (
            "export it with its weights beside it" if is_graph else "is it whole? fetch it again"
        )
        message = f"{where}: {said}; {advice}"
        raise InputError(message) from cause


def _nearest(files: Files, above: PurePosixPath, name: str) -> str:
    """Return a file beside the folder of graphs, else in it, else nothing."""
    for candidate in (name, (above / name).as_posix()):
        if candidate in files.sizes:
            return candidate
    return ""


def _describe(files: Files, above: PurePosixPath, config: Path) -> None:
    """Copy the small files; of a README that is large nothing is needed but the licence."""
    for name in DESCRIBING:
        found = _nearest(files, above, name)
        is_large = found and files.sizes[found] > MOST_JSON_BYTES
        if found and not (is_large and name == "README.md"):
            _require_small(found, files.sizes[found], MOST_JSON_BYTES)
            files.take(found, config / name)
    for name in files.sizes:
        if _MODULE.fullmatch(name):
            _require_small(name, files.sizes[name], MOST_JSON_BYTES)
            files.take(name, config / name)


def _require_small(name: str, size_bytes: int, most_bytes: int) -> None:
    if size_bytes > most_bytes:
        message = f"{name}: {readable(size_bytes)}; at most {readable(most_bytes)} are allowed"
        raise InputError(message)
