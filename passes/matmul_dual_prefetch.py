"""Fetching operand tiles into L1 ahead of the dual-side kernel's loads. Not a pass.

In: a warp's operands, how many sectors their tiles have. Out: `Prefetch`: what it takes to have L1
fetch headers, bitmaps and values of the chunks of steps to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt

from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from ..backend.isa.layout import HEADER_SHIFT, VALUE_ALIGN, ceil_div
from ..backend.isa.table import TILE_K, TILE_M, WARP_SIZE
from ..dialects import dstc_tile as tile
from ..dialects.dstc import ScheduleAttr
from .kernel_builder import KernelBuilder, Value
from .matmul_dual_operands import Operands, Place

CHUNK = 8
"""Steps whose sectors are fetched into L1 together."""
_DISTANCE = 3
"""Chunks by which that is ahead of the products, at most."""
CTA_BYTES = 35000
"""Bytes that a CTA has on their way or in L1 for later chunks, about: a quarter of L1. Measured at
256x256: with 44 KB its warps, which drift apart, fetch a third of the sectors twice."""
LEAD = 2
"""Chunks by which fetching the headers that it needs is ahead of that."""
_SECTOR = 32
_MOST_SECTORS = 11
"""Sectors of a 32x16 tile, up to which it is fetched into L1 first: measured at densities of 0.2 to
0.5."""
GROUP = WARP_SIZE // CHUNK
"""Operand tiles that are fetched together: a lane has a tile of a step of the chunk."""

Work = Callable[[], None]


def many_values(density: float, window: int, deviations: float) -> float:
    """Mean number of values of a tile with random zeros, and so many standard deviations more."""
    values = window * TILE_K * density
    return values + deviations * sqrt(values * (1 - density))


def prefetched_sectors(density: float, window: int) -> int:
    """32-byte sectors of a tile's values that are fetched into L1 ahead of loads, 0: no tile is.

    Those of nearly all tiles with random zeros. Denser tiles make long steps, which loads to
    registers are far enough ahead of.
    """
    most = many_values(density, window, 2)
    sectors = ceil((2 * most + _SECTOR - VALUE_ALIGN) / _SECTOR)
    return sectors if sectors <= _MOST_SECTORS * window // TILE_M else 0


def chunk_bytes(densities: tuple[float, float], cta_tile: tuple[int, int]) -> float:
    """Bitmaps and values of a chunk's operands."""
    return sum(
        extent * CHUNK * TILE_K * (2 * density + 1 / 8)
        for density, extent in zip(densities, cta_tile, strict=True)
    )


def prefetch_distance(densities: tuple[float, float], cta_tile: tuple[int, int]) -> int:
    """Chunks by which sectors are fetched ahead: as many as L1 has room for."""
    return max(1, min(_DISTANCE, int(CTA_BYTES / chunk_bytes(densities, cta_tile))))


def fetches_whole(densities: tuple[float, float], cta_tile: tuple[int, int]) -> bool:
    """Whether tiles too dense for that are fetched too, whole: where L1 has room for a chunk."""
    return chunk_bytes(densities, cta_tile) <= CTA_BYTES


