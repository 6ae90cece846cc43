"""Whether the inputs of a graph take batches, texts of any length, and images of their size."""

from collections.abc import Iterator

from featx.errors import InputError
from featx.onboard.read.roles import MAIN
from featx.onboard.read.signature import Port, Signature
from featx.zoo.manifest import Manifest

TEXT_ROLES = ("token_ids", "attention_mask", "token_type_ids")


def require_axes(manifest: Manifest, signature: Signature) -> None:
    """Raise unless the axes that have to vary do, as far as the graph states them.

    Raises
    ------
    InputError
        Naming the first input and axis that is fixed, and what to do.
    """
    ports = {port.name: port for port in signature.inputs}
    for role, name in manifest.inputs.items():
        if name not in ports:
            known = ", ".join(ports)
            message = f"{manifest.name}: [inputs] {role} = {name!r}; the graph has: {known}"
            raise InputError(message)
        for problem in _problems(manifest, role, ports[name]):
            message = f"{manifest.name}: input {ports[name]}: {problem}"
            raise InputError(message)


def _problems(manifest: Manifest, role: str, port: Port) -> Iterator[str]:
    shape = port.shape
    if shape is None or not shape:
        return
    if isinstance(shape[0], int):
        yield f"its batch axis is fixed at {shape[0]}; export it with a dynamic batch axis"
    if role in TEXT_ROLES and len(shape) > 1 and isinstance(shape[1], int):
        yield from _length_problems(manifest, shape[1])
    if role == MAIN["image"] and manifest.image is not None and len(shape) == 4:
        height, width = (manifest.image.size * 2)[:2]
        for found, wanted in zip(shape[1:], (3, height, width), strict=True):
            if isinstance(found, int) and found != wanted:
                made = f"(batch, 3, {height}, {width})"
                yield f"images are made {made}; say --image size=..., or export another"
                return


def _length_problems(manifest: Manifest, length: int) -> Iterator[str]:
    is_padded = manifest.text is not None and manifest.text.padding == "max_length"
    if not is_padded:
        yield (
            f"its length is fixed at {length}; export it with a dynamic length, or, if it was "
            f"trained so, say: --text padding=max_length --max-length {length}"
        )
    elif manifest.max_length != length:
        yield f"its length is fixed at {length}, max_length is {manifest.max_length}"
