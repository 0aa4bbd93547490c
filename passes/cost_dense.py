"""What a product on the dense engine takes, in closed form. Not a pass.

In: sizes, how the operands are stored, a schedule's tiles and split, a machine. Out: predicted
cycles, and those of each resource alone. Numbers of machines come from their files; what is our
kernel's stands here, and `FITTED` says how resources disturb each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, gcd, sqrt

from ..backend.isa.layout import PITCH_ALIGN, SPLIT_STEP, STEP_K, ceil_div, round_up
from ..backend.isa.table import HMMA_MACS
from ..dialects.tiles import warps_of
from .cost_chip import SECTOR, Chip, Prediction, Round, chain_up, rounds, smooth_max
from .cost_windows import GATHERING, Gathering, Windows
from .matmul_raster import panel_columns

Size2 = tuple[int, int]

OTHER_REGISTERS, FRAGMENT_REGISTERS, MOST_OTHER_REGISTERS = 12, 8, 60
"""Registers of a lane beside its accumulators and the loads under way: always, for each fragment
of its warp, and at most."""
FIRST_REGISTERS, SPLIT_REGISTERS = 6, 8
"""Registers that a loop of one step does not need, and that a split product needs more."""
OTHER_INSTRUCTIONS = 20
"""Instructions of a warp and main-loop step beside HMMA, loads and stores."""
LINE_PAD = 4
"""Elements between lines along K in shared memory."""
PIXEL_PAD, TABLE = 9, 128
"""Elements between lines of pixels in shared memory, and those that a table takes the place of."""
L2_SHARE = 0.9
"""Share of L2 that what is written can fill before it is written on to DRAM."""
ROW_REACH = 1792
"""Bytes of a DRAM row that are asked for together when neighbouring lines lie in it."""
RUN_BYTES = 1024
"""Neighbouring bytes that lie in one DRAM channel."""
LINE_SECTORS = 4
"""Sectors of a line of L2."""
_K_BYTES = STEP_K * 2
"""Bytes of a line of an operand in a main-loop step."""


@dataclass(frozen=True)
class Fitted:
    """How the parts of a launch add up: `benchmarks/estimate_fit.py` fits these numbers.

    They are those with which random products (sizes, forms, tiles, splits) come nearest to the
    simulator; none of them belongs to a product.
    """

    start: float = 163
    """Cycles before the first load and after the last product, of a CTA alone."""
    gap: float = 65
    """Of a step, what neither loads nor products of the CTA overlap: barrier, first fragments."""
    alone_share: float = 0.866
    """Share of the tensor peak that a sub-core's only warps reach between barriers,"""
    tensor_share: float = 0.892
    """and that full sub-cores reach."""
    latency_extra: float = 40.2
    """Cycles of a load beside the memory's latency: issue, stores to shared memory."""
    sharpness: float = 4.55
    """How little the resources of an SM disturb each other (`smooth_max`)."""
    sharp_l2: float = 14
    """The same of an SM and L2,"""
    sharp_finish: float = 8.67
    """of the last products and stores of CTAs of an SM,"""
    sharp_end: float = 2.55
    """of stores and what else goes on,"""
    sharp_row: float = 1.59
    """of DRAM's bus and its activations,"""
    sharp_dram: float = 9.91
    """of DRAM and all else."""
    l2_share: float = 0.856
    """Share of L2's peak that random addresses reach."""
    dram_share: float = 0.938
    """Share of the DRAM's effective bandwidth that a launch reaches."""
    open_rows: float = 6.93
    """Rows a bank that are read from at a time, by which most are closed before they are again,"""
    open_power: float = 2.24
    """and how soon more of them change that."""
    store_share: float = 1.24
    """The same of stores, whose addresses are less so."""
    l2_mean: float = 0.0993
    """Of a step's mean time in a slice, what adds to the latency,"""
    l2_spread: float = 0.0908
    """and of the spread over slices;"""
    dram_mean: float = 0.146
    """the same for DRAM's channels,"""
    dram_spread: float = 0.124
    row_mean: float = 0.517
    """and for activations."""
    first: float = 4.88
    """Share of a step's queueing that is before the first step."""
    shared_l1: float = 0.19
    """Share of what CTAs of an SM could share in L1 that they do."""
    pack: float = 0.172
    """How unevenly the CTAs of the last round are dealt out (`rounds`)."""
    overlap: float = 1.65
    """Share of a CTA's stores that delay the CTA after it."""
    prologue: float = 14.4
    """Instructions of a warp before its first load, which others wait for,"""
    epilogue: float = 1.82
    """and those an accumulator: rounding, moves, addresses, stores."""
    part_share: float = 0.805
    """Share of an SM's read bandwidth at which one CTA adds the parts of a split product,"""
    part_wait: float = 174
    """cycles that a part of one accumulator takes it,"""
    part_power: float = 0.351
    """and by which power of the accumulators a warp holds these grow."""
    arrive: float = 464
    """Cycles to count an arrival: atomic, barriers, shared memory."""
    stagger: float = 0.245
    """How far the CTAs of a round drift apart, as a share of its time (`chain_up`)."""
    written_rows: float = 0.646
    """DRAM rows opened for results over the lines of L2, where none stays open."""
    write: float = 1.04
    """Cycles that L2 takes to write back, over those of bytes and activations."""


