"""Converters of ONNX matrix products: MatMul with batches and vectors, Gemm.

In: a node and its draft. Out: `matmul` operators on matrices. A batch of products is one operator
on matrices stacked by rows, each padded to whole blocks of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import PITCH_ALIGN, round_up
from .draft import Draft
from .onnx_build import Build
from .onnx_node import Node

Converter = Callable[[Draft, Node], None]


def _matmul(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    lhs, rhs = node.inputs[:2]
    if draft.integer(lhs) or draft.integer(rhs):
        raise DstcError("products of integers are not supported")
    b.give(product(b, lhs, rhs))


def product(b: Build, lhs: str, rhs: str) -> str:
    """numpy's matmul."""
    ls, rs = b.shape(lhs), b.shape(rhs)
    if not ls or not rs:
        raise DstcError("an operand has no dimensions; it must have 1 or more")
    row, column = len(ls) == 1, len(rs) == 1
    lhs = b.reshape(lhs, (1, *ls)) if row else lhs
    rhs = b.reshape(rhs, (*rs, 1)) if column else rhs
    (*batch, m, k), (*_, k2, n) = b.shape(lhs), b.shape(rhs)
    if k != k2:
        raise DstcError(f"the left operand has {k} columns, but the right one has {k2} rows")
    batch = np.broadcast_shapes(b.shape(lhs)[:-2], b.shape(rhs)[:-2])
    value = _batched(b, lhs, rhs, batch)
    shape = (*batch, *(() if row else (m,)), *(() if column else (n,)))
    return b.reshape(value, shape)


def _batched(b: Build, lhs: str, rhs: str, batch: Sequence[int]) -> str:
    """The product of matrices; its result need not have its shape yet."""
    (m, k), n = b.shape(lhs)[-2:], b.shape(rhs)[-1]
    right = math.prod(b.shape(rhs)[:-2])
    if right == 1:  # one right operand for all rows
        rows = math.prod(b.shape(lhs)[:-1])
        value = _plain(b, b.reshape(lhs, (rows, k)), b.reshape(rhs, (k, n)))
        return b.reshape(value, (*b.shape(lhs)[:-1], n))
    count = math.prod(batch)
    mp, kp = round_up(m, PITCH_ALIGN), round_up(k, PITCH_ALIGN)
    stacked: list[str] = []
    for value, rows, columns in ((lhs, mp, kp), (rhs, kp, n)):
        value = b.expand(value, (*batch, *b.shape(value)[-2:]))
        value = b.pad(value, [0] * (len(batch) + 2), (*batch, rows, columns))
        stacked.append(b.reshape(value, (count * rows, columns)))
    value = b.emit("matmul", stacked, (count * mp, n), batch=count)
    value = b.reshape(value, (*batch, mp, n))
    return b.part(value, len(batch), 0, m)


def _plain(b: Build, lhs: str, rhs: str) -> str:
    return b.emit("matmul", [lhs, rhs], (b.shape(lhs)[0], b.shape(rhs)[1]))


def _gemm(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    lhs, rhs, c = node.inputs[0], node.inputs[1], node.optional(2)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    for value, what in ((lhs, "A"), (rhs, "B")):
        if len(draft.shape(value)) != 2:
            raise DstcError(f"{what} has {len(draft.shape(value))} dimensions, but must have 2")
    lhs = b.transpose(lhs, (1, 0)) if node.flag("transA") else lhs
    rhs = b.transpose(rhs, (1, 0)) if node.flag("transB") else rhs
    if draft.shape(lhs)[1] != draft.shape(rhs)[0]:
        raise DstcError(
            f"A has {draft.shape(lhs)[1]} columns, but B has {draft.shape(rhs)[0]} rows"
        )
    scaled = alpha == 1
    if not scaled and (rhs in draft.constants or lhs in draft.constants):
        weights = rhs if rhs in draft.constants else lhs
        new = b.constant("scaled", draft.constants[weights].astype(np.float32) * np.float32(alpha))
        lhs, rhs, scaled = new if weights == lhs else lhs, new if weights == rhs else rhs, True
    m, n = draft.shape(lhs)[0], draft.shape(rhs)[1]
    bias = None if c is None or beta == 0 else c
    if bias in draft.constants and beta != 1:
        bias = b.constant("bias", draft.constants[bias].astype(np.float32) * np.float32(beta))
        beta = 1.0
    along = None if bias is None else vector_along(draft, bias, (m, n))
    if scaled and bias is not None and along is not None:
        vector = as_vector(draft, bias, (m, n)["mn".index(along)])
        b.give(b.emit("matmul", [lhs, rhs, vector], (m, n), bias_along=along))
        return
    value = _plain(b, lhs, rhs)
    value = value if scaled else b.call("mul", value, alpha)
    if bias is not None:
        value = b.call("add", value, bias if beta == 1 else b.call("mul", bias, beta))
    b.give(value)


def vector_along(draft: Draft, value: str, shape: tuple[int, int]) -> str | None:
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


PRODUCTS: dict[str, Converter] = {"Gemm": _gemm, "MatMul": _matmul}
"""ONNX matrix products."""
