"""How far a compiled model may be from its f32 reference: a derived bound, element by element.

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

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..dialects.conv_window import ConvWindow
from ..dialects.dstc import PoolKind
from ..dialects.dstc_pointwise import PLACES
from ..dialects.interpreters.dstc import im2col, image_of
from ..dialects.interpreters.dstc_pointwise import gathered, padded, sliced
from ..runtime.host_ops import pool
from .error_ball import F32_UNIT, INDEPENDENT, Ball, joined, product_of, roundings, summed
from .error_functions import BALLS
from .graph import ModelGraph, OpNode, is_integer

F64 = NDArray[np.float64]

F16_UNIT, F16_TINY = 2.0**-11, 2.0**-25
"""Unit roundoff of f16 and half its smallest subnormal."""

SPARE = 8
"""Roundings beside the additions of a sum: conversion, bias, a batch norm folded into weights."""


def _f16(values: F64) -> F64:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float16).astype(values.dtype)


PORT_UNITS = {"float16": (F16_UNIT, F16_TINY), "bfloat16": (2.0**-8, 2.0**-133)}
"""Unit roundoff of outputs that are narrower than f32, and half their smallest subnormal."""

DEVIATIONS = 8
"""Standard deviations of a bound that takes roundings as independent."""

SAYS = 1 / 32
"""A worst case up to this share of the largest output says something."""


def error_bound(graph: ModelGraph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, F64]:
    """Bounds by output name, each of the output's shape; `inputs` by name.

    The worst case, where that says something. Deep in a network it does not: it is not small
    against the largest element of the output (`SAYS`). There the bound is `DEVIATIONS` standard
    deviations of roundings that are taken as independent, if that is less. Infinite or NaN where a
    value overflows f16: nothing can be said there.
    """
    worst, largest = _bounds(graph, inputs)
    said = {n: worst[n] <= SAYS * largest[n] for n in worst}
    if all(bool(s.all()) for s in said.values()):
        return worst
    token = INDEPENDENT.set(True)
    try:
        likely, _ = _bounds(graph, inputs, DEVIATIONS)
    finally:
        INDEPENDENT.reset(token)
    return {n: np.where(said[n], worst[n], np.fmin(worst[n], likely[n])) for n in worst}


def _bounds(
    graph: ModelGraph, inputs: Mapping[str, NDArray[Any]], times: float = 1.0
) -> tuple[dict[str, F64], dict[str, float]]:
    """(bounds, largest finite magnitude of the reference) by output; radii count `times`."""
    reference = {p.value: Ball.exact(inputs[p.name]) for p in graph.inputs}
    device = {
        p.value: Ball.exact(inputs[p.name])
        if is_integer(p.dtype)
        else Ball.exact(inputs[p.name]).through(_f16)
        for p in graph.inputs
    }
    exact = set(graph.constants)
    readers = Counter(v for node in graph.topological() for v in node.inputs)
    readers.update(p.value for p in graph.outputs)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for node in graph.topological():
            step = STEPS[node.op]
            for value in node.inputs:  # constants are many: each is there for its readers alone
                if value in graph.constants:
                    reference[value] = device[value] = _constant(node, graph.constants[value])
            reference[node.output] = step(graph, node, [reference[v] for v in node.inputs])
            result = step(graph, node, _device_operands(node, device))
            device[node.output] = _stored(graph, node, result, exact)
            for value in node.inputs:  # what nobody reads any more is given back
                readers[value] -= 1
                if not readers[value] or value in graph.constants:
                    reference.pop(value, None)
                    device.pop(value, None)
        bounds: dict[str, F64] = {}
        largest: dict[str, float] = {}
        for port in graph.outputs:
            if port.value in graph.constants:
                reference[port.value] = Ball.exact(graph.constants[port.value])
                device[port.value] = reference[port.value]
            want, got = reference[port.value], device[port.value]
            rounding = 2 * F32_UNIT * (want.magnitude + got.magnitude)
            apart = np.abs(got.centre - want.centre)
            unit, tiny = PORT_UNITS.get(port.dtype, (0.0, 0.0))
            port_rounding = unit * got.magnitude + tiny
            bounds[port.name] = (
                apart + times * (got.radius + want.radius + rounding) + port_rounding
            )
            finite = np.abs(want.centre[np.isfinite(want.centre)])
            largest[port.name] = float(finite.max(initial=0.0))
    return bounds, largest


def _constant(node: OpNode, values: NDArray[Any]) -> Ball:
    """A constant; of a large operand of a product only the values as they are, in f32."""
    if node.op in PRODUCTS and values.size > _BLOCK and values.dtype == np.float32:
        return Ball(cast("F64", values), np.broadcast_to(np.float64(0), values.shape))
    return Ball.exact(values)


PRODUCTS = ("conv2d", "matmul")
"""Operators that take f16 operands."""


def _device_operands(node: OpNode, device: Mapping[str, Ball]) -> list[Ball]:
    """Operands as the device reads them: those of a product are f16."""
    halves = 2 if node.op in PRODUCTS else 0
    return [device[v].through(_f16) if i < halves else device[v] for i, v in enumerate(node.inputs)]


def _stored(graph: ModelGraph, node: OpNode, result: Ball, exact: set[str]) -> Ball:
    """A result as it is stored: f32 for an output, f16 for what only f16 readers use.

    `exact`: values that may have more than f16 has, beyond what their balls cover. What is moved
    has its place in f16 if its origin has.
    """
    if any(p.value == node.output for p in graph.outputs):
        exact.add(node.output)
        return result
    if is_integer(graph.values[node.output].dtype):
        return result
    if node.op == "fill":  # an immediate, unless it is moved
        exact.add(node.output)
        return result
    if _moves(node) and not exact.intersection(node.inputs):
        return result
    if _only_half_readers(graph, node):
        return result.through(_f16)
    return result.rounded(np.float16, F16_UNIT, F16_TINY)


_MOVES = ("relu", "reshape", "transpose", "slice", "pad", "expand", "concat", "gather")
"""Operators that commute with rounding, or make no new values."""


def _moves(node: OpNode) -> bool:
    """One of `_MOVES`, or the largest of some values: rounding before or behind is the same."""
    return node.op in _MOVES or (node.op == "pool2d" and node.attrs["kind"] == PoolKind.MAX)


def _only_half_readers(graph: ModelGraph, node: OpNode) -> bool:
    outputs = {p.value for p in graph.outputs}
    readers = [graph.node(name) for name in graph.digraph.successors(node.name)]
    return node.output not in outputs and all(
        r.op in PRODUCTS or (_moves(r) and _only_half_readers(graph, r)) for r in readers
    )


_WIDE = 1.01
"""Covers the roundings of radii that are multiplied in f32."""
_NARROW = 1e15
"""Sums of squares below its square stay in f32."""


def _narrow(*values: F64) -> list[NDArray[np.floating[Any]]]:
    """Magnitudes in f32, in which they are multiplied faster, if they fit."""
    fits = all(bool((v < _NARROW).all()) for v in values)
    return [v.astype(np.float32) for v in values] if fits else list(values)


_BLOCK = 1 << 24
"""Elements of an operand that are looked at together: about 128 MB of f64 each time."""


def _product(a: Ball, b: Ball, bias: Ball | None, along: str) -> Ball:
    """In blocks of rows of `a` and columns of `b`."""

    def parts(extent: int, elements: int) -> list[NDArray[np.intp]]:
        return np.array_split(np.arange(extent), min(extent, max(1, -(-elements // _BLOCK))))

    rows = parts(len(a.centre), a.centre.size)
    columns = parts(b.centre.shape[1], b.centre.size)

    def block(i: NDArray[np.intp], j: NDArray[np.intp]) -> Ball:
        across, down = slice(j[0], j[-1] + 1), slice(i[0], i[-1] + 1)
        own = down if along == "m" else across
        return _block(
            a.moved(lambda x: x[down].astype(np.float64, copy=False)),
            b.moved(lambda x: x[:, across].astype(np.float64, copy=False)),
            bias.moved(lambda x: x[own]) if bias is not None else None,
            along,
        )

    blocks = [[block(i, j) for j in columns] for i in rows]
    return Ball(*(np.block([[ball[part] for ball in row] for row in blocks]) for part in (0, 1)))


def _block(a: Ball, b: Ball, bias: Ball | None, along: str) -> Ball:
    centre = a.centre @ b.centre
    sizes, exact = _narrow(a.magnitude, b.magnitude), _narrow(np.abs(a.centre))[0]
    magnitude = sizes[0] @ sizes[1]
    spread = np.zeros_like(centre)
    if a.radius.any():
        spread = joined(spread, product_of(_narrow(a.radius)[0], sizes[1]))
    if b.radius.any():
        spread = joined(spread, product_of(exact, _narrow(b.radius)[0]))
    # only products that are not zero take part in the roundings of a sum
    terms = (sizes[0] > 0).astype(np.float32) @ (sizes[1] > 0).astype(np.float32)
    rounding = 1.01 * F32_UNIT * roundings(terms + SPARE) * magnitude
    radius = _WIDE * joined(spread, rounding.astype(np.float64))
    if bias is None:
        return Ball(centre, radius)
    column = bias.moved(lambda x: x[:, None] if along == "m" else x)
    total = Ball(centre + column.centre, joined(radius, column.radius))
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
    batch = int(node.attrs.get("batch", 1))
    if batch > 1:
        parts = [
            [Ball(c, r) for c, r in zip(*(np.split(a, batch) for a in v), strict=True)]
            for v in (lhs, rhs)
        ]
        balls = [_product(a, b, None, "n") for a, b in zip(*parts, strict=True)]
        return Ball(*(np.concatenate(column) for column in zip(*balls, strict=True)))
    return _product(lhs, rhs, bias[0] if bias else None, str(node.attrs.get("bias_along", "n")))


def _add(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    a, b = values
    total = Ball(a.centre + b.centre, joined(a.radius, b.radius))
    return total.rounded(np.float32, F32_UNIT, 0.0)


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

    if a["kind"] == PoolKind.MAX:
        return x.through(pooled).rounded(np.float32, F32_UNIT, 0.0)
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
    """p_i = exp(x_i) / sum changes by a factor exp(+-(r_i + R)) at most.

    R is what the sum's logarithm can change by: log(sum p_j exp(r_j)). f32 arithmetic adds some ulp
    and the rounding of the exponent's argument. What is masked (far below the largest) stays 0.
    """
    (x,), axis = values, node.attrs["axis"]
    distance = x.centre.max(axis=axis, keepdims=True) - x.centre
    distance = np.minimum(distance, 2.0**128)  # -inf is as far as can be, whatever it is off by
    exp = np.exp(-distance)
    p = exp / exp.sum(axis=axis, keepdims=True)
    radius = np.where(np.isneginf(x.centre), 0.0, x.radius)
    own = radius + 4 * F32_UNIT * (x.centre.shape[axis] + SPARE + distance)
    most = own.min(axis=axis, keepdims=True)
    masked = distance - 2 * own - 2 * most > _FAR
    own = np.where(masked, 0.0, own)
    weights = np.where(masked, 0.0, p)
    if INDEPENDENT.get():
        spread = joined(own, summed(weights * own, axis, keepdims=True))
    else:
        spread = own + np.log((weights * np.exp(own)).sum(axis=axis, keepdims=True))
    moved = np.where(masked, 0.0, p * np.expm1(spread)) + 2.0**-126
    return Ball(p, np.minimum(moved, np.maximum(p, 1 - p)))  # a probability stays in 0 to 1


_FAR = 200.0
"""exp(-200) is nothing in f32."""


def _fill(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    shape = graph.values[node.output].shape
    return Ball.exact(np.full(shape, np.float32(node.attrs["value"])))


def _cast(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    (x,) = values
    return x.through(np.trunc) if is_integer(graph.values[node.output].dtype) else x


def _elementwise(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    shape = graph.values[node.output].shape
    balls = [v.moved(lambda x: np.broadcast_to(x, shape)) for v in values]
    whole = is_integer(graph.values[node.inputs[-1]].dtype)
    return BALLS[node.attrs["function"]](balls, whole)


def _slice(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    shape = graph.values[node.output].shape
    return values[0].moved(lambda x: sliced(x, shape, node.attrs["starts"], node.attrs["steps"]))


def _pad(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    (x,), shape, low = values, graph.values[node.output].shape, node.attrs["low"]
    return Ball(padded(x.centre, shape, low, node.attrs["value"]), padded(x.radius, shape, low, 0))


def _expand(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    shape = graph.values[node.output].shape
    return values[0].moved(lambda x: np.broadcast_to(x, shape))


def _concat(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    return Ball(*(np.concatenate(c, node.attrs["axis"]) for c in zip(*values, strict=True)))


def _gather(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    x, indices = values
    at = indices.centre.astype(np.int64)
    return x.moved(lambda v: gathered(v, at, node.attrs["axis"]))


def _reduce(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    (x,), kind, axes = values, node.attrs["kind"], tuple(node.attrs["axes"])
    shape = graph.values[node.output].shape
    count = np.prod([x.centre.shape[a] for a in axes])
    if kind in ("max", "min"):
        of = np.max if kind == "max" else np.min
        low, high = of(x.centre - x.radius, axis=axes), of(x.centre + x.radius, axis=axes)
        centre = of(x.centre, axis=axes)
        off = np.maximum(high - centre, centre - low)
        ball = Ball(centre, np.where((low == centre) & (high == centre), 0.0, off))
    elif kind in PLACES:
        ball = _place(x, kind, axes)
    elif kind == "prod":
        centre, most = np.prod(x.centre, axis=axes), np.prod(x.magnitude, axis=axes)
        least = np.abs(centre)
        ball = Ball(centre, most - least + 1.01 * F32_UNIT * count * most)
    else:
        by = 1 / count if kind == "mean" else 1.0
        total = Ball(x.centre.sum(axis=axes) * by, summed(x.radius, axes) * by)
        spread = 1.01 * F32_UNIT * roundings(count + SPARE) * x.magnitude.sum(axis=axes) * by
        ball = total.wider(spread)
    return ball.moved(lambda v: v.reshape(shape))


def _place(x: Ball, kind: str, axes: tuple[int, ...]) -> Ball:
    """Where the extreme is: sure if no other element can be as large."""
    kept = [d for d in range(x.centre.ndim) if d not in axes]
    moved = x.moved(lambda v: v.transpose(*kept, *axes).reshape(*(v.shape[d] for d in kept), -1))
    values = moved.centre if kind == "argmax" else -moved.centre
    centre = values.argmax(axis=-1).astype(np.float64)
    least = (values - moved.radius).max(axis=-1, keepdims=True)
    apart = np.abs(np.arange(values.shape[-1], dtype=np.float64) - centre[..., None])
    within = values + moved.radius
    possible = (within >= least) | np.isnan(values)
    # of equal elements the first is meant, unless one of them may be off
    unsure = (possible & (moved.radius > 0)).any(axis=-1, keepdims=True)
    possible &= unsure | np.isnan(values)
    return Ball(centre, np.where(possible, apart, 0.0).max(axis=-1))


def _normalize(graph: ModelGraph, node: OpNode, values: list[Ball]) -> Ball:
    (x,), a = values, node.attrs
    axes = tuple(range(a["axis"], x.centre.ndim))

    def mean(values: F64) -> F64:
        return values.mean(axis=axes, keepdims=True)

    count = np.prod([x.centre.shape[i] for i in axes])
    unit = 1.01 * F32_UNIT * roundings(count + SPARE)
    centre, radius = x.centre, x.radius
    if a["centred"]:
        centre = centre - mean(centre)
        own = summed(radius, axes, keepdims=True) / count
        radius = joined(radius, joined(own, unit * (mean(x.magnitude) + x.magnitude)))
    # the deviation is a norm: it changes by no more than the norm of the errors
    deviation = np.sqrt(mean(centre**2) + a["epsilon"])
    if INDEPENDENT.get():  # the part of the errors along the row itself
        along = summed(np.abs(centre) * radius, axes, keepdims=True) / count / deviation
        off = along + mean(radius**2) / (2 * deviation)
    else:
        off = np.sqrt(mean(radius**2))
    off = off + unit * deviation
    least = np.maximum(deviation - off, math.sqrt(a["epsilon"]) * (1 - F32_UNIT * SPARE))
    grown = 1 / least - 1 / deviation
    result = Ball(
        centre / deviation, joined(np.abs(centre) * grown, radius * (1 / deviation + grown))
    )
    bounded = np.abs(result.centre) + math.sqrt(count)  # no element is larger than that
    result = Ball(result.centre, np.minimum(result.radius, bounded))
    return result.wider(SPARE * F32_UNIT * result.magnitude)


Step = Callable[[ModelGraph, OpNode, list[Ball]], Ball]

STEPS: dict[str, Step] = {
    "conv2d": _conv2d,
    "matmul": _matmul,
    "add": _add,
    "cast": _cast,
    "concat": _concat,
    "elementwise": _elementwise,
    "expand": _expand,
    "fill": _fill,
    "gather": _gather,
    "normalize": _normalize,
    "pad": _pad,
    "reduce": _reduce,
    "slice": _slice,
    "relu": _relu,
    "pool2d": _pool2d,
    "reshape": _reshape,
    "transpose": _transpose,
    "softmax": _softmax,
}
"""How each operator of the model graph passes on centre and radius."""
