"""Replies: the JSON that the service answers with, for its description; nothing is made of them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Reply(Struct, forbid_unknown_fields=True):
    """A reply with the fields that are named, and no others."""


class ErrorText(Reply):
    """What went wrong.

    Attributes
    ----------
    message : str
        For people: where, what was found, what is allowed.
    type : "invalid_request_error" or "server_error"
        Whose fault it is.
    param : str or None
        Name of the field that is wrong.
    code : str
        For programs: stays the same when the message changes.
    """

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class Failure(Reply):
    """An error, as the OpenAI API has it."""

    error: ErrorText


class ItemErrorText(Reply):
    """What is wrong with one item.

    Attributes
    ----------
    code : str
        For programs.
    message : str
        For people.
    """

    code: str
    message: str


class ItemFailure(Reply):
    """Stands in the place of an item that failed alone."""

    error: ItemErrorText


class NeighbourReply(Reply):
    """An item of the gallery near to the one that was asked for.

    Attributes
    ----------
    id : str
        Of the item.
    label, split : str or None
        Null where it has none.
    similarity : float
        Rises as items get nearer.
    vote : float
        Its share of the vote, where one was taken: it rises with the similarity, and those of all
        neighbours of an item add up to 1.  ``/v1/search`` takes none.
    uri : str
        Where it came from, for people.
    preview : str
        Reminds a person of it.
    thumbnail : str or None
        Path of a small picture of it.
    """

    id: str
    label: str | None
    split: str | None
    similarity: float
    uri: str
    preview: str
    thumbnail: str | None
    vote: Share | UnsetType = UNSET


class ClassResult(Reply):
    """What a head says of an item that has one class.

    Attributes
    ----------
    label : str
        The most probable class.
    probability : float
        Its calibrated probability.
    probabilities : object
        Of the ``top`` most probable classes, by class.
    set : array of str
        Conformal set: all classes that the item may well be, most probable first; of items like
        those trained on it holds the true class as often as the head was told to, 90 % unless it
        was told otherwise.  Empty where no class fits; the label alone where a head was fitted
        without rows to calibrate it.
    novel : bool or None
        Whether the item is unlike anything that the head was trained on: farther from that than
        Whether the item is unlike anything that the head was trained on, farther from that than
        95 % of it are from the rest unless the head was told otherwise; null if unknown.
    """

    label: str
    probability: Share
    probabilities: dict[str, Share]
    set: list[str]
    novel: bool | None


class VoteResult(Reply):
    """What a gallery says of an item.

    Attributes
    ----------
    label : str or None
        The label with the largest share of the vote.
    probability : float
        That share: the sum of the votes of the neighbours that have the label.
    probabilities : object
        The ``top`` largest shares, by label; labels that no neighbour has are left out.
    set : None
        A gallery has no conformal sets, which a head has.
    novel : bool or None
        Whether the item is less like its nearest neighbour than 99 % of the gallery's own items
        are like theirs; null if unknown.
    neighbours : array
        Who voted, nearest first.
    """

    label: str | None
    probability: Share
    probabilities: dict[str, Share]
    set: None
    novel: bool | None
    neighbours: list[NeighbourReply]


class TagResult(Reply):
    """What a head says of an item that may have several tags.

    Attributes
    ----------
    tags : array of str
        Those of a probability above one half, most probable first.
    probabilities : object
        Of the ``top`` most probable tags, by tag.
    novel : bool or None
        As for one class.
    """

    tags: list[str]
    probabilities: dict[str, Share]
    novel: bool | None


class ValueResult(Reply):
    """What a head that estimates values says of an item.

    Attributes
    ----------
    values : object
        By the name of the value.
    intervals : object
        Lower and upper bound, by the name of the value.
    novel : bool or None
        As for a class.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    novel: bool | None


class FoundResult(Reply):
    """Items of the gallery near to the one that was asked for, nearest first."""

    neighbours: list[NeighbourReply]


class EmbeddingReply(Reply):
    """One vector.

    Attributes
    ----------
    object : "embedding"
        As the OpenAI API has it.
    index : int
        Place of the item in the input.
    embedding : array of float, or str
        Numbers, or little-endian float32 in base64, as ``encoding_format`` says.
    """

    object: Literal["embedding"]
    index: Count
    embedding: list[float] | str


class Usage(Reply):
    """Tokens of the input, special ones included; zero where the model takes no text.

    Attributes
    ----------
    prompt_tokens, total_tokens : int
        The same number.
    """

    prompt_tokens: Count
    total_tokens: Count


class EmbeddingsReply(Reply):
    """Vectors, as the OpenAI API has them."""

    object: Literal["list"]
    data: list[EmbeddingReply]
    model: str
    usage: Usage


class ModelReply(Reply):
    """What is served.

    Attributes
    ----------
    id : str
        The name that requests may give as ``model``.
    kind : "head", "gallery" or "backbone"
        What it is.
    modality : str
        What it takes.
    backbone : str
        What makes its vectors.
    dim : int
        How wide they are.
    space : str
        Vectors of one space may be compared.
    fingerprint : str
        Of everything that changes a vector.
    task : str
        Of a head: classify, multilabel or regress.
    classes : array of str
        Its labels, tags or values.
    items : int
        Of a gallery.
    can_teach : bool
        Whether it takes examples.
    created : int
        When what answers was opened, in seconds since 1970.
    digest : str
        BLAKE3 of the file of a head when it was opened; of a gallery of its ``gallery.json``,
        which is written anew with each generation, or, in PostgreSQL, of its id, generation and
        last change.
    generation : int
        Of a gallery: rises when changes are folded into its files, or it is built anew.
    changes : int
        Of a gallery: items that were added, removed or labelled anew since it was built.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: Literal["head", "gallery", "backbone"]
    modality: str
    backbone: str
    dim: int
    space: str
    fingerprint: str
    classes: list[str]
    can_teach: bool
    task: Literal["classify", "multilabel", "regress"] | UnsetType = UNSET
    items: Count | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    generation: Count | UnsetType = UNSET
    changes: Count | UnsetType = UNSET


class ModelsReply(Reply):
    """The list of models, which has one."""

    object: Literal["list"]
    data: list[ModelReply]


class LiveReply(Reply):
    """Whether the service can answer at all.

    Attributes
    ----------
    live : bool
        False where it has to be started again.
    """

    live: bool


class ReadyReply(Reply):
    """Whether the service may be asked.

    Attributes
    ----------
    ready : bool
        False while it ends, and where it answers no more.
    """

    ready: bool


class HealthReply(ReadyReply):
    """Whether the service may be asked, and how it knows.

    Attributes
    ----------
    ready : bool
        False while it ends, and where it answers no more.
    model : str
        What is served.
    last_success_age_s : float
        Since an item was answered; where nobody asks, it asks itself.
    why : str
        Why it is not ready.
    """

    model: str
    last_success_age_s: float
    why: str | UnsetType = UNSET
