"""convert-encode-to-tile: `dstc.encode` of an activation becomes a kernel.

In: `dstc.encode` of what is not constant (constants are encoded ahead of time), groups of ops that
end in one, the machine. Out: a `dstc_tile.kernel` in which each warp encodes rows of tiles with
ballots and popcounts; a group's computes the elements that it encodes.
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
from ..dialects.dstc_pointwise import FusedOp
from ..runtime.machine import Machine
from .convert_elementwise_to_tile import group_name
from .device_tensor import DeviceTensor
from .encode_group import encoding_kernel
from .encode_image import encode_image_kernel
from .encode_tile import WARPS, Element, encode_grid, encode_rows, loaded
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

    encode_rows(b, layout, machine, b.params["y"], loaded(b, elements))
    return b.finish()


class _ConvertGroup(RewritePattern):
    """A group of ops whose result is encoded."""

    def __init__(self, names: KernelNames, machine: Machine):
        self.names, self.machine = names, machine

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: FusedOp, rewriter: PatternRewriter) -> None:
        encode = op.yielded.owner
        if not isinstance(encode, EncodeOp):
            return
        what = group_name(op)
        name = self.names.fresh(op, what)
        launch = tile.LaunchOp(name, list(op.inputs), [op.result.type], op=what)
        kernel = encoding_kernel(name, encode, op.body.block.args, self.machine)
        self.names.replace(op, rewriter, kernel, launch)


class _ConvertEncode(RewritePattern):
    def __init__(self, names: KernelNames, machine: Machine):
        self.names, self.machine = names, machine

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: EncodeOp, rewriter: PatternRewriter) -> None:
        if isinstance(op.input.owner, ConstantOp) or isinstance(op.parent_op(), FusedOp):
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
        names = KernelNames(op)
        for pattern in (_ConvertGroup(names, machine), _ConvertEncode(names, machine)):
            PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)
