"""What the simulated machine measures of itself, beside what is published of the real one.

In: the assembly programs beside this file, published.json, machine parameters. Out: one table, and
the same as JSON; exit code 1 if a figure is not what is accepted of the published one.

    python benchmarks/micro/run.py --json micro.json
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from dstc.backend.isa.assembler import assemble_file
from dstc.backend.isa.table import HMMA_MACS
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine

FOLDER = Path(__file__).parent
PUBLISHED = json.loads((FOLDER / "published.json").read_text(encoding="utf-8"))
OHMMA_MACS = 8 * 16
FIRST_ADDRESS = 0x10000
CTA_BYTES = 16 * 512
"""What the 16 warps of a CTA of the streaming kernels read at a time."""
WARPS = 8
"""Warps a CTA of the throughput kernels: two a sub-core, so that one covers the other's branch."""


@dataclass(frozen=True)
class Run:
    """A kernel of a file on a machine, with parameters of the machine changed."""

    file: str
    kernel: str
    machine: str = "v100"
    overrides: dict[str, object] = field(default_factory=dict[str, object])

    def device(self, changes: dict[str, object]) -> Device:
        return Device(Machine.load(self.machine, {**self.overrides, **changes}))

    def launch(self, device: Device, grid: int = 1, **arguments: int) -> Any:
        kernel = assemble_file(str(FOLDER / self.file)).kernels[self.kernel]
        return device.launch(kernel, (grid,), [arguments[name] for name in kernel.params])


Changes = dict[str, object]
Measure = Callable[[Changes], float]
ONE_SM: Changes = {"sm.count": 1}


def clocked(run: Run, more: int = 32, less: float = 0) -> Measure:
    """Cycles of one operation: those of the long part less the short one's, over `more`."""

    def measure(changes: Changes) -> float:
        device = run.device(changes)
        out = device.allocate(8)
        run.launch(device, OUT=out)
        short, long = device.read(out, 8).view(np.uint32)
        return float(long - short) / more - less

    return measure


def round_cycles(run: Run, grid: int = 1, rounds: tuple[int, int] = (20, 120), **more: int):
    """Cycles of one round of a loop, when start and end are taken off."""

    def measure(changes: Changes) -> float:
        device = run.device(changes)
        few, many = (run.launch(device, grid, N=n, **more).cycles for n in rounds)
        return (many - few) / (rounds[1] - rounds[0])

    return measure


def over(work: float, measure: Measure) -> Measure:
    """Work of a round over its cycles."""
    return lambda changes: work / measure(changes)


def each(count: float, measure: Measure) -> Measure:
    """Cycles of each of `count` operations of a round."""
    return lambda changes: measure(changes) / count


