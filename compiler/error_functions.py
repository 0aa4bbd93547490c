"""How functions by element pass on what their operands may be off by.

In: balls of one shape, whether they are integers. Out: `BALLS`, by function: the ball of the
result, in which f32 arithmetic of our kernels (`dialects/functions.py`) and of any reference lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..dialects.functions import RELATIONS
from .error_ball import F32_UNIT as UNIT
from .error_ball import F64, Ball, joined

Rule = Callable[[list[Ball], bool], Ball]
"""(operands, integers) -> result."""

_ERF_ERROR = 2e-6
"""Absolute: the approximation's 1.5e-7, and its evaluation in f32."""
_GELU_SLOPE = 1.13
"""The largest slope of gelu, by erf or tanh."""


def _rounded(ball: Ball, ulps: float | F64 = 2.0, absolute: float | F64 = 0.0) -> Ball:
    """With some roundings of the result."""
    return ball.wider(ulps * UNIT * ball.magnitude + absolute + 2.0**-149)


def _monotone(f: Callable[[F64], F64], ulps: float = 2.0, absolute: float = 0.0) -> Rule:
    """The largest change at either end."""

    def rule(values: list[Ball], whole: bool) -> Ball:
        (x,) = values
        centre = f(x.centre)
        ends = [np.abs(f(end) - centre) for end in (x.centre - x.radius, x.centre + x.radius)]
        radius = np.where(x.radius == 0, 0.0, np.fmax(*ends))
        return _rounded(Ball(centre, radius), ulps, absolute)

    return rule


def _slope(f: Callable[[F64], F64], most: float, error: Callable[[Ball], F64]) -> Rule:
    """A slope of at most `most`; `error`: of its evaluation."""

    def rule(values: list[Ball], whole: bool) -> Ball:
        (x,) = values
        return Ball(f(x.centre), most * x.radius + error(x))

    return rule


def _exact(f: Callable[..., NDArray[np.generic]]) -> Callable[..., F64]:
    return lambda *values: f(*values).astype(np.float64)


def _add(values: list[Ball], whole: bool, sign: int = 1) -> Ball:
    a, b = values
    total = Ball(a.centre + sign * b.centre, joined(a.radius, b.radius))
    return total if whole else total.rounded(np.float32, UNIT, 0.0)


def _mul(values: list[Ball], whole: bool) -> Ball:
    a, b = values
    radius = joined(np.abs(a.centre) * b.radius, a.radius * b.magnitude)
    product = Ball(a.centre * b.centre, radius)
    return product if whole else product.rounded(np.float32, UNIT, 2.0**-149)


def _inverse(x: Ball) -> Ball:
    least = np.abs(x.centre) - x.radius
    radius = np.where(least > 0, x.radius / (np.abs(x.centre) * least), np.inf)
    return Ball(1 / x.centre, np.where(x.radius == 0, 0.0, radius))


def _reciprocal(values: list[Ball], whole: bool) -> Ball:
    return _rounded(_inverse(values[0]))


def _div(values: list[Ball], whole: bool) -> Ball:
    a, b = values
    if whole:
        return _if_exact(values, np.trunc(a.centre / np.where(b.centre == 0, 1, b.centre)), np.inf)
    return _rounded(_mul([a, _inverse(b)], False), 3)


def _if_exact(values: list[Ball], centre: F64, otherwise: float | F64) -> Ball:
    """Exact where the operands are."""
    sure = np.logical_and.reduce([v.radius == 0 for v in values])
    return Ball(centre.astype(np.float64), np.where(sure, 0.0, otherwise))


def _mod(values: list[Ball], whole: bool) -> Ball:
    """A remainder jumps by b where a / b is near an integer."""
    a, b = values
    centre = a.centre - b.centre * np.floor(a.centre / b.centre)
    if whole:
        return _if_exact(values, centre, np.inf)
    quotient = _div(values, False)
    near = np.abs(quotient.centre - np.round(quotient.centre)) <= quotient.radius
    turns = np.abs(np.floor(quotient.centre)) + 1
    off = a.radius + b.radius * turns + 3 * UNIT * (np.abs(a.centre) + b.magnitude * turns)
    return Ball(centre, np.where(near, b.magnitude + off, off))


def _pow(values: list[Ball], whole: bool) -> Ball:
    """On |x|, monotone in base and exponent."""
    x, y = values
    centre = np.power(x.centre, y.centre)
    size = np.abs(centre)
    low, high = np.maximum(np.abs(x.centre) - x.radius, 0.0), x.magnitude
    corners = [
        np.power(b, e) for b in (low, high) for e in (y.centre - y.radius, y.centre + y.radius)
    ]
    radius = np.maximum.reduce([np.abs(c - size) for c in corners])
    sure = (x.radius == 0) & (y.radius == 0)
    grown = np.abs(y.centre * np.log2(np.maximum(np.abs(x.centre), 2.0**-126)))
    return _rounded(Ball(centre, np.where(sure, 0.0, radius)), 8 + 4 * grown)


