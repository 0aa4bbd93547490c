"""Converters of ONNX operators along rows: sums, normalisations, softmax.

In: a node and its draft. Out: `reduce`, `normalize` and `softmax` operators with functions by
element around them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...backend.isa.errors import DstcError
from .draft import Draft
from .onnx_build import Build
from .onnx_node import Node

Converter = Callable[[Draft, Node], None]
Unary = Callable[[Build, str], str]


def _axes(draft: Draft, node: Node, rank: int) -> list[int]:
    given = node.constant_ints(draft, 1, "axes")
    if given is None and "axes" in node.attrs:
        given = node.ints("axes", ())
    if not given:
        return [] if node.flag("noop_with_empty_axes") else list(range(rank))
    return [a % rank for a in given]


def _square(b: Build, x: str) -> str:
    return b.call("mul", x, x)


def _reduce(kind: str, before: Unary | None = None, behind: Unary | None = None) -> Converter:
    """`behind` of the reduction of `before` of the elements."""

    def convert(draft: Draft, node: Node) -> None:
        b, x = Build(draft, node), node.inputs[0]
        axes = _axes(draft, node, len(draft.shape(x)))
        value = x if before is None else before(b, x)
        if axes:
            value = b.reduce(kind, value, axes, node.flag("keepdims", True))
        b.give(value if behind is None else behind(b, value))

    return convert


def _log_sum_exp(draft: Draft, node: Node) -> None:
    """max + log(sum(exp(x - max))), which does not overflow."""
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    axes = _axes(draft, node, len(shape))
    top = b.reduce("max", x, axes)
    total = b.reduce("sum", b.call("exp", b.call("sub", x, top)), axes)
    value = b.call("add", b.call("log", total), top)
    if not node.flag("keepdims", True):
        value = b.reshape(value, [n for d, n in enumerate(shape) if d not in axes])
    b.give(value)


def _softmax(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    b.give(b.softmax(x, node.axis(len(draft.shape(x)), -1)))


def _log_softmax(draft: Draft, node: Node) -> None:
    """x - max - log(sum(exp(x - max)))."""
    b, x = Build(draft, node), node.inputs[0]
    axis = node.axis(len(draft.shape(x)), -1)
    moved = b.call("sub", x, b.reduce("max", x, [axis]))
    total = b.reduce("sum", b.call("exp", moved), [axis])
    b.give(b.call("sub", moved, b.call("log", total)))


def _affine(b: Build, value: str, scale: str | None, bias: str | None) -> str:
    if scale is not None:
        value = b.call("mul", value, scale)
    return value if bias is None else b.call("add", value, bias)


def _layer_norm(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    if any(node.outputs[1:]):
        raise DstcError("its outputs mean and inverse deviation are not supported")
    axis = node.axis(len(draft.shape(x)), -1)
    value = b.normalize(x, axis, node.number("epsilon", 1e-5))
    b.give(_affine(b, value, node.inputs[1], node.optional(2)))


def _rms_norm(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    axis = node.axis(len(draft.shape(x)), -1)
    value = b.normalize(x, axis, node.number("epsilon", 1e-5), centred=False)
    b.give(_affine(b, value, node.inputs[1], None))


def _channels(b: Build, value: str, rank: int) -> str:
    """A vector over channels against N x C x ..."""
    return b.reshape(value, (b.shape(value)[0], *[1] * (rank - 2)))


def _instance_norm(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    rank = len(draft.shape(x))
    value = b.normalize(x, 2, node.number("epsilon", 1e-5))
    b.give(_affine(b, value, *(_channels(b, v, rank) for v in node.inputs[1:3])))


def _group_norm(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    groups = int(node.attrs["num_groups"])
    apart = b.reshape(x, (shape[0], groups, math.prod(shape[1:]) // groups))
    value = b.reshape(b.normalize(apart, 2, node.number("epsilon", 1e-5)), shape)
    scale, bias = node.inputs[1:3]
    if draft.shape(scale) != (shape[1],):  # opset 18: a number a group
        repeat = shape[1] // groups
        scale, bias = (
            b.reshape(b.expand(b.reshape(v, (groups, 1)), (groups, repeat)), (shape[1],))
            for v in (scale, bias)
        )
    rank = len(shape)
    b.give(_affine(b, value, _channels(b, scale, rank), _channels(b, bias, rank)))


def _local_response(draft: Draft, node: Node) -> None:
    """x / (bias + alpha / size * the sum of squares of neighbouring channels) ** beta."""
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    size = int(node.attrs["size"])
    before = (size - 1) // 2
    low = [before if d == 1 else 0 for d in range(len(shape))]
    wide = [n + size - 1 if d == 1 else n for d, n in enumerate(shape)]
    around = b.pad(_square(b, x), low, wide)
    total = b.part(around, 1, 0, shape[1])
    for i in range(1, size):
        total = b.call("add", total, b.part(around, 1, i, shape[1]))
    scaled = b.call("mul", total, node.number("alpha", 1e-4) / size)
    base = b.call("add", scaled, node.number("bias", 1.0))
    b.give(b.call("mul", x, b.call("pow", base, -node.number("beta", 0.75))))


def _lp_norm(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    axis = node.axis(len(draft.shape(x)), -1)
    if int(node.attrs.get("p", 2)) == 1:
        total = b.reduce("sum", b.call("abs", x), [axis])
    else:
        total = b.call("sqrt", b.reduce("sum", _square(b, x), [axis]))
    b.give(b.call("div", x, total))


def _global(kind: str) -> Converter:
    """Over all of an image."""

    def convert(draft: Draft, node: Node) -> None:
        b, x = Build(draft, node), node.inputs[0]
        b.give(b.reduce(kind, x, range(2, len(draft.shape(x)))))

    return convert


def _cumulative(draft: Draft, node: Node) -> None:
    """Sums up to each element: masked copies, summed."""
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    axis = draft.number(node.inputs[1])
    if axis is None:
        raise DstcError("the axis is computed; it must be constant")
    d = int(axis) % len(shape)
    count = shape[d]
    keep = np.tril(np.ones((count, count), np.bool_), -1 if node.flag("exclusive") else 0)
    keep = keep.T if node.flag("reverse") else keep
    keep = keep.reshape(count, count, *[1] * (len(shape) - d - 1))
    apart = b.reshape(x, (*shape[:d], 1, *shape[d:]))
    zero = draft.fill(0, draft.dtype(x))
    masked = b.call("where", b.constant("below", keep), apart, zero)
    b.give(b.reduce("sum", masked, [d + 1], keep=False))


ROWS: dict[str, Converter] = {
    "CumSum": _cumulative,
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("max"),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_norm,
    "RMSNormalization": _rms_norm,
    "ReduceL1": _reduce("sum", lambda b, x: b.call("abs", x)),
    "ReduceL2": _reduce("sum", _square, lambda b, x: b.call("sqrt", x)),
    "ReduceLogSum": _reduce("sum", None, lambda b, x: b.call("log", x)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceProd": _reduce("prod"),
    "ReduceSum": _reduce("sum"),
    "ReduceSumSquare": _reduce("sum", _square),
    "Softmax": _softmax,
}
"""ONNX operators along rows."""
