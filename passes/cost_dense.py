"""What a product on the dense engine takes, in closed form. Not a pass.

In: sizes, how the operands are stored, a schedule's tiles and split, a machine. Out: predicted
cycles and what limits them. select-schedule takes the schedule that is predicted fastest; the
numbers of machines come from their files, those of our kernels stand here (`benchmarks/
dense_cost.py` holds the prediction against the simulator).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, gcd

from ..backend.isa.layout import PITCH_ALIGN, SPLIT_STEP, ceil_div, round_up
from ..backend.isa.table import HMMA_MACS
from ..runtime.machine import Machine

Size2 = tuple[int, int]

OTHER_REGISTERS, FRAGMENT_REGISTERS, MOST_OTHER_REGISTERS = 12, 8, 60
"""Registers of a lane beside its accumulators and the loads under way: always, for each fragment of
its warp, and at most."""
FIRST_REGISTERS, SPLIT_REGISTERS = 6, 8
"""Registers that a loop of one step does not need, and that a split product needs more."""
OTHER_INSTRUCTIONS = 20
"""Instructions of a warp and main-loop step beside HMMA, loads and stores."""
STEP_CYCLES = 100
"""Of a step, what neither loads nor HMMAs of the same CTA overlap: barrier, first fragments."""
ALONE_SHARE = 0.87
"""Share of the tensor peak between them that a sub-core's only warp reaches."""
LOADED_LATENCY = 1.2
"""Latency of a busy memory over that of an idle one."""
TENSOR_SHARE = 0.96
"""Share of the tensor peak that full sub-cores reach."""
DRAM_SHARE = 0.97
"""Share of the DRAM's effective bandwidth that a whole launch reaches."""
EPILOGUE_INSTRUCTIONS = 2.5
"""Instructions an accumulator: rounding, moves, addresses, stores."""
PART_SHARE = 0.5
"""Share of an SM's read bandwidth at which one CTA adds the parts of a split product."""
L2_SHARE = 0.9
"""Share of L2 that what is written can fill before it is written on to DRAM."""
ROW_REACH = 1792
"""Bytes of a DRAM row that are asked for together when neighbouring lines lie in it."""
SHARPNESS = 6
"""How little resources disturb each other: infinite if only the most used one counted."""


@dataclass(frozen=True)
class Chip:
    """What the prediction needs of a machine; cycles, bytes a cycle."""

    sms: int
    sub_cores: int
    hmma_interval: int
    alu_interval: int
    lsu_interval: int
    registers: int
    register_granularity: int
    shared_bytes: int
    shared_granularity: int
    max_warps: int
    max_ctas: int
    dispatch: int
    l2_latency: int
    dram_latency: int
    read_bytes: int
    write_bytes: int
    l2_bytes: int
    l2_capacity: int
    dram_bytes: float
    quantum: int
    slices: int
    channels: int
    dram_banks: int
    activate: float
    """Cycles between activations of DRAM rows, of all channels."""

    @staticmethod
    def of(machine: Machine) -> Chip:
        """From a machine's parameters."""
        a_second = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e9
        return Chip(
            sms=machine["sm.count"],
            sub_cores=machine["sm.sub_cores"],
            hmma_interval=machine["hmma.interval"],
            alu_interval=machine["alu.interval"],
            lsu_interval=machine["lsu.interval"],
            registers=machine["sm.registers"],
            register_granularity=machine["sm.register_granularity"],
            shared_bytes=machine["sm.shared_memory_bytes"],
            shared_granularity=machine["sm.shared_granularity"],
            max_warps=machine["sm.max_warps"],
            max_ctas=machine["sm.max_ctas"],
            dispatch=machine["dispatch.latency"],
            l2_latency=machine["l2.latency"],
            dram_latency=machine["dram.latency"],
            read_bytes=machine["noc.read_bytes_per_sm_cycle"],
            write_bytes=machine["noc.write_bytes_per_sm_cycle"],
            l2_bytes=machine["l2.slices"] * machine["l2.sectors_per_slice_cycle"] * 32,
            l2_capacity=machine["l2.capacity_bytes"],
            dram_bytes=a_second / (machine["clock.core_mhz"] * 1e6),
            quantum=machine["simulation.quantum"],
            slices=machine["l2.slices"],
            channels=machine["dram.channels"],
            dram_banks=machine["dram.channels"] * machine["dram.banks"],
            activate=max(
                machine["dram.activate_cycles"], machine["dram.row_cycles"] / machine["dram.banks"]
            )
            / machine["dram.channels"],
        )


