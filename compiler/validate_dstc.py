"""The published curve of the dual-side core, a product by densities, and ours beside it.

In: the published points, a machine. Out: facts of each point: simulated cycles over those of dense
operands, what the quantisation of condensed vectors alone says, what is published; and a summary.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..dialects.dstc import Engine
from ..passes.cost_operands import expected_chunks
from ..passes.plain_schedule import Schedule
from ..runtime.formats import OHMMA_A, OHMMA_B
from ..runtime.machine import Machine
from .bench import Gemm, run_gemm, select_gemm

_FILE = Path(__file__).parent / "data" / "dstc_spgemm_fig21.json"
POINTS = ("published", "all")
"""Which points: those that are published, or a grid of densities that includes them."""
A_DENSITIES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.05)
B_DENSITIES = (1.0, 0.4, 0.1)
"""The grid, A's side in steps of 8 and B's in steps of 16."""
JUDGED_A = 0.5
"""Published points up to this density of A are judged: there quantisation explains the curve."""
WITHIN = 0.1
"""How far from the published ratio a judged point may be, as a share of it."""
_SETS_OHMMAS = (32 // OHMMA_A) * (32 // OHMMA_B)
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """The data file: where it is from, how sure that is, and ratios by (A's, B's density)."""

    origin: str
    confidence: str
    machine: str
    size: int
    ratios: Mapping[tuple[float, float], float]


def published() -> Published:
    """The published points, normalised to dense operands."""
    data = json.loads(_FILE.read_text(encoding="utf-8"))
    raw = {(r["a_density"], r["b_density"]): r["raw"] for r in data["rows"]}
    ratios = {point: value / raw[1.0, 1.0] for point, value in raw.items()}
    return Published(data["origin"], data["confidence"], data["machine"], data["size"], ratios)


def points(which: str, data: Published) -> list[tuple[float, float]]:
    """(A's, B's density) to simulate; the dense point, which all others refer to, is the first."""
    if which == "published":
        return list(data.ratios)
    return [(a, b) for b in B_DENSITIES for a in A_DENSITIES]


def quantisation(a_density: float, b_density: float) -> float:
    """Expected OHMMAs over those of dense operands, for independent zeros: 0 to 1.

    The mean of ceil(nA / 8) ceil(nB / 16) over 8, nA and nB binomial among 32.
    """
    expected = expected_chunks(a_density, OHMMA_A) * expected_chunks(b_density, OHMMA_B)
    return expected / _SETS_OHMMAS


def simulate_point(
    point: tuple[float, float],
    machine: Machine,
    size: int,
    *,
    dense_cycles: int | None,
    seed: int = 0,
    threads: int | None = None,
    data: Published,
) -> dict[str, Any]:
    """Facts of one point: a size^3 product, f16 result, A on the side in steps of 8.

    `dense_cycles`: those of the dense point, None for that point itself. The result is compared
    with numpy, bit for bit, at the crossings of 64 rows and 64 columns.
    """
    started = time.perf_counter()
    gemm = Gemm(size, size, size, *point, seed=seed, out="f16")
    chosen = Schedule.of(select_gemm(gemm, machine, Engine.DUAL))
    schedule = replace(chosen, swapped=False).attr
    row = run_gemm(gemm, machine=machine, schedule=schedule, threads=threads, check="lines")
    cycles = row["cycles"]
    spent = {cause: n for cause, n in row["stalls"].items() if cause not in ("issued", "no_warp")}
    limit = max(spent, key=lambda cause: spent[cause])
    ratio, bound = cycles / (dense_cycles or cycles), quantisation(*point)
    known = data.ratios.get(point)
    return {
        "a_density": point[0],
        "b_density": point[1],
        "normalised": ratio,
        "quantisation": bound,
        "published": known,
        "difference": None if known is None else ratio / known - 1,
        "quantisation_difference": None if known is None else bound / known - 1,
        "judged": known is not None and point[0] <= JUDGED_A,
        "cycles": cycles,
        "ohmma_cycles": row["bounds"]["ohmma"],
        "schedule": row["schedule"],
        "limit": limit,
        "limit_share": spent[limit] / max(1, sum(row["stalls"].values())),
        "bounds": row["bounds"],
        "stalls": row["stalls"],
        "counters": row["counters"],
        "bit_exact": row["bit_exact"],
        "wall_seconds": time.perf_counter() - started,
    }


def summary(rows: Sequence[Facts]) -> dict[str, Any]:
    """The largest differences from the published points, of all and of those that are judged."""

    def largest(some: Sequence[Facts], key: str) -> float | None:
        return max((abs(r[key]) for r in some), default=None)

    known = [r for r in rows if r["published"] is not None]
    judged = [r for r in known if r["judged"]]
    return {
        "points": len(rows),
        "published": len(known),
        "judged": len(judged),
        "largest": largest(known, "difference"),
        "largest_judged": largest(judged, "difference"),
        "largest_quantisation": largest(known, "quantisation_difference"),
        "above_quantisation": max(r["normalised"] / r["quantisation"] - 1 for r in rows),
    }


def missed(rows: Sequence[Facts]) -> list[str]:
    """Judged points that are further from the published ratio than `WITHIN`, one line each."""
    return [
        f"densities {r['a_density']:g} / {r['b_density']:g}: {r['normalised']:.3f}, published "
        f"{r['published']:.3f}, wanted within {100 * WITHIN:g} %"
        for r in rows
        if r["judged"] and abs(r["difference"]) > WITHIN
    ]
