"""A run as a timeline that Perfetto (ui.perfetto.dev) and chrome://tracing open.

In: launches with their recordings. Out: JSON in the trace event format, one cycle a microsecond:
kernels and their launch overheads; how busy the chip's units were; CTAs on every SM; of the SMs
recorded, sub-cores, warps and units instruction by instruction in a window, and summed up outside.
It stays below a number of bytes: windows shrink first, then CTAs are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.encoding import decode
from ..backend.isa.program import Launch, Program
from ..backend.isa.table import INSTRUCTIONS, Unit
from ..runtime.executor import KernelRun
from ..runtime.machine import Machine
from ..runtime.sim.constants import Cause, E, Event
from ..runtime.sim.timeline import SAMPLED, Recording, Timeline
from .run_facts import count, percent
from .units import rates_of

Json = dict[str, Any]
I64 = NDArray[np.int64]

MOST_BYTES = 18_000_000
"""Of a trace."""
PROGRAM, FIRST_SM = 1, 100
"""Numbers of the processes of the trace: the program, SM 0."""
_BINS = 120
"""Points of a counter in a kernel, at most."""
_SPANS = 400
"""Spans into which a sub-core's time in a kernel is summed up, at most."""
_EVENT_BYTES = 92
"""An instruction in the trace takes about so many."""
_COUNTERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("issue slots used, %", ("issued",), "issue"),
    ("tensor cores busy, %", ("tensor_busy",), "tensor"),
    ("shared memory busy, %", ("shared_wavefronts",), "shared"),
    ("L1 busy, % (loads)", ("l1_sectors",), "l1"),
    ("L2 busy, %", ("l2_accesses",), "l2"),
    ("DRAM busy, %", ("dram_read", "dram_written"), "dram"),
)
"""Counter tracks: name, what is sampled, the unit whose rate is 100 %."""
_UNITS = {Unit.TENSOR: "tensor core", Unit.SHARED: "shared memory", Unit.GLOBAL: "L1"}
_STALLS = [name.lower() for name in Cause._fields]


