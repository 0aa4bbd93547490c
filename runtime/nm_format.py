"""n:m sparse operands on the host: check, prune, encode, decode.

In: f16 matrices and a pattern, 2:4 or 4:16. Out: the bytes that `NmLayout` puts in device memory,
and back; pruned matrices; where a matrix breaks its pattern.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import NM_BLOCK_K, NM_BLOCK_LINES, NmLayout, round_up
from ..backend.isa.table import NM_SHAPES, NM_VALUES

F16 = NDArray[np.float16]
_MAGNITUDE = np.uint16(0x7FFF)
_PAIRS = NM_BLOCK_LINES // 8
"""Pairs of lines of a fragment, four fragments a tile."""


@dataclass(frozen=True)
class Pattern:
    """At most n of each m neighbours along K are not zero; groups start at multiples of m."""

    n: int
    m: int

    @staticmethod
    def parse(text: str) -> Pattern:
        """From "2:4"; `DstcError` for what no HMMA.SP takes."""
        for pattern in PATTERNS:
            if text == str(pattern):
                return pattern
        raise DstcError(f"pattern {text!r} is not known; use {', '.join(map(str, PATTERNS))}")

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def shape(self) -> str:
        """HMMA.SP's shape for it."""
        return next(s for s, pattern in NM_SHAPES.items() if pattern == (self.n, self.m))

    def layout(self, lines: int, depth: int) -> NmLayout:
        """Storage of an operand of `lines` lines."""
        return NmLayout(lines, depth, self.n, self.m)


PATTERNS = tuple(Pattern(n, m) for n, m in NM_SHAPES.values())


def _lines_of(matrix: NDArray[np.floating], side: str) -> NDArray[np.floating]:
    """Lines x depth: rows of a side-a operand (M x K), columns of a side-b operand (K x N)."""
    if side not in ("a", "b"):
        raise DstcError(f"the side of an n:m operand must be 'a' or 'b', not {side!r}")
    if matrix.ndim != 2 or min(matrix.shape) < 1:
        raise DstcError(f"an n:m operand is a matrix, not of shape {matrix.shape}")
    return matrix if side == "a" else matrix.T


