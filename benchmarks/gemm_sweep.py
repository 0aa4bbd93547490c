"""The density sweep of one matrix product: dual-side engine against dense engine.

In: sizes, densities, a machine. Out: a table of cycles and speedups, and the rows of
`dstc bench gemm` as JSON.

    python benchmarks/gemm_sweep.py -m 1024 -n 1024 -k 1024 --json sweep.json
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

from dstc.compiler.bench import Gemm, run_gemm, tightest
from dstc.runtime.machine import Machine


def densities(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in "mnk":
        parser.add_argument(f"-{name}", type=int, default=1024, help="size (default: 1024)")
    for side in "ab":
        parser.add_argument(f"--{side}-density", type=densities, default=[1, 0.5, 0.2, 0.1, 0.05])
    parser.add_argument("--pattern", default="random")
    parser.add_argument("--machine", default="dstc")
    parser.add_argument("--sms", type=int, help="number of SMs, to keep it quick (default: all)")
    parser.add_argument("--no-check", action="store_true", help="do not compare with numpy")
    parser.add_argument("--json", metavar="FILE", help="write all rows")
    args = parser.parse_args()
    machine = Machine.load(args.machine, {} if args.sms is None else {"sm.count": args.sms})

    def run(a: float, b: float, engine: str) -> dict[str, Any]:
        gemm = Gemm(args.m, args.n, args.k, a, b, args.pattern)
        return run_gemm(gemm, machine=machine, engine=engine, check=not args.no_check)

    dense = run(1, 1, "dense")
    rows = [dense]
    sms = machine["sm.count"]
    print(f"{args.m} x {args.n} x {args.k} on {machine.name}, {sms} SMs, zeros {args.pattern}")
    print(f"dense engine: {dense['cycles']:,} cycles, {dense['tflops']:.1f} TFLOP/s")
    print("      A       B      cycles  speedup  of bound")
    for a, b in product(args.a_density, args.b_density):
        row = run(a, b, "dual")
        rows.append(row)
        name, bound = tightest(row)
        wrong = "  WRONG" if row["bit_exact"] is False else ""
        print(
            f"{a:7.3f} {b:7.3f} {row['cycles']:11,} {dense['cycles'] / row['cycles']:7.2f}x "
            f"{bound / row['cycles']:8.1%} {name}{wrong}",
            flush=True,
        )
    if args.json:
        Path(args.json).write_text(json.dumps({"schema": 1, "rows": rows}, indent=2) + "\n")
        print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
