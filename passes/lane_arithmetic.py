"""The steps of `functions` as ops of a kernel. Not a pass.

In: a kernel under construction, f32 and i32 values of a lane. Out: `arith` ops and special
functions; predicates are i1.
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import SSAValue

from ..dialects import dstc_tile as tile
from ..dialects.functions import Arithmetic
from .kernel_builder import KernelBuilder

_INTEGERS = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_FLOATS = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_SIGN = 0x80000000


class LaneArithmetic(Arithmetic[SSAValue]):
    """What a lane computes."""

    def __init__(self, b: KernelBuilder):
        self.b = b

    def number(self, value: float) -> SSAValue:
        return self.b.float(value)

    def integer(self, value: int) -> SSAValue:
        return self.b.value(value)

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.AddfOp(a, b))

    def sub(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.SubfOp(a, b))

    def mul(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.MulfOp(a, b))

    def maximum(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.MaximumfOp(a, b))

    def minimum(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.MinimumfOp(a, b))

    def special(self, function: str, a: SSAValue) -> SSAValue:
        return self.b.insert(tile.MufuOp(tile.Special(function), a))

    def absolute(self, a: SSAValue) -> SSAValue:
        bits = self.b.insert(arith.BitcastOp(a, i32))
        cleared = self.b.value(self.b.and_(bits, _SIGN - 1))
        return self.b.insert(arith.BitcastOp(cleared, f32))

    def negate(self, a: SSAValue) -> SSAValue:
        return self.b.insert(arith.NegfOp(a))

    def compare(self, relation: str, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.CmpfOp(a, b, _FLOATS[relation]))

    def compare_integers(self, relation: str, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.compare(_INTEGERS[relation], a, b)

    def select(self, predicate: Any, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.insert(arith.SelectOp(predicate, a, b))

    def to_integer(self, a: SSAValue) -> SSAValue:
        return self.b.insert(arith.FPToSIOp(a, i32))

    def to_float(self, a: SSAValue) -> SSAValue:
        return self.b.insert(arith.SIToFPOp(a, f32))

    def add_integers(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.value(self.b.add(a, b))

    def sub_integers(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.value(self.b.sub(a, b))

    def mul_integers(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.b.value(self.b.mul(a, b))
