"""Values with what they may be off by: the elements of error bounds.

In: arrays. Out: `Ball`, centre and radius by element, in f64, and how radii add up: as the worst
case has it, or (`INDEPENDENT`) as independent errors do, in squares.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

F32_UNIT = 2.0**-24
"""Unit roundoff of f32."""


INDEPENDENT: ContextVar[bool] = ContextVar("INDEPENDENT", default=False)
"""Errors of different origin are taken as independent: their squares add up. A radius is then a
standard deviation, or more (Higham and Mary, A new approach to probabilistic rounding error
analysis, SIAM J. Sci. Comput. 41, 2019)."""


def joined(a: F64, b: F64) -> F64:
    """What two errors come to."""
    return np.hypot(a, b) if INDEPENDENT.get() else a + b


def summed(radius: F64, axis: int | tuple[int, ...], *, keepdims: bool = False) -> F64:
    """What the errors of a sum's terms come to."""
    if INDEPENDENT.get():
        return np.sqrt((radius**2).sum(axis=axis, keepdims=keepdims))
    return radius.sum(axis=axis, keepdims=keepdims)


Sizes = NDArray[np.floating[Any]]
"""Magnitudes and radii, in f32 or f64."""


def product_of(a: Sizes, b: Sizes) -> F64:
    """What errors come to in a matrix product of magnitudes and radii."""
    product = np.sqrt(a**2 @ b**2) if INDEPENDENT.get() else a @ b
    return product.astype(np.float64)


def roundings(count: Any) -> Any:
    """What so many roundings of one size come to."""
    return np.sqrt(count) if INDEPENDENT.get() else count


class Ball(NamedTuple):
    """All values within `radius` of `centre`, elementwise (or a standard deviation of it)."""

    centre: F64
    radius: F64

    @staticmethod
    def exact(values: NDArray[Any]) -> Ball:
        """A value without error."""
        centre = values.astype(np.float64)
        return Ball(centre, np.broadcast_to(np.float64(0), centre.shape))

    def through(self, f: Callable[[F64], F64]) -> Ball:
        """The image under a monotone function."""
        centre = f(self.centre)
        if not self.radius.any():
            return Ball(centre, np.broadcast_to(np.float64(0), centre.shape))
        up, down = f(self.centre + self.radius), f(self.centre - self.radius)
        return Ball(centre, np.maximum(up - centre, centre - down))

    def moved(self, f: Callable[[F64], F64]) -> Ball:
        """The same elements in another order or shape."""
        return Ball(f(self.centre), f(self.radius))

    def wider(self, by: F64) -> Ball:
        """With `by` added to the radius."""
        return Ball(self.centre, joined(self.radius, by))

    def rounded(self, dtype: type[np.floating[Any]], unit: float, tiny: float) -> Ball:
        """Rounded once to `dtype`, or not at all: exact values that it has stay exact."""
        with np.errstate(over="ignore", invalid="ignore"):
            kept = (self.radius == 0) & (self.centre.astype(dtype) == self.centre)
        return self.wider(np.where(kept, 0.0, unit * self.magnitude + tiny))

    @property
    def magnitude(self) -> F64:
        """The largest absolute value within."""
        return np.abs(self.centre) + self.radius
