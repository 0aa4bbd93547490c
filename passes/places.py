"""Where in a tensor an element is, while a kernel is built: indices that fold. Not a pass.

In: lanes' numbers and constants. Out: `Index` (a value plus a constant, with what is known of its
divisibility), `Place` (an element of a shape, by flat index or by dimension), and their arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.ir import SSAValue

from .kernel_builder import KernelBuilder, Value

Key = tuple[object, ...]


@dataclass(frozen=True)
class Index:
    """`base` + `offset`, where base is 0 (a constant index) or a value that `align` divides."""

    base: Value
    offset: int = 0
    align: int = 1

    @staticmethod
    def constant(number: int) -> Index:
        """A known index."""
        return Index(0, number, 0)

    @property
    def known(self) -> int | None:
        """The number, if it is one."""
        return self.offset if self.base == 0 else None

    @property
    def key(self) -> Key:
        """Equal for indices that are certainly equal."""
        return (self.base if isinstance(self.base, int) else id(self.base), self.offset)


@dataclass(frozen=True, eq=False)
class Place:
    """An element of a tensor of `shape`: its row-major number, its indices, or both."""

    shape: tuple[int, ...]
    flat: Index | None = None
    indices: tuple[Index, ...] | None = None

    @property
    def key(self) -> Key:
        """Equal for places that are certainly equal."""
        if self.flat is not None:
            return ("flat", self.flat.key)
        assert self.indices is not None
        return ("at", *(i.key for i in self.indices))


def _identity(operand: object) -> object:
    """What tells operands apart: the value itself, not what it is like."""
    return operand if isinstance(operand, int | str | None) else ("value", id(operand))


class Indexer:
    """Index arithmetic in a kernel; what was computed once in a block is not computed again."""

    def __init__(self, b: KernelBuilder):
        self.b = b
        self._scopes: list[dict[Key, SSAValue]] = [{}]
        self._alive: list[object] = []

    @contextmanager
    def scope(self) -> Generator[None]:
        """What is computed within is forgotten behind it: the body of a loop."""
        self._scopes.append({})
        try:
            yield
        finally:
            self._scopes.pop()

    def once(self, what: str, operands: Sequence[object], make: Callable[[], SSAValue]) -> SSAValue:
        """`make()`, or what it gave for the same operands before."""
        key = (what, *(_identity(o) for o in operands))
        for scope in self._scopes:
            if key in scope:
                return scope[key]
        self._alive += operands  # their ids stay theirs
        self._scopes[-1][key] = make()
        return self._scopes[-1][key]

    def _value(self, what: str, a: Value, b: Value, make: Callable[[], Value]) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return make()
        return self.once(what, (a, b), lambda: self.b.value(make()))

    def add(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self._value("add", a, b, lambda: self.b.add(a, b))

    def mul(self, a: Value, b: int) -> Value:
        """a * b."""
        return self._value("mul", a, b, lambda: self.b.mul(a, b))

    def value(self, index: Index) -> Value:
        """The index as a number of the kernel."""
        return self.add(index.base, index.offset)

    def shift(self, index: Index, by: int) -> Index:
        """index + by."""
        return Index(index.base, index.offset + by, index.align)

    def scale(self, index: Index, by: int) -> Index:
        """index * by."""
        if index.known is not None or by == 0:
            return Index.constant(index.offset * by if by else 0)
        return Index(self.mul(index.base, by), index.offset * by, index.align * abs(by))

    def sum(self, indices: Sequence[Index]) -> Index:
        """The sum of indices."""
        base: Value = 0
        align = 0
        for index in indices:
            if index.known is None:
                base = self.add(base, index.base)
                align = math.gcd(align, index.align)
        return Index(base, sum(i.offset for i in indices), align)

    def split(self, index: Index, extent: int) -> tuple[Index, Index]:
        """(index / extent, index mod extent) of an index that is not negative."""
        if extent == 1:
            return index, Index.constant(0)
        known = index.known
        if known is not None:
            return Index.constant(known // extent), Index.constant(known % extent)
        base, offset, align = index.base, index.offset, index.align
        if align % extent == 0:
            quotient = self._value("div", base, extent, lambda: self.b.div(base, extent))
            at = Index(quotient, offset // extent, align // extent)
            return at, Index.constant(offset % extent)
        if extent % align or not 0 <= offset < align:
            base, offset, align = self.value(index), 0, 1
        quotient = self._value("div", base, extent, lambda: self.b.div(base, extent))
        rest = self._value(
            "rem", base, extent,
            lambda: self.b.and_(base, extent - 1) if extent & (extent - 1) == 0
            else self.b.sub(base, self.mul(quotient, extent)),
        )  # fmt: skip
        return Index(quotient), Index(rest, offset, align)

    def flat(self, place: Place) -> Index:
        """The row-major number of a place."""
        if place.flat is not None:
            return place.flat
        assert place.indices is not None
        strides = [math.prod(place.shape[d + 1 :]) for d in range(len(place.shape))]
        return self.sum([self.scale(i, s) for i, s in zip(place.indices, strides, strict=True)])

    def indices(self, place: Place) -> tuple[Index, ...]:
        """The indices of a place by dimension."""
        if place.indices is not None:
            return place.indices
        assert place.flat is not None
        return self.unflatten(place.flat, place.shape)

    def unflatten(self, index: Index, shape: Sequence[int]) -> tuple[Index, ...]:
        """Indices by dimension from a row-major number."""
        found: list[Index] = []
        for d in reversed(range(len(shape))):
            if math.prod(shape[:d]) == 1:  # the rest of the number is this index
                found += [index, *[Index.constant(0)] * d]
                break
            index, rest = self.split(index, shape[d])
            found.append(rest)
        return tuple(reversed(found))
