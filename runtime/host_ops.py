"""Operators that still run on the host: pooling and softmax, in f32 on numpy.

In: arrays and the op's attributes. Out: arrays. The plan lists each as a host step, and so do run
reports: nothing runs here silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError

Array = NDArray[Any]


def windows(
    x: Array,
    out: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    fill: float,
) -> Array:
    """x (N, C, H, W) under a sliding window: (R * S, N, C, OH, OW); `fill` outside the image."""
    n, c, h, w = x.shape
    reach = [
        (out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - pads[i] for i in (0, 1)
    ]
    after = [max(0, reach[0] - h), max(0, reach[1] - w)]
    padded = np.full((n, c, pads[0] + h + after[0], pads[1] + w + after[1]), fill, np.float32)
    padded[:, :, pads[0] : pads[0] + h, pads[1] : pads[1] + w] = x
    taps = [
        padded[
            :,
            :,
            r * dilations[0] : r * dilations[0] + (out[0] - 1) * strides[0] + 1 : strides[0],
            s * dilations[1] : s * dilations[1] + (out[1] - 1) * strides[1] + 1 : strides[1],
        ]
        for r in range(kernel[0])
        for s in range(kernel[1])
    ]
    return np.stack(taps)


def pool2d(x: Array, shape: Sequence[int], attributes: Mapping[str, Any]) -> Array:
    """Maximum or average pooling to `shape`, NCHW."""
    a = attributes
    geometry = (shape[2:], a["kernel"], a["strides"], a["pads"], a["dilations"])
    x = x.astype(np.float32)
    if a["kind"] == "max":
        return windows(x, *geometry, fill=-np.inf).max(axis=0)
    total = windows(x, *geometry, fill=0.0).sum(axis=0, dtype=np.float32)
    ones = np.ones((1, 1, *x.shape[2:]), np.float32)
    pads = a["pads"]
    if a.get("count_include_pad"):
        ones = np.pad(ones, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])),
                      constant_values=1.0)  # fmt: skip
        geometry = (shape[2:], a["kernel"], a["strides"], (0, 0, 0, 0), a["dilations"])
    return total / windows(ones, *geometry, fill=0.0).sum(axis=0)


def softmax(x: Array, shape: Sequence[int], attributes: Mapping[str, Any]) -> Array:
    """exp(x - max) / sum along `axis`."""
    del shape
    x = x.astype(np.float32)
    e = np.exp(x - x.max(axis=attributes["axis"], keepdims=True))
    return e / e.sum(axis=attributes["axis"], keepdims=True)


HOST_OPS: dict[str, Callable[[Array, Sequence[int], Mapping[str, Any]], Array]] = {
    "pool2d": pool2d,
    "softmax": softmax,
}
"""Host operators by their `dstc` op."""


def run_host_op(
    op: str, inputs: Sequence[Array], shape: Sequence[int], attributes: Mapping[str, Any]
) -> Array:
    """Result of shape `shape`; `DstcError` for an operator that has no host version."""
    function = HOST_OPS.get(op)
    if function is None:
        raise DstcError(f"host operator {op!r} is not known; known: {', '.join(HOST_OPS)}")
    return function(inputs[0], shape, attributes)
