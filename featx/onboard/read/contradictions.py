"""Whether what is known of a backbone can be done, and flags, files and tokenizer agree."""

from typing import Any

from tokenizers import Tokenizer

from featx.errors import InputError
from featx.modality.content import first_line
from featx.onboard.gathering import TOKENIZER, Gathered
from featx.onboard.read.choices import Choices
from featx.onboard.read.facts import Fact, Known, is_said
from featx.onboard.read.roles import WHOLE
from featx.onboard.read.tokenizer import require_agreement, require_lowered


def require_doable(known: Known, gathered: Gathered, choices: Choices) -> None:
    """Raise if files ask for what featx does not do, or speak of another tokenizer.

    Raises
    ------
    InputError
        Naming the file and what it says.
    """
    if "beyond" in known and "outputs.tokens" in known:
        message = (
            f"{known['beyond'].source}: has {known['beyond'].value} behind the tokens, which "
            f"featx does not do; use a graph with an output such as {WHOLE[0]}"
        )
        raise InputError(message)
    if known["modality"].value != "text":
        return
    tokenizer = _tokenizer(gathered)
    if "lowers" in known:
        require_lowered(tokenizer, known["lowers"])
    if not choices.tokenizer:
        require_agreement(tokenizer, gathered.config)


def require_filled_pictures(known: Known) -> None:
    """Raise where a size that is said would be filled up around pictures of a size that is not.

    Raises
    ------
    InputError
        With both sizes.
    """
    size, resized = known.get("image.size"), known.get("image.resize_to")
    if size is None or resized is None or not is_said(size) or is_said(resized):
        return
    if min(_sides(resized)) < max(_sides(size)):
        message = (
            f"image.size = {size.value} by {size.source}, but {resized.source} resizes to "
            f"{resized.value} first; say that too: --image resize_to=..."
        )
        raise InputError(message)


def require_all_heard(known: Known, table: dict[str, Any], choices: Choices) -> None:
    """Raise if a flag says what is not in the manifest's table: its modality has no such thing.

    Raises
    ------
    InputError
        Naming all such flags.
    """
    ignored = [
        " ".join(filter(None, (fact.source.partition(";")[0], key.partition(".")[2])))
        for key, fact in known.items()
        if is_said(fact) and not _is_in(table, key)
    ]
    if choices.tokenizer and "tokenizer" not in table["files"]:
        ignored.append("--tokenizer")
    if ignored:
        message = f"{table['name']}: a backbone of modality {table['modality']} has no use for "
        raise InputError(f"{message}{', '.join(ignored)}; leave that out")


def _is_in(table: dict[str, Any], key: str) -> bool:
    above, _, inner = key.partition(".")
    return inner in table.get(above, {}) if inner else key in table


def _sides(fact: Fact) -> list[int]:
    value = fact.value
    return [int(side) for side in value] if isinstance(value, list | tuple) else [int(str(value))]


def _tokenizer(gathered: Gathered) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(gathered.path("tokenizer")))
    except Exception as cause:  # it raises nothing narrower
        message = f"{gathered.where}: {TOKENIZER}: not a tokenizer: {first_line(cause)}"
        raise InputError(message) from cause
