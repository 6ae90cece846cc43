"""Whether files and tokenizer agree: transformers changes a tokenizer by what its files say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from featx.errors import InputError
from featx.onboard.gathering import TOKENIZER
from featx.onboard.read.facts import Fact, read_json_object

CONFIG = "tokenizer_config.json"

ADVICE = f"make them agree, or say --tokenizer with the {TOKENIZER} that is meant"

ENDS = (("bos", 0), ("eos", -1))
"""Kind of a special token → where it is put."""


def require_lowered(tokenizer: Tokenizer, lowers: Fact) -> None:
    """Raise if texts were to become lower case before a tokenizer that keeps capitals.

    Raises
    ------
    InputError
        Naming the file that says so.
    """
    lowered = "A" if tokenizer.normalizer is None else tokenizer.normalizer.normalize_str("A")
    if lowered != "a":
        message = f"{lowers.source}, but {TOKENIZER} keeps capitals; set it there"
        raise InputError(message)


def require_agreement(tokenizer: Tokenizer, folder: Path) -> None:
    """Raise if ``tokenizer_config.json`` says what the tokenizer does not do.

    Of the kind of BERT transformers sets case, accents and Chinese characters by it; of other
    kinds, such as Llama's, whether a token is put before and behind each text.

    Parameters
    ----------
    tokenizer : Tokenizer
        As ``tokenizer.json`` has it; its padding and truncation are switched off.
    folder : Path
        That the file lies in, if there is one.

    Raises
    ------
    InputError
        Naming the key, what it says and what the tokenizer does.
    """
    config = read_json_object(folder / CONFIG)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for key, found in (*_normalised(tokenizer, config), *_ends(tokenizer, config)):
        said = config[key]
        if said != found:
            message = f"{CONFIG}: {key} = {json.dumps(said)}, but of {TOKENIZER} it is "
            raise InputError(f"{message}{json.dumps(found)}; {ADVICE}")


def _normalised(tokenizer: Tokenizer, config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield each key that is stated, with what the tokenizer does."""
    normalizer = tokenizer.normalizer
    if not isinstance(normalizer, BertNormalizer):
        return
    if "do_lower_case" in config:
        yield "do_lower_case", normalizer.lowercase
    if "tokenize_chinese_chars" in config:
        yield "tokenize_chinese_chars", normalizer.handle_chinese_chars
    if "strip_accents" in config:
        said, found = config["strip_accents"], normalizer.strip_accents
        # Where it is not set, accents go where capitals go.
        is_same = said in (None, normalizer.lowercase) and found in (None, normalizer.lowercase)
        yield "strip_accents", said if is_same else found


def _ends(tokenizer: Tokenizer, config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    tokens = tokenizer.encode("a").tokens
    for kind, place in ENDS:
        key, token = f"add_{kind}_token", config.get(f"{kind}_token")
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(config.get(key), bool) and isinstance(token, str):
            yield key, bool(tokens) and tokens[place] == token
