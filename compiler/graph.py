"""The model graph: operators, shapes and constants of a network, as a networkx graph.

In: nodes in the vocabulary of the `dstc` dialect, from a front end. Out: `ModelGraph` with its
topological order, and `to_module`: level-1 IR (f32) with the constants in the context's pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType, f32, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from ..backend.isa.errors import DstcError
from ..dialects import dstc
from ..dialects import dstc_pointwise as pointwise
from ..dialects.constants import ConstantPool, attach, constants_of


@dataclass(frozen=True)
class OpNode:
    """One operator: `op` is a `dstc` op without its prefix, `onnx_nodes` are what it stands for."""

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    onnx_nodes: tuple[str, ...] = ()


class ValueInfo(NamedTuple):
    """Shape and dtype (a numpy name) of a value, as the model states them."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Port:
    """An input or output of the model: its public name and the value that it is.

    `dtype` is the model's own (numpy name), whatever the compiler stores.
    """

    name: str
    value: str
    shape: tuple[int, ...]
    dtype: str


class ModelGraph:
    """Operators (nodes) and the values between them (edges, attribute `value`).

    A node has the attributes `op`, `name`, `onnx_nodes`, `attrs`, `inputs` and `output`.
    """

    def __init__(
        self,
        name: str,
        nodes: Iterable[OpNode],
        *,
        values: Mapping[str, ValueInfo],
        constants: Mapping[str, NDArray[Any]],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        notes: Sequence[str] = (),
    ):
        self.name = name
        self.values = dict(values)
        self.constants = dict(constants)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.notes = tuple(notes)
        self.digraph: nx.DiGraph[str] = nx.DiGraph()
        self._nodes: dict[str, OpNode] = {}
        for node in nodes:
            self._nodes[node.name] = node
            self.digraph.add_node(
                node.name,
                op=node.op,
                name=node.name,
                onnx_nodes=node.onnx_nodes,
                attrs=dict(node.attrs),
                inputs=node.inputs,
                output=node.output,
            )
        producer = {node.output: node.name for node in self._nodes.values()}
        for node in self._nodes.values():
            for value in node.inputs:
                if value in producer:
                    self.digraph.add_edge(producer[value], node.name, value=value)
        if not nx.is_directed_acyclic_graph(self.digraph):
            raise DstcError(f"{name}: the graph has a cycle")

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, name: str) -> OpNode:
        """The node of that name; `KeyError` if there is none."""
        return self._nodes[name]

    def topological(self) -> Iterator[OpNode]:
        """Nodes, each after those it reads from; otherwise in the front end's order."""
        position = {name: i for i, name in enumerate(self._nodes)}

        def key(name: str) -> int:
            return position[name]

        for name in nx.lexicographical_topological_sort(self.digraph, key=key):
            yield self._nodes[name]

    def index_ranges(self) -> dict[str, int]:
        """What integer inputs may be: 0 to this, exclusive, for those that are indices."""
        origins: dict[str, set[str]] = {
            p.value: {p.name} for p in self.inputs if is_integer(p.dtype)
        }
        found: dict[str, int] = {}
        for node in self.topological():
            if node.op == "gather":
                extent = int(self.values[node.inputs[0]].shape[int(node.attrs["axis"])])
                for name in origins.get(node.inputs[1], ()):
                    found[name] = min(found.get(name, extent), extent)
            if node.op in ("reshape", "transpose", "slice", "concat", "expand"):
                reached = [origins.get(v, set[str]()) for v in node.inputs]
                origins[node.output] = set[str]().union(*reached)
        return found

    def to_module(self, ctx: Context) -> ModuleOp:
        """Level-1 IR: `func.func @main`, f32 throughout.

        Loads the dialects into `ctx` and adds the constants to its pool (one is attached if there
        is none). The function names its ports in `dstc.inputs`, `dstc.outputs` and their own
        dtypes in `dstc.input_types`, `dstc.output_types`; each op its ONNX nodes in `dstc.source`.
        """
        pool = constants_of(ctx)
        attach(ctx, pool)
        return _Emitter(self, pool).module()


def is_integer(dtype: str) -> bool:
    """A numpy name of integers or truth values, which are i32 in the IR; others are f32."""
    return dtype.lstrip("u").startswith(("int", "bool"))


def tensor_type(shape: Sequence[int], dtype: str) -> Attribute:
    """The IR's type of a value."""
    element: Attribute = i32 if is_integer(dtype) else f32
    return TensorType(element, shape)


