"""What is asked of a graph to recognise a pattern of nodes in it."""

from onnx import NodeProto, helper

from featx.backbone.graphs.graph import Graph


def unscaled(graph: Graph, name: str) -> tuple[str, float]:
    """Step over products with and divisions by one constant number.

    Returns
    -------
    str
        The value that is multiplied; empty if it is one constant number itself.
    float
        What it is multiplied by.
    """
    scale = 1.0
    while True:
        if (number := graph.constant(name)) is not None:
            return ("", scale * float(number.item())) if number.size == 1 else (name, scale)
        node = graph.maker(name)
        if node is None or node.op_type not in {"Mul", "Div"}:
            return name, scale
        constants = [graph.constant(item) for item in node.input]
        place = 1 if constants[1] is not None else 0
        number = constants[place]
        if number is None or number.size != 1 or (place == 0 and node.op_type == "Div"):
            return name, scale
        scale *= float(number.item()) ** (1 if node.op_type == "Mul" else -1)
        name = node.input[1 - place]


def only_reader(graph: Graph, node: NodeProto | None, operator: str) -> NodeProto | None:
    """Return the one node that reads a node's output, if it is of that operator."""
    if node is None:
        return None
    readers = graph.readers(node.output[0])
    return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None


def attribute(node: NodeProto, name: str, otherwise: object) -> object:
    """Return the value of an attribute."""
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return otherwise
