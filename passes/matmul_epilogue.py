"""The epilogue of a product: bias, activation, rounding, output addresses. Not a pass.

In: f32 accumulator values with their row and columns. Out: loads of what is added to them, and the
store to the result tensor, which is M x N, or N x M x H x W where the columns are pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType, f32
from xdsl.ir import SSAValue

from ..backend.isa.layout import PITCH_ALIGN, round_up
from ..dialects import dstc_tile as tile
from ..dialects.dstc import MatmulOp, int_values
from .device_tensor import DeviceTensor, store_element
from .kernel_builder import KernelBuilder, Value

_MOST_WORDS = 4
"""Words of the widest access."""
_RUN = VectorType(f32, [_MOST_WORDS])


@dataclass
class Epilogue:
    """Stores accumulator values of one product."""

    b: KernelBuilder
    op: MatmulOp
    _biases: dict[tuple[str, object], SSAValue] = field(
        default_factory=dict[tuple[str, object], SSAValue]
    )

    @property
    def out(self) -> DeviceTensor:
        """The result tensor."""
        return DeviceTensor.of(self.op.result.type)

    @property
    def row_stride(self) -> int:
        """Bytes from a row of the product to the next, in the result."""
        return self.out.strides[0] if self.op.image is None else self.out.strides[1]

    def column_offset(self, column: Value) -> Value:
        """Byte offset of a column of the product in the result."""
        b, out = self.b, self.out
        if self.op.image is None:
            return b.mul(column, out.strides[1])
        _, h, w = int_values(self.op.image)
        image = b.div(column, h * w)
        pixel = b.sub(column, b.mul(image, h * w))
        return b.mad(image, out.strides[0], b.mul(pixel, out.strides[3]))

    def adjacent(self, most: int) -> int:
        """Columns, `most` or a smaller power of two, that one access can store side by side.

        Their first one is a multiple of it. In a matrix a row's padding lies beside its end.
        """
        if self.op.image is None:
            return most
        _, h, w = int_values(self.op.image)
        return gcd(most, h * w)

    def bias(self, row: Value, column: Value) -> SSAValue | None:
        """The bias of an output, loaded once a row or column."""
        op, b = self.op, self.b
        if op.bias is None:
            return None
        assert op.bias_along is not None
        along_m = op.bias_along.data == "m"
        index = row if along_m else column
        key = (op.bias_along.data, index)
        if key not in self._biases:
            limit = op.sizes[0 if along_m else 1] - 1
            clamped = b.min_(index, limit)
            address = b.mad(clamped, 4, b.params["bias"])
            self._biases[key] = b.load(tile.Space.GLOBAL, address, f32)
        return self._biases[key]

    def bias_run(self, first: Value, count: int) -> list[SSAValue]:
        """The biases of `count` rows or columns from `first` on, both multiples of 4.

        What lies beyond the last one is zero, as the padding of its vector is, or what no one uses.
        """
        op, b = self.op, self.b
        assert op.bias_along is not None
        stored = round_up(op.sizes[0 if op.bias_along.data == "m" else 1], PITCH_ALIGN)
        clamped = b.min_(first, stored - count)
        address = b.mad(clamped, 4, b.params["bias"])
        values: list[SSAValue] = []
        for start in range(0, count, _MOST_WORDS):
            run = b.load(tile.Space.GLOBAL, address, _RUN, offset=4 * start)
            values += [b.extract(run, e) for e in range(_MOST_WORDS)]
        return values

    def finish(self, value: SSAValue, bias: SSAValue | None) -> SSAValue:
        """Bias and activation."""
        b = self.b
        if bias is not None:
            value = b.insert(arith.AddfOp(value, bias))
        if self.op.relu:
            value = b.insert(arith.MaximumfOp(value, b.float(0.0)))
        return value

    def store(
        self,
        values: Sequence[SSAValue],
        address: Value,
        *,
        offset: int,
        predicate: SSAValue | None,
    ) -> None:
        """Store neighbouring columns (a power of two), with as few accesses as possible."""
        b, out = self.b, self.out
        if len(values) == 1:
            store_element(b, out, values[0], address, offset=offset, predicate=predicate)
            return
        words = self.packed(values) if out.element_bytes == 2 else values
        self.store_words(words, address, offset=offset, predicate=predicate)

    def packed(self, values: Sequence[SSAValue]) -> list[SSAValue]:
        """f32 values as halves, two a word."""
        pairs = zip(values[::2], values[1::2], strict=True)
        return [self.b.insert(tile.PackOp(low, high)) for low, high in pairs]

    def store_words(
        self,
        words: Sequence[SSAValue],
        address: Value,
        *,
        offset: int,
        predicate: SSAValue | None,
    ) -> None:
        """Store words (a power of two) one behind the other."""
        b = self.b
        for first in range(0, len(words), _MOST_WORDS):
            part = words[first : first + _MOST_WORDS]
            value = part[0] if len(part) == 1 else b.insert(tile.CombineOp(*part))
            at = offset + 4 * first
            b.store(tile.Space.GLOBAL, value, address, offset=at, predicate=predicate)
