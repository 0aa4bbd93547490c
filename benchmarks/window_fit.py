"""The numbers of `passes/cost_windows.py`: gathered convolutions simulated, and what fits best.

In: how many convolutions (random ones of the shapes that models have, with tiles within 1.6 of the
best prediction). Out: a line each, how far predictions are off, and the fitted `Gathering`.

    python benchmarks/window_fit.py --count 60 --json samples.json
    python benchmarks/window_fit.py --from samples.json
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from dstc.compiler.bench_conv import Conv, run_conv
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes import cost_dense
from dstc.passes.choose import choose
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Chip
from dstc.passes.cost_windows import Gathering, Windows
from dstc.runtime.machine import Machine

MACHINE = Machine.load("v100")
CHIP = Chip.of(MACHINE)
BOUNDS = {
    "start": (0, 3000), "gap": (0, 300), "issue_share": (0.6, 1), "tensor_share": (0.7, 1.1),
    "fewer": (0, 0.6), "in_flight": (0.3, 1.2),
}  # fmt: skip
NEAR = 1.6
TRIES = 1000


def convolution(rng: random.Random) -> Conv:
    size = rng.choice([7, 14, 27, 28, 56, 112])
    kernel = rng.choice([1, 3, 3, 3, 5])
    stride = 2 if kernel == 1 else rng.choice([1, 1, 2])
    most = 1 << 21  # elements of an image and filters: minutes, not hours
    channels = rng.choice([c for c in (16, 32, 64, 128, 256, 512) if c * size * size <= most])
    pad = kernel // 2
    return Conv(
        rng.choice([4, 8, 16]), channels, size, size, rng.choice([32, 64, 128, 256, 512]),
        (kernel, kernel), strides=(stride, stride), pads=(pad, pad, pad, pad),
    )  # fmt: skip


def product(conv: Conv, schedule: ScheduleAttr) -> ScheduledProduct:
    windows = Windows(conv.batch, conv.channels, (conv.height, conv.width), conv.window)
    return ScheduledProduct(conv.sizes, schedule, out_bytes=2, windows=windows)


def sample(rng: random.Random) -> dict[str, Any]:
    conv = convolution(rng)
    some = ScheduleAttr.of(Engine.DENSE, (64, 64), (32, 32), 2)
    found = choose(product(conv, some), MACHINE, "dense").candidates
    near = [c for c in found if c.cycles < NEAR * found[0].cycles]
    s = rng.choice(near).schedule
    row = run_conv(conv, machine=MACHINE, engine="dense", schedule=s, check=False)
    return {
        "conv": {k: v for k, v in asdict(conv).items()},
        "tiles": [s.cta_tile, s.warp_tile, s.parts],
        "cycles": row["cycles"],
    }


def read(entry: dict[str, Any]) -> tuple[ScheduledProduct, int]:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["conv"].items()}
    cta, warp, parts = entry["tiles"]
    schedule = ScheduleAttr.of(Engine.DENSE, tuple(cta), tuple(warp), 2, split=parts)
    return product(Conv(**fields), schedule), entry["cycles"]


def ratios(items: list[tuple[ScheduledProduct, int]], g: Gathering) -> np.ndarray:
    predicted = [cost_dense.predict(*p.dense, CHIP, cost_dense.FITTED, g) for p, _ in items]
    return np.array([x.cycles / n for x, (_, n) in zip(predicted, items, strict=True)])


def fit(items: list[tuple[ScheduledProduct, int]], rng: random.Random) -> Gathering:
    best = Gathering()
    error = np.abs(np.log(ratios(items, best))).mean()
    for _ in range(TRIES):
        values = asdict(best)
        for key in rng.sample(list(BOUNDS), rng.choice([1, 2])):
            low, high = BOUNDS[key]
            moved = values[key] + rng.gauss(0, 0.1 * (high - low))
            values[key] = min(high, max(low, moved))
        other = replace(best, **values)
        its = np.abs(np.log(ratios(items, other))).mean()
        if its < error:
            best, error = other, its
    return best


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", help="write the samples here")
    p.add_argument("--from", dest="source", help="fit samples of an earlier run")
    args = p.parse_args()
    rng = random.Random(args.seed)
    if args.source:
        entries = json.loads(Path(args.source).read_text())
    else:
        entries = [sample(rng) for _ in range(args.count)]
        if args.json:
            Path(args.json).write_text(json.dumps(entries, indent=1))
    items = [read(e) for e in entries]
    for what, g in (("as it stands", Gathering()), ("fitted", fit(items, rng))):
        r = ratios(items, g)
        print(f"{what}: {len(r)} convolutions, predicted / simulated "
              f"{np.exp(np.log(r).mean()):.3f}, off by {100 * np.abs(r - 1).mean():.1f} %, "
              f"{r.min():.2f} to {r.max():.2f}; {g}")  # fmt: skip


if __name__ == "__main__":
    main()
