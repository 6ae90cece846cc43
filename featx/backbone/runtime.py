"""ONNX Runtime: the only place that imports it, and the one door that every graph goes through."""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from featx.errors import DeviceError, InputError
from featx.types import Device

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Session:
    """A graph that is ready to run.

    Attributes
    ----------
    device : str
        Where it really runs: ``"cpu"`` or ``"cuda:<n>"``.
    inputs : dict of str to str
        Input name → ONNX Runtime type.
    outputs : tuple of str
    """

    _session: Any
    device: str
    inputs: dict[str, str]
    outputs: tuple[str, ...]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run the graph and return the outputs that were asked for."""
        result: list[Any] = self._session.run(list(outputs), dict(feeds))
        return result


@cache
def cuda_devices() -> int:
    """Return the number of CUDA devices that the driver reports; 0 without a driver."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def choose_device(device: Device) -> str:
    """Return ``"cpu"`` or ``"cuda:<n>"``: a probe of what could work; `open_session` proves it.

    Raises
    ------
    InputError
        If `device` is no device name.
    DeviceError
        If CUDA was asked for and there is no such device.
    """
    kind, _, number = device.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (number and (kind != "cuda" or not number.isdigit())):
        message = f"device {device!r}: expected 'auto', 'cpu', 'cuda' or 'cuda:<n>'"
        raise InputError(message)
    has_provider = PROVIDERS["cuda"] in ort.get_available_providers()
    usable = cuda_devices() if has_provider else 0
    if kind == "cuda" and int(number or 0) >= usable:
        why = "this onnxruntime has no CUDA" if not has_provider else f"{usable} CUDA devices found"
        message = f"device {device!r} is not available: {why}; run: featx doctor"
        raise DeviceError(message)
    return f"cuda:{number or 0}" if kind == "cuda" or (kind == "auto" and usable) else "cpu"


def open_session(path: Path, *, device: Device = "auto", threads: int | None = None) -> Session:
    """Load a graph, and prove that it runs where it was asked to.

    Parameters
    ----------
    path : Path
        An ONNX file; external data must lie below its folder.
    device : str
        ``"auto"`` falls back to the CPU; ``"cuda"`` does not.
    threads : int or None
        Threads of the CPU session; None leaves the choice to ONNX Runtime.

    Raises
    ------
    InputError
        If the file is not a graph that this ONNX Runtime can load, or refers to files outside
        its folder.
    DeviceError
        If CUDA was asked for and the session did not start there.
    """
    chosen = choose_device(device)
    _check_external_data(path)
    ort.set_default_logger_severity(4)
    if chosen != "cpu":
        ort.preload_dlls()
    options = ort.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(path), options, providers=_providers(chosen))
    except Exception as cause:
        reason = str(cause).splitlines()[0]
        message = f"{path}: ONNX Runtime {ort.__version__} cannot load it: {reason}"
        raise InputError(message) from cause
    live = session.get_providers()[0]
    if device.startswith("cuda") and live != PROVIDERS["cuda"]:
        message = f"device {device!r}: the session started on {live} instead; run: featx doctor"
        raise DeviceError(message)
    return Session(
        session,
        chosen if live == PROVIDERS["cuda"] else "cpu",
        {item.name: item.type for item in session.get_inputs()},
        tuple(item.name for item in session.get_outputs()),
    )


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return [PROVIDERS["cpu"]]
    number = int(device.partition(":")[2])
    return [(PROVIDERS["cuda"], {"device_id": number, "use_tf32": 0}), PROVIDERS["cpu"]]


def _check_external_data(path: Path) -> None:
    """Refuse a graph whose weights lie outside its folder.

    Raises
    ------
    InputError
        If the file is no ONNX graph, or names such a place.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, DecodeError) as cause:
        message = f"{path}: not an ONNX graph: {cause}"
        raise InputError(message) from cause
    folder = path.parent.resolve()
    for tensor in graph.initializer:
        for entry in tensor.external_data:
            place = (folder / entry.value).resolve()
            if entry.key == "location" and not place.is_relative_to(folder):
                message = f"{path}: weights at {entry.value!r}, outside its folder; refused"
                raise InputError(message)


def distributions() -> list[str]:
    """Return which distributions own the ``onnxruntime`` package; two of them clash."""
    return sorted(set(packages_distributions().get("onnxruntime", [])))


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    return str(ort.__version__)


def prove(device: Device) -> str:
    """Run a one-node graph on `device` and return where it ran.

    Raises
    ------
    DeviceError, InputError
        If it does not run there.
    """
    import tempfile

    from onnx import TensorProto, helper, save

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "prove", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prove.onnx"
        save(model, path)
        session = open_session(path, device=device, threads=1)
        (result,) = session.run(["y"], {"x": np.ones(2, dtype=np.float32)})
    if result.tolist() != [2.0, 2.0]:
        message = f"device {device!r}: 1 + 1 gave {result.tolist()}"
        raise DeviceError(message)
    return session.device
