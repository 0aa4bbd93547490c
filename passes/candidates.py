"""The schedules that a product may get, as a table of what our kernels offer. Not a pass.

In: sizes, a machine, an engine or `auto`. Out: every schedule that the machine has the unit,
registers, shared memory and accumulators for. A new tile, engine or split is one row here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import SPLIT_STEP, ceil_div
from ..backend.isa.table import TILE_M
from ..dialects.dstc import Engine
from ..runtime.machine import MACHINE_OF, Machine
from .plain_schedule import Schedule

AUTO = "auto"
Size2 = tuple[int, int]

MOST_SCRATCH = 1 << 25
"""Bytes of partial results that a split product may take on the device."""
MOST_ROUNDS = 8
"""Split no further once this many CTAs an SM have something to do."""


@dataclass(frozen=True)
class Tiles:
    """A kernel's CTA tile, warp tile (M x N) and the depths of operand pipeline worth trying.

    `window`: vectors that its operands condense over; beyond 32 the machine must have it.
    """

    cta: Size2
    warp: Size2
    stages: tuple[int, ...]
    window: int = TILE_M


@dataclass(frozen=True)
class Kernels:
    """What the code generator offers for one engine.

    `feature`: what the machine must have; `swaps`: which operand may take the 8-side or be the
    sparse one; `splits`: parts of K to try; `accumulators`: the results of a warp stand in the
    accumulation buffer.
    """

    tiles: tuple[Tiles, ...]
    feature: str | None = None
    swaps: tuple[bool, ...] = (False,)
    splits: tuple[int, ...] = (1,)
    accumulators: bool = False


def _tiles(
    stages: tuple[int, ...], *pairs: tuple[Size2, Size2], window: int = TILE_M
) -> tuple[Tiles, ...]:
    return tuple(Tiles(cta, warp, stages, window) for cta, warp in pairs)


_LARGE: tuple[tuple[Size2, Size2], ...] = (
    ((128, 128), (64, 64)),
    ((64, 256), (64, 64)),
    ((256, 64), (64, 64)),
    ((128, 64), (64, 64)),
    ((64, 128), (64, 64)),
    ((64, 64), (64, 64)),
)
"""Warps of 64x64: a step brings four tiles for four products."""
_LARGER: tuple[tuple[Size2, Size2], ...] = (
    ((128, 256), (64, 128)),
    ((256, 128), (128, 64)),
    ((256, 256), (64, 128)),
    ((256, 256), (128, 64)),
)
"""Six for eight, where the accumulation buffer holds them."""
_LARGEST: tuple[tuple[Size2, Size2], ...] = (
    ((256, 256), (128, 128)),
    ((128, 512), (128, 128)),
    ((512, 128), (128, 128)),
)
"""With a window of 64: a warp's tile fills a sub-core's share of 64 KB. Two warps of half of that
load more, and took a quarter longer."""


KERNELS: dict[Engine, Kernels] = {
    Engine.DENSE: Kernels(
        _tiles(
            (2,),
            ((128, 128), (64, 64)),
            ((128, 64), (64, 32)),
            ((64, 128), (32, 64)),
            ((64, 64), (32, 32)),
            ((64, 128), (32, 32)),
            ((128, 32), (32, 32)),
            ((32, 128), (32, 32)),
            ((32, 64), (32, 32)),
            ((32, 64), (16, 32)),
            ((64, 32), (32, 16)),
            ((32, 32), (16, 16)),
            ((16, 128), (16, 32)),
            ((16, 64), (16, 32)),
            ((128, 16), (32, 16)),
            ((64, 16), (32, 16)),
        ),
        splits=(1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64),
    ),
    Engine.DUAL: Kernels(
        (
            *_tiles((4,), *_LARGE, ((128, 256), (64, 64)), ((256, 128), (64, 64))),
            *_tiles((2,), *_LARGER, ((256, 256), (128, 128))),
            *_tiles((4,), ((64, 128), (32, 64)), ((128, 64), (64, 32)), ((64, 32), (64, 32))),
            *_tiles((4,), ((32, 64), (32, 64))),
            *_tiles((8, 4), ((64, 64), (32, 32)), ((32, 64), (32, 32)), ((32, 32), (32, 32))),
            *_tiles((4,), *_LARGE, *_LARGER[:2], window=64),
            *_tiles((4,), ((128, 256), (64, 64)), ((256, 128), (64, 64)), window=64),
            *_tiles((3,), *_LARGEST, window=64),
        ),
        feature="dual_side",
        swaps=(False, True),
        splits=(1, 2, 3, 4, 6, 8),
        accumulators=True,
    ),
    Engine.NM: Kernels(
        _tiles(
            (2,),
            ((256, 128), (64, 64)),
            ((128, 256), (64, 64)),
            ((128, 128), (64, 64)),
            ((128, 64), (64, 64)),
            ((64, 128), (64, 64)),
            ((64, 64), (64, 64)),
            ((128, 64), (32, 64)),
            ((64, 128), (64, 32)),
            ((64, 64), (64, 32)),
            ((64, 64), (32, 64)),
            ((64, 64), (32, 32)),
            ((128, 64), (32, 32)),
            ((64, 128), (32, 32)),
            ((128, 128), (32, 32)),
        ),
        feature="nm",
        swaps=(False, True),
    ),
}
"""Engine -> its kernels. Stages of the dual engine divide the 8 steps of a turn of its loop, so
that no register is copied; more do not fit into a lane's 255 registers, or gained nothing. Of
depths alike in prediction the first is taken: 8 took 0.96 of the cycles of 4 in 52 pairs."""
_WINDOWS = {TILE_M: set[str](), 64: {"window_64", "sequencer"}}
"""Window -> the features that it needs beside those of the engine."""


def engines(machine: Machine, engine: str = AUTO) -> list[Engine]:
    """The engines to consider; raises `DstcError` for one that is unknown or not in the machine."""
    there = [e for e, k in KERNELS.items() if k.feature is None or k.feature in machine.features]
    if engine == AUTO:
        return there
    if engine not in tuple(Engine):
        raise DstcError(f"engine {engine!r} is not known; use {', '.join((AUTO, *Engine))}")
    if engine not in there:
        raise DstcError(
            f"machine {machine.name} has no {_UNITS[Engine(engine)]}; use --engine dense or "
            f"--machine {MACHINE_OF[KERNELS[Engine(engine)].feature or '']}"
        )
    return [Engine(engine)]


_UNITS = {Engine.DUAL: "dual-side tensor core", Engine.NM: "weight-only n:m tensor core"}
"""Engine -> the unit that a machine may lack."""


def candidates(
    sizes: tuple[int, int, int], machine: Machine, engine: str = AUTO
) -> Iterator[Schedule]:
    """Every schedule for an M x N x K product; whether registers suffice, the closed forms say."""
    m, n, k = sizes
    sms = int(machine["sm.count"])
    for name in engines(machine, engine):
        kernels = KERNELS[name]
        for tiles in kernels.tiles:
            (cm, cn), (wm, wn) = tiles.cta, tiles.warp
            if not _WINDOWS[tiles.window] <= set(machine.features):
                continue
            if kernels.accumulators and wm * wn > machine["accumulator.tiles"] * 32 * 32:
                continue
            ctas = ceil_div(m, cm) * ceil_div(n, cn)
            for split in kernels.splits:
                scratch = ctas * split * cm * cn * 4
                if split > 1 and (
                    split > ceil_div(k, SPLIT_STEP)
                    or scratch > MOST_SCRATCH
                    or ctas * split > MOST_ROUNDS * sms
                ):
                    break
                for stages in tiles.stages:
                    for swap in kernels.swaps:
                        yield Schedule(
                            name, tiles.cta, tiles.warp, stages, swap, split, tiles.window
                        )
