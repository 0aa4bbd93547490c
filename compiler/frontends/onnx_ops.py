"""ONNX operators as operators of the model graph: one converter each, in a table.

In: a node with static input shapes and constants in a `Draft`. Out: the draft's operators (names
of the `dstc` dialect) with their result shapes; `DstcError` for what the compiler cannot express.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, helper

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import ceil_div
from ...dialects.dstc import PoolKind, window_output
from .draft import FLOATS, Draft
from .onnx_conv import conv, conv_transpose, window_pads


@dataclass(frozen=True)
class Node:
    """An ONNX node with aliases resolved: `inputs` has "" for an omitted one."""

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: dict[str, Any]

    @staticmethod
    def of(proto: NodeProto, draft: Draft) -> Node:
        """Read a node; strings are decoded, names resolved."""
        return Node(
            node_name(proto),
            proto.op_type,
            tuple(draft.resolve(i) for i in proto.input),
            proto.output[0],
            {a.name: _attribute(a) for a in proto.attribute},
        )

    def optional(self, index: int) -> str | None:
        """An input, or None if it is omitted."""
        return (self.inputs[index] or None) if index < len(self.inputs) else None

    def ints(self, key: str, default: Sequence[int]) -> tuple[int, ...]:
        """An attribute of integers."""
        return tuple(int(v) for v in self.attrs.get(key, default))


def node_name(proto: NodeProto) -> str:
    """The node's name, or its first output's if it has none."""
    return proto.name or next((o for o in proto.output if o), proto.op_type)


def type_name(code: int) -> str:
    """ONNX's name of an element type, or its number if it has none."""
    return dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True)).get(
        code, f"type {code}"
    )


def _attribute(attr: AttributeProto) -> Any:
    value: Any = helper.get_attribute_value(attr)
    return value.decode() if isinstance(value, bytes) else value


def _square(draft: Draft, value: str, what: str) -> tuple[int, ...]:
    shape = draft.shape(value)
    if len(shape) != 4:
        raise DstcError(f"{len(shape) - 2}-D {what} is not supported; only 2-D (N x C x H x W)")
    return shape


def _oriented(draft: Draft, node: Node, value: str, transposed: bool, scale: float) -> str:
    """A Gemm operand, transposed and scaled; a constant is rewritten, a value transposed."""
    if value in draft.constants and (transposed or scale != 1):
        array = draft.constants[value]
        if scale != 1:
            array = (array.astype(np.float32) * np.float32(scale)).astype(np.float32)
        suffix = f"{'.t' if transposed else ''}{'.scaled' if scale != 1 else ''}"
        return draft.constant(f"{value}{suffix}", array.T if transposed else array)
    if transposed:
        r, c = draft.shape(value)
        return draft.emit(
            "transpose",
            [value],
            draft.fresh(f"{value}.t"),
            (c, r),
            sources=[node.name],
            perm=(1, 0),
        )
    return value


def _matrix(draft: Draft, value: str, what: str) -> None:
    if len(draft.shape(value)) != 2:
        raise DstcError(f"{what} has {len(draft.shape(value))} dimensions, but must have 2")


def _gemm(draft: Draft, node: Node) -> None:
    a, b, c = node.inputs[0], node.inputs[1], node.optional(2)
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    _matrix(draft, a, "A")
    _matrix(draft, b, "B")
    scaled = 1 if b in draft.constants else 0
    if alpha != 1 and (a, b)[scaled] not in draft.constants:
        raise DstcError(f"alpha = {alpha:g} needs a constant A or B")
    lhs = _oriented(draft, node, a, bool(node.attrs.get("transA")), alpha if not scaled else 1)
    rhs = _oriented(draft, node, b, bool(node.attrs.get("transB")), alpha if scaled else 1)
    (m, k), (k2, n) = draft.shape(lhs), draft.shape(rhs)
    if k != k2:
        raise DstcError(f"A has {k} columns, but B has {k2} rows")
    if c is None or beta == 0:
        draft.emit("matmul", [lhs, rhs], node.output, (m, n), sources=[node.name])
        return
    if c in draft.constants and beta != 1:
        array = draft.constants[c].astype(np.float32) * np.float32(beta)
        c = draft.constant(f"{c}.scaled", array.astype(np.float32))
    elif beta != 1:
        raise DstcError(f"beta = {beta:g} needs a constant C")
    along = _vector_along(draft, c, (m, n))
    if along is not None:
        draft.emit(
            "matmul",
            [lhs, rhs, as_vector(draft, c, (m, n)["mn".index(along)])],
            node.output,
            (m, n),
            sources=[node.name],
            bias_along=along,
        )
        return
    product = draft.emit(
        "matmul", [lhs, rhs], draft.fresh(f"{node.output}.product"), (m, n), sources=[node.name]
    )
    draft.emit("add", [product, c], node.output, (m, n), sources=[node.name])


