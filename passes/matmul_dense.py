"""The dense kernel of `dstc.matmul`: HMMA.884 on operands staged in shared memory. Not a pass.

In: a `dstc.matmul` with a dense schedule; operands row-major, padded with zeros (`DenseLayout`).
Out: a `dstc_tile.kernel`. A step covers 32 k: while the tensor core works on one buffer of shared
memory, the next step's operands travel from global memory through registers to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from ..dialects.dstc import MatmulOp, ScheduleAttr
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue

STEP_K = 32
"""Depth of a main-loop step: two fragments of 16."""
_FRAGMENT_BYTES = 16 * 16 * 2


@dataclass(frozen=True)
class _Side:
    """One operand's tile of a CTA, as 16 x 16 fragments; fragment = block * 2 + k half."""

    name: str
    tensor: DeviceTensor
    extent: int
    """Rows (A) or columns (B) of the CTA's tile."""
    shared: int
    """Byte offset in a shared-memory buffer."""

    @property
    def fragments(self) -> int:
        return self.extent // 16 * 2

    @property
    def bytes(self) -> int:
        return self.fragments * _FRAGMENT_BYTES


def dense_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M."""
    m, n, k = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    warps = schedule.warps
    a = _Side("a", DeviceTensor.of(op.lhs.type), cm, 0)
    bb = _Side("b", DeviceTensor.of(op.rhs.type), cn, a.bytes)
    buffer_bytes = a.bytes + bb.bytes
    grid = (ceil_div(n, cn), ceil_div(m, cm), 1)
    b = KernelBuilder(name, params, grid, warps=warps, shared=2 * buffer_bytes)
    m0 = b.mul(b.id(tile.Id.CTA_Y), cm, "m0")
    n0 = b.mul(b.id(tile.Id.CTA_X), cn, "n0")
    loader = _Loader(b, warps, (a, bb), (m0, n0))
    columns_of_warps = cn // wn
    warp_m = b.mul(b.div(b.warp, columns_of_warps), wm)
    warp_n = b.mul(b.rem(b.warp, columns_of_warps), wn)
    reader = _Reader(b, (a, bb), (warp_m, warp_n))

    rows, columns = wm // 16, wn // 16
    zero = b.insert(tile.SplatOp(0, tile.ACCUMULATOR))
    accs: list[SSAValue] = [zero] * (rows * columns)
    steps = ceil_div(k, STEP_K)

    def multiply(buffer: Value, accs: list[SSAValue]) -> list[SSAValue]:
        accs = list(accs)
        for half in range(2):
            lhs = [reader.fragment(0, i, half, buffer) for i in range(rows)]
            rhs = [reader.fragment(1, j, half, buffer) for j in range(columns)]
            for i in range(rows):
                for j in range(columns):
                    at = i * columns + j
                    accs[at] = b.insert(tile.HmmaOp(lhs[i], rhs[j], accs[at], "AROW", "BROW"))
        return accs

    loader.store(loader.load(0), 0)
    b.barrier()
    last: Value = 0
    if steps > 1:

        def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
            buffer = carried[0]
            loaded = loader.load(b.add(counter, 1))
            new = multiply(buffer, list(carried[1:]))
            other = b.value(b.sub(buffer_bytes, buffer))
            loader.store(loaded, other)
            b.barrier()
            return [other, *new]

        results = b.loop(0, steps - 1, 1, [b.value(0), *accs], body)
        last, accs = results[0], list(results[1:])
    accs = multiply(last, accs)
    _store(b, Epilogue(b, op), accs, (rows, columns), (b.add(m0, warp_m), b.add(n0, warp_n)))
    return b.finish()


class _Loader:
    """Global to registers to shared memory: each warp moves whole fragments, 16 bytes a lane."""

    def __init__(
        self,
        b: KernelBuilder,
        warps: int,
        sides: tuple[_Side, _Side],
        origins: tuple[Value, Value],
    ):
        self.b, self.warps, self.sides = b, warps, sides
        line = b.shr(b.lane, 1)  # row of an A fragment, k of a B fragment
        chunk = b.and_(b.lane, 1)  # which 8 of the 16 elements along the row
        self.addresses: list[list[tuple[Value, SSAValue | None, Value]]] = []
        for which, side in enumerate(sides):
            entries: list[tuple[Value, SSAValue | None, Value]] = []
            for turn in range(ceil_div(side.fragments, warps)):
                fragment = b.add(b.warp, turn * warps)
                inside = None
                if (turn + 1) * warps > side.fragments:
                    inside = b.less(fragment, side.fragments)
                block, half = b.shr(fragment, 1), b.and_(fragment, 1)
                if which == 0:
                    address = self._a_address(side, origins[0], block, half, line, chunk)
                else:
                    address = self._b_address(side, origins[1], block, half, line, chunk)
                shared = b.mad(fragment, _FRAGMENT_BYTES, side.shared)
                entries.append((address, inside, shared))
            self.addresses.append(entries)
        self.slots = [self._slots(which, line, chunk) for which in range(2)]

    def _a_address(
        self, side: _Side, m0: Value, block: Value, half: Value, line: Value, chunk: Value
    ) -> Value:
        b = self.b
        row = b.add(b.mad(block, 16, m0), line)
        row = b.min_(row, side.tensor.layout.padded_rows - 1)
        k_bytes = b.add(b.mul(half, 32), b.mul(chunk, 16))
        start = b.add(b.params["a"], k_bytes)
        return b.mad(row, side.tensor.layout.pitch * 2, start)

    def _b_address(
        self, side: _Side, n0: Value, block: Value, half: Value, line: Value, chunk: Value
    ) -> Value:
        b = self.b
        column = b.add(b.mad(block, 16, n0), b.mul(chunk, 8))
        column = b.min_(column, side.tensor.layout.pitch - 8)
        row = b.add(b.mul(half, 16), line)
        start = b.mad(column, 2, b.params["b"])
        return b.mad(row, side.tensor.layout.pitch * 2, start)

    def _slots(self, which: int, line: Value, chunk: Value) -> list[Value]:
        """Byte offset in a fragment of each of a lane's four words.

        Fragments are stored as LDS.128 reads them: 16 bytes a lane, register j at word j. Slots
        are permuted among neighbouring lanes, so that the words fall into different banks.
        """
        b = self.b
        offsets: list[Value] = []
        for p in range(4):
            if which == 0:  # AROW: word p is k pair 4*chunk + p of row `line`
                owner = b.add(b.mul(line, 2), p % 2)
                slot = b.xor(owner, b.and_(b.shr(line, 2), 1))
                register = b.add(b.mul(chunk, 2), p // 2)
            else:  # BROW: word p is column pair 4*chunk + p of k `line`
                pair = b.add(b.mul(chunk, 4), p)
                step = b.and_(line, 3)
                slot = b.add(b.mul(step, 8), b.xor(pair, step))
                register = b.shr(line, 2)
            offsets.append(b.add(b.mul(slot, 16), b.mul(register, 4)))
        return offsets

    def load(self, step: Value) -> list[list[SSAValue]]:
        """Start loading the operands of a step."""
        b = self.b
        loaded: list[list[SSAValue]] = []
        for which, side in enumerate(self.sides):
            stride = STEP_K * 2 if which == 0 else STEP_K * side.tensor.layout.pitch * 2
            advance = b.mul(step, stride)
            loaded.append(
                [
                    b.load(
                        tile.Space.GLOBAL,
                        b.add(address, advance),
                        tile.FRAGMENT,
                        predicate=inside,
                        hint=side.name,
                    )
                    for address, inside, _ in self.addresses[which]
                ]
            )
        return loaded

    def store(self, loaded: list[list[SSAValue]], buffer: Value) -> None:
        """Put loaded operands into a shared-memory buffer."""
        b = self.b
        for which in range(2):
            for value, (_, inside, shared) in zip(
                loaded[which], self.addresses[which], strict=True
            ):
                base = b.add(shared, buffer)
                for p in range(4):
                    b.store(
                        tile.Space.SHARED,
                        b.extract(value, p),
                        b.add(base, self.slots[which][p]),
                        predicate=inside,
                    )


class _Reader:
    """Shared memory to fragments of a warp."""

    def __init__(self, b: KernelBuilder, sides: tuple[_Side, _Side], origins: tuple[Value, Value]):
        self.b, self.sides = b, sides
        lane = b.lane
        a_slot = b.xor(lane, b.and_(b.shr(lane, 3), 1))
        b_slot = b.xor(lane, b.shr(lane, 3))
        self.starts = [
            b.add(b.mul(slot, 16), b.mad(b.shr(origin, 4), 2 * _FRAGMENT_BYTES, side.shared))
            for slot, origin, side in zip((a_slot, b_slot), origins, sides, strict=True)
        ]

    def fragment(self, which: int, index: int, half: int, buffer: Value) -> SSAValue:
        """Fragment `index` of the warp's tile, k half `half`."""
        b = self.b
        return b.load(
            tile.Space.SHARED,
            b.add(self.starts[which], buffer),
            tile.FRAGMENT,
            offset=(2 * index + half) * _FRAGMENT_BYTES,
        )