@dataclass(frozen=True)
class Product:
    """(M, N, K), which operands are stored transposed, bytes of a result's element."""

    sizes: tuple[int, int, int]
    transposed: tuple[bool, bool] = (False, False)
    out_bytes: int = 2


@dataclass(frozen=True)
class Tiling:
    """CTA and warp tile, M x N, and parts that K is split into."""

    cta: Size2
    warp: Size2
    split: int = 1

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return self.cta[0] // self.warp[0] * (self.cta[1] // self.warp[1])


@dataclass(frozen=True)
class Prediction:
    """Cycles of a launch; `parts`: of each resource alone, `limit`: the name of the largest."""

    cycles: float
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """What the launch waits for most."""
        return max(self.parts, key=lambda name: self.parts[name])


def registers(tiling: Tiling, steps: int) -> int:
    """Registers of a lane: accumulators, fragments, addresses, and loads of a following step."""
    (cm, cn), (wm, wn) = tiling.cta, tiling.warp
    loads = ceil_div((cm + cn) * SPLIT_STEP * 2, tiling.warps * 32 * 16) * 4
    fragments = wm // 16 + wn // 16
    other = min(OTHER_REGISTERS + FRAGMENT_REGISTERS * fragments, MOST_OTHER_REGISTERS)
    lane = wm * wn // 32 + other + (loads if steps > 1 else -FIRST_REGISTERS)
    return lane + (SPLIT_REGISTERS if tiling.split > 1 else 0)


def occupancy(tiling: Tiling, chip: Chip, steps: int = 2) -> int:
    """CTAs that an SM holds at once, with `steps` along K; 0 if not even one."""
    (cm, cn), warps = tiling.cta, tiling.warps
    lane = registers(tiling, steps)
    of_warp = round_up(lane * 32, chip.register_granularity)
    shared = round_up(2 * (cm + cn) * (SPLIT_STEP + 4) * 2, chip.shared_granularity)
    if lane > 255:
        return 0
    of_sub_core = min(
        chip.registers // chip.sub_cores // of_warp, chip.max_warps // chip.sub_cores
    )
    return min(
        of_sub_core * chip.sub_cores // warps, chip.shared_bytes // shared, chip.max_ctas
    )


@dataclass(frozen=True)
class Fitted:
    """How the parts of a launch add up: fitted by `benchmarks/estimate_fit.py` over random products."""

    start: float = 200
    """Cycles before the first load and after the last product, of a CTA alone."""
    gap: float = 100
    """Of a step, what neither loads nor products of the same CTA overlap: barrier, fragments."""
    alone_share: float = 0.87
    """Share of the tensor peak between barriers that a sub-core's only warps reach."""
    tensor_share: float = 0.97
    """Share of the tensor peak that full sub-cores reach."""
    latency_extra: float = 30
    sharpness: float = 4
    """How little resources disturb each other: infinite if only the most used one counted."""
    sharp_l2: float = 4
    l2_share: float = 0.93
    """Share of L2's peak that random addresses reach."""
    dram_share: float = 0.97
    """Share of DRAM's effective bandwidth that a launch reaches."""
    activation: float = 1.0
    """Share of activations that open rows cannot save."""
    first: float = 0.3
    """Share of a burst's queueing that is before the first step."""
    l2_mean: float = 0.2
    l2_spread: float = 0.5
    dram_mean: float = 0.2
    dram_spread: float = 0.3
    act_mean: float = 0.2
    sharp_act: float = 1.7
    shared_l1: float = 0.9
    """Share of the lines that L1 could give to several CTAs which it gives."""
    pack: float = 0.5
    overlap: float = 0.5
    sharp_end: float = 6
    sharp_dram: float = 6
    sharp_finish: float = 6
    epilogue: float = 2.5
    """Instructions an accumulator: rounding, moves, addresses, stores."""
    part_share: float = 0.5
    """Share of an SM's read bandwidth at which one CTA adds the parts of a split product."""
    part_wait: float = 200
    """Cycles to wait for one accumulator of a part of a split product."""
    part_power: float = 0.9
    arrive: float = 300
    """Cycles to count an arrival: atomic, barriers, shared memory."""
    write: float = 0.9


FITTED = Fitted()


