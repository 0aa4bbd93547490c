"""Loads, stores and atomics: addresses, checks and values, without time.

In: a warp's lane addresses. Out: moved data, or the fault of the first offending lane.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inline
from .constants import FULL_MASK, Fault, M
from .intrinsics import (
    bits_of_float,
    float_of_bits,
    load_1,
    load_2,
    load_4,
    store_1,
    store_2,
    store_4,
)


@inline
def lane_addresses(addr: Any, regs: Any, base: int, offset: int) -> None:
    """addr[0:32] = register + signed offset, modulo 2^32."""
    for lane in range(32):
        addr[lane] = (np.int64(regs[base + lane]) + offset) & FULL_MASK


@inline
def in_allocation(low: Any, high: Any, sms: Any, sm: int, first: int, end: int) -> bool:
    """Whether bytes first..end-1 lie in one allocation; remembers the one hit last."""
    last = sms[sm, M.ALLOC]
    if low[last] <= first and end <= high[last]:
        return True
    left, right = 0, len(low)
    while left < right:
        middle = (left + right) >> 1
        if low[middle] <= first:
            left = middle + 1
        else:
            right = middle
    if left > 0 and end <= high[left - 1]:
        sms[sm, M.ALLOC] = left - 1
        return True
    return False


@inline
def check_global(addr: Any, mask: int, width: int, low: Any, high: Any, sms: Any, sm: int) -> int:
    """Fault of the access, or 0: each lane within an allocation and aligned."""
    least, most, joint = np.int64(1) << 40, np.int64(0), np.int64(0)
    for lane in range(32):
        if (mask >> lane) & 1:
            a = addr[lane]
            least = min(least, a)
            most = max(most, a)
            joint |= a
    if joint & (width - 1) == 0 and in_allocation(low, high, sms, sm, least, most + width):
        return 0
    for lane in range(32):
        if (mask >> lane) & 1:
            fault = 0
            if addr[lane] & (width - 1):
                fault = Fault.MISALIGNED
            elif not in_allocation(low, high, sms, sm, addr[lane], addr[lane] + width):
                fault = Fault.GLOBAL_BOUNDS
            if fault:
                sms[sm, M.FAULT_LANE] = lane
                sms[sm, M.FAULT_ADDRESS] = addr[lane]
                return fault
    return 0


@inline
def check_shared(addr: Any, mask: int, width: int, size: int, sms: Any, sm: int) -> int:
    """Fault of the access, or 0: each lane within the CTA's shared memory and aligned."""
    most, joint = np.int64(0), np.int64(0)
    for lane in range(32):
        a = addr[lane] * ((mask >> lane) & 1)
        most = max(most, a)
        joint |= a
    if joint & (width - 1) == 0 and most + width <= size:
        return 0
    for lane in range(32):
        if (mask >> lane) & 1:
            a = addr[lane]
            fault = 0
            if a & (width - 1):
                fault = Fault.MISALIGNED
            elif a + width > size:
                fault = Fault.SHARED_BOUNDS
            if fault:
                sms[sm, M.FAULT_LANE] = lane
                sms[sm, M.FAULT_ADDRESS] = a
                return fault
    return 0


@inline
def load_lanes(
    regs: Any, to: int, addr: Any, mask: int, width: int, count: int, bytes_: Any, words: Any,
    base: int,
) -> None:  # fmt: skip
    """Registers from memory; `base` is added to every address."""
    if count == 4:
        for lane in range(32):
            if (mask >> lane) & 1:
                load_4(regs, to + lane, words, (addr[lane] + base) >> 2)
    elif count == 2:
        for lane in range(32):
            if (mask >> lane) & 1:
                load_2(regs, to + lane, words, (addr[lane] + base) >> 2)
    elif width == 4:
        for lane in range(32):
            if (mask >> lane) & 1:
                load_1(regs, to + lane, words, (addr[lane] + base) >> 2)
    else:
        for lane in range(32):
            if (mask >> lane) & 1:
                at = addr[lane] + base
                value = np.int64(bytes_[at])
                if width == 2:
                    value |= np.int64(bytes_[at + 1]) << 8
                regs[to + lane] = np.uint32(value)


@inline
def store_lanes(
    regs: Any, source: int, addr: Any, mask: int, width: int, count: int, bytes_: Any, words: Any,
    base: int,
) -> None:  # fmt: skip
    """Memory from registers, in ascending lane; `base` is added to every address."""
    if count == 4:
        for lane in range(32):
            if (mask >> lane) & 1:
                store_4(regs, source + lane, words, (addr[lane] + base) >> 2)
    elif count == 2:
        for lane in range(32):
            if (mask >> lane) & 1:
                store_2(regs, source + lane, words, (addr[lane] + base) >> 2)
    elif width == 4:
        for lane in range(32):
            if (mask >> lane) & 1:
                store_1(regs, source + lane, words, (addr[lane] + base) >> 2)
    else:
        for lane in range(32):
            if (mask >> lane) & 1:
                at = addr[lane] + base
                value = np.int64(regs[source + lane])
                bytes_[at] = np.uint8(value & 0xFF)
                if width == 2:
                    bytes_[at + 1] = np.uint8((value >> 8) & 0xFF)


@inline
def atomic_lane(words: Any, address: int, value: Any, kind: int) -> Any:
    """One lane's update: kind 2 adds in f32, 4 is a bitwise OR, else adds modulo 2^32.

    Returns the old word.
    """
    at = address >> 2
    old = words[at]
    if kind == 2:
        words[at] = bits_of_float(float_of_bits(old) + float_of_bits(value))
    elif kind == 4:
        words[at] = old | value
    else:
        words[at] = np.uint32((np.int64(old) + np.int64(value)) & FULL_MASK)
    return old
