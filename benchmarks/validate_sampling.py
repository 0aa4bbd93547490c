"""How far projections from the first CTAs of a grid are from whole grids: compiler/sampling.py.

In: measured rows that are quick enough to run in full. Out: a table of cycles of both and the error
of the projection, which `dstc validate v100` relies on for its longest rows.

    python benchmarks/validate_sampling.py --rows 21,73 --json sampling.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from dstc.compiler import sampling
from dstc.compiler.validate import simulate
from dstc.compiler.validate_data import chosen, measured
from dstc.runtime.machine import Machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="21,73", help="as of dstc validate")
    parser.add_argument("--machine", default="v100")
    parser.add_argument("--threads", type=int, help="host threads (default: the CPUs available)")
    parser.add_argument("--json", metavar="FILE", help="write the rows")
    args = parser.parse_args()
    machine = Machine.load(args.machine)
    sampling.THRESHOLD = 0
    rows: list[dict[str, Any]] = []
    print(f"{'m x n x k':24} {'CTAs':>7} {'prefixes':>12} {'projected':>12} {'whole':>12}  error")
    for row in chosen(measured("v100").rows, args.rows):
        part = simulate(row, machine, threads=args.threads)
        if part["sampled"] is None:
            print(f"{row.label:24} too short a grid to sample")
            continue
        whole = simulate(row, machine, threads=args.threads, sampled=False)
        error = part["cycles"] / whole["cycles"] - 1
        rows.append({"label": row.label, "sampled": part, "whole": whole, "error": error})
        s = part["sampled"]
        print(
            f"{row.label:24} {s['ctas']:7} {s['n1']:5}, {s['n2']:5} {part['cycles']:12,} "
            f"{whole['cycles']:12,} {100 * error:+6.2f} %",
            flush=True,
        )
    if args.json:
        Path(args.json).write_text(json.dumps({"schema": 1, "rows": rows}, indent=2) + "\n")
        print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
