"""A linalg operation as what it iterates over: for each operand, which element it reads where.

In: a named or generic operation. Out: `Nest`: the extent of each dimension of the iteration, which
of them are summed over, and for each operand's dimension the sum of iteration dimensions, each
times a number, that indexes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from xdsl.dialects.builtin import AffineMapAttr, ArrayAttr, DenseIntOrFPElementsAttr
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.ir import Attribute
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
)

from ...backend.isa.errors import DstcError
from .mlir_reader import Structured


@dataclass(frozen=True)
class Place:
    """An index: the sum of iteration dimensions times numbers, and a number."""

    terms: tuple[tuple[int, int], ...]
    offset: int = 0

    @property
    def dim(self) -> int | None:
        """The iteration dimension, if it is one as it is."""
        plain = len(self.terms) == 1 and self.terms[0][1] == 1 and not self.offset
        return self.terms[0][0] if plain else None


Map = tuple[Place, ...]


@dataclass(frozen=True)
class Nest:
    """An iteration: `maps` of operands, those read first; `summed`: dimensions of reductions."""

    maps: tuple[Map, ...]
    extents: tuple[int, ...]
    summed: frozenset[int]


_NAMED = {
    "matmul": "m k, k n, m n", "matmul_transpose_a": "k m, k n, m n",
    "matmul_transpose_b": "m k, n k, m n", "batch_matmul": "b m k, b k n, b m n",
    "batch_matmul_transpose_a": "b k m, b k n, b m n",
    "batch_matmul_transpose_b": "b m k, b n k, b m n",
    "batch_reduce_matmul": "b m k, b k n, m n", "matvec": "m k, k, m", "vecmat": "k, k n, n",
    "batch_matvec": "b m k, b k, b m", "batch_vecmat": "b k, b k n, b n", "dot": "k, k, ",
    "conv_1d_ncw_fcw": "n c x:w, f c w, n f x", "conv_1d_nwc_wcf": "n x:w c, w c f, n x f",
    "conv_2d_nchw_fchw": "n c y:h x:w, f c h w, n f y x",
    "conv_2d_nhwc_hwcf": "n y:h x:w c, h w c f, n y x f",
    "conv_2d_nhwc_fhwc": "n y:h x:w c, f h w c, n y x f",
    "conv_2d_ngchw_fgchw": "n g c y:h x:w, f g c h w, n g f y x",
    "conv_2d_ngchw_gfchw": "n g c y:h x:w, g f c h w, n g f y x",
    "conv_2d_nhwgc_gfhwc": "n y:h x:w g c, g f h w c, n y x g f",
    "depthwise_conv_1d_ncw_cw": "n c x:w, c w, n c x",
    "depthwise_conv_1d_nwc_wc": "n x:w c, w c, n x c",
    "depthwise_conv_2d_nchw_chw": "n c y:h x:w, c h w, n c y x",
    "depthwise_conv_2d_nhwc_hwc": "n y:h x:w c, h w c, n y x c",
    "depthwise_conv_2d_nhwc_hwcm": "n y:h x:w c, h w c m, n y x c m",
    **{
        f"pooling_{layout}_{kind}": text
        for kind in ("max", "min", "sum")
        for layout, text in {
            "nchw": "n c y:h x:w, h w, n c y x", "nhwc": "n y:h x:w c, h w, n y x c",
            "ncw": "n c x:w, w, n c x", "nwc": "n x:w c, w, n x c",
        }.items()
    },
}  # fmt: skip
"""Operands' dimensions by letter; `y:h` is y times the stride plus h times the dilation."""

WINDOWS = ("h", "w")
"""Letters of windows, in the order of strides and dilations."""


def is_named(op: Structured) -> bool:
    """It is a product, convolution or pooling of `_NAMED`."""
    return op.name.removeprefix("linalg.") in _NAMED


