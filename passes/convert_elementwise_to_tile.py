"""convert-elementwise-to-tile: additions, ReLU, casts, transposes and copies become kernels.

In: `dstc.add`, `dstc.relu`, `dstc.cast`, `dstc.transpose`, and `dstc.reshape` where the two shapes
are laid out differently on the device. Out: a `dstc_tile.kernel` with one lane an output element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, builtin
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from ..dialects.dstc import AddOp, CastOp, ConstantOp, ReluOp, ReshapeOp, TransposeOp, int_values
from .device_tensor import DeviceTensor, load_element, store_element, unflatten
from .kernel_builder import KernelBuilder, Value
from .kernel_names import KernelNames

WARPS = 4
"""Warps a CTA of an elementwise kernel."""

Combine = Callable[[KernelBuilder, Sequence[SSAValue]], SSAValue]


def _first(b: KernelBuilder, values: Sequence[SSAValue]) -> SSAValue:
    del b
    return values[0]


def _relu(b: KernelBuilder, values: Sequence[SSAValue]) -> SSAValue:
    return b.insert(arith.MaximumfOp(values[0], b.float(0.0)))


def _add(b: KernelBuilder, values: Sequence[SSAValue]) -> SSAValue:
    return b.insert(arith.AddfOp(values[0], values[1]))


_COMBINE: dict[type[Operation], Combine] = {
    ReluOp: _relu,
    AddOp: _add,
    CastOp: _first,
    TransposeOp: _first,
    ReshapeOp: _first,
}


def is_alias(op: ReshapeOp) -> bool:
    """Both shapes lie in device memory in the same way: nothing needs to move."""
    return DeviceTensor.of(op.x.type).layout == DeviceTensor.of(op.result.type).layout


def _input_offset(
    b: KernelBuilder, op: Operation, source: DeviceTensor, flat: Value, indices: list[Value]
) -> Value:
    """Byte offset in `source` of what goes into the output element at `indices`."""
    if isinstance(op, ReshapeOp):
        indices = unflatten(b, flat, source.shape)
    elif isinstance(op, TransposeOp):
        perm = int_values(op.perm)
        indices = [indices[perm.index(d)] for d in range(len(perm))]
    else:
        indices = indices[len(indices) - len(source.shape) :]
    offset: Value = 0
    for index, extent, stride in zip(indices, source.shape, source.strides, strict=True):
        if extent > 1:
            offset = b.mad(index, stride, offset)
    return offset


def elementwise_kernel(op: Operation, name: str) -> tile.KernelOp:
    """The kernel of one elementwise op."""
    sources = [DeviceTensor.of(v.type) for v in op.operands]
    out = DeviceTensor.of(op.results[0].type)
    params = [f"x{i}" for i in range(len(sources))]
    grid = (ceil_div(out.elements, 32 * WARPS), 1, 1)
    b = KernelBuilder(name, [*params, "y"], grid, warps=WARPS)
    flat = b.mad(b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp), 32, b.lane)
    inside = b.less(flat, out.elements) if out.elements % (32 * WARPS) else None
    indices = unflatten(b, flat, out.shape)
    values = [
        load_element(
            b,
            source,
            b.add(b.params[param], _input_offset(b, op, source, flat, indices)),
            predicate=inside,
        )
        for param, source in zip(params, sources, strict=True)
    ]
    address: Value = b.params["y"]
    for index, stride in zip(indices, out.strides, strict=True):
        address = b.mad(index, stride, address)
    store_element(b, out, _COMBINE[type(op)](b, values), address, predicate=inside)
    return b.finish()


class _ConvertElementwise(RewritePattern):
    def __init__(self, names: KernelNames):
        self.names = names

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if type(op) not in _COMBINE or (isinstance(op, ReshapeOp) and is_alias(op)):
            return
        if all(isinstance(v.owner, ConstantOp) for v in op.operands):
            return  # folded ahead of time
        what = op.name.removeprefix("dstc.")
        name = self.names.fresh(op, what)
        launch = tile.LaunchOp(name, op.operands, [op.results[0].type], op=what)
        self.names.replace(op, rewriter, elementwise_kernel(op, name), launch)


@dataclass(frozen=True)
class ConvertElementwiseToTile(ModulePass):
    """Turn additions, ReLU, casts, transposes and copies into kernels and launches."""

    name = "convert-elementwise-to-tile"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(
            _ConvertElementwise(KernelNames(op)), apply_recursively=False
        ).rewrite_module(op)
