"""Scalar operations of arith and math as ONNX operators by element, and what steps of them are.

In: an operation in the body of a `linalg.generic` (or on tensors), its operands as `Value`s of the
iteration's shape. Out: a `Value`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation

from ...backend.isa.errors import DstcError
from .mlir_emit import FLOAT, INTEGER, TRUTH, Array, Emit, Made, Value, known, number

Rule = Callable[[Emit, Operation, list[Value]], Value]


@dataclass(frozen=True)
class _By:
    """One ONNX operator; `result`: element type if it is not that of the last operand."""

    op: str
    evaluate: Callable[..., Any]
    result: str = ""

    def __call__(self, e: Emit, op: Operation, values: list[Value]) -> Value:
        return e.apply(self.op, self.evaluate, values, self.result or values[-1].dtype)


def _add(e: Emit, op: Operation, v: list[Value]) -> Value:
    a, b = v
    for x, c in ((a, b), (b, a)):
        if c.number == 0 and x.shape == np.broadcast_shapes(a.shape, b.shape):
            return x
    return _channelwise(e, "Add", a, b) or e.apply("Add", np.add, v, a.dtype)


def _sub(e: Emit, op: Operation, v: list[Value]) -> Value:
    a, b = v
    if b.number == 0 and a.shape == np.broadcast_shapes(a.shape, b.shape):
        return a
    return _channelwise(e, "Sub", a, b) or e.apply("Sub", np.subtract, v, a.dtype)


def _mul(e: Emit, op: Operation, v: list[Value]) -> Value:
    a, b = v
    for x, c in ((a, b), (b, a)):
        if c.number == 1 and x.shape == np.broadcast_shapes(a.shape, b.shape):
            return x
        if c.number is not None and (mean := _mean(e, x, 1 / c.number if c.number else 0.0)):
            return mean
        if (made := _through(c).by("Reciprocal")) is not None and (
            n := _normal(e, x, made.inputs[0])
        ):
            return n
    return _channelwise(e, "Mul", a, b) or e.apply("Mul", np.multiply, v, a.dtype)


def _div(e: Emit, op: Operation, v: list[Value]) -> Value:
    a, b = v
    if a.dtype != FLOAT:
        return e.apply("Div", _truncated, v, a.dtype)
    if b.number == 1 and a.shape == np.broadcast_shapes(a.shape, b.shape):
        return a
    if b.number is not None and (mean := _mean(e, a, b.number)):
        return mean
    if a.number == 1:
        sigmoid = _sigmoid(e, b)
        return sigmoid or e.apply("Reciprocal", _inverse, [b], FLOAT)
    found = _softmax(e, a, b) or _normal(e, a, b) or _channelwise(e, "Div", a, b)
    return found or e.apply("Div", np.divide, v, FLOAT)


def _through(value: Value) -> Value:
    """Before it was reshaped or repeated."""
    while (made := value.by("Reshape", "Expand")) is not None:
        value = made.inputs[0]
    return value


def _mean(e: Emit, total: Value, count: float) -> Value | None:
    """total / count for a sum of `count` elements."""
    made = total.by("ReduceSum")
    if made is None:
        return None
    x = made.inputs[0]
    if not math.isclose(math.prod(x.shape) / math.prod(total.shape), count, rel_tol=1e-6):
        return None
    return e.node("ReduceMean", [x, made.inputs[1]], total.shape, keepdims=1)


def _axis(made: Any, rank: int) -> int | None:
    """The last dimension that a reduction goes along, if it is one."""
    axes = made.inputs[1].array
    return int(axes[0]) % rank if axes is not None and axes.size == 1 else None


def _softmax(e: Emit, top: Value, below: Value) -> Value | None:
    """exp(x - max) / sum."""
    total, made = _through(below).by("ReduceSum"), top.by("Exp")
    if total is None or made is None or total.inputs[0] is not top:
        return None
    moved = made.inputs[0].by("Sub")
    x = made.inputs[0] if moved is None else moved.inputs[0]
    axis = _axis(total, len(top.shape))
    if axis is None or moved is None:
        return None
    most = _through(moved.inputs[1]).by("ReduceMax")
    if most is None or most.inputs[0] is not x or _axis(most, len(x.shape)) != axis:
        return None
    return e.node("Softmax", [x], x.shape, axis=axis)


def _sigmoid(e: Emit, below: Value) -> Value | None:
    """1 / (1 + exp(-x))."""
    made = below.by("Add")
    if made is None:
        return None
    for a, b in (made.inputs, made.inputs[::-1]):
        if b.number == 1 and (exp := a.by("Exp")) and (neg := exp.inputs[0].by("Neg")):
            return e.node("Sigmoid", [neg.inputs[0]], below.shape)
    return None


def _normal(e: Emit, centred: Value, deviation: Value) -> Value | None:
    """(x - mean) / sqrt(mean of its square + epsilon), along the last dimensions."""
    root = _through(deviation).by("Sqrt")
    shifted = root.inputs[0].by("Add") if root is not None else None
    if shifted is None or centred.made is None:
        return None
    for square, small in (shifted.inputs, shifted.inputs[::-1]):
        mean = _through(square).by("ReduceMean")
        epsilon = small.number
        times = mean.inputs[0].by("Mul") if mean is not None else None
        if mean is None or epsilon is None or times is None:
            continue
        axes = mean.inputs[1].array
        rank = len(centred.shape)
        assert axes is not None
        first = rank - axes.size
        if times.inputs != (centred, centred) or list(axes) != list(range(first, rank)):
            continue
        moved = centred.by("Sub")
        middle = _through(moved.inputs[1]).by("ReduceMean") if moved is not None else None
        if moved is None or middle is None or middle.inputs[0] is not moved.inputs[0]:
            continue
        if not np.array_equal(middle.inputs[1].array, axes):  # pyright: ignore[reportArgumentType]
            continue
        x = moved.inputs[0]
        ones = known(np.ones(x.shape[first:], np.float32))
        return e.node("LayerNormalization", [x, ones], x.shape, axis=first, epsilon=epsilon)
    return None


def _channelwise(e: Emit, op: str, a: Value, b: Value) -> Value | None:
    """Scales and shifts behind a convolution, by channel, as one batch norm."""
    if op in ("Add", "Mul") and a.array is not None:
        a, b = b, a
    made = a.by("Conv", "BatchNormalization")
    if made is None or b.array is None or a.made is None:
        return None
    rank, channels = len(a.shape), a.shape[1]
    shape = (*[1] * (rank - len(b.shape)), *b.shape)
    if any(n > 1 for d, n in enumerate(shape) if d != 1):
        return None
    c = np.broadcast_to(b.array.reshape(-1), channels).astype(np.float64)
    if made.op == "Conv" and op in ("Add", "Sub"):
        return _biased(e, a, made, c if op == "Add" else -c)
    if made.inputs[0].by("Conv") is None and made.inputs[1].array is None:
        return None
    base, scale, shift = a, np.ones(channels), np.zeros(channels)
    if made.op == "BatchNormalization":
        base = made.inputs[0]
        given = [v.array for v in made.inputs[1:3]]
        assert given[0] is not None and given[1] is not None
        scale, shift = given[0].astype(np.float64), given[1].astype(np.float64)
    with np.errstate(all="ignore"):
        scale, shift = {
            "Add": (scale, shift + c), "Sub": (scale, shift - c),
            "Mul": (scale * c, shift * c), "Div": (scale / c, shift / c),
        }[op]  # fmt: skip
    vectors = (scale, shift, np.zeros(channels), np.ones(channels))
    stored = [known(x.astype(np.float32)) for x in vectors]
    return e.node("BatchNormalization", [base, *stored], a.shape, epsilon=0.0)


def _biased(e: Emit, value: Value, conv: Made, vector: Array) -> Value | None:
    """A convolution with a further bias, one a filter."""
    x, w, *old = conv.inputs
    if old and old[0].array is None:
        return None
    bias = vector if not old else old[0].array + vector
    inputs = [x, w, known(np.asarray(bias).astype(np.float32))]
    label, e.label = e.label, value.name  # it stays what it is called
    made = e.node("Conv", inputs, value.shape, **dict(conv.attrs))
    e.label = label
    return made


def _larger(e: Emit, op: Operation, v: list[Value]) -> Value:
    for x, c in (v, v[::-1]):
        if c.number == 0 and x.dtype == FLOAT and x.array is None:
            return e.apply("Relu", _positive, [x], FLOAT)
    return e.apply("Max", np.maximum, v, v[0].dtype)


def _smaller(e: Emit, op: Operation, v: list[Value]) -> Value:
    return e.apply("Min", np.minimum, v, v[0].dtype)


_RELATIONS: dict[str, tuple[str, Callable[..., Any]]] = {
    "eq": ("Equal", np.equal), "gt": ("Greater", np.greater), "lt": ("Less", np.less),
    "ge": ("GreaterOrEqual", np.greater_equal), "le": ("LessOrEqual", np.less_equal),
}  # fmt: skip
_FLOAT_PREDICATES = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord",
    "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip
_INTEGER_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


def predicate(op: Operation) -> str:
    """eq, ne, lt, le, gt, ge, or the predicate's own name if it is none of these."""
    at = cast("IntegerAttr[Any]", op.properties["predicate"]).value.data
    name = (_FLOAT_PREDICATES if op.name == "arith.cmpf" else _INTEGER_PREDICATES)[at]
    return name[1:] if name[0] in "ous" and name[1:] in (*_RELATIONS, "ne") else name