def _vector_along(draft: Draft, value: str, shape: tuple[int, int]) -> str | None:
    """Along which dimension of an m x n matrix `value` is a constant vector, if it is one."""
    if value not in draft.constants:
        return None
    got = (1, 1, *draft.shape(value))[-2:]
    if got in ((1, shape[1]), (1, 1)):
        return "n"
    return "m" if got == (shape[0], 1) else None


def as_vector(draft: Draft, value: str, size: int) -> str:
    """A constant as vector of `size` elements."""
    array = draft.constants[value]
    if array.shape == (size,):
        return value
    return draft.constant(f"{value}.vector", np.broadcast_to(array.reshape(-1), (size,)).copy())


def _matmul(draft: Draft, node: Node) -> None:
    lhs, rhs = node.inputs[0], node.inputs[1]
    ls = draft.shape(lhs)
    _matrix(draft, rhs, "the right operand")
    if len(ls) < 2:
        raise DstcError("the left operand has 1 dimension, but must have 2 or more")
    k, n = draft.shape(rhs)
    if ls[-1] != k:
        raise DstcError(f"the left operand has {ls[-1]} columns, but the right one has {k} rows")
    if len(ls) == 2:
        draft.emit("matmul", [lhs, rhs], node.output, (ls[0], n), sources=[node.name])
        return
    rows = math.prod(ls[:-1])
    flat = draft.fresh(f"{node.output}.rows")
    if lhs in draft.constants:
        flat = draft.constant(f"{lhs}.rows", draft.constants[lhs].reshape(rows, k))
    else:
        draft.emit("reshape", [lhs], flat, (rows, k), sources=[node.name])
    product = draft.fresh(f"{node.output}.product")
    draft.emit("matmul", [flat, rhs], product, (rows, n), sources=[node.name])
    draft.emit("reshape", [product], node.output, (*ls[:-1], n), sources=[node.name])


def _add(draft: Draft, node: Node) -> None:
    a, b = node.inputs[0], node.inputs[1]
    shape = np.broadcast_shapes(draft.shape(a), draft.shape(b))
    draft.emit("add", [a, b], node.output, shape, sources=[node.name])


def _relu(draft: Draft, node: Node) -> None:
    x = node.inputs[0]
    draft.emit("relu", [x], node.output, draft.shape(x), sources=[node.name])


def _pooled(size: int, kernel: int, stride: int, begin: int, end: int, dilation: int) -> int:
    """Windows with ceil_mode; one that would start in the padding behind the input is dropped."""
    span = size + begin + end - (kernel - 1) * dilation - 1
    out = ceil_div(span, stride) + 1
    return out - 1 if (out - 1) * stride >= size + begin else out


def _pool(kind: PoolKind) -> Callable[[Draft, Node], None]:
    def convert(draft: Draft, node: Node) -> None:
        x = node.inputs[0]
        xs = _square(draft, x, "pooling")
        kernel = node.ints("kernel_shape", ())
        strides, dilations = node.ints("strides", (1, 1)), node.ints("dilations", (1, 1))
        pads = window_pads(node, xs[2:], kernel, strides, dilations)
        size = window_output(xs[2:], kernel, strides, pads, dilations)
        if node.attrs.get("ceil_mode") and node.attrs.get("auto_pad", "NOTSET") == "NOTSET":
            size = tuple(
                _pooled(xs[2 + i], kernel[i], strides[i], pads[i], pads[i + 2], dilations[i])
                for i in (0, 1)
            )
        if min(size) < 1:
            raise DstcError(f"a {kernel[0]}x{kernel[1]} window does not fit the input")
        draft.emit(
            "pool2d",
            [x],
            node.output,
            (*xs[:2], *size),
            sources=[node.name],
            kind=kind,
            kernel=kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            count_include_pad=bool(node.attrs.get("count_include_pad")),
        )

    return convert


def _global_pool(kind: PoolKind) -> Callable[[Draft, Node], None]:
    def convert(draft: Draft, node: Node) -> None:
        x = node.inputs[0]
        xs = _square(draft, x, "pooling")
        draft.emit(
            "pool2d",
            [x],
            node.output,
            (*xs[:2], 1, 1),
            sources=[node.name],
            kind=kind,
            kernel=xs[2:],
            strides=(1, 1),
            pads=(0, 0, 0, 0),
        )

    return convert


def _reshaped(draft: Draft, node: Node, shape: Sequence[int]) -> None:
    x = node.inputs[0]
    if tuple(shape) == draft.shape(x):
        draft.aliases[node.output] = x
    else:
        draft.emit("reshape", [x], node.output, shape, sources=[node.name])


