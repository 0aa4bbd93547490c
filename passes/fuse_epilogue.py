"""Bias, residual and ReLU behind a product become the product's own epilogue.

In: level-1 IR. Out: `dstc.matmul` and `dstc.conv2d` with `bias`, `residual` and `activation`; a
reshape between product and ReLU goes behind both. The arithmetic stays the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import AnyFloat, Float32Type, ModuleOp, StringAttr, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..dialects import dstc
from ..dialects.constants import ConstantPool, constants_of
from .fold_constants import fold

Product = dstc.MatmulOp | dstc.Conv2dOp


def _type(value: SSAValue) -> TensorType[AnyFloat]:
    return cast("TensorType[AnyFloat]", value.type)


def _product(value: SSAValue) -> Product | None:
    """The product that makes `value`, if nothing else reads it and no activation is fused."""
    owner = value.owner
    if isinstance(owner, dstc.MatmulOp | dstc.Conv2dOp) and value.has_one_use():
        return owner if owner.activation is None else None
    return None


def _may_round_later(product: Product, result: SSAValue) -> bool:
    """Only `result` is rounded, so that skipping the product's own type changes no value."""
    element = _type(product.result).element_type
    return isinstance(element, Float32Type) or element == _type(result).element_type


def _replace(
    rewriter: PatternRewriter,
    op: Operation,
    product: Product,
    *,
    bias: SSAValue | None = None,
    residual: SSAValue | None = None,
) -> Product:
    """Put a copy of `product`, with more operands, where `op` stands, and drop both."""
    groups = (product.operands[:1], product.operands[1:2])
    addends = (bias or product.bias, residual or product.residual)
    fused = type(product).build(
        operands=[*groups, *addends],
        result_types=op.result_types,
        properties={k: v for k, v in product.properties.items() if k != "operandSegmentSizes"},
        attributes=product.attributes.copy(),
    )
    dstc.copy_source(fused, product, op)
    rewriter.replace(op, fused)
    rewriter.erase(product)
    return fused


def _bias_along(product: Product, vector: Sequence[int]) -> str | None:
    """Along which dimension (m or n) an addend of shape `vector` is a bias of `product`."""
    shape = dstc.matrix_shape(product.result.type)
    rank = len(shape)
    if not vector or len(vector) > rank:
        return None
    padded = (1,) * (rank - len(vector)) + tuple(vector)
    if rank == 4:
        return "m" if padded == (1, shape[1], 1, 1) else None
    if padded == (1, shape[1]):
        return "n"
    return "m" if padded == (shape[0], 1) else None


@dataclass
class AddToBias(RewritePattern):
    """product + constant vector -> product with bias, a constant of one dimension."""

    pool: ConstantPool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.AddOp, rewriter: PatternRewriter) -> None:
        for value, vector in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
            product = _product(value)
            if (
                product is None
                or product.bias is not None
                or product.residual is not None
                or not isinstance(constant := vector.owner, dstc.ConstantOp)
                or not isinstance(_type(value).element_type, Float32Type)
                or _type(value).get_shape() != _type(op.result).get_shape()
            ):
                continue
            shape = _type(vector).get_shape()
            along = _bias_along(product, shape)
            if along is None:
                continue
            size = max(shape)
            if shape != (size,):
                flat = dstc.ReshapeOp(vector, dstc.tensor((size,), _type(vector).element_type))
                dstc.copy_source(flat, op)
                known = constant.constant.data in self.pool
                made = fold(flat, constant, self.pool) if known else flat
                rewriter.insert(made)
                vector = made.results[0]
            fused = _replace(rewriter, op, product, bias=vector)
            if not constant.result.uses:
                rewriter.erase(constant)
            if isinstance(fused, dstc.MatmulOp):
                fused.bias_along = StringAttr(along)
            return


class AddToResidual(RewritePattern):
    """product + tensor of the same shape -> product with residual.

    Of two products the first operand takes in the other.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.AddOp, rewriter: PatternRewriter) -> None:
        shape = _type(op.result).get_shape()
        for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
            product = _product(value)
            if (
                product is not None
                and product.residual is None
                and isinstance(_type(value).element_type, Float32Type)
                and shape == _type(value).get_shape() == _type(other).get_shape()
            ):
                _replace(rewriter, op, product, residual=other)
                return


class ReluToActivation(RewritePattern):
    """relu(product) -> product with activation."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.ReluOp, rewriter: PatternRewriter) -> None:
        product = _product(op.x)
        if product is None or not _may_round_later(product, op.result):
            return
        fused = _replace(rewriter, op, product)
        fused.activation = dstc.ActivationAttr(dstc.Activation.RELU)


class ReluBeforeReshape(RewritePattern):
    """relu(reshape(product)) -> reshape(relu(product))."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: dstc.ReluOp, rewriter: PatternRewriter) -> None:
        reshape = op.x.owner
        if (
            not isinstance(reshape, dstc.ReshapeOp)
            or not op.x.has_one_use()
            or _product(reshape.x) is None
            or _type(op.x) != _type(op.result)
        ):
            return
        relu = dstc.ReluOp(reshape.x, reshape.x.type)
        dstc.copy_source(relu, op)
        after = dstc.ReshapeOp(relu.result, op.result.type)
        dstc.copy_source(after, reshape)
        rewriter.replace(op, [relu, after])
        rewriter.erase(reshape)


@dataclass(frozen=True)
class FuseEpilogue(ModulePass):
    """Fuse additions of bias and residual, and ReLU, into the matmul or conv2d before them."""

    name = "fuse-epilogue"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        bias = AddToBias(constants_of(ctx))
        PatternRewriteWalker(
            GreedyRewritePatternApplier(
                [bias, AddToResidual(), ReluToActivation(), ReluBeforeReshape()]
            )
        ).rewrite_module(op)
