"""Converters of ONNX operators that move data: slices, parts, paddings, indices.

In: a node and its draft; starts, axes and the like must be constant. Out: `slice`, `pad`, `expand`,
`concat`, `gather`, `reshape` and `transpose` operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import ceil_div
from .draft import INTEGER, Draft
from .onnx_build import Build
from .onnx_node import Node

Converter = Callable[[Draft, Node], None]


def _concat(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    inputs = [v for v in node.inputs if 0 not in draft.shape(v)]  # an empty past is nothing
    axis = node.axis(len(draft.shape(node.inputs[0])), 0)
    b.give(b.concat(inputs, axis))


def _slice(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    starts = node.constant_ints(draft, 1, "starts") or ()
    ends = node.constant_ints(draft, 2, "ends") or ()
    axes = node.constant_ints(draft, 3, "axes")
    steps = node.constant_ints(draft, 4, "steps") or (1,) * len(starts)
    found = [(0, n, 1) for n in shape]
    for at, start, end, step in zip(
        range(len(starts)) if axes is None else axes, starts, ends, steps, strict=True
    ):
        axis = at % len(shape)
        low, high, by = slice(start, end, step).indices(shape[axis])
        found[axis] = (low, len(range(low, high, by)), by)
    b.give(b.slice(x, *([column[i] for column in found] for i in range(3))))


def _split(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    axis = node.axis(len(shape), 0)
    outputs = len(node.outputs)
    sizes = node.constant_ints(draft, 1, "split")
    if sizes is None:
        count = int(node.attrs.get("num_outputs", outputs))
        size = ceil_div(shape[axis], count)
        sizes = tuple(min(size, shape[axis] - i * size) for i in range(count))
    if sum(sizes) != shape[axis]:
        raise DstcError(f"parts of {sizes} do not make {shape[axis]}")
    start = 0
    for output, size in zip(node.outputs, sizes, strict=True):
        if output:
            b.give(b.part(x, axis, start, size), output)
        start += size


def _expand(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    target = node.constant_ints(draft, 1, "the shape") or ()
    b.give(b.expand(x, np.broadcast_shapes(draft.shape(x), target)))


def _tile(draft: Draft, node: Node) -> None:
    """Repeats as new dimensions, which are then joined."""
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    repeats = node.constant_ints(draft, 1, "repeats") or ()
    if all(n == 1 for n, r in zip(shape, repeats, strict=True) if r > 1):
        b.give(b.expand(x, [n * r for n, r in zip(shape, repeats, strict=True)]))
        return
    pairs = [(r, n) for n, r in zip(shape, repeats, strict=True)]
    apart = b.reshape(x, [d for _, n in pairs for d in (1, n)])
    repeated = b.expand(apart, [d for pair in pairs for d in pair])
    b.give(b.reshape(repeated, [r * n for r, n in pairs]))


def _gather(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    x, indices = node.inputs[:2]
    shape = draft.shape(x)
    axis = node.axis(len(shape), 0)
    known = b.known(indices)
    if known is not None:
        at = np.where(known < 0, known + shape[axis], known)
        if at.size and not (at.min() >= 0 and at.max() < shape[axis]):
            raise DstcError(f"an index is not within the {shape[axis]} elements of axis {axis}")
        if at.size == 1 and x not in draft.constants:  # a slice
            part = b.part(x, axis, int(at.reshape(-1)[0]), 1)
            b.give(b.reshape(part, (*shape[:axis], *known.shape, *shape[axis + 1 :])))
            return
    b.give(b.gather(x, indices, axis))


def _padded_axes(node: Node, draft: Draft, rank: int) -> tuple[list[int], list[int]]:
    """Elements before and behind, by dimension."""
    pads = node.constant_ints(draft, 1, "pads") or ()
    axes = node.constant_ints(draft, 3, "axes")
    dims = list(range(rank)) if axes is None else [a % rank for a in axes]
    before, behind = [0] * rank, [0] * rank
    for i, d in enumerate(dims):
        before[d], behind[d] = pads[i], pads[i + len(dims)]
    return before, behind


def _pad(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    before, behind = _padded_axes(node, draft, len(shape))
    mode = node.attrs.get("mode", "constant")
    if mode != "constant":
        b.give(_mirrored(b, x, before, behind, mode))
        return
    fill = node.optional(2)
    number = 0.0 if fill is None else draft.number(fill)
    if number is None:
        raise DstcError("the padding's value is computed; it must be constant")
    starts = [max(-p, 0) for p in before]
    counts = [n - max(-p, 0) - max(-q, 0) for n, p, q in zip(shape, before, behind, strict=True)]
    inner = b.slice(x, starts, counts, [1] * len(shape))
    low = [max(p, 0) for p in before]
    to = [n + max(p, 0) + max(q, 0) for n, p, q in zip(counts, before, behind, strict=True)]
    b.give(b.pad(inner, low, to, number))


def _reflected(at: NDArray[Any], count: int) -> NDArray[Any]:
    """Back and forth, the ends once."""
    period = max(2 * (count - 1), 1)
    return (count - 1) - np.abs((at % period) - (count - 1))


_MIRRORS: dict[str, Callable[[NDArray[Any], int], NDArray[Any]]] = {
    "edge": lambda at, count: np.clip(at, 0, count - 1),
    "reflect": _reflected,
    "wrap": lambda at, count: at % count,
}
"""Modes of Pad: which element stands at a place before, in or behind the tensor."""


def _mirrored(b: Build, x: str, before: Sequence[int], behind: Sequence[int], mode: str) -> str:
    """Padding that repeats elements: gathered by indices known now."""
    if mode not in _MIRRORS:
        known = ", ".join(_MIRRORS)
        raise DstcError(f"mode {mode!r} is not supported; there are constant, {known}")
    for axis, (p, q) in enumerate(zip(before, behind, strict=True)):
        if p or q:
            if min(p, q) < 0:
                raise DstcError(f"negative pads with mode {mode!r} are not supported")
            count = b.shape(x)[axis]
            places = _MIRRORS[mode](np.arange(-p, count + q), count)
            x = b.gather(x, b.constant(f"at{axis}", places), axis)
    return x


def _depth_to_space(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    n, c, h, w = draft.shape(x)
    s = int(node.attrs["blocksize"])
    if node.attrs.get("mode", "DCR") == "DCR":
        apart, perm = (n, s, s, c // s**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        apart, perm = (n, c // s**2, s, s, h, w), (0, 1, 4, 2, 5, 3)
    b.give(b.reshape(b.transpose(b.reshape(x, apart), perm), (n, c // s**2, h * s, w * s)))


def _space_to_depth(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    n, c, h, w = draft.shape(x)
    s = int(node.attrs["blocksize"])
    apart = b.reshape(x, (n, c, h // s, s, w // s, s))
    b.give(b.reshape(b.transpose(apart, (0, 3, 5, 1, 2, 4)), (n, c * s * s, h // s, w // s)))


def _one_hot(draft: Draft, node: Node) -> None:
    """Indices compared with 0 to depth - 1."""
    b = Build(draft, node)
    indices, depth, values = node.inputs
    count, pair = draft.number(depth), b.known(values)
    if count is None or pair is None:
        raise DstcError("depth and values must be constant")
    shape = draft.shape(indices)
    axis = int(node.attrs.get("axis", -1)) % (len(shape) + 1)
    at = b.cast(indices, INTEGER)
    at = b.call("where", b.call("lt", at, 0), b.call("add", at, int(count)), at)
    at = b.reshape(at, (*shape[:axis], 1, *shape[axis:]))
    line = np.arange(int(count)).reshape(-1, *[1] * (len(shape) - axis))
    hit = b.call("eq", at, b.constant("line", line))
    off, on = (float(v) for v in pair.reshape(-1))
    whole = values in draft.constants and draft.integer(values)
    if whole:
        scaled = hit if on - off == 1 else b.call("mul", hit, int(on - off))
        b.give(scaled if off == 0 else b.call("add", scaled, int(off)))
        return
    b.give(b.call("where", hit, draft.fill(on), draft.fill(off)))


MOVES: dict[str, Converter] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Gather": _gather,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Tile": _tile,
}
"""ONNX operators that move data."""
