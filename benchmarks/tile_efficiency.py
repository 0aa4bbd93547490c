"""How near the main loops come to the tensor peak: the table of passes/candidates.py.

In: the tiles and stages of that table, a machine. Out: for each, one CTA alone on an
SM, dense operands: the share of the tensor peak that its steps reach between two depths.

    python benchmarks/tile_efficiency.py --density 1
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dstc.compiler.bench import Gemm, run_gemm
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.candidates import KERNELS
from dstc.runtime.machine import Machine

DEPTHS = 256, 768
"""Two depths: the difference of their cycles is free of what stands before and after the loop."""


def candidates() -> Iterator[ScheduleAttr]:
    """Every row of the tables, as a schedule."""
    for engine, kernels in KERNELS.items():
        for tiles in kernels.tiles:
            for stages in tiles.stages:
                yield ScheduleAttr.of(engine, tiles.cta, tiles.warp, stages)


def measured(schedule: ScheduleAttr, machine: Machine, density: float) -> float:
    """Share of the tensor bound that the loop reaches: extra bound over extra cycles."""
    bound = "ohmma" if schedule.engine.data == Engine.DUAL else "hmma"
    rows = [
        run_gemm(
            Gemm(*schedule.cta_tile, k, density, density),
            machine=machine, engine=schedule.engine.data, schedule=schedule, check=False,
        )
        for k in DEPTHS
    ]  # fmt: skip
    short, long = rows
    return (long["bounds"][bound] - short["bounds"][bound]) / (long["cycles"] - short["cycles"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", default="dstc")
    parser.add_argument("--density", type=float, default=1.0, help="of both operands (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write all rows")
    args = parser.parse_args()
    machine = Machine.load(args.machine, {"sm.count": 1})
    found: list[dict[str, Any]] = []
    print("engine  CTA        warp     stages   measured")
    for schedule in candidates():
        cta, warp = ("x".join(map(str, tile)) for tile in (schedule.cta_tile, schedule.warp_tile))
        stages = int(schedule.stages.value.data)
        now = measured(schedule, machine, args.density)
        found.append(
            {"engine": schedule.engine.data, "cta": cta, "warp": warp, "stages": stages,
             "measured": now}
        )  # fmt: skip
        print(
            f"{schedule.engine.data:7} {cta:10} {warp:8} {stages:6} {now:10.2f}",
            flush=True,
        )
    if args.json:
        Path(args.json).write_text(json.dumps({"schema": 1, "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
