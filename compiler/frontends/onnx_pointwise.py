"""Converters of ONNX operators by element: functions of the table, or some of them.

In: a node and its draft. Out: `add`, `relu`, `elementwise` and `cast` operators; what is a chain of
them becomes one kernel later (fuse-pointwise).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np
from onnx import TensorProto

from ...backend.isa.errors import DstcError
from .draft import FLOAT, INTEGER, Draft
from .onnx_build import Build
from .onnx_node import Node, type_name

Converter = Callable[[Draft, Node], None]

_FLOAT_CODES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_INTEGER_CODES = (
    TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
)  # fmt: skip


def function(name: str) -> Converter:
    """A function with the node's inputs as operands."""

    def convert(draft: Draft, node: Node) -> None:
        b = Build(draft, node)
        b.give(b.call(name, *node.inputs))

    return convert


def _variadic(name: str) -> Converter:
    """Two by two, from the left."""

    def convert(draft: Draft, node: Node) -> None:
        b = Build(draft, node)
        b.give(reduce(lambda x, y: b.call(name, x, y), node.inputs))

    return convert


def _composed(body: Callable[[Build, str, Node], str]) -> Converter:
    """A function of the first input and attributes, made of several."""

    def convert(draft: Draft, node: Node) -> None:
        b = Build(draft, node)
        b.give(body(b, node.inputs[0], node))

    return convert


