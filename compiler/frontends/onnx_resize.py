"""The converter of Resize: nearest, linear and cubic, by axes.

In: a node and its draft; sizes must be constant. Out: for each axis that changes gathers by indices
known now, weighted and added; whole factors of nearest neighbours are repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError
from .draft import FLOAT, Draft
from .onnx_build import Build
from .onnx_node import Node

Array = NDArray[Any]

_PLACES: dict[str, Callable[[Array, int, int, float], Array]] = {
    "asymmetric": lambda i, old, new, scale: i / scale,
    "align_corners": lambda i, old, new, scale: i * (old - 1) / max(new - 1, 1),
    "half_pixel": lambda i, old, new, scale: (i + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda i, old, new, scale: (
        old / 2 * (1 - new / (scale * old)) + (i + 0.5) / scale - 0.5
    ),
    "pytorch_half_pixel": lambda i, old, new, scale: (
        (i + 0.5) / scale - 0.5 if new > 1 else np.zeros_like(i)
    ),
}
"""coordinate_transformation_mode -> where in the input an element of the result lies."""

_ROUND: dict[str, Callable[[Array], Array]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}
"""nearest_mode -> which element is meant."""


def _sizes(b: Build, shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """(new shape, scales); `axes` says which dimensions the node speaks of."""
    node = b.node
    axes = [a % len(shape) for a in node.ints("axes", range(len(shape)))]
    scales, sizes = node.optional(1 if node.op == "Upsample" else 2), node.optional(3)
    new, factors = list(shape), [1.0] * len(shape)
    known = b.known(scales) if scales else None
    if known is not None and known.size:
        for axis, factor in zip(axes, known.tolist(), strict=True):
            new[axis], factors[axis] = int(np.floor(shape[axis] * factor)), float(factor)
        return new, factors
    known = b.known(sizes) if sizes else None
    if known is None:
        raise DstcError("scales or sizes must be constant")
    if node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise DstcError("keep_aspect_ratio_policy other than 'stretch' is not supported")
    for axis, size in zip(axes, known.tolist(), strict=True):
        new[axis], factors[axis] = int(size), size / shape[axis]
    return new, factors


def _cubic(a: float) -> Callable[[Array], Array]:
    """The kernel of cubic convolution."""

    def weight(x: Array) -> Array:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x**2 + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0.0))

    return weight


def _taps(node: Node, mode: str, at: Array, old: int) -> list[tuple[Array, Array]]:
    """(indices, weights) of the elements that make one of the result."""
    if mode == "linear":
        at = np.clip(at, 0, old - 1)
        low = np.floor(at)
        return [(low, 1 - (at - low)), (np.minimum(low + 1, old - 1), at - low)]
    weight, low = _cubic(node.number("cubic_coeff_a", -0.75)), np.floor(at)
    places = [low + offset for offset in (-1, 0, 1, 2)]
    weights = [weight(at - place) for place in places]
    if node.flag("exclude_outside"):
        inside = [(p >= 0) & (p < old) for p in places]
        weights = [np.where(i, w, 0.0) for i, w in zip(inside, weights, strict=True)]
        total = sum(weights)
        weights = [w / total for w in weights]
    return [(np.clip(p, 0, old - 1), w) for p, w in zip(places, weights, strict=True)]


def _resize(draft: Draft, node: Node) -> None:
    b, x = Build(draft, node), node.inputs[0]
    shape = draft.shape(x)
    mode = str(node.attrs.get("mode", "nearest"))
    how = str(node.attrs.get("coordinate_transformation_mode", "half_pixel"))
    if how not in _PLACES:
        raise DstcError(f"coordinate_transformation_mode {how!r} is not supported")
    if mode not in ("nearest", "linear", "cubic") or node.flag("antialias"):
        raise DstcError(f"mode {mode!r}{' with antialias' * node.flag('antialias')} "
                        "is not supported")  # fmt: skip
    new, scales = _sizes(b, shape)
    if min(new) < 1:
        raise DstcError(f"its result has no elements: {new}")
    round_ = _ROUND[str(node.attrs.get("nearest_mode", "round_prefer_floor"))]
    for axis, (old, size) in enumerate(zip(shape, new, strict=True)):
        if old == size and scales[axis] == 1:
            continue
        at = _PLACES[how](np.arange(size, dtype=np.float64), old, size, scales[axis])
        if mode == "nearest":
            x = _picked(b, x, axis, np.clip(round_(at), 0, old - 1).astype(np.int64))
        else:
            x = _weighted(b, b.cast(x, FLOAT), axis, _taps(node, mode, at, old))
    b.give(x)


def _picked(b: Build, x: str, axis: int, at: Array) -> str:
    """Elements along an axis; repeats of each as such."""
    shape = b.shape(x)
    times = at.size // shape[axis]
    if times and np.array_equal(at, np.repeat(np.arange(shape[axis]), times)):
        apart = b.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        wide = b.expand(apart, (*shape[: axis + 1], times, *shape[axis + 1 :]))
        return b.reshape(wide, (*shape[:axis], at.size, *shape[axis + 1 :]))
    return b.gather(x, b.constant(f"at{axis}", at), axis)


def _weighted(b: Build, x: str, axis: int, taps: Sequence[tuple[Array, Array]]) -> str:
    along = [-1 if d == axis else 1 for d in range(len(b.shape(x)))]
    total: str | None = None
    for number, (at, weights) in enumerate(taps):
        part = b.gather(x, b.constant(f"at{axis}.{number}", at.astype(np.int64)), axis)
        factors = b.constant(f"weights{axis}.{number}", weights.astype(np.float32).reshape(along))
        part = b.call("mul", part, factors)
        total = part if total is None else b.call("add", total, part)
    assert total is not None
    return total


RESIZE: dict[str, Callable[[Draft, Node], None]] = {"Resize": _resize}
"""Interpolation."""
