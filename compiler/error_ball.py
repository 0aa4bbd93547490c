"""Values with what they may be off by: the elements of error bounds.

In: arrays. Out: `Ball`, centre and radius by element, in f64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

F32_UNIT = 2.0**-24
"""Unit roundoff of f32."""


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
