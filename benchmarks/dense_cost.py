"""The cost model of the dense engine beside the simulator: passes/cost_dense.py.

In: a machine. Out: for products from skinny to square, the schedule that select-schedule takes,
predicted and simulated cycles, their ratio, and what the prediction says limits the product.

    python benchmarks/dense_cost.py --machine v100
"""

import argparse
import json
from math import exp, log
from pathlib import Path
from typing import Any

from dstc.compiler.bench import Gemm, run_gemm
from dstc.passes.cost_dense import Chip, Product
from dstc.passes.select_schedule import fastest_dense
from dstc.runtime.machine import Machine

PRODUCTS = [
    Gemm(16, 1760, 1760, out="f16"),
    Gemm(32, 4096, 4096, out="f16"),
    Gemm(64, 2560, 2560, out="f16", trans_b=True),
    Gemm(128, 3072, 1024, out="f16"),
    Gemm(128, 4096, 4096, out="f16", trans_b=True),
    Gemm(700, 1024, 512, out="f16", trans_b=True),
    Gemm(1000, 900, 800, out="f16", trans_a=True),
    Gemm(2048, 2048, 1024, out="f16"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="v100")
    parser.add_argument("--json", metavar="FILE", help="write all rows")
    args = parser.parse_args()
    machine = Machine.load(args.machine)
    chip = Chip.of(machine)
    rows: list[dict[str, Any]] = []
    print("     M      N      K  tiles     split  predicted  simulated  ratio  limit")
    for gemm in PRODUCTS:
        sizes = gemm.m, gemm.n, gemm.k
        schedule, predicted = fastest_dense(
            Product(sizes, (gemm.trans_a, gemm.trans_b), 2 if gemm.out == "f16" else 4), chip
        )
        row = run_gemm(gemm, machine=machine, engine="dense", schedule=schedule, check=False)
        ratio = predicted.cycles / row["cycles"]
        cta = "x".join(map(str, schedule.cta_tile))
        rows.append(
            {"m": gemm.m, "n": gemm.n, "k": gemm.k, "cta": cta, "split": schedule.parts,
             "predicted": predicted.cycles, "cycles": row["cycles"], "limit": predicted.limit}
        )  # fmt: skip
        print(
            f"{gemm.m:6} {gemm.n:6} {gemm.k:6}  {cta:8} {schedule.parts:6} "
            f"{predicted.cycles:10,.0f} {row['cycles']:10,} {ratio:6.2f}  {predicted.limit}",
            flush=True,
        )
    errors = [abs(log(r["predicted"] / r["cycles"])) for r in rows]
    print(f"mean error a factor of {exp(sum(errors) / len(errors)):.3f}")
    if args.json:
        Path(args.json).write_text(json.dumps({"schema": 1, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
