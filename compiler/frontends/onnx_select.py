"""Converters of ONNX operators that choose elements by their values or by computed indices.

In: a node and its draft. Out: places of extremes (`reduce`), gathers by numbers of elements, and
scatters, each element of the result looking for the update that it gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError
from .draft import FLOAT, INTEGER, Draft
from .onnx_build import Build
from .onnx_node import Node

Converter = Callable[[Draft, Node], None]

RANKED = 1024
"""Elements of an axis up to which TopK compares each with each; of more it takes the largest, k
times."""
MOST_TAKEN = 64
"""The k of such an axis, at most."""
MOST_COMPARED = 1 << 28
"""Elements times updates of a scatter by computed indices, at most."""


def _line(b: Build, count: int, rank: int, axis: int) -> str:
    """0 to count - 1 along an axis."""
    shape = [count if d == axis else 1 for d in range(rank)]
    return b.constant("line", np.arange(count).reshape(shape))


def _reversed(b: Build, x: str, axis: int) -> str:
    shape = b.shape(x)
    starts = [n - 1 if d == axis else 0 for d, n in enumerate(shape)]
    return b.slice(x, starts, shape, [-1 if d == axis else 1 for d in range(len(shape))])


def _place(b: Build, kind: str, x: str, axis: int, *, keep: bool, last: bool = False) -> str:
    """Where along `axis` the first (or last) extreme is, as integers."""
    shape = b.shape(x)
    source = b.cast(_reversed(b, x, axis) if last else x, FLOAT)
    to = [1 if d == axis else n for d, n in enumerate(shape)]
    found = b.emit("reduce", [source], to, kind=kind, axes=(axis,))
    place = b.cast(found, INTEGER)
    if last:
        place = b.call("sub", shape[axis] - 1, place)
    return place if keep else b.reshape(place, [n for d, n in enumerate(shape) if d != axis])


def _extreme_place(kind: str) -> Converter:
    def convert(draft: Draft, node: Node) -> None:
        b, x = Build(draft, node), node.inputs[0]
        axis = node.axis(len(draft.shape(x)), 0)
        keep, last = node.flag("keepdims", True), node.flag("select_last_index")
        b.give(_place(b, kind, x, axis, keep=keep, last=last))

    return convert


def _hardmax(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    axis = node.axis(len(shape), -1)
    place = _place(b, "argmax", x, axis, keep=True)
    b.give(b.cast(b.call("eq", place, _line(b, shape[axis], len(shape), axis)), FLOAT))


def _top_k(draft: Draft, node: Node) -> None:
    """Sorted, whether asked for or not."""
    b, x = Build(draft, node), node.inputs[0]
    count = draft.number(node.inputs[1])
    if count is None:
        raise DstcError("K is computed from values; it must be constant")
    shape, k = draft.shape(x), int(count)
    axis, largest = node.axis(len(shape), -1), node.flag("largest", True)
    if not 0 < k <= shape[axis]:
        raise DstcError(f"K is {k}; it must be 1 to {shape[axis]}, the elements of axis {axis}")
    whole = draft.integer(x)
    source = b.cast(x, FLOAT)
    if shape[axis] <= RANKED:
        places = _ranked(b, source, axis, k, largest)
    elif k <= MOST_TAKEN:
        places = _taken(b, source, axis, k, largest)
    else:
        raise DstcError(
            f"the largest {k} of {shape[axis]} are not supported: with more than {RANKED} elements "
            f"K is {MOST_TAKEN} at most"
        )
    values = b.cast(_along(b, source, places, axis), INTEGER) if whole else None
    for output, value in zip(
        node.outputs, (values or _along(b, x, places, axis), places), strict=False
    ):
        if output:
            b.give(value, output)


def _ranked(b: Build, x: str, axis: int, k: int, largest: bool) -> str:
    """Places by rank: how many elements come before each."""
    shape = b.shape(x)
    count, rank = shape[axis], len(shape)
    outer, inner = shape[:axis], shape[axis + 1 :]
    mine = b.reshape(x, (*outer, count, 1, *inner))
    other = b.reshape(x, (*outer, 1, count, *inner))
    before = b.call("gt" if largest else "lt", other, mine)
    earlier = np.tril(np.ones((count, count), np.bool_), -1)
    earlier = earlier.reshape(count, count, *[1] * len(inner))
    tied = b.call("and", b.call("eq", other, mine), b.constant("earlier", earlier))
    ranks = b.reduce("sum", b.cast(b.call("or", before, tied), FLOAT), [axis + 1], keep=False)
    ranks = b.reshape(b.cast(ranks, INTEGER), (*outer, 1, count, *inner))
    wanted = np.arange(k).reshape(k, *[1] * (rank - axis))
    hit = b.call("eq", ranks, b.constant("rank", wanted))
    numbers = np.arange(count, dtype=np.float32).reshape(count, *[1] * len(inner))
    found = b.call("where", hit, b.constant("place", numbers), 0.0)
    return b.cast(b.reduce("sum", found, [axis + 1], keep=False), INTEGER)


def _taken(b: Build, x: str, axis: int, k: int, largest: bool) -> str:
    """The extreme, k times, without those that were taken."""
    shape = b.shape(x)
    kind, gone = ("argmax", -math.inf) if largest else ("argmin", math.inf)
    line = _line(b, shape[axis], len(shape), axis)
    places: list[str] = []
    for _ in range(k):
        place = _place(b, kind, x, axis, keep=True)
        places.append(place)
        x = b.call("where", b.call("eq", place, line), gone, x)
    return b.concat(places, axis)


def _numbers(b: Build, indices: str, axis: int, shape: Sequence[int]) -> str:
    """Row-major numbers, in a tensor of `shape`, of what indices along `axis` mean."""
    found = b.shape(indices)
    own = b.call("where", b.call("lt", indices, 0), b.call("add", indices, shape[axis]), indices)
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    rest = np.zeros([1] * len(found), np.int64)
    for d, n in enumerate(found):
        if d != axis:
            along = [n if e == d else 1 for e in range(len(found))]
            rest = rest + strides[d] * np.arange(n).reshape(along)
    number = b.call("mul", own, strides[axis])
    return b.call("add", number, b.constant("rest", rest)) if rest.any() else number


def _along(b: Build, x: str, indices: str, axis: int) -> str:
    """The elements that indices along `axis` name, of the indices' shape."""
    shape = b.shape(x)
    flat = b.reshape(x, (math.prod(shape),))
    return b.gather(flat, _numbers(b, indices, axis, shape), 0)


