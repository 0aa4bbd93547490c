"""The dense kernel of `dstc.matmul`: HMMA.884 on operands staged in shared memory. Not a pass.

In: a `dstc.matmul` with a dense schedule; operands padded with zeros (`DenseLayout`), each stored
along k or across it, or the right one an image (`window_staging`). Out: a `dstc_tile.kernel`. A
step covers 32 k: while the tensor core works on one buffer of shared memory, the next step's
operands travel through registers to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import PITCH_ALIGN, STEP_K, ceil_div, round_up
from ..dialects import dstc_tile as tile
from ..dialects.dstc import ImageType, MatmulOp, ScheduleAttr
from .device_tensor import DeviceTensor
from .encode_image import Positions
from .kernel_builder import KernelBuilder, Value
from .matmul_encode_image import EncodedResult, turned_bytes
from .matmul_epilogue import Epilogue, Unit, run_ahead
from .matmul_raster import tile_place
from .matmul_split import Split
from .matmul_staging import SLICES, AcrossK, AlongK, MatrixStaging, Staging, Strip
from .window_staging import Image, PixelRuns, Windows, window_form

_FORMS: dict[tuple[int, bool], tuple[type[MatrixStaging], str]] = {
    (0, False): (AlongK, "AROW"),
    (0, True): (AcrossK, "ACOL"),
    (1, False): (AcrossK, "BROW"),
    (1, True): (AlongK, "BCOL"),
}
"""(operand, transposed) -> how it is staged, and HMMA's layout of its fragments."""
LOADING = 4
"""Slices of a step in which loads of the next one start."""
_AHEAD = 1
"""Rows of fragments whose residual is on its way while others are stored."""


def dense_kernel(
    op: MatmulOp, schedule: ScheduleAttr, name: str, params: list[str]
) -> tile.KernelOp:
    """The kernel; grid x runs along N, y along M (see `tile_place`), z over the parts of K."""
    sizes = op.sizes
    (cm, cn), (wm, wn) = schedule.cta_tile, schedule.warp_tile
    strips = Strip(cm, wm), Strip(cn, wn)
    image = image_of(op)
    forms: list[tuple[type[Staging], str]] = [
        _FORMS[which, op.transposed[which]] for which in range(2)
    ]
    if image is not None:
        forms[1] = window_form(image)
    shared = [form.shared_bytes(strip) for (form, _), strip in zip(forms, strips, strict=True)]
    split = Split.of(sizes[2], schedule)
    groups = op.group_count
    depth = split.parts * groups * op.matrices  # only one of them is more than 1
    columns = sizes[1] if image is None else image.pixels
    grid = (ceil_div(columns, cn), ceil_div(sizes[0], cm), depth)
    most = sum(shared) if split.steps == 1 else 2 * sum(shared)
    if isinstance(op.result.type, ImageType):
        most = max(most, turned_bytes(schedule.cta_tile))
    b = KernelBuilder(name, params, grid, warps=schedule.warps, shared=most)
    if op.matrices > 1:  # CTAs of a product see only its matrices
        _advance(b, op)
    part = b.id(tile.Id.CTA_Z) if split.parts > 1 else 0
    group = b.id(tile.Id.CTA_Z) if groups > 1 else 0
    # the rows of a group end where the next one's begin, pixels where there are no more
    stored = (
        sizes[0] if groups > 1 else round_up(sizes[0], PITCH_ALIGN),
        columns if image is not None else round_up(columns, PITCH_ALIGN),
    )
    origins = [
        tile_origin(b, place, strip.cta, extent)
        for place, strip, extent in zip(
            tile_place(b, grid[1], grid[0]), strips, stored, strict=True
        )
    ]
    columns_of_warps = cn // wn
    warps_at = (
        b.mul(b.div(b.warp, columns_of_warps), wm),
        b.mul(b.rem(b.warp, columns_of_warps), wn),
    )

    def staged(which: int) -> Staging:
        form, value = forms[which][0], (op.lhs, op.rhs)[which]
        tensor, strip, at = DeviceTensor.of(value.type), strips[which], sum(shared[:which])
        start: Value = b.params["ab"[which]]
        if image is not None and issubclass(form, PixelRuns | Windows):
            return form(
                b, image, strip, warps=schedule.warps, origin=origins[which],
                start=b.mad(group, image.channels * tensor.strides[1], start),
                first_step=b.mul(part, split.steps), first_line=warps_at[which], shared=at,
            )  # fmt: skip
        assert issubclass(form, MatrixStaging)
        start = b.mad(group, sizes[0] * tensor.strides[0], start)
        return form(
            b, tensor, strip, warps=schedule.warps, origin=origins[which], lines=stored[which],
            start=b.mad(part, split.steps * form.step_bytes(tensor), start),
            first_line=warps_at[which], shared=at, name="ab"[which],
        )  # fmt: skip

    stagings = [staged(which) for which in range(2)]
    accs = _main_loop(
        b,
        stagings,
        (forms[0][1], forms[1][1]),
        split.count(b, part),
        sum(shared),
        strips,
        sizes[2],
    )
    epilogue = Epilogue(b, op, b.mul(group, sizes[0]))
    places = strips, (origins[0], origins[1]), warps_at
    if image is not None and image.positions is not None:
        EncodedResult(b, epilogue, *places, image.positions, schedule.warps).store(accs)
        return b.finish()
    split.finish(b, schedule, part, accs, Result(b, epilogue, *places, stored).store)
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