def _store(
    b: KernelBuilder,
    epilogue: Epilogue,
    accs: list[SSAValue],
    blocks: tuple[int, int],
    origin: tuple[Value, Value],
) -> None:
    m, n, _ = epilogue.op.sizes
    lane = b.lane
    lane_row, lane_column = b.shr(lane, 2), b.mul(b.and_(lane, 3), 2)
    rows: dict[int, Value] = {}
    row_offsets: dict[int, Value] = {}
    in_rows: dict[int, SSAValue | None] = {}
    for r in range(0, blocks[0] * 16, 8):
        rows[r] = b.add(b.add(origin[0], lane_row), r)
        row_offsets[r] = b.mad(rows[r], epilogue.row_stride, b.params["c"])
        in_rows[r] = b.less(rows[r], m)
    for c in range(0, blocks[1] * 16, 8):
        first = b.add(b.add(origin[1], lane_column), c)
        together = epilogue.pairs_adjacent
        columns = [first, b.add(first, 1)]
        offsets = [epilogue.column_offset(v) for v in (columns[:1] if together else columns)]
        in_columns = [b.less(v, n) for v in (columns[:1] if together else columns)]
        for r in range(0, blocks[0] * 16, 8):
            acc = accs[(r // 16) * blocks[1] + c // 16]
            quadrant = 2 * (r % 16 // 8) + c % 16 // 8
            values = [
                epilogue.finish(b.extract(acc, 2 * quadrant + e), rows[r], columns[e])
                for e in range(2)
            ]
            for i, (offset, inside) in enumerate(zip(offsets, in_columns, strict=True)):
                epilogue.store(
                    values if together else [values[i]],
                    b.add(row_offsets[r], offset),
                    offset=0,
                    predicate=b.both(in_rows[r], inside),
                )
