"""Whether what a graph gives is what its manifest says: kind of numbers, axes, width."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbone.backbone import TAKEN
from featx.backbone.runtime import Session
from featx.errors import DeviceMemoryError, InputError
from featx.modality.content import first_line
from featx.zoo.manifest import Manifest

Arrays = dict[str, NDArray[Any]]


def require_output(manifest: Manifest, session: Session, roles: Arrays, what: str) -> None:
    """Run the graph and raise unless its output has the stated form.

    Parameters
    ----------
    manifest : Manifest
    session : Session
    roles : dict of str to ndarray
        One item, as its modality gives it.
    what : str
        The item, for messages.

    Raises
    ------
    InputError
        Naming input or output, what it is, and what is expected.
    """
    name = manifest.output
    if name not in session.outputs:
        message = f"{manifest.name}: has no output {name!r}; it has: {', '.join(session.outputs)}"
        raise InputError(message)
    feeds = _feeds(manifest, session, roles)
    try:
        (found,) = session.run([name], feeds)
    except DeviceMemoryError:
        raise
    except Exception as cause:  # ONNX Runtime's errors have no base of their own
        raise failure(manifest, what, cause) from cause
    for problem in _problems(manifest, found, roles):
        message = f"{manifest.name}: output {name!r} is {found.dtype} {found.shape} for {what}"
        raise InputError(f"{message}; {problem}")


def failure(manifest: Manifest, what: str, cause: Exception) -> InputError:
    """Return the error that a graph does not run."""
    advice = "a size may have been fixed when it was exported"
    if manifest.modality == "text":
        advice += f", or it takes fewer tokens than max_length = {manifest.max_length}"
    message = f"{manifest.name}: the graph fails for {what}: {first_line(cause)}; {advice}"
    return InputError(message)


def _feeds(manifest: Manifest, session: Session, roles: Arrays) -> Arrays:
    for role, name in manifest.inputs.items():
        if role not in roles:
            message = f"{manifest.name}: [inputs] {role!r}: expected {', '.join(roles)}"
            raise InputError(message)
        if session.inputs[name] not in TAKEN:
            known = ", ".join(TAKEN)
            message = f"{manifest.name}: input {name!r} is {session.inputs[name]}; known: {known}"
            raise InputError(message)
        _require_whole(manifest, name, session.inputs[name], roles[role])
    return {
        name: roles[role].astype(TAKEN[session.inputs[name]], copy=False)
        for role, name in manifest.inputs.items()
    }


def _require_whole(manifest: Manifest, name: str, kind: str, given: NDArray[Any]) -> None:
    """Raise where numbers would be cut off, as normalised pixels are that become uint8."""
    is_whole = np.issubdtype(TAKEN[kind], np.floating) or given.dtype.kind != "f"
    if is_whole or np.array_equal(given.astype(TAKEN[kind]), given):
        return
    message = (
        f"{manifest.name}: input {name!r} is {kind}, and is given numbers from {given.min():.3g} "
        f"to {given.max():.3g}; if the graph itself normalises pictures, say: "
        "--image mean=[0,0,0] --image std=[1,1,1]"
    )
    raise InputError(message)


def _problems(manifest: Manifest, found: NDArray[Any], roles: Arrays) -> Iterator[str]:
    """Yield what is wrong with the output, the cause before what follows from it."""
    is_whole = manifest.pooling == "none"
    rows = len(next(iter(roles.values())))
    if not np.issubdtype(found.dtype, np.floating):
        yield "expected floating-point numbers; choose another with --output"
    if found.ndim != (2 if is_whole else 3) or len(found) != rows:
        form = f"({rows}, dim)" if is_whole else f"({rows}, tokens, dim)"
        yield f"expected {form}; choose another with --output, or --pooling"
    if found.shape[-1] != manifest.dim:
        yield f"dim is {manifest.dim}; say --dim {found.shape[-1]}"
    mask = roles.get("attention_mask")
    if not is_whole and mask is not None and found.shape[1] != mask.shape[1]:
        yield f"expected a vector for each of {mask.shape[1]} tokens"
