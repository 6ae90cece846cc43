"""ONNX Runtime: the only place that imports it, and the one door that every graph goes through."""

import ctypes
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from featx.backbone.graphs.external import holds_half, read_safely
from featx.backbone.graphs.whole import read_whole
from featx.errors import DeviceError, DeviceMemoryError, InputError
from featx.types import Device

if TYPE_CHECKING:
    from onnx import ModelProto

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


MEMORY_LIMIT = "FEATX_GPU_MEMORY"

OUT_OF_MEMORY = re.compile(
    r"bad_alloc|bad allocation|out of memory|failed to allocate memory|smaller than requested"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)
"""How ONNX Runtime, CUDA and its libraries say that memory ran out."""

BINDINGS = 2
"""While one batch is computed the next one is copied."""

BUFFERED_BYTES = 256 << 20
"""Input buffers that one binding keeps for shapes that may come again."""


class _Binding:
    """Input buffers on a device, one for each shape, kept from run to run."""

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        kind, _, number = device.partition(":")
        self._session, self._kind, self._number = session, kind, int(number or 0)
        self._binding = session.io_binding()
        self._buffers: dict[tuple[Any, ...], Any] = {}

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        for name, array in feeds.items():
            self._binding.bind_ortvalue_input(name, self._filled(name, array))
        self._binding.clear_binding_outputs()
        for name in outputs:
            self._binding.bind_output(name, self._kind, self._number)
        self._session.run_with_iobinding(self._binding)
        result: list[Any] = self._binding.copy_outputs_to_cpu()
        return result

    def _filled(self, name: str, array: NDArray[Any]) -> ort.OrtValue:
        key = (name, array.shape, array.dtype.str)
        buffer = self._buffers.pop(key, None)
        if buffer is None:
            self._make_room(array.nbytes)
            buffer = ort.OrtValue.ortvalue_from_shape_and_type(
                list(array.shape), array.dtype, self._kind, self._number
            )
        buffer.update_inplace(np.asarray(array, order="C"))
        self._buffers[key] = buffer
        return buffer

    def _make_room(self, size_bytes: int) -> None:
        """Forget the buffers that were not used for longest."""
        sizes = {key: value.tensor_size_in_bytes() for key, value in self._buffers.items()}
        while sizes and sum(sizes.values()) + size_bytes > BUFFERED_BYTES:
            oldest = next(iter(sizes))
            del sizes[oldest], self._buffers[oldest]


@dataclass(frozen=True, slots=True)
class Session:
    """A graph that is ready to run, from several threads if need be.

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
    _bindings: "SimpleQueue[_Binding] | None" = None

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run the graph and return the outputs that were asked for.

        Raises
        ------
        DeviceMemoryError
            If the batch needs more memory than there is.
        """
        try:
            return self._run(outputs, feeds)
        except Exception as cause:
            if not isinstance(cause, MemoryError) and not OUT_OF_MEMORY.search(str(cause)):
                raise
            shapes = ", ".join(str(array.shape) for array in feeds.values())
            message = f"{self.device}: out of memory for inputs of shape {shapes}; use less a batch"
            raise DeviceMemoryError(message) from cause

    def _run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        if self._bindings is None:
            result: list[Any] = self._session.run(list(outputs), dict(feeds))
            return result
        binding = self._bindings.get()
        try:
            return binding.run(outputs, feeds)
        finally:
            self._bindings.put(binding)


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


def devices_of(device: Device) -> list[str]:
    """Return the devices that a choice stands for: ``"cuda"`` is every CUDA device."""
    first = choose_device(device)
    if first == "cpu" or ":" in device:
        return [first]
    return [f"cuda:{number}" for number in range(cuda_devices())]


@cache
def live_device(device: Device) -> str:
    """Return where a choice ends: ``"auto"`` is proven first, since a driver alone runs nothing."""
    chosen = choose_device(device)
    return prove("auto") if device == "auto" and chosen != "cpu" else chosen