FITTED = Fitted()


@dataclass(frozen=True)
class Product:
    """(M, N, K), which operands are stored transposed, bytes of a result's element.

    `windows`: the right operand is windows of an image; `groups`: so many products beside each
    other.
    """

    sizes: tuple[int, int, int]
    transposed: tuple[bool, bool] = (False, False)
    out_bytes: int = 2
    windows: Windows | None = None
    groups: int = 1

    @property
    def along_k(self) -> tuple[bool, bool]:
        """Which operands have k side by side."""
        return not self.transposed[0], self.transposed[1]

    @property
    def stored(self) -> Size2:
        """Lines of A and B as stored."""
        return round_up(self.sizes[0], PITCH_ALIGN), round_up(self.sizes[1], PITCH_ALIGN)


@dataclass(frozen=True)
class Tiling:
    """CTA and warp tile, M x N, and parts that K is split into."""

    cta: Size2
    warp: Size2
    split: int = 1

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return warps_of(self.cta, self.warp)

    @property
    def step_bytes(self) -> int:
        """Bytes that a CTA stages a step."""
        return sum(self.cta) * _K_BYTES

    @property
    def step_hmmas(self) -> int:
        """HMMAs of a CTA a step."""
        return self.cta[0] * self.cta[1] * STEP_K // HMMA_MACS


def registers(tiling: Tiling, steps: int, windows: Windows | None = None) -> int:
    """Registers of a lane: accumulators, fragments, addresses, and loads of a following step."""
    wm, wn = tiling.warp
    loads = ceil_div(tiling.step_bytes, tiling.warps * 32 * 16) * 4
    if windows is not None:
        loads = ceil_div(tiling.cta[0] * _K_BYTES, tiling.warps * 32 * 16) * 4
        loads += windows.loads(tiling.cta[1], tiling.warps)
    fragments = wm // 16 + wn // 16
    other = min(OTHER_REGISTERS + FRAGMENT_REGISTERS * fragments, MOST_OTHER_REGISTERS)
    lane = wm * wn // 32 + other + (loads if steps > 1 else -FIRST_REGISTERS)
    return lane + (SPLIT_REGISTERS if tiling.split > 1 else 0)


