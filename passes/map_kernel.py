"""Kernels of ops by element: each lane computes some neighbouring elements of the result. Not a
pass.

In: the group's root value, its inputs. Out: a `dstc_tile.kernel`, as wide as memory allows and
with lanes for the whole machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from .device_tensor import MOST_WORDS, DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .places import Index, Place
from .pull import Elements, Pull, Wanted

WARPS = 4
"""Warps a CTA."""
ENOUGH = 80 * 512
"""Lanes below which a lane takes fewer elements: a quarter of what a V100 holds."""


def element_width(tensor: DeviceTensor) -> int:
    """Neighbouring elements of a lane: at most one wide store, within a row of the layout."""
    most = 4 * MOST_WORDS // tensor.element_bytes
    width = math.gcd(most, tensor.layout.columns)
    while width > 1 and tensor.elements // width < ENOUGH:
        width //= 2
    return width


def store_elements(
    b: KernelBuilder,
    tensor: DeviceTensor,
    values: Elements,
    base: Value,
    offset: int,
    predicate: SSAValue | None,
) -> None:
    """Store neighbouring elements (a power of two), aligned to all of them."""
    if tensor.element_bytes == 2:
        if len(values) == 1:
            half = b.insert(tile.PackOp(values[0], b.float(0.0)))
            b.store(tile.Space.GLOBAL, half, base, offset=offset, bits=16, predicate=predicate)
            return
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [b.insert(tile.PackOp(low, high)) for low, high in pairs]
    for first in range(0, len(values), MOST_WORDS):
        part = values[first : first + MOST_WORDS]
        value = part[0] if len(part) == 1 else b.insert(tile.CombineOp(*part))
        at = offset + 4 * first
        b.store(tile.Space.GLOBAL, value, base, offset=at, predicate=predicate)


def address_of(pull: Pull, tensor: DeviceTensor, place: Place, param: str) -> tuple[Value, int]:
    """(base, byte offset) of an element."""
    layout, size = tensor.layout, tensor.element_bytes
    flat = pull.at.flat(place)
    if layout.pitch == layout.columns:
        at = pull.at.scale(flat, size)
    else:
        row, column = pull.at.unflatten(flat, (layout.rows, layout.columns))
        at = pull.at.sum([pull.at.scale(row, layout.pitch * size), pull.at.scale(column, size)])
    return pull.at.add(at.base, pull.b.params[param]), at.offset


def map_kernel(name: str, root: SSAValue, inputs: Sequence[SSAValue]) -> tile.KernelOp:
    """The kernel that computes `root` from `inputs` element by element."""
    out = DeviceTensor.of(root.type)
    width = element_width(out)
    threads = ceil_div(out.elements, width)
    params = [f"x{i}" for i in range(len(inputs))]
    grid = (ceil_div(threads, 32 * WARPS), 1, 1)
    b = KernelBuilder(name, [*params, "y"], grid, warps=WARPS)
    pull = Pull(b, dict(zip(inputs, params, strict=True)))
    lane = b.mad(b.mad(b.id(tile.Id.CTA_X), WARPS, b.warp), 32, b.lane)
    inside = b.less(lane, threads) if threads % (32 * WARPS) else None
    first = pull.at.mul(lane, width)
    places = [Place(out.shape, Index(first, e, width)) for e in range(width)]
    base, offset = address_of(pull, out, places[0], "y")
    values = pull.elements(root, [Wanted(p, inside) for p in places], root=True)
    store_elements(b, out, values, base, offset, inside)
    return b.finish()
