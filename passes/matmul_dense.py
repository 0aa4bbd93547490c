"""The dense kernel of `dstc.matmul`: HMMA.884 on operands staged in shared memory. Not a pass.

In: a `dstc.matmul` with a dense schedule; operands padded with zeros (`DenseLayout`), each stored
along k or across it. Out: a `dstc_tile.kernel`. A step covers 32 k: while the tensor core works on
one buffer of shared memory, the next step's operands travel through registers to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import PITCH_ALIGN, ceil_div, round_up
from ..dialects import dstc_tile as tile
from ..dialects.dstc import MatmulOp, ScheduleAttr
from .device_tensor import DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .matmul_epilogue import Epilogue, Unit, run_ahead
from .matmul_raster import tile_place
from .matmul_split import Split
from .matmul_staging import SLICES, AcrossK, AlongK, Staging, Strip

_FORMS: dict[tuple[int, bool], tuple[type[Staging], str]] = {
    (0, False): (AlongK, "AROW"),
    (0, True): (AcrossK, "ACOL"),
    (1, False): (AcrossK, "BROW"),
    (1, True): (AlongK, "BCOL"),
}
"""(operand, transposed) -> how it is staged, and HMMA's layout of its fragments."""
_AHEAD = 1
"""Rows of fragments whose residual is on its way while others are stored."""


def dense_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M (see `tile_place`), z over the parts of K."""
    sizes = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    strips = Strip(cm, wm), Strip(cn, wn)
    forms = [_FORMS[which, op.transposed[which]] for which in range(2)]
    shared = [form.shared_bytes(s.cta) for (form, _), s in zip(forms, strips, strict=True)]
    split = Split.of(sizes[2], schedule)
    grid = (ceil_div(sizes[1], cn), ceil_div(sizes[0], cm), split.parts * op.matrices)
    b = KernelBuilder(name, params, grid, warps=schedule.warps, shared=2 * sum(shared))
    if op.matrices > 1:  # CTAs of a product see only its matrices
        _advance(b, op)
    part = b.id(tile.Id.CTA_Z) if split.parts > 1 else 0
    origins = [
        tile_origin(b, place, strip.cta, round_up(size, PITCH_ALIGN))
        for place, strip, size in zip(tile_place(b, grid[1], grid[0]), strips, sizes, strict=False)
    ]
    columns_of_warps = cn // wn
    warps_at = (
        b.mul(b.div(b.warp, columns_of_warps), wm),
        b.mul(b.rem(b.warp, columns_of_warps), wn),
    )
    stagings: list[Staging] = []
    for which, value in enumerate((op.lhs, op.rhs)):
        form, tensor = forms[which][0], DeviceTensor.of(value.type)
        skipped = b.mul(part, split.steps * form.step_bytes(tensor))
        stagings.append(
            form(
                b,
                tensor,
                strips[which],
                warps=schedule.warps,
                origin=origins[which],
                lines=round_up(sizes[which], PITCH_ALIGN),
                start=b.add(b.params["ab"[which]], skipped),
                first_line=warps_at[which],
                shared=sum(shared[:which]),
                name="ab"[which],
            )
        )
    accs = _main_loop(
        b, stagings, (forms[0][1], forms[1][1]), split.count(b, part), sum(shared), strips
    )
    stored = round_up(sizes[0], PITCH_ALIGN), round_up(sizes[1], PITCH_ALIGN)
    result = Result(b, Epilogue(b, op), strips, (origins[0], origins[1]), warps_at, stored)
    split.finish(b, schedule, part, accs, result.store)
    return b.finish()


def _advance(b: KernelBuilder, op: MatmulOp) -> None:
    """Let the parameters point to the matrices of product z of the batch."""
    values = {"a": op.lhs, "b": op.rhs, "c": op.result, "residual": op.residual}
    if op.bias_along is not None and op.bias_along.data == "m":
        values["bias"] = op.bias
    for param, value in values.items():
        if value is not None:
            tensor = DeviceTensor.of(value.type)
            step = tensor.layout.bytes // op.matrices
            if len(tensor.shape) == 1:
                step = tensor.elements // op.matrices * tensor.element_bytes
            b.params[param] = b.value(b.mad(b.id(tile.Id.CTA_Z), step, b.params[param]))


def tile_origin(b: KernelBuilder, place: Value, extent: int, stored: int) -> Value:
    """First row or column of the CTA's tile; the last tile overlaps the one before it.

    So no tile reaches beyond the `stored` lines of the operand, unless it is larger than that. What
    two CTAs compute they compute alike.
    """
    if stored <= extent:
        return 0
    start = b.mul(place, extent)
    return start if stored % extent == 0 else b.min_(start, stored - extent)


def _main_loop(
    b: KernelBuilder,
    stagings: Sequence[Staging],
    layouts: tuple[str, str],
    steps: Value,
    buffer_bytes: int,
    strips: tuple[Strip, Strip],
) -> list[SSAValue]:
    """The warp's accumulators, by rows of fragments."""
    rows, columns = (s.fragments for s in strips)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        buffer, accs = carried[0], list(carried[1:])
        following = b.add(counter, 1)
        more = None if steps == 1 else b.compare("slt", following, steps)
        loaded = [s.load(following, more) for s in stagings] if more is not None else []
        ahead = [s.words(0, buffer) for s in stagings]
        for index in range(SLICES):
            lhs, rhs = ahead
            if index + 1 < SLICES:
                ahead = [s.words(index + 1, buffer) for s in stagings]
            for i in range(rows):
                for j in range(columns):
                    at = i * columns + j
                    accs[at] = b.insert(tile.HmmaStepOp(lhs[i], rhs[j], accs[at], *layouts))
        other = b.value(b.sub(buffer_bytes, buffer))
        for staging, values in zip(stagings, loaded, strict=False):
            staging.store(values, other, more)
        b.barrier()
        return [other, *accs]

    for staging in stagings:
        staging.store(staging.load(0, None), 0, None)
    b.barrier()
    zero = b.insert(tile.SplatOp(0, tile.ACCUMULATOR))
    results = b.loop(0, steps, 1, [b.value(0), *[zero] * (rows * columns)], body, uniform=True)
    return list(results[1:])


