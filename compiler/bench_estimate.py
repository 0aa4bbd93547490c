"""`dstc bench gemm --mode estimate`: a generated product's cycles in closed form.

In: a `Gemm`, a machine, an engine or a schedule. Out: the row of `run_gemm`, of which what only a
simulation knows is None. The operands' popcounts are counted; no code is generated.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from ..dialects.dstc import Engine, MatmulOp, ScheduleAttr
from ..passes.choose import Choice, Chooser, attach_chooser
from ..passes.cost import ScheduledProduct
from ..passes.cost_chip import Chip
from ..passes.cost_operands import Operands
from ..runtime.formats import encode
from ..runtime.machine import Machine
from .bench import F16, Gemm, gemm_module, peak_rss_bytes, schedule_facts, sparsity
from .bounds import Tiles, dense_bounds, dual_bounds
from .driver import new_context, run_pipeline
from .estimate import MODE, estimate_facts, launch_time_us
from .pipelines import pipeline
from .tune import Tuner


def scheduled(
    gemm: Gemm, machine: Machine, engine: str = "auto", schedule: ScheduleAttr | None = None
) -> ScheduledProduct:
    """The product with the schedule that `compile_gemm` would give it, without compiling it."""
    return _scheduled(gemm, machine, engine, schedule)[0]


def _scheduled(
    gemm: Gemm,
    machine: Machine,
    engine: str,
    schedule: ScheduleAttr | None,
    tune: int = 0,
    tuner: Tuner | None = None,
) -> tuple[ScheduledProduct, list[Choice]]:
    """The product as scheduled, and how that was chosen, unless it was given."""
    ctx = new_context()
    module = gemm_module(ctx, gemm, schedule)
    chooser = Chooser((tuner or Tuner()) if tune else None)
    attach_chooser(ctx, chooser)
    specs = pipeline("encoded-inputs", machine=machine.name, engine=engine, tune=tune)
    last = next(i for i, spec in enumerate(specs) if spec.startswith("select-schedule"))
    run_pipeline(ctx, module, specs[: last + 1], machine=machine)
    return _only_product(module), chooser.choices


def _only_product(module: ModuleOp) -> ScheduledProduct:
    (op,) = (op for op in module.walk() if isinstance(op, MatmulOp))
    return ScheduledProduct.of(op)


def counted(product: ScheduledProduct, a: F16, b: F16, chip: Chip) -> Operands | None:
    """The popcounts that the product's engine depends on; the others on none."""
    if product.schedule.engine != Engine.DUAL:
        return None
    window = product.schedule.vectors
    encoded = encode(a, "a", window=window), encode(b, "b", window=window)
    return Operands.counted(*encoded, chip.empty_step)


def estimate_gemm(
    gemm: Gemm,
    machine: Machine,
    engine: str = "auto",
    schedule: ScheduleAttr | None = None,
    tune: int = 0,
    tuner: Tuner | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """One row of `dstc bench gemm --mode estimate --json`; see `run_gemm`."""
    started = time.perf_counter()
    product, choices = _scheduled(gemm, machine, engine, schedule, tune, tuner)
    compiled = time.perf_counter()
    a, b = gemm.operands()
    chip = Chip.of(machine)
    prediction = product.predict(chip, counted(product, a, b, chip))
    chosen = product.schedule.attr
    tiles, sizes = Tiles(chosen.cta_tile, chosen.warp_tile), product.sizes
    if chosen.engine.data != Engine.DUAL:
        left = sparsity(gemm, chosen)
        bounds = dense_bounds(sizes, tiles, machine, product.out_bytes, left)
    else:
        bounds = dual_bounds(a, b, tiles, machine, product.out_bytes)
    seconds = prediction.cycles / (machine["clock.core_mhz"] * 1e6)
    return {
        **asdict(gemm),
        "a_density_measured": np.count_nonzero(a) / a.size,
        "b_density_measured": np.count_nonzero(b) / b.size,
        "machine": machine.name,
        "engine": chosen.engine.data,
        "mode": MODE,
        "schedule": schedule_facts(chosen),
        "cycles": round(prediction.cycles),
        "time_us": launch_time_us(prediction.cycles, machine),
        "tflops": 2 * gemm.m * gemm.n * gemm.k / seconds / 1e12,
        "wall_seconds": time.perf_counter() - compiled,
        "compile_seconds": compiled - started,
        "bounds": bounds,
        "peak_rss_bytes": peak_rss_bytes(),
        **dict.fromkeys(("warp_instructions", "bit_exact", "stalls", "occupancy", "counters")),
        **estimate_facts(prediction),
        "choice": choices[0].to_json() if explain and choices else None,
    }
