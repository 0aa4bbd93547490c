"""Lower bounds on the cycles of a matrix product, from its operands and the machine alone.

In: operands (numpy f16), the tiles of a schedule, a machine. Out: cycles by resource, which no
program can undercut: what must pass through the resource by how much the machine passes a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.layout import ceil_div
from ..backend.isa.table import HMMA_MACS, TILE_K, TILE_M
from ..passes.cost_issue import squash_of, step_slots
from ..runtime.formats import Bitmap, encode, statistics
from ..runtime.machine import Machine

F16 = NDArray[np.float16]
I64 = NDArray[np.int64]

RESOURCES = (
    "ohmma", "hmma", "issue", "shared_memory", "l1", "l2", "store", "accumulator", "dram"
)  # fmt: skip
"""Keys of the bounds. None where the engine does not use the resource."""

FRAGMENT = 16
"""HMMA works on 16 x 16 x 16 fragments, padding included."""
WAVEFRONT_BYTES = 128
ACCESS_BYTES = 512
"""Most that one warp instruction loads or stores: 16 bytes a lane."""
_TILE_BYTES = 16 * 4
"""Element bitmaps of a tile."""
_HEADER_BYTES = 4


@dataclass(frozen=True)
class Tiles:
    """M x N sizes of a schedule's tiles, in elements."""

    cta: tuple[int, int]
    warp: tuple[int, int]


@dataclass(frozen=True)
class Sparsity:
    """An n:m operand of a product: the left (0) or the right (1)."""

    n: int
    m: int
    which: int

    @property
    def share(self) -> float:
        """Values kept."""
        return self.n / self.m

    @property
    def stored(self) -> float:
        """Bytes by those of the dense operand, values and indices."""
        return self.share * (1 + (self.m - 1).bit_length() / 16)


