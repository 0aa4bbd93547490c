"""A model graph under construction, where front-end converters write.

In: operators, shapes and constants, one converter at a time. Out: `Draft.finish`, a `ModelGraph`
with everything that no output needs left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError
from ..graph import ModelGraph, OpNode, Port, ValueInfo

FLOATS = ("float16", "bfloat16", "float32", "float64")
"""Element types (numpy names) that become f32."""
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
"""Element types that become i32; what does not fit is refused."""
FLOAT, INTEGER = "float32", "int32"
"""What a value of the graph is."""


@dataclass
class Draft:
    """Nodes by output value, in order; shapes of values; constants (any dtype) by name."""

    nodes: dict[str, OpNode] = field(default_factory=dict[str, OpNode])
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    dtypes: dict[str, str] = field(default_factory=dict[str, str])
    constants: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    inputs: list[Port] = field(default_factory=list[Port])
    outputs: list[Port] = field(default_factory=list[Port])
    notes: list[str] = field(default_factory=list[str])

    def resolve(self, value: str) -> str:
        """The value behind an alias."""
        return self.aliases.get(value, value)

    def shape(self, value: str) -> tuple[int, ...]:
        """Shape of a value or constant."""
        if value in self.constants:
            return self.constants[value].shape
        return self.shapes[value]

    def integer(self, value: str) -> bool:
        """The value's elements are integers or truth values."""
        if value in self.constants:
            return self.constants[value].dtype.name in INTEGERS
        return self.dtypes.get(value, FLOAT) == INTEGER

    def dtype(self, value: str) -> str:
        """`FLOAT` or `INTEGER`."""
        return INTEGER if self.integer(value) else FLOAT

    def fill(self, number: float, dtype: str = FLOAT, shape: Sequence[int] = ()) -> str:
        """A value of equal elements."""
        kind = "i" if dtype == INTEGER else "f"
        size = "".join(f"x{d}" for d in shape)
        name = f"fill.{kind}{number!r}{size}"
        if name not in self.nodes:
            self.emit("fill", [], name, shape, sources=(), dtype=dtype, value=float(number))
        return name

    def number(self, value: str) -> float | None:
        """The number that a constant of one element is."""
        array = self.constants.get(value)
        if array is None or array.size != 1:
            return None
        _check_constant(value, array)
        return float(array.reshape(-1)[0])

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        shape: Sequence[int],
        *,
        sources: Sequence[str],
        dtype: str = FLOAT,
        **attrs: Any,
    ) -> str:
        """Add an operator that makes `output`, of `dtype`; constants must be numbers that fit."""
        for value in inputs:
            if value in self.constants:
                _check_constant(value, self.constants[value])
            elif value not in self.shapes:
                raise DstcError("it needs an output of another node that is not computed")
        self.nodes[output] = OpNode(output, op, tuple(inputs), output, attrs, tuple(sources))
        self.shapes[output] = tuple(int(d) for d in shape)
        self.dtypes[output] = dtype
        if min(self.shapes[output], default=1) < 1:
            raise DstcError(f"its result has no elements: {self.shapes[output]}")
        return output

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Store a derived constant under `name` or, if that is taken, name.1, name.2, ..."""
        for n in itertools.count():
            candidate = f"{name}.{n}" if n else name
            if candidate not in self.constants and candidate not in self.shapes:
                self.constants[candidate] = array
                return candidate
        raise AssertionError

    def fresh(self, name: str) -> str:
        """A name for an intermediate value that no value has yet."""
        return next(
            c
            for c in (name, *(f"{name}.{n}" for n in range(1, len(self.shapes) + 2)))
            if c not in self.shapes and c not in self.constants
        )

    def uses(self, value: str) -> int:
        """How many operands and outputs `value` is."""
        readers = sum(node.inputs.count(value) for node in self.nodes.values())
        return readers + sum(p.value == value for p in self.outputs)

    def replace(self, old: OpNode, new: OpNode) -> None:
        """Put `new` where `old` stands; it may make another value."""
        items = [(v, n) if n is not old else (new.output, new) for v, n in self.nodes.items()]
        self.nodes = dict(items)

    def finish(self, name: str) -> ModelGraph:
        """The graph of what the outputs need. Node names: the ONNX nodes', made unique."""
        needed = _needed(self.nodes, (p.value for p in self.outputs))
        taken: set[str] = set()
        nodes: list[OpNode] = []
        for node in (n for v, n in self.nodes.items() if v in needed):
            base = node.onnx_nodes[0] if node.onnx_nodes else node.output
            unique = next(
                c
                for c in itertools.chain([base], (f"{base}.{n}" for n in itertools.count(1)))
                if c not in taken
            )
            taken.add(unique)
            nodes.append(replace(node, name=unique))
        constants = {v: _stored(a) for v, a in self.constants.items() if v in needed}
        dynamic = {p.value for p in self.inputs} | {n.output for n in nodes}
        dtypes = {p.value: p.dtype for p in (*self.outputs, *self.inputs)}
        values = {
            v: ValueInfo(self.shape(v), dtypes.get(v, self.dtype(v)))
            for v in (*dynamic, *constants)
        }
        return ModelGraph(
            name,
            nodes,
            values=values,
            constants=constants,
            inputs=self.inputs,
            outputs=self.outputs,
            notes=self.notes,
        )


def _stored(array: NDArray[Any]) -> NDArray[Any]:
    """Floats as f32, integers as i32."""
    with np.errstate(over="ignore"):
        return array.astype(np.int32 if array.dtype.name in INTEGERS else np.float32)


def _check_constant(name: str, array: NDArray[Any]) -> None:
    kind = array.dtype.name
    if kind not in (*FLOATS, *INTEGERS):
        raise DstcError(f"constant {name!r} has elements of {kind}; use floats or integers")
    if kind in INTEGERS and array.size and kind != "bool":
        low, high = int(array.min()), int(array.max())
        if low < -(2**31) or high >= 2**31:
            raise DstcError(f"constant {name!r} has {low} to {high}; integers must fit 32 bits")


def _needed(nodes: Mapping[str, OpNode], outputs: Iterable[str]) -> set[str]:
    needed: set[str] = set()
    stack = list(outputs)
    while stack:
        value = stack.pop()
        if value not in needed:
            needed.add(value)
            if value in nodes:
                stack.extend(nodes[value].inputs)
    return needed
