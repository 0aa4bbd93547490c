"""The n:m kernel of `dstc.matmul`: HMMA.SP on operands staged in shared memory. Not a pass.

In: a `dstc.matmul` with an nm schedule, one operand n:m sparse (`NmLayout`), the other dense. Out:
a `dstc_tile.kernel`. A step covers 64 k: while the tensor core works on a buffer of shared memory,
the next step's operands travel through registers to the other, and its indices to registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from ..backend.isa.layout import NM_BLOCK_LINES, PITCH_ALIGN, ceil_div, round_up
from ..dialects import dstc_tile as tile
from ..dialects.dstc import MatmulOp, NmType, ScheduleAttr
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .matmul_dense import Result, image_of, tile_origin
from .matmul_epilogue import Epilogue
from .matmul_raster import tile_place
from .nm_staging import (
    STEP_K,
    AcrossK,
    AlongK,
    DenseStaging,
    NmStaging,
    Side,
    SparseValues,
    TileStrip,
)
from .nm_windows import TABLE_BYTES, NmWindows

PHASES = 4
"""Parts of a step, so that not all loads of a step are under way at once: there would be more than
an SM can wait for. The last part loads nothing."""
ALONE_WARPS = 2
"""Warps of a CTA up to which its loads all start together, if registers allow: such tiles are for
small products, where latency counts."""
WHOLE = 16
"""Pieces of 16 x 16 of a warp from which on a step is long enough for loads to start one part after
the other; in the short steps of a smaller warp none can wait."""
FEW_LOADS = 12
"""Loads of a lane and step, and addresses of their own, up to which what a part loads is stored two
parts later; more would take too many registers, and are stored one part later."""
_Piece = tuple[NmStaging, int]


def nm_kernel(op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M (see `tile_place`)."""
    sparse = 1 if schedule.swapped else 0
    values = (op.lhs, op.rhs)
    type_ = values[sparse].type
    assert isinstance(type_, NmType)
    m, n, k = op.sizes
    cta, warp = schedule.cta_tile, schedule.warp_tile
    strips = TileStrip(cta[0], warp[0]), TileStrip(cta[1], warp[1])
    dense = DeviceTensor.of(values[1 - sparse].type)
    image = image_of(op)
    # the left operand is stored across k if it is transposed, the right one if it is not
    form = AcrossK if op.transposed[1 - sparse] == (sparse == 1) else AlongK
    sizes = [_bytes(type_, cta, sparse), cta[1 - sparse] * STEP_K * 2]
    sizes[1] += TABLE_BYTES if image is not None else 0
    grid = (ceil_div(n, cta[1]), ceil_div(m, cta[0]), 1)
    b = KernelBuilder(name, params, grid, warps=schedule.warps, shared=2 * sum(sizes))
    stored = [round_up(m, PITCH_ALIGN), round_up(n, PITCH_ALIGN)]
    stored[sparse] = round_up(stored[sparse], NM_BLOCK_LINES)
    stored[1] = n if image is not None else stored[1]
    places = tile_place(b, grid[1], grid[0])
    origins = [tile_origin(b, places[i], cta[i], stored[i]) for i in range(2)]
    across = cta[1] // warp[1]
    numbers = b.div(b.warp, across), b.rem(b.warp, across)

    def side(which: int, shared: int) -> Side:
        first, half = strips[which].place(b, numbers[which])
        return Side(
            tiles=cta[which] // NM_BLOCK_LINES,
            fragments=strips[which].fragments,
            warps=schedule.warps,
            origin=origins[which],
            warp_tile=first,
            half=half,
            shared=shared,
            name="ab"[which],
        )

    layout = type_.layout
    left = SparseValues(b, layout, side(sparse, 0), b.params["ab"[sparse]])
    other, address = side(1 - sparse, sizes[0]), b.params["ab"[1 - sparse]]
    right = (
        NmWindows(b, image, other, address, layout.slices)
        if image is not None
        else form(b, dense, form is AcrossK, other, address, layout.slices)
    )
    accs = _main_loop(b, left, right, ceil_div(k, STEP_K), sum(sizes), type_, strips)
    warps_at = strips[0].first(b, numbers[0]), strips[1].first(b, numbers[1])
    stored_to = stored[0], stored[1]
    result = Result(b, Epilogue(b, op), strips, (origins[0], origins[1]), warps_at, stored_to)
    result.store(accs)
    return b.finish()


