"""What an exported file says of itself, in the metadata of ONNX; nothing of it is trusted.

==================  ==========================================================================
``format``          ``featx-deployable``
``version``         ``1``
``featx``           version of featx that wrote it
``task``            ``classify``, ``multilabel`` or ``regress``
``classes``         JSON list: the columns of the probabilities or values
``head``            JSON object: `HeadFacts`
``manifest``        JSON object: the backbone's manifest, with all of its preprocessing
``tokenizer``       of a text model: the tokenizer itself, a JSON file of ``tokenizers``
``trained_digests`` base64 of the BLAKE3 digests of the items trained on, 32 bytes each
==================  ==========================================================================
"""

import base64
import binascii
import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, StoreError
from featx.export.bounds import LARGEST, require_possible
from featx.export.exportable import Exportable
from featx.export.facts import ConformalFacts, Facts, HeadFacts, Takes
from featx.fingerprint import DIGEST_BYTES
from featx.heads.conformal import Conformal
from featx.types import Task
from featx.zoo.manifest import Manifest
from featx.zoo.strict import read_table

FORMAT, VERSION = "featx-deployable", 1

MOST_DIGESTS = 100_000
"""Items trained on that a file lists, in 4 MB of text; with more, none is listed."""

_NUMBER = re.compile("[1-9][0-9]{0,8}")
"""A version that a newer featx may write."""

_DERIVED = ("files", "folder", "measured")
"""Of a manifest: places of files, and what was measured of other files."""


def written(
    exported: Exportable,
    manifest: Manifest | None,
    *,
    takes: Takes,
    precision: Literal["fp32", "fp16"],
) -> dict[str, str]:
    """Return the metadata of an exported file.

    Parameters
    ----------
    exported : Exportable
    manifest : Manifest or None
        None for the head alone.
    takes : {"embedding", "inputs", "pixels"}
    precision : {"fp32", "fp16"}
    """
    from featx import __version__

    found = {
        "format": FORMAT,
        "version": str(VERSION),
        "featx": __version__,
        "task": exported.task,
        "classes": _json(list(exported.classes)),
        "head": _json(_plain(asdict(_head_facts(exported, takes, precision)))),
    }
    digests = exported.arrays.get("trained_digests")
    if digests is not None and len(digests) <= MOST_DIGESTS:
        found["trained_digests"] = base64.b64encode(digests.tobytes()).decode()
    if manifest is not None:
        found["manifest"] = _json(_table(manifest))
        if "tokenizer" in manifest.files:
            found["tokenizer"] = manifest.file("tokenizer").read_text(encoding="utf-8")
    return found


def _head_facts(
    exported: Exportable, takes: Takes, precision: Literal["fp32", "fp16"]
) -> HeadFacts:
    header = exported.header
    return HeadFacts(
        kind=exported.kind,
        takes=takes,
        precision=precision,
        model=str(header["model"]),
        modality=str(header["modality"]),
        prompt=str(header.get("prompt") or ""),
        dim=exported.dim,
        fingerprint=str(header["fingerprint"]),
        space=str(header["space"]),
        temperature=float(exported.temperature),
        conformal=_conformal_facts(exported.conformal),
        spread=tuple(exported.arrays["spread"].tolist()) if "spread" in exported.arrays else (),
        coverage=header.get("coverage"),
        is_novelty_known=exported.novelty is not None,
        metrics=dict(header.get("metrics") or {}),
        chosen=dict(header.get("chosen") or {}),
    )


def _conformal_facts(made: Conformal | None) -> ConformalFacts | None:
    if made is None:
        return None
    return ConformalFacts(
        method=made.method, coverage=made.coverage, quantiles=tuple(made.quantiles.tolist())
    )


def is_ours(properties: Mapping[str, str]) -> bool:
    """Return whether metadata is that of an exported file, of whatever version."""
    return properties.get("format") == FORMAT