@dataclass
class _Span:
    """Columns stored together: (column, fragment, register in a row's half of it, mask)."""

    offset: Value
    inside: SSAValue | None
    places: list[tuple[Value, int, int, SSAValue | None]]


@dataclass
class Result:
    """Where a warp's accumulators go in the result."""

    b: KernelBuilder
    epilogue: Epilogue
    strips: tuple[Strip, Strip]
    origins: tuple[Value, Value]
    warps_at: tuple[Value, Value]
    stored: tuple[int, int]
    """Rows and columns that the operands have with their padding."""

    def store(self, accs: Sequence[SSAValue]) -> None:
        """Epilogue and stores of all accumulators: what a lane has of a row lies side by side."""
        b, epilogue = self.b, self.epilogue
        m, _, _ = epilogue.op.sizes
        (rows, columns), (row0, column0) = (
            self.strips,
            (b.add(o, w) for o, w in zip(self.origins, self.warps_at, strict=True)),
        )
        lane_row, lane_pair = b.shr(b.lane, 3), b.and_(b.lane, 3)
        lane_odd = b.and_(b.shr(b.lane, 2), 1)
        width = 2 * columns.group
        together = epilogue.adjacent(width)
        spans = [
            self._span(block, half, start, together, b.add(column0, lane_pair_line))
            for block in range(0, columns.fragments, columns.group)
            for half in range(2)
            for lane_pair_line in [columns.line(b, block, b.add(lane_pair, 4 * half), 0)]
            for start in range(0, width, together)
        ]

        def load(row: Value) -> list[SSAValue | None]:
            return [
                v for span in spans for v in epilogue.residuals(row, span.places[0][0], together)
            ]

        def put(i: int, half: int, row: Value, residuals: Sequence[SSAValue | None]) -> None:
            address = b.mad(row, epilogue.row_stride, b.params["c"])
            inside = None if self._whole(m, 0) else b.less(row, m)
            for at, span in enumerate(spans):
                values: list[SSAValue] = []
                for e, (name, fragment, register, mask) in enumerate(span.places):
                    acc = accs[i * columns.fragments + fragment]
                    value = b.extract(acc, 4 * half + register)
                    residual = residuals[at * together + e]
                    value = epilogue.finish(value, epilogue.bias(row, name), residual)
                    values.append(value if mask is None else self._masked(value, mask))
                epilogue.store(
                    values,
                    b.add(address, span.offset),
                    offset=0,
                    # in this order the columns' condition is the one that is computed anew
                    predicate=b.both(span.inside, inside),
                )

        units: list[Unit] = []
        for i in range(rows.fragments):
            for half in range(2):
                row = b.add(row0, rows.line(b, i, b.add(lane_row, 4 * half), lane_odd))
                units.append(Unit(partial(load, row), partial(put, i, half, row)))
        run_ahead(units, _AHEAD)

    def _span(self, block: int, half: int, start: int, together: int, first: Value) -> _Span:
        """Columns start to start + together of those that a lane has in a group of fragments."""
        b, n = self.b, self.epilogue.op.sizes[1]
        names = [b.add(first, start + e) for e in range(together)]
        # a row can end within columns that are stored together: its padding stays zero
        ragged = self.epilogue.op.image is None and n % together != 0
        places: list[tuple[Value, int, int, SSAValue | None]] = []
        for e, name in enumerate(names):
            fragment, odd = divmod(start + e, 2)
            mask = b.select(b.less(name, n), -1, 0) if ragged and e else None
            places.append((name, block + fragment, 2 * half + odd, mask))
        inside = None if self._whole(n, 1) else b.less(names[0], n)
        return _Span(self.epilogue.column_offset(names[0]), inside, places)

    def _whole(self, size: int, which: int) -> bool:
        """No tile reaches beyond the result's rows (0) or columns (1)."""
        return size == self.stored[which] and size >= self.strips[which].cta

    def _masked(self, value: SSAValue, mask: SSAValue) -> SSAValue:
        """The f32, or zero where the mask is."""
        b = self.b
        bits = b.value(b.and_(b.insert(arith.BitcastOp(value, i32)), mask))
        return b.insert(arith.BitcastOp(bits, f32))
