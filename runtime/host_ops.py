"""Operators that still run on the host: pooling and softmax, in f32 on numpy.

In: arrays and the op's attributes. Out: arrays, the same bit by bit for the interpreter and for a
program's host steps. Run reports list each host step: nothing runs here silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError

Array = NDArray[Any]
Window = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]
"""Kernel, strides, pads (top, left, bottom, right), dilations."""

LOG2_E = np.float32(1.4426950408889634)


def windows(x: Array, size: Sequence[int], window: Window, fill: float) -> Array:
    """N x C x H x W as a view N x C x R x S x OH x OW of the windows; `size` is (OH, OW).

    Padding, and what lies behind it, is `fill`.
    """
    kernel, strides, pads, dilations = window
    spans = [(kernel[i] - 1) * dilations[i] + 1 for i in (0, 1)]
    need = [(size[i] - 1) * strides[i] + spans[i] for i in (0, 1)]
    behind = [max(need[i] - x.shape[2 + i] - pads[i], 0) for i in (0, 1)]
    margins = ((0, 0), (0, 0), (pads[0], behind[0]), (pads[1], behind[1]))
    padded = np.pad(x, margins, constant_values=fill)
    view = sliding_window_view(padded, spans, (2, 3))
    view = view[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return view[:, :, : size[0], : size[1]].transpose(0, 1, 4, 5, 2, 3)


def _larger(a: Array, b: Array) -> Array:
    """The larger, as FMNMX.MAX has it: -0 is below +0, a NaN loses to a number."""
    ordered = (a > b) | ((a == b) & ~np.signbit(a)) | np.isnan(b)
    return np.where(ordered & ~np.isnan(a), a, b)


def pool(
    x: Array, size: Sequence[int], window: Window, kind: str, count_include_pad: bool
) -> NDArray[np.float32]:
    """N x C x OH x OW in f32; `size` is (OH, OW), `kind` "max" or "average".

    Taps are combined in (r, s) order. Max: a NaN never wins. Average: the sum times the f32
    nearest to 1 / count; padding counts with `count_include_pad`, what lies behind it never.
    """
    x = x.astype(np.float32)
    maximum = kind == "max"
    kernel, _, pads, _ = window
    view = windows(x, size, window, -np.inf if maximum else 0)
    acc = np.full((*x.shape[:2], *size), -np.inf if maximum else 0, np.float32)
    with np.errstate(all="ignore"):
        for r in range(kernel[0]):
            for s in range(kernel[1]):
                tap = view[:, :, r, s]
                acc = _larger(acc, tap) if maximum else acc + tap
        if maximum:
            return acc
        inside = np.ones((1, 1, *x.shape[2:]), np.float32)
        if count_include_pad:
            margins = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
            inside = np.pad(inside, margins, constant_values=1)
            window = (window[0], window[1], (0, 0, 0, 0), window[3])
        count = windows(inside, size, window, 0).sum(axis=(2, 3), dtype=np.float32)
        return acc * (np.float32(1) / count)


def softmax(x: Array, axis: int) -> NDArray[np.float32]:
    """In f32: 2^((x - max) * log2 e) (rounded once), the sum ascending, times 1 / sum."""
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        scaled = (x - x.max(axis=axis, keepdims=True)) * LOG2_E
        e = np.exp2(scaled.astype(np.float64)).astype(np.float32)
        total = np.cumsum(e, axis=axis, dtype=np.float32).take([-1], axis=axis)
        return e * (np.float32(1) / total)


def _pool2d(x: Array, shape: Sequence[int], attributes: Mapping[str, Any]) -> Array:
    a = attributes
    window = (a["kernel"], a["strides"], a["pads"], a["dilations"])
    return pool(x, shape[2:], window, a["kind"], bool(a["count_include_pad"]))


def _softmax(x: Array, shape: Sequence[int], attributes: Mapping[str, Any]) -> Array:
    del shape
    return softmax(x, attributes["axis"])


HOST_OPS: dict[str, Callable[[Array, Sequence[int], Mapping[str, Any]], Array]] = {
    "pool2d": _pool2d,
    "softmax": _softmax,
}
"""Host operators by their `dstc` op: of an array, the result's shape, the step's attributes."""


def run_host_op(
    op: str, inputs: Sequence[Array], shape: Sequence[int], attributes: Mapping[str, Any]
) -> Array:
    """Result of shape `shape`, in f32; `DstcError` for an operator that has no host version.

    The attribute `input_shape`, if there, is the shape that the first input is taken for.
    """
    function = HOST_OPS.get(op)
    if function is None:
        raise DstcError(f"host operator {op!r} is not known; known: {', '.join(HOST_OPS)}")
    x = inputs[0].reshape(attributes.get("input_shape", inputs[0].shape))
    return function(x, shape, attributes)