def occupancy(
    tiling: Tiling,
    chip: Chip,
    steps: int = 2,
    along_k: tuple[bool, bool] = (True, True),
    windows: Windows | None = None,
) -> int:
    """CTAs that an SM holds at once, with `steps` along K; 0 if not even one.

    In shared memory, lines along K (`along_k`: of which operands) are padded by `LINE_PAD`, pixels
    whose elements are gathered by `PIXEL_PAD`.
    """
    lane = registers(tiling, steps, windows)
    of_warp = round_up(lane * 32, chip.register_granularity)
    lines = zip(tiling.cta, along_k, strict=True)
    staged = sum(extent * (STEP_K + LINE_PAD * along) for extent, along in lines)
    if windows is not None and windows.gathered:
        staged += tiling.cta[1] * PIXEL_PAD + TABLE
        if not windows.shared_out(tiling.cta[1], tiling.warps):
            return 0
    buffers = 1 if steps == 1 else 2
    shared = round_up(2 * staged * buffers, chip.shared_granularity)
    if lane > 255:
        return 0
    of_sub_core = min(chip.registers // chip.sub_cores // of_warp, chip.max_warps // chip.sub_cores)
    return min(
        of_sub_core * chip.sub_cores // tiling.warps, chip.shared_bytes // shared, chip.max_ctas
    )


def predict(
    product: Product,
    tiling: Tiling,
    chip: Chip,
    fitted: Fitted = FITTED,
    gathering: Gathering = GATHERING,
) -> Prediction:
    """Cycles of a launch, without the host's overhead; infinite where no CTA fits."""
    all_steps = ceil_div(product.sizes[2], STEP_K)
    if product.groups > 1 and tiling.split > 1:
        return Prediction(float("inf"), {"groups": float("inf")})
    steps = ceil_div(all_steps, tiling.split)
    held = occupancy(tiling, chip, steps, product.along_k, product.windows)
    if held < 1:
        return Prediction(float("inf"), {"registers": float("inf")})
    if product.windows is not None and product.windows.gathered:
        fitted = _of_gathered(fitted, gathering)
    return _Model(product, tiling, chip, fitted, held, gathering).prediction()


def _of_gathered(f: Fitted, gathering: Gathering) -> Fitted:
    """The numbers of a kernel that gathers its right operand."""
    return replace(
        f,
        start=f.start + gathering.start,
        gap=f.gap + gathering.gap,
        alone_share=f.alone_share * gathering.tensor_share,
    )


class _Model:
    def __init__(
        self,
        product: Product,
        tiling: Tiling,
        chip: Chip,
        f: Fitted,
        held: int,
        gathering: Gathering,
    ):
        self.gathering = gathering
        self.product, self.tiling, self.chip, self.f, self.held = product, tiling, chip, f, held
        m, n, k = product.sizes
        (cm, cn), (wm, wn), warps = tiling.cta, tiling.warp, tiling.warps
        self.all_steps = ceil_div(k, STEP_K)
        self.steps = min(
            self.all_steps, ceil_div(k, SPLIT_STEP * tiling.split) * (SPLIT_STEP // STEP_K)
        )
        self.parts = ceil_div(self.all_steps, self.steps)
        rows, columns = ceil_div(m, cm), ceil_div(n, cn)
        self.ctas = rows * columns * self.parts * product.groups
        # panels of a wide grid are as good as one below the other
        panel = panel_columns(rows, columns)
        self.grid = ceil_div(rows * columns, panel), panel
        self.l2 = chip.l2_sectors * f.l2_share
        # a tile larger than the operand reads lines again, which L1 has
        self.seen = min(cm, product.stored[0]), min(cn, product.stored[1])
        self.accesses = tiling.step_bytes / 512
        for extent, warp, along in zip((cm, cn), (wm, wn), product.along_k, strict=True):
            fragments = warp // 16
            self.accesses += warps * 8 * fragments / (1 if along else gcd(fragments, 4))
            self.accesses += extent * _K_BYTES / 512 * (2 if along else 1)
        self.wavefronts = (tiling.step_bytes + warps * (wm + wn) * _K_BYTES) / 128
        self.others = OTHER_INSTRUCTIONS * warps
        self.alu = self.l1 = 0.0
        windows = product.windows
        self.fresh = 1.0, 1.0
        if windows is not None:
            # of pixels other accesses, and the instructions that form windows
            fragments = wn // 16
            self.accesses -= warps * 8 * fragments / gcd(fragments, 4) + cn * _K_BYTES / 256
            self.accesses += windows.accesses(cn, warps, fragments)
            self.others += windows.instructions(cn, warps)
            self.wavefronts += windows.wavefronts(cn)
            self.alu = windows.alu(cn, warps)
            self.l1 = cn * windows.sectors() if windows.gathered else 0.0
            self.fresh = 1.0, windows.fresh(cn)
        # a lane's columns are stored side by side, 16 bytes at most at once
        lane = 2 * gcd(wn // 16, 4) * product.out_bytes
        self.whole_sectors = lane <= 16 and 4 * lane >= SECTOR
        self.opened = self._activations() * chip.activate

    def prediction(self) -> Prediction:
        """The sum over rounds of CTAs, within what DRAM allows."""
        f, chip, product = self.f, self.chip, self.product
        times: dict[str, float] = {}
        dealt = list(rounds(self.ctas, self.held, chip.sms, f.pack))
        chained = [(r, *self._round(r, times)) for r in dealt]
        total, end = chain_up(chained, f.overlap, f.sharp_end, f.stagger)
        m, n, _ = product.sizes
        result = m * n * product.out_bytes * product.groups
        scratch = self.ctas * self.tiling.cta[0] * self.tiling.cta[1] * 4 if self.parts > 1 else 0
        loaded = self._loaded_bytes()
        opened = self.opened * self.all_steps
        spilled = max(0.0, result + scratch - L2_SHARE * chip.l2_capacity)
        # parts stored before the last round leave L2 while that one loads
        last = dealt[-1].count / self.ctas
        spilled = max(spilled, scratch * (1 - last) * min(1.0, loaded * last / chip.l2_capacity))
        written = spilled * (2 if scratch else 1)
        # evictions wait for the channel, so that bus and activations add up
        written = written / chip.dram_bytes + self._written_rows(written) * chip.activate
        bus = loaded / (chip.dram_bytes * f.dram_share)
        read = smooth_max(f.sharp_row, bus, opened)
        times["dram"] = read + written
        # operands are not read before CTAs have started, nor while the last ones store or add parts
        first = f.start + chip.dram_latency
        bound = first + read + end + (self._parts(dealt[-1].packed) if self.parts > 1 else 0.0)
        if written:  # L2 fills at the rate of the CTAs, then DRAM sets it
            share = spilled / (result + scratch)
            filled = max(total, bound) * (1 - share)
            bound = max(bound, filled + read * share + f.write * written)
        total = smooth_max(f.sharp_dram, total, bound)
        return Prediction(total, times)

    def _round(self, r: Round, times: dict[str, float]) -> tuple[float, float]:
        """Cycles of a round of CTAs up to their stores, and of the stores; adds to `times`."""
        tiling, f, chip, steps = self.tiling, self.f, self.chip, self.steps
        (cm, cn), warps = tiling.cta, tiling.warps
        used = min(chip.sub_cores, warps * r.most)
        asked = self._asked(r)
        instructions = tiling.step_hmmas + self.accesses + self.others
        hmma = tiling.step_hmmas * chip.hmma_interval
        busy = {
            "tensor": r.packed * hmma / used / f.tensor_share,
            "issue": r.packed * instructions / used,
            "load_store": r.packed * self.accesses * chip.lsu_interval / used,
            "shared_memory": r.packed * self.wavefronts,
            "l2_to_sm": r.packed * asked * SECTOR / chip.read_bytes,
        }
        if self.alu:
            busy["issue"] /= self.gathering.issue_share
            busy["tensor"] /= self._pace(r)
            busy["alu"] = r.packed * self.alu * chip.alu_interval / used
            busy["l1"] = r.packed * self.l1 / chip.l1_sectors
            under_way = chip.miss_sectors * self.gathering.in_flight
            busy["misses"] = r.packed * asked * (chip.dram_latency + f.latency_extra) / under_way
        l2 = r.count * asked / self.l2
        burst = self._burst(r, asked)
        wait = chip.dram_latency + f.latency_extra + burst
        own = ceil_div(warps, chip.sub_cores) * (hmma // warps) / f.alone_share
        local = smooth_max(f.sharpness, max(wait, own) + f.gap, *busy.values())
        pace = smooth_max(f.sharp_l2, local, l2)
        last = smooth_max(
            f.sharpness, own + f.gap, busy["tensor"], busy["issue"], busy["shared_memory"]
        )
        start = f.start + chip.dram_latency + f.first * burst
        start += f.prologue * warps * (r.packed - 1) / used
        if self.parts > 1:
            start += self._parts(r.packed)

        m, n, _ = self.product.sizes
        sectors = min(cm, m) * min(cn, n) * self.product.out_bytes / SECTOR / self.parts
        sectors *= 1 if self.whole_sectors else 2
        end = smooth_max(
            f.sharp_end,
            f.epilogue * cm * cn / 32 * chip.alu_interval / used * r.packed / self.parts,
            r.packed * sectors * SECTOR / chip.write_bytes,
            sectors * r.count / (chip.l2_sectors * f.store_share),
        )
        # products of one CTA go on while another stores
        finish = smooth_max(f.sharp_finish, last + end / r.packed, end + last / r.packed)
        for name, cycles in {
            **{name: cycles * steps for name, cycles in busy.items()},
            "l2": l2 * steps,
            "latency": (wait + f.gap) * (steps - 1),
            "start_and_end": start + end,
        }.items():
            times[name] = times.get(name, 0.0) + cycles * r.times
        return start + pace * (steps - 1) + finish - end, end

    def _pace(self, r: Round) -> float:
        """Share of a matrix's pace at which products go on beside gathering."""
        g, warps = self.gathering, r.packed * self.tiling.warps / self.chip.sub_cores
        return g.tensor_share * (1 - g.fewer / max(1.0, warps))

    def _asked(self, r: Round) -> float:
        """Sectors that a CTA asks L2 for a step; CTAs of an SM share what they both read in L1."""
        gy, gx = self.grid
        mine = range(r.first, r.first + r.most * self.chip.sms, self.chip.sms)
        rows = len({(c // (gx * gy), c // gx % gy) for c in mine})
        columns = len({(c // (gx * gy), c % gx) for c in mine})
        lines = [seen * fresh for seen, fresh in zip(self.seen, self.fresh, strict=True)]
        alone = sum(lines) * _K_BYTES / SECTOR
        shared = (rows * lines[0] + columns * lines[1]) * _K_BYTES / SECTOR / r.most
        return alone + self.f.shared_l1 * (shared - alone)

    def _burst(self, r: Round, asked: float) -> float:
        """Cycles that a step's loads queue in L2 and DRAM: by their number, and as it is uneven."""
        f, chip, (gy, gx) = self.f, self.chip, self.grid
        in_plane, planes = min(r.count, gy * gx), max(1.0, r.count / (gy * gx))
        different = min(gy, ceil_div(in_plane, gx)) * planes, min(gx, in_plane) * planes
        step_bytes = sum(n * f for n, f in zip(self.seen, self.fresh, strict=True)) * _K_BYTES
        share = asked * SECTOR / step_bytes
        pitch = 2 * round_up(self.product.sizes[2], PITCH_ALIGN)
        spread = fetched = uneven = 0.0
        sides = zip(different, self.seen, self.product.along_k, self.fresh, strict=True)
        for tiles, lines, along, fresh in sides:
            bytes_ = tiles * lines * _K_BYTES * fresh
            readers = r.count * share / tiles
            spread += bytes_ / SECTOR * (_K_BYTES if along else 2 * _K_BYTES) / SECTOR * readers**2
            run = _K_BYTES * max(1.0, RUN_BYTES / pitch) if along else lines * 2.0
            fetched += bytes_
            uneven += bytes_ * min(run, RUN_BYTES)
        slices = f.l2_mean * r.count * asked + f.l2_spread * sqrt(spread * chip.slices)
        channels = f.dram_mean * fetched + f.dram_spread * sqrt(uneven * chip.channels)
        opened = f.row_mean * self.opened * r.count / self.ctas * self.parts
        return slices / self.l2 + channels / chip.dram_bytes + opened

    def _parts(self, packed: float) -> float:
        """Cycles to store a part of a split product, to arrive, and to add all parts."""
        f, chip, (wm, wn) = self.f, self.chip, self.tiling.warp
        part = self.tiling.cta[0] * self.tiling.cta[1] * 4
        added = smooth_max(
            f.sharp_end,
            part / chip.read_bytes / f.part_share,
            f.part_wait * (wm * wn / 256) ** f.part_power,
        )
        return packed * part / chip.write_bytes + f.arrive + self.parts * added

    def _activations(self) -> float:
        """DRAM rows opened by all parts a step of each: for pieces of lines if closed meanwhile.

        A row stays open from step to step, and from CTA to CTA, if no other row of its bank is
        read from meanwhile: what counts is how many are read from. Of lines along K, those of the
        blocks where parts of lines have got to; of others, the lines of a step of each part.
        """
        product, chip = self.product, self.chip
        blocks = chip.row_bytes // chip.interleave
        reading = least = touched = 0.0
        sides = zip(product.stored, product.along_k, self.tiling.cta, (False, True), strict=True)
        for lines, along, extent, right in sides:
            if right and product.windows is not None:
                # neighbouring tiles read neighbouring pixels of a channel at about the same time
                bytes_ = product.windows.bytes / self.all_steps
                reading += self.parts * bytes_ / chip.row_bytes
                least += bytes_ / chip.row_bytes
                touched += bytes_ / chip.interleave
            elif along:
                pitch = 2 * round_up(product.sizes[2], PITCH_ALIGN)
                rows = lines * pitch / chip.row_bytes
                share = min(1.0, self.parts * chip.interleave / pitch)
                reading += rows * (1 - (1 - share) ** blocks)
                least += rows / self.all_steps
                touched += lines / max(1.0, ROW_REACH / pitch)
            else:
                bytes_ = 2 * lines * STEP_K
                rows = bytes_ / chip.row_bytes
                reading += self.parts * rows
                least += rows
                touched += bytes_ / min(2 * extent, 2 * lines, chip.interleave)
        return max(least, touched * self._closed(reading))

    def _closed(self, reading: float) -> float:
        """Share of DRAM rows that are closed before they are used again, of so many in use."""
        f, banks = self.f, self.chip.dram_banks
        return 1 - exp(-((reading / (f.open_rows * banks)) ** f.open_power))

    def _loaded_bytes(self) -> float:
        """Bytes of operands from DRAM: once, or again for each wave if L2 cannot keep them."""
        (m, n, k), (gy, gx) = self.product.sizes, self.grid
        # lines along K have padding, those along M or N are read in whole steps
        depths = (
            round_up(k, PITCH_ALIGN) if along else self.all_steps * STEP_K
            for along in self.product.along_k
        )
        operands = [2.0 * s * d for s, d in zip(self.product.stored, depths, strict=True)]
        if self.product.windows is not None:
            operands[1] = self.product.windows.bytes
        once = self.product.groups * sum(operands)
        if self.product.windows is not None or 2 * k * min(m, n) < self.chip.l2_capacity / 2:
            return once
        wave = max(1, self.held * self.chip.sms)
        columns, rows = min(gx, wave), min(gy, ceil_div(wave, gx))
        waves = ceil_div(gy * gx, wave)
        again = 2.0 * k * waves * (rows * self.tiling.cta[0] + columns * self.tiling.cta[1])
        return max(once, again)

    def _written_rows(self, written: float) -> float:
        """DRAM rows opened for bytes of results: L2 writes lines back in no order of rows."""
        lines = written / (LINE_SECTORS * SECTOR)
        return self.f.written_rows * lines * self._closed(written / self.chip.row_bytes)