def image_of(op: MatmulOp) -> Image | None:
    """The image of a product on windows: of one group of its channels."""
    if op.window is None:
        return None
    tensor = DeviceTensor.of(op.rhs.type)
    result = op.result.type
    positions = Positions(result.layout) if isinstance(result, ImageType) else None
    return Image(tensor, op.window.window, tensor.shape[1] // op.group_count, positions)


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
    depth: int,
) -> list[SSAValue]:
    """The warp's accumulators, by rows of fragments. A single step takes no more than `depth` k."""
    rows, columns = (s.fragments for s in strips)
    slices = min(SLICES, ceil_div(depth, STEP_K // SLICES)) if steps == 1 else SLICES

    rounds = _Rounds(stagings)

    def body(counter: SSAValue, carried: Sequence[SSAValue]) -> list[SSAValue]:
        buffer, accs = carried[0], list(carried[1:])
        following = b.add(counter, 1)
        more = None if steps == 1 else b.compare("slt", following, steps)
        other = b.value(b.sub(buffer_bytes, buffer))
        waiting: dict[_Piece, list[SSAValue]] = {}

        def load(index: int) -> None:
            for staging, piece in rounds.loads(index) if more is not None else ():
                waiting[staging, piece] = staging.load(following, more, other, piece)

        def store(index: int) -> None:
            for staging, piece in rounds.stores(index) if more is not None else ():
                staging.store(waiting[staging, piece], other, more, piece)

        load(0)
        for staging in stagings if more is not None else ():
            staging.prepare(b.add(counter, 2), buffer)
        ahead = [s.words(0, buffer) for s in stagings]
        for index in range(slices):
            if index and rounds.several:
                b.fence()
                load(index)
            lhs, rhs = ahead
            if index + 1 < slices:
                ahead = [s.words(index + 1, buffer) for s in stagings]
            for i in range(rows):
                for j in range(columns):
                    at = i * columns + j
                    accs[at] = b.insert(tile.HmmaStepOp(lhs[i], rhs[j], accs[at], *layouts))
            store(index)
        b.barrier()
        return [other, *accs]

    if any(isinstance(staging, Windows) for staging in stagings):
        for staging in stagings:
            staging.prepare(0, 0)
        b.barrier()
    taken = slices * STEP_K // SLICES
    first = [
        (s, piece, s.load(0, None, 0, piece))
        for s in stagings
        for piece in range(s.pieces)
        if not isinstance(s, Windows) or s.needed(piece, taken)
    ]
    for staging, piece, values in first:
        staging.store(values, 0, None, piece)
    for staging in stagings if steps != 1 else ():
        staging.prepare(1, buffer_bytes)
    b.barrier()
    zero = b.insert(tile.SplatOp(0, tile.ACCUMULATOR))
    results = b.loop(0, steps, 1, [b.value(0), *[zero] * (rows * columns)], body, uniform=True)
    return list(results[1:])


_Piece = tuple[Staging, int]


@dataclass(frozen=True)
class _Rounds:
    """In which slice of a step the pieces of the next one are loaded, and in which stored."""

    stagings: Sequence[Staging]

    @property
    def several(self) -> bool:
        """Slices are kept apart: not all loads of a step are to start at once."""
        return any(staging.pieces > 1 for staging in self.stagings)

    def loads(self, index: int) -> list[_Piece]:
        """Pieces whose loads start in slice `index`: in the first ones, evenly."""
        return [
            (s, piece)
            for s in self.stagings
            for piece in range(s.pieces)
            if piece * LOADING // s.pieces == index
        ]

    def stores(self, index: int) -> list[_Piece]:
        """Pieces stored after slice `index`: one each in the last slices."""
        return [
            (s, piece)
            for s in self.stagings
            for piece in range(s.pieces)
            if SLICES - s.pieces + piece == index
        ]


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
            address = b.mad(row, epilogue.row_stride, epilogue.start)
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
