"""Tiles of a schedule: how a CTA's falls into warps' tiles, and a large tile into small ones.

In: M x N tile sizes. Out: numbers and sizes, for the schedule attribute, for plain schedules and
for the closed forms alike.
"""

from __future__ import annotations

Size2 = tuple[int, int]


def warps_of(cta: Size2, warp: Size2) -> int:
    """Warps of a CTA."""
    return (cta[0] // warp[0]) * (cta[1] // warp[1])


def pieces_of(warp: Size2, window: int) -> Size2:
    """Smaller tiles, along M and N, that one is cut into: two where a warp's is wide enough."""
    m, n = (1 + (extent % (2 * window) == 0) for extent in warp)
    return m, n


def piece_tiles(cta: Size2, warp: Size2, window: int) -> tuple[Size2, Size2]:
    """CTA and warp tile of the smaller ones: as many warps, each with a piece of its tile."""
    down, across = pieces_of(warp, window)
    return (cta[0] // down, cta[1] // across), (warp[0] // down, warp[1] // across)
