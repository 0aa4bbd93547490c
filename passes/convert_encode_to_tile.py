"""convert-encode-to-tile: `dstc.encode` of an activation becomes a kernel.

In: `dstc.encode` whose input is not a constant (constants are encoded ahead of time), the machine.
Out: a `dstc_tile.kernel` in which each warp encodes rows of tiles with ballots and popcounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..backend.isa.table import TILE_K
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, ConstantOp, EncodeOp, ImageType
from ..runtime.machine import Machine
from .device_tensor import DeviceTensor
from .encode_image import encode_image_kernel
from .encode_tile import WARPS, Element, encode_grid, encode_rows
from .kernel_builder import KernelBuilder, Value
from .kernel_names import KernelNames
from .target_machine import DEFAULT_MACHINE, machine_of


def encode_kernel(op: EncodeOp, name: str, machine: Machine) -> tile.KernelOp:
    """The kernel of one `dstc.encode`, cut for `machine`."""
    type_ = op.result.type
    assert isinstance(type_, BitmapType)
    layout = type_.layout
    source = DeviceTensor.halves(op.input.type, op.name)
    vector_stride, depth_stride = source.strides
    if type_.side.data == "b":
        vector_stride, depth_stride = depth_stride, vector_stride
    b = KernelBuilder(name, ["x", "y"], encode_grid(layout, machine), warps=WARPS)

    def elements(vector: SSAValue, depth0: Value) -> Iterator[Element]:
        exists = b.less(vector, layout.vectors)
        start = b.mad(vector, vector_stride, b.params["x"])
        for j in range(TILE_K):
            depth = b.add(depth0, j)
            last = layout.depth % TILE_K
            inside = b.less(depth, layout.depth) if last and j >= last else None
            yield b.mad(depth, depth_stride, start), b.both(exists, inside)

    encode_rows(b, layout, machine, b.params["y"], elements)
    return b.finish()


class _ConvertEncode(RewritePattern):
    def __init__(self, names: KernelNames, machine: Machine):
        self.names, self.machine = names, machine

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: EncodeOp, rewriter: PatternRewriter) -> None:
        if isinstance(op.input.owner, ConstantOp):
            return
        name = self.names.fresh(op, "encode")
        launch = tile.LaunchOp(name, [op.input], [op.result.type], op="encode")
        if isinstance(op.result.type, ImageType):
            kernel = encode_image_kernel(op, name)
        else:
            kernel = encode_kernel(op, name, self.machine)
        self.names.replace(op, rewriter, kernel, launch)


@dataclass(frozen=True)
class ConvertEncodeToTile(ModulePass):
    """Turn the encoding of activations into kernels and launches."""

    name = "convert-encode-to-tile"
    machine: str = DEFAULT_MACHINE
    """whose SMs the kernels are to fill."""

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        machine = machine_of(ctx, self.machine)
        PatternRewriteWalker(
            _ConvertEncode(KernelNames(op), machine), apply_recursively=False
        ).rewrite_module(op)