def _extreme(of: Callable[[F64, F64], F64]) -> Rule:
    def rule(values: list[Ball], whole: bool) -> Ball:
        a, b = values
        return Ball(of(a.centre, b.centre), np.maximum(a.radius, b.radius))

    return rule


_COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
}  # fmt: skip


def _comparison(name: str) -> Rule:
    """Sure where the operands are further apart than they may be off."""

    def rule(values: list[Ball], whole: bool) -> Ball:
        a, b = values
        off = a.radius + b.radius
        sure = (np.abs(a.centre - b.centre) > off) | (off == 0) | np.isinf(a.centre + b.centre)
        truth = _COMPARE[name](a.centre, b.centre).astype(np.float64)
        return Ball(truth, np.where(sure, 0.0, 1.0))

    return rule


def _logic(of: Callable[..., NDArray[np.bool_]]) -> Rule:
    def rule(values: list[Ball], whole: bool) -> Ball:
        truth = of(*(v.centre != 0 for v in values))
        return _if_exact(values, truth.astype(np.float64), 1.0)

    return rule


def _where(values: list[Ball], whole: bool) -> Ball:
    condition, a, b = values
    holds = condition.centre != 0
    chosen, radius = np.where(holds, a.centre, b.centre), np.where(holds, a.radius, b.radius)
    apart = np.abs(a.centre - b.centre) + np.maximum(a.radius, b.radius)
    return Ball(chosen, np.where(condition.radius == 0, radius, apart))


def _exp(values: list[Ball], whole: bool) -> Ball:
    (x,) = values
    centre = np.exp(x.centre)
    grown = np.where(x.radius == 0, 0.0, centre * np.expm1(x.radius))
    return _rounded(Ball(centre, grown), 4 + 2 * np.abs(x.centre))


def _sigmoid(values: list[Ball], whole: bool) -> Ball:
    (x,) = values
    ball = _monotone(lambda v: 1 / (1 + np.exp(-v)))(values, whole)
    return _rounded(ball, 8 + 2 * np.abs(x.centre))


def _step(f: Callable[[F64], F64]) -> Rule:
    """A function with jumps: at most what lies between the ends."""
    return _monotone(f, 0.0)


_erf = _exact(np.vectorize(math.erf, otypes=[np.float64]))


def _gelu(x: F64) -> F64:
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _gelu_tanh(x: F64) -> F64:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


BALLS: dict[str, Rule] = {
    "add": _add,
    "sub": lambda v, w: _add(v, w, -1),
    "mul": _mul,
    "div": _div,
    "mod": _mod,
    "min": _extreme(np.minimum),
    "max": _extreme(np.maximum),
    "pow": _pow,
    "neg": lambda v, w: Ball(-v[0].centre, v[0].radius),
    "abs": lambda v, w: Ball(np.abs(v[0].centre), v[0].radius),
    "sign": _step(np.sign),
    "relu": _monotone(lambda x: np.maximum(x, 0.0), 0.0),
    "exp": _exp,
    "log": _monotone(np.log, 4.0, 2.0**-22),
    "sqrt": _monotone(np.sqrt),
    "rsqrt": _monotone(lambda x: 1 / np.sqrt(x), 3.0),
    "reciprocal": _reciprocal,
    "tanh": _monotone(np.tanh),
    "sigmoid": _sigmoid,
    "softplus": _monotone(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 4.0, 2.0**-20),
    "erf": _slope(_erf, 2 / math.sqrt(math.pi), lambda x: np.full_like(x.centre, _ERF_ERROR)),
    "gelu": _slope(_gelu, _GELU_SLOPE, lambda x: _ERF_ERROR * (1 + x.magnitude)),
    "gelu_tanh": _slope(_gelu_tanh, _GELU_SLOPE, lambda x: 32 * UNIT * (1 + x.magnitude)),
    "sin": _slope(np.sin, 1.0, lambda x: np.full_like(x.centre, 4 * UNIT)),
    "cos": _slope(np.cos, 1.0, lambda x: np.full_like(x.centre, 4 * UNIT)),
    "floor": _step(np.floor),
    "ceil": _step(np.ceil),
    "round": _step(np.round),
    **{name: _comparison(name) for name in RELATIONS},
    "and": _logic(np.logical_and),
    "or": _logic(np.logical_or),
    "xor": _logic(np.logical_xor),
    "not": _logic(np.logical_not),
    "where": _where,
}
"""Rules by function."""
