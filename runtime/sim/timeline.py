"""Recordings: what happened when in a launch.

In: which SMs and cycles are asked for. Out: a `Timeline`: each warp's life on every SM, each issued
instruction and stall of the SMs asked for, and how the counters of the chip grew.

A recording runs other machine code (compiled at the first one) and hands events over every few
quanta; times and values are those of a launch without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError
from .constants import UNSETTLED, Cause, E, Event
from .events import ROWS_A_SLOT

QUANTA = 2
"""Quanta between two handings over."""
U32 = NDArray[np.uint32]
SAMPLED = (
    "issued", "tensor_busy", "shared_wavefronts", "l1_sectors", "l2_accesses", "dram_read",
    "dram_written",
)  # fmt: skip
"""What is sampled of the chip: instructions issued, and counters."""


@dataclass(frozen=True)
class Recording:
    """What to record. `sms`: SMs whose instructions and stalls; None: all. `window`: of which
    cycles of a launch, from and up to. `addresses`: of loads and stores, too (and no stalls).
    `most`: events; a launch that has more is refused."""

    sms: tuple[int, ...] | None = (0,)
    window: tuple[int, int] = (0, 1 << 40)
    addresses: bool = False
    most: int = 40_000_000


@dataclass(frozen=True, eq=False)
class Timeline:
    """Of a launch. The columns of events are `constants.E`'s, times in cycles from its start.

    `lives`: u32 (warps, 5): SM, warp slot on it, CTA, first and last issue, by time of the last.
    `events`: by SM asked for, u32 (n, columns), ISSUE and STALL, in order of their time on each
    sub-core; every cause is settled. `samples`: int64 (n, 1 + len(SAMPLED)): cycle, and totals by
    then. `warps`: of a CTA.
    """

    cycles: int
    warps: int
    resident: int
    lives: U32
    events: dict[int, U32]
    samples: NDArray[np.int64]


class Recorder:
    """Collects the events of one launch; `trace` is what compiled code gets."""

    def __init__(
        self, recording: Recording, sms: int, sub_cores: int, quantum: int, squash: int
    ) -> None:
        columns = E.ADDRESS + 32 if recording.addresses else E.ADDRESS
        capacity = QUANTA * quantum * sub_cores * (ROWS_A_SLOT + 2 * squash) + 64
        self.counts = np.zeros(sms, np.int64)
        self.rows = np.zeros((sms, capacity, columns), np.int64)
        asked = range(sms) if recording.sms is None else [s for s in recording.sms if s < sms]
        window = np.zeros(2 + sms, np.int64)
        window[:2] = recording.window
        window[2 + np.array(list(asked), np.int64)] = 1
        self.trace = (self.counts, self.rows, window)
        self.asked = list(asked)
        self.issues_only = recording.addresses
        self.left = self.most = recording.most
        self._events: dict[int, list[U32]] = {sm: [] for sm in self.asked}
        self._begun: dict[tuple[int, int], int] = {}
        self._lives: list[tuple[int, int, int, int, int]] = []
        self._samples: list[list[int]] = []

    def take(self, sample: list[int]) -> None:
        """Take what has been noted since the last time."""
        for sm in np.flatnonzero(self.counts).tolist():
            rows = self.rows[sm, : self.counts[sm]]
            kinds = rows[:, E.KIND]
            for row in rows[kinds >= Event.START].tolist():
                key = sm, row[E.WARP]
                if row[E.KIND] == Event.START:
                    self._begun[key] = row[E.TIME]
                else:
                    begun = self._begun.pop(key)
                    self._lives.append((sm, row[E.WARP], row[E.CTA], begun, row[E.TIME]))
            if sm in self._events:
                kept = kinds == Event.ISSUE if self.issues_only else kinds < Event.START
                self._events[sm].append(rows[kept].astype(np.uint32))
                self.left -= int(np.count_nonzero(kept))
        self.counts.fill(0)
        if self.left < 0:
            raise DstcError(
                f"the recording of this launch has more than {self.most:,} events; record another "
                "kernel, a shorter window, or a smaller input"
            )
        self._samples.append(sample)

    def timeline(self, cycles: int, warps: int, resident: int) -> Timeline:
        """All of it, at the launch's end."""
        lives = np.array(self._lives, np.uint32).reshape(-1, 5)
        return Timeline(
            cycles,
            warps,
            resident,
            lives,
            {sm: _settled(parts, self.rows.shape[2]) for sm, parts in self._events.items()},
            np.array(self._samples, np.int64).reshape(-1, 1 + len(SAMPLED)),
        )


def _settled(parts: list[U32], columns: int) -> U32:
    """One array of an SM's events, its stalls with the causes that were found later."""
    rows = np.concatenate(parts) if parts else np.zeros((0, columns), np.uint32)
    kinds, values = rows[:, E.KIND], rows[:, E.VALUE]
    waits = (kinds == Event.STALL) & (values == UNSETTLED)
    open_: dict[int, list[int]] = {}
    for at in np.flatnonzero(waits | (kinds == Event.SETTLED)).tolist():
        warp = int(rows[at, E.WARP])
        if kinds[at] == Event.STALL:
            open_.setdefault(warp, []).append(at)
        else:
            values[open_.pop(warp, [])] = values[at]
    # a warp that the window's end left without a cause waited for memory
    for places in open_.values():
        values[places] = Cause.SCOREBOARD_L2
    return rows[kinds != Event.SETTLED]


def sample(cycle: int, issued: int, counters: Any, names: Any) -> list[int]:
    """A row of `Timeline.samples`."""
    found = [int(counters[getattr(names, name.upper())]) for name in SAMPLED[1:]]
    return [cycle, issued, *found]