def dense_bounds(
    sizes: tuple[int, int, int],
    tiles: Tiles,
    machine: Machine,
    out_bytes: int = 4,
    sparse: Sparsity | None = None,
    image_bytes: int | None = None,
) -> dict[str, float | None]:
    """Bounds of an M x N x K product on the dense engine; `out_bytes` an element of the result.

    With `sparse` on the nm engine: fewer instructions, fewer bytes of one operand and its indices.
    With `image_bytes` the right operand is windows of an image of so many bytes.

    hmma: 16 x 16 x 16 fragments, 16 HMMA of 256 MAC each, `hmma.interval` apart. shared_memory:
    each warp reads its operands, each CTA writes them, 128 bytes a cycle and SM. issue: those
    HMMA, reads and writes of 512 bytes an instruction. l2: operands once for each block of the
    result that an SM's registers hold. store: the result. dram: operands once, and of the result
    what L2 cannot keep.
    """
    m, n, k = sizes
    sub_cores = machine["sm.count"] * machine["sm.sub_cores"]
    depth = ceil_div(k, FRAGMENT)
    hmma = ceil_div(m, FRAGMENT) * ceil_div(n, FRAGMENT) * depth * (FRAGMENT**3 // HMMA_MACS)
    hmma = hmma * (sparse.share if sparse else 1)
    kept, shares = [1.0, 1.0], [1.0, 1.0]
    if sparse:
        kept[sparse.which], shares[sparse.which] = sparse.share, sparse.stored
    staged = sum(
        ceil_div(m, tm) * ceil_div(n, tn) * (kept[0] * tm + kept[1] * tn) * depth * FRAGMENT * 2
        for tm, tn in _within(tiles, m, n)
    )
    right = 2 * k * n if image_bytes is None else image_bytes
    loaded, stored = 2 * shares[0] * m * k + shares[1] * right, out_bytes * m * n
    accesses = (loaded + stored + staged) / ACCESS_BYTES
    bm, bn = _block(tiles.cta, int(machine["sm.registers"]))
    blocks = ceil_div(m, bm) * ceil_div(n, bn)
    fetched = 2 * k * ceil_div(n, bn) * m + ceil_div(m, bm) * right
    return _bounds(
        hmma=hmma * machine[f"{'hmma_sp' if sparse else 'hmma'}.interval"] / sub_cores,
        issue=(hmma + accesses) / sub_cores,
        shared_memory=staged / WAVEFRONT_BYTES / machine["sm.count"],
        l1=loaded / _l1_bytes(machine),
        l2=_l2(machine, fetched, loaded, blocks),
        store=stored / _write_bytes(machine),
        dram=_dram(machine, loaded, stored),
    )


def dual_bounds(
    a: F16, b: F16, tiles: Tiles, machine: Machine, out_bytes: int = 4
) -> dict[str, float | None]:
    """Bounds of the product of a (M x K) and b (K x N) on the dual-side engine.

    ohmma: sum over k and pairs of vectors of ceil(nA/8) * ceil(nB/16), for the better orientation
    and the best of the machine's windows, `ohmma.interval` apart. accumulator: each 32 x 32 tile is
    read once, `accumulator.rows_per_cycle`. l1: each warp reads header, bitmaps and values of tiles
    that meet a tile with non-zeros. l2: those of each block of the result that an SM's
    accumulation buffers hold. issue: an SPWMMA a pair of such tiles (without a sequencer its
    BOHMMAs and OHMMAs), reads and stores of 512 bytes an instruction. store: the result. dram:
    those tiles once, and of the result what L2 cannot keep.
    """
    m, n = a.shape[0], b.shape[1]
    sub_cores = machine["sm.count"] * machine["sm.sub_cores"]
    left, right = encode(a, "a"), encode(b, "b")
    windows = (TILE_M, 64) if "window_64" in machine.features else (TILE_M,)
    counted = [
        statistics(encode(one, "a", window=window), encode(other, "b", window=window))
        for window in windows
        for one, other in ((a, b), (b.T, a.T))
    ]
    ohmma = min(found.ohmma_issued for found in counted)
    header = _HEADER_BYTES * TILE_M / windows[-1]
    once = _tile_bytes(left, right, 0, 0, header)
    read = _tile_bytes(left, right, tiles.warp[0] // TILE_M, tiles.warp[1] // TILE_M, header)
    stored = out_bytes * m * n
    held = machine["accumulator.tiles"] * machine["sm.sub_cores"] * TILE_M * TILE_M
    bm, bn = (ceil_div(x, TILE_M) for x in _block(tiles.cta, held))
    blocks = ceil_div(m, bm * TILE_M) * ceil_div(n, bn * TILE_M)
    products: float = min(found.steps_issued for found in counted)
    if (squash := squash_of(machine)) is not None:
        products = step_slots(ohmma, products, squash, others=TILE_K)
    rows = ceil_div(m, TILE_M) * ceil_div(n, TILE_M) * TILE_M
    return _bounds(
        ohmma=ohmma * machine["ohmma.interval"] / sub_cores,
        issue=(products + (read + stored) / ACCESS_BYTES) / sub_cores,
        l1=read / _l1_bytes(machine),
        l2=_l2(machine, _tile_bytes(left, right, bm, bn, header), once, blocks),
        store=stored / _write_bytes(machine),
        accumulator=rows / machine["accumulator.rows_per_cycle"] / sub_cores,
        dram=_dram(machine, once, stored),
    )


def _bounds(**known: Any) -> dict[str, float | None]:
    return {name: None if (x := known.get(name)) is None else float(x) for name in RESOURCES}


def _within(tiles: Tiles, m: int, n: int) -> list[tuple[int, int]]:
    """CTA and warp tile, cut to what the matrices fill in fragments."""
    whole = ceil_div(m, FRAGMENT) * FRAGMENT, ceil_div(n, FRAGMENT) * FRAGMENT
    return [(min(tm, whole[0]), min(tn, whole[1])) for tm, tn in (tiles.cta, tiles.warp)]


def _l1_bytes(machine: Machine) -> float:
    """Bytes a cycle of all L1 caches."""
    return 32 * machine["l1.sectors_per_cycle"] * machine["sm.count"]


def _block(cta: tuple[int, int], held: int) -> tuple[int, int]:
    """The block of CTAs' tiles within `held` elements that needs the fewest operands an element."""
    (cm, cn), most = cta, max(1, held // (cta[0] * cta[1]))
    shapes = [(cm * i, cn * (most // i)) for i in range(1, most + 1)]
    return min(shapes, key=lambda s: 1 / s[0] + 1 / s[1])


def _l2(machine: Machine, fetched: float, once: float, blocks: int) -> float:
    """Cycles to bring `fetched` bytes from L2 to SMs, but for what L1 may keep between blocks."""
    kept = max(0, blocks - machine["sm.count"]) * machine["l1.capacity_bytes"]
    ports = machine["noc.read_bytes_per_sm_cycle"] * machine["sm.count"]
    return max(once, fetched - kept) / min(ports, _l2_bytes(machine))


def _l2_bytes(machine: Machine) -> float:
    """Bytes a cycle of all slices."""
    return 32 * machine["l2.slices"] * machine["l2.sectors_per_slice_cycle"]


def _write_bytes(machine: Machine) -> float:
    """Bytes a cycle that SMs can send, and L2 can take."""
    ports = machine["noc.write_bytes_per_sm_cycle"] * machine["sm.count"]
    return min(ports, _l2_bytes(machine))


def _dram(machine: Machine, loaded: float, stored: float) -> float:
    """Cycles to load, and to store what exceeds the write-back L2."""
    a_second = machine["dram.peak_gb_s"] * machine["dram.efficiency"] * 1e9
    a_cycle = a_second / (machine["clock.core_mhz"] * 1e6)
    return (loaded + max(0.0, stored - machine["l2.capacity_bytes"])) / a_cycle


def _tile_bytes(a: Bitmap, b: Bitmap, group_a: int, group_b: int, header: float) -> float:
    """Bytes of tiles that warps read: of `group_a` x `group_b` tiles each, or (0) one in all.

    A warp needs the bitmaps and values of a tile that meets a tile with non-zeros; headers, of
    `header` bytes a tile, always.
    """
    total = 0.0
    for one, other, group in ((a, b, group_b), (b, a, group_a)):
        counts = one.tile_counts()
        sizes = np.where(counts > 0, 2 * counts + _TILE_BYTES, 0)
        occupied = other.tile_counts() > 0
        readers = _groups(occupied, group or len(occupied))
        total += int(sizes.sum(axis=0) @ readers)
        total += header * counts.size * ceil_div(len(occupied), group or len(occupied))
    return total


def _groups(occupied: NDArray[np.bool_], size: int) -> I64:
    """At each depth, how many groups of `size` rows of tiles have a tile with non-zeros."""
    padded = np.pad(occupied, ((0, -len(occupied) % size), (0, 0)))
    grouped = padded.reshape(-1, size, occupied.shape[1])
    return grouped.any(axis=1).sum(axis=0, dtype=np.int64)
