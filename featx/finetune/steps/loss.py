"""The head and the loss of a batch, as nodes behind a tail."""

from onnx import GraphProto, TensorProto, helper

HEAD_WEIGHT, HEAD_BIAS = "featx/head/weight", "featx/head/bias"
"""Names of the head among the parameters: shapes (C, D) and (C,)."""

TARGETS, LOGITS, LOSS = "featx/targets", "featx/logits", "featx/loss"


def append_head(graph: GraphProto, embedding: str) -> None:
    """Make `LOGITS`, (B, C), of the embeddings (B, D): their product with the head."""
    graph.node.append(
        helper.make_node("Gemm", [embedding, HEAD_WEIGHT, HEAD_BIAS], [LOGITS], transB=1)
    )


def append_loss(graph: GraphProto) -> None:
    """Make `LOSS`, one number: the cross-entropy of `LOGITS` with the input `TARGETS`.

    Targets (B, C) are soft and weighted already: each row sums to the weight of its item, and all
    of them to 1.  So class and sample weights, smoothing, mixing and padding need no more nodes.
    """
    logs, products, total = (f"{LOSS}/{name}" for name in ("log_probabilities", "products", "sum"))
    graph.input.append(helper.make_tensor_value_info(TARGETS, TensorProto.FLOAT, ["rows", "C"]))
    graph.node.extend(
        [
            helper.make_node("LogSoftmax", [LOGITS], [logs], axis=-1),
            helper.make_node("Mul", [logs, TARGETS], [products]),
            helper.make_node("ReduceSum", [products], [total], keepdims=0),
            helper.make_node("Neg", [total], [LOSS]),
        ]
    )
