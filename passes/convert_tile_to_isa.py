"""convert-tile-to-isa: kernels as lanes' code become instructions on virtual registers.

In: `dstc_tile.kernel` with `scf` and `arith` inside. Out: `dstc_isa.kernel`, in blocks. Constants
and parameters become immediates, multiply-add and three-way additions one instruction, divisions by
constants multiplications; each instruction remembers the tile op it came from.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from ..dialects import dstc_tile as tile
from . import isa_arith, isa_control, isa_memory, isa_tensor
from .isa_builder import (
    Handler,
    KernelConverter,
)

HANDLERS: dict[type[Operation], Handler] = {
    **isa_arith.HANDLERS,
    **isa_memory.HANDLERS,
    **isa_tensor.HANDLERS,
    **isa_control.HANDLERS,
}
"""Handlers of all ops that a kernel may contain."""


@dataclass(frozen=True)
class ConvertTileToIsa(ModulePass):
    """Turn tiled kernels into instructions on virtual registers."""

    name = "convert-tile-to-isa"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        for kernel in [o for o in op.body.block.ops if isinstance(o, tile.KernelOp)]:
            new = KernelConverter(kernel, HANDLERS).convert()
            op.body.block.insert_op_before(new, kernel)
            kernel.detach()
            kernel.erase()
