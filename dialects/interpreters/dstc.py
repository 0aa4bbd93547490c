"""What `dstc` ops mean: numpy implementations for xDSL's interpreter.

In: numpy arrays of the operands' element types; constants from a `ConstantPool`. Out: arrays of
the results' types, bit by bit what the device computes; a bitmap is its dense matrix without -0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.interpreter import Interpreter, InterpreterFunctions, impl, register_impls
from xdsl.ir import Attribute
from xdsl.utils.exceptions import InterpretationError

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import split_ranges
from ...runtime.host_ops import pool
from ...runtime.lowered import lowered
from ...runtime.nm_format import violation
from .. import dstc
from ..constants import ConstantPool
from ..conv_window import ConvWindow
from .dstc_pointwise import run_rows, tensor_dtype

Array = NDArray[Any]
Arrays = tuple[Any, ...]

_BLOCK = 1 << 16
"""Elements of an accumulator block: 256 KB of f32, so that it stays in the cache."""


def element_dtype(type_: Attribute) -> type[Any]:
    """The numpy type of a tensor's or bitmap's elements."""
    if isinstance(type_, dstc.BitmapType | dstc.NmType | dstc.ImageType):
        return np.float16
    return tensor_dtype(type_)


def rounded(array: Array, type_: Attribute) -> Array:
    """`array` as a value of `type_`: nearest even; what is encoded has no -0.

    Raises `DstcError` for an array that does not keep the type's n:m pattern.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(element_dtype(type_))
    if isinstance(type_, dstc.NmType):
        where = violation(result, type_.pattern, type_.side.data)
        if where is not None:
            raise DstcError(f"a value of type {type_} is not {type_.pattern}: {where}")
    if isinstance(type_, dstc.BitmapType | dstc.NmType | dstc.ImageType):
        result = np.where(result == 0, np.float16(0), result)
    return result


