"""What made vectors, and what is said where those of different spaces are about to be compared."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from featx.errors import SpaceError

SHOWN_DIGITS = 12
"""First digits of a hash that a message shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What made some vectors, for messages.

    Attributes
    ----------
    model : str
    space : str
    dim : int or None
        None where it is not known.
    prompt : str
        Name of the prompt that was put before each item; mostly empty.
    is_tuned : bool
        Whether the model came of ``featx finetune``, so that its manifest lies beside the head.
    """

    model: str
    space: str
    dim: int | None = None
    prompt: str = ""
    is_tuned: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Return what a set's ``model``, ``gallery.json``, or the header of a head says."""
        marked = facts.get("finetune")
        return cls(
            model=str(facts.get("model") or facts.get("name") or "an unknown model"),
            space=str(facts.get("space") or "unknown"),
            dim=facts.get("dim"),
            prompt=str(facts.get("prompt") or ""),
            is_tuned=isinstance(marked, dict) and bool(marked.get("tuned")),
        )

    def beside(self, other: "Made") -> str:
        """Name the model, with the width and the prompt where those of `other` differ.

        Examples
        --------
        >>> passage = Made(model="e5", space="1")
        >>> query = Made(model="e5", space="1", prompt="query")
        >>> query.beside(passage), passage.beside(query)
        ("e5 with prompt 'query'", 'e5 without a prompt')
        """
        said = self.model
        if None not in (self.dim, other.dim) and self.dim != other.dim:
            said += f", {self.dim} wide,"
        if self.prompt != other.prompt:
            said += f" with prompt {self.prompt!r}" if self.prompt else " without a prompt"
        return said.removesuffix(",")


def space_error(where: str, found: Made, holder: str, wanted: Made) -> SpaceError:
    """Return the error that says what both sides are, and the command that mends it.

    Parameters
    ----------
    where : str
        Where the vectors come from: ``photos.emb``.
    found : Made
    holder : str
        What they would be compared with, and its verb: ``photos.knn holds``.
    wanted : Made
        What `holder` is of.
    """
    ours, theirs = found.space[:SHOWN_DIGITS], wanted.space[:SHOWN_DIGITS]
    alike = found.beside(wanted) == wanted.beside(found)
    why = "; its weights have changed since, so make both again" if alike else ""
    return SpaceError(
        f"{where}: embeddings of {found.beside(wanted)} (space {ours}), but {holder} "
        f"{wanted.beside(found)} (space {theirs}){why}; run: {_command(found, wanted)}"
    )


def _command(found: Made, wanted: Made) -> str:
    model = f"{wanted.model}.toml" if wanted.is_tuned else wanted.model
    options = f"-m {shlex.quote(model)}"
    if wanted.prompt:
        options += f" --prompt {shlex.quote(wanted.prompt)}"
    is_cut = found.model == wanted.model != "identity" and found.dim != wanted.dim
    if is_cut and wanted.dim is not None:
        options += f" --dim {wanted.dim}"
    return f"featx embed SOURCE {options} -o OUT.emb"
