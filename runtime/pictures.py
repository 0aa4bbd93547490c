"""What an operand's zeros look like, small enough to keep.

In: where an operand's non-zeros are. Out: a `Picture`: shares of non-zeros by block, and how many
vectors of the window's length have how many.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.table import TILE_M
from .formats import Bitmap, Counts, decode

MOST_ROWS, MOST_COLUMNS = 64, 96
"""Blocks of a picture at most."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An operand (side "a": M x K, "b": K x N), seen from afar.

    `cells`: uint8 (rows, columns), each the share of non-zeros of a block, 255 for all of them.
    `histogram`: int64 (window + 1,), vectors by their number of non-zeros; a vector runs along M
    for a, along N for b, at one k.
    """

    shape: tuple[int, int]
    window: int
    nonzeros: int
    cells: NDArray[np.uint8]
    histogram: NDArray[np.int64]

    @staticmethod
    def of(occupied: NDArray[np.bool_], counts: Bitmap | Counts) -> Picture:
        """Of the matrix with non-zeros where `occupied`, whose vectors have `counts`."""
        by_vector = counts.counts()[:, : counts.layout.depth]
        return Picture(
            (occupied.shape[0], occupied.shape[1]),
            counts.layout.window,
            int(np.count_nonzero(occupied)),
            _shrunk(occupied),
            np.bincount(by_vector.ravel(), minlength=counts.layout.window + 1),
        )

    @staticmethod
    def of_bitmap(bitmap: Bitmap) -> Picture:
        """Of an encoded operand."""
        return Picture.of(decode(bitmap).view(np.uint16) & 0x7FFF != 0, bitmap)

    def to_json(self) -> dict[str, Any]:
        """JSON: the cells are rows of bytes in base64."""
        return {
            "shape": list(self.shape),
            "window": self.window,
            "nonzeros": self.nonzeros,
            "size": list(self.cells.shape),
            "cells": base64.b64encode(self.cells.tobytes()).decode(),
            "histogram": self.histogram.tolist(),
        }

    @staticmethod
    def of_json(facts: dict[str, Any]) -> Picture:
        """What `to_json` wrote."""
        cells = np.frombuffer(base64.b64decode(facts["cells"]), np.uint8)
        rows, columns = facts["shape"]
        return Picture(
            (rows, columns),
            facts.get("window", TILE_M),
            facts["nonzeros"],
            cells.reshape(facts["size"]),
            np.array(facts["histogram"], np.int64),
        )


def _shrunk(occupied: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Shares of non-zeros of at most MOST_ROWS x MOST_COLUMNS blocks of nearly one size."""
    rows, columns = (
        np.linspace(0, size, min(size, most) + 1).astype(np.int64)
        for size, most in zip(occupied.shape, (MOST_ROWS, MOST_COLUMNS), strict=True)
    )
    sums = np.stack(
        [
            np.add.reduceat(occupied[top:end].sum(axis=0, dtype=np.int64), columns[:-1])
            for top, end in pairwise(rows)
        ]
    )
    areas = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    shares = 255 * sums / areas
    # a block with a single non-zero does not look empty
    return np.where(sums > 0, np.clip(np.round(shares), 1, 255), 0).astype(np.uint8)
