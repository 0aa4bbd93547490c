"""Densities on constants and on the operands of products.

In: IR with `dstc.constant` and its pool. Out: `density` on each constant, `a_density` and
`b_density` on each product: exact for constants, an estimate behind a ReLU, else 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import FloatAttr, ModuleOp, f64
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..dialects import dstc
from ..dialects.constants import ConstantPool, constants_of

_TRANSPARENT = (
    dstc.ReshapeOp | dstc.TransposeOp | dstc.CastOp | dstc.Pool2dOp | dstc.Im2colOp | dstc.EncodeOp
    | dstc.DecodeOp
)  # fmt: skip
"""Ops whose result is about as dense as their operand."""

_UNKNOWN = FloatAttr(1.0, f64)


def density_of(pool: ConstantPool, name: str) -> float:
    """Fraction of non-zeros of a constant; -0 is a zero, NaN is none; 1 for an empty array."""
    array = pool[name]
    return np.count_nonzero(array) / array.size if array.size else 1.0


@dataclass(frozen=True)
class AnnotateSparsity(ModulePass):
    """Annotate constants and the operands of products with their densities.

    `activation_density` is assumed for an operand that comes from a ReLU, through pooling,
    reshapes and im2col. A density that is there stays where nothing is known.
    """

    name = "annotate-sparsity"

    activation_density: float | int = 0.5

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not 0 <= self.activation_density <= 1:
            raise DstcError(
                f"{self.name}: activation-density must be 0 to 1, not {self.activation_density:g}"
            )
        pool = constants_of(ctx)
        for inner in op.walk():
            if isinstance(inner, dstc.ConstantOp):
                inner.density = FloatAttr(density_of(pool, inner.constant.data), f64)
            elif isinstance(inner, dstc.MatmulOp):
                inner.a_density = self._of(inner.lhs) or inner.a_density or _UNKNOWN
                inner.b_density = self._of(inner.rhs) or inner.b_density or _UNKNOWN
            elif isinstance(inner, dstc.Conv2dOp):
                inner.a_density = self._of(inner.w) or inner.a_density or _UNKNOWN
                inner.b_density = self._of(inner.x) or inner.b_density or _UNKNOWN

    def _of(self, value: SSAValue) -> FloatAttr | None:
        while True:
            owner = value.owner
            if isinstance(owner, dstc.ConstantOp) and owner.density is not None:
                return owner.density
            if isinstance(owner, dstc.ReluOp) or (
                isinstance(owner, dstc.MatmulOp | dstc.Conv2dOp)
                and owner.activation is not None
                and owner.activation.data == dstc.Activation.RELU
            ):
                return FloatAttr(self.activation_density, f64)
            if not isinstance(owner, _TRANSPARENT):
                return None
            value = owner.operands[0]
