"""Write ``operators.npz``: gradients of single operators as torch finds them, in float64.

Run it as ``build_networks.py``.  Inputs and names are those of ``tests/gradient_cases.py``; the
loss is the sum of the output times normal numbers, seeded as in ``tests/gradient_checks.py``.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # type: ignore[import-not-found,unused-ignore]  # noqa: N812

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from gradient_cases import cases, positive  # noqa: E402

MEAN: NDArray[np.float64] = next(
    case.values()["m"].astype(np.float64) for case in cases() if case.name == "BatchNormalization"
)

conv2d = F.conv2d

OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Celu-alpha": lambda x: F.celu(x, 0.7),
    "Cos": torch.cos,
    "Div-both-broadcast": torch.div,
    "Einsum": lambda a, b: torch.einsum("bid,bjd->bij", a, b),
    "Elu-alpha": lambda x: F.elu(x, 0.7),
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Gelu": F.gelu,
    "Gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "HardSigmoid-alpha": F.hardsigmoid,
    "HardSwish-beyond-its-limits": F.hardswish,
    "LeakyRelu-alpha": lambda x: F.leaky_relu(x, 0.3),
    "Log": torch.log,
    "Max": lambda a, b, c: torch.maximum(torch.maximum(a, b), c),
    "Min": torch.minimum,
    "Mish": F.mish,
    "PRelu-a-channel": lambda x, slope: F.prelu(x, slope.flatten()),
    "Pow-both": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Selu": F.selu,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Swish": F.silu,
    "Tanh": torch.tanh,
    "MatMul-broadcast-stacks": torch.matmul,
    "MatMul-stack-by-weight": torch.matmul,
    "MatMul-vector-by-stack": torch.matmul,
    "Gemm-11": lambda a, b, c: 0.7 * a.T @ b.T + 1.3 * c,
    "Gather-repeated": lambda x: x[torch.tensor([1, 3, 1, -4])],
    "Slice-steps": lambda x: x[::2, 1::3],
    "LogSoftmax-axis": lambda x: F.log_softmax(x, 1),
    "ReduceL2-axes": lambda x: torch.linalg.vector_norm(x, dim=(-1, 0)),
    "ReduceLogSumExp-kept": lambda x: torch.logsumexp(x, 1, keepdim=True),
    "ReduceMax-axes": lambda x: torch.amax(x, (-1, 0)),
    "Softmax-axis": lambda x: F.softmax(x, 1),
    "BatchNormalization": lambda x, g, b: F.batch_norm(
        x, torch.from_numpy(MEAN), torch.from_numpy(positive(4)).double(), g, b, eps=1e-3
    ),
    "GroupNormalization": lambda x, g, b: F.group_norm(x, 2, g, b),
    "InstanceNormalization": lambda x, g, b: F.instance_norm(x, weight=g, bias=b),
    "LayerNormalization-two-axes": lambda x, g, b: F.layer_norm(x, (3, 4), g, b, 1e-2),
    "LpNormalization": lambda x: F.normalize(x, dim=-1),
    "RMSNormalization": lambda x, g: F.rms_norm(x, (6,), g, 1e-5),
    "Conv-dilated": lambda x, w, b: conv2d(x, w, b, padding=(2, 1), dilation=(2, 3)),
    "Conv-each-channel": lambda x, w, b: conv2d(x, w, b, padding=1, groups=3),
    "Conv-each-channel-twice": lambda x, w, b: conv2d(x, w, b, groups=3),
    "Conv-grouped": lambda x, w, b: conv2d(x, w, b, groups=2),
    "Conv-grouped-strided-dilated": lambda x, w, b: conv2d(
        F.pad(x, (0, 1, 1, 2)), w, b, stride=2, dilation=(2, 1), groups=2
    ),
    "Conv-asymmetric-pads": lambda x, w, b: conv2d(F.pad(x, (1, 0, 0, 2)), w, b),
    "Conv-one-axis": lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1),
    "Conv-one-by-one-strided": lambda x, w, b: conv2d(x, w, b, stride=2),
    "Conv-padded": lambda x, w, b: conv2d(x, w, b, padding=1),
    "Conv-plain": conv2d,
    "Conv-strided": lambda x, w, b: conv2d(x, w, b, stride=(2, 3), padding=1),
    "Conv-three-axes": lambda x, w, b: F.conv3d(x, w, b, stride=(2, 1, 1)),
    "AveragePool-padded": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "AveragePool-padded-zeros": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "AveragePool-rounded-up": lambda x: F.avg_pool2d(
        x, 3, 2, ceil_mode=True, count_include_pad=False
    ),
    "MaxPool-dilated": lambda x: F.max_pool2d(x, 2, 1, dilation=(2, 3)),
    "MaxPool-padded": lambda x: F.max_pool2d(x, 3, 2, 1),
    "MaxPool-rounded-up": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
}
"""Case → the same in torch."""

FIXED = {"BatchNormalization": ("m", "v")}
"""Values that torch does not differentiate by."""


def main() -> None:
    arrays = {}
    for case in cases():
        if case.name in OPERATORS:
            fixed = FIXED.get(case.name, ())
            values = {
                name: torch.from_numpy(array.astype(np.float64)).requires_grad_()
                for name, array in case.values().items()
                if name not in fixed
            }
            output = OPERATORS[case.name](*values.values())
            direction = np.random.default_rng(1).standard_normal(tuple(output.shape))
            loss = (output * torch.from_numpy(direction.astype(np.float32))).sum()
            found = torch.autograd.grad(loss, list(values.values()))
            for name, gradient in zip(values, found, strict=True):
                arrays[f"{case.name}/{name}"] = gradient.numpy()
    assert {key.rpartition("/")[0] for key in arrays} == set(OPERATORS)
    np.savez_compressed(HERE / "operators.npz", allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