def open_session(
    path: Path | bytes,
    *,
    device: Device = "auto",
    threads: int | None = None,
    bound: bool | None = None,
    deterministic: bool = False,
) -> Session:
    """Load a graph, and prove that it runs where it was asked to.

    Parameters
    ----------
    path : Path or bytes
        An ONNX file, whose external data must lie below its folder; or what one holds, in which
        case there may be none.
    device : str
        ``"auto"`` falls back to the CPU; ``"cuda"`` does not.
    threads : int or None
        Threads of one run on the CPU; None leaves the choice to ONNX Runtime.
    bound : bool or None
        Whether inputs are copied into buffers on the device that are used again; None: on CUDA.
    deterministic : bool
        Use only kernels that give the same bits each time.

    Raises
    ------
    InputError
        If it is not a graph that this ONNX Runtime can load, or refers to files that it may not.
    DeviceError
        If CUDA was asked for and the session did not start there.
    """
    chosen = choose_device(device)
    graph = read_whole(path).graph if isinstance(path, bytes) else read_safely(path)
    ort.set_default_logger_severity(4)
    if chosen != "cpu":
        ort.preload_dlls()
    options = ort.SessionOptions()
    options.use_deterministic_compute = deterministic
    if threads:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What has been read as ONNX is not to be taken for ONNX Runtime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    providers = _providers(chosen, is_half=holds_half(graph))
    try:
        session = ort.InferenceSession(
            path if isinstance(path, bytes) else str(path), options, providers=providers
        )
    except Exception as cause:
        reason = str(cause).splitlines()[0]
        name = "graph" if isinstance(path, bytes) else path
        message = f"{name}: ONNX Runtime {ort.__version__} cannot load it: {reason}"
        raise InputError(message) from cause
    live = session.get_providers()[0]
    if device.startswith("cuda") and live != PROVIDERS["cuda"]:
        message = f"device {device!r}: the session started on {live} instead; run: featx doctor"
        raise DeviceError(message)
    where = chosen if live == PROVIDERS["cuda"] else "cpu"
    return Session(
        session,
        where,
        {item.name: item.type for item in session.get_inputs()},
        tuple(item.name for item in session.get_outputs()),
        _bind(session, where) if bound or (bound is None and where != "cpu") else None,
    )


def _bind(session: ort.InferenceSession, device: str) -> "SimpleQueue[_Binding]":
    bindings: SimpleQueue[_Binding] = SimpleQueue()
    for _ in range(BINDINGS):
        bindings.put(_Binding(session, device))
    return bindings


def _providers(device: str, *, is_half: bool) -> list[Any]:
    if device == "cpu":
        return [PROVIDERS["cpu"]]
    return [(PROVIDERS["cuda"], cuda_options(device, is_half=is_half)), PROVIDERS["cpu"]]


def cuda_options(device: str, *, is_half: bool = False) -> dict[str, str]:
    """Return the options of ONNX Runtime's CUDA provider; float16 images have their channels last.

    Raises
    ------
    InputError
        If ``FEATX_GPU_MEMORY`` is no size.
    """
    options = {
        "device_id": device.partition(":")[2],
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "prefer_nhwc": str(int(is_half)),
    }
    if limit := os.environ.get(MEMORY_LIMIT, ""):
        options["gpu_mem_limit"] = str(_bytes_of(limit))
    return options


def _bytes_of(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(M|G)iB", text.strip())
    if match is None or not float(match[1]):
        message = f"{MEMORY_LIMIT}={text!r}: expected a size such as 8GiB or 500MiB"
        raise InputError(message)
    return int(float(match[1]) * (1 << {"M": 20, "G": 30}[match[2]]))


def to_float16(model: "ModelProto") -> None:
    """Have a model compute in float16 between inputs and outputs that stay as they are.

    Numbers that float16 cannot hold become its largest or smallest ones.
    """
    from onnxruntime.transformers import float16

    made = float16.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    model.CopyFrom(made)


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