def nest(op: Structured, shapes: Sequence[tuple[int, ...]]) -> Nest:
    """What `op` iterates over; `shapes` of all operands."""
    given = op.given("indexing_maps")
    if isinstance(given, ArrayAttr):
        attrs = cast("ArrayAttr[AffineMapAttr]", given).data
        maps = tuple(tuple(_place(r) for r in a.data.results) for a in attrs)
        count = attrs[0].data.num_dims if attrs else 0
        kinds = op.given("iterator_types")
        if isinstance(kinds, ArrayAttr):
            types = cast("ArrayAttr[Attribute]", kinds).data
            summed = frozenset(i for i, k in enumerate(types) if _kind(k) == "reduction")
        else:  # a matmul with maps of its own
            kept = {p.dim for p in maps[-1]}
            summed = frozenset(range(count)) - kept
    else:
        maps, count, summed = _of_name(op)
    if len(maps) != len(shapes) or any(len(m) != len(s) for m, s in zip(maps, shapes, strict=True)):
        raise DstcError(f"{op.name}: its indexing maps do not fit its operands")
    return Nest(maps, _extents(op, maps, count, shapes), frozenset(summed))


def _kind(attr: Any) -> str:
    if isinstance(attr, IteratorTypeAttr):
        return "reduction" if attr.data == IteratorType.REDUCTION else "parallel"
    return str(getattr(attr, "data", attr))


def _of_name(op: Structured) -> tuple[tuple[Map, ...], int, frozenset[int]]:
    text = _NAMED[op.name.removeprefix("linalg.")]
    letters = list(dict.fromkeys(re.findall(r"[a-z]", text)))
    windows = [c for c in WINDOWS if f":{c}" in text]
    strides, dilations = (_numbers(op.given(n), len(windows)) for n in ("strides", "dilations"))

    def place(word: str) -> Place:
        out, _, window = word.partition(":")
        if not window:
            return Place(((letters.index(out), 1),))
        i = windows.index(window)
        return Place(((letters.index(out), strides[i]), (letters.index(window), dilations[i])))

    maps = tuple(tuple(place(w) for w in part.split()) for part in text.split(","))
    kept = {p.dim for p in maps[-1]}
    return maps, len(letters), frozenset(i for i in range(len(letters)) if i not in kept)


def _numbers(attr: Any, count: int) -> tuple[int, ...]:
    if attr is None:
        return (1,) * count
    assert isinstance(attr, DenseIntOrFPElementsAttr)
    values = tuple(int(v) for v in attr.get_values())
    return values if len(values) == count else values[:1] * count


def _place(expression: AffineExpr) -> Place:
    terms, offset = _linear(expression)
    return Place(tuple(sorted(terms.items())), offset)


def _linear(e: AffineExpr) -> tuple[dict[int, int], int]:
    if isinstance(e, AffineDimExpr):
        return {e.position: 1}, 0
    if isinstance(e, AffineConstantExpr):
        return {}, e.value
    if isinstance(e, AffineBinaryOpExpr):
        (a, x), (b, y) = _linear(e.lhs), _linear(e.rhs)
        if e.kind == AffineBinaryOpKind.Add:
            sums = {d: a.get(d, 0) + b.get(d, 0) for d in {*a, *b}}
            return {d: n for d, n in sums.items() if n}, x + y
        if e.kind == AffineBinaryOpKind.Mul and not (a and b):
            terms, factor = (a, y) if not b else (b, x)
            return {d: n * factor for d, n in terms.items()}, x * y
    raise DstcError(f"index {e} is not supported: only sums of dimensions times numbers")


def _extents(
    op: Structured, maps: Sequence[Map], count: int, shapes: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    found: dict[int, int] = {}
    for map_, shape in zip(maps, shapes, strict=True):
        for place, size in zip(map_, shape, strict=True):
            if place.dim is not None and found.setdefault(place.dim, size) != size:
                raise DstcError(
                    f"{op.name}: dimension d{place.dim} is {found[place.dim]} and {size} elements "
                    "long"
                )
    missing = [d for d in range(count) if d not in found]
    if missing:
        raise DstcError(f"{op.name}: no operand says how long dimension d{missing[0]} is")
    return tuple(found[d] for d in range(count))


def letters(map_: Map) -> tuple[int, ...] | None:
    """Iteration dimensions of an operand, if each of its dimensions is one, and no two the same."""
    dims = [p.dim for p in map_]
    plain = [d for d in dims if d is not None]
    return tuple(plain) if len(plain) == len(dims) == len(set(dims)) else None
