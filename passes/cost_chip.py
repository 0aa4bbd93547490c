"""What the closed forms of both engines need of a machine, and how times add up. Not a pass.

In: a machine. Out: `Chip`, its numbers in cycles, bytes and sectors a cycle; `Prediction`, cycles
of a launch and of each resource alone; means and maxima of times that overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import erf, exp, pi, sqrt

from ..backend.isa.layout import ceil_div
from ..runtime.machine import Machine
from .cost_issue import squash_of

SECTOR = 32
"""Bytes that L1, L2 and DRAM deal in."""


@dataclass(frozen=True)
class Chip:
    """What a prediction needs of a machine; cycles, bytes or sectors a cycle."""

    sms: int
    sub_cores: int
    hmma_interval: int
    hmma_sp_interval: int
    """Of HMMA.SP; 0 without weight-only n:m."""
    alu_interval: int
    lsu_interval: int
    lsu_off_interval: int
    """Of an access that is switched off in all lanes."""
    ohmma_interval: int
    registers: int
    register_granularity: int
    shared_bytes: int
    shared_granularity: int
    max_warps: int
    max_ctas: int
    accumulators: int
    """Tiles of the accumulation buffer a sub-core; 0 without the dual-side engine."""
    empty_step: int
    """Cycles of the tensor core for a tile step without products."""
    squash: int | None
    """OHMMAs dropped beside an issue; None with a sequencer (`cost_issue`)."""
    l1_sectors: int
    l1_latency: int
    miss_sectors: int
    """Sectors that an SM may have under way."""
    read_bytes: int
    write_bytes: int
    slices: int
    l2_sectors: int
    """Sectors a cycle of all slices."""
    l2_capacity: int
    l2_latency: int
    channels: int
    dram_banks: int
    dram_bytes: float
    dram_latency: int
    interleave: int
    """Neighbouring bytes that lie in one DRAM channel."""
    row_bytes: int
    activate: float
    """Cycles between activations of DRAM rows, of all channels."""

    @staticmethod
    def of(machine: Machine) -> Chip:
        """From a machine's parameters."""
        a_second = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e9
        row = machine["dram.row_cycles"] / machine["dram.banks"]
        return Chip(
            sms=machine["sm.count"],
            sub_cores=machine["sm.sub_cores"],
            hmma_interval=machine["hmma.interval"],
            hmma_sp_interval=machine.get("hmma_sp.interval", 0),
            alu_interval=machine["alu.interval"],
            lsu_interval=machine["lsu.interval"],
            lsu_off_interval=machine["lsu.off_interval"],
            ohmma_interval=machine.get("ohmma.interval", 0),
            registers=machine["sm.registers"],
            register_granularity=machine["sm.register_granularity"],
            shared_bytes=machine["sm.shared_memory_bytes"],
            shared_granularity=machine["sm.shared_granularity"],
            max_warps=machine["sm.max_warps"],
            max_ctas=machine["sm.max_ctas"],
            accumulators=machine.get("accumulator.tiles", 0),
            empty_step=machine.get("spwmma.min_busy", 0),
            squash=squash_of(machine),
            l1_sectors=machine["l1.sectors_per_cycle"],
            l1_latency=machine["l1.latency"],
            miss_sectors=machine["l1.miss_sectors"],
            read_bytes=machine["noc.read_bytes_per_sm_cycle"],
            write_bytes=machine["noc.write_bytes_per_sm_cycle"],
            slices=machine["l2.slices"],
            l2_sectors=machine["l2.slices"] * machine["l2.sectors_per_slice_cycle"],
            l2_capacity=machine["l2.capacity_bytes"],
            l2_latency=machine["l2.latency"],
            channels=machine["dram.channels"],
            dram_banks=machine["dram.channels"] * machine["dram.banks"],
            dram_bytes=a_second / (machine["clock.core_mhz"] * 1e6),
            dram_latency=machine["dram.latency"],
            interleave=machine["dram.interleave_bytes"],
            row_bytes=machine["dram.row_bytes"],
            activate=max(machine["dram.activate_cycles"], row) / machine["dram.channels"],
        )


@dataclass(frozen=True)
class Prediction:
    """Cycles of a launch; `parts`: of each resource alone, `limit`: the name of the largest."""

    cycles: float
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """What the launch waits for most."""
        return max(self.parts, key=lambda name: self.parts[name])


@dataclass(frozen=True)
class Round:
    """CTAs that run at the same time: `count` from number `first` on; `times` such rounds.

    `most`: CTAs of the fullest SM if they are dealt out evenly, `packed`: as they are.
    """

    first: int
    count: int
    times: int
    most: int
    packed: float


def rounds(ctas: int, held: int, sms: int, pack: float) -> Iterator[Round]:
    """A launch of `ctas` on SMs that hold `held` each; rounds alike are counted, not repeated.

    In the last round, SMs that are done first take several CTAs each: `pack` says to what degree
    (0: none does, 1: they take all they hold).
    """
    whole, rest = divmod(ctas, held * sms)
    if whole:
        yield Round(0, held * sms, 1, held, held)
    if whole > 1:
        yield Round(held * sms, held * sms, whole - 1, held, held)
    if rest:
        most = ceil_div(rest, sms)
        packed = most + pack * (min(held, rest) - most) if whole else most
        yield Round(whole * held * sms, rest, 1, most, packed)


def smooth_max(sharpness: float, *times: float) -> float:
    """Cycles of things that overlap, but not perfectly: the largest if `sharpness` is large."""
    largest = max(times)
    if largest <= 0:
        return 0.0
    total = 0.0
    for t in times:
        total += (t / largest) ** sharpness
    return largest * total ** (1 / sharpness)


def mean_of_larger(mean: float, spread: float, least: float) -> float:
    """Mean of max(x, least) for x of a normal distribution of standard deviation `spread`."""
    if spread <= 0:
        return max(mean, least)
    z = (mean - least) / spread
    below = 0.5 * (1 + erf(z / sqrt(2)))
    return least + (mean - least) * below + spread * exp(-z * z / 2) / sqrt(2 * pi)


def chain_up(
    chained: Iterable[tuple[Round, float, float]],
    overlap: float,
    sharpness: float,
    stagger: float,
    others: float = 0.0,
) -> tuple[float, float]:
    """Cycles of rounds of CTAs: (round, cycles until a CTA stores, cycles of all its stores).

    CTAs start while those before them still store; `overlap` of one CTA's stores delay the next,
    and the share `others` of those of its neighbours, if as many follow as there were before.
    CTAs of a round end apart by the share `stagger` of its time: a last round of a few CTAs starts
    with the first that end, and an SM's CTAs store one after the other. Returns the cycles of all
    rounds, and those of them in which the last CTAs store.
    """
    total = stores = of_one = apart = 0.0
    before = 0
    for r, until, end in chained:
        first = until
        if total:
            beside = others * (stores - of_one) * min(1.0, r.count / before)
            first = smooth_max(sharpness, until + overlap * of_one + beside, stores)
        total -= apart * (1 - r.count / before) if before > r.count else 0.0
        stores, of_one, before, apart = end, end / r.packed, r.count, stagger * until
        again = until + overlap * of_one + others * (stores - of_one)
        again = smooth_max(sharpness, again, stores)
        total += first + (r.times - 1) * again
    rest = stores - of_one
    last = of_one + (rest * rest / (rest + apart) if rest > 0 else 0.0)
    return total + last, last
