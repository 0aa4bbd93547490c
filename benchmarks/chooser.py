"""The chosen schedule beside the best of an exhaustive search on the simulator.

In: a number of random products and a seed: sizes, forms, densities, machines. Out: for each what
the chosen schedule loses to the best of all candidates, mean and worst, and how long choosing took;
all rows as JSON, which `estimate_fit.py` takes.

    python benchmarks/chooser.py --cases 100 --jobs 2
"""

import argparse
import json
import random
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from dstc.compiler.bench import Gemm, run_gemm, schedule_facts
from dstc.compiler.bench_estimate import scheduled
from dstc.passes.candidates import AUTO
from dstc.passes.choose import Choice, choose, in_words
from dstc.runtime.machine import Machine

SIZES = 16, 2048
"""Least and most of M, N and K, drawn with even logarithms."""
WORK = 2**20, 2**27
"""Least and most multiply-adds: a search simulates up to a hundred schedules."""
BEYOND = 2.0
"""Candidates that are predicted to take longer than this many times the best are not simulated:
predictions are seldom off by a third."""
WARM_UP = 3


def cases(
    count: int, seed: int, machines: tuple[str, ...], most_k: int = SIZES[1]
) -> list[tuple[Gemm, str]]:
    """`count` random products, K up to `most_k`, and where each runs."""
    rng = random.Random(seed)
    drawn: list[tuple[Gemm, str]] = []
    while len(drawn) < count:
        m, n, k = _size(rng), _size(rng), _size(rng, most_k)
        if not WORK[0] <= m * n * k <= WORK[1]:
            continue
        a, b = (_density(rng) for _ in range(2))
        gemm = Gemm(
            m, n, k, a, b, seed=rng.randrange(1000), trans_a=rng.random() < 0.25,
            trans_b=rng.random() < 0.25, out=rng.choice(("f16", "f32")),
        )  # fmt: skip
        drawn.append((gemm, rng.choice(machines)))
    return drawn


def _size(rng: random.Random, most: int = SIZES[1]) -> int:
    size = round(2 ** rng.uniform(log2(SIZES[0]), log2(most)))
    return max(16, round(size / 32) * 32) if rng.random() < 0.5 else size


def _density(rng: random.Random) -> float:
    return 1.0 if rng.random() < 0.25 else round(2 ** rng.uniform(log2(0.02), 0), 3)


def chosen(gemm: Gemm, machine: Machine) -> tuple[Choice, float]:
    """Every candidate, the chosen one first; milliseconds of this process that it took."""
    product = scheduled(gemm, machine)
    started = time.process_time()
    choice = choose(product, machine, AUTO)
    return choice, 1e3 * (time.process_time() - started)


def searched(case: tuple[Gemm, str], beyond: float, some: int | None) -> list[dict[str, Any]]:
    """A row for each candidate of a product, or `some` of them; the chosen one first."""
    gemm, name = case
    machine = Machine.load(name)
    choice, milliseconds = chosen(gemm, machine)
    rows: list[dict[str, Any]] = []
    near = [c for c in choice.candidates[1:] if c.cycles <= beyond * choice.best.cycles]
    if some is not None:
        near = random.Random(gemm.seed).sample(near, min(some, len(near)))
    for candidate in (choice.best, *near):
        row = run_gemm(gemm, machine=machine, schedule=candidate.schedule, check=False, threads=1)
        rows.append(
            {
                **{key: getattr(gemm, key) for key in Gemm.__dataclass_fields__},
                "machine": name,
                "engine": candidate.engine,
                "chosen": not rows,
                "schedule": schedule_facts(candidate.schedule),
                "cycles": row["cycles"],
                "estimate": candidate.prediction.cycles,
                "limit": candidate.prediction.limit,
                "considered": len(choice.candidates),
                "milliseconds": milliseconds,
            }
        )
    return rows


def loss(rows: list[dict[str, Any]]) -> float:
    """What the first row takes over the least of all, less 1."""
    return rows[0]["cycles"] / min(r["cycles"] for r in rows) - 1


def line(rows: list[dict[str, Any]]) -> str:
    """A product as text: what was chosen, what was best."""
    best = min(rows, key=lambda r: r["cycles"])

    def words(row: dict[str, Any]) -> str:
        return f"{in_words(row['schedule'])} {row['cycles']:,} ({row['estimate']:,.0f})"

    r = rows[0]
    form = "".join(x for x in "ab" if r[f"trans_{x}"])
    return (
        f"{r['m']:5} {r['n']:5} {r['k']:5} {r['a_density']:6.3f} {r['b_density']:6.3f} {form:2} "
        f"{r['out']} {r['machine']:5} {loss(rows):6.1%}  {words(r)}; best {words(best)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=404)
    parser.add_argument("--machines", default="dstc,v100", metavar="NAME[,...]")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--beyond", type=float, default=BEYOND, help=f"default: {BEYOND}")
    parser.add_argument("--some", type=int, help="simulate so many, drawn at random, of a product")
    parser.add_argument("--most-k", type=int, default=SIZES[1], help=f"default: {SIZES[1]}")
    parser.add_argument("--json", metavar="FILE", help="write all rows, as they come")
    args = parser.parse_args()
    drawn = cases(args.cases, args.seed, tuple(args.machines.split(",")), args.most_k)
    for gemm, name in drawn[:WARM_UP]:  # what runs once in a process is not choosing's
        chosen(gemm, Machine.load(name))
    found: list[list[dict[str, Any]]] = []
    search = partial(searched, beyond=args.beyond, some=args.some)
    with ProcessPoolExecutor(args.jobs) as pool:
        for case, rows in enumerate(pool.map(search, drawn)):
            found.append([{**row, "case": case} for row in rows])
            print(line(rows), flush=True)
            if args.json:
                flat = [row for one in found for row in one]
                text = json.dumps({"schema": 1, "seed": args.seed, "rows": flat})
                Path(args.json).write_text(text + "\n")
    losses = np.array([loss(rows) for rows in found])
    milliseconds = [rows[0]["milliseconds"] for rows in found]
    simulated = sum(map(len, found))
    print(
        f"{len(found)} products, {simulated} schedules simulated: chosen over best, mean "
        f"{losses.mean():.1%}, p90 {np.quantile(losses, 0.9):.1%}, worst {losses.max():.1%}; "
        f"choosing took {np.median(milliseconds):.1f} ms, {max(milliseconds):.1f} ms at most"
    )


if __name__ == "__main__":
    main()
