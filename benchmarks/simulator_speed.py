"""How fast the simulator runs: a dense product, in both modes, on one host thread and on several.

In: sizes, number of runs. Out: wall and CPU time (median), warp instructions and multiply-adds a
second, peak memory, beside published simulators, as text and JSON. One run before the measured ones
loads the compiled simulator.

    python benchmarks/simulator_speed.py --machine v100 -r 5 --json speed.json
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from dstc.compiler.bench import Gemm, compile_gemm, peak_rss_bytes
from dstc.runtime.device import Device, available_cpus
from dstc.runtime.machine import Machine

PEERS = (
    "Accel-Sim: 0.040-0.045 M warp instructions/s, 9.7 M MAC/s, 1090 MB (dense FP16 GEMM of "
    "1280x1024x512, without values)",
    "STONNE: 0.3 M MAC/s (dense, with values)",
)
"""Measured on a similar machine, one core each; not on this one."""


def measure(
    gemm: Gemm, machine: Machine, engine: str, mode: str, threads: int, runs: int
) -> dict[str, Any]:
    """Median of `runs` runs; loading data to the device is part of a run."""
    compiled, _ = compile_gemm(gemm, machine, engine)
    a, b = gemm.operands()
    times: list[float] = []
    cpu_times: list[float] = []
    result = None
    for _ in range(runs + 1):
        device = Device(machine, mode=mode, threads=threads)
        started, cpu_started = time.perf_counter(), time.process_time()
        result = compiled.run({"arg0": a, "arg1": b}, device=device, statistics=False)
        times.append(time.perf_counter() - started)
        cpu_times.append(time.process_time() - cpu_started)
    assert result is not None
    seconds = statistics.median(times[1:])
    return {
        "engine": engine,
        "mode": mode,
        "threads": threads,
        "seconds": seconds,
        "cpu_seconds": statistics.median(cpu_times[1:]),
        "runs": times[1:],
        "first_run_seconds": times[0],
        "cycles": result.cycles,
        "warp_instructions": result.warp_instructions,
        "warp_instructions_per_second": result.warp_instructions / seconds,
        "macs_per_second": gemm.m * gemm.n * gemm.k / seconds,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, size in (("m", 1280), ("n", 1024), ("k", 512)):
        parser.add_argument(f"-{name}", type=int, default=size, help=f"size (default: {size})")
    parser.add_argument("-r", "--runs", type=int, default=5, help="measured runs (default: 5)")
    parser.add_argument("--machine", default="dstc")
    parser.add_argument("--engine", default="dense", choices=("dense", "dual"))
    parser.add_argument("--density", type=float, default=1, help="of both operands (default: 1)")
    parser.add_argument(
        "--threads", type=int, default=available_cpus(), metavar="N",
        help="host threads of the last row (default: the CPUs available)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the numbers")
    args = parser.parse_args()
    gemm = Gemm(args.m, args.n, args.k, args.density, args.density)
    machine = Machine.load(args.machine)
    rows: list[dict[str, Any]] = []
    print(f"{args.m} x {args.n} x {args.k}, {args.engine} engine on {machine.name}")
    # what needs less memory first
    cases = [("functional", 1), ("cycle", 1)] + [("cycle", args.threads)] * (args.threads > 1)
    for mode, threads in cases:
        row = measure(gemm, machine, args.engine, mode, threads, args.runs)
        rows.append(row)
        print(
            f"{mode:10} {threads} thread{'s' if threads > 1 else ' '}  {row['seconds']:7.3f} s "
            f"(CPU {row['cpu_seconds']:.3f} s)  "
            f"{row['warp_instructions_per_second'] / 1e6:6.2f} M warp instructions/s  "
            f"{row['macs_per_second'] / 1e6:7.0f} M MAC/s  "
            f"peak {(row['peak_rss_bytes'] or 0) / 2**20:.0f} MiB"
        )
    print("beside it, measured on a similar machine:")
    for peer in PEERS:
        print(f"  {peer}")
    if args.json:
        facts = {
            "schema": 1,
            "host": {"machine": platform.machine(), "python": platform.python_version()},
            "sizes": {"m": args.m, "n": args.n, "k": args.k},
            "density": args.density,
            "rows": rows,
            "peers": list(PEERS),
        }
        Path(args.json).write_text(json.dumps(facts, indent=2) + "\n")
        print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