def _bytes(type_: NmType, cta: tuple[int, int], sparse: int) -> int:
    """Values of a step of a CTA."""
    return cta[sparse] // NM_BLOCK_LINES * type_.layout.tile_bytes


def _phases(stagings: Sequence[NmStaging], used: int) -> list[list[_Piece]]:
    """The pieces to load in each phase of a step: as many bytes in each of the first `used`."""
    pieces = [(s, i) for s in stagings for i in range(s.pieces)]
    loads = sum(s.loads for s, _ in pieces)
    phases: list[list[_Piece]] = [[] for _ in range(PHASES)]
    done = 0
    for staging, piece in pieces:
        phases[done * used // loads].append((staging, piece))
        done += staging.loads
    return phases


def _main_loop(
    b: KernelBuilder,
    sparse: SparseValues,
    dense: DenseStaging,
    steps: int,
    buffer_bytes: int,
    type_: NmType,
    strips: tuple[TileStrip, TileStrip],
) -> list[SSAValue]:
    """The warp's accumulators, by rows of fragments."""
    rows, columns = (s.fragments for s in strips)
    right = type_.side.data == "b"
    addresses = sparse.indices()
    few = sparse.held + dense.held <= FEW_LOADS
    alone = sparse.side.warps <= ALONE_WARPS or rows * columns < WHOLE
    spread = not few or not alone
    phases = _phases((sparse, dense), PHASES - 1 if spread else 1)
    lag = PHASES if not spread else 2 if few else 1

    def multiply(
        index: int, values: list[SSAValue], other: list[SSAValue], where: list[SSAValue],
        accs: list[SSAValue],
    ) -> None:  # fmt: skip
        for i in range(rows):
            for j in range(columns):
                line, met = (j, i) if right else (i, j)
                at = i * columns + j
                accs[at] = b.insert(
                    tile.HmmaSpOp(
                        values[line],
                        where[line],
                        other[met],
                        accs[at],
                        shape=type_.pattern.shape,
                        layout=dense.layout,
                        slice=index,
                        right=right,
                    )
                )

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        buffer, packed = carried[0], carried[1 : 1 + len(addresses)]
        turned = b.value(b.sub(buffer_bytes, buffer))
        accs = list(carried[1 + len(addresses) :])
        following = b.add(counter, 1)
        more = None if steps == 1 else b.compare("slt", following, steps)
        indices = list(packed)
        waiting: list[list[tuple[_Piece, list[SSAValue]]]] = []

        def store(phase: int) -> None:
            for (staging, number), values in waiting[phase]:
                staging.store(number, values, turned, more)

        where = [b.extract(value, f) for value in packed for f in range(sparse.side.together)]
        ahead = sparse.words(0, buffer), dense.words(0, buffer)
        for index in range(sparse.slices):
            phase, within = divmod(index, sparse.slices // PHASES)
            if more is not None and within == 0:
                b.fence()
                if phase >= lag:
                    store(phase - lag)
                if phase == 1:
                    dense.prepare(b.add(counter, 2), buffer)
                if phase == 0:
                    indices = sparse.load_indices(addresses, b.min_(following, steps - 1), None)
                waiting.append(
                    [((s, i), s.load(i, following, more, turned)) for s, i in phases[phase]]
                )
            values, other = ahead
            if index + 1 < sparse.slices:
                ahead = sparse.words(index + 1, buffer), dense.words(index + 1, buffer)
            multiply(index, values, other, where, accs)
        if more is not None:
            b.fence()
            for phase in range(PHASES - lag, PHASES):
                store(phase)
        b.barrier()
        return [turned, *indices, *accs]

    if isinstance(dense, NmWindows):
        dense.prepare(0, 0)
        b.barrier()
    # everything under way before the first store waits: memory is far, and nothing else to do
    first = sparse.load_indices(addresses, 0, None)
    pieces = [
        (s, piece, s.load(piece, 0, None)) for s in (sparse, dense) for piece in range(s.pieces)
    ]
    for staging, piece, values in pieces:
        staging.store(piece, values, 0, None)
    if steps != 1:
        dense.prepare(1, buffer_bytes)
    b.barrier()
    zero: Value = b.insert(tile.SplatOp(0, tile.ACCUMULATOR))
    inits = [b.value(0), *first, *[zero] * (rows * columns)]
    results = b.loop(0, steps, 1, inits, body, uniform=True)
    return list(results[1 + len(addresses) :])
