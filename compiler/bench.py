"""Measured matrix products: generated operands through the same passes and executor as models.

In: sizes, densities, a zero pattern, a seed, a machine, an engine. Out: a row of facts: cycles,
schedule, bounds, and whether the device's result is numpy's, bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import FloatAttr, ModuleOp, TensorType, f16, f32, f64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.rewriter import InsertPoint

from ..backend.isa.errors import DstcError
from ..backend.isa.layout import ceil_div
from ..backend.isa.table import TILE_K, TILE_M
from ..dialects.dstc import OCCUPIED_VECTORS, Engine, MatmulOp, ScheduleAttr
from ..dialects.interpreters.dstc import engine_skips, matmul_f32, matmul_split
from ..passes.choose import schedule_facts
from ..runtime.device import Device
from ..runtime.machine import Machine
from ..runtime.nm_format import PATTERNS as NM_PATTERNS
from ..runtime.nm_format import Pattern, prune
from .api import Compiled, compile_module
from .bounds import Sparsity, Tiles, dense_bounds, dual_bounds
from .driver import new_context, run_pipeline
from .estimate import MODE as ESTIMATE
from .pipelines import filled
from .tune import Tuner

F16 = NDArray[np.float16]

PATTERNS = ("random", "block", *map(str, NM_PATTERNS))
"""Where the zeros are: each element by itself, whole 32 x 16 tiles of the bitmap format, or random
and one operand pruned to n:m besides."""

OUTPUTS = ("f32", "f16")
"""Types of a result; sums are f32 in either case."""

_LINES = 64
"""Rows and columns at whose crossings a result is compared where not all of it is."""
_DEVICE_BYTES = 1 << 32
"""The device's address space."""


