"""The closed form beside the simulator, over random products: how far off is `--mode estimate`?

In: a number of cases and a seed; sizes, densities, patterns, forms, engines and machines are drawn
at random, schedules are the compiler's (or drawn too). Out: percentiles of the error, the worst
rows, the time of an estimate, and all rows as JSON, which `estimate_fit.py` reads.

    python benchmarks/estimate_accuracy.py --cases 200
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from dstc.backend.isa.table import TILE_M
from dstc.compiler.bench import Gemm, run_gemm, schedule_facts
from dstc.compiler.bench_estimate import counted, scheduled
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.choose import choose
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Chip
from dstc.passes.plain_schedule import Schedule
from dstc.runtime.machine import Machine

SIZES = 16, 4096
"""Least and most of M, N and K, which are drawn with even logarithms."""
THIN = 96
"""Most of one size of a thin case, of which the closed forms have more to learn than of others."""
MOST_WORK = 2**29.5
"""Multiply-adds of a case at most, so that hundreds take minutes."""
LEAST_DENSITY = 0.02
MACHINES = {"dual": ("dstc", "dstc", "dstc-plus"), "dense": ("v100", "dstc")}
"""Engine -> machines to draw from."""
WORST = 12


@dataclass(frozen=True)
class Case:
    """A product, where it runs, and how, if that is not left to the compiler."""

    gemm: Gemm
    machine: str
    engine: str
    schedule: ScheduleAttr | None = None


def cases(count: int, seed: int, drawn_schedules: float = 0.0, thin: float = 0.0) -> Iterator[Case]:
    """`count` random cases; the share `drawn_schedules` of them does not take the compiler's.

    Of the share `thin`, one size is `THIN` at most.
    """
    rng = random.Random(seed)
    for _ in range(count):
        engine = rng.choice(("dual", "dense"))
        machine = rng.choice(MACHINES[engine])
        sizes = [1 << 12] * 3
        while sizes[0] * sizes[1] * sizes[2] > MOST_WORK:
            sizes = [_size(rng), _size(rng), _size(rng)]
            if thin and rng.random() < thin:
                sizes[rng.choice((0, 1, 2, 2))] = _size(rng, THIN)
        pattern = "block" if rng.random() < 0.2 else "random"
        gemm = Gemm(*sizes, _density(rng), _density(rng), pattern, rng.randrange(1000))
        if engine == "dense":
            gemm = Gemm(
                *sizes, seed=gemm.seed, trans_a=rng.random() < 0.25, trans_b=rng.random() < 0.25,
                out="f16" if rng.random() < 0.4 else "f32",
            )  # fmt: skip
        schedule = _schedule(rng, engine, machine, gemm) if rng.random() < drawn_schedules else None
        yield Case(gemm, machine, engine, schedule)


def _size(rng: random.Random, most: int = SIZES[1]) -> int:
    """Half of the sizes are multiples of 32."""
    low, high = log2(SIZES[0]), log2(most)
    size = round(2 ** rng.uniform(low, high))
    return max(16, round(size / 32) * 32) if rng.random() < 0.5 else size


def _density(rng: random.Random) -> float:
    return 1.0 if rng.random() < 0.12 else round(2 ** rng.uniform(log2(LEAST_DENSITY), 0), 3)


def _schedule(rng: random.Random, engine: str, machine: str, gemm: Gemm) -> ScheduleAttr:
    """One of the schedules that the machine can run."""
    target = Machine.load(machine)
    choice = choose(scheduled(gemm, target, engine), target, engine)
    return rng.choice(choice.candidates).schedule


def measured(case: Case) -> dict[str, Any]:
    """A case simulated and estimated: `error` is estimate over cycles, less 1."""
    machine = Machine.load(case.machine)
    chip = Chip.of(machine)
    row = run_gemm(
        case.gemm, machine=machine, engine=case.engine, schedule=case.schedule, check=False,
        threads=1,
    )  # fmt: skip
    product = scheduled(case.gemm, machine, case.engine, case.schedule)
    assert row["schedule"] == schedule_facts(product.schedule.attr)
    operands = counted(product, *case.gemm.operands(), chip)
    product.predict(chip, operands)
    started = time.process_time()
    prediction = product.predict(chip, operands)
    milliseconds = 1e3 * (time.process_time() - started)
    expected = product.predict(chip)
    return {
        **asdict(case.gemm),
        "machine": case.machine,
        "engine": case.engine,
        "chosen": case.schedule is None,
        "schedule": row["schedule"],
        "cycles": row["cycles"],
        "estimate": prediction.cycles,
        "error": prediction.cycles / row["cycles"] - 1,
        "error_from_densities": expected.cycles / row["cycles"] - 1,
        "limit": prediction.limit,
        "parts": prediction.parts,
        "counters": row["counters"],
        "stalls": row["stalls"],
        "milliseconds": milliseconds,
    }


def rebuilt(row: dict[str, Any]) -> tuple[Gemm, ScheduledProduct]:
    """The product of a row of the JSON."""
    gemm = Gemm(**{name: row[name] for name in Gemm.__dataclass_fields__ if name in row})
    s = row["schedule"]
    schedule = Schedule(
        Engine(s["engine"]),
        tuple(s["cta"]),
        tuple(s["warp"]),
        s["stages"],
        s["swap"],
        s["split"],
        s.get("window", TILE_M),
        s.get("ctas", 0),
        s.get("cut", 0),
        s.get("skip", False),
    )
    return gemm, ScheduledProduct(
        (gemm.m, gemm.n, gemm.k), schedule, (gemm.trans_a, gemm.trans_b),
        2 if gemm.out == "f16" else 4, (gemm.a_density, gemm.b_density),
    )  # fmt: skip


def summary(rows: list[dict[str, Any]], key: str = "error") -> dict[str, float]:
    """Percentiles of the absolute error, and the share of rows within 15 %."""
    errors = np.abs([row[key] for row in rows])
    return {
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "max": float(errors.max()),
        "within_15_percent": float((errors <= 0.15).mean()),
    }


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    s = row["schedule"]
    cta, warp = ("x".join(map(str, s[name])) for name in ("cta", "warp"))
    form = "".join(x for x in "ab" if row[f"trans_{x}"])
    return (
        f"{row['m']:5} {row['n']:5} {row['k']:5} {row['a_density']:6.3f} {row['b_density']:6.3f} "
        f"{row['pattern']:6} {form:2} {row['out']} {row['machine']:9} {s['engine']:5} {cta:>7}/"
        f"{warp:5} {s['split']:2} {row['cycles']:9,} {row['estimate']:11,.0f} {row['error']:+6.1%} "
        f"{row['limit']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="default: 200")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--drawn-schedules", type=float, default=0.0, metavar="SHARE",
        help="share of the cases whose schedules are drawn at random (default: 0)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write all rows, as they come")
    parser.add_argument(
        "--thin", type=float, default=0.0, metavar="SHARE",
        help=f"share of the cases of which one size is {THIN} at most (default: 0)",
    )  # fmt: skip
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for case in cases(args.cases, args.seed, args.drawn_schedules, args.thin):
        rows.append(measured(case))
        if args.json:
            text = json.dumps({"schema": 1, "seed": args.seed, "rows": rows})
            Path(args.json).write_text(text + "\n")
    print("worst:")
    for row in sorted(rows, key=lambda r: -abs(r["error"]))[:WORST]:
        print(line(row))
    print("engine  cases  median    p90    max  within 15 %   median, from densities alone")
    for engine in ("dense", "dual", "both"):
        of_engine = [r for r in rows if engine in (r["engine"], "both")]
        if of_engine:
            found, blind = summary(of_engine), summary(of_engine, "error_from_densities")
            print(
                f"{engine:6} {len(of_engine):6} {found['median']:7.1%} {found['p90']:6.1%} "
                f"{found['max']:6.1%} {found['within_15_percent']:12.1%} {blind['median']:15.1%}"
            )
    milliseconds = [r["milliseconds"] for r in rows]
    print(f"an estimate takes {np.median(milliseconds):.2f} ms, {max(milliseconds):.2f} ms at most")


if __name__ == "__main__":
    main()