def _compare(e: Emit, op: Operation, v: list[Value]) -> Value:
    name = predicate(op)
    if name in ("true", "false"):
        return number(name == "true", TRUTH)
    if name in ("uno", "ord"):
        nan = [e.apply("IsNaN", np.isnan, [x], TRUTH) for x in v]
        either = e.apply("Or", np.logical_or, nan, TRUTH)
        return either if name == "uno" else e.apply("Not", np.logical_not, [either], TRUTH)
    if name == "ne":
        same = e.apply("Equal", np.equal, v, TRUTH)
        return e.apply("Not", np.logical_not, [same], TRUTH)
    onnx, evaluate = _RELATIONS[name]
    return e.apply(onnx, evaluate, v, TRUTH)


def _select(e: Emit, op: Operation, v: list[Value]) -> Value:
    """Where; a comparison's own operands make a maximum or minimum."""
    condition, a, b = v
    made = condition.by("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    if made is not None:
        x, y = made.inputs
        same = x is a and _equal(y, b)
        if same or (_equal(y, a) and x is b):
            larger = made.op.startswith("Greater") == same
            return (_larger if larger else _smaller)(e, op, [a, b])
    return e.apply("Where", np.where, v, a.dtype)


def _equal(a: Value, b: Value) -> bool:
    return a is b or (a.number is not None and a.number == b.number)


def _logic(onnx: str, evaluate: Callable[..., Any]) -> Rule:
    def rule(e: Emit, op: Operation, v: list[Value]) -> Value:
        if v[0].dtype != TRUTH:
            raise DstcError(f"{op.name} of integers is not supported, only of truth values")
        return e.apply(onnx, evaluate, v, TRUTH)

    return rule


def _cast(dtype: str) -> Rule:
    return lambda e, op, v: e.cast(v[0], dtype)


def _same(e: Emit, op: Operation, v: list[Value]) -> Value:
    return v[0]


def _signed(e: Emit, op: Operation, v: list[Value]) -> Value:
    """extsi: true is -1."""
    if v[0].dtype != TRUTH:
        return v[0]
    return e.apply("Neg", np.negative, [e.cast(v[0], INTEGER)], INTEGER)


def _cut(e: Emit, op: Operation, v: list[Value]) -> Value:
    """trunci: to i1, the lowest bit; else the value must fit."""
    if getattr(getattr(op.results[0].type, "width", None), "data", 64) != 1:
        return v[0]
    two = e.apply("Mod", np.mod, [v[0], number(2, INTEGER)], INTEGER)
    return e.cast(two, TRUTH)


def _round(e: Emit, op: Operation, v: list[Value]) -> Value:
    """Halves away from zero."""
    size = e.apply(
        "Floor", np.floor, [_add(e, op, [_call(e, "Abs", np.abs, v), number(0.5)])], FLOAT
    )
    return e.apply("Mul", np.multiply, [_call(e, "Sign", np.sign, v), size], FLOAT)


def _call(e: Emit, onnx: str, evaluate: Callable[..., Any], v: Sequence[Value]) -> Value:
    return e.apply(onnx, evaluate, v, v[-1].dtype)


def _rsqrt(e: Emit, op: Operation, v: list[Value]) -> Value:
    return _call(e, "Reciprocal", _inverse, [_call(e, "Sqrt", np.sqrt, v)])


def _after(rule: Rule, factor: float) -> Rule:
    """rule(x) times a number."""
    return lambda e, op, v: _mul(e, op, [rule(e, op, v), number(factor)])


def _power(e: Emit, op: Operation, v: list[Value]) -> Value:
    x, y = v[0], e.cast(v[1], FLOAT)
    if y.number == 2:
        return _mul(e, op, [x, x])
    if y.number == 0.5:
        return _call(e, "Sqrt", np.sqrt, [x])
    if y.number == -0.5:
        return _rsqrt(e, op, [x])
    return e.apply("Pow", np.power, [x, y], FLOAT)


_log = _By("Log", np.log)
_exp = _By("Exp", np.exp)


def _remainder(e: Emit, op: Operation, v: list[Value]) -> Value:
    return e.apply("Mod", np.fmod, v, v[0].dtype, fmod=1)


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float32])(x)


