"""Kernels of groups of ops whose result is encoded: they compute what they encode. Not a pass.

In: a group's `dstc.encode`, which is its last op, and the group's inputs. Out: a
`dstc_tile.kernel`, cut as those that encode what is in memory; its elements come from `Pull`.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from ..backend.isa.table import TILE_K
from ..dialects import dstc_tile as tile
from ..dialects.checks import shape_of
from ..dialects.dstc import BitmapType, EncodeOp, ImageType
from ..runtime.machine import Machine
from .encode_image import WARPS, Spot, encode_image_grid, encode_positions
from .encode_tile import WARPS as TILE_WARPS
from .encode_tile import encode_grid, encode_rows
from .kernel_builder import KernelBuilder, Value
from .places import Index, Place
from .pull import Pull, Wanted


def encoding_kernel(
    name: str, op: EncodeOp, inputs: Sequence[SSAValue], machine: Machine
) -> tile.KernelOp:
    """The kernel of the group that `op` ends, cut for `machine`."""
    params = [f"x{i}" for i in range(len(inputs))]
    given = dict(zip(inputs, params, strict=True))
    if isinstance(op.result.type, ImageType):
        return _image_kernel(name, op, [*params, "y"], given)
    return _matrix_kernel(name, op, [*params, "y"], given, machine)


def _halves(
    pull: Pull, root: SSAValue, places: Sequence[Place], inside: Sequence[SSAValue | None],
    *, zero: bool = True,
) -> list[SSAValue]:  # fmt: skip
    """Elements as f16 in the low half of a word; not `inside` zero, or anything."""
    b = pull.b
    wanted = [Wanted(p, i) for p, i in zip(places, inside, strict=True)]
    halves = [
        b.insert(tile.PackOp(value, b.float(0.0)))
        for value in pull.elements(root, wanted, root=True)
    ]
    if not zero:
        return halves
    pairs = zip(halves, inside, strict=True)
    return [half if i is None else b.select(i, half, 0) for half, i in pairs]


def _image_kernel(
    name: str, op: EncodeOp, params: Sequence[str], given: dict[SSAValue, str]
) -> tile.KernelOp:
    type_, shape = op.result.type, shape_of(op.input.type)
    assert isinstance(type_, ImageType)
    b = KernelBuilder(name, params, encode_image_grid(type_.layout), warps=WARPS)
    pull = Pull(b, given)

    def elements(spot: Spot, count: int) -> list[SSAValue]:
        places = [
            Place(
                shape,
                indices=(Index(spot.image), Index(spot.channel, i), Index(spot.y), Index(spot.x)),
            )
            for i in range(count)
        ]
        return _halves(pull, op.input, places, [spot.inside] * count, zero=False)

    encode_positions(b, type_.layout, b.params["y"], elements)
    return b.finish()


def _matrix_kernel(
    name: str, op: EncodeOp, params: Sequence[str], given: dict[SSAValue, str], machine: Machine
) -> tile.KernelOp:
    type_, shape = op.result.type, shape_of(op.input.type)
    assert isinstance(type_, BitmapType)
    layout, rows = type_.layout, type_.side.data == "a"
    b = KernelBuilder(name, params, encode_grid(layout, machine), warps=TILE_WARPS)
    pull = Pull(b, given)

    def elements(
        vectors: Sequence[SSAValue], depth0: Value, there: SSAValue | None
    ) -> list[list[SSAValue]]:
        found: list[list[SSAValue]] = []
        with pull.at.scope():
            for vector in vectors:
                exists = b.both(there, b.less(vector, layout.vectors))
                places: list[Place] = []
                inside: list[SSAValue | None] = []
                for i in range(TILE_K):
                    pair = Index(vector), Index(depth0, i, TILE_K)
                    places.append(Place(shape, indices=pair if rows else pair[::-1]))
                    last = layout.depth % TILE_K
                    beyond = last and i >= last
                    depth = b.less(b.add(depth0, i), layout.depth) if beyond else None
                    inside.append(b.both(exists, depth))
                found.append(_halves(pull, op.input, places, inside))
        return found

    encode_rows(b, layout, machine, b.params["y"], elements)
    return b.finish()
