"""Client: asks a service that `featx serve` has started, with the standard library alone."""

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, ItemError, ServerError
from featx.modality.content import npy_array, read_bytes
from featx.transport import Transport
from featx.types import Span, Stored, Vectors

KEY = "FEATX_API_KEY"
"""Environment variable with the key that is sent."""

Item = str | bytes | Path | Span | Stored | NDArray[Any] | Mapping[str, Any]
"""A text; a file, or its bytes; an array, which is a vector; or an item as the service has it."""

Items = Sequence[Item] | NDArray[Any]
"""A list of items, or a matrix, whose rows are vectors."""

WINDOW_ITEMS = 256
"""Items of one request; a service takes 1,024 unless it is told otherwise."""

WINDOW_CHARACTERS = 8 << 20
"""Characters of the items of one request, unless a single one has more."""

_IDS_CHARACTERS = 4096  # of one address
_PLACE = re.compile(r"^(input|examples)(\[\d+\])?: ")
_OF_ONE_ITEM = {"unusable_item", "failed", "taken"}


class Client:
    """Asks a service; any thread may use it, and connections are kept open.

    Where a service is too busy (429, 503) it is asked again, a few times, after what it says.

    Parameters
    ----------
    url : str
        Where it listens: ``"http://127.0.0.1:8000"``; ``/v1`` after it does not matter.
    key : str, optional
        An API key of it; that of ``FEATX_API_KEY`` unless given.
    timeout_s : float
        Longest time without a sign of it.

    Raises
    ------
    InputError
        If `url` is none of HTTP.

    Examples
    --------
    >>> Client("http://127.0.0.1:8000")
    Client('http://127.0.0.1:8000')
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 60.0) -> None:
        key = os.environ.get(KEY) if key is None else key
        self._transport = Transport(url.rstrip("/").removesuffix("/v1"), key, timeout_s=timeout_s)
        self._modality = ""

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; they are opened again if need be."""
        self._transport.close()

    def classify(self, items: Items, k: int | None = None, *, top: int = 5) -> list[dict[str, Any]]:
        """Return what is said of each item: its label, tags or values, as ``/v1/classify`` has it.

        Parameters
        ----------
        items : sequence
            Texts as str, files as Path or bytes, vectors as arrays.
        k : int, optional
            Neighbours that vote, of a gallery.
        top : int
            Probabilities that are told, the largest; 0 for all.

        Returns
        -------
        list of dict
            One an item; of an item that cannot be used it holds only ``error``.

        Raises
        ------
        ServerError
            If the service cannot be reached, or refuses.
        InputError
            If an item cannot be read here; those long before it were answered already.
        """
        asked = {"top": top, **({} if k is None else {"k": k})}
        return self._results("/v1/classify", asked, items)

    def search(
        self,
        items: Items,
        k: int = 10,
        *,
        label: str | None = None,
        split: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the nearest items of the gallery for each item, as ``neighbours``.

        Parameters
        ----------
        items : sequence
            As for `classify`, and so are the errors.
        k : int
        label, split : str, optional
            Only items that have it.
        """
        return self._results("/v1/search", {"k": k, "label": label, "split": split}, items)

    def embed(self, items: Items) -> Vectors:
        """Return one vector an item, shape (N, D).

        Raises
        ------
        ServerError
            As for `classify`, and if an item cannot be embedded.
        """
        model = self.model()
        found = [np.empty((0, int(model["dim"])), np.float32)]
        asked = {"model": model["id"], "encoding_format": "base64"}
        for window in _windows(self._objects(items)):
            try:
                answer = self._transport.ask("POST", "/v1/embeddings", asked | {"input": window})
            except ServerError as error:
                raise _counted_from(sum(map(len, found)), error) from error
            raw = [base64.b64decode(each["embedding"]) for each in answer["data"]]
            found.append(np.stack([np.frombuffer(each, "<f4") for each in raw]))
        return np.concatenate(found)

    def teach(
        self,
        items: Items,
        labels: Sequence[str | None],
        *,
        ids: Sequence[str] | None = None,
        replace: bool = False,
    ) -> list[dict[str, Any]]:
        """Add examples to the gallery; they are on its disk, and found, when this returns.

        Parameters
        ----------
        items : sequence
            As for `classify`, and so are the errors.
        labels : sequence of str or None
            One an item.
        ids : sequence of str, optional
            One an item; made of the items themselves unless given.
        replace : bool
            Whether an item of the same id gives way.

        Returns
        -------
        list of dict
            ``id`` of each item; ``error`` of one that was not added.
        """
        names = [None] * len(items) if ids is None else list(ids)
        if not len(items) == len(labels) == len(names):
            found = f"{len(items)} items, {len(labels)} labels and {len(names)} ids"
            raise InputError(f"teach: {found}; needs one of each an item")
        examples = (
            {"input": each, "label": label, "id": item_id}
            for each, label, item_id in zip(self._objects(items), labels, names, strict=True)
        )
        asked = {"replace": replace}
        found_all: list[dict[str, Any]] = []
        for window in _windows(examples):
            found_all += self._answered("/v1/examples", asked, "examples", window)
        return found_all

    def forget(self, ids: Sequence[str]) -> None:
        """Remove items from the gallery: all or none, where their ids are not too many.

        A request holds 4,096 characters of ids; each is done wholly or not at all.

        Raises
        ------
        ServerError
            If an id is not there, too.
        """
        _refuse_one("ids", ids)
        parts = [f"id={quote(item_id, safe='')}" for item_id in ids]
        for window in _windows(parts, characters=_IDS_CHARACTERS):
            self._transport.ask("DELETE", f"/v1/examples?{'&'.join(window)}")

    def relabel(self, item_id: str, label: str | None) -> None:
        """Give an item of the gallery another label, or none.

        Raises
        ------
        ServerError
            If the id is not there, too.
        """
        self._transport.ask("PATCH", "/v1/examples", {"id": item_id, "label": label})

    def model(self) -> dict[str, Any]:
        """Return what is served: id, kind, modality, dim, classes ..., as ``/v1/models`` has it."""
        (found,) = self._transport.ask("GET", "/v1/models")["data"]
        return dict(found)

    def ready(self) -> bool:
        """Return whether the service answers now; asked once."""
        try:
            status, _, _ = self._transport.send("GET", "/health/ready", None)
        except ServerError:
            return False
        return status == 200

    def _objects(self, items: Items) -> Iterator[dict[str, Any]]:
        """Yield items as the service has them; files are read when it is their turn."""
        _refuse_one("items", items)
        self._modality = self._modality or str(self.model()["modality"])
        for number, item in enumerate(items):
            try:
                yield as_object(item, self._modality)
            except ItemError as cause:
                raise InputError(f"items[{number}]: {cause}") from cause

    def _results(self, path: str, asked: Mapping[str, Any], items: Items) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for window in _windows(self._objects(items)):
            found += self._answered(path, asked, "input", window)
        return found

    def _answered(
        self, path: str, asked: Mapping[str, Any], field: str, window: Sequence[Any]
    ) -> list[dict[str, Any]]:
        """Return the results of a window; where no item could be used, of each by itself."""
        try:
            answer = self._transport.ask("POST", path, {**asked, field: window})
        except ServerError as error:
            is_unknown = field == "examples" and error.code == "failed"  # it may be there
            if error.code not in _OF_ONE_ITEM or is_unknown:
                raise
            if len(window) == 1:
                said = str(error).removeprefix(f"{self._transport.url}: ")
                return [_of_item({"code": error.code, "message": said})]
            each = [self._answered(path, asked, field, [item]) for item in window]
            return [found for (found,) in each]
        results: list[dict[str, Any]] = answer["results"]
        return [_of_item(each["error"]) if "error" in each else each for each in results]


def _counted_from(start: int, error: ServerError) -> ServerError:
    """Return an error whose item, ``input[3]`` of a request, is named by its place among all."""
    message = re.sub(
        r"(?<=: )input(?:\[(\d+)\])?(?=: )",
        lambda place: f"items[{start + int(place[1] or 0)}]",
        str(error),
        count=1,
    )
    return ServerError(message, status=error.status, code=error.code)


def _of_item(error: Mapping[str, str]) -> dict[str, Any]:
    """Return the error of an item without its place in the request, which holds some of many."""
    return {"error": {**error, "message": _PLACE.sub("", error["message"])}}


def as_object(item: Item, modality: str) -> dict[str, Any]:
    """Return an item as a service has it, in JSON.

    Parameters
    ----------
    item : Item
    modality : str
        What files are: text, image, audio or array.

    Raises
    ------
    ItemError
        If it cannot be read, or is no text or array where one is needed.

    Examples
    --------
    >>> as_object("hello", "text"), as_object(b"abc", "image")
    ({'text': 'hello'}, {'image': 'YWJj'})
    """
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, np.ndarray):
        return {"vector": _vector(item)}
    if isinstance(item, str):
        return {"text": _text(item.encode("utf-8", "surrogatepass"))}
    raw = read_bytes(item)
    if modality == "text":
        return {"text": _text(raw)}
    if modality == "array":
        return {"vector": _vector(npy_array(raw))}
    return {modality: base64.b64encode(raw).decode("ascii")}


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as cause:
        raise ItemError(f"is not UTF-8 at byte {cause.start}") from cause


def _vector(array: NDArray[Any]) -> str:
    with np.errstate(over="ignore"):  # the service says what it thinks of infinity
        return base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def _windows(objects: Iterable[Any], *, characters: int = WINDOW_CHARACTERS) -> Iterator[list[Any]]:
    """Yield items in order, as many as one request shall hold."""
    window: list[Any] = []
    size = 0
    for each in objects:
        length = _characters(each)
        if window and (len(window) == WINDOW_ITEMS or size + length > characters):
            yield window
            window, size = [], 0
        window.append(each)
        size += length
    if window:
        yield window


def _characters(value: object) -> int:
    """Return about how long a value is in JSON."""
    if isinstance(value, Mapping):
        return sum(_characters(each) for each in value.values())
    return len(value) if isinstance(value, str | list) else 0


def _refuse_one(what: str, given: object) -> None:
    if isinstance(given, str | bytes | Path | Mapping):
        raise InputError(f"{what}: is a single {type(given).__name__}; must be a list: [...]")