def _reshape(draft: Draft, node: Node) -> None:
    xs = draft.shape(node.inputs[0])
    target = draft.constants.get(node.inputs[1])
    if target is None:
        raise DstcError("the new shape is computed from values; it must be constant")
    keep_zero = bool(node.attrs.get("allowzero"))
    shape = [xs[i] if d == 0 and not keep_zero else int(d) for i, d in enumerate(target.tolist())]
    if shape.count(-1) == 1:
        known = math.prod(d for d in shape if d != -1)
        shape[shape.index(-1)] = math.prod(xs) // max(known, 1)
    if math.prod(shape) != math.prod(xs):
        raise DstcError(f"{math.prod(xs)} values do not reshape to {'x'.join(map(str, shape))}")
    _reshaped(draft, node, shape)


def _flatten(draft: Draft, node: Node) -> None:
    xs = draft.shape(node.inputs[0])
    axis = int(node.attrs.get("axis", 1))
    axis += len(xs) if axis < 0 else 0
    _reshaped(draft, node, (math.prod(xs[:axis]), math.prod(xs[axis:])))


def _axes(draft: Draft, node: Node, rank: int) -> list[int] | None:
    if (value := node.optional(1)) is None:
        return None
    if value not in draft.constants:
        raise DstcError("the axes are computed from values; they must be constant")
    return [int(a) % rank for a in draft.constants[value].reshape(-1)]


def _squeeze(draft: Draft, node: Node) -> None:
    xs = draft.shape(node.inputs[0])
    axes = _axes(draft, node, len(xs))
    drop = {i for i, d in enumerate(xs) if d == 1} if axes is None else set(axes)
    _reshaped(draft, node, [d for i, d in enumerate(xs) if i not in drop])


def _unsqueeze(draft: Draft, node: Node) -> None:
    xs = list(draft.shape(node.inputs[0]))
    given = draft.constants.get(node.inputs[1])
    count = 0 if given is None else given.size
    for axis in sorted(_axes(draft, node, len(xs) + count) or ()):
        xs.insert(axis, 1)
    _reshaped(draft, node, xs)


def _transpose(draft: Draft, node: Node) -> None:
    x = node.inputs[0]
    xs = draft.shape(x)
    perm = node.ints("perm", range(len(xs))[::-1])
    if perm == tuple(range(len(xs))):
        draft.aliases[node.output] = x
        return
    shape = [xs[p] for p in perm]
    draft.emit("transpose", [x], node.output, shape, sources=[node.name], perm=perm)


def _softmax(draft: Draft, node: Node) -> None:
    x = node.inputs[0]
    shape = draft.shape(x)
    axis = int(node.attrs.get("axis", -1)) % len(shape)
    draft.emit("softmax", [x], node.output, shape, sources=[node.name], axis=axis)


def _identity(draft: Draft, node: Node) -> None:
    draft.aliases[node.output] = node.inputs[0]


def _dropout(draft: Draft, node: Node) -> None:
    mode = node.optional(2)
    if mode is not None and (mode not in draft.constants or bool(draft.constants[mode])):
        raise DstcError("training_mode is not supported; export the model for inference")
    _identity(draft, node)


def _cast(draft: Draft, node: Node) -> None:
    if node.attrs["to"] != TensorProto.FLOAT:
        raise DstcError(f"a cast to {type_name(node.attrs['to'])} is not supported; only to FLOAT")
    _identity(draft, node)


def _batch_norm(draft: Draft, node: Node) -> None:
    if node.attrs.get("training_mode"):
        raise DstcError("training_mode = 1 is not supported; export the model for inference")
    if not all(v in draft.constants for v in node.inputs[1:5]):
        raise DstcError("scale, bias, mean and variance must be constant")
    x = node.inputs[0]
    draft.emit(
        "batch_norm",
        node.inputs[:5],
        node.output,
        draft.shape(x),
        sources=[node.name],
        epsilon=float(node.attrs.get("epsilon", 1e-5)),
    )


CONVERTERS: dict[str, Callable[[Draft, Node], None]] = {
    "Add": _add,
    "AveragePool": _pool(PoolKind.AVERAGE),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool(PoolKind.AVERAGE),
    "GlobalMaxPool": _global_pool(PoolKind.MAX),
    "Identity": _identity,
    "MatMul": _matmul,
    "MaxPool": _pool(PoolKind.MAX),
    "Relu": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""ONNX operators on values that the inputs determine; on constants any operator is evaluated."""

__all__ = ["CONVERTERS", "FLOATS", "Node", "as_vector", "node_name", "type_name"]
