"""What the files of a model say of it, each fact with the file that says so; nothing is guessed."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from featx.errors import InputError
from featx.onboard.fetch.origin import safe_name
from featx.onboard.read.facts import Fact, read_json, read_json_object
from featx.onboard.read.processors import processor_facts

MODES = {
    "pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token", "cls": "cls", "mean": "mean",
    "lasttoken": "last_token", "last_token": "last_token",
}  # fmt: skip
"""Pooling as files call it → as manifests do; others cannot be done."""

PIPELINE = {"Transformer", "Pooling", "Normalize"}
"""Modules of sentence-transformers that featx does itself."""

TRANSFORMER = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names under which sentence-transformers has kept what it was told of its model; one is there."""

OFFSET = ("camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta", "xmod")
"""Kinds of model whose positions are counted from behind the padding's id."""

PADDED = ("siglip", "siglip_text_model")
"""Kinds of model that were trained on texts padded to the full length, without a mask."""

MOST_TOKENS = 1_000_000
"""A longer text than this is what tokenizers say that know no limit."""

LICENCES = {
    "afl-3.0": "AFL-3.0", "apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0", "cc-by-nc-4.0": "CC-BY-NC-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0", "gpl-3.0": "GPL-3.0-only", "mit": "MIT", "mpl-2.0": "MPL-2.0",
}  # fmt: skip
"""Licences as the hub writes them → as SPDX does; others are taken as they are."""

_FRONT_MATTER = re.compile(r"---\s*\n(.*?)\n---\s*(?:\n|$)", re.DOTALL)
_LICENCE = re.compile(r"^license:[ \t]*['\"]?([\w.+-]+)", re.MULTILINE)


def stated(folder: Path) -> list[Fact]:
    """Return all facts that the files of a folder state.

    Parameters
    ----------
    folder : Path
        Small files, laid out as on the hub.

    Raises
    ------
    InputError
        If a file is damaged, or asks for what cannot be done.
    """
    return [fact for reader in READERS for fact in reader(folder)]


def _modules(folder: Path) -> Iterator[Fact]:
    """Read the pipeline of sentence-transformers: pooling, and whether vectors get unit length."""
    modules = read_json(folder / "modules.json")
    if modules is None:
        yield from _pooling(folder, "1_Pooling")
        return
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        message = "modules.json: expected a list of modules"
        raise InputError(message)
    kinds = {str(m.get("type", "")).rpartition(".")[2]: str(m.get("path", "")) for m in modules}
    if unknown := [kind for kind in kinds if kind not in PIPELINE]:
        yield Fact("beyond", ", ".join(unknown), "modules.json")
    if "Pooling" in kinds:
        yield from _pooling(folder, kinds["Pooling"])
    if "Transformer" in kinds or "Pooling" in kinds:
        found = "Normalize" in kinds
        source = f"modules.json: {'Normalize' if found else 'no Normalize'}"
        yield Fact("normalize", found, source)


def _pooling(folder: Path, place: str) -> Iterator[Fact]:
    where = f"{place}/config.json"
    found = read_json_object(folder / where) if safe_name(where) else {}
    if not found:
        return
    named = found.get("pooling_mode")
    if named is not None:
        modes = named if isinstance(named, list) else [named]
    else:
        modes = [key for key, value in found.items() if "pooling_mode_" in key and value is True]
    if len(modes) != 1 or modes[0] not in tuple(MODES):
        message = f"{where}: pools by {', '.join(map(str, modes)) or 'nothing'}"
        message = f"{message}; can be done: one of mean, cls, lasttoken"
        raise InputError(message)
    yield Fact("pooling", MODES[modes[0]], f"{where}: {modes[0]}")
    if found.get("include_prompt") is False and _prompts_of(folder):
        message = f"{where}: include_prompt = false; featx pools the tokens of a prompt too"
        raise InputError(message)
    for key in ("word_embedding_dimension", "embedding_dimension"):
        if isinstance(found.get(key), int):
            yield Fact("dim", found[key], f"{where}: {key}")


def _max_length(folder: Path) -> Iterator[Fact]:
    """Take what sentence-transformers was told, else the least that model and tokenizer say."""
    name, config = _transformer(folder)
    told = config.get("max_seq_length")
    found = [Fact("max_length", told, f"{name}: max_seq_length")]
    cut = read_json_object(folder / "tokenizer_config.json").get("model_max_length")
    if not _is_length(told):
        found = [Fact("max_length", cut, "tokenizer_config.json: model_max_length")]
    found += _positions(folder)
    known = [fact for fact in found if _is_length(fact.value)]
    yield from sorted(known, key=lambda fact: _number(fact.value))[:1]


