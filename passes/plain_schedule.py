"""A schedule as plain values: what candidates are until one of them is taken. Not a pass.

In: a candidate's tiles, or a `#dstc.schedule`. Out: `Schedule`, a hundred times as cheap to make as
the attribute, and to read; `attr` is the attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..backend.isa.table import TILE_M
from ..dialects.dstc import Engine, ScheduleAttr
from ..dialects.tiles import warps_of


@dataclass(frozen=True)
class Schedule:
    """The parameters of `ScheduleAttr`, and their names there."""

    engine: Engine
    cta_tile: tuple[int, int]
    warp_tile: tuple[int, int]
    stages: int
    swapped: bool = False
    parts: int = 1
    vectors: int = TILE_M
    persistent: int = 0
    cut_tiles: int = 0
    skips: bool = False

    @staticmethod
    def of(attr: ScheduleAttr) -> Schedule:
        """The values of an attribute."""
        return Schedule(
            Engine(attr.engine.data), attr.cta_tile, attr.warp_tile, attr.stages.value.data,
            attr.swapped, attr.parts, attr.vectors, attr.persistent, attr.cut_tiles, attr.skips,
        )  # fmt: skip

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return warps_of(self.cta_tile, self.warp_tile)

    @property
    def attr(self) -> ScheduleAttr:
        """The attribute with these values."""
        return ScheduleAttr.of(
            self.engine, self.cta_tile, self.warp_tile, self.stages, self.swapped, self.parts,
            self.vectors, self.persistent, self.cut_tiles, self.skips,
        )  # fmt: skip