def _groups(lines: NDArray[Any], m: int) -> NDArray[Any]:
    """(lines, groups, m), the last group filled up with zeros."""
    depth = round_up(lines.shape[1], m)
    if depth != lines.shape[1]:
        lines = np.pad(lines, ((0, 0), (0, depth - lines.shape[1])))
    return lines.reshape(len(lines), depth // m, m)


def violation(matrix: NDArray[np.floating], pattern: Pattern, side: str) -> str | None:
    """Where a matrix first breaks its pattern, or None: "row 3, columns 8 to 11: 3 non-zeros"."""
    lines = _lines_of(matrix, side)
    counts = np.count_nonzero(_groups(lines, pattern.m), axis=2)
    wrong = counts > pattern.n
    if not wrong.any():
        return None
    line, group = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
    first = group * pattern.m
    last = min(first + pattern.m, lines.shape[1]) - 1
    one, many = ("row", "columns") if side == "a" else ("column", "rows")
    return f"{one} {line}, {many} {first} to {last}: {counts[line, group]} non-zeros"


def pattern_of(matrix: NDArray[np.floating], side: str) -> Pattern | None:
    """The sparsest pattern that the matrix keeps, or None. A -0 is a zero, NaN is none."""
    found = (p for p in sorted(PATTERNS, key=lambda p: p.n / p.m))
    return next((p for p in found if violation(matrix, p, side) is None), None)


def prune(matrix: NDArray[Any], pattern: Pattern, side: str) -> NDArray[Any]:
    """The matrix with the n largest magnitudes of each m; of equals the first stay.

    NaN counts as the largest. The others become +0.
    """
    lines = _lines_of(matrix, side)
    groups = _groups(lines, pattern.m)
    magnitude = np.where(np.isnan(groups), np.inf, np.abs(groups))
    # NaN before infinity, then by falling magnitude, then by position
    order = np.lexsort((-magnitude, ~np.isnan(groups)), axis=2)
    keep = np.zeros(groups.shape, np.bool_)
    np.put_along_axis(keep, order[..., : pattern.n], True, axis=2)
    kept = np.where(keep, groups, groups.dtype.type(0)).reshape(len(lines), -1)
    kept = kept[:, : lines.shape[1]]
    return np.ascontiguousarray(kept if side == "a" else kept.T)


def encode(matrix: NDArray[np.floating], pattern: Pattern, side: str) -> bytes:
    """The device image of a 2-D f16 matrix: M x K for side "a", K x N for "b".

    -0 counts as zero, NaN and infinity do not. Raises `DstcError` with the position where the
    matrix is not n:m, and for another dtype or rank.
    """
    lines = _lines_of(matrix, side)
    if matrix.dtype != np.float16:
        raise DstcError(f"only an f16 matrix can be encoded, not {matrix.dtype}")
    where = violation(matrix, pattern, side)
    if where is not None:
        raise DstcError(f"the matrix is not {pattern}: {where}; prune it or use another engine")
    at = pattern.layout(*lines.shape)
    n, m, slices = at.n, at.m, at.slices
    padded = np.zeros((at.line_tiles * NM_BLOCK_LINES, at.k_tiles * NM_BLOCK_K), np.uint16)
    padded[: lines.shape[0], : lines.shape[1]] = lines.view(np.uint16)
    groups = padded.reshape(len(padded), -1, m)
    zero = (groups & _MAGNITUDE) == 0
    # non-zeros in order, then as many zeros as it takes; both by ascending k
    places = np.sort(np.argsort(zero, axis=2, kind="stable")[..., :n], axis=2)
    values = np.take_along_axis(np.where(zero, np.uint16(0), groups), places, axis=2)
    # line = tile, pair p, fragment f, odd o; k = tile, slice s, value (h, v)
    by_line = at.line_tiles, _PAIRS, 4, 2, at.k_tiles
    values = values.reshape(*by_line, slices, 2, 2).transpose(0, 4, 5, 1, 3, 6, 2, 7)
    bits = (m - 1).bit_length()
    indices = places.reshape(*by_line, 2, slices // 2 * NM_VALUES).astype(np.uint32)
    shifts = np.arange(slices // 2 * NM_VALUES, dtype=np.uint32) * np.uint32(bits)
    words = np.bitwise_or.reduce(indices << shifts, axis=-1).transpose(0, 4, 1, 3, 5, 2)
    return values.astype("<u2").tobytes() + words.astype("<u4").tobytes()


def decode(image: bytes, pattern: Pattern, shape: tuple[int, int], side: str) -> F16:
    """The f16 matrix of `shape`: the values where the indices say, +0 elsewhere.

    Raises `DstcError` if the image has not the layout's size, or if the indices of a group do not
    ascend.
    """
    rows, columns = shape
    at = pattern.layout(*(shape if side == "a" else (columns, rows)))
    if len(image) != at.bytes:
        raise DstcError(
            f"{pattern} operand of {rows} x {columns}: {len(image)} bytes, its layout has "
            f"{at.bytes}; pass the whole buffer"
        )
    n, m, slices = at.n, at.m, at.slices
    tiles = at.line_tiles, at.k_tiles
    values = np.frombuffer(image, "<u2", at.indices_offset // 2)
    values = values.reshape(*tiles, slices, _PAIRS, 2, 2, 4, 2).transpose(0, 3, 6, 4, 1, 2, 5, 7)
    words = np.frombuffer(image, "<u4", offset=at.indices_offset)
    words = words.reshape(*tiles, _PAIRS, 2, 2, 4).transpose(0, 2, 5, 3, 1, 4)
    bits = (m - 1).bit_length()
    shifts = np.arange(slices // 2 * NM_VALUES, dtype=np.uint32) * np.uint32(bits)
    places = (words[..., None] >> shifts) & np.uint32(m - 1)
    lines = at.line_tiles * NM_BLOCK_LINES
    places = places.reshape(lines, -1, n).astype(np.int64)
    if (np.diff(places, axis=2) <= 0).any():
        raise DstcError(f"{pattern} operand of {rows} x {columns}: indices of a group descend")
    whole = np.zeros((lines, places.shape[1], m), np.uint16)
    np.put_along_axis(whole, places, values.reshape(lines, -1, n), axis=2)
    matrix = whole.reshape(lines, -1)[: at.lines, : at.depth]
    return np.ascontiguousarray(matrix if side == "a" else matrix.T).view(np.float16)