def read(properties: Mapping[str, str], path: Path) -> Facts:
    """Return what the metadata of an exported file says.

    Parameters
    ----------
    properties : mapping of str to str
    path : Path
        Of the file, for messages; and the folder that its manifest is said to lie in.

    Raises
    ------
    StoreError
        If it is that of no exported file, of a newer version, or damaged.
    """
    if not is_ours(properties):
        message = (
            f"{path}: an ONNX file, but none of featx export; to use it as a backbone: "
            f"featx models add {path} --manifest FILE.toml"
        )
        raise StoreError(message)
    version = properties.get("version", "")
    if _NUMBER.fullmatch(version) and int(version) > VERSION:
        message = f"{path}: {FORMAT} version {version} is newer than {VERSION}; upgrade featx"
        raise StoreError(message)
    try:
        if version != str(VERSION):
            message = f"version {reprlib.repr(version)}; expected {VERSION}"
            raise InputError(message)
        return _facts(properties, path)
    except (InputError, KeyError, ValueError, RecursionError) as cause:
        reason = f"metadata {cause} is missing" if isinstance(cause, KeyError) else str(cause)
        named = reason if reason.startswith(str(path)) else f"{path}: {reason}"
        message = f"{named}; the file is damaged: export it again"
        raise StoreError(message) from cause


def _require_possible_head(head: HeadFacts) -> None:
    """Raise if a number of a head cannot be that of any."""
    if not 1 <= head.dim <= LARGEST:
        message = f"dim = {reprlib.repr(head.dim)}; expected 1 to {LARGEST}"
        raise InputError(message)
    made = head.conformal
    for coverage in (head.coverage, None if made is None else made.coverage):
        if coverage is not None and not 0 < coverage < 1:
            message = f"coverage = {coverage}; expected above 0 and below 1"
            raise InputError(message)


def _facts(properties: Mapping[str, str], path: Path) -> Facts:
    wrapped = {
        "task": properties["task"],
        "classes": _parsed(properties, "classes"),
        "head": _parsed(properties, "head"),
    }
    outer = read_table(_Outer, wrapped, f"{path}: metadata")
    _require_possible_head(outer.head)
    manifest = None
    if outer.head.takes != "embedding":
        table = _parsed(properties, "manifest")
        if not isinstance(table, dict) or "files" in table:
            message = "metadata 'manifest' is not the table of a backbone without files"
            raise InputError(message)
        manifest = Manifest.from_table(table, folder=path.parent, where=f"{path}: manifest")
        require_possible(manifest)
        if manifest.modality != outer.head.modality:
            message = f"its head is of {outer.head.modality!r}, its backbone {manifest.modality!r}"
            raise InputError(message)
    return Facts(
        task=outer.task,
        classes=outer.classes,
        head=outer.head,
        manifest=manifest,
        tokenizer=properties.get("tokenizer", ""),
        digests=_digests(properties),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outer:
    """What is read as one table."""

    task: Task
    classes: tuple[str, ...]
    head: HeadFacts


def _digests(properties: Mapping[str, str]) -> NDArray[np.uint8] | None:
    if "trained_digests" not in properties:
        return None
    try:
        raw = base64.b64decode(properties["trained_digests"], validate=True)
    except binascii.Error as cause:
        message = f"metadata 'trained_digests' is not base64: {cause}"
        raise InputError(message) from cause
    if len(raw) % DIGEST_BYTES:
        message = f"metadata 'trained_digests' is no number of digests of {DIGEST_BYTES} bytes"
        raise InputError(message)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def _parsed(properties: Mapping[str, str], key: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(properties[key], parse_constant=_number, parse_float=_number)
    except ValueError as cause:
        message = f"metadata {key!r} is not JSON: {cause}"
        raise InputError(message) from cause


def _number(text: str) -> float:
    """Return a number of JSON; NaN, Infinity and what is too large for one are refused."""
    found = float(text)
    if not math.isfinite(found):
        message = f"{text[:20]} is no finite number"
        raise ValueError(message)
    return found


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True)


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None: a missing key is its default."""
    return {key: value for key, value in table.items() if value is not None}


def _table(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as `Manifest.from_table` takes it, without places of files."""
    found = {key: value for key, value in asdict(manifest).items() if key not in _DERIVED}
    return _plain({k: _plain(v) if isinstance(v, dict) else v for k, v in found.items()})
