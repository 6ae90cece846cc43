"""Write small networks as both exporters of torch make them, and torch's own gradients.

Run it in an environment of its own, which holds what ``requirements.txt`` beside it lists:
``python tests/data/exported/build_networks.py``.  For each network and exporter it writes

- ``<network>_<exporter>.onnx``, with dynamic batch (and length, for texts), and
- ``<network>_<exporter>.npz``: ``feeds/<input>``; ``output``, in float64; ``direction``, of the
  output's shape; and ``gradient/<initializer>``, the gradient of ``sum(output * direction)`` in
  float64.  Of large initializers only the elements ``ravel()[::stride(size)]`` are kept.
"""

import copy
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx  # type: ignore[import-not-found,unused-ignore]
import torch  # type: ignore[import-not-found,unused-ignore]
from networks import NETWORKS, network  # type: ignore[import-not-found,unused-ignore]
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import (  # type: ignore[import-not-found,unused-ignore]
    fuse_conv_bn_eval,
)

HERE = Path(__file__).parent

KEPT = 128
"""Elements of a gradient that are stored, at most about so many."""

EXPORTERS = {
    "dynamo": {"dynamo": True, "opset_version": 20, "external_data": False, "optimize": True},
    "legacy": {"dynamo": False, "opset_version": 17},
    # Normalisations stay nodes of their own, as in files that were exported for training.
    "unfolded": {
        "dynamo": False,
        "opset_version": 17,
        "training": torch.onnx.TrainingMode.PRESERVE,
        "do_constant_folding": False,
    },
}
UNFOLDED = ("resnet", "mobilenet")


def stride(size: int) -> int:
    """Return the step between kept elements: odd, so that it falls on all columns."""
    return 1 if size <= KEPT else size // KEPT | 1


def inputs_of(name: str) -> dict[str, Tensor]:
    """Return inputs with padding, and no more of a batch than shows that items differ."""
    generator = torch.Generator().manual_seed(5)
    if name != "bert":
        return {"pixels": torch.randn((3, 3, 32, 32), generator=generator)}
    mask = (torch.arange(7) < torch.tensor([[7], [5], [3]])).long()
    ids = torch.randint(1, 64, (3, 7), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def export(name: str, exporter: str, model: nn.Module, inputs: dict[str, Tensor]) -> Path:
    """Write the ONNX file."""
    path = HERE / f"{name}_{exporter}.onnx"
    options = dict(EXPORTERS[exporter])
    axes = {0: "batch", 1: "length"} if name == "bert" else {0: "batch"}
    if exporter == "dynamo":
        dims = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
        options["dynamic_shapes"] = (
            (tuple(dims for _ in inputs),) if _is_variadic(model) else [dims for _ in inputs]
        )
    else:
        options["dynamic_axes"] = dict.fromkeys((*inputs, "output"), axes)
    torch.onnx.export(
        model,
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=["output"],
        verbose=False,
        **options,
    )
    made = onnx.load(path)
    _forget_origins(made)
    onnx.save(made, path)
    return path


def _is_variadic(model: nn.Module) -> bool:
    return bool(model.forward.__code__.co_flags & inspect.CO_VARARGS)


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop the stack traces and paths that the exporter notes at each node."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]


def fused(model: nn.Module, inputs: dict[str, Tensor]) -> nn.Module:
    """Return a copy in which each convolution has taken in the normalisation that follows it."""
    model = copy.deepcopy(model)
    names = {module: name for name, module in model.named_modules()}
    made: dict[int, nn.Module] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []
    kept: list[Tensor] = []

    def watch(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module
            kept.append(output)
        elif id(given[0]) in made:
            pairs.append((made[id(given[0])], module))

    hooks = [
        module.register_forward_hook(watch)
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    model(*inputs.values())
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        model.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
        model.set_submodule(names[norm], nn.Identity())
    return model


def gradients(
    model: nn.Module, inputs: dict[str, Tensor], graph: onnx.GraphProto
) -> dict[str, NDArray[np.float64]]:
    """Return torch's gradients in float64, at the weights that the file holds."""
    if not any(node.op_type == "BatchNormalization" for node in graph.node):
        model = fused(model, inputs)
    model = copy.deepcopy(model).double()
    weights = [*model.parameters(), *model.buffers()]
    found: dict[str, tuple[Tensor, bool]] = {}
    for each in graph.initializer:
        array = torch.from_numpy(numpy_helper.to_array(each).copy())
        if array.is_floating_point() and array.ndim:
            weight, flipped = found[each.name] = _match(array.double(), weights)
            exact = array.double().T if flipped else array.double()
            weight.data.copy_(exact.reshape(weight.shape))
    doubles = [x.double() if x.is_floating_point() else x for x in inputs.values()]
    # Running statistics are buffers, which torch does not differentiate by.
    found = {name: each for name, each in found.items() if isinstance(each[0], nn.Parameter)}
    for weight, _ in found.values():
        weight.requires_grad_()
    output = model(*doubles)
    direction = torch.randn(
        output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    ).float()
    grads = torch.autograd.grad((output * direction).sum(), [w for w, _ in found.values()])
    arrays = {"output": output.detach().numpy(), "direction": direction.numpy()}
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    for (name, (_, flipped)), grad in zip(found.items(), grads, strict=True):
        flat = (grad.T if flipped else grad).reshape(shapes[name]).contiguous().numpy().ravel()
        assert np.abs(flat).max() > 0, name
        arrays[f"gradient/{name}"] = flat[:: stride(flat.size)]
    return arrays


def _match(array: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, bool]:
    """Return the weight that an initializer is, and whether it is transposed."""
    for weight in weights:
        for flipped in (False, True)[: 1 + (array.ndim == 2)]:
            given = array.T if flipped else array
            if given.squeeze().shape == weight.squeeze().shape and torch.allclose(
                given.reshape(weight.shape), weight.to(given.dtype), rtol=1e-5, atol=1e-6
            ):
                return weight, flipped
    message = f"an initializer of shape {tuple(array.shape)} is no weight of the network"
    raise ValueError(message)


def build(name: str, exporter: str) -> None:
    """Write the two files of one network and exporter."""
    model, inputs = network(name), inputs_of(name)
    path = export(name, exporter, model, inputs)
    graph = onnx.load(path).graph
    arrays = gradients(model, inputs, graph)
    feeds = {f"feeds/{key}": value.numpy() for key, value in inputs.items()}
    np.savez_compressed(path.with_suffix(".npz"), allow_pickle=False, **feeds, **arrays)


def main() -> None:
    for name in sys.argv[1:] or NETWORKS:
        for exporter in EXPORTERS:
            if exporter != "unfolded" or name in UNFOLDED:
                build(name, exporter)


if __name__ == "__main__":
    main()
