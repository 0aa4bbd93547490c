"""Measured times that the simulator is held against: rows of compiler/data/, in our own terms.

In: a data file with origin, machine and units. Out: rows with sizes, layouts and microseconds, and
the product that each one is to the compiler.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Generic, TypeVar

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import round_up
from .bench import Gemm
from .bench_conv import Conv

_FOLDER = Path(__file__).parent / "data"
_FILES = {"v100": "v100_gemm_deepbench.json"}
_CONV_FILES = {"v100": "v100_conv_deepbench.json"}
_CHANNELS = 8
"""Channels were padded with zeros to a multiple of this, by the benchmark itself."""


@dataclass(frozen=True)
class Row:
    """One measured product, as cuBLAS names it: column-major C (m x n) = op(A) op(B).

    `a`, `b`: N or T; `us`: measured microseconds, the launch included.
    """

    index: int
    source: str
    m: int
    n: int
    k: int
    a: str
    b: str
    us: float

    @property
    def layout(self) -> str:
        """NN, TN or NT."""
        return self.a + self.b

    @property
    def label(self) -> str:
        """Sizes and layout, as `--rows` matches them: 1760x16x1760-NN."""
        return f"{self.m}x{self.n}x{self.k}-{self.layout}"

    def gemm(self) -> Gemm:
        """The product in row-major terms, C^T = op(B)^T op(A)^T: M is n, N is m.

        A column-major matrix is its row-major transpose: N leaves both operands as we store them
        (M x K and K x N), b = T stores our left one K x M, a = T our right one N x K.
        """
        return Gemm(self.n, self.m, self.k, trans_a=self.b == "T", trans_b=self.a == "T", out="f16")


@dataclass(frozen=True)
class ConvRow:
    """One measured convolution: n images of c x h x w, k filters of r x s; `us` as of `Row`."""

    index: int
    source: str
    w: int
    h: int
    c: int
    n: int
    k: int
    s: int
    r: int
    pad_w: int
    pad_h: int
    stride_w: int
    stride_h: int
    us: float

    @property
    def padded_channels(self) -> int:
        """Channels of what was measured: the benchmark pads them."""
        return round_up(self.c, _CHANNELS)

    @property
    def label(self) -> str:
        """As `--rows` matches it: conv-16x64x56x56-k256-1x1-s2."""
        return f"conv-{self.conv().label}"

    def conv(self) -> Conv:
        """The convolution that was measured."""
        return Conv(
            self.n, self.padded_channels, self.h, self.w, self.k, (self.r, self.s),
            strides=(self.stride_h, self.stride_w),
            pads=(self.pad_h, self.pad_w, self.pad_h, self.pad_w),
        )  # fmt: skip


AnyRow = TypeVar("AnyRow", Row, ConvRow)


@dataclass(frozen=True)
class Measured(Generic[AnyRow]):
    """A data file: what was measured, on what, and the rows."""

    origin: str
    machine: str
    units: str
    rows: tuple[AnyRow, ...]


def measured(name: str) -> Measured[Row]:
    """The measured products of machine `name`."""
    data = json.loads((_FOLDER / _FILES[name]).read_text(encoding="utf-8"))
    rows = tuple(
        Row(i, r["source"], r["m"], r["n"], r["k"], r["a"], r["b"], 1000 * r["ms"])
        for i, r in enumerate(data["rows"])
    )
    return Measured(data["origin"], data["machine"], data["units"], rows)


def measured_convolutions(name: str) -> Measured[ConvRow]:
    """The measured convolutions of machine `name`."""
    data = json.loads((_FOLDER / _CONV_FILES[name]).read_text(encoding="utf-8"))
    rows = tuple(
        ConvRow(i, **{k: v for k, v in r.items() if k != "ms"}, us=1000 * r["ms"])
        for i, r in enumerate(data["rows"])
    )
    return Measured(data["origin"], data["machine"], data["units"], rows)


def split_choice(text: str | None) -> tuple[str | None, str | None] | None:
    """Parts of `--rows` for products and for convolutions: `chosen`'s text, "" for none of them.

    What begins with `conv` is for convolutions: `conv` for all, `conv:7`, `conv:0-9`, or patterns
    of their labels. None for no text: all of both.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    convolutions = [part.removeprefix("conv:") for part in parts if part.startswith("conv")]
    products = [part for part in parts if not part.startswith("conv")]
    return (
        ",".join(products) if products else "",
        None if "conv" in convolutions else ",".join(convolutions),
    )


def chosen(rows: Sequence[AnyRow], text: str | None) -> list[AnyRow]:
    """The rows that any part of `text`, separated by commas, names; all of them for None.

    A part is an index (7), a range (0-9) or a pattern of labels (*-TN, 1024x*). Raises `DstcError`
    for a part that names none.
    """
    if text is None:
        return list(rows)
    kept: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if first.isdecimal() and (not dash or last.isdecimal()):
            span = range(int(first), int(last if dash else first) + 1)
            found = {row.index for row in rows if row.index in span}
        else:
            found = {row.index for row in rows if fnmatchcase(row.label, part.strip())}
        if not found:
            raise DstcError(
                f"--rows {text}: '{part}' names no row; give an index (0 to {len(rows) - 1}), a "
                f"range (0-9) or a pattern of labels such as '*-TN' or '{rows[0].label}'"
            )
        kept |= found
    return [row for row in rows if row.index in kept]
