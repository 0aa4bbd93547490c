"""The order of a product's output tiles: panels of columns instead of whole rows. Not a pass.

In: a grid, the CTA's place in dispatch order (x fastest). Out: its tile's row and column. CTAs that
run at the same time then share few columns and few rows of the operands, which L2 can keep.
"""

from __future__ import annotations

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value

PANEL = 16
"""Columns of tiles in a panel: near the square root of the large tiles that a V100 holds at once,
which then come from about as many rows. Measured: 8 does as well, none costs a wide product a
quarter."""


def panel_columns(rows: int, columns: int) -> int:
    """Columns that are worked off row by row, of a grid of tiles: a panel's, or all.

    Less than two panels are as good as one, and a single row has no order to choose.
    """
    return PANEL if columns >= 2 * PANEL and rows > 1 else columns


def at_once(rows: int, columns: int, tiles: int) -> tuple[int, int]:
    """How many rows and columns of a grid `tiles` tiles that follow each other come from."""
    down = min(rows, ceil_div(tiles, panel_columns(rows, columns)))
    return down, min(columns, ceil_div(tiles, down))


def tile_place(b: KernelBuilder, rows: int, columns: int) -> tuple[Value, Value]:
    """Row and column of the CTA's tile in a grid of `rows` x `columns` tiles (grid y, grid x)."""
    x, y = b.id(tile.Id.CTA_X), b.id(tile.Id.CTA_Y)
    if panel_columns(rows, columns) == columns:
        return y, x
    number = b.mad(y, columns, x)
    panels, last = divmod(columns, PANEL)
    panel = b.div(number, PANEL * rows)
    inside = b.sub(number, b.mul(panel, PANEL * rows))
    first = b.mul(panel, PANEL)
    row, column = b.div(inside, PANEL), b.add(first, b.rem(inside, PANEL))
    if last == 0:
        return row, column
    whole = b.less(panel, panels)
    return (
        b.select(whole, row, b.div(inside, last)),
        b.select(whole, column, b.add(first, b.rem(inside, last))),
    )