def _gather_elements(draft: Draft, node: Node) -> None:
    b, (x, indices) = Build(draft, node), node.inputs
    b.give(_along(b, x, b.cast(indices, INTEGER), node.axis(len(draft.shape(x)), 0)))


_COMBINED = {"add": "add", "mul": "mul", "max": "max", "min": "min"}
"""Values of `reduction` that combine, and the function that does."""
_REDUCED = {"none": ("sum", 0.0), "add": ("sum", 0.0), "mul": ("prod", 1.0),
            "max": ("max", -math.inf), "min": ("min", math.inf)}  # fmt: skip
"""How an element's updates are combined, and what counts as none."""


def _scattered(b: Build, x: str, numbers: str, updates: str) -> str:
    """x with the updates of rows, whose numbers are those given.

    `x`: rows x columns; `numbers`: (updates,); `updates`: updates x columns.
    """
    kind = str(b.node.attrs.get("reduction", "none"))
    if kind not in _REDUCED:
        known = ", ".join(_REDUCED)
        raise DstcError(f"reduction {kind!r} is not supported; there are {known}")
    (rows, columns), count = b.shape(x), b.shape(numbers)[0]
    known = b.known(numbers)
    if known is not None and kind == "none":
        return _placed(b, x, known, updates)
    if rows * columns * count > MOST_COMPARED:
        raise DstcError(
            f"{count} updates by computed indices of {rows * columns} elements are too many"
        )
    line = b.constant("line", np.arange(rows).reshape(rows, 1, 1))
    hit = b.call("eq", b.reshape(numbers, (1, count, 1)), line)
    if kind == "none":  # of several updates of one element the last one
        last = np.arange(1, count + 1).reshape(1, count, 1).astype(np.float32)
        order = b.reduce("max", b.call("where", hit, b.constant("turn", last), 0.0), [1])
        place = b.call("sub", b.cast(b.reshape(order, (rows,)), INTEGER), 1)
        chosen = b.gather(updates, b.call("max", place, 0), 0)
        return b.call("where", b.call("ge", b.reshape(place, (rows, 1)), 0), chosen, x)
    how, nothing = _REDUCED[kind]
    floats = b.cast(b.reshape(updates, (1, count, columns)), FLOAT)
    found = b.reduce(how, b.call("where", hit, floats, nothing), [1], keep=False)
    if b.draft.integer(x):
        whole = b.call(_COMBINED[kind], b.cast(x, FLOAT), found)
        return b.cast(whole, INTEGER)
    return b.call(_COMBINED[kind], x, found)


