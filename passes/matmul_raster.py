"""The order of a product's output tiles: panels of columns instead of whole rows. Not a pass.

In: a grid, the CTA's place in dispatch order (x fastest). Out: its tile's row and column. CTAs that
run at the same time then share few columns and few rows of the operands, which L2 can keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.layout import ceil_div
from ..dialects import dstc_tile as tile
from .kernel_builder import KernelBuilder, Value

PANEL = 16
"""Columns of tiles in a panel: near the square root of the large tiles that a V100 holds at once,
which then come from about as many rows. Measured: 8 does as well, none costs a wide product a
quarter."""
TOGETHER = 2048**2
"""Elements of the result whose tiles follow each other in an order that shares operands: what the
accumulators of 64 to 80 SMs hold, of 64 KB a sub-core. With 16 KB, measured, tiles of four rounds
do better than those of one."""


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


@dataclass(frozen=True)
class Order:
    """The order of a grid of tiles: along lines of `width` tiles of a panel, panel after panel.

    `rows` and `columns`: tiles of the grid. `down`: lines go down the columns, and panels consist
    of rows; else lines are rows, and panels consist of columns.
    """

    rows: int
    columns: int
    width: int
    down: bool = False

    @staticmethod
    def of_sparse(
        grid: tuple[int, int], cta_tile: tuple[int, int], densities: tuple[float, float]
    ) -> Order:
        """Of operands whose rows and columns of tiles have unlike numbers of bytes.

        Of the dearer operand what one tile needs its neighbours in the order need as well: they
        start together, and stay so near each other that L2 keeps it.
        """
        rows, columns = grid
        row, column = (
            extent * (2 * density + 1 / 8)
            for extent, density in zip(cta_tile, densities, strict=True)
        )
        tiles = ceil_div(TOGETHER, cta_tile[0] * cta_tile[1])
        if column <= row:
            return Order(rows, columns, cheapest_panel(rows, columns, tiles, row, column))
        return Order(rows, columns, cheapest_panel(columns, rows, tiles, column, row), down=True)

    @property
    def lines(self) -> int:
        """Lines of all panels, the last one as wide as the others."""
        return ceil_div(self.rows * self.columns, self.width)

    def places(self) -> NDArray[np.intp]:
        """Of each tile in this order, its number counted along whole rows: (tiles,)."""
        grid = np.arange(self.rows * self.columns).reshape(self.rows, self.columns)
        if self.down:
            grid = grid.T
        cuts = range(self.width, grid.shape[1], self.width)
        panels = [panel.reshape(-1) for panel in np.split(grid, cuts, axis=1)]
        return np.concatenate(panels)

    def place(self, b: KernelBuilder, number: Value | None = None) -> tuple[Value, Value]:
        """Row and column of the tile with a number, the CTA's if not given (grid y, grid x)."""
        if number is None and self.width == self.columns and not self.down:
            x, y = b.id(tile.Id.CTA_X), b.id(tile.Id.CTA_Y)
            return y, x
        if number is None:
            number = b.mad(b.id(tile.Id.CTA_Y), self.columns, b.id(tile.Id.CTA_X))
        if self.down:
            column, row = _numbered(b, number, self.columns, self.rows, self.width)
            return row, column
        return _numbered(b, number, self.rows, self.columns, self.width)


def tile_place(b: KernelBuilder, rows: int, columns: int) -> tuple[Value, Value]:
    """Row and column of the CTA's tile in panels of `panel_columns`, of a grid of tiles."""
    return Order(rows, columns, panel_columns(rows, columns)).place(b)


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