@dataclass(frozen=True)
class FetchPlan:
    """What of a warp's operand tiles is fetched ahead, and how far.

    `sectors`: of each tile, 32-byte sectors of values to fetch, a lane a tile; 0: not so. `dense`:
    which tiles are fetched a lane a sector. `distance`: chunks ahead of the products.
    """

    sectors: tuple[int, ...]
    dense: tuple[int, ...]
    distance: int

    @staticmethod
    def of(schedule: ScheduleAttr, densities: tuple[float, float]) -> FetchPlan:
        """For operands with random zeros."""
        window, cta = schedule.vectors, schedule.cta_tile
        sectors = tuple(
            prefetched_sectors(density, window)
            for density, extent in zip(densities, schedule.warp_tile, strict=True)
            for _ in range(extent // window)
        )
        whole = fetches_whole(densities, cta)
        dense = tuple(i for i, count in enumerate(sectors) if whole and not count)
        return FetchPlan(sectors, dense, prefetch_distance(densities, cta))

    @property
    def fetched(self) -> list[int]:
        """All tiles that are fetched, either way."""
        return [i for i, count in enumerate(self.sectors) if count or i in self.dense]

    def fetch_headers(self, b: KernelBuilder, headers: Sequence[Value], first: Place) -> None:
        """Fetch the headers of the first chunks; `headers`: where those of each tile begin."""
        lanes = _HeaderLanes.of(b, headers, _groups(self.fetched))
        for c in range(min(self.distance + LEAD, ceil_div(first.k_tiles, CHUNK))):
            lanes.fetch(first, c * CHUNK)


def _groups(wanted: Sequence[int]) -> list[Sequence[int]]:
    return [wanted[i : i + GROUP] for i in range(0, len(wanted), GROUP)]


def _of_lane(b: KernelBuilder, which: Value, values: Sequence[Value]) -> Value:
    """The which-th value; the last one beyond them."""
    result = values[-1]
    for i in reversed(range(len(values) - 1)):
        result = b.select(b.compare("eq", which, i), values[i], result)
    return result


def _inside(at: Place, lane_step: Value, step: int) -> SSAValue | None:
    """Whether there is a step as far after `step` as the lane's."""
    left: Value = at.k_tiles - step
    if at.counter is not None:
        left = at.b.sub(left, at.counter)
    elif at.k_tiles - step >= CHUNK:
        return None
    return at.b.compare("slt", lane_step, left)


@dataclass(frozen=True)
class _HeaderLanes:
    """Headers of tiles that are fetched together, one a lane: their places, by group."""

    b: KernelBuilder
    lane_step: Value
    places: list[Value]

    @staticmethod
    def of(
        b: KernelBuilder, headers: Sequence[Value], groups: Sequence[Sequence[int]]
    ) -> _HeaderLanes:
        """`headers`: where those of each tile begin; `groups`: tiles that are fetched together."""
        step, which = b.rem(b.lane, CHUNK), b.div(b.lane, CHUNK)
        places = [_of_lane(b, which, [headers[i] for i in group]) for group in groups]
        return _HeaderLanes(b, step, [b.mad(step, 4, place) for place in places])

    def fetch(self, at: Place, step: int) -> None:
        """Fetch the headers of the chunk from `step` on."""
        for place in self.places:
            inside = _inside(at, self.lane_step, step)
            self.b.prefetch(at.advanced(place, 4), offset=4 * step, predicate=inside)

    def load(self, at: Place, step: int) -> list[SSAValue]:
        """By lane, the headers of the chunk from `step` on; 0 where there is no tile."""
        return [
            self.b.load(
                tile.Space.GLOBAL,
                at.advanced(place, 4),
                i32,
                offset=4 * step,
                predicate=_inside(at, self.lane_step, step),
                hint="header",
            )
            for place in self.places
        ]


@dataclass(frozen=True)
class Sharers:
    """Warps of a CTA that read the same operand tiles: how many, and this one's number."""

    count: int
    number: Value


class _DenseRows:
    """Fetches the sectors of operand tiles that are nearly full: a lane a sector, a tile at a time.

    Warps that read the same tiles share them out: each fetches those of every so manieth step.
    """

    def __init__(
        self, b: KernelBuilder, operands: Operands, rows: Sequence[int], warps: Sequence[Sharers]
    ):
        """`rows`: which operand tiles, `warps`: of each operand tile, those that read it."""
        self.b = b
        self.bytes = operands.layout.tile_bytes
        self.sectors = ceil_div(self.bytes, WARP_SIZE * _SECTOR)
        """Prefetches of a full tile."""
        self.rows = [
            (warps[i], operands.tiles[i].header, b.mad(b.lane, _SECTOR, operands.tiles[i].values))
            for i in rows
        ]

    def load(self, at: Place, step: int) -> list[list[SSAValue]]:
        """Headers of the tiles to fetch of the chunk from `step` on; 0 beyond the last."""
        b, found = self.b, list[list[SSAValue]]()
        end = step + CHUNK if at.counter is not None else min(step + CHUNK, at.k_tiles)
        for warps, header, _ in self.rows:
            first = b.add(warps.number, 0 if at.counter is None else at.counter)
            place = b.mad(first, 4, header)
            found.append(
                [
                    b.load(
                        tile.Space.GLOBAL,
                        place,
                        i32,
                        offset=4 * i,
                        predicate=b.less(b.add(first, i), at.k_tiles),
                    )
                    for i in range(step, end, warps.count)
                ]
            )
        return found

    def fetch(self, headers: Sequence[Sequence[SSAValue]]) -> list[Work]:
        """Fetch the tiles with those headers."""
        return [
            partial(self._fetch, header, values)
            for (_, _, values), found in zip(self.rows, headers, strict=True)
            for header in found
        ]

    def _fetch(self, header: SSAValue, values: Value) -> None:
        b = self.b
        pieces = b.and_(header, (1 << HEADER_SHIFT) - 1)
        place = b.add(values, b.shr(header, HEADER_SHIFT))
        for i in range(self.sectors):
            first = b.mad(b.lane, _SECTOR // VALUE_ALIGN, i * WARP_SIZE * _SECTOR // VALUE_ALIGN)
            b.prefetch(place, offset=i * WARP_SIZE * _SECTOR, predicate=b.less(first, pieces))


class Prefetch:
    """Fetches the sectors of operand tiles into L1.

    Values of sparse ones four rows of tiles by `CHUNK` steps at a time: a lane has a tile of its
    own, whose header says which sectors there are. Those of dense ones as `_DenseRows` does.
    Bitmaps of both a lane a sector.
    """

    def __init__(
        self, b: KernelBuilder, operands: Operands, plan: FetchPlan, sharers: Sequence[Sharers]
    ):
        """`sharers`: of each operand tile."""
        self.b, self.bitmap_bytes, self.distance = b, operands.bitmap_bytes, plan.distance
        headers = [t.header for t in operands.tiles]
        groups = _groups([i for i, count in enumerate(plan.sectors) if count])
        self.sectors = [max(plan.sectors[i] for i in group) for group in groups]
        self.all_headers = _HeaderLanes.of(b, headers, _groups(plan.fetched))
        self.headers = _HeaderLanes.of(b, headers, groups)
        self.dense = _DenseRows(b, operands, plan.dense, sharers)
        each = CHUNK * self.bitmap_bytes // _SECTOR
        self.sector_step = b.div(b.rem(b.lane, each), self.bitmap_bytes // _SECTOR)
        which = b.div(b.lane, CHUNK)
        self.values = [
            _of_lane(b, which, [operands.tiles[i].values for i in group]) for group in groups
        ]
        bitmaps, together = [operands.tiles[i].bitmap for i in plan.fetched], WARP_SIZE // each
        which, sector = b.div(b.lane, each), b.rem(b.lane, each)
        self.bitmaps = [
            b.mad(sector, _SECTOR, _of_lane(b, which, bitmaps[i : i + together]))
            for i in range(0, len(bitmaps), together)
        ]

    def begin_values(self, first: Place) -> None:
        """Fetch the first chunks."""
        for c in range(min(self.distance, ceil_div(first.k_tiles, CHUNK))):
            for item in self.fetch(first, c * CHUNK, *self.load(first, c * CHUNK)):
                item()

    def begin(self, first: Place) -> None:
        """Fetch the first chunks, and headers of those after them."""
        self.begin_values(first)
        for c in range(self.distance, min(self.distance + LEAD, ceil_div(first.k_tiles, CHUNK))):
            self.fetch_headers(first, c * CHUNK)

    def fetch_headers(self, at: Place, step: int) -> None:
        """Fetch the headers of the chunk from `step` on."""
        self.all_headers.fetch(at, step)

    def load(self, at: Place, step: int) -> tuple[list[SSAValue], list[list[SSAValue]]]:
        """Headers of the chunk from `step` on."""
        return self.headers.load(at, step), self.dense.load(at, step)

    def fetch(
        self,
        at: Place,
        step: int,
        headers: Sequence[SSAValue],
        dense: Sequence[Sequence[SSAValue]],
    ) -> list[Work]:
        """Fetch the chunk from `step` on."""
        work = self.dense.fetch(dense)
        work += [partial(self._fetch_bitmaps, at, step, start) for start in self.bitmaps]
        for values, header, sectors in zip(self.values, headers, self.sectors, strict=True):
            # decoded at once: the register is free for the next header
            pieces = self.b.and_(header, (1 << HEADER_SHIFT) - 1)
            place = self.b.add(values, self.b.shr(header, HEADER_SHIFT))
            for sector in range(sectors):
                work.append(partial(self._fetch_values, place, pieces, sector))
        return work

    def _fetch_bitmaps(self, at: Place, step: int, start: Value) -> None:
        self.b.prefetch(
            at.advanced(start, self.bitmap_bytes),
            offset=step * self.bitmap_bytes,
            predicate=_inside(at, self.sector_step, step),
        )

    def _fetch_values(self, place: Value, pieces: Value, sector: int) -> None:
        some = self.b.compare("ugt", pieces, sector * (_SECTOR // VALUE_ALIGN))
        self.b.prefetch(place, offset=_SECTOR * sector, predicate=some)