def _names(names: Iterable[str]) -> ArrayAttr[StringAttr]:
    return ArrayAttr([StringAttr(name) for name in names])


class _Emitter:
    def __init__(self, graph: ModelGraph, pool: ConstantPool):
        self.graph = graph
        self.pool = pool
        self.values: dict[str, SSAValue] = {}

    def type_of(self, value: str) -> Attribute:
        info = self.graph.values[value]
        return tensor_type(info.shape, info.dtype)

    def module(self) -> ModuleOp:
        graph = self.graph
        main = FuncOp(
            "main",
            (
                [tensor_type(p.shape, p.dtype) for p in graph.inputs],
                [tensor_type(p.shape, p.dtype) for p in graph.outputs],
            ),
        )
        main.attributes["dstc.inputs"] = _names(p.name for p in graph.inputs)
        main.attributes["dstc.outputs"] = _names(p.name for p in graph.outputs)
        main.attributes["dstc.input_types"] = _names(p.dtype for p in graph.inputs)
        main.attributes["dstc.output_types"] = _names(p.dtype for p in graph.outputs)
        builder = Builder(InsertPoint.at_end(main.body.block))
        for port, arg in zip(graph.inputs, main.body.block.args, strict=True):
            arg.name_hint = dstc.value_hint(port.name)
            self.values[port.value] = arg
        for node in graph.topological():
            operands = [self.operand(value, builder) for value in node.inputs]
            op = EMIT[node.op](operands, self.type_of(node.output), node.attrs)
            if node.onnx_nodes:
                op.attributes[dstc.SOURCE] = _names(node.onnx_nodes)
            builder.insert(op)
            self.define(node.output, op)
        builder.insert(ReturnOp(*(self.operand(p.value, builder) for p in graph.outputs)))
        module = ModuleOp([main], {"dstc.model": StringAttr(graph.name)})
        module.verify()
        return module

    def operand(self, value: str, builder: Builder) -> SSAValue:
        if value not in self.values:
            given = self.graph.constants[value]
            dtype = np.int32 if is_integer(given.dtype.name) else np.float32
            name = self.pool.add(value, np.ascontiguousarray(given, dtype).reshape(given.shape))
            op = dstc.ConstantOp(name, self.type_of(value))
            builder.insert(op)
            self.define(value, op)
        return self.values[value]

    def define(self, value: str, op: Operation) -> None:
        op.results[0].name_hint = dstc.value_hint(value)
        self.values[value] = op.results[0]


Emit = Callable[[list[SSAValue], Attribute, Mapping[str, Any]], Operation]

EMIT: dict[str, Emit] = {
    "conv2d": lambda v, t, a: dstc.Conv2dOp(v[0], v[1], _third(v), t, **a),
    "matmul": lambda v, t, a: dstc.MatmulOp(v[0], v[1], _third(v), t, **a),
    "add": lambda v, t, a: dstc.AddOp(v[0], v[1], t),
    "cast": lambda v, t, a: dstc.CastOp(v[0], t),
    "concat": lambda v, t, a: pointwise.ConcatOp(v, a["axis"], t),
    "elementwise": lambda v, t, a: pointwise.ElementwiseOp(a["function"], v, t),
    "expand": lambda v, t, a: pointwise.ExpandOp(v[0], t),
    "fill": lambda v, t, a: pointwise.FillOp(a["value"], t),
    "gather": lambda v, t, a: pointwise.GatherOp(v[0], v[1], a["axis"], t),
    "normalize": lambda v, t, a: pointwise.NormalizeOp(v[0], t, **a),
    "pad": lambda v, t, a: pointwise.PadOp(v[0], t, **a),
    "reduce": lambda v, t, a: pointwise.ReduceOp(v[0], t, **a),
    "slice": lambda v, t, a: pointwise.SliceOp(v[0], t, **a),
    "relu": lambda v, t, a: dstc.ReluOp(v[0], t),
    "pool2d": lambda v, t, a: dstc.Pool2dOp(v[0], t, **a),
    "reshape": lambda v, t, a: dstc.ReshapeOp(v[0], t),
    "transpose": lambda v, t, a: dstc.TransposeOp(v[0], a["perm"], t),
    "softmax": lambda v, t, a: dstc.SoftmaxOp(v[0], a["axis"], t),
}
"""Operators of the model graph and the ops that they become; attrs are the ops' own arguments."""


def _third(operands: list[SSAValue]) -> SSAValue | None:
    return operands[2] if len(operands) > 2 else None