def _inverse(x: Array) -> Array:
    return 1 / x


def _truncated(x: Array, y: Array) -> Array:
    return np.trunc(x / y)


def _positive(x: Array) -> Array:
    return np.maximum(x, 0)


RULES: dict[str, Rule] = {
    "arith.addf": _add, "arith.addi": _add, "arith.subf": _sub, "arith.subi": _sub,
    "arith.mulf": _mul, "arith.muli": _mul, "arith.divf": _div, "arith.divsi": _div,
    "arith.remf": _remainder, "arith.remsi": _remainder,
    "arith.negf": _By("Neg", np.negative),
    "arith.maximumf": _larger, "arith.maxnumf": _larger, "arith.maxsi": _larger,
    "arith.minimumf": _smaller, "arith.minnumf": _smaller, "arith.minsi": _smaller,
    "arith.cmpf": _compare, "arith.cmpi": _compare, "arith.select": _select,
    "arith.andi": _logic("And", np.logical_and), "arith.ori": _logic("Or", np.logical_or),
    "arith.xori": _logic("Xor", np.logical_xor),
    "arith.extf": _same, "arith.truncf": _same, "arith.extsi": _signed, "arith.trunci": _cut,
    "arith.extui": _cast(INTEGER), "arith.index_cast": _same, "arith.index_castui": _same,
    "arith.sitofp": _cast(FLOAT), "arith.uitofp": _cast(FLOAT),
    "arith.fptosi": _cast(INTEGER), "arith.fptoui": _cast(INTEGER),
    "math.absf": _By("Abs", np.abs), "math.absi": _By("Abs", np.abs),
    "math.ceil": _By("Ceil", np.ceil), "math.floor": _By("Floor", np.floor),
    "math.round": _round, "math.roundeven": _By("Round", np.round),
    "math.trunc": lambda e, op, v: e.cast(e.cast(v[0], INTEGER), FLOAT),
    "math.exp": _exp,
    "math.exp2": lambda e, op, v: _exp(e, op, [_mul(e, op, [v[0], number(math.log(2))])]),
    "math.expm1": lambda e, op, v: _sub(e, op, [_exp(e, op, v), number(1)]),
    "math.log": _log, "math.log2": _after(_log, 1 / math.log(2)),
    "math.log10": _after(_log, 1 / math.log(10)),
    "math.log1p": lambda e, op, v: _log(e, op, [_add(e, op, [v[0], number(1)])]),
    "math.sqrt": _By("Sqrt", np.sqrt), "math.rsqrt": _rsqrt,
    "math.powf": _power, "math.fpowi": _power,
    "math.sin": _By("Sin", np.sin), "math.cos": _By("Cos", np.cos),
    "math.sinh": _By("Sinh", np.sinh), "math.cosh": _By("Cosh", np.cosh),
    "math.tan": _By("Tan", np.tan), "math.tanh": _By("Tanh", np.tanh),
    "math.erf": _By("Erf", _erf),
    "math.fma": lambda e, op, v: _add(e, op, [_mul(e, op, v[:2]), v[2]]),
}  # fmt: skip
"""Operation -> how it is built."""