def _transformer(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return what sentence-transformers was told of its model, and the file that says so."""
    name = next((name for name in TRANSFORMER if (folder / name).is_file()), TRANSFORMER[0])
    return name, read_json_object(folder / name)


def _positions(folder: Path) -> Iterator[Fact]:
    config = read_json_object(folder / "config.json")
    inner = config.get("text_config")
    part = inner if isinstance(inner, dict) else config
    found, source = part.get("max_position_embeddings"), "config.json: max_position_embeddings"
    if not _is_length(found):
        return
    positions = _number(found)
    if part.get("model_type", config.get("model_type")) in OFFSET:
        padding = part.get("pad_token_id", 1)
        if type(padding) is not int or not 0 <= padding < positions:
            message = f"config.json: pad_token_id = {padding!r}; expected a number from 0 to "
            raise InputError(f"{message}{positions - 1}, from behind which positions are counted")
        positions, source = positions - padding - 1, f"{source} - pad_token_id - 1"
    yield Fact("max_length", positions, source)


def _text(folder: Path) -> Iterator[Fact]:
    side = read_json_object(folder / "tokenizer_config.json").get("truncation_side")
    if side in ("left", "right"):
        end = "start" if side == "left" else "end"
        yield Fact("text.truncation", end, f"tokenizer_config.json: truncation_side = {side}")
    name, config = _transformer(folder)
    if config.get("do_lower_case") is True:
        yield Fact("lowers", True, f"{name}: do_lower_case")
    yield from _padding(folder)


def _padding(folder: Path) -> Iterator[Fact]:
    """Read how texts are padded, where a kind of model takes no mask and so depends on it."""
    config = read_json_object(folder / "config.json")
    inner = config.get("text_config")
    part = inner if isinstance(inner, dict) else {}
    if config.get("model_type") not in PADDED and part.get("model_type") not in PADDED:
        return
    yield Fact("text.padding", "max_length", "config.json: model_type")
    token = read_json_object(folder / "tokenizer_config.json").get("pad_token")
    if isinstance(token, dict):
        token = token.get("content")
    if isinstance(token, str) and token:
        yield Fact("text.pad_token", token, "tokenizer_config.json: pad_token")


def _prompts(folder: Path) -> Iterator[Fact]:
    for name, text in _prompts_of(folder).items():
        yield Fact(f"prompts.{name}", text, "config_sentence_transformers.json: prompts")
    found = read_json_object(folder / "config_sentence_transformers.json")
    if default := found.get("default_prompt_name"):
        yield Fact("default_prompt", default, "config_sentence_transformers.json")


def _prompts_of(folder: Path) -> dict[str, str]:
    found = read_json_object(folder / "config_sentence_transformers.json").get("prompts")
    texts = found if isinstance(found, dict) else {}
    return {str(name): text for name, text in texts.items() if isinstance(text, str) and text}


def _config(folder: Path) -> Iterator[Fact]:
    config = read_json_object(folder / "config.json")
    for key in ("hidden_size", "d_model", "dim"):
        if isinstance(config.get(key), int):
            yield Fact("hidden_size", config[key], f"config.json: {key}")
            break
    if widths := config.get("matryoshka_dimensions"):
        yield Fact("dims", widths, "config.json: matryoshka_dimensions")
    kind = config.get("model_type") or config.get("architecture")
    if isinstance(kind, str):
        yield Fact("kind", kind, "config.json")


def _licence(folder: Path) -> Iterator[Fact]:
    path = folder / "README.md"
    if not path.is_file():
        return
    front = _FRONT_MATTER.match(path.read_text(encoding="utf-8", errors="replace"))
    found = _LICENCE.search(front[1]) if front else None
    if found:
        yield Fact("license", LICENCES.get(found[1].lower(), found[1]), "README.md: license")


def _is_length(value: Any) -> bool:  # noqa: ANN401 - as JSON is
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


READERS: tuple[Callable[[Path], Iterable[Fact]], ...] = (
    _modules, _max_length, _text, _prompts, _config, _licence, processor_facts,
)  # fmt: skip
"""What reads which files; the first to state a key is heard."""
