"""Launching a kernel: state arrays, occupancy, the run, traps and results.

In: a kernel, grid, parameter words, memory and machine. Out: a `LaunchResult`; memory changed.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend.isa.errors import DstcError, Trap
from ...backend.isa.layout import ceil_div, round_up
from ...backend.isa.table import BY_OPCODE, WARP_SIZE
from ..machine import Machine
from ..memory import Memory
from .aligned import LINE_WORDS, aligned
from .collector import BANKS, SCRATCH
from .constants import (
    DUAL_SIDE_PARAMETERS,
    LOG_COLUMNS,
    PARAMETERS,
    PENDING,
    PREDICATE_SLOTS,
    STACK_DEPTH,
    SUB_COLUMNS,
    TICKS,
    C,
    Cause,
    D,
    K,
    L,
    M,
    N,
    Op,
    P,
    Q,
    R,
    S,
    W,
)
from .decode import Decoded, decode
from .dram import dram_state
from .faults import describe
from .runs import RUN_VALUES
from .stores import LOG_DATA
from .tensor import WIDE_SIZE
from .threads import SYNC_SIZE
from .timeline import QUANTA, Recorder, Recording, Timeline, sample

_TILE_WORDS = 1024
_CHIP_PLACES = 11
_SCRATCH = 32 * 33
_ATOMIC_ROW = 64
_QUANTA_A_CALL = 512
_QUANTA_ALONE = 2
"""Quanta before further threads start: a launch that is over by then is not worth it."""
_MAX_RING = 64
_LAUNCH_FACTOR, _LAUNCH_WARP = 4, 1 << 18
"""Bound on the instructions of a launch in which no warp finishes: the first times
`max_instructions`, or if more the second times the resident warps."""

OnCtas = Callable[[int, int], None]
"""Called with the CTAs of a launch that are done, and all of them."""


@dataclass(frozen=True)
class LaunchResult:
    """What a launch took.

    `cycles`: from the first dispatch to the last issue or store arrival, 0 in functional mode;
    `time_us` adds the launch overhead. `counters`: totals by name. `stalls`: sub-core cycles by
    cause, whose sum is cycles * sub-cores * SMs. `pc_issued`: int64, one an instruction, how often
    it was issued. `pc_stalled`: int64 (instructions, causes), sub-core cycles that waited for it,
    by cause in the order of `stalls`.
    """

    cycles: int
    time_us: float
    warp_instructions: int
    counters: dict[str, int]
    stalls: dict[str, int]
    opcodes: dict[str, int]
    pc_issued: NDArray[np.int64]
    pc_stalled: NDArray[np.int64]
    occupancy: int = 0
    """CTAs that an SM holds at once."""
    limits: dict[str, int] = field(default_factory=dict)
    """CTAs an SM that each resource would allow."""
    ctas: int = 0
    """CTAs that ran."""
    ctas_left_out: int = 0
    """CTAs of the grid that `max_ctas` kept from running."""
    timeline: Timeline | None = None
    """What happened when, if that was recorded."""


class L2State:
    """L2 tags, which outlive a launch."""

    def __init__(self, machine: Machine) -> None:
        slices, ways = machine["l2.slices"], machine["l2.ways"]
        lines = machine["l2.capacity_bytes"] // machine["l2.line_bytes"]
        sets = max(1, lines // slices // ways)
        self.tags = np.full((slices, sets, ways), -1, np.int64)
        self.used = np.zeros((slices, sets, ways), np.int64)
        self.valid = np.zeros((slices, sets, ways), np.int64)
        self.dirty = np.zeros((slices, sets, ways), np.int64)
        self.clock = np.zeros(len(L), np.int64)

    def invalidate(self) -> None:
        """Forget everything: the next launch starts cold."""
        self.tags.fill(-1)
        self.valid.fill(0)
        self.dirty.fill(0)


def occupancy(kernel: Any, machine: Machine) -> dict[str, int]:
    """CTAs of `kernel` that one SM can hold, by resource.

    Raises `DstcError` naming the resource of which not even one CTA gets enough.
    """
    subs = machine["sm.sub_cores"]
    warps_sub = machine["sm.max_warps"] // subs
    registers = round_up(max(1, kernel.registers) * WARP_SIZE, machine["sm.register_granularity"])
    needs = {
        "warps": (kernel.warps, machine["sm.max_warps"]),
        "registers": (kernel.warps * registers, machine["sm.registers"]),
        "shared memory": (
            round_up(kernel.shared_bytes, machine["sm.shared_granularity"]),
            machine["sm.shared_memory_bytes"],
        ),
        "accumulation tiles": (
            kernel.warps * kernel.acc_tiles,
            machine.get("accumulator.tiles", 0) * subs,
        ),
    }
    limits = {"CTAs": int(machine["sm.max_ctas"])}
    # by sub-core: a CTA's warps are spread evenly, the fuller sub-cores decide
    per_sub = {
        "warps": warps_sub,
        "registers": machine["sm.registers"] // subs // registers,
        "accumulation tiles": (
            machine.get("accumulator.tiles", 0) // kernel.acc_tiles if kernel.acc_tiles else None
        ),
    }
    for what, (need, have) in needs.items():
        limit = have // need if need else limits["CTAs"]
        slots = per_sub.get(what)
        if slots is not None:
            while limit and ceil_div(limit * kernel.warps, subs) > slots:
                limit -= 1
        if limit == 0:
            raise DstcError(
                f"kernel {kernel.name}: one CTA needs {need} of {what}, a {machine.name} SM has "
                f"{have} ({subs} sub-cores); use a smaller CTA"
            )
        limits[what] = int(limit)
    return limits


def launch(
    kernel: Any,
    grid: tuple[int, int, int],
    arguments: NDArray[np.uint32],
    memory: Memory,
    machine: Machine,
    l2: L2State,
    *,
    timed: bool,
    checks: str,
    max_instructions: int,
    max_ctas: int | None = None,
    threads: int = 1,
    recording: Recording | None = None,
    on_ctas: OnCtas | None = None,
) -> LaunchResult:
    """Run `kernel` over `grid` (CTAs in x, y, z) with parameter words `arguments`.

    `max_ctas`: run only that many CTAs, the first in dispatch order; None runs them all.
    `checks`: as `Device` explains; "full" needs a `memory` that tracks what is written.
    `recording`: record a timeline (in timed launches). `on_ctas`: told now and then of CTAs done.
    Raises `DstcError` for a kernel that does not fit, `Trap` for one that goes wrong.
    """
    if min(grid) < 1 or grid[0] * grid[1] * grid[2] >= 1 << 40:
        raise DstcError(f"kernel {kernel.name}: grid {grid} must be three sizes of at least 1")
    decoded = decode(kernel, machine, arguments)
    limits = occupancy(kernel, machine)
    state = _State(kernel, grid, decoded, machine, min(limits.values()), memory, l2,
                   timed, checks, max_instructions, max_ctas, threads,
                   recording if timed else None)  # fmt: skip
    state.run(on_ctas)
    return state.result(limits)


def _zeros(*shape: int) -> NDArray[np.int64]:
    """int64 zeros from a cache line's first byte on."""
    return aligned(2 * math.prod(shape)).view(np.int64).reshape(shape)


