"""How the simulator's wall time grows with the work: dense cubes in cycle mode, values included.

In: cube sizes, a machine, host threads. Out: wall and CPU time, time for a million multiply-adds,
peak memory, and whether the result is numpy's bit for bit, as text and JSON.

    python benchmarks/simulator_scaling.py --sizes 512,1024,2048,4096 --json scaling.json
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from dstc.compiler.bench import Gemm, run_gemm
from dstc.runtime.device import available_cpus
from dstc.runtime.machine import Machine


def measure(size: int, machine: Machine, threads: int, check: bool) -> dict[str, Any]:
    """One cube, in one run; compiling the product, and checking it, is not counted."""
    gemm = Gemm(size, size, size, out="f16")
    cpu = time.process_time()
    row = run_gemm(gemm, machine=machine, engine="dense", threads=threads, check=check)
    seconds = row["wall_seconds"]
    return {
        "size": size,
        "cycles": row["cycles"],
        "warp_instructions": row["warp_instructions"],
        "seconds": seconds,
        "cpu_seconds": None if check else time.process_time() - cpu,
        "seconds_a_gmac": seconds / (size**3 / 1e9),
        "warp_instructions_per_second": row["warp_instructions"] / seconds,
        "macs_per_second": size**3 / seconds,
        "bit_exact": row["bit_exact"],
        "peak_rss_bytes": row["peak_rss_bytes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="512,1024,2048", help="default: 512,1024,2048")
    parser.add_argument("--machine", default="v100")
    parser.add_argument(
        "--threads", type=int, default=available_cpus(), metavar="N",
        help="host threads (default: the CPUs available)",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help="compare with numpy (some minutes at 4096)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers")
    args = parser.parse_args()
    machine = Machine.load(args.machine)
    measure(64, machine, args.threads, False)  # compiles the simulator, if that is still to be done
    rows: list[dict[str, Any]] = []
    print(f"dense cubes on {machine.name}, cycle mode, {args.threads} host threads")
    print("  size       cycles    wall s  s a GMAC  M instr./s  M MAC/s  peak MiB  exact")
    for size in map(int, args.sizes.split(",")):
        row = measure(size, machine, args.threads, args.check)
        rows.append(row)
        exact = {True: "yes", False: "NO", None: "-"}[row["bit_exact"]]
        print(
            f"{size:6} {row['cycles']:12,} {row['seconds']:9.2f} {row['seconds_a_gmac']:9.3f}"
            f" {row['warp_instructions_per_second'] / 1e6:11.2f}"
            f" {row['macs_per_second'] / 1e6:8.0f} {(row['peak_rss_bytes'] or 0) / 2**20:9.0f}"
            f"  {exact}",
            flush=True,
        )
    if args.json:
        facts = {
            "schema": 1,
            "host": {"machine": platform.machine(), "python": platform.python_version()},
            "threads": args.threads,
            "rows": rows,
        }
        Path(args.json).write_text(json.dumps(facts, indent=2) + "\n")
        print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