def _placed(b: Build, x: str, numbers: np.ndarray, updates: str) -> str:
    """The same for known numbers: rows of both, one behind the other, gathered."""
    rows = b.shape(x)[0]
    source = np.arange(rows)
    source[numbers.reshape(-1)] = rows + np.arange(numbers.size)
    return b.gather(b.concat([x, updates], 0), b.constant("source", source), 0)


def _scatter_elements(draft: Draft, node: Node) -> None:
    b, (x, indices, updates) = Build(draft, node), node.inputs
    shape = draft.shape(x)
    count = math.prod(draft.shape(indices))
    number = _known_numbers(b, indices, node.axis(len(shape), 0), shape)
    flat = b.reshape(x, (math.prod(shape), 1))
    value = _scattered(b, flat, b.reshape(number, (count,)), b.reshape(updates, (count, 1)))
    b.give(b.reshape(value, shape))


def _known_numbers(b: Build, indices: str, axis: int, shape: Sequence[int]) -> str:
    """`_numbers`, at once if the indices are known."""
    known = b.known(indices)
    if known is None:
        return _numbers(b, b.cast(indices, INTEGER), axis, shape)
    at: list[NDArray[Any]] = [np.asarray(index) for index in np.indices(known.shape)]
    at[axis] = np.where(known < 0, known + shape[axis], known)
    return b.constant("numbers", np.asarray(np.ravel_multi_index(tuple(at), tuple(shape))))


def _scatter_nd(draft: Draft, node: Node) -> None:
    b, (x, indices, updates) = Build(draft, node), node.inputs
    shape, chosen = draft.shape(x), draft.shape(indices)
    depth = chosen[-1]
    count, rows = math.prod(chosen[:-1]), math.prod(shape[:depth])
    columns = math.prod(shape[depth:])
    known = b.known(indices)
    if known is None:
        number = b.reshape(linear(b, indices, shape[:depth]), (count,))
    else:
        at = known.reshape(count, depth).T
        at = [np.where(a < 0, a + n, a) for a, n in zip(at, shape, strict=False)]
        number = b.constant("numbers", np.ravel_multi_index(at, shape[:depth]))
    value = _scattered(
        b, b.reshape(x, (rows, columns)), number, b.reshape(updates, (count, columns))
    )
    b.give(b.reshape(value, shape))


def linear(b: Build, indices: str, shape: Sequence[int]) -> str:
    """Row-major numbers, in dimensions of `shape`, of indices along the last dimension."""
    chosen = b.shape(indices)
    indices = b.cast(indices, INTEGER)
    number: str | None = None
    for d, extent in enumerate(shape):
        part = b.reshape(b.part(indices, len(chosen) - 1, d, 1), chosen[:-1])
        part = b.call("where", b.call("lt", part, 0), b.call("add", part, extent), part)
        scaled = b.call("mul", part, math.prod(shape[d + 1 :]))
        number = scaled if number is None else b.call("add", number, scaled)
    assert number is not None
    return number


def _gather_nd(draft: Draft, node: Node) -> None:
    """Indices of several dimensions as one number, into these dimensions joined."""
    b, (x, indices) = Build(draft, node), node.inputs
    shape, chosen = draft.shape(x), draft.shape(indices)
    depth, batch = chosen[-1], int(node.attrs.get("batch_dims", 0))
    number = linear(b, indices, shape[batch : batch + depth])
    if batch:  # the batch is a dimension of the number
        own = math.prod(shape[batch : batch + depth])
        count = math.prod(shape[:batch])
        base = own * np.arange(count).reshape(*shape[:batch], *[1] * (len(chosen) - 1 - batch))
        number = b.call("add", number, b.constant("batch", base))
    joined = b.reshape(x, (math.prod(shape[: batch + depth]), *shape[batch + depth :]))
    b.give(b.gather(joined, number, 0))


SELECT: dict[str, Converter] = {
    "ArgMax": _extreme_place("argmax"),
    "ArgMin": _extreme_place("argmin"),
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Hardmax": _hardmax,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
"""ONNX operators that choose elements."""
