"""Inputs and outputs of a session that lie on its device, used again from run to run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUFFERED_BYTES = 256 << 20
"""Input buffers that one binding keeps for shapes that may come again."""

Allocate = Callable[[Sequence[int], "np.dtype[Any]"], Any]
"""Return an array of ONNX Runtime's, of a shape and type, on the session's device."""


class Resident:
    """An array that stays on a device, where runs read and write it.

    Parameters
    ----------
    value : onnxruntime.OrtValue
    """

    def __init__(self, value: Any) -> None:  # noqa: ANN401  (ONNX Runtime has no types)
        self.value = value

    def read(self) -> NDArray[Any]:
        """Return a copy."""
        return np.array(self.value.numpy())

    def write(self, array: NDArray[Any]) -> None:
        """Take the numbers of an array of this shape and type."""
        self.value.update_inplace(np.asarray(array, order="C"))


Residents = Mapping[str, Resident]


class Binding:
    """What one run after another reads and writes on the device of a session.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    device : str
        ``"cpu"`` or ``"cuda:<n>"``.
    allocate : callable
        See `Allocate`.
    inputs, outputs : mapping of str to Resident, optional
        Arrays that the graph reads and writes where they lie.  No array may be among both: a
        graph writes while it still reads.
    """

    def __init__(
        self,
        session: Any,  # noqa: ANN401
        device: str,
        allocate: Allocate,
        *,
        inputs: Residents | None = None,
        outputs: Residents | None = None,
    ) -> None:
        kind, _, number = device.partition(":")
        self._session, self._kind, self._number = session, kind, int(number or 0)
        self._allocate = allocate
        self._binding = session.io_binding()
        self._buffers: dict[tuple[Any, ...], Any] = {}
        self._outputs = dict(outputs or {})
        for name, array in (inputs or {}).items():
            self._binding.bind_ortvalue_input(name, array.value)

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run once and return copies of the outputs that are asked for, in order."""
        binding = self._binding
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, self._filled(name, array))
        binding.clear_binding_outputs()
        for name in outputs:
            # Beside outputs that stay, those that are asked for are few and small.
            where = ("cpu", 0) if self._outputs else (self._kind, self._number)
            binding.bind_output(name, *where)
        for name, resident in self._outputs.items():
            binding.bind_ortvalue_output(name, resident.value)
        self._session.run_with_iobinding(binding)
        if not self._outputs:
            copied: list[Any] = binding.copy_outputs_to_cpu()
            return copied
        return [np.array(value.numpy()) for value in binding.get_outputs()[: len(outputs)]]

    def _filled(self, name: str, array: NDArray[Any]) -> Any:  # noqa: ANN401
        key = (name, array.shape, array.dtype.str)
        buffer = self._buffers.pop(key, None)
        if buffer is None:
            self._make_room(array.nbytes)
            buffer = self._allocate(list(array.shape), array.dtype)
        buffer.update_inplace(np.asarray(array, order="C"))
        self._buffers[key] = buffer
        return buffer

    def _make_room(self, size_bytes: int) -> None:
        """Forget the buffers that were not used for longest."""
        sizes = {key: value.tensor_size_in_bytes() for key, value in self._buffers.items()}
        while sizes and sum(sizes.values()) + size_bytes > BUFFERED_BYTES:
            oldest = next(iter(sizes))
            del sizes[oldest], self._buffers[oldest]
