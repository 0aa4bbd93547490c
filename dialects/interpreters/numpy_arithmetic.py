"""The steps of `functions` on numpy arrays: what instructions compute, bit by bit.

In: f32 and i32 arrays that broadcast. Out: arrays; predicates are bool arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..functions import Arithmetic
from .lane_ops import special
from .simt_arith import maximum, minimum, to_signed

Array = NDArray[Any]

_RELATIONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


class NumpyArithmetic(Arithmetic[Array]):
    """Arrays of lanes; the caller silences floating-point warnings."""

    def number(self, value: float) -> Array:
        return np.array(value, np.float32)

    def integer(self, value: int) -> Array:
        return np.array(value, np.int32)

    def add(self, a: Array, b: Array) -> Array:
        return np.add(a, b)

    def sub(self, a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    def mul(self, a: Array, b: Array) -> Array:
        return np.multiply(a, b)

    def maximum(self, a: Array, b: Array) -> Array:
        return maximum(a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        return minimum(a, b)

    def special(self, function: str, a: Array) -> Array:
        return special(function, a)

    def absolute(self, a: Array) -> Array:
        return np.abs(a)

    def negate(self, a: Array) -> Array:
        return np.negative(a)

    def compare(self, relation: str, a: Array, b: Array) -> Array:
        return _RELATIONS[relation](a, b)

    def compare_integers(self, relation: str, a: Array, b: Array) -> Array:
        return _RELATIONS[relation](a, b)

    def select(self, predicate: Any, a: Array, b: Array) -> Array:
        return np.where(predicate, a, b)

    def to_integer(self, a: Array) -> Array:
        return to_signed(a).view(np.int32)

    def to_float(self, a: Array) -> Array:
        return a.astype(np.float32)

    def add_integers(self, a: Array, b: Array) -> Array:
        return np.add(a, b)

    def sub_integers(self, a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    def mul_integers(self, a: Array, b: Array) -> Array:
        return np.multiply(a, b)


NUMPY = NumpyArithmetic()
