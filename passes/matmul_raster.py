"""The order of a product's output tiles: panels of columns instead of whole rows. Not a pass.

In: a grid, the CTA's place in dispatch order (x fastest). Out: its tile's row and column. CTAs that
run at the same time then share few columns and few rows of the operands, which L2 can keep.
"""

from __future__ import annotations

from math import sqrt

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


def cheapest_panel(
    rows: int, columns: int, tiles: int, row_bytes: float, column_bytes: float
) -> int:
    """Columns of the panels in which `tiles` tiles at a time read the fewest bytes of operands.

    `row_bytes` and `column_bytes`: of the operands of a row and of a column of tiles. All panels
    but the last are equally wide; all columns where the whole grid runs at a time.
    """
    if rows == 1 or rows * columns <= tiles:
        return columns
    best = max(1, min(columns, round(sqrt(tiles * row_bytes / column_bytes))))
    best = max(best, ceil_div(tiles, rows))
    return ceil_div(columns, ceil_div(columns, min(best, columns)))


def at_once(rows: int, columns: int, tiles: int) -> tuple[int, int]:
    """How many rows and columns of a grid `tiles` tiles that follow each other come from."""
    down = min(rows, ceil_div(tiles, panel_columns(rows, columns)))
    return down, min(columns, ceil_div(tiles, down))


def cheapest_place(
    b: KernelBuilder,
    rows: int,
    columns: int,
    tiles: int,
    costs: tuple[float, float],
    number: Value | None = None,
) -> tuple[Value, Value]:
    """As `tile_place`, for operands whose rows and columns of tiles cost unlike numbers of bytes.

    `number`: of the tile, that of the CTA if not given.

    Of the dearer operand what one tile needs its neighbours in the order need as well: they start
    together, and stay so near each other that L2 keeps it. `costs` and `tiles`: `cheapest_panel`.
    """
    row_bytes, column_bytes = costs
    if column_bytes <= row_bytes:
        width = cheapest_panel(rows, columns, tiles, row_bytes, column_bytes)
        if number is None:
            return tile_place(b, rows, columns, width)
        return _numbered(b, number, rows, columns, width)
    width = cheapest_panel(columns, rows, tiles, column_bytes, row_bytes)
    if number is None:
        number = b.mad(b.id(tile.Id.CTA_Y), columns, b.id(tile.Id.CTA_X))
    column, row = _numbered(b, number, columns, rows, width)
    return row, column


def tile_place(
    b: KernelBuilder, rows: int, columns: int, width: int | None = None
) -> tuple[Value, Value]:
    """Row and column of the CTA's tile in a grid of `rows` x `columns` tiles (grid y, grid x).

    `width`: columns of a panel, `panel_columns` of the grid if not given.
    """
    width = panel_columns(rows, columns) if width is None else width
    x, y = b.id(tile.Id.CTA_X), b.id(tile.Id.CTA_Y)
    if width == columns:
        return y, x
    return _numbered(b, b.mad(y, columns, x), rows, columns, width)


def _numbered(
    b: KernelBuilder, number: Value, rows: int, columns: int, width: int
) -> tuple[Value, Value]:
    """Row and column of a tile by its number in panels of `width` columns."""
    if width == columns:
        return b.div(number, columns), b.rem(number, columns)
    panels, last = divmod(columns, width)
    panel = b.div(number, width * rows)
    inside = b.sub(number, b.mul(panel, width * rows))
    first = b.mul(panel, width)
    row, column = b.div(inside, width), b.add(first, b.rem(inside, width))
    if last == 0:
        return row, column
    whole = b.less(panel, panels)
    return (
        b.select(whole, row, b.div(inside, last)),
        b.select(whole, column, b.add(first, b.rem(inside, last))),
    )
