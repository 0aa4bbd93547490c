"""Whole models on several machines: cycles, speedups, operand densities, times, memory, one table.

In: names of models (default: all), machines. Out: a table as Markdown, all facts as JSON; exit code
1 if a model has host operators or a result is outside its bound. Each run has its own process, so
that its peak memory is its own; the model is compiled with its input as calibration.

    python benchmarks/models/run.py resnet18 lstm --json models.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits_cnn"
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "digits CNN": ("digits", "trained, pruned to 10 %", {}),
    "ResNet-18": ("resnet", "random, 20 % kept", {"depth": 18}),
    "ResNet-50": ("resnet", "random, 20 % kept", {"depth": 50}),
    "VGG-16": ("vgg", "random, 20 % kept", {}),
    "BERT-base": ("bert", "random, 10 % kept", {"layers": 12}),
    "LSTM": ("lstm", "random, 20 % kept", {}),
    "LLaMA block": ("llama", "random, 50 % kept", {}),
    "MobileNet-like": ("mobilenet", "random, 20 % kept", {}),
}
"""Name -> script in examples/models, what its weights are, sizes other than those there."""
MACHINES = ("dstc", "v100", "v100-nm")
PRUNE = {"v100-nm": "2:4"}
"""What weights are pruned to first, for machines that gain from nothing else."""


def slug(name: str) -> str:
    return name.lower().replace(" ", "-").replace("-", "")


def load(name: str) -> tuple[Any, dict[str, Any]]:
    """The model and its input."""
    import numpy as np
    import onnx

    script, _, sizes = MODELS[name]
    if script == "digits":
        with np.load(DIGITS / "digits_test.npz") as data:
            return onnx.load(DIGITS / "digits_cnn_pruned90.onnx"), {"x": data["x"]}
    sys.path.insert(0, str(ROOT / "examples" / "models"))
    return importlib.import_module(script).build(**sizes)


def save(name: str, folder: str) -> None:
    """Write the model and its input."""
    import numpy as np
    import onnx

    proto, feeds = load(name)
    file = Path(folder) / f"{slug(name)}.onnx"
    onnx.save(proto, file)
    np.savez(file.with_suffix(".npz"), **feeds)


def measure(name: str, machine: str, mode: str, folder: str) -> dict[str, Any]:
    """One model, which lies in `folder` with its input, on one machine, in this process."""
    import numpy as np
    from dstc.compiler.api import compile_model
    from dstc.compiler.cache import CompileCache
    from dstc.compiler.memory_plan import MemoryUse

    file = Path(folder) / f"{slug(name)}.onnx"
    with np.load(file.with_suffix(".npz")) as data:
        feeds = dict(data)
    with tempfile.TemporaryDirectory() as own:
        cache = CompileCache(Path(own))
        options: dict[str, Any] = {
            "machine": machine, "calibrate": feeds, "prune": PRUNE.get(machine), "cache": cache,
            "input_shapes": {n: a.shape for n, a in feeds.items()},
        }  # fmt: skip
        began = time.process_time()
        compiled = compile_model(str(file), **options)
        compiling = time.process_time() - began
        products = [p.schedule.engine.value for p in compiled.products]
        del compiled
        again = compile_model(str(file), **options)
        assert again.cached
        warm(machine)
        began = time.process_time()
        result = again.run(feeds, mode=mode)
        simulating = time.process_time() - began
        check = again.check(feeds, result)
        layers = result.layers
        macs = sum(k.launch.macs_dense for k in result.kernels)

        def density(side: str) -> float | None:
            shares = ((getattr(k, side), k.launch.macs_dense) for k in result.kernels)
            found = [(d, n) for d, n in shares if d is not None]
            return sum(d * n for d, n in found) / macs if found else None

        assert again.program.plan is not None
        memory = MemoryUse.of(again.program.plan)
        return {
            "model": name, "weights": MODELS[name][1], "machine": machine,
            "prune": PRUNE.get(machine), "mode": mode, "cycles": result.cycles,
            "time_us": result.time_us, "warp_instructions": result.warp_instructions,
            "host_ops": [h.to_json() for h in result.host_ops], "check": check,
            "a_density": density("a_density"), "b_density": density("b_density"),
            "macs_dense": macs, "macs_effective": sum(k.macs_effective for k in result.kernels),
            "engines": {e: products.count(e) for e in sorted(set(products))},
            "launches": len(result.kernels), "kernels": len(again.program.kernels),
            "layers": [layer.to_json() for layer in layers],
            "seconds": {"compile_cpu": compiling, "compile_cached": again.seconds,
                        "simulate": result.wall_seconds, "simulate_cpu": simulating},
            "memory": memory.to_json(),
            "peak_rss_bytes": peak(),
        }  # fmt: skip


def warm(machine: str) -> None:
    """The simulator compiles itself once in a process; that is no part of a simulation."""
    from dstc.compiler.bench import Gemm, run_gemm

    run_gemm(Gemm(32, 32, 32, 1.0, 1.0), machine=machine, check=False)


def peak() -> int:
    """The most memory that this process had; getrusage counts its parent's as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def apart(name: str, machine: str, mode: str, folder: str) -> dict[str, Any]:
    """The same in a process of its own."""
    words = [sys.executable, __file__, name, "--machines", machine, "--mode", mode,
             "--one", folder]  # fmt: skip
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line a model: dstc, and what the others take of its time."""
    by_model: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["machine"]] = row
    machines = list(dict.fromkeys(row["machine"] for row in rows))
    first, others = machines[0], machines[1:]
    head = ["model", "weights", "densities A / B", "effective", f"{first} cycles", "engines"]
    for other in others:
        kind = f"{other} {PRUNE[other]}" if other in PRUNE else other
        head += [f"{kind} cycles", "speedup"]
    head += ["compile s", "cached s", "simulate s", "peak GB", "memory of naive"]
    lines = [head, ["---"] * len(head)]
    for name, found in by_model.items():
        own = found[first]
        engines = ", ".join(f"{n} {e}" for e, n in own["engines"].items())
        cells = [
            name, own["weights"], f"{percent(own['a_density'])} / {percent(own['b_density'])}",
            percent(own["macs_effective"] / own["macs_dense"]), f"{own['cycles']:,}", engines,
        ]  # fmt: skip
        for other in others:
            cycles = found[other]["cycles"] if other in found else None
            ratio = "-" if not cycles or not own["cycles"] else f"{cycles / own['cycles']:.2f}x"
            cells += ["-" if cycles is None else f"{cycles:,}", ratio]
        seconds, memory = own["seconds"], own["memory"]
        cells += [
            f"{seconds['compile_cpu']:.0f}", f"{seconds['compile_cached']:.1f}",
            f"{seconds['simulate_cpu']:.0f}", f"{own['peak_rss_bytes'] / 1e9:.1f}",
            percent(memory["planned_bytes"] / memory["naive_bytes"]),
        ]  # fmt: skip
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    names = {slug(name): name for name in MODELS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--machines", default=",".join(MACHINES))
    parser.add_argument("--mode", choices=("cycle", "functional"), default="cycle")
    parser.add_argument("--json", metavar="FILE", help="write all facts")
    parser.add_argument("--one", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [n for n in args.models if slug(n) not in names]
    if unknown:
        parser.error(f"there is no model {unknown[0]!r}; there are {', '.join(names)}")
    chosen = [names[slug(n)] for n in args.models] or list(MODELS)
    if args.one:
        print(json.dumps(measure(chosen[0], args.machines, args.mode, args.one)))
        return 0
    rows: list[dict[str, Any]] = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            save(name, folder)
            for machine in args.machines.split(","):
                row = apart(name, machine, args.mode, folder)
                rows.append(row)
                print(
                    f"{name} on {machine}: {row['cycles']:,} cycles, check {row['check']['ok']}, "
                    f"{row['seconds']['simulate']:.0f} s, {row['peak_rss_bytes'] / 1e9:.1f} GB",
                    file=sys.stderr,
                )
                if args.json:
                    text = json.dumps({"schema": 1, "rows": rows}, indent=1)
                    Path(args.json).write_text(text)
    print(table(rows))
    return 0 if all(r["check"]["ok"] and not r["host_ops"] for r in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
