"""Engines and machines beside each other: speedup over the dense tensor core, by densities.

In: a size, machines, pairs of densities. Out: a table of cycles, speedups over the dense product on
v100 of the same run, targets where there are any, the nearest bound; all bounds and facts as JSON;
numpy's dense and SciPy's sparse product on this CPU for orientation.

    python benchmarks/engines.py --size 2048 --json engines.json
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dstc.compiler.bench import Gemm, run_gemm, tightest
from dstc.passes.choose import in_words
from dstc.runtime.machine import Machine, list_machines

DENSITIES = ((1, 1), (0.5, 0.5), (1, 0.1), (0.1, 1), (0.1, 0.1), (0.05, 0.05), (0.01, 0.01))
MACHINES = ("v100", "v100-nm", "dstc", "dstc-plus", "dstc-strict")
"""Those of them that are shipped run unless told otherwise."""
NM_PATTERNS = "2:4", "4:16"
"""What one operand is pruned to on machines of the n:m engine; the other is dense."""
SQUASH = {"ohmma.squash_per_cycle": 8}
"""The front end of dstc-strict with squashing; the machine file has it without."""
TARGETS: dict[str, dict[tuple[float, float], float]] = {
    "dstc": {(1, 1): 0.95, (0.5, 0.5): 2.1, (1, 0.1): 3.5, (0.1, 1): 3.5, (0.1, 0.1): 7,
             (0.05, 0.05): 10},
    "dstc-plus": {(1, 1): 0.95, (0.5, 0.5): 2.7, (1, 0.1): 5, (0.1, 1): 5, (0.1, 0.1): 12,
                  (0.05, 0.05): 18},
}  # fmt: skip
"""Speedups at 4096^3 to be reached."""
BOUND_TARGETS = {("dstc-plus", (0.01, 0.01)): ("dram", 1.25)}
"""(machine, densities) -> the bound, and how many times as long a product may take at 4096^3."""
CSR_PRODUCTS = 1 << 30
"""Multiply-adds up to which SciPy's product is timed; more take longer than a reader waits."""


def configurations(names: list[str]) -> Iterator[tuple[str, Machine, str]]:
    """Label, machine and engine; of dstc-plus also each extension alone, on dstc.

    The chooser is free, but for dstc-strict, whose outer product is shown though dense is faster.
    """
    for name in names:
        machine = Machine.load(name)
        if name == "dstc-strict":
            yield f"{name}, dual", machine, "dual"
            yield f"{name}, dual, squashing", machine.overridden(SQUASH), "dual"
            continue
        yield name, machine, "auto"
        if name == "dstc-plus":
            base = Machine.load("dstc")
            added = {
                key: parameter.value
                for key, parameter in machine.parameters.items()
                if key in base.parameters and base[key] != parameter.value
            }
            for key, value in added.items():
                yield f"dstc with {key}={value}", base.overridden({key: value}), "auto"
            more = ", ".join(sorted(machine.features - base.features))
            yield f"dstc with {more}", machine.overridden({key: base[key] for key in added}), "auto"


def products(
    machine: Machine, size: tuple[int, int, int], densities: Sequence[tuple[float, float]]
) -> Iterator[Gemm]:
    """What is shown of a machine: random zeros on a dual-side core, patterns on an n:m core."""
    if "dual_side" in machine.features:
        for a, b in densities:
            yield Gemm(*size, a, b, out="f16")
    if "nm" in machine.features:
        for pattern in NM_PATTERNS:
            yield Gemm(*size, pattern=pattern, out="f16")


def facts(label: str, row: dict[str, Any], dense: int) -> dict[str, Any]:
    """What the table says of a row, and the row."""
    densities = row["a_density"], row["b_density"]
    name, bound = tightest(row)
    whole = (row["m"], row["n"], row["k"]) == (4096,) * 3
    over = {key: row["cycles"] / value for key, value in row["bounds"].items() if value}
    limit, most = BOUND_TARGETS.get((label, densities), (name, None))
    target = {"bound": limit, "most": most, "is": over[limit]} if most and whole else None
    return {
        "configuration": label,
        "speedup": dense / row["cycles"],
        "target": TARGETS.get(label, {}).get(densities) if whole else None,
        "bound_target": target,
        "nearest_bound": name,
        "over_bounds": over,
        "over_nearest": row["cycles"] / bound,
        **row,
    }


