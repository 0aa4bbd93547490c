"""Building an ONNX model from MLIR: nodes one after the other, with shapes; constants folded.

In: operators with operands whose shapes are known. Out: `Emit.nodes` and constants. Floats are f32,
integers i64, truth values bool, whatever they were. Equal nodes are one. What exporters write out
in steps becomes one operator again where it is built: ReLU, sigmoid, mean, softmax, normalisation,
batch norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ...backend.isa.errors import DstcError

Array = NDArray[Any]
FLOAT, INTEGER, TRUTH = "float32", "int64", "bool"
CODES = {
    FLOAT: TensorProto.FLOAT, INTEGER: TensorProto.INT64, TRUTH: TensorProto.BOOL,
}  # fmt: skip
"""Element types (numpy names) and what ONNX calls them."""


@dataclass(frozen=True)
class Made:
    """The node that makes a value."""

    op: str
    inputs: tuple[Value, ...]
    attrs: tuple[tuple[str, Any], ...] = ()

    def attr(self, name: str) -> Any:
        """An attribute."""
        return dict(self.attrs)[name]


@dataclass(eq=False)
class Value:
    """A tensor: computed (`name`, `made`) or known (`array`)."""

    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    array: Array | None = None
    made: Made | None = None

    @property
    def number(self) -> float | None:
        """What all elements are, if they are known and equal."""
        a = self.array
        if a is None or a.size == 0:
            return None
        first = a.reshape(-1)[0] if a.size == 1 else a[(0,) * a.ndim]
        equal = all(s == 0 or n == 1 for s, n in zip(a.strides, a.shape, strict=True))
        return float(first) if equal or bool((a == first).all()) else None

    def by(self, *ops: str) -> Made | None:
        """The node that makes it, if it is one of these."""
        return self.made if self.made is not None and self.made.op in ops else None


def known(array: Array) -> Value:
    """A constant."""
    kind = {"f": FLOAT, "b": TRUTH}.get(array.dtype.kind, INTEGER)
    stored = array if array.dtype == kind else array.astype(kind)
    return Value(array.shape, kind, array=stored)


def number(value: float, dtype: str = FLOAT) -> Value:
    """A constant without dimensions."""
    return known(np.array(value, dtype))


def filled(value: Value, shape: Sequence[int]) -> Value:
    """A known number, everywhere."""
    assert value.array is not None
    return Value(tuple(shape), value.dtype, array=np.broadcast_to(value.array, shape))


@dataclass
class Emit:
    """Nodes, in order, on behalf of an operation called `label`."""

    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    constants: dict[str, Array] = field(default_factory=dict[str, Array])
    label: str = "x"
    _names: set[str] = field(default_factory=set[str])
    _same: dict[Any, Value] = field(default_factory=dict[Any, Value])
    _stored: dict[int, tuple[Array, str]] = field(default_factory=dict[int, tuple[Array, str]])

    def fresh(self, name: str) -> str:
        """A name that nothing has."""
        unique, n = name, 0
        while unique in self._names:
            n += 1
            unique = f"{name}.{n}"
        self._names.add(unique)
        return unique

    def use(self, value: Value) -> str:
        """The name of an operand; a constant is stored now."""
        if value.name:
            return value.name
        assert value.array is not None
        if id(value.array) not in self._stored:
            name = self.fresh(f"{self.label}.constant")
            self.constants[name] = np.ascontiguousarray(value.array).reshape(value.shape)
            self._stored[id(value.array)] = (value.array, name)
        return self._stored[id(value.array)][1]

    def node(
        self, op: str, inputs: Sequence[Value], shape: Sequence[int], dtype: str = FLOAT,
        **attrs: Any,
    ) -> Value:  # fmt: skip
        """A node with one output; equal ones are made once."""
        names = [self.use(v) for v in inputs]
        key = (op, *names, tuple(sorted(attrs.items())), tuple(shape))
        if key not in self._same:
            name = self.fresh(self.label)
            self.nodes.append(helper.make_node(op, names, [name], name, **attrs))
            made = Made(op, tuple(inputs), tuple(attrs.items()))
            self._same[key] = Value(tuple(int(d) for d in shape), dtype, name, made=made)
        return self._same[key]

    def apply(
        self, op: str, evaluate: Callable[..., Any], inputs: Sequence[Value], dtype: str,
        **attrs: Any,
    ) -> Value:  # fmt: skip
        """A function by element; of constants, its value."""
        arrays = [v.array for v in inputs]
        if all(a is not None for a in arrays):
            with np.errstate(all="ignore"):
                return known(np.asarray(evaluate(*arrays)).astype(dtype))
        try:
            shape = np.broadcast_shapes(*(v.shape for v in inputs))
        except ValueError:
            shapes = " and ".join("x".join(map(str, v.shape)) or "()" for v in inputs)
            raise DstcError(f"operands of shapes {shapes} do not go together") from None
        return self.node(op, inputs, shape, dtype, **attrs)

    # Moves

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The same elements under another shape."""
        shape = tuple(int(d) for d in shape)
        while (before := value.by("Reshape")) is not None and value.shape != shape:
            value = before.inputs[0]
        if value.shape == shape:
            return value
        if math.prod(shape) != math.prod(value.shape):
            raise DstcError(f"{value.shape} does not reshape to {shape}")
        if value.array is not None:
            return known(value.array.reshape(shape))
        return self.node("Reshape", [value, known(np.array(shape, np.int64))], shape, value.dtype)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Dimensions in another order."""
        shape = [value.shape[p] for p in order]
        long = [p for p in order if value.shape[p] > 1]
        if long == sorted(long):
            return self.reshape(value, shape)
        if value.array is not None:
            return known(value.array.transpose(order))
        before = value.by("Transpose")
        if before is not None:
            inner = before.attr("perm")
            return self.transpose(before.inputs[0], [inner[p] for p in order])
        return self.node("Transpose", [value], shape, value.dtype, perm=tuple(order))

    def slice(
        self, value: Value, starts: Sequence[int], counts: Sequence[int], steps: Sequence[int]
    ) -> Value:
        """Elements starts + i * steps, `counts` of them along each dimension."""
        if tuple(counts) == value.shape and all(s == 1 for s in steps):
            return value
        ends = [
            a + (n - 1) * s + (1 if s > 0 else -1)
            for a, n, s in zip(starts, counts, steps, strict=True)
        ]
        for at, (a, e, n) in enumerate(zip(starts, ends, value.shape, strict=True)):
            if min(a, e + 1) < 0 or max(a + 1, e) > n:
                raise DstcError(f"the slice leaves the {n} elements of dimension {at}")
        if value.array is not None:
            cut = tuple(
                slice(a, e if e >= 0 else None, s)
                for a, e, s in zip(starts, ends, steps, strict=True)
            )
            return known(value.array[cut])
        ends = [e if e >= 0 else -(1 << 31) for e in ends]
        lists = (starts, ends, range(len(starts)), steps)
        given = [known(np.array(list(x), np.int64)) for x in lists]
        return self.node("Slice", [value, *given], counts, value.dtype)

    def expand(self, value: Value, shape: Sequence[int]) -> Value:
        """Repeated along dimensions of one element."""
        if tuple(shape) == value.shape:
            return value
        if value.array is not None:
            return Value(tuple(shape), value.dtype, array=np.broadcast_to(value.array, shape))
        return self.node("Expand", [value, known(np.array(shape, np.int64))], shape, value.dtype)

    def narrow(self, value: Value) -> Value:
        """As it was before it was repeated: dimensions of one element for those of equal ones."""
        if value.array is not None and value.array.ndim:
            a = value.array
            cut = tuple(slice(0, 1) if s == 0 else slice(None) for s in a.strides)
            return value if all(s != 0 for s in a.strides) else known(a[cut])
        before = value.by("Expand")
        if before is None:
            return value
        inner = before.inputs[0]
        return self.reshape(inner, (*[1] * (len(value.shape) - len(inner.shape)), *inner.shape))

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """One behind the other."""
        values = [v for v in values if v.shape[axis]]
        if len(values) == 1:
            return values[0]
        shape = list(values[0].shape)
        shape[axis] = sum(v.shape[axis] for v in values)
        arrays = [v.array for v in values]
        if all(a is not None for a in arrays):
            return known(np.concatenate([a for a in arrays if a is not None], axis))
        return self.node("Concat", values, shape, values[0].dtype, axis=axis)

    def pad(self, value: Value, low: Sequence[int], high: Sequence[int], fill: Value) -> Value:
        """`fill` around the value; negative sizes cut."""
        starts = [max(0, -p) for p in low]
        counts = [n - s - max(0, -p) for n, s, p in zip(value.shape, starts, high, strict=True)]
        value = self.slice(value, starts, counts, [1] * len(counts))
        low, high = [max(0, p) for p in low], [max(0, p) for p in high]
        shape = [a + n + b for a, n, b in zip(low, value.shape, high, strict=True)]
        if list(value.shape) == shape:
            return value
        if fill.number is None:
            raise DstcError("pads with something else than a constant are not supported")
        if value.array is not None:
            widths = list(zip(low, high, strict=True))
            return known(np.pad(value.array, widths, constant_values=fill.number))
        pads = known(np.array([*low, *high], np.int64))
        return self.node("Pad", [value, pads, number(fill.number, value.dtype)], shape, value.dtype)

    def cast(self, value: Value, dtype: str) -> Value:
        """As another type; floats to integers towards zero."""
        if value.dtype == dtype:
            return value
        if value.array is not None:
            return known(value.array.astype(dtype))
        return self.node("Cast", [value], value.shape, dtype, to=CODES[dtype])

    # Along rows

    def reduce(self, kind: str, value: Value, axes: Sequence[int]) -> Value:
        """Sum, Prod, Max or Min over axes, which keep one element."""
        shape = [1 if d in axes else n for d, n in enumerate(value.shape)]
        if tuple(shape) == value.shape:
            return value
        if value.array is not None:
            f = {"Sum": np.sum, "Prod": np.prod, "Max": np.max, "Min": np.min}[kind]
            return known(np.asarray(f(value.array, axis=tuple(axes), keepdims=True)))
        where = known(np.array(sorted(axes), np.int64))
        return self.node(f"Reduce{kind}", [value, where], shape, value.dtype, keepdims=1)
