"""The lowered matrix of a convolution, on numpy.

In: images, a window. Out: the matrix whose columns are the windows, as the interpreter and the
counts of a run's operands take it; no kernel does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .host_ops import Window, windows

Array = NDArray[Any]


def spread_out(x: Array, spread: Sequence[int]) -> Array:
    """N x C x H x W with zeros between rows and columns, which stand `spread` apart."""
    if tuple(spread) == (1, 1):
        return x
    n, c, h, w = x.shape
    wide = np.zeros((n, c, (h - 1) * spread[0] + 1, (w - 1) * spread[1] + 1), x.dtype)
    wide[:, :, :: spread[0], :: spread[1]] = x
    return wide


def lowered(x: Array, window: Window, spread: Sequence[int] = (1, 1)) -> Array:
    """(C*R*S) x (N*OH*OW): rows ordered by (c, r, s), columns by (n, oh, ow)."""
    wide = spread_out(x, spread)
    kernel, strides, pads, dilations = window
    size = [
        (wide.shape[2 + i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1)
        // strides[i]
        + 1
        for i in (0, 1)
    ]
    view = windows(wide, size, window, 0)
    n, c, r, s, oh, ow = view.shape
    return view.transpose(1, 2, 3, 0, 4, 5).reshape(c * r * s, n * oh * ow)
