"""ONNX operators as operators of the model graph: one converter each, in a table.

In: a node with static input shapes and constants in a `Draft`. Out: the draft's operators (names
of the `dstc` dialect) with their result shapes; `DstcError` for what the compiler cannot express.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import ceil_div
from ...dialects.dstc import PoolKind, window_output
from .draft import FLOATS, Draft
from .onnx_build import Build
from .onnx_conv import conv, conv_transpose, window_pads
from .onnx_einsum import EINSUM
from .onnx_moves import MOVES
from .onnx_node import Node, node_name, type_name
from .onnx_pointwise import POINTWISE
from .onnx_products import PRODUCTS
from .onnx_recurrent import RECURRENT
from .onnx_resize import RESIZE
from .onnx_rows import ROWS
from .onnx_select import SELECT


def _square(draft: Draft, value: str, what: str) -> tuple[int, ...]:
    shape = draft.shape(value)
    if len(shape) != 4:
        raise DstcError(f"{len(shape) - 2}-D {what} is not supported; only 2-D (N x C x H x W)")
    return shape


def _pooled(size: int, kernel: int, stride: int, begin: int, end: int, dilation: int) -> int:
    """Windows with ceil_mode; one that would start in the padding behind the input is dropped."""
    span = size + begin + end - (kernel - 1) * dilation - 1
    out = ceil_div(span, stride) + 1
    return out - 1 if (out - 1) * stride >= size + begin else out


def _pool(kind: PoolKind) -> Callable[[Draft, Node], None]:
    def convert(draft: Draft, node: Node) -> None:
        if any(node.outputs[1:]):
            raise DstcError("its output Indices is not supported")
        b, x = Build(draft, node), node.inputs[0]
        line = len(draft.shape(x)) == 3
        if line:  # one row of pixels
            n, c, length = draft.shape(x)
            x = b.reshape(x, (n, c, 1, length))
            node = _as_row(node)
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
        value = b.emit(
            "pool2d",
            [x],
            (*xs[:2], *size),
            kind=kind,
            kernel=kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            count_include_pad=bool(node.attrs.get("count_include_pad")),
        )
        b.give(b.reshape(value, (*xs[:2], size[1])) if line else value)

    return convert


def _as_row(node: Node) -> Node:
    """Attributes of a 1-D window as those of a row of a 2-D one."""
    attrs = dict(node.attrs)
    for key in ("kernel_shape", "strides", "dilations"):
        if key in attrs:
            attrs[key] = (1, *attrs[key])
    if "pads" in attrs:
        attrs["pads"] = (0, attrs["pads"][0], 0, attrs["pads"][1])
    return replace(node, attrs=attrs)


def _reshaped(draft: Draft, node: Node, shape: Sequence[int]) -> None:
    b = Build(draft, node)
    b.give(b.reshape(node.inputs[0], shape))


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
    b = Build(draft, node)
    b.give(b.transpose(x, perm))


def _identity(draft: Draft, node: Node) -> None:
    draft.aliases[node.output] = node.inputs[0]


def _dropout(draft: Draft, node: Node) -> None:
    mode = node.optional(2)
    if mode is not None and (mode not in draft.constants or bool(draft.constants[mode])):
        raise DstcError("training_mode is not supported; export the model for inference")
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
    **POINTWISE,
    **MOVES,
    **ROWS,
    **PRODUCTS,
    **EINSUM,
    **RESIZE,
    **RECURRENT,
    **SELECT,
    "AveragePool": _pool(PoolKind.AVERAGE),
    "BatchNormalization": _batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Identity": _identity,
    "MaxPool": _pool(PoolKind.MAX),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""ONNX operators on values that the inputs determine; on constants any operator is evaluated."""

__all__ = ["CONVERTERS", "FLOATS", "Node", "node_name", "type_name"]
