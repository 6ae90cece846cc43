"""Sessions: what they refuse, how they bind buffers, what happens when memory runs out."""

from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from featx.backbone.runtime import (
    Session,
    choose_device,
    cuda_devices,
    cuda_options,
    devices_of,
    open_session,
)
from featx.errors import DeviceMemoryError, InputError
from featx.types import Vectors

W = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)


def save(path: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "test", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    return save(tmp_path / "linear.onnx", [node], [numpy_helper.from_array(W, "W")])


def rows(count: int, start: float = 0) -> Vectors:
    return (start + np.arange(3 * count, dtype=np.float32)).reshape(count, 3)


def run(session: Session, X: Vectors) -> Vectors:
    (Y,) = session.run(["y"], {"x": X})
    result: Vectors = Y
    return result


def test_bound_buffers_give_the_arrays_that_a_plain_run_gives(linear: Path) -> None:
    plain = open_session(linear, device="cpu", threads=1)
    bound = open_session(linear, device="cpu", threads=1, bound=True)

    for count in (1, 4, 2, 4, 1):
        X = rows(count, start=count)
        np.testing.assert_array_equal(run(bound, X), run(plain, X))


def test_a_bound_run_neither_changes_its_input_nor_reuses_an_earlier_result(linear: Path) -> None:
    session = open_session(linear, device="cpu", threads=1, bound=True)
    X = rows(2)

    results = [run(session, X + shift) for shift in range(4)]

    np.testing.assert_array_equal(X, rows(2))
    for shift, Y in enumerate(results):
        np.testing.assert_array_equal(Y, (X + shift) @ W)


def test_an_array_that_is_not_contiguous_is_bound_by_its_values(linear: Path) -> None:
    session = open_session(linear, device="cpu", threads=1, bound=True)
    X = np.asfortranarray(rows(4))[::2]

    np.testing.assert_array_equal(run(session, X), X @ W)


def test_threads_may_share_a_bound_session(linear: Path) -> None:
    session = open_session(linear, device="cpu", threads=1, bound=True)
    found: dict[int, list[Vectors]] = {number: [] for number in range(4)}

    def work(number: int) -> None:
        found[number] = [run(session, rows(2, start=number)) for _ in range(25)]

    threads = [Thread(target=work, args=(number,)) for number in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, results in found.items():
        expected = np.stack([rows(2, start=number) @ W] * 25)
        np.testing.assert_array_equal(np.stack(results), expected)


@pytest.mark.parametrize("bound", [False, True])
def test_memory_that_runs_out_has_its_own_error(tmp_path: Path, bound: bool) -> None:
    size = np.array([1 << 22, 1 << 22, 3], dtype=np.int64)
    node = helper.make_node("Expand", ["x", "size"], ["y"])
    path = save(tmp_path / "huge.onnx", [node], [numpy_helper.from_array(size, "size")])
    session = open_session(path, device="cpu", threads=1, bound=bound)

    with pytest.raises(DeviceMemoryError, match=r"cpu: out of memory for inputs of shape \(1, 3\)"):
        run(session, rows(1))


def test_another_failure_of_a_run_is_not_taken_for_memory(linear: Path) -> None:
    session = open_session(linear, device="cpu", threads=1)

    with pytest.raises(Exception, match="invalid dimensions") as caught:
        session.run(["y"], {"x": np.zeros((1, 5), dtype=np.float32)})

    assert not isinstance(caught.value, DeviceMemoryError)


@pytest.mark.parametrize("kind", ["initializer", "constant"])
def test_weights_outside_the_folder_of_a_graph_are_refused(tmp_path: Path, kind: str) -> None:
    tensor = numpy_helper.from_array(W, "W")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    multiply = helper.make_node("MatMul", ["x", "W"], ["y"])
    constant = helper.make_node("Constant", [], ["W"], value=tensor)
    path = tmp_path / "graph.onnx"
    if kind == "initializer":
        save(path, [multiply], [tensor])
    else:
        save(path, [constant, multiply], [])

    with pytest.raises(InputError, match=r"weights at '\.\./secret\.bin', outside its folder"):
        open_session(path, device="cpu")


def test_cuda_memory_may_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_GPU_MEMORY", "1.5GiB")

    options = cuda_options("cuda:2", is_half=True)

    assert options["device_id"] == "2"
    assert options["gpu_mem_limit"] == str(3 << 29)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["use_tf32"] == "0"
    assert options["prefer_nhwc"] == "1"


def test_cuda_memory_is_not_limited_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATX_GPU_MEMORY", raising=False)

    assert "gpu_mem_limit" not in cuda_options("cuda:0")


@pytest.mark.parametrize("text", ["8", "8GB", "0GiB", "-1GiB", "lots"])
def test_a_limit_of_cuda_memory_that_is_no_size_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_GPU_MEMORY", text)

    with pytest.raises(InputError, match=r"FEATX_GPU_MEMORY='.*': expected a size such as 8GiB"):
        cuda_options("cuda:0")


@pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a CUDA device")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_cuda_a_device_stands_for_the_cpu(device: str) -> None:
    assert devices_of(device) == ["cpu"]
    assert choose_device(device) == "cpu"


def test_a_bound_graph_reads_and_writes_arrays_where_they_lie(tmp_path: Path) -> None:
    doubled = helper.make_node("Add", ["state", "state"], ["twice"])
    summed = helper.make_node("Add", ["twice", "x"], ["new"])
    total = helper.make_node("ReduceSum", ["new"], ["total"], keepdims=0)
    session = open_session(recurrent(tmp_path, [doubled, summed, total]), device="cpu", threads=1)
    states = [session.put(np.zeros(3, dtype=np.float32)) for _ in range(2)]
    states[0].write(np.array([1, 2, 3], dtype=np.float32))
    turns = [session.bind({"state": old}, {"new": new}) for old, new in (states, reversed(states))]

    totals = [
        turns[number % 2].run(["total"], {"x": np.full(3, number, dtype=np.float32)})[0].item()
        for number in range(3)
    ]

    # 2 (1, 2, 3), then twice that and 1, then twice that and 2.
    assert totals == [12.0, 27.0, 60.0]
    np.testing.assert_array_equal(states[1].read(), [12, 20, 28])
    np.testing.assert_array_equal(states[0].read(), [5, 9, 13])


def test_what_is_read_of_a_resident_array_stays_as_it_was(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["state", "x"], ["new"])
    session = open_session(recurrent(tmp_path, [node]), device="cpu", threads=1)
    array = session.put(np.array([1, 2, 3], dtype=np.float32))

    before = array.read()
    array.write(np.array([7, 8, 9], dtype=np.float32))

    np.testing.assert_array_equal(before, [1, 2, 3])
    np.testing.assert_array_equal(array.read(), [7, 8, 9])


def recurrent(folder: Path, nodes: list[onnx.NodeProto]) -> Path:
    infos = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [3])
        for name in ("state", "x", "new")
    }
    outputs = [infos["new"]]
    if nodes[-1].output[0] == "total":
        outputs.append(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))
    graph = helper.make_graph(nodes, "test", [infos["state"], infos["x"]], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "recurrent.onnx"
    onnx.save(model, path)
    return path
