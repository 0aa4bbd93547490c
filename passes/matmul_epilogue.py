"""The epilogue of a product: bias, residual, activation, rounding, addresses. Not a pass.

In: f32 accumulator values with their row and columns. Out: loads of what is added to them, and the
store to the result tensor, which is M x N, or N x M x H x W where the columns are pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import gcd

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType, f32
from xdsl.ir import SSAValue

from ..backend.isa.image_layout import ImageLayout
from ..backend.isa.layout import PITCH_ALIGN, round_up
from ..dialects import dstc_tile as tile
from ..dialects.dstc import ImageType, MatmulOp, int_values
from .device_tensor import MOST_WORDS, DeviceTensor, load_run, store_element
from .kernel_builder import KernelBuilder, Value

_RUN = VectorType(f32, [MOST_WORDS])


@dataclass
class Epilogue:
    """Stores accumulator values of one product."""

    b: KernelBuilder
    op: MatmulOp
    first_row: Value = 0
    """Row of the result that row 0 is: the rows of other groups are before it."""
    _biases: dict[tuple[str, object], SSAValue] = field(
        default_factory=dict[tuple[str, object], SSAValue]
    )

    @property
    def out(self) -> DeviceTensor:
        """The result tensor."""
        return DeviceTensor.of(self.op.result.type)

    @property
    def residual(self) -> DeviceTensor | None:
        """What is added to the product, if anything is; it is laid out as the result."""
        residual = self.op.residual
        return None if residual is None else DeviceTensor.of(residual.type)

    @property
    def start(self) -> Value:
        """Address of row 0 in the result."""
        return self.b.mad(self.first_row, self.row_stride, self.b.params["c"])

    @property
    def row_stride(self) -> int:
        """Bytes from a row of the product to the next, in the result."""
        return self._row_stride(self.out)

    def _row_stride(self, tensor: DeviceTensor) -> int:
        return tensor.strides[0 if self.op.image is None else 1]

    @property
    def encoded_image(self) -> ImageLayout | None:
        """Of a product on an encoded image, in whose pitch its columns are counted."""
        type_ = self.op.rhs.type
        return type_.layout if isinstance(type_, ImageType) else None

    def column(self, computed: Value) -> Value:
        """The result's column that a computed one is; as many as there are if it is none."""
        b, layout = self.b, self.encoded_image
        if layout is None:
            return computed
        h, w = layout.out
        line = b.div(computed, layout.pitch)
        place = b.sub(computed, b.mul(line, layout.pitch))
        image = b.div(line, layout.rows)
        row = b.sub(line, b.mul(image, layout.rows))
        real = b.both(b.less(place, w), b.less(row, h), b.less(image, layout.shape[0]))
        assert real is not None
        found = b.mad(image, h * w, b.mad(row, w, place))
        return b.select(real, found, self.op.sizes[1])

    def column_offset(self, column: Value) -> Value:
        """Byte offset of a column of the product in the result."""
        return self._column_offset(self.out, column)

    def _column_offset(self, tensor: DeviceTensor, column: Value) -> Value:
        b = self.b
        if self.op.image is None:
            return b.mul(column, tensor.strides[1])
        _, h, w = int_values(self.op.image)
        image = b.div(column, h * w)
        pixel = b.sub(column, b.mul(image, h * w))
        return b.mad(image, tensor.strides[0], b.mul(pixel, tensor.strides[3]))

    def residuals(self, row: Value, column: Value, count: int = 1) -> list[SSAValue | None]:
        """What is added to `count` neighbouring columns of a row, the first a multiple of `count`.

        Beyond the result it is some other element: no predicates are needed.
        """
        b, tensor = self.b, self.residual
        if tensor is None:
            return [None] * count
        m, n, _ = self.op.sizes
        row = b.add(b.min_(row, m - 1), self.first_row)
        column = b.min_(column, (n - 1) // count * count)
        start = b.add(self._column_offset(tensor, column), b.params["residual"])
        address = b.mad(row, self._row_stride(tensor), start)
        return [*load_run(b, tensor, address, count)]

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
            clamped = b.add(clamped, self.first_row) if along_m else clamped
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
        for start in range(0, count, MOST_WORDS):
            run = b.load(tile.Space.GLOBAL, address, _RUN, offset=4 * start)
            values += [b.extract(run, e) for e in range(MOST_WORDS)]
        return values

    def finish(
        self, value: SSAValue, bias: SSAValue | None, residual: SSAValue | None = None
    ) -> SSAValue:
        """Bias, residual and activation."""
        b = self.b
        for addend in (bias, residual):
            if addend is not None:
                value = b.insert(arith.AddfOp(value, addend))
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
        for first in range(0, len(words), MOST_WORDS):
            part = words[first : first + MOST_WORDS]
            value = part[0] if len(part) == 1 else b.insert(tile.CombineOp(*part))
            at = offset + 4 * first
            b.store(tile.Space.GLOBAL, value, address, offset=at, predicate=predicate)


@dataclass(frozen=True)
class Unit:
    """Stores that belong together, and the loads that they need."""

    load: Callable[[], Sequence[SSAValue | None]]
    store: Callable[[Sequence[SSAValue | None]], None]


def run_ahead(units: Sequence[Unit], ahead: int) -> None:
    """Load and store every unit, loads `ahead` units earlier: no load passes a store later on."""
    loaded: list[Sequence[SSAValue | None]] = []
    for at, unit in enumerate(units):
        loaded += [later.load() for later in units[len(loaded) : at + 1 + ahead]]
        unit.store(loaded[at])