def line(f: dict[str, Any]) -> str:
    target = "" if f["target"] is None else f"{f['target']:g}x"
    missed = " missed" if f["target"] and f["speedup"] < f["target"] else ""
    aim = f["bound_target"]
    if aim:
        target = f"{aim['is']:.2f} of {aim['bound']}, aim {aim['most']:g}"
        missed = " missed" if aim["is"] > aim["most"] else ""
    wrong = " WRONG" if f["bit_exact"] is False else ""
    tiles = in_words(f["schedule"], engine=False)
    return (
        f"{f['configuration']:<28} {f['a_density']:5g} {f['b_density']:5g} {f['engine']:>6} "
        f"{tiles:>28} {f['cycles']:11,} {f['speedup']:7.2f}x {target:>6}{missed:7} "
        f"{f['over_nearest']:5.2f} {f['nearest_bound']}{wrong}"
    )


def on_this_cpu(gemm: Gemm, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Seconds of numpy's dense f32 product, and of SciPy's of the same operands in CSR, if any."""
    full = [x.astype(np.float32) for x in (a, b)]
    started = time.perf_counter()
    full[0] @ full[1]
    found: dict[str, Any] = {
        "a_density": gemm.a_density,
        "b_density": gemm.b_density,
        "cpus": os.cpu_count(),
        "numpy_seconds": time.perf_counter() - started,
        "scipy_seconds": None,
    }
    products = int((a != 0).sum(axis=0, dtype=np.int64) @ (b != 0).sum(axis=1, dtype=np.int64))
    if products > CSR_PRODUCTS:
        return found
    try:
        from scipy.sparse import csr_array
    except ImportError:
        return found
    sparse = [csr_array(x) for x in full]
    started = time.perf_counter()
    sparse[0] @ sparse[1]
    found["scipy_seconds"] = time.perf_counter() - started
    return found


def pairs(text: str) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, _, b in (part.partition("/") for part in text.split(","))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="M, N and K (default: 4096)")
    parser.add_argument(
        "--machines", type=lambda text: text.split(","), help=f"of {', '.join(list_machines())}"
    )
    parser.add_argument("--densities", type=pairs, default=DENSITIES, metavar="A/B[,A/B...]")
    parser.add_argument("--mode", choices=("cycle", "estimate"), default="cycle")
    parser.add_argument("--threads", type=int, help="host threads of the simulator")
    parser.add_argument("--no-cpu", action="store_true", help="no products on this CPU")
    parser.add_argument("--json", metavar="FILE", help="write all facts; after every row")
    args = parser.parse_args()
    size = (args.size,) * 3
    names = args.machines or [name for name in MACHINES if name in list_machines()]
    options = {"mode": args.mode, "threads": args.threads, "check": "lines"}
    result: dict[str, Any] = {"schema": 1, "size": args.size, "mode": args.mode, "rows": []}

    def save() -> None:
        if args.json:
            Path(args.json).write_text(json.dumps(result, indent=1, default=str) + "\n")

    dense = run_gemm(Gemm(*size, out="f16"), machine="v100", engine="dense", **options)
    result["dense"] = facts("v100, dense", dense, dense["cycles"])
    print(f"{args.size}^3, f16 results, mode {args.mode}; last column: cycles over nearest bound")
    print(f"{'':28} A, B  engine, CTA/warp tile, cycles, speedup, target")
    print(line(result["dense"]), flush=True)
    for label, machine, engine in configurations(names):
        for gemm in products(machine, size, args.densities):
            row = run_gemm(gemm, machine=machine, engine=engine, **options)
            result["rows"].append(facts(label, row, dense["cycles"]))
            print(line(result["rows"][-1]), flush=True)
            save()
    if not args.no_cpu:
        result["cpu"] = []
        for a, b in args.densities:
            gemm = Gemm(*size, a, b, out="f16")
            found = on_this_cpu(gemm, *gemm.operands())
            result["cpu"].append(found)
            scipy = found["scipy_seconds"]
            print(
                f"{'this CPU':28} {a:5g} {b:5g}  numpy dense {1e3 * found['numpy_seconds']:9,.1f} "
                f"ms, SciPy csr @ csr {'-' if scipy is None else f'{1e3 * scipy:,.1f} ms'}",
                flush=True,
            )
    save()
    if args.json:
        print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
