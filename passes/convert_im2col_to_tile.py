"""convert-im2col-to-tile: `dstc.im2col` becomes a kernel, dense or encoding on the fly.

In: `dstc.im2col`, the machine. Out: a `dstc_tile.kernel`; a lane is an output pixel, and the row of
the lowered matrix (channel, kernel row, kernel column) is worked out once by 16 lanes and shared by
shuffles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import BitmapLayout, ceil_div
from ..backend.isa.table import TILE_K
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, Im2colOp, matrix_shape
from ..runtime.machine import Machine
from .device_tensor import DeviceTensor
from .encode_tile import WARPS, Element, encode_grid, encode_rows, loaded
from .kernel_builder import KernelBuilder, Value
from .kernel_names import KernelNames
from .target_machine import DEFAULT_MACHINE, machine_of

MAX_KERNEL = 15
"""Rows and columns of a convolution's kernel: one bit each in half a word."""


class _Windows:
    """Addresses of the input elements under the window of a pixel."""

    def __init__(self, b: KernelBuilder, op: Im2colOp):
        self.b = b
        self.x = DeviceTensor.halves(op.x.type, op.name)
        self.window = op.window
        self.kernel, self.strides, self.pads, self.dilations = self.window.sliding
        self.out = self.window.output(self.x.shape[2:])
        self.depth, self.pixels = matrix_shape(op.result.type)
        if max(self.kernel) > MAX_KERNEL:
            raise DstcError(
                f"dstc.im2col: a kernel of {self.kernel[0]}x{self.kernel[1]} is too large; the "
                f"largest is {MAX_KERNEL}x{MAX_KERNEL}"
            )

    def elements(self, pixel: SSAValue, depth0: Value) -> Iterator[Element]:
        """The 16 elements of a pixel's column from row `depth0` of the lowered matrix."""
        b, x = self.b, self.x
        oh, ow = self.out
        image = b.div(pixel, oh * ow)
        within = b.sub(pixel, b.mul(image, oh * ow))
        row = b.div(within, ow)
        column = b.sub(within, b.mul(row, ow))
        h0 = b.sub(b.mul(row, self.strides[0]), self.pads[0])
        w0 = b.sub(b.mul(column, self.strides[1]), self.pads[1])
        starts = [self._element(axis, start) for axis, start in ((0, h0), (1, w0))]
        origin = b.mad(starts[0], x.strides[2], b.mul(starts[1], x.strides[3]))
        origin = b.add(b.mad(image, x.strides[0], b.params["x"]), origin)
        shifts, needs = self._taps(depth0)
        has = self._inside(pixel, h0, w0)
        for j in range(TILE_K):
            lane = b.value(j)
            address = b.add(origin, b.insert(tile.ShuffleOp(shifts, lane)))
            need = b.insert(tile.ShuffleOp(needs, lane))
            yield address, b.compare("eq", b.and_(need, has), need)

    def _element(self, axis: int, start: Value) -> Value:
        """The row or column of the image at which a window begins, rounded down."""
        b, spread = self.b, self.window.spread[axis]
        if spread == 1:
            return start
        before = ceil_div(self.pads[axis], spread)
        return b.sub(b.div(b.add(start, before * spread), spread), before)

    def _taps(self, depth0: Value) -> tuple[SSAValue, SSAValue]:
        """By lane j, for matrix row depth0 + j: byte shift, and the bits that `_inside` must have.

        Bit r for the kernel's row, bit 16 + s for its column; bit 15 past the end of the matrix.
        """
        b, x = self.b, self.x
        taps = self.kernel[0] * self.kernel[1]
        depth = b.add(depth0, b.and_(b.lane, TILE_K - 1))
        channel = b.div(depth, taps)
        tap = b.sub(depth, b.mul(channel, taps))
        r = b.div(tap, self.kernel[1])
        s = b.sub(tap, b.mul(r, self.kernel[1]))
        dh, dw = (
            b.div(b.add(b.mul(at, d), u - 1), u)
            for at, d, u in zip((r, s), self.dilations, self.window.spread, strict=True)
        )
        shift = b.mad(channel, x.strides[1], b.mad(dh, x.strides[2], b.mul(dw, x.strides[3])))
        one = b.value(1)
        need = b.value(b.or_(b.shl(one, r), b.shl(one, b.add(s, 16))))
        if self.depth % TILE_K:
            need = b.select(b.less(depth, self.depth), need, 1 << 15)
        return b.value(shift), need

    def _inside(self, pixel: SSAValue, h0: Value, w0: Value) -> SSAValue:
        """Bits r and 16 + s of the kernel's rows and columns that lie in the image.

        None for a pixel that does not exist.
        """
        b = self.b
        has: Value = 0
        free = 0
        extent = self.window.extent(self.x.shape[2:])
        for axis, start, first in ((0, h0, 0), (1, w0, 16)):
            spread = self.window.spread[axis]
            padded = self.pads[axis] or self.pads[axis + 2] or spread > 1
            for i in range(self.kernel[axis]):
                if not padded:
                    free |= 1 << (first + i)
                    continue
                at = b.add(start, i * self.dilations[axis])
                inside = b.less(at, extent[axis])
                if spread > 1:
                    inside = b.both(inside, b.compare("eq", b.rem(at, spread), 0))
                assert inside is not None
                bit = b.select(inside, 1 << (first + i), 0)
                has = bit if has == 0 else b.or_(has, bit)
        has = b.or_(has, free) if free else has
        return b.select(b.less(pixel, self.pixels), has, 0)


