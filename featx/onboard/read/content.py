"""What a file is, from its name and first bytes: ONNX is read, anything that may run is refused."""

from pathlib import Path, PurePosixPath

from featx.errors import InputError

SUFFIX = ".onnx"

PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"}

OTHERS = {".safetensors", ".h5", ".keras", ".tflite", ".gguf", ".msgpack", ".ort", ".engine"}

EXPORT = "export the model to ONNX and give that file"

SIGNATURES = (
    (0, b"version https://git-lfs", "a pointer of Git LFS; run: git lfs pull"),
    (0, b"PK\x03\x04", f"a ZIP archive, such as PyTorch's with a pickle inside; {EXPORT}"),
    *(
        (0, bytes([0x80, protocol]), f"a Python pickle, which may run anything; {EXPORT}")
        for protocol in range(2, 6)
    ),
    (0, b"\x89HDF", f"an HDF5 file; {EXPORT}"),
    (0, b"GGUF", f"a GGUF file; {EXPORT}"),
    (4, b"ORTM", f"of ONNX Runtime's own format; {EXPORT}"),
    (4, b"TFL3", f"a TensorFlow Lite file; {EXPORT}"),
    (4, b"\0\0\0\0{", f"a safetensors file; {EXPORT}"),
    (0, b"<", "HTML or XML, such as a page of a server; look at it"),
    (0, b"\x1f\x8b", "compressed; unpack it first"),
)
"""Offset and bytes that tell a kind of file, and what to do with it."""

_HEAD_BYTES = 64


def looks_like(raw: bytes) -> str:
    """Return what bytes are if they are something well known, else nothing.

    Examples
    --------
    >>> looks_like(b"<!DOCTYPE html>")
    'HTML or XML, such as a page of a server; look at it'
    """
    for offset, signature, name in SIGNATURES:
        if raw[offset:].startswith(signature):
            return name
    return ""


def require_onnx_name(name: str) -> None:
    """Raise before a file is fetched that is no graph by its name.

    Raises
    ------
    InputError
        Saying what it is.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == SUFFIX:
        return
    what = f"holds no graph; {EXPORT}" if suffix in OTHERS else "is no ONNX file; expected .onnx"
    if suffix in PICKLES:
        what = f"may be a Python pickle, which may run anything when opened; {EXPORT}"
    message = f"{name}: {what}"
    raise InputError(message)


def require_onnx(path: Path, name: str) -> None:
    """Raise if a file is well known to be something else than ONNX; its name proves nothing.

    Raises
    ------
    InputError
        Saying what it is.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        message = f"{name}: is empty; fetch or export it again"
        raise InputError(message)
    if found := looks_like(head):
        message = f"{name}: expected an ONNX graph, but it is {found}"
        raise InputError(message)