def predict(product: Product, tiling: Tiling, chip: Chip, f: Fitted = FITTED) -> Prediction:
    """Cycles of a launch, without the host's overhead; infinite where no CTA fits."""
    m, n, k = product.sizes
    (cm, cn), (wm, wn), warps = tiling.cta, tiling.warp, tiling.warps
    all_steps = ceil_div(k, SPLIT_STEP)
    steps = ceil_div(all_steps, tiling.split)
    parts = ceil_div(all_steps, steps)
    gy, gx = ceil_div(m, cm), ceil_div(n, cn)
    ctas = gy * gx * parts
    held = occupancy(tiling, chip, steps)
    if held < 1:
        return Prediction(float("inf"), {"registers": float("inf")})
    stored_m, stored_n = round_up(m, PITCH_ALIGN), round_up(n, PITCH_ALIGN)
    along_k = not product.transposed[0], product.transposed[1]

    # one step of one CTA, by what it keeps busy
    hmma = cm * cn * SPLIT_STEP // HMMA_MACS
    step_bytes = (cm + cn) * SPLIT_STEP * 2
    accesses = step_bytes / 512
    for extent, warp, along in ((cm, wm, along_k[0]), (cn, wn, along_k[1])):
        fragments = warp // 16
        accesses += warps * 8 * fragments / (1 if along else gcd(fragments, 4))
        accesses += extent * SPLIT_STEP * 2 / 512 * (2 if along else 1)
    wavefronts = (step_bytes + warps * (wm + wn) * SPLIT_STEP * 2) / 128
    instructions = hmma + accesses + OTHER_INSTRUCTIONS * warps
    # sectors that a CTA really asks for: a tile larger than the operand reads lines again
    seen = min(cm, stored_m), min(cn, stored_n)
    sectors = (seen[0] + seen[1]) * SPLIT_STEP * 2 / 32
    own = ceil_div(warps, chip.sub_cores) * (hmma // warps) * chip.hmma_interval / f.alone_share
    l2 = chip.l2_bytes / 32 * f.l2_share

    # a store writes whole sectors or parts, which L2 completes from DRAM
    group = gcd(wn // 16, 4)
    together = min(2 * group * product.out_bytes, 16)
    whole = 2 * group * product.out_bytes <= 16 and 4 * together >= 32
    result_sectors = cm * cn * product.out_bytes / 32 * (1 if whole else 2)
    result = m * n * product.out_bytes
    scratch = ctas * cm * cn * 4 if parts > 1 else 0

    opened = _activations(along_k, (stored_m, stored_n), k, chip) * f.activation * chip.activate
    total = before = before_one = 0.0
    times = dict.fromkeys(("tensor", "issue", "load_store", "shared_memory", "l2_to_sm", "l2", "latency", "start_and_end"), 0.0)
    per_round = chip.sms * held
    rounds = ceil_div(ctas, per_round)
    for i in range(rounds):
        count = min(ctas - i * per_round, per_round)
        most = ceil_div(count, chip.sms)
        packed: float = most
        if i:
            packed += f.pack * (min(held, count) - most)
        used = min(chip.sub_cores, warps * most)
        # CTAs of an SM that read the same tile share it in L1
        mine = range(i * per_round, i * per_round + most * chip.sms, chip.sms)
        different_m = len({(c // (gx * gy), c // gx % gy) for c in mine})
        different_n = len({(c // (gx * gy), c % gx) for c in mine})
        asked = (different_m * seen[0] + different_n * seen[1]) * SPLIT_STEP / 16 / most
        asked = sectors + f.shared_l1 * (asked - sectors)
        busy = {
            "tensor": packed * hmma * chip.hmma_interval / used / f.tensor_share,
            "issue": packed * instructions / used,
            "load_store": packed * accesses * chip.lsu_interval / used,
            "shared_memory": packed * wavefronts,
            "l2_to_sm": packed * asked * 32 / chip.read_bytes,
            "l2": count * asked / l2,
        }
        # tiles that different CTAs read at the same time, and how unevenly that falls on L2
        in_plane = min(count, gy * gx)
        planes = max(1.0, count / (gy * gx))
        rows = min(gy, ceil_div(in_plane, gx)) * planes
        columns = min(gx, in_plane) * planes
        spread = uneven = fetched = 0.0
        for lines, extent, along, pitch in (
            (rows, seen[0], along_k[0], (round_up(k, PITCH_ALIGN) if along_k[0] else stored_m) * 2),
            (columns, seen[1], along_k[1], (round_up(k, PITCH_ALIGN) if along_k[1] else stored_n) * 2),
        ):
            own_sectors = extent * SPLIT_STEP * 2 / 32
            readers = count * asked / sectors / lines
            run = 2 if along else 4
            spread += lines * own_sectors * run * readers**2
            bytes_ = lines * own_sectors * 32
            block = min(1024.0, 64 * max(1, 1024 / pitch) if along else extent * 2)
            fetched += bytes_
            uneven += bytes_ * block
        burst = (f.l2_mean * count * asked + f.l2_spread * (spread * chip.slices) ** 0.5) / l2
        burst += (f.dram_mean * fetched + f.dram_spread * (uneven * chip.channels) ** 0.5) / chip.dram_bytes
        burst += f.act_mean * opened * min(1.0, count / ctas) * parts
        wait = chip.dram_latency + f.latency_extra + burst
        local = smooth_max(f.sharpness, max(wait, own) + f.gap, *(t for name, t in busy.items() if name != "l2"))
        pace = smooth_max(f.sharp_l2, local, busy["l2"])
        last = smooth_max(f.sharpness, own + f.gap, busy["tensor"], busy["issue"], busy["shared_memory"])
        start = f.start + chip.dram_latency + f.first * burst
        chain = start + pace * (steps - 1)
        instructions_end = f.epilogue * cm * cn / 32 * chip.alu_interval / used * packed
        drained = packed * result_sectors / parts * 32 / chip.write_bytes
        if parts > 1:
            chain += packed * cm * cn * 4 / chip.write_bytes + f.arrive
            accumulators = wm * wn / 256
            chain += parts * smooth_max(
                4, cm * cn * 4 / chip.read_bytes / f.part_share,
                f.part_wait * accumulators**f.part_power,
            )
        end = smooth_max(f.sharp_end, instructions_end / parts, drained, result_sectors * count / parts / l2)
        # products of one CTA go on while another stores
        finish = smooth_max(f.sharp_finish, last + end / packed, end + last / packed)
        chain += finish - end
        total += smooth_max(f.sharp_end, chain + f.overlap * before_one, before) if i else chain
        before, before_one = end, end / packed
        for name, t in busy.items():
            times[name] += t * steps
        times["latency"] += (wait + f.gap) * (steps - 1)
        times["start_and_end"] += start + end
    total += before

    # the chip's DRAM
    loaded = _loaded_bytes(product, tiling, chip, (gy, gx), held)
    if not whole:
        loaded += min(result, chip.l2_capacity)
    spilled = max(0.0, result + scratch - L2_SHARE * chip.l2_capacity)
    read = loaded / (chip.dram_bytes * f.dram_share)
    read = smooth_max(f.sharp_act, read, opened * all_steps)
    written = spilled * (2 if scratch else 1) / chip.dram_bytes
    times["dram"] = read + written
    total = smooth_max(f.sharp_dram, total, read + 2 * chip.dram_latency) + f.write * written
    return Prediction(total, times)


def _activations(
    along_k: tuple[bool, bool], stored: Size2, k: int, chip: Chip
) -> float:
    """DRAM rows opened a step: 64 bytes of each line that lies along K, if rows do not stay open.

    Lines shorter than a row share it; few lines keep their rows open from step to step.
    """
    pitch = 2 * round_up(k, PITCH_ALIGN)
    lines = sum(s for s, along in zip(stored, along_k, strict=True) if along)
    rows = lines / max(1.0, ROW_REACH / pitch)
    return rows * (1 - exp(-rows / (2 * chip.dram_banks)))


def smooth_max(sharpness: float, *times: float) -> float:
    """Cycles of things that overlap, but not perfectly."""
    largest = max(times)
    if largest <= 0:
        return 0.0
    return largest * sum((t / largest) ** sharpness for t in times) ** (1 / sharpness)


def _loaded_bytes(product: Product, tiling: Tiling, chip: Chip, grid: Size2, held: int) -> float:
    """Bytes of operands from DRAM: once, or again for each wave of CTAs if L2 cannot keep them."""
    m, n, k = product.sizes
    once = 2.0 * k * (m + n)
    if 2 * k * n < chip.l2_capacity / 2 or 2 * k * m < chip.l2_capacity / 2:
        return once
    wave = max(1, held * chip.sms)
    columns = min(grid[1], wave)
    rows = min(grid[0], ceil_div(wave, grid[1]))
    waves = ceil_div(grid[0] * grid[1], wave)
    again = 2.0 * k * waves * (rows * tiling.cta[0] + columns * tiling.cta[1])
    return max(once, again)