def im2col_kernel(op: Im2colOp, name: str, machine: Machine) -> tile.KernelOp:
    """The kernel of one `dstc.im2col`, cut for `machine` if it encodes."""
    if isinstance(op.result.type, BitmapType):
        layout = op.result.type.layout
        b = KernelBuilder(name, ["x", "y"], encode_grid(layout, machine), warps=WARPS)
        encode_rows(b, layout, machine, b.params["y"], loaded(b, _Windows(b, op).elements))
        return b.finish()
    return _dense_kernel(op, name)


def _dense_kernel(op: Im2colOp, name: str) -> tile.KernelOp:
    depth, pixels = matrix_shape(op.result.type)
    out = DeviceTensor.halves(op.result.type, op.name)
    tiles = BitmapLayout(pixels, depth)
    grid = (ceil_div(tiles.v_tiles, WARPS), tiles.k_tiles, 1)
    b = KernelBuilder(name, ["x", "y"], grid, warps=WARPS)
    v_tile = b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp)
    pixel = b.value(b.mad(v_tile, 32, b.lane, "pixel"))
    depth0 = b.mul(b.id(tile.Id.CTA_Y), TILE_K)
    elements = _Windows(b, op).elements(pixel, depth0)
    values = [
        b.load(tile.Space.GLOBAL, address, i32, bits=16, predicate=predicate)
        for address, predicate in elements
    ]
    start = b.mad(pixel, out.strides[1], b.params["y"])
    exists = b.less(pixel, pixels)
    for j, value in enumerate(values):
        # Rows past the depth are zero, as the padding that they fall into.
        place = b.mad(b.add(depth0, j), out.strides[0], start)
        b.store(tile.Space.GLOBAL, value, place, bits=16, predicate=exists)
    return b.finish()


class _ConvertIm2col(RewritePattern):
    def __init__(self, names: KernelNames, machine: Machine):
        self.names, self.machine = names, machine

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Im2colOp, rewriter: PatternRewriter) -> None:
        name = self.names.fresh(op, "im2col")
        launch = tile.LaunchOp(name, [op.x], [op.result.type], op="im2col")
        self.names.replace(op, rewriter, im2col_kernel(op, name, self.machine), launch)


@dataclass(frozen=True)
class ConvertIm2colToTile(ModulePass):
    """Turn explicit im2col into kernels and launches."""

    name = "convert-im2col-to-tile"
    machine: str = DEFAULT_MACHINE
    """whose SMs the kernels that encode are to fill."""

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        machine = machine_of(ctx, self.machine)
        PatternRewriteWalker(
            _ConvertIm2col(KernelNames(op), machine), apply_recursively=False
        ).rewrite_module(op)
