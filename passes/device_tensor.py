"""Where the elements of dense device tensors are: addresses from indices. Not a pass.

In: tensor types. Out: byte strides by dimension under `DenseLayout`, loads and stores of single
elements as f32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects.builtin import Float16Type, Float32Type, TensorType, VectorType, f32, i32
from xdsl.ir import Attribute, SSAValue

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import DenseLayout
from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value

MOST_WORDS = 4
"""Words of the widest access."""


@dataclass(frozen=True)
class DeviceTensor:
    """A dense tensor on the device."""

    shape: tuple[int, ...]
    element_bytes: int

    @staticmethod
    def of(type_: Attribute) -> DeviceTensor:
        """From an f16, f32 or i32 tensor type."""
        assert isinstance(type_, TensorType)
        element = cast("TensorType[Attribute]", type_).element_type
        if not isinstance(element, Float16Type | Float32Type) and element != i32:
            raise DstcError(
                f"device tensors are f16, f32 or i32, not {type_}; run lower-precision first"
            )
        return DeviceTensor(type_.get_shape(), 2 if isinstance(element, Float16Type) else 4)

    @staticmethod
    def halves(type_: Attribute, where: str) -> DeviceTensor:
        """From an f16 tensor type; `where` says who reads or writes 16 bits an element."""
        tensor = DeviceTensor.of(type_)
        if tensor.element_bytes != 2:
            raise DstcError(f"{where} takes f16, not {type_}; run lower-precision first")
        return tensor

    @property
    def layout(self) -> DenseLayout:
        """Rows, columns and pitch."""
        return DenseLayout.of(self.shape, self.element_bytes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one index to the next, by dimension."""
        strides: list[int] = []
        step = 1
        for extent in reversed(self.shape[1:]):
            strides.append(step * self.element_bytes)
            step *= extent
        first = self.layout.pitch if len(self.shape) > 1 else 1
        if self.shape:
            strides.append(first * self.element_bytes)
        return tuple(reversed(strides))

    @property
    def elements(self) -> int:
        """Values in the tensor."""
        n = 1
        for extent in self.shape:
            n *= extent
        return n


def unflatten(b: KernelBuilder, index: Value, shape: Sequence[int]) -> list[Value]:
    """Row-major indices by dimension from a flat index."""
    indices: list[Value] = []
    for extent in reversed(shape[1:]):
        indices.append(b.rem(index, extent))
        index = b.div(index, extent)
    return [index, *reversed(indices)] if shape else []


def load_element(
    b: KernelBuilder,
    tensor: DeviceTensor,
    address: Value,
    *,
    predicate: SSAValue | None = None,
) -> SSAValue:
    """One element as f32 (zero where the predicate fails)."""
    if tensor.element_bytes == 4:
        return b.load(tile.Space.GLOBAL, address, f32, predicate=predicate)
    raw = b.load(tile.Space.GLOBAL, address, i32, bits=16, predicate=predicate)
    return b.insert(tile.UnpackOp(raw))


def load_run(b: KernelBuilder, tensor: DeviceTensor, address: Value, count: int) -> list[SSAValue]:
    """`count` neighbouring elements (a power of two) as f32, with as few accesses as possible."""
    if count * tensor.element_bytes < 4 or count == 1:
        return [load_element(b, tensor, address)]
    words = count * tensor.element_bytes // 4
    size = min(words, MOST_WORDS)
    element = i32 if tensor.element_bytes == 2 else f32
    values: list[SSAValue] = []
    for first in range(0, words, size):
        type_ = element if size == 1 else VectorType(element, [size])
        loaded = b.load(tile.Space.GLOBAL, address, type_, offset=4 * first)
        parts = [loaded] if size == 1 else [b.extract(loaded, e) for e in range(size)]
        for part in parts:
            if tensor.element_bytes == 4:
                values.append(part)
            else:
                values += [b.insert(tile.UnpackOp(part, high=high)) for high in (False, True)]
    return values


def store_element(
    b: KernelBuilder,
    tensor: DeviceTensor,
    value: SSAValue,
    address: Value,
    *,
    offset: int = 0,
    predicate: SSAValue | None = None,
) -> None:
    """Store an f32 as one element."""
    if tensor.element_bytes == 4:
        b.store(tile.Space.GLOBAL, value, address, offset=offset, predicate=predicate)
    else:
        half = b.insert(tile.PackOp(value, b.float(0.0)))
        b.store(tile.Space.GLOBAL, half, address, offset=offset, bits=16, predicate=predicate)
