"""ONNX Runtime: the only place that imports it, and the one door that every graph goes through."""

import ctypes
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import packages_distributions
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from featx.backbone.binding import Binding, Resident, Residents
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

TRANSPOSING = ["GemmTransposeFusion"]
"""The optimizer that has a product transpose its first operand, which on a CPU takes longer than to
transpose it first: 24 instead of 18 ms for 1024 x 384 x 1536.  Gradients are full of it."""

BINDINGS = 2
"""While one batch is computed the next one is copied."""


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
    _bindings: "SimpleQueue[Binding] | None" = None

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run the graph and return the outputs that were asked for.

        Raises
        ------
        DeviceMemoryError
            If the batch needs more memory than there is.
        """
        with _explained_memory(self.device, feeds):
            return self._run(outputs, feeds)

    def put(self, array: NDArray[Any]) -> Resident:
        """Copy an array to the device, for runs to read and write."""
        resident = Resident(_allocate(self.device, array.shape, array.dtype))
        resident.write(array)
        return resident

    def bind(self, inputs: Residents, outputs: Residents) -> "Bound":
        """Return the graph with arrays of its device as some of its inputs and outputs.

        Parameters
        ----------
        inputs, outputs : mapping of str to Resident
            No array may be among both: a graph writes while it still reads.
        """
        allocate = partial(_allocate, self.device)
        binding = Binding(self._session, self.device, allocate, inputs=inputs, outputs=outputs)
        return Bound(self.device, binding)

    def _run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        if self._bindings is None:
            result: list[Any] = self._session.run(list(outputs), dict(feeds))
            return result
        binding = self._bindings.get()
        try:
            return binding.run(outputs, feeds)
        finally:
            self._bindings.put(binding)


@dataclass(frozen=True, slots=True)
class Bound:
    """A graph that reads and writes arrays where they lie; for one thread at a time."""

    device: str
    _binding: Binding

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run the graph, and return those outputs that are not bound and were asked for.

        Raises
        ------
        DeviceMemoryError
            If the batch needs more memory than there is.
        """
        with _explained_memory(self.device, feeds):
            return self._binding.run(outputs, feeds)


@contextmanager
def _explained_memory(device: str, feeds: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    try:
        yield
    except Exception as cause:
        if not isinstance(cause, MemoryError) and not OUT_OF_MEMORY.search(str(cause)):
            raise
        shapes = ", ".join(str(array.shape) for array in feeds.values())
        message = f"{device}: out of memory for inputs of shape {shapes}; use less a batch"
        raise DeviceMemoryError(message) from cause


def _allocate(device: str, shape: Sequence[int], dtype: "np.dtype[Any]") -> ort.OrtValue:
    kind, _, number = device.partition(":")
    return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, kind, int(number or 0))


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
    trains: bool = False,
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
    trains : bool
        Whether it is one of several steps of a training, which run by turns: they share the
        memory that they work in.

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
    options = _options(threads, deterministic=deterministic, trains=trains)
    providers = _providers(chosen, is_half=holds_half(graph))
    try:
        session = ort.InferenceSession(
            path if isinstance(path, bytes) else str(path),
            options,
            providers=providers,
            disabled_optimizers=TRANSPOSING if trains and chosen == "cpu" else [],
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


def _options(threads: int | None, *, deterministic: bool, trains: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.use_deterministic_compute = deterministic
    if threads:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What has been read as ONNX is not to be taken for ONNX Runtime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if trains:
        _make_shared_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.enable_mem_pattern = False  # each would want one piece for itself
    return options


@cache
def _make_shared_memory() -> None:
    """Make the memory on the host that sessions share which ask for it."""
    kind, place = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    memory = ort.OrtMemoryInfo("Cpu", kind, 0, place)
    as_requested = ort.OrtArenaCfg({"arena_extend_strategy": 1})
    ort.create_and_register_allocator(memory, as_requested)


def _bind(session: ort.InferenceSession, device: str) -> "SimpleQueue[Binding]":
    bindings: SimpleQueue[Binding] = SimpleQueue()
    for _ in range(BINDINGS):
        bindings.put(Binding(session, device, partial(_allocate, device)))
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
        "enable_skip_layer_norm_strict_mode": "1",  # sums of float16 numbers are float32
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