def _mean(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    total = reduce(lambda x, y: b.call("add", x, y), node.inputs)
    b.give(b.call("mul", total, 1 / len(node.inputs)))


def _mod(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    x, y = node.inputs
    if not node.flag("fmod"):
        b.give(b.call("mod", x, y))
        return
    if draft.integer(x):
        b.give(b.call("sub", x, b.call("mul", b.call("div", x, y), y)))
        return
    rest = b.call("mod", b.call("abs", x), b.call("abs", y))
    b.give(b.call("where", b.call("lt", x, 0.0), b.call("neg", rest), rest))


_POWERS: dict[float, Callable[[Build, str], str]] = {
    1.0: lambda b, x: x,
    2.0: lambda b, x: b.call("mul", x, x),
    3.0: lambda b, x: b.call("mul", b.call("mul", x, x), x),
    0.5: lambda b, x: b.call("sqrt", x),
    -0.5: lambda b, x: b.call("rsqrt", x),
    -1.0: lambda b, x: b.call("reciprocal", x),
}
"""Exponents that need no logarithm."""


def _pow(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    x, y = node.inputs
    exponent = draft.number(y)
    plain = not draft.integer(x) or exponent in (1.0, 2.0, 3.0)
    if exponent in _POWERS and plain and len(draft.shape(y)) <= len(draft.shape(x)):
        b.give(_POWERS[exponent](b, x))
        return
    integers = draft.integer(x)
    result = b.call("pow", b.cast(x, FLOAT), b.cast(y, FLOAT))
    b.give(b.cast(b.call("round", result), INTEGER) if integers else result)


def _limit(draft: Draft, node: Node, index: int, name: str) -> str | float | None:
    """A bound of Clip: a value, a number, or None for no bound."""
    value = node.optional(index)
    if value is None:
        return node.attrs.get(name)
    number = draft.number(value)
    return value if number is None else number


def _clip(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    low, high = _limit(draft, node, 1, "min"), _limit(draft, node, 2, "max")
    if low is not None and not (isinstance(low, float) and low <= -3.4e38):
        zero = low == 0 and not draft.integer(x)
        x = b.call("relu", x) if zero and isinstance(low, float) else b.call("max", x, low)
    if high is not None and not (isinstance(high, float) and high >= 3.4e38):
        x = b.call("min", x, high)
    b.give(x)


def _cast(draft: Draft, node: Node) -> None:
    b, x, to = Build(draft, node), node.inputs[0], node.attrs["to"]
    _cast_to(b, x, to)


def _cast_to(b: Build, x: str, to: int) -> None:
    if to in _FLOAT_CODES:
        b.give(b.cast(x, FLOAT))
    elif to == TensorProto.BOOL:
        b.give(b.call("ne", x, 0))
    elif to in _INTEGER_CODES:
        b.give(b.cast(x, INTEGER))
    else:
        raise DstcError(f"a cast to {type_name(to)} is not supported")


def _cast_like(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    b.give(b.cast(node.inputs[0], draft.dtype(node.inputs[1])))


def _where(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    condition, x, y = node.inputs
    b.give(b.call("where", condition, x, y))


def _gelu(b: Build, x: str, node: Node) -> str:
    return b.call("gelu_tanh" if node.attrs.get("approximate") == "tanh" else "gelu", x)


def _leaky(b: Build, x: str, node: Node) -> str:
    below = b.call("mul", b.call("min", x, 0.0), node.number("alpha", 0.01))
    return b.call("add", b.call("relu", x), below)


def _prelu(draft: Draft, node: Node) -> None:
    b, (x, slope) = Build(draft, node), node.inputs
    b.give(b.call("add", b.call("relu", x), b.call("mul", b.call("min", x, 0.0), slope)))


def _exponential(alpha: float, gamma: float, inner: bool = False) -> Callable[..., str]:
    """gamma (max(x, 0) + alpha (exp(min(x, 0)) - 1)); `inner`: exp(x / alpha)."""

    def body(b: Build, x: str, node: Node) -> str:
        a, g = node.number("alpha", alpha), node.number("gamma", gamma)
        low = b.call("min", x, 0.0)
        low = b.call("mul", low, 1 / a) if inner else low
        grown = b.call("mul", b.call("sub", b.call("exp", low), 1.0), a)
        total = b.call("add", b.call("relu", x), grown)
        return total if g == 1 else b.call("mul", total, g)

    return body


def _ramp(b: Build, x: str, alpha: float, beta: float) -> str:
    """max(0, min(1, alpha x + beta))."""
    line = b.call("add", b.call("mul", x, alpha), beta)
    return b.call("min", b.call("relu", line), 1.0)


def _swish(b: Build, x: str, node: Node) -> str:
    alpha = node.number("alpha", 1.0)
    inner = x if alpha == 1 else b.call("mul", x, alpha)
    return b.call("mul", x, b.call("sigmoid", inner))


def _is_nan(b: Build, x: str, node: Node) -> str:
    del node
    return b.call("ne", x, x)


def _is_inf(b: Build, x: str, node: Node) -> str:
    up, down = node.flag("detect_positive", True), node.flag("detect_negative", True)
    if up and down:
        return b.call("eq", b.call("abs", x), math.inf)
    return b.call("eq", x, math.inf if up else -math.inf)


def _hyperbolic(sign: float) -> Callable[[Build, str, Node], str]:
    """(exp(x) + sign exp(-x)) / 2."""

    def body(b: Build, x: str, node: Node) -> str:
        del node
        up, down = b.call("exp", x), b.call("exp", b.call("neg", x))
        return b.call("mul", b.call("add" if sign > 0 else "sub", up, down), 0.5)

    return body


def _tan(b: Build, x: str, node: Node) -> str:
    del node
    return b.call("div", b.call("sin", x), b.call("cos", x))


def _along(b: Build, value: str, axis: int, rank: int) -> str:
    """A vector of scales or zero points along an axis; a number as it is."""
    size = b.shape(value)
    if len(size) != 1 or size[0] == 1:
        return b.reshape(value, (1,) * rank)
    return b.reshape(value, [size[0] if d == axis else 1 for d in range(rank)])


def _quantize(draft: Draft, node: Node) -> None:
    """round(x / scale) + zero, kept within the type's range."""
    b, x = Build(draft, node), node.inputs[0]
    rank = len(draft.shape(x))
    axis, zero = int(node.attrs.get("axis", 1)) % max(rank, 1), node.optional(2)
    kind = np.dtype(np.uint8)
    if zero is not None:
        known = b.known(zero)
        if known is None:
            raise DstcError("the zero point is computed; it must be constant")
        kind = known.dtype
    if kind.kind not in "iu" or kind.itemsize > 2:
        raise DstcError(f"quantising to {kind.name} is not supported; 8 and 16 bits are")
    value = b.call("round", b.call("div", x, _along(b, node.inputs[1], axis, rank)))
    if zero is not None:
        value = b.call("add", value, _along(b, b.cast(zero, FLOAT), axis, rank))
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    value = b.call("min", b.call("max", value, float(low)), float(high))
    b.give(b.cast(value, INTEGER))


def _dequantize(draft: Draft, node: Node) -> None:
    """(x - zero) times scale."""
    b, x = Build(draft, node), node.inputs[0]
    rank = len(draft.shape(x))
    axis, zero = int(node.attrs.get("axis", 1)) % max(rank, 1), node.optional(2)
    if node.attrs.get("block_size"):
        raise DstcError("block_size is not supported")
    value = b.cast(x, FLOAT)
    if zero is not None:
        value = b.call("sub", value, _along(b, b.cast(zero, FLOAT), axis, rank))
    b.give(b.call("mul", value, _along(b, node.inputs[1], axis, rank)))


def _eye_like(draft: Draft, node: Node) -> None:
    shape = draft.shape(node.inputs[0])
    to = node.attrs.get("dtype")
    whole = to in _INTEGER_CODES if to is not None else draft.integer(node.inputs[0])
    array = np.eye(*shape, k=int(node.attrs.get("k", 0)))
    draft.constants[node.output] = array.astype(np.int64 if whole else np.float32)


def _not(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    b.give(b.call("not", node.inputs[0]))


def _trilu(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    rows, columns = draft.shape(x)[-2:]
    k = node.constant_ints(draft, 1, "k") or (0,)
    keep = np.ones((rows, columns), np.bool_)
    keep = np.triu(keep, k[0]) if node.flag("upper", True) else np.tril(keep, k[0])
    b.give(b.call("where", b.constant("triangle", keep), x, 0.0))


POINTWISE: dict[str, Converter] = {
    "Abs": function("abs"),
    "Add": function("add"),
    "And": function("and"),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": function("ceil"),
    "Celu": _composed(_exponential(1.0, 1.0, inner=True)),
    "Clip": _clip,
    "Cos": function("cos"),
    "Cosh": _composed(_hyperbolic(1)),
    "DequantizeLinear": _dequantize,
    "Div": function("div"),
    "Elu": _composed(_exponential(1.0, 1.0)),
    "Equal": function("eq"),
    "Erf": function("erf"),
    "Exp": function("exp"),
    "EyeLike": _eye_like,
    "Floor": function("floor"),
    "Gelu": _composed(_gelu),
    "Greater": function("gt"),
    "GreaterOrEqual": function("ge"),
    "HardSigmoid": _composed(
        lambda b, x, n: _ramp(b, x, n.number("alpha", 0.2), n.number("beta", 0.5))
    ),
    "HardSwish": _composed(lambda b, x, n: b.call("mul", x, _ramp(b, x, 1 / 6, 0.5))),
    "IsInf": _composed(_is_inf),
    "IsNaN": _composed(_is_nan),
    "LeakyRelu": _composed(_leaky),
    "Less": function("lt"),
    "LessOrEqual": function("le"),
    "Log": function("log"),
    "Max": _variadic("max"),
    "Mean": _mean,
    "Min": _variadic("min"),
    "Mish": _composed(lambda b, x, n: b.call("mul", x, b.call("tanh", b.call("softplus", x)))),
    "Mod": _mod,
    "Mul": function("mul"),
    "Neg": function("neg"),
    "Not": _not,
    "Or": function("or"),
    "PRelu": _prelu,
    "Pow": _pow,
    "QuantizeLinear": _quantize,
    "Reciprocal": function("reciprocal"),
    "Relu": function("relu"),
    "Round": function("round"),
    "Selu": _composed(_exponential(1.6732632423543772, 1.0507009873554805)),
    "Sigmoid": function("sigmoid"),
    "Sign": function("sign"),
    "Sin": function("sin"),
    "Sinh": _composed(_hyperbolic(-1)),
    "Softplus": function("softplus"),
    "Softsign": _composed(lambda b, x, n: b.call("div", x, b.call("add", b.call("abs", x), 1.0))),
    "Sqrt": function("sqrt"),
    "Sub": function("sub"),
    "Sum": _variadic("add"),
    "Swish": _composed(_swish),
    "Tan": _composed(_tan),
    "Tanh": function("tanh"),
    "Trilu": _trilu,
    "Where": _where,
    "Xor": function("xor"),
}
"""ONNX operators by element."""
