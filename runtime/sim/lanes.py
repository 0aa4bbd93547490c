"""Lane-wise instructions that are not a vector form: exchange, votes, special functions.

In: register offsets and lane masks. Out: registers or predicate masks, lane by lane.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .compiled import inline
from .constants import SR, C, W
from .intrinsics import float_of_bits


@inline
def shuffle(regs: Any, to: int, a: int, b: int, mode: int, mask: int) -> None:
    """SHFL into the row `to`: mode 0 IDX, 1 UP, 2 DOWN, 3 BFLY; `mask` the active lanes."""
    for lane in range(32):
        other = np.int64(regs[b + lane])
        if mode == 1:
            other = lane - other
        elif mode == 2:
            other = lane + other
        elif mode == 3:
            other = lane ^ other
        if other < 0 or other > 31 or (mask >> other) & 1 == 0:
            other = lane
        regs[to + lane] = regs[a + other]


@inline
def permute(regs: Any, to: int, a: int, b: int, c: int) -> None:
    """PRMT into the row `to`: bytes of {c, a} by the nibbles of b."""
    for lane in range(32):
        pair = np.int64(regs[a + lane]) | (np.int64(regs[c + lane]) << 32)
        select = np.int64(regs[b + lane])
        result = 0
        for byte in range(4):
            source = (select >> (4 * byte)) & 7
            result |= ((pair >> (8 * source)) & 0xFF) << (8 * byte)
        regs[to + lane] = np.uint32(result)


@inline
def special_function(regs: Any, fregs: Any, to: int, a: int, function: int) -> None:
    """MUFU into the row `to`: computed in f64, rounded once to f32."""
    for lane in range(32):
        x = np.float64(float_of_bits(regs[a + lane]))
        if function == 0:
            y = 1.0 / x
        elif function == 1:
            y = 1.0 / math.sqrt(x) if x >= 0.0 else np.nan
        elif function == 2:
            y = math.sqrt(x) if x >= 0.0 else np.nan
        elif function == 3:
            y = np.exp2(x)
        elif function == 4:
            y = math.log2(x) if x > 0.0 else (-np.inf if x == 0.0 else np.nan)
        elif function == 5:
            y = math.tanh(x)
        elif math.isinf(x):
            y = np.nan
        elif function == 6:
            y = math.sin(x)
        else:
            y = math.cos(x)
        fregs[to + lane] = np.float32(y)


@inline
def special_register(
    regs: Any, to: int, which: int, warps: Any, w: int, cta: Any, grid: Any, sm: int, now: int
) -> None:
    """S2R into the row `to`; `cta` the row of the CTA slot, `grid` the grid's three sizes."""
    value = 0
    if which == SR.WARP or which == SR.TID:
        value = warps[w, W.ID]
    elif which == SR.CTAID_X:
        value = cta[C.X]
    elif which == SR.CTAID_Y:
        value = cta[C.Y]
    elif which == SR.CTAID_Z:
        value = cta[C.Z]
    elif which == SR.NCTAID_X:
        value = grid[0]
    elif which == SR.NCTAID_Y:
        value = grid[1]
    elif which == SR.NCTAID_Z:
        value = grid[2]
    elif which == SR.SM:
        value = sm
    elif which == SR.CLOCK:
        value = now & 0xFFFFFFFF
    if which == SR.TID:
        value *= 32
    stride = 1 if which == SR.LANE or which == SR.TID else 0
    for lane in range(32):
        regs[to + lane] = np.uint32(value + stride * lane)
