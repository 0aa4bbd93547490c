"""Steps that converters compose: operators of the graph with their result shapes worked out.

In: a draft, the ONNX node that is being converted. Out: new values in the draft; what only
constants go into becomes a constant at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError
from ...dialects.functions import FUNCTIONS
from .draft import FLOAT, INTEGER, Draft
from .onnx_node import Node

Operand = str | float
"""A value, or a number."""


@dataclass(frozen=True)
class Build:
    """Operators on behalf of `node`."""

    draft: Draft
    node: Node

    def shape(self, value: str) -> tuple[int, ...]:
        """Shape of a value."""
        return self.draft.shape(value)

    def fresh(self, what: str) -> str:
        """A name for an intermediate value."""
        return self.draft.fresh(f"{self.node.output}.{what}")

    def emit(
        self, op: str, inputs: Sequence[str], shape: Sequence[int], *, dtype: str = FLOAT,
        **attrs: Any,
    ) -> str:  # fmt: skip
        """An operator of the graph."""
        return self.draft.emit(
            op, inputs, self.fresh(str(attrs.get("function", op))), shape,
            sources=[self.node.name], dtype=dtype, **attrs,
        )  # fmt: skip

    def give(self, value: str, output: str | None = None) -> None:
        """Make `value` the node's output: under its name if it was made for that."""
        output = self.node.output if output is None else output
        draft = self.draft
        made = draft.nodes.get(value)
        if made is None or not value.startswith(f"{self.node.output}.") or draft.uses(value):
            draft.aliases[output] = value
            return
        del draft.nodes[value]
        draft.nodes[output] = replace(made, name=output, output=output)
        draft.shapes[output] = draft.shapes.pop(value)
        draft.dtypes[output] = draft.dtypes.pop(value)

    def constant(self, what: str, array: NDArray[Any]) -> str:
        """A derived constant."""
        return self.draft.constant(f"{self.node.output}.{what}", array)

    def known(self, value: str) -> NDArray[Any] | None:
        """The array of a constant."""
        return self.draft.constants.get(value)

    # By element

    def operand(self, value: Operand, like: str = FLOAT) -> str:
        """A value; a number, or a constant of one element, as what every lane has anyway."""
        if not isinstance(value, str):
            return self.draft.fill(value, like)
        number = self.draft.number(value)
        if number is None:
            return value
        return self.draft.fill(number, self.draft.dtype(value), self.shape(value))

    def call(self, function: str, *operands: Operand) -> str:
        """A function of the table, with broadcasting; numbers are of the other operands' type."""
        values = [o for o in operands if isinstance(o, str)]
        typed = values[1:] if FUNCTIONS[function].condition else values
        like = INTEGER if typed and self.draft.integer(typed[-1]) else FLOAT
        inputs = [self.operand(o, like) for o in operands]
        shape = np.broadcast_shapes(*(self.shape(v) for v in inputs))
        row = FUNCTIONS[function]
        if len(inputs) != row.operands:
            raise DstcError(f"{function} takes {row.operands} operands, not {len(inputs)}")
        kinds = {self.draft.integer(v) for v in inputs[1 if row.condition else 0 :]}
        if len(kinds) > 1 or (row.integers if kinds == {True} else row.floats) is None:
            types = " and ".join(self.draft.dtype(v) for v in inputs)
            raise DstcError(f"{function} of {types} is not supported")
        dtype = INTEGER if row.truth or kinds == {True} else FLOAT
        if function == "add" and dtype == FLOAT:
            return self.emit("add", inputs, shape)
        if function == "relu":
            return self.emit("relu", inputs, shape)
        return self.emit("elementwise", inputs, shape, dtype=dtype, function=function)

    def cast(self, value: str, dtype: str) -> str:
        """As floats or integers (towards zero)."""
        if self.draft.dtype(value) == dtype:
            return value
        array = self.known(value)
        if array is not None:
            return self.constant("cast", array.astype(np.float32 if dtype == FLOAT else np.int64))
        return self.emit("cast", [value], self.shape(value), dtype=dtype)

    # By index

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """The same elements under another shape."""
        shape = tuple(int(d) for d in shape)
        if shape == self.shape(value):
            return value
        array = self.known(value)
        if array is not None:
            return self.constant("reshaped", array.reshape(shape))
        if math.prod(shape) != math.prod(self.shape(value)):
            count = math.prod(self.shape(value))
            raise DstcError(f"{count} values do not reshape to {'x'.join(map(str, shape))}")
        return self.emit("reshape", [value], shape, dtype=self.draft.dtype(value))

    def transpose(self, value: str, perm: Sequence[int]) -> str:
        """Dimensions in another order; where only ones move, a reshape."""
        shape = self.shape(value)
        to = [shape[p] for p in perm]
        long = [p for p in perm if shape[p] > 1]
        if long == sorted(long):
            return self.reshape(value, to)
        array = self.known(value)
        if array is not None:
            return self.constant("transposed", array.transpose(perm))
        dtype = self.draft.dtype(value)
        return self.emit("transpose", [value], to, dtype=dtype, perm=tuple(perm))

    def slice(
        self, value: str, starts: Sequence[int], counts: Sequence[int], steps: Sequence[int]
    ) -> str:
        """starts + i * steps along each dimension."""
        if tuple(counts) == self.shape(value) and all(s == 1 for s in steps):
            return value
        if min(counts, default=1) < 1:  # which a concatenation may leave out
            kind = np.int64 if self.draft.integer(value) else np.float32
            return self.constant("empty", np.zeros(counts, kind))
        dtype = self.draft.dtype(value)
        return self.emit(
            "slice", [value], counts, dtype=dtype, starts=tuple(starts), steps=tuple(steps)
        )

    def part(self, value: str, axis: int, start: int, count: int) -> str:
        """`count` elements along an axis."""
        shape = self.shape(value)
        starts = [start if d == axis else 0 for d in range(len(shape))]
        counts = [count if d == axis else n for d, n in enumerate(shape)]
        return self.slice(value, starts, counts, [1] * len(shape))

    def expand(self, value: str, shape: Sequence[int]) -> str:
        """Repeated along dimensions of one element."""
        if tuple(shape) == self.shape(value):
            return value
        array = self.known(value)
        if array is not None:
            return self.constant("expanded", np.broadcast_to(array, shape).copy())
        return self.emit("expand", [value], shape, dtype=self.draft.dtype(value))

    def pad(self, value: str, low: Sequence[int], shape: Sequence[int], fill: float = 0.0) -> str:
        """`fill` around the value."""
        if tuple(shape) == self.shape(value):
            return value
        array = self.known(value)
        if array is not None:
            sizes = zip(low, shape, array.shape, strict=True)
            widths = [(b, s - b - n) for b, s, n in sizes]
            return self.constant("padded", np.pad(array, widths, constant_values=fill))
        dtype = self.draft.dtype(value)
        return self.emit("pad", [value], shape, dtype=dtype, low=tuple(low), value=float(fill))

    def concat(self, values: Sequence[str], axis: int) -> str:
        """One behind the other; many in several rounds."""
        if len(values) == 1:
            return values[0]
        if len(values) > MOST_PARTS:
            rounds = range(0, len(values), MOST_PARTS)
            return self.concat(
                [self.concat(values[r : r + MOST_PARTS], axis) for r in rounds], axis
            )
        shape = list(self.shape(values[0]))
        shape[axis] = sum(self.shape(v)[axis] for v in values)
        kinds = {self.draft.dtype(v) for v in values}
        if len(kinds) > 1:
            raise DstcError("integers and floats are not put together")
        return self.emit("concat", values, shape, dtype=kinds.pop(), axis=axis)

    def gather(self, value: str, indices: str, axis: int) -> str:
        """Slices along an axis."""
        shape = self.shape(value)
        to = (*shape[:axis], *self.shape(indices), *shape[axis + 1 :])
        dtype = self.draft.dtype(value)
        return self.emit("gather", [value, indices], to, dtype=dtype, axis=axis)

    # Along rows

    def reduce(self, kind: str, value: str, axes: Sequence[int], keep: bool = True) -> str:
        """Sum, mean, max, min or prod over axes."""
        shape = self.shape(value)
        if self.draft.integer(value):
            total = self.reduce(kind, self.cast(value, FLOAT), axes, keep)
            return self.cast(total, INTEGER)
        axes = sorted(set(axes))
        to = [1 if d in axes else n for d, n in enumerate(shape)]
        if not keep:
            to = [n for d, n in enumerate(shape) if d not in axes]
        if all(shape[a] == 1 for a in axes):
            return self.reshape(value, to)
        return self.emit("reduce", [value], to, kind=kind, axes=tuple(axes))

    def normalize(self, value: str, axis: int, epsilon: float, centred: bool = True) -> str:
        """Mean 0 and variance 1 over the dimensions from `axis` on."""
        return self.emit(
            "normalize", [value], self.shape(value), axis=axis, epsilon=epsilon, centred=centred
        )

    def softmax(self, value: str, axis: int) -> str:
        """exp(x - max) / sum along an axis."""
        return self.emit("softmax", [value], self.shape(value), axis=axis)


MOST_PARTS = 8
"""Tensors that one kernel puts together."""