@dataclass
class TraceWriter:
    """Watches a run (`run_program(observer=...)`) and makes its trace.

    `window`: cycles of each launch to show by instruction, as far as there is room; `sms`: whose;
    `kernels`: names of the launches or kernels to record (default: all).
    """

    program: Program
    machine: Machine
    sms: tuple[int, ...] = (0,)
    window: tuple[int, int] = (0, 1 << 40)
    kernels: Sequence[str] = ()
    most_bytes: int = MOST_BYTES
    launches: list[tuple[KernelRun, Timeline | None]] = field(
        default_factory=list[tuple[KernelRun, Timeline | None]]
    )

    def before(self, launch: Launch) -> Recording | None:
        """What to record of a launch."""
        if self.kernels and launch.name not in self.kernels and launch.kernel not in self.kernels:
            return None
        return Recording(self.sms, self.window)

    def after(self, run: KernelRun) -> None:
        """Take a launch and its timeline, which the run itself does not keep."""
        self.launches.append((run, run.result.timeline))

    def text(self) -> str:
        """The trace."""
        parts = [json.dumps(event, separators=(",", ":")) for event in self.events()]
        about = {
            "machine": self.machine.name,
            "model": self.program.plan.model if self.program.plan else "",
            "time": "1 us of the trace is 1 cycle",
            "clock_mhz": self.machine["clock.core_mhz"],
        }
        head = f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about)},"traceEvents":[\n'
        return head + ",\n".join(parts) + "\n]}\n"

    def events(self) -> Iterator[Json]:
        """Events of the trace, those of the program first."""
        overhead = round(self.machine["launch.overhead_us"] * self.machine["clock.core_mhz"])
        yield _name("process_name", PROGRAM, 0, f"program on {self.machine.name}")
        yield _name("thread_name", PROGRAM, 1, "kernels")
        yield _name("thread_name", PROGRAM, 2, "shown by instruction")
        begins: list[int] = []
        at, spent = 0, 2000
        for run, _ in self.launches:
            begins.append(at + overhead)
            at += overhead + run.result.cycles
            spent += 900
        rates = rates_of(self.machine)["units"]
        for (run, _), begin in zip(self.launches, begins, strict=True):
            yield _slice(PROGRAM, 1, begin - overhead, overhead, "launch")
            yield _kernel(run, begin)
        recorded = [
            (run, begin, timeline)
            for (run, timeline), begin in zip(self.launches, begins, strict=True)
            if timeline is not None
        ]
        bins = max(8, min(_BINS, self.most_bytes // 12 // max(1, len(recorded) * 6 * 75)))
        for _, begin, timeline in recorded:
            for event in _counters(timeline, begin, bins, rates):
                spent += 75
                yield event
        yield from self._sms(recorded, self.most_bytes - spent)

    def _sms(self, recorded: list[tuple[KernelRun, int, Timeline]], room: int) -> Iterator[Json]:
        """Processes of the SMs."""
        ctas = [_ctas(timeline) for _, _, timeline in recorded]
        total = sum(len(rows) for rows in ctas)
        every = 1  # of how many SMs one is shown
        while 95 * total / every > room / 3:
            every += 1
        shown = {int(sm) for rows in ctas for sm in np.unique(rows[:, 0])}
        shown = {sm for sm in shown if sm % every == 0 or sm in self.sms}
        for sm in sorted(shown):
            yield _name("process_name", FIRST_SM + sm, 0, f"SM {sm}")
            yield {
                "ph": "M", "pid": FIRST_SM + sm, "tid": 0, "name": "process_sort_index",
                "args": {"sort_index": FIRST_SM + sm},
            }  # fmt: skip
        named: set[tuple[int, int]] = set()

        def track(sm: int, tid: int, name: str) -> Iterator[Json]:
            if (sm, tid) not in named:
                named.add((sm, tid))
                yield _name("thread_name", FIRST_SM + sm, tid, name)

        for (_, begin, _), rows in zip(recorded, ctas, strict=True):
            for sm, slot, cta, first, last in rows.tolist():
                if sm in shown:
                    room -= 95
                    yield from track(sm, 1 + slot, f"CTA slot {slot}")
                    yield _slice(FIRST_SM + sm, 1 + slot, begin + first, last - first + 1,
                                 f"CTA {cta}")  # fmt: skip
        left = sum(len(timeline.events) for _, _, timeline in recorded)
        for run, begin, timeline in recorded:
            for sm, events in timeline.events.items():
                share = room // max(1, left)
                left -= 1
                for event in self._detail(run, begin, timeline, sm, events, share, track):
                    room -= _EVENT_BYTES
                    yield event

    def _detail(
        self, run: KernelRun, begin: int, timeline: Timeline, sm: int, events: Any, room: int,
        track: Any,
    ) -> Iterator[Json]:  # fmt: skip
        """Sub-cores, warps and units of one SM in one launch."""
        pid = FIRST_SM + sm
        names, units = _names(self.program, run.launch.kernel)
        subs = events[:, E.SUB]
        for sub in range(self.machine["sm.sub_cores"]):
            own = events[subs == sub].astype(np.int64)
            yield from track(sm, 200 + sub, f"sub-core {sub}, mostly")
            for start, length, what in _mostly(own, timeline.cycles):
                room -= _EVENT_BYTES
                yield _slice(pid, 200 + sub, begin + start, length, what)
        end = _fitting(events, room)
        part = events[events[:, E.TIME] < end].astype(np.int64)
        if not len(part):
            return
        first, last = int(part[:, E.TIME].min()), int(part[:, E.UNTIL].max())
        yield _slice(PROGRAM, 2, begin + first, min(last, timeline.cycles) - first, f"SM {sm}")
        for sub in range(self.machine["sm.sub_cores"]):
            yield from track(sm, 300 + sub, f"sub-core {sub}")
            for start, length, what in _exact(part[part[:, E.SUB] == sub]):
                yield _slice(pid, 300 + sub, begin + start, length, what)
        for unit, label in _UNITS.items():
            busy = (part[:, E.KIND] == Event.ISSUE) & units[unit.name][part[:, E.PC]]
            by_sub = unit is Unit.TENSOR
            for sub in range(self.machine["sm.sub_cores"] if by_sub else 1):
                rows = part[busy & (part[:, E.SUB] == sub)] if by_sub else part[busy]
                tid = 400 + 10 * list(_UNITS).index(unit) + sub
                yield from track(sm, tid, f"{label} {sub}" if by_sub else label)
                for start, stop in _merged(rows[:, E.TIME], rows[:, E.UNTIL]):
                    yield _slice(pid, tid, begin + start, stop - start, "busy")
        for row in part[np.lexsort((part[:, E.TIME], part[:, E.WARP]))].tolist():
            warp, time = row[E.WARP], row[E.TIME]
            if row[E.KIND] == Event.ISSUE:
                yield from track(sm, 500 + warp, f"warp {warp}")
                event = _slice(pid, 500 + warp, begin + time, 1, names[int(row[E.PC])])
                event["args"] = {"pc": row[E.PC]}
                yield event
            elif row[E.VALUE] != Cause.NO_WARP:
                yield from track(sm, 500 + warp, f"warp {warp}")
                yield _slice(pid, 500 + warp, begin + time, row[E.UNTIL] - time,
                             _STALLS[row[E.VALUE]])  # fmt: skip


def _slice(pid: int, tid: int, start: int, length: int, name: str) -> Json:
    return {"ph": "X", "pid": pid, "tid": tid, "ts": int(start), "dur": int(length), "name": name}


def _name(kind: str, pid: int, tid: int, name: str) -> Json:
    return {"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": {"name": name}}


def _kernel(run: KernelRun, begin: int) -> Json:
    result = run.result
    total = sum(result.stalls.values()) or 1
    stalls = {c: percent(n / total) for c, n in result.stalls.items() if n > total / 100}
    return {
        **_slice(PROGRAM, 1, begin, result.cycles, run.launch.name),
        "args": {
            "op": run.launch.op, "engine": run.launch.engine or "simt",
            "nodes": ", ".join(run.launch.source), "cycles": count(result.cycles),
            "time_us": round(result.time_us, 3), "limit": run.limit,
            "warp_instructions": result.warp_instructions, "ctas": result.ctas, **stalls,
        },
    }  # fmt: skip


def _counters(timeline: Timeline, begin: int, bins: int, rates: Any) -> Iterator[Json]:
    """How busy the chip was: means between samples, which are quanta apart."""
    samples = timeline.samples
    keep = np.unique(np.linspace(0, len(samples) - 1, min(bins, len(samples))).astype(np.int64))
    picked = np.concatenate([np.zeros((1, samples.shape[1]), np.int64), samples[keep]])
    spans = np.diff(picked, axis=0)
    for name, keys, unit in _COUNTERS:
        if not rates[unit]:
            continue
        grown = sum(spans[:, 1 + SAMPLED.index(key)] for key in keys)
        share = 100 * grown / np.maximum(1, spans[:, 0]) / rates[unit]
        for at, value in zip(picked[:-1, 0].tolist(), np.asarray(share).tolist(), strict=True):
            yield {"ph": "C", "pid": PROGRAM, "ts": begin + at, "name": name,
                   "args": {"%": round(min(100.0, value), 1)}}  # fmt: skip
        yield {"ph": "C", "pid": PROGRAM, "ts": begin + timeline.cycles, "name": name,
               "args": {"%": 0}}  # fmt: skip


def _ctas(timeline: Timeline) -> I64:
    """(SM, slot, CTA, first issue, last issue) of each CTA."""
    lives = timeline.lives.astype(np.int64)
    if not len(lives):
        return np.zeros((0, 5), np.int64)
    lives[:, 1] //= timeline.warps
    lives = lives[np.lexsort((lives[:, 2], lives[:, 1], lives[:, 0]))]
    new = np.flatnonzero(np.r_[True, (np.diff(lives[:, :3], axis=0) != 0).any(axis=1)])
    found = lives[new]
    found[:, 3] = np.minimum.reduceat(lives[:, 3], new)
    found[:, 4] = np.maximum.reduceat(lives[:, 4], new)
    return found


def _names(program: Program, kernel: str) -> tuple[list[str], dict[str, NDArray[np.bool_]]]:
    """Of each instruction its mnemonic with modifiers; by unit, which use it."""
    found = [decode(*words) for words in program.kernels[kernel].code.tolist()]
    names = [".".join([i.mnemonic, *(m for m in i.modifiers.values() if m)]) for i in found]
    units = {
        unit.name: np.array([INSTRUCTIONS[i.mnemonic].unit is unit for i in found])
        for unit in _UNITS
    }
    return names, units


def _mostly(own: I64, cycles: int) -> Iterator[tuple[int, int, str]]:
    """A sub-core's time in spans, each named after what took most of it; equal ones joined."""
    width = max(16, -(-cycles // _SPANS))
    bins = -(-max(1, cycles) // width)
    took = np.zeros((bins, len(Cause)), np.int64)
    issued = own[own[:, E.KIND] == Event.ISSUE]
    took[:, Cause.ISSUED] = np.bincount(issued[:, E.TIME] // width, minlength=bins)[:bins]
    for row in own[own[:, E.KIND] == Event.STALL]:
        start, until, cause = int(row[E.TIME]), int(row[E.UNTIL]), int(row[E.VALUE])
        for b in range(start // width, min(bins, -(-until // width))):
            took[b, cause] += min(until, (b + 1) * width) - max(start, b * width)
    took[:, Cause.NO_WARP] += np.maximum(0, width - took.sum(axis=1))
    main = took.argmax(axis=1)
    begins = np.flatnonzero(np.r_[True, np.diff(main) != 0])
    ends = np.r_[begins[1:], bins]
    for first, last in zip(begins.tolist(), ends.tolist(), strict=True):
        if main[first] != Cause.NO_WARP:
            length = min(cycles, last * width) - first * width
            yield first * width, length, _STALLS[main[first]]


def _fitting(events: Any, room: int) -> int:
    """The time up to which events fit into `room` bytes: each shows twice, perhaps thrice."""
    most = max(0, room // int(2.2 * _EVENT_BYTES))
    if len(events) <= most:
        return 1 << 40
    return int(np.partition(events[:, E.TIME], most)[most]) if most else 0


def _exact(own: I64) -> Iterator[tuple[int, int, str]]:
    """A sub-core's stalls, and between them its issues, those without a gap in one."""
    issued = own[own[:, E.KIND] == Event.ISSUE]
    for start, stop in _merged(issued[:, E.TIME], issued[:, E.TIME] + 1):
        yield start, stop - start, "issue"
    for row in own[own[:, E.KIND] == Event.STALL].tolist():
        if row[E.VALUE] != Cause.NO_WARP:
            yield row[E.TIME], row[E.UNTIL] - row[E.TIME], _STALLS[row[E.VALUE]]


def _merged(starts: I64, stops: I64) -> Iterator[tuple[int, int]]:
    """Intervals, those that touch or overlap in one."""
    if not len(starts):
        return
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], np.maximum.accumulate(stops[order])
    new = np.flatnonzero(np.r_[True, starts[1:] > stops[:-1]])
    last = np.r_[new[1:], len(starts)] - 1
    yield from zip(starts[new].tolist(), stops[last].tolist(), strict=True)