NAMED: dict[str, str] = {
    "linalg.add": "arith.addf", "linalg.sub": "arith.subf", "linalg.mul": "arith.mulf",
    "linalg.div": "arith.divf", "linalg.max": "arith.maximumf", "linalg.min": "arith.minimumf",
    "linalg.exp": "math.exp", "linalg.log": "math.log", "linalg.abs": "math.absf",
    "linalg.ceil": "math.ceil", "linalg.floor": "math.floor", "linalg.negf": "arith.negf",
    "linalg.round": "math.round", "linalg.sqrt": "math.sqrt", "linalg.rsqrt": "math.rsqrt",
    "linalg.tanh": "math.tanh", "linalg.erf": "math.erf", "linalg.powf": "math.powf",
    "linalg.select": "arith.select", "linalg.copy": "arith.extf",
}  # fmt: skip
"""Named operations by element, and what they compute."""


def scalar(e: Emit, op: Operation, values: list[Value], name: str = "") -> Value:
    """The value of `op` (or of the operation called `name`)."""
    rule = RULES.get(name or op.name)
    if rule is None:
        raise DstcError(f"{op.name} is not supported; there are {', '.join(sorted(RULES))}")
    return rule(e, op, values)


__all__ = ["NAMED", "RULES", "predicate", "scalar"]