@dataclass(frozen=True)
class Gemm:
    """C (m x n) = A (m x k, f16) times B (k x n, f16), with operands generated from `seed`.

    Densities are the expected shares of non-zeros, 0 to 1; 0 means none and 1 all. With `trans_a`
    A is stored k x m, with `trans_b` B is stored n x k; `out` is the type of C, f32 or f16. With an
    n:m pattern the operand `pattern_side`, a or b, is pruned to it along k. Of the 32x16 tiles of
    A and B the shares `tiles` have non-zeros at all; with pattern block all of a tile is. Raises
    `DstcError` for sizes that are not positive or too large, densities out of range, an unknown
    pattern or type.
    """

    m: int
    n: int
    k: int
    a_density: float = 1.0
    b_density: float = 1.0
    pattern: str = "random"
    seed: int = 0
    trans_a: bool = False
    trans_b: bool = False
    out: str = "f32"
    pattern_side: str = "a"
    tiles: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("m", "n", "k"):
            if getattr(self, name) < 1:
                raise DstcError(f"-{name} {getattr(self, name)}: a size is a positive number")
        for name in ("a_density", "b_density"):
            if not 0 <= getattr(self, name) <= 1:
                option = name.replace("_", "-")
                raise DstcError(f"--{option} {getattr(self, name):g}: a density is 0 to 1")
        if self.pattern not in PATTERNS:
            raise DstcError(f"pattern {self.pattern!r} is not known; use {', '.join(PATTERNS)}")
        if self.pattern_side not in ("a", "b"):
            raise DstcError(f"--pattern-side {self.pattern_side}: an operand is a or b")
        if self.out not in OUTPUTS:
            raise DstcError(f"--out {self.out}: a result is {' or '.join(OUTPUTS)}")
        if self.seed < 0:
            raise DstcError(f"--seed {self.seed}: a seed is not negative")
        if 2 * self.k * (self.m + self.n) + 4 * self.m * self.n >= _DEVICE_BYTES:
            raise DstcError(
                f"{self.m} x {self.n} x {self.k}: does not fit the device's 4 GiB; take less"
            )

    def operands(self) -> tuple[F16, F16]:
        """A (m x k) and B (k x n): normal values, none of them zero or -0, where not masked."""
        rng = np.random.default_rng(self.seed)
        a = self._operand(rng, (self.m, self.k), self.a_density, (TILE_M, TILE_K), self.tiles[0])
        b = self._operand(rng, (self.k, self.n), self.b_density, (TILE_K, TILE_M), self.tiles[1])
        if self.nm is not None:
            pruned = prune(b if self.pattern_side == "b" else a, self.nm, self.pattern_side)
            return (a, pruned) if self.pattern_side == "b" else (pruned, b)
        return a, b

    @property
    def nm(self) -> Pattern | None:
        """The n:m pattern of one operand."""
        return Pattern.parse(self.pattern) if ":" in self.pattern else None

    @property
    def expected(self) -> tuple[float, float]:
        """Densities to expect of A and B, 0 to 1: after pruning, n of each m are left at most."""
        found = [self.a_density, self.b_density]
        if self.nm is not None:
            which, (n, m) = "ab".index(self.pattern_side), (self.nm.n, self.nm.m)
            p = found[which]
            found[which] = sum(
                min(i, n) * comb(m, i) * p**i * (1 - p) ** (m - i) for i in range(m + 1)
            ) / m  # fmt: skip
        return found[0], found[1]

    @property
    def occupied(self) -> tuple[list[float] | None, list[float] | None]:
        """Of A and B, as of `dstc.matmul`: what to expect where whole tiles are zero."""
        shares = (self.a_density, self.b_density) if self.pattern == "block" else self.tiles
        a, b = (
            [1 - (1 - p) ** (vectors // TILE_M) for vectors in OCCUPIED_VECTORS] if p < 1 else None
            for p in shares
        )
        return a, b

    def _operand(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int],
        density: float,
        tile: tuple[int, int],
        occupied: float,
    ) -> F16:
        values = rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
        values[values == 0] = 1
        share = density if self.pattern == "block" else occupied
        kept = np.ones(shape, np.bool_)
        if self.pattern != "block":
            kept = rng.random(shape, dtype=np.float32) < density / max(share, 1e-9)
        if share < 1:
            tiles = rng.random([ceil_div(s, t) for s, t in zip(shape, tile, strict=True)]) < share
            kept &= np.kron(tiles, np.ones(tile, np.bool_))[: shape[0], : shape[1]]
        return np.where(kept, values, np.float16(0))


def gemm_module(ctx: Context, gemm: Gemm, schedule: ScheduleAttr | None = None) -> ModuleOp:
    """`func.func @main(%a: tensor<MxKxf16>, %b: tensor<KxNxf16>) -> tensor<MxNxf32>`, or as stored.

    One `dstc.matmul` that carries the densities and, if given, the schedule.
    """
    for dialect in ("builtin", "func", "dstc"):
        ctx.get_dialect(dialect)
    m, n, k = gemm.m, gemm.n, gemm.k
    result = TensorType(f16 if gemm.out == "f16" else f32, [m, n])
    stored = [k, m] if gemm.trans_a else [m, k], [n, k] if gemm.trans_b else [k, n]
    main = FuncOp("main", ([TensorType(f16, shape) for shape in stored], [result]))
    a, b = main.body.block.args
    a.name_hint, b.name_hint = "a", "b"
    builder = Builder(InsertPoint.at_end(main.body.block))
    product = builder.insert(
        MatmulOp(
            a,
            b,
            None,
            result,
            schedule=schedule,
            a_density=FloatAttr(gemm.expected[0], f64),
            b_density=FloatAttr(gemm.expected[1], f64),
            trans_a=gemm.trans_a,
            trans_b=gemm.trans_b,
            a_pattern=gemm.pattern if gemm.nm is not None and gemm.pattern_side == "a" else None,
            b_pattern=gemm.pattern if gemm.nm is not None and gemm.pattern_side == "b" else None,
            occupied=gemm.occupied,
        )
    )
    product.result.name_hint = "c"
    builder.insert(ReturnOp(product.result))
    return ModuleOp([main])


def select_gemm(gemm: Gemm, machine: Machine, engine: str = "auto") -> ScheduleAttr:
    """The schedule that the product gets; nothing is compiled."""
    ctx = new_context()
    module = gemm_module(ctx, gemm)
    spec = "select-schedule{{machine={machine} engine={engine} encoded-inputs=true}}"
    run_pipeline(ctx, module, filled([spec], machine=machine.name, engine=engine), machine=machine)
    (schedule,) = (op.schedule for op in module.walk() if isinstance(op, MatmulOp))
    assert schedule is not None
    return schedule


def compile_gemm(
    gemm: Gemm,
    machine: Machine,
    engine: str = "auto",
    schedule: ScheduleAttr | None = None,
    tune: int = 0,
    tuner: Tuner | None = None,
) -> tuple[Compiled, ScheduleAttr]:
    """The compiled product, whose bitmap operands arrive encoded, and the schedule it got.

    `tune`, `tuner`: as of `compile_model`.
    """
    ctx = new_context()
    module = gemm_module(ctx, gemm, schedule)
    seen: list[ScheduleAttr] = []

    def look(*_: object) -> None:
        seen.extend(op.schedule for op in module.walk() if isinstance(op, MatmulOp) and op.schedule)

    compiled = compile_module(
        ctx,
        module,
        machine=machine,
        engine=engine,
        pipeline_name="encoded-inputs",
        on_pass=look,
        name="gemm",
        tune=tune,
        tuner=tuner,
    )
    return compiled, seen[-1]


def same_bits(got: NDArray[np.float32], want: NDArray[np.float32]) -> bool:
    """Equal shapes and bits; NaN equals NaN whatever its payload, +0 and -0 differ. f32."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    equal = got.view(np.uint32) == want.view(np.uint32)
    return bool((equal | (np.isnan(got) & np.isnan(want))).all())


def reference(a: F16, b: F16, schedule: ScheduleAttr, out: str) -> NDArray[np.float32]:
    """What the device computes, in the order of additions that the schedule says; `out` as f32."""
    dual = schedule.engine.data == Engine.DUAL
    if schedule.parts > 1:
        exact = matmul_split(a, b, schedule.parts, skip_zeros=dual)
    else:
        exact = matmul_f32(a, b, skip_zeros=engine_skips(schedule))
    with np.errstate(over="ignore"):
        return exact if out == "f32" else exact.astype(np.float16).astype(np.float32)


def run_gemm(
    gemm: Gemm,
    *,
    machine: str | Machine = "dstc",
    engine: str = "auto",
    mode: str = "cycle",
    threads: int | None = None,
    checks: str = "basic",
    check: bool | str = True,
    schedule: ScheduleAttr | None = None,
    tune: int = 0,
    tuner: Tuner | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """One row of `dstc bench gemm --json`; `choice` is there with `explain`.

    Times are None in functional mode; `bit_exact` compares with numpy's rank-1 updates in f32,
    ascending k, in the parts that the schedule splits K into (None without `check`; with `lines`
    at the crossings of 64 rows and 64 columns, as all of a large product takes long); `tflops`
    counts 2mnk whatever is skipped; `bounds` are cycles (`bounds.py`). Raises `DstcError` for what
    the machine cannot do. Mode `estimate` simulates nothing (`bench_estimate.py`).
    """
    target = machine if isinstance(machine, Machine) else Machine.load(machine)
    if mode == ESTIMATE:
        from .bench_estimate import estimate_gemm

        return estimate_gemm(gemm, target, engine, schedule, tune, tuner, explain)
    compiled, chosen = compile_gemm(gemm, target, engine, schedule, tune, tuner)
    a, b = gemm.operands()
    device = Device(target, mode=mode, threads=threads, checks=checks)
    dual = chosen.engine.data == Engine.DUAL
    # an encoded operand is given as the matrix that it encodes, whichever way that is stored
    nm = chosen.engine.data == Engine.NM
    encoded = dual or (nm and not chosen.swapped), dual or (nm and chosen.swapped)
    turned = gemm.trans_a and not encoded[0], gemm.trans_b and not encoded[1]
    stored = [x.T if flip else x for x, flip in zip((a, b), turned, strict=True)]
    inputs = {f"arg{i}": np.ascontiguousarray(x) for i, x in enumerate(stored)}
    result = compiled.run(inputs, device=device, statistics=False)
    exact = None
    if check:
        rows, columns = (_lines(n, check == "lines") for n in (gemm.m, gemm.n))
        got = np.ascontiguousarray(result.outputs["out0"][np.ix_(rows, columns)])
        exact = same_bits(got, reference(a[rows], b[:, columns], chosen, gemm.out))
    tiles = Tiles(chosen.cta_tile, chosen.warp_tile)
    sizes = gemm.m, gemm.n, gemm.k
    bytes_ = 2 if gemm.out == "f16" else 4
    bounds = (
        dual_bounds(a, b, tiles, target, bytes_)
        if dual
        else dense_bounds(sizes, tiles, target, bytes_, sparsity(gemm, chosen))
    )
    (kernel,) = result.kernels
    timed = mode == "cycle"
    seconds = kernel.result.cycles / (target["clock.core_mhz"] * 1e6)
    return {
        "m": gemm.m,
        "n": gemm.n,
        "k": gemm.k,
        "pattern": gemm.pattern,
        "pattern_side": gemm.pattern_side,
        "seed": gemm.seed,
        "trans_a": gemm.trans_a,
        "trans_b": gemm.trans_b,
        "out": gemm.out,
        "a_density": gemm.a_density,
        "b_density": gemm.b_density,
        "tiles": list(gemm.tiles),
        "a_density_measured": np.count_nonzero(a) / a.size,
        "b_density_measured": np.count_nonzero(b) / b.size,
        "machine": target.name,
        "engine": chosen.engine.data,
        "mode": mode,
        "schedule": schedule_facts(chosen),
        "cycles": kernel.result.cycles if timed else None,
        "time_us": result.time_us if timed else None,
        "tflops": 2 * gemm.m * gemm.n * gemm.k / seconds / 1e12 if timed and seconds else None,
        "warp_instructions": result.warp_instructions,
        "wall_seconds": result.wall_seconds,
        "compile_seconds": compiled.seconds,
        "bit_exact": exact,
        "bounds": bounds,
        "stalls": kernel.result.stalls if timed else None,
        "occupancy": kernel.result.occupancy,
        "counters": kernel.result.counters,
        "peak_rss_bytes": peak_rss_bytes(),
        "limit": None,
        "estimate": None,
        "choice": compiled.choices[0].to_json() if explain and compiled.choices else None,
    }


def _lines(count: int, some: bool) -> NDArray[np.int64]:
    """All of `count` lines, or 64 of them, the first and the last included."""
    if not some or count <= _LINES:
        return np.arange(count)
    inner = np.random.default_rng(0).choice(np.arange(1, count - 1), _LINES - 2, replace=False)
    return np.sort(np.concatenate([[0], inner, [count - 1]]))


def sparsity(gemm: Gemm, schedule: ScheduleAttr) -> Sparsity | None:
    """What the nm engine leaves of the product; None on another engine."""
    if schedule.engine.data != Engine.NM or gemm.nm is None:
        return None
    return Sparsity(gemm.nm.n, gemm.nm.m, "ab".index(gemm.pattern_side))


def tightest(row: dict[str, Any]) -> tuple[str, float]:
    """The resource with the largest bound, and that bound in cycles."""
    bounds: dict[str, float | None] = row["bounds"]
    return max(((k, v) for k, v in bounds.items() if v is not None), key=lambda kv: kv[1])


def peak_rss_bytes() -> int | None:
    """Most memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # not a Unix system
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def products(
    sizes: tuple[int, int, int],
    a_densities: Sequence[float],
    b_densities: Sequence[float],
    pattern: str = "random",
    seed: int = 0,
    **stored: Any,
) -> list[Gemm]:
    """Every pair of densities, B's fastest; `stored`: trans_a, trans_b and out of `Gemm`."""
    m, n, k = sizes
    return [Gemm(m, n, k, a, b, pattern, seed, **stored) for a in a_densities for b in b_densities]
