"""Depthwise convolutions, without the tensor core. Not a pass.

In: a `dstc.matmul` with `window` and groups of one channel and a few filters. Out: a
`dstc_tile.kernel` in which a lane computes one pixel for all filters of a group, element by element
in ascending k: the tensor core would compute 16 rows of which a few count.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from ..dialects.dstc import MatmulOp
from .cost_windows import direct
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue
from .window_staging import Gather, Image, Pixel

WARPS = 4
GROUPS = 8
"""Groups that a CTA computes one after the other for its pixels."""
_WORDS = VectorType(i32, [4])
_RUN = 8
"""Weights that one access brings."""


def takes_direct(op: MatmulOp) -> bool:
    """Whether this is the kernel for a product."""
    if op.window is None:
        return False
    m, _, k = op.sizes
    return direct(m, k, op.window.window.taps, op.group_count)


def direct_kernel(op: MatmulOp, name: str, params: list[str]) -> tile.KernelOp:
    """The kernel; grid x runs over pixels, y over groups."""
    assert op.window is not None
    tensor, weights = DeviceTensor.of(op.rhs.type), DeviceTensor.of(op.lhs.type)
    groups = op.group_count
    filters, pixels, depth = op.sizes
    image = Image(tensor, op.window.window, 1)
    grid = (ceil_div(pixels, 32 * WARPS), ceil_div(groups, GROUPS), 1)
    b = KernelBuilder(name, params, grid, warps=WARPS)
    first = b.mul(b.id(tile.Id.CTA_Y), GROUPS)
    pixel = b.mad(b.id(tile.Id.CTA_X), 32 * WARPS, b.mad(b.warp, 32, b.lane))
    exists = b.less(pixel, pixels) if pixels % (32 * WARPS) else None
    pixel = b.min_(pixel, pixels - 1) if exists is not None else pixel
    start = b.mad(first, tensor.strides[1], b.params["b"])
    gather = Gather(b, image, warps=WARPS, start=start, first_step=0, depth=depth, table=0)
    place = gather.pixel(pixel)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
        here = Pixel(b.mad(counter, tensor.strides[1], place.address), place.missing)
        elements = [gather.element(here, k) for k in range(depth)]
        row = b.mul(b.add(first, counter), filters)
        address = b.mad(row, weights.strides[0], b.params["a"])
        sums = [b.float(0.0)] * filters
        for f in range(filters):
            factors = _weights(b, address, f * weights.strides[0], depth)
            for element, factor in zip(elements, factors, strict=True):
                product = b.insert(arith.MulfOp(factor, element))
                sums[f] = b.insert(arith.AddfOp(sums[f], product))
        _store(b, Epilogue(b, op, row), pixel, sums, exists)
        return carried

    count: Value = GROUPS
    if groups % GROUPS:
        count = b.min_(b.sub(b.value(groups), first), GROUPS)
    b.loop(0, count, 1, [], body, uniform=True)
    return b.finish()


def _weights(b: KernelBuilder, address: Value, row: int, depth: int) -> list[SSAValue]:
    """Weights of a filter, which are the same in all lanes, as f32."""
    values: list[SSAValue] = []
    for at in range(0, depth, _RUN):  # a row is padded to whole runs
        words = b.load(tile.Space.GLOBAL, address, _WORDS, offset=row + 2 * at)
        for k in range(at, min(at + _RUN, depth)):
            word = b.extract(words, (k - at) // 2)
            values.append(b.insert(tile.UnpackOp(word, high=k % 2 == 1)))
    return values


def _store(
    b: KernelBuilder,
    epilogue: Epilogue,
    pixel: Value,
    sums: Sequence[SSAValue],
    exists: SSAValue | None,
) -> None:
    offset = epilogue.column_offset(pixel)
    for row, total in enumerate(sums):
        (residual,) = epilogue.residuals(row, pixel)
        value = epilogue.finish(total, epilogue.bias(row, pixel), residual)
        place = b.add(epilogue.start, offset)
        epilogue.store([value], place, offset=row * epilogue.row_stride, predicate=exists)