def chase(hops: int, stride: int, warm: bool) -> Measure:
    """Cycles a hop through `hops` places `stride` bytes apart, read once before or cold."""
    run = Run("global.s", "chase")

    def measure(changes: Changes) -> float:
        device = run.device(changes)
        chain = np.zeros(hops * stride // 4, np.uint32)
        at = device.allocate(chain.nbytes)
        chain[:: stride // 4] = at + stride * ((np.arange(hops) + 1) % hops)
        device.write(at, chain)
        out = device.allocate(8)
        rounds = min(hops // 8, 128)
        run.launch(device, X=at, WARM=hops // 8 if warm else 0, N=rounds, OUT=out)
        return float(device.read(out, 4).view(np.uint32)[0]) / (8 * rounds)

    return measure


def stream(
    size: int, ctas: int, step: int, rounds: tuple[int, int], overrides: Changes | None = None
) -> Measure:
    """Bytes a cycle that `ctas` read of `size` bytes, over and over, going on by `step`."""
    run = Run("global.s", "stream", overrides=overrides or {})

    def measure(changes: Changes) -> float:
        device = run.device(changes)
        at = device.allocate(size)
        arguments = {"X": at, "STEP": step, "MASK": size - 1}
        few, many = (run.launch(device, ctas, N=n, **arguments).cycles for n in rounds)
        return 4 * ctas * CTA_BYTES * (rounds[1] - rounds[0]) / (many - few)

    return measure


def segments(pitch: int, ctas: int, rounds: tuple[int, int]) -> Measure:
    """Bytes a cycle of 64-byte segments in rows `pitch` bytes apart, 8 rows a warp, L2 cold."""
    run = Run("global.s", "segments")

    def measure(changes: Changes) -> float:
        device = run.device(changes)
        at = device.allocate(ctas * 16 * 8 * pitch)
        cycles: list[int] = []
        for n in rounds:
            device.invalidate_caches()
            cycles.append(run.launch(device, ctas, X=at, PITCH=pitch, N=n).cycles)
        return 4 * ctas * CTA_BYTES * (rounds[1] - rounds[0]) / (cycles[1] - cycles[0])

    return measure


def gb_s(measure: Measure) -> Measure:
    """GB/s of bytes a cycle."""
    clock = Machine.load("v100")["clock.core_mhz"]
    return lambda changes: measure(changes) * changes.get("clock.core_mhz", clock) / 1000  # type: ignore[operator]


def launch_us(changes: Changes) -> float:
    run = Run("launch.s", "launch")
    return run.launch(run.device(changes)).time_us


def one_sm(file: str, kernel: str, machine: str = "v100") -> Run:
    return Run(file, kernel, machine, ONE_SM)


def conflict(ways: int) -> Measure:
    run = one_sm("shared.s", "shared_conflict")
    return each(16 * WARPS, round_cycles(run, STRIDE=4 * ways))


@dataclass(frozen=True)
class Micro:
    """A line of the table: what, in which unit, which published value it belongs to, how."""

    name: str
    unit: str
    published: str | None
    measure: Measure


SUB_CORES = 4
MICROS = (
    Micro("IADD3 after IADD3", "cycles", "int_latency", clocked(Run("alu.s", "iadd_latency"))),
    Micro("FFMA after FFMA", "cycles", "fp32_latency", clocked(Run("alu.s", "ffma_latency"))),
    Micro("MUFU after MUFU", "cycles", None, clocked(Run("alu.s", "mufu_latency"))),
    Micro("FFMA, independent", "FMA/cycle/SM", "fma_per_sm_cycle",
          over(32 * 32 * WARPS, round_cycles(one_sm("alu.s", "ffma_throughput")))),
    Micro("HMMA after HMMA, as accumulator", "cycles", None,
          clocked(Run("tensor.s", "hmma_accumulate"))),
    Micro("HMMA after HMMA, as operand", "cycles", None, clocked(Run("tensor.s", "hmma_operand"))),
    Micro("wmma 16x16x16 (16 HMMA)", "cycles", "wmma_latency",
          clocked(Run("tensor.s", "wmma_latency"), more=2, less=4)),
    Micro("HMMA, independent", "MAC/cycle/sub-core", "hmma_macs",
          over(64 * HMMA_MACS * WARPS / SUB_CORES,
               round_cycles(one_sm("tensor.s", "hmma_throughput")))),
    Micro("OHMMA, one tile", "MAC/cycle/sub-core", "ohmma_macs",
          over(OHMMA_MACS, clocked(one_sm("dual.s", "ohmma_throughput", "dstc"), more=128))),
    Micro("OHMMA, two tiles in turn", "MAC/cycle/sub-core", "ohmma_macs",
          over(OHMMA_MACS, clocked(one_sm("dual.s", "ohmma_two_tiles", "dstc"), more=128))),
    Micro("OHMMA, ARD, IADD3, in a chain", "cycles", None,
          clocked(Run("dual.s", "ohmma_read", "dstc"))),
    Micro("SPWMMA, dense, one tile", "cycles", "spwmma_cycles",
          each(8 * WARPS / SUB_CORES, round_cycles(one_sm("dual.s", "spwmma_throughput", "dstc"),
                                                   rounds=(3, 13)))),
    Micro("SPWMMA, dense, two tiles in turn", "cycles", "spwmma_cycles",
          each(8 * WARPS / SUB_CORES, round_cycles(one_sm("dual.s", "spwmma_two_tiles", "dstc"),
                                                   rounds=(3, 13)))),
    Micro("shared memory, pointer chase", "cycles", "shared_latency",
          clocked(Run("shared.s", "shared_chase"))),
    Micro("shared memory, streaming", "B/cycle/SM", "shared_bytes",
          over(16 * 512 * WARPS, round_cycles(one_sm("shared.s", "shared_stream")))),
    *(Micro(f"shared memory, {n}-way conflict", "cycles a load", f"conflict_{n}", conflict(n))
      for n in (1, 2, 4, 32)),
    Micro("L1, pointer chase", "cycles", "l1_latency", chase(64, 128, warm=True)),
    Micro("L1, streaming", "B/cycle/SM", "l1_bytes",
          stream(1 << 14, 1, CTA_BYTES, (50, 150), ONE_SM)),
    Micro("L2, pointer chase", "cycles", "l2_latency", chase(4096, 128, warm=True)),
    Micro("L2, streaming", "B/cycle", "l2_bytes", stream(1 << 22, 160, CTA_BYTES, (4, 24))),
    Micro("DRAM, pointer chase", "cycles", "dram_latency", chase(512, 8320, warm=False)),
    Micro("DRAM, streaming", "GB/s", "dram_gb_s",
          gb_s(stream(1 << 26, 160, 160 * CTA_BYTES, (2, 10)))),
    Micro("DRAM, 64-byte segments 8 KB apart", "GB/s", None,
          gb_s(segments(8192, 80, (8, 24)))),
    Micro("BAR.SYNC, 1 warp", "cycles", None, clocked(Run("barrier.s", "barrier_1"))),
    Micro("BAR.SYNC, 8 warps", "cycles", None, clocked(Run("barrier.s", "barrier_8"))),
    Micro("BAR.SYNC, 32 warps", "cycles", None, clocked(Run("barrier.s", "barrier_32"))),
    Micro("empty kernel", "us", "launch_us", launch_us),
)  # fmt: skip
"""Every microbenchmark, in the table's order."""


def row(micro: Micro, changes: Changes) -> dict[str, Any]:
    """The microbenchmark's line; `accepted` is None where nothing is published."""
    simulated = micro.measure(changes)
    entry = PUBLISHED["values"][micro.published] if micro.published else {}
    low, high = entry.get("accept", (None, None))
    return {
        "name": micro.name,
        "unit": micro.unit,
        "simulated": simulated,
        "published": entry.get("value"),
        "accept": entry.get("accept"),
        "accepted": low <= simulated <= high if entry else None,
        "source": entry.get("source"),
    }


def line(r: dict[str, Any]) -> str:
    published = "-" if r["published"] is None else f"{r['published']:g}"
    mark = "!" if r["accepted"] is False else " "
    return (
        f"{r['name']:34} {r['simulated']:10.2f} {mark}{published:>10}  {r['unit']:19}"
        f"{r['source'] or 'not published'}"
    )


def changed(pairs: Iterable[str]) -> Changes:
    return dict(pair.split("=", 1) for pair in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the table as JSON")
    parser.add_argument("--only", metavar="TEXT", default="", help="lines whose name has TEXT")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="change a machine parameter; repeatable")  # fmt: skip
    args = parser.parse_args()
    changes = changed(args.set)
    print(f"{'':34} {'simulated':>10} {'published':>11}  {'':19}source")
    rows: list[dict[str, Any]] = []
    for micro in MICROS:
        if args.only in micro.name:
            rows.append(row(micro, changes))
            print(line(rows[-1]), flush=True)
    if args.json:
        facts = {"schema": 1, "set": changes, "sources": PUBLISHED["sources"], "rows": rows}
        Path(args.json).write_text(json.dumps(facts, indent=2) + "\n")
        print(f"wrote {args.json}")
    missed = [r["name"] for r in rows if r["accepted"] is False]
    if missed:
        print(f"not as published (!): {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
