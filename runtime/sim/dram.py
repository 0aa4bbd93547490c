"""DRAM: channels with a queue, a data bus and banks that hold a row open each.

In: the sectors that L2 fetches or writes back, and when. Out: when their data moves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine import Machine
from .compiled import inline
from .constants import TICKS, N, P

BUS, ACTIVATE, NUMBER, BANKS = 0, 1, 2, 3
"""A channel: its data bus is free (in ticks), it can activate a row (in cycles), the sectors that
it was asked for, its banks; then when each place of its queue is free."""
FREE, OPEN, ROWS = 0, 1, 2
"""A bank: it can activate a row, which of its entries is the open row, the entries."""
ROW, READY, LAST, ENTRY = 0, 1, 2, 3
"""An entry: the row, when it is open, when its last sector moves; the size of an entry."""
KEPT = 4
"""Entries of a bank: rows that sectors under way want."""
_LINE_BYTES = 128
_BANK = ROWS + ENTRY * KEPT


def dram_state(machine: Machine) -> NDArray[np.int64]:
    """State of all channels at a launch: every row closed, nothing under way."""
    banks = machine["dram.banks"] * _BANK
    state = np.zeros((machine["dram.channels"], BANKS + banks + machine["dram.queue"]), np.int64)
    for entry in range(KEPT):
        state[:, BANKS + ROWS + ENTRY * entry + ROW : BANKS + banks : _BANK] = -1
    return state


@inline
def dram_transfer(dram: Any, line: int, time: int, param: Any, counters: Any) -> int:
    """Move one sector of `line`, which reaches its channel at `time`; returns when it moves.

    Blocks of `dram.interleave_bytes` go round the channels, rows round a channel's banks, both
    hashed. A sector enters the queue of `dram.queue` when the one that many before it has moved.
    Bus, activations and banks serve what is in the queue in that order, and none waits for
    another, as the controller finds other work for a bus whose bank is busy. A sector takes its
    time of the bus; unless its row is open, or was opened for one that still waits, it also takes
    an activation of the channel and a row cycle of the bank.
    """
    block = line // (param[P.DRAM_INTERLEAVE] // _LINE_BYTES)
    channels = dram.shape[0]
    above = block // channels
    row = above // (param[P.DRAM_ROW] // param[P.DRAM_INTERLEAVE])
    state = dram[(block ^ above ^ (above >> 5) ^ (above >> 11)) % channels]
    bank = BANKS + (row ^ (row >> 4) ^ (row >> 9)) % param[P.DRAM_BANKS] * _BANK
    place = BANKS + param[P.DRAM_BANKS] * _BANK + state[NUMBER] % param[P.DRAM_QUEUE]
    state[NUMBER] += 1
    arrival = max(time, state[place])
    begin = max(arrival * TICKS, state[BUS])
    state[BUS] = begin + param[P.DRAM_TICKS]
    entries = bank + ROWS
    found, oldest = -1, 0
    for i in range(KEPT):
        at = entries + ENTRY * i
        if state[at + ROW] == row and (i == state[bank + OPEN] or state[at + LAST] >= arrival):
            found = at
            break
        if state[at + LAST] < state[entries + ENTRY * oldest + LAST]:
            oldest = i
    if found < 0:
        begun = max(arrival, max(state[ACTIVATE], state[bank + FREE]))
        state[ACTIVATE] = max(arrival, state[ACTIVATE]) + param[P.DRAM_ACTIVATE]
        state[bank + FREE] = begun + param[P.DRAM_CYCLE]
        counters[N.DRAM_ACTIVATES] += 1
        state[bank + OPEN] = oldest
        found = entries + ENTRY * oldest
        state[found + ROW] = row
        state[found + LAST] = 0
        state[found + READY] = begun + param[P.DRAM_OPEN]
    moved = max(begin // TICKS, state[found + READY])
    state[found + LAST] = max(state[found + LAST], moved)
    state[place] = moved
    return moved
