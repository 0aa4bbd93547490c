"""How far a compiled model may be from its f32 reference: a rigorous bound, element by element.

In: a model graph and inputs. Out: per output the largest |compiled - reference| that f16 storage
and the order of f32 additions can cause. Nothing in it is fitted to results.

Two evaluations run side by side in f64, each value as centre and radius: the reference (the
model's own weights; the radius is f32 arithmetic) and the device (inputs, weights and stored
values rounded to f16 where the compiler rounds them; the radius is f32 accumulation, and the f16
neighbours that it could tip a rounding to). The bound is the distance of the centres plus both
radii. Where it depends on fusion whether a value is stored in f16 (before an addition or a
softmax), the radius covers both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..dialects.conv_window import ConvWindow
from ..dialects.interpreters.dstc import im2col, image_of
from ..runtime.host_ops import pool
from .graph import ModelGraph, OpNode

F64 = NDArray[np.float64]

F32_UNIT = 2.0**-24
"""Unit roundoff of f32."""

F16_UNIT, F16_TINY = 2.0**-11, 2.0**-25
"""Unit roundoff of f16 and half its smallest subnormal."""

SPARE = 8
"""Roundings beside the additions of a sum: conversion, bias, a batch norm folded into weights."""


class Ball(NamedTuple):
    """All values within `radius` of `centre`, elementwise."""

    centre: F64
    radius: F64

    @staticmethod
    def exact(values: NDArray[Any]) -> Ball:
        """A value without error."""
        centre = values.astype(np.float64)
        return Ball(centre, np.zeros_like(centre))

    def through(self, f: Callable[[F64], F64]) -> Ball:
        """The image under a monotone function."""
        centre = f(self.centre)
        up, down = f(self.centre + self.radius), f(self.centre - self.radius)
        return Ball(centre, np.maximum(up - centre, centre - down))

    def moved(self, f: Callable[[F64], F64]) -> Ball:
        """The same elements in another order or shape."""
        return Ball(f(self.centre), f(self.radius))

    def wider(self, by: F64) -> Ball:
        """With `by` added to the radius."""
        return Ball(self.centre, self.radius + by)

    @property
    def magnitude(self) -> F64:
        """The largest absolute value within."""
        return np.abs(self.centre) + self.radius


def _f16(values: F64) -> F64:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float16).astype(np.float64)


def error_bound(graph: ModelGraph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, F64]:
    """Bounds by output name, each of the output's shape; `inputs` by name.

    Infinite or NaN where a value overflows f16: nothing can be said there.
    """
    reference = {p.value: Ball.exact(inputs[p.name]) for p in graph.inputs}
    device = {p.value: Ball.exact(inputs[p.name]).through(_f16) for p in graph.inputs}
    for name, array in graph.constants.items():
        reference[name] = device[name] = Ball.exact(array)
    with np.errstate(invalid="ignore", over="ignore"):
        for node in graph.topological():
            step = STEPS[node.op]
            reference[node.output] = step(graph, node, [reference[v] for v in node.inputs])
            result = step(graph, node, _device_operands(node, device))
            device[node.output] = _stored(graph, node, result)
        bounds: dict[str, F64] = {}
        for port in graph.outputs:
            want, got = reference[port.value], device[port.value]
            rounding = 2 * F32_UNIT * (want.magnitude + got.magnitude)
            apart = np.abs(got.centre - want.centre)
            bounds[port.name] = apart + got.radius + want.radius + rounding
    return bounds


def _device_operands(node: OpNode, device: Mapping[str, Ball]) -> list[Ball]:
    """Operands as the device reads them: those of a product are f16."""
    halves = 2 if node.op in ("conv2d", "matmul") else 0
    return [device[v].through(_f16) if i < halves else device[v] for i, v in enumerate(node.inputs)]


def _stored(graph: ModelGraph, node: OpNode, result: Ball) -> Ball:
    """A result as it is stored: f32 for an output, f16 for what only f16 readers use."""
    if node.op in _MOVES or any(p.value == node.output for p in graph.outputs):
        return result
    if _only_half_readers(graph, node):
        return result.through(_f16)
    return result.wider(F16_UNIT * result.magnitude + F16_TINY)


_MOVES = ("relu", "reshape", "transpose")
"""Operators that commute with rounding, or make no new values."""


def _only_half_readers(graph: ModelGraph, node: OpNode) -> bool:
    outputs = {p.value for p in graph.outputs}
    readers = [graph.node(name) for name in graph.digraph.successors(node.name)]
    return node.output not in outputs and all(
        r.op in ("conv2d", "matmul", "pool2d") or (r.op in _MOVES and _only_half_readers(graph, r))
        for r in readers
    )


def _product(a: Ball, b: Ball, bias: Ball | None, along: str) -> Ball:
    centre = a.centre @ b.centre
    magnitude = a.magnitude @ b.magnitude
    spread = np.maximum(magnitude - np.abs(a.centre) @ np.abs(b.centre), 0.0)
    # only products that are not zero take part in the roundings of a sum
    terms = (a.magnitude > 0).astype(np.float32) @ (b.magnitude > 0).astype(np.float32)
    radius = spread + 1.01 * F32_UNIT * (terms + SPARE) * magnitude
    if bias is None:
        return Ball(centre, radius)
    column = bias.moved(lambda x: x[:, None] if along == "m" else x)
    total = Ball(centre + column.centre, radius + column.radius)
    return total.wider(F32_UNIT * (SPARE * column.magnitude + total.magnitude))


def _conv2d(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    x, w, *bias = values
    a = node.attrs
    window = ConvWindow(
        w.centre.shape[2:], a["strides"], a["pads"], a["dilations"], a.get("spread", (1, 1))
    )
    image = (x.centre.shape[0], *window.output(x.centre.shape[2:]))
    filters = w.moved(lambda m: m.reshape(m.shape[0], -1))
    columns = x.moved(lambda m: im2col(m, window))
    count = a.get("groups", 1)

    def part(whole: Ball, group: int) -> Ball:
        return whole.moved(lambda m: np.split(m, count)[group])

    parts = [
        _product(part(filters, g), part(columns, g), part(bias[0], g) if bias else None, "m")
        for g in range(count)
    ]
    return Ball(
        np.concatenate([p.centre for p in parts]), np.concatenate([p.radius for p in parts])
    ).moved(lambda m: image_of(m, image))


def _matmul(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    lhs, rhs, *bias = values
    return _product(lhs, rhs, bias[0] if bias else None, str(node.attrs.get("bias_along", "n")))


def _add(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    a, b = values
    total = Ball(a.centre + b.centre, a.radius + b.radius)
    return total.wider(F32_UNIT * total.magnitude)


def _relu(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    return values[0].through(lambda x: np.maximum(x, 0.0))


def _pool2d(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    (x,), a = values, node.attrs
    size = graph.values[node.output].shape[2:]
    window = (a["kernel"], a["strides"], a["pads"], a.get("dilations", (1, 1)))
    taps = int(a["kernel"][0]) * int(a["kernel"][1])

    def pooled(values: F64) -> F64:
        include = bool(a.get("count_include_pad"))
        return pool(values, size, window, a["kind"], include).astype(np.float64)

    # `pool` works in f32: every tap and every addition may round
    magnitude = Ball(pooled(x.magnitude), pooled(x.radius)).magnitude
    return x.through(pooled).wider(4 * F32_UNIT * (taps + 2) * magnitude)


def _reshape(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    shape = graph.values[node.output].shape
    return values[0].moved(lambda x: x.reshape(shape))


def _transpose(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    perm = node.attrs["perm"]
    return values[0].moved(lambda x: x.transpose(perm))


def _softmax(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    """Inputs that move by r at most change a probability p by p (exp(2 r) - 1) at most.

    f32 arithmetic adds some ulp and the rounding of the exponent's argument.
    """
    (x,), axis = values, node.attrs["axis"]
    distance = x.centre.max(axis=axis, keepdims=True) - x.centre
    exp = np.exp(-distance)
    p = exp / exp.sum(axis=axis, keepdims=True)
    arithmetic = 4 * F32_UNIT * (x.centre.shape[axis] + SPARE + distance)
    spread = 2 * x.radius.max(axis=axis, keepdims=True) + arithmetic
    moved = p * np.expm1(spread) + 2.0**-126
    return Ball(p, np.minimum(moved, np.maximum(p, 1 - p)))  # a probability stays in 0 to 1


Step = Callable[[ModelGraph, OpNode, list[Ball]], Ball]

STEPS: dict[str, Step] = {
    "conv2d": _conv2d,
    "matmul": _matmul,
    "add": _add,
    "relu": _relu,
    "pool2d": _pool2d,
    "reshape": _reshape,
    "transpose": _transpose,
    "softmax": _softmax,
}
"""How each operator of the model graph passes on centre and radius."""
