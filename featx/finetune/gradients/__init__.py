"""Gradients of ONNX graphs: one small rule an operator.

A rule gets the emitter and the node (`call.Call`), and returns the name of the gradient of each
input, None where there is none.  It need not ask which ones are wanted: nodes that nothing needs
are left out in the end.  Adding an operator is one function and one line here.
"""

_ROOM = "featx.finetune.gradients"

_RULES = {
    "activation": {
        "Celu": "celu",
        "Clip": "clip",
        "Elu": "elu",
        "Gelu": "gelu",
        "HardSigmoid": "hard_sigmoid",
        "HardSwish": "hard_swish",
        "LeakyRelu": "leaky_relu",
        "Mish": "mish",
        "PRelu": "prelu",
        "Relu": "relu",
        "Selu": "selu",
        "Sigmoid": "sigmoid",
        "Softplus": "softplus",
        "Softsign": "softsign",
        "Swish": "swish",
        "Tanh": "tanh",
    },
    "arithmetic": {
        "Add": "add",
        "Div": "div",
        "Max": "extreme",
        "Mean": "mean",
        "Min": "extreme",
        "Mul": "mul",
        "Neg": "neg",
        "Pow": "power",
        "Sub": "sub",
        "Sum": "add",
        "Where": "where",
    },
    "convolution": {"Conv": "conv"},
    "elementwise": {
        "Abs": "absolute",
        "Cast": "cast",
        "Cos": "cos",
        "Erf": "erf",
        "Exp": "exp",
        "Log": "log",
        "Reciprocal": "reciprocal",
        "Sin": "sin",
        "Sqrt": "sqrt",
    },
    "indexing": {
        "Gather": "gather",
        "GatherElements": "gather_elements",
        "GatherND": "gather_nd",
        "Slice": "slices",
    },
    "layout": {
        "Concat": "concat",
        "Dropout": "dropout",
        "Expand": "expand",
        "Flatten": "reshape",
        "Identity": "reshape",
        "Pad": "pad",
        "Reshape": "reshape",
        "Split": "split",
        "Squeeze": "reshape",
        "Tile": "tile",
        "Transpose": "transpose",
        "Unsqueeze": "reshape",
    },
    "linear": {"Einsum": "einsum", "Gemm": "gemm", "MatMul": "matmul"},
    "normalisation": {
        "BatchNormalization": "batch",
        "GroupNormalization": "group",
        "InstanceNormalization": "instance",
        "LayerNormalization": "layer",
        "LpNormalization": "unit",
        "RMSNormalization": "root_mean_square",
    },
    "pooling": {
        "AveragePool": "average",
        "GlobalAveragePool": "global_average",
        "GlobalMaxPool": "global_largest",
        "MaxPool": "largest",
    },
    "reduction": {
        "ReduceL1": "absolute",
        "ReduceL2": "length",
        "ReduceLogSumExp": "log_sum_exp",
        "ReduceMax": "extreme",
        "ReduceMean": "mean",
        "ReduceMin": "extreme",
        "ReduceSum": "total",
        "ReduceSumSquare": "squares",
    },
    "softmax": {"LogSoftmax": "log_softmax", "Softmax": "softmax"},
}

GRADIENTS = {
    operator: f"{_ROOM}.{module}:{function}"
    for module, rules in _RULES.items()
    for operator, function in rules.items()
}
"""Operator → rule; one that is not ONNX's own has its domain before it, ``"com.microsoft:X"``."""
