"""Gradients of products of matrices."""

from math import prod

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter


def matmul(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of ``a @ b``, as NumPy multiplies stacks of matrices, and vectors."""
    a, b = call.inputs
    x, y = emit.shape(a), emit.shape(b)
    rows = a if len(x) > 1 else emit.reshape(a, (1, *x))
    columns = b if len(y) > 1 else emit.reshape(b, (*y, 1))
    stack = emit.shape(call.gradient)[: max(len(x), len(y)) - 2]
    made = (*stack, emit.shape(rows)[-2], emit.shape(columns)[-1])
    products = _products(emit, rows, columns, emit.reshape(call.gradient, made))
    return [emit.reshape(each, shape) for each, shape in zip(products, (x, y), strict=True)]


def _products(emit: Emitter, a: str, b: str, gradient: str) -> tuple[str, str]:
    if len(emit.shape(b)) == 2:
        return _weight_products(emit, a, b, gradient)
    return (
        emit.unbroadcast(emit.matmul(gradient, emit.swap(b)), emit.shape(a)),
        emit.unbroadcast(emit.matmul(emit.swap(a), gradient), emit.shape(b)),
    )


def _weight_products(emit: Emitter, a: str, b: str, gradient: str) -> tuple[str, str]:
    """Multiply by a single matrix in one product of all rows, not in one for each of a stack."""
    x, (_, columns) = emit.shape(a), emit.shape(b)
    rows = prod(x[:-1])
    flat, g = emit.reshape(a, (rows, x[-1])), emit.reshape(gradient, (rows, columns))
    return (
        emit.reshape(emit.node("Gemm", [g, b], (rows, x[-1]), transB=1), x),
        emit.inner(flat, g),
    )


def gemm(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of ``alpha * A @ B + beta * C``, A and B transposed or not."""
    a, b = call.inputs[:2]
    g, alpha = call.gradient, call.attribute("alpha", 1.0)
    flip_a, flip_b = call.attribute("transA", 0), call.attribute("transB", 0)
    # dA = g @ B' and dB = A' @ g, with both sides swapped where the operand itself is transposed.
    of_a = (b, g, flip_b, 1) if flip_a else (g, b, 0, 1 - flip_b)
    of_b = (g, a, 1, flip_a) if flip_b else (a, g, 1 - flip_a, 0)
    made: list[str | None] = [
        emit.inner(left, right, alpha=alpha)
        if (s, t) == (1, 0)
        else emit.node("Gemm", [left, right], emit.shape(name), alpha=alpha, transA=s, transB=t)
        for name, (left, right, s, t) in ((a, of_a), (b, of_b))
    ]
    if call.input(2):
        share = emit.unbroadcast(g, emit.shape(call.input(2)))
        made.append(emit.scale(share, call.attribute("beta", 1.0)))
    return made


def einsum(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of a sum of products: the same sum, output and operand exchanged."""
    sides = call.attribute("equation").replace(" ", "").split("->")
    operands = sides[0].split(",")
    simple = all(len(set(each)) == len(each) for each in operands) and "." not in sides[0]
    if not simple or len(sides) != 2:
        raise call.refused("only equations with '->', and without '...' and diagonals, have one")
    return [_exchanged(emit, call, [*operands], sides[1], place) for place in range(len(operands))]


def _exchanged(emit: Emitter, call: Call, operands: list[str], output: str, place: int) -> str:
    names, wanted = call.inputs, operands[place]
    sizes = dict(zip(wanted, emit.shape(names[place]), strict=True))
    names[place], operands[place] = call.gradient, output
    # An index that was summed over in this operand alone is one that the gradient is repeated for.
    seen = set("".join(operands))
    kept = "".join(each for each in wanted if each in seen)
    equation = f"{','.join(operands)}->{kept}"
    summed = emit.node("Einsum", names, [sizes[each] for each in kept], equation=equation)
    narrow = emit.reshape(summed, [sizes[each] if each in seen else 1 for each in wanted])
    return emit.expand(narrow, list(sizes.values()))