def _lines(*shape: int) -> NDArray[np.int64]:
    """As `_zeros`, the last size rounded up to whole cache lines: no two SMs share one."""
    return _zeros(*shape[:-1], round_up(shape[-1], LINE_WORDS // 2))


class _State:
    """The arrays of one launch, in the shapes that `kernel.run_kernel` documents by use."""

    def __init__(
        self, kernel: Any, grid: tuple[int, int, int], decoded: Decoded, machine: Machine,
        resident: int, memory: Memory, l2: L2State, timed: bool, checks: str,
        max_instructions: int, max_ctas: int | None, threads: int, recording: Recording | None,
    ) -> None:  # fmt: skip
        self.kernel, self.machine, self.decoded, self.timed = kernel, machine, decoded, timed
        self.threads = threads
        self.grid_ctas = grid[0] * grid[1] * grid[2]
        self.ctas_run = total = min(self.grid_ctas, max_ctas or self.grid_ctas)
        count = min(machine["sm.count"], total) if timed else 1
        resident = min(resident, ceil_div(total, count)) if timed else 1
        self.sms_count, self.resident = count, resident
        subs = machine["sm.sub_cores"]
        warps = count * resident * kernel.warps
        shared_stride = max(16, round_up(kernel.shared_bytes, 16))
        self.param = self.parameters(grid, resident * kernel.warps, checks, max_instructions)
        constants = decoded.constants.size
        regs = aligned(constants + warps * decoded.frame)
        regs[:constants] = decoded.constants.ravel()
        acc = aligned(max(1, warps * kernel.acc_tiles) * _TILE_WORDS).view(np.float32)
        shared = np.zeros(count * resident * shared_stride, np.uint8)
        code = len(decoded.rows)
        quantum = machine["simulation.quantum"]
        rate = machine["l1.sectors_per_cycle"]
        # an SM issues no more of them in a quantum; without time they are carried out at once
        stores = subs * (quantum // machine["lsu.interval"] + 1) if timed else 1
        pending = (quantum + machine["l1.queue"] + 2) * rate + 128
        sectors = self.l1_sectors()
        self.l1_sets = max(1, sectors // 4 // machine["l1.ways"])
        ways = machine["l1.ways"]
        low, high = memory.intervals()
        registers = kernel.registers + 1
        acc_tiles = max(1, kernel.acc_tiles)

        full = checks == "full"
        written = memory.written if full else np.zeros(0, np.uint8)
        marks = np.zeros(shared.size if full else 0, np.int64)
        zeros = _zeros
        # an SM starts no more than this many CTAs in a quantum, beside those started at its begin
        most = resident * (quantum // machine["dispatch.latency"] + 1) if timed else 0
        pool = zeros(min(total, count * (resident + most)))
        self.chip = zeros(_CHIP_PLACES)
        self.sms, self.counters = _lines(count, len(M)), _lines(count, len(N))
        self.subs = _lines(count, subs, SUB_COLUMNS)
        self.subs[:, :, S.WAKE] = 2 * PENDING
        self.subs[:, :, S.GREEDY] = -1
        self.subs[:, :, S.IDLE_CAUSE] = Cause.NO_WARP
        self.subs[:, :, S.IDLE_PC] = -1
        self.stalls = _lines(count, len(Cause))
        self.pc_issued, self.pc_stalled = _lines(count, code), _lines(count, code, len(Cause))
        self.warps, self.ctas = _lines(warps, len(W)), _lines(count, resident, len(C))
        self.preds = zeros(warps, PREDICATE_SLOTS)
        self.chip_counters = zeros(len(N))
        self.grid = np.array(grid, np.int64)
        self.sync = zeros(SYNC_SIZE)
        self.recorder: Recorder | None = None
        if recording is not None:
            squash = machine.get("ohmma.squash_per_cycle", 0)
            self.recorder = Recorder(recording, count, subs, quantum, squash)
        self.arrays: tuple[Any, ...] = (
            self.sync, zeros(count), self.chip, pool, self.param, decoded.rows, regs,
            regs.view(np.float32), self.preds, acc,
            acc.view(np.uint32), aligned(count * WIDE_SIZE).view(np.float32), shared,
            shared.view(np.uint32), memory.bytes, memory.words,
            zeros(count, WARP_SIZE + RUN_VALUES), zeros(count, _SCRATCH), self.warps,
            zeros(warps, STACK_DEPTH, len(K)),
            self.ctas, self.subs, zeros(count, subs, max(machine["sm.max_warps"], kernel.warps)),
            zeros(count, subs, _MAX_RING), self.sms, self.counters, self.stalls, self.pc_issued,
            self.pc_stalled, low, high, zeros(warps, registers), zeros(warps, registers),
            zeros(warps, registers), zeros(warps, PREDICATE_SLOTS), zeros(warps, acc_tiles),
            zeros(warps, acc_tiles), np.full((count, self.l1_sets, ways), -1, np.int64),
            zeros(count, self.l1_sets, ways),
            np.full((count, self.l1_sets * ways * 4), -1, np.int64), zeros(count, pending, len(Q)),
            zeros(count, pending, len(R)), zeros(count, pending, _ATOMIC_ROW), _lines(count, 4),
            self.grid, self.l1_sets, constants,
            zeros(count, stores, LOG_COLUMNS), aligned(count * stores * LOG_DATA),
            l2.tags, l2.used, l2.valid, l2.dirty,
            zeros(*l2.tags.shape, 4), zeros(machine["l2.slices"]), dram_state(machine),
            l2.clock, self.chip_counters, zeros(count),
            zeros(count, machine["l1.miss_sectors"] + machine["l1.store_sectors"]),
            np.zeros((count, subs, BANKS), np.int32), np.zeros((count, SCRATCH), np.uint64),
            (written, written.view(np.uint32), marks),
            None if self.recorder is None else self.recorder.trace,
        )  # fmt: skip

    def parameters(
        self, grid: tuple[int, int, int], resident: int, checks: str, max_instructions: int
    ) -> NDArray[np.int64]:
        """The parameter vector, in the order of `P`."""
        machine, kernel = self.machine, self.kernel
        param = np.zeros(len(P), np.int64)
        for i, key in enumerate(PARAMETERS):
            param[i] = machine[key]
        if "dual_side" in machine.features:
            for i, key in enumerate(DUAL_SIDE_PARAMETERS, len(PARAMETERS)):
                param[i] = machine[key]
        param[P.RUNS] = machine.get("runs.latency", 0)
        cycles_a_second = machine["clock.core_mhz"] * 1e6
        bytes_a_second = machine["dram.peak_gb_s"] * 1e9 * machine["dram.efficiency"]
        channel = bytes_a_second / machine["dram.channels"] / cycles_a_second
        param[P.DRAM_TICKS] = math.ceil(32 * TICKS / channel)
        param[P.SUBS] = machine["sm.sub_cores"]
        param[P.MAX_INSTRUCTIONS] = min(max_instructions, PENDING)
        most = max(_LAUNCH_FACTOR * max_instructions, _LAUNCH_WARP * resident * self.sms_count)
        param[P.MAX_LAUNCH] = min(most, PENDING)
        opcodes = self.decoded.rows[:, D.OP]
        param[P.BARRIERS] = (opcodes == Op.BAR).any()
        param[P.HOLDS] = np.isin(opcodes, (Op.SPWMMA, Op.SPWMMA64, Op.AWR)).any()
        param[P.WARPS_PER_CTA], param[P.SHARED_BYTES] = kernel.warps, kernel.shared_bytes
        param[P.ACC_TILES], param[P.CHECKS] = kernel.acc_tiles, checks != "off"
        param[P.GRID_X], param[P.GRID_Y], param[P.GRID_Z] = grid
        param[P.FRAME], param[P.RESIDENT] = self.decoded.frame, resident
        param[P.CTAS] = self.ctas_run
        return param

    def l1_sectors(self) -> int:
        """Sectors of L1 beside the shared memory that the resident CTAs take."""
        machine = self.machine
        granule = machine["sm.shared_granularity"]
        shared = self.resident * round_up(self.kernel.shared_bytes, granule)
        carve = min((c for c in machine["l1.carve_bytes"] if c >= shared),
                    default=machine["sm.shared_memory_bytes"])  # fmt: skip
        return (machine["l1.capacity_bytes"] - carve) // 32

    def run(self, on_ctas: OnCtas | None = None) -> None:
        """Run to the end; raises `Trap`."""
        from .compiled import first_call, must_compile
        from .dispatch import FAULT_SM
        from .kernel import RUNNING, run_kernel
        from .threads import Sync

        recorder = self.recorder
        if must_compile(run_kernel, 1 if recorder is None else 2) and sys.stderr.isatty():
            what = "the simulator" if recorder is None else "the simulator that records"
            print(f"compiling {what}, once: 20 to 30 seconds ...", file=sys.stderr)
        quantum = self.machine["simulation.quantum"]
        alone = (0, _QUANTA_ALONE, quantum, self.timed)
        status = first_call(run_kernel, *alone, *self.arrays)
        workers: list[threading.Thread] = []
        try:
            if status == RUNNING and self.timed:
                for i in range(1, min(self.threads, self.sms_count)):
                    worker = threading.Thread(
                        target=run_kernel, args=(i, 1, quantum, self.timed, *self.arrays),
                        name=f"simulator {i}", daemon=True,
                    )  # fmt: skip
                    worker.start()
                    workers.append(worker)
            quanta = _QUANTA_A_CALL if recorder is None else QUANTA
            while status == RUNNING:  # returns now and then, so that an interrupt is seen
                self.hand_over()
                if on_ctas is not None:
                    on_ctas(self.ctas_done(), self.ctas_run)
                status = run_kernel(0, quanta, quantum, self.timed, *self.arrays)
            self.hand_over()
        finally:
            self.sync[Sync.STOP] = 1
            for worker in workers:
                worker.join()
        if status != 0:
            sm = int(self.chip[FAULT_SM])
            raise Trap(describe(self.kernel, self.sms[sm], self.warps, self.ctas[sm]))

    def ctas_done(self) -> int:
        """CTAs that have ended, or a few less."""
        from .dispatch import NEXT_CTA, POOLED

        live = int(np.count_nonzero(self.ctas[:, :, C.LIVE]))
        return max(0, int(self.chip[NEXT_CTA] - self.chip[POOLED]) - live)

    def hand_over(self) -> None:
        """Let the recorder, if there is one, take what was noted."""
        if self.recorder is not None:
            from .dispatch import NOW

            totals = self.counters.sum(axis=0)[: len(N)] + self.chip_counters
            issued = int(self.stalls[:, Cause.ISSUED].sum())
            self.recorder.take(sample(int(self.chip[NOW]), issued, totals, N))

    def result(self, limits: dict[str, int]) -> LaunchResult:
        """Totals of the run."""
        from .dispatch import END

        machine = self.machine
        code = len(self.decoded.rows)
        issued = self.pc_issued.sum(axis=0)[:code]
        opcodes: dict[str, int] = {}
        for opcode in np.unique(self.decoded.rows[:, D.OP]):
            total = int(issued[self.decoded.rows[:, D.OP] == opcode].sum())
            if total:
                opcodes[BY_OPCODE[int(opcode)].mnemonic] = total
        totals = self.counters.sum(axis=0)[: len(N)] + self.chip_counters
        names = [name for name in N._fields if name != "STORE_END"]
        counters = {name.lower(): int(totals[getattr(N, name)]) for name in names}
        counters["dram_bytes"] = counters["dram_read"] + counters["dram_written"]
        counters["register_conflicts"] = int((issued * self.decoded.rows[:, D.EXTRA]).sum())
        counters["hmma"] = opcodes.get("HMMA", 0)
        counters["hmma_sp"] = opcodes.get("HMMA.SP", 0)
        cycles = int(self.chip[END]) if self.timed else 0
        stalls = self.stalls.sum(axis=0)[: len(Cause)]
        if self.timed:  # the tail: sub-cores that had run dry, and SMs that got no CTA
            unused = machine["sm.count"] - self.sms_count
            stalls[Cause.NO_WARP] += (cycles - self.subs[:, :, S.IDLE_FROM]).sum()
            stalls[Cause.NO_WARP] += cycles * machine["sm.sub_cores"] * unused
        names = [name.lower() for name in Cause._fields]
        time_us = cycles / machine["clock.core_mhz"] + machine["launch.overhead_us"]
        return LaunchResult(
            cycles,
            time_us if self.timed else 0.0,
            int(issued.sum()),
            counters,
            dict(zip(names, stalls.tolist(), strict=True)) if self.timed else {},
            opcodes,
            issued,
            self.pc_stalled.sum(axis=0)[:, : len(Cause)],
            self.resident,
            limits,
            self.ctas_run,
            self.grid_ctas - self.ctas_run,
            None
            if self.recorder is None
            else self.recorder.timeline(cycles, self.kernel.warps, self.resident),
        )