def matmul_f32(a: Array, b: Array, skip_zeros: bool | str = False) -> NDArray[np.float32]:
    """M x K times K x N in f32, by rank-1 updates in ascending k.

    Products of f16 are exact in f32, so each element is one chain of f32 additions. With
    `skip_zeros` a zero operand contributes nothing, even against infinity and NaN; with "a" or "b"
    only zeros of that one do not.
    """
    a, b = a.astype(np.float32), b.astype(np.float32)
    (m, depth), n = a.shape, b.shape[1]
    acc = np.zeros((m, n), np.float32)
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    masked = "" if finite or not skip_zeros else "ab" if skip_zeros is True else skip_zeros
    # a zero times a finite number adds 0, which changes no sum that began with +0
    live = np.flatnonzero((a != 0).any(axis=0) & (b != 0).any(axis=1)) if finite else range(depth)
    columns = np.ascontiguousarray(a.T)
    step = max(_BLOCK // max(m, 1), 256)
    with np.errstate(all="ignore"):
        for start in range(0, n, step):
            part = b[:, start : start + step]
            block = np.zeros((m, part.shape[1]), np.float32)
            product = np.empty_like(block)
            for k in live:
                np.multiply(columns[k][:, None], part[k], out=product)
                if "a" in masked:
                    product[columns[k] == 0] = 0
                if "b" in masked:
                    product[:, part[k] == 0] = 0
                block += product
            acc[:, start : start + step] = block
    return acc


def matmul_split(
    a: Array, b: Array, parts: int, skip_zeros: bool | str = False
) -> NDArray[np.float32]:
    """`matmul_f32` of each part of K (`split_ranges`), added in ascending order."""
    total: NDArray[np.float32] | None = None
    for start, stop in split_ranges(a.shape[1], parts):
        part = matmul_f32(a[:, start:stop], b[start:stop], skip_zeros)
        with np.errstate(all="ignore"):
            total = part if total is None else total + part
    assert total is not None
    return total


def in_groups(
    a: Array, b: Array, groups: int, multiply: Callable[[Array, Array], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """`multiply` for each of `groups` blocks of rows of a and b, results below each other."""
    pairs = zip(np.split(a, groups), np.split(b, groups), strict=True)
    return np.concatenate([multiply(x, y) for x, y in pairs])


def engine_skips(schedule: dstc.ScheduleAttr) -> bool | str:
    """Whose zeros contribute nothing on the schedule's engine: `matmul_f32`'s `skip_zeros`."""
    if schedule.engine.data == dstc.Engine.NM:
        return "b" if schedule.swapped else "a"
    return schedule.engine.data == dstc.Engine.DUAL


def relu(x: Array) -> Array:
    """max(x, 0) as FMNMX.MAX.NAN computes it: NaN stays, -0 becomes +0."""
    return np.where((x > 0) | np.isnan(x), x, x.dtype.type(0))


def im2col(x: Array, window: ConvWindow) -> Array:
    """(C*R*S) x (N*OH*OW): rows ordered by (c, r, s), columns by (n, oh, ow)."""
    return lowered(x, window.sliding, window.spread)


def epilogue(
    acc: NDArray[np.float32],
    bias: Array | None,
    along: str,
    activation: bool,
    residual: Array | None = None,
) -> NDArray[np.float32]:
    """Bias (along m or n), residual (M x N) and ReLU on the f32 accumulator (M x N)."""
    if bias is not None:
        bias = bias.astype(np.float32)
        with np.errstate(all="ignore"):
            acc = acc + (bias[:, None] if along == "m" else bias)
    if residual is not None:
        with np.errstate(all="ignore"):
            acc = acc + residual.astype(np.float32)
    return relu(acc) if activation else acc


def image_of(matrix: Array, image: Sequence[int]) -> Array:
    """M x (N*H*W) as N x M x H x W."""
    n, h, w = image
    return matrix.reshape(matrix.shape[0], n, h, w).transpose(1, 0, 2, 3)


def matrix_of(images: Array) -> Array:
    """N x M x H x W as M x (N*H*W): the converse of `image_of`."""
    return images.transpose(1, 0, 2, 3).reshape(images.shape[1], -1)


def addends(op: dstc.MatmulOp | dstc.Conv2dOp, args: Arrays) -> tuple[Array | None, Array | None]:
    """(bias, residual as M x N) of a product's operands beyond its factors."""
    rest = list(args[2:])
    bias = None if op.bias is None else rest.pop(0)
    residual = None if op.residual is None else rest.pop(0)
    if residual is not None and residual.ndim == 4:
        residual = matrix_of(residual)
    return bias, residual


@register_impls
class DstcFunctions(InterpreterFunctions):
    """Implementations of all `dstc` ops; `constants` is where `dstc.constant` looks."""

    def __init__(self, constants: ConstantPool):
        super().__init__()
        self.constants = constants

    @impl(dstc.ConstantOp)
    def run_constant(self, _: Interpreter, op: dstc.ConstantOp, args: Arrays) -> Arrays:
        array = self.constants[op.constant.data]
        want = dstc.matrix_shape(op.result.type)
        if array.shape != want:
            raise InterpretationError(
                f"constant {op.constant.data!r} has the shape {array.shape} in the pool, "
                f"but {want} in the IR"
            )
        return (rounded(array, op.result.type),)

    @impl(dstc.Conv2dOp)
    def run_conv2d(self, _: Interpreter, op: dstc.Conv2dOp, args: Arrays) -> Arrays:
        x, w = args[:2]
        bias, residual = addends(op, args)
        n, _k, oh, ow = dstc.matrix_shape(op.result.type)
        acc = in_groups(w.reshape(w.shape[0], -1), im2col(x, op.window), op.group_count, matmul_f32)
        activation = op.activation is not None and op.activation.data == dstc.Activation.RELU
        acc = epilogue(acc, bias, "m", activation, residual)
        return (rounded(image_of(acc, (n, oh, ow)), op.result.type),)

    @impl(dstc.MatmulOp)
    def run_matmul(self, _: Interpreter, op: dstc.MatmulOp, args: Arrays) -> Arrays:
        lhs, rhs = (
            x.T if flipped else x for x, flipped in zip(args[:2], op.transposed, strict=True)
        )
        bias, residual = addends(op, args)
        if op.window is not None:
            rhs = im2col(rhs, op.window.window)
        parts = 1 if op.schedule is None else op.schedule.parts
        if op.matrices > 1:
            pairs = zip(*(np.split(x, op.matrices) for x in args[:2]), strict=True)
            flips = op.transposed
            each = [
                matmul_f32(*(x.T if f else x for x, f in zip(pair, flips, strict=True)))
                for pair in pairs
            ]
            acc = np.concatenate(each)
        else:
            acc = in_groups(
                lhs,
                rhs,
                op.group_count,
                lambda a, b: (
                    matmul_split(a, b, parts, skips_zeros(op))
                    if parts > 1
                    else matmul_f32(a, b, skips_zeros(op))
                ),
            )
        along = op.bias_along.data if op.bias_along is not None else "n"
        acc = epilogue(acc, bias, along, op.relu, residual)
        if op.image is not None:
            acc = image_of(acc, dstc.int_values(op.image))
        return (rounded(acc, op.result.type),)

    @impl(dstc.Im2colOp)
    def run_im2col(self, _: Interpreter, op: dstc.Im2colOp, args: Arrays) -> Arrays:
        return (rounded(im2col(args[0], op.window), op.result.type),)

    @impl(dstc.EncodeOp)
    def run_encode(self, _: Interpreter, op: dstc.EncodeOp, args: Arrays) -> Arrays:
        return (rounded(args[0], op.result.type),)

    @impl(dstc.DecodeOp)
    def run_decode(self, _: Interpreter, op: dstc.DecodeOp, args: Arrays) -> Arrays:
        return (rounded(args[0], op.result.type),)

    @impl(dstc.ReluOp)
    def run_relu(self, _: Interpreter, op: dstc.ReluOp, args: Arrays) -> Arrays:
        return (rounded(relu(args[0]), op.result.type),)

    @impl(dstc.AddOp)
    def run_add(self, _: Interpreter, op: dstc.AddOp, args: Arrays) -> Arrays:
        with np.errstate(all="ignore"):
            total = args[0].astype(np.float32) + args[1].astype(np.float32)
        return (rounded(total, op.result.type),)

    @impl(dstc.TransposeOp)
    def run_transpose(self, _: Interpreter, op: dstc.TransposeOp, args: Arrays) -> Arrays:
        return (rounded(args[0].transpose(dstc.int_values(op.perm)), op.result.type),)

    @impl(dstc.CastOp)
    def run_cast(self, _: Interpreter, op: dstc.CastOp, args: Arrays) -> Arrays:
        return (rounded(args[0], op.result.type),)

    @impl(dstc.ReshapeOp)
    def run_reshape(self, _: Interpreter, op: dstc.ReshapeOp, args: Arrays) -> Arrays:
        shape = dstc.matrix_shape(op.result.type)
        return (rounded(args[0].reshape(shape), op.result.type),)

    @impl(dstc.Pool2dOp)
    def run_pool2d(self, _: Interpreter, op: dstc.Pool2dOp, args: Arrays) -> Arrays:
        size = dstc.matrix_shape(op.result.type)[2:]
        include = op.count_include_pad is not None and bool(op.count_include_pad.value.data)
        return (rounded(pool(args[0], size, op.window, op.kind.data, include), op.result.type),)

    @impl(dstc.SoftmaxOp)
    def run_softmax(self, _: Interpreter, op: dstc.SoftmaxOp, args: Arrays) -> Arrays:
        return (rounded(run_rows(op, args[0]), op.result.type),)


def skips_zeros(op: dstc.MatmulOp) -> bool | str:
    """Zero operands contribute nothing: the dual engine, or both operands are bitmaps.

    "a" or "b": only this operand's, on the n:m engine or where it is an n:m operand.
    """
    if op.schedule is not None and op.schedule.engine.data != dstc.Engine.DENSE:
        return engine_skips(op.schedule)
    for side, value in (("a", op.lhs), ("b", op.rhs)):
        if isinstance(value.type, dstc.NmType):
            return side
    encoded = dstc.BitmapType | dstc.ImageType
    return all(isinstance(v.type, encoded) for v in (op.lhs, op.rhs))
