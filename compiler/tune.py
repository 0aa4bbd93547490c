"""`--tune`: candidates of a product measured on the simulator, and remembered on disk.

In: a product, schedules, a machine. Out: cycles of each, by the same passes and the same simulator
as everything else, on generated operands of the product's densities.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic
from ..dialects.dstc import Engine, ScheduleAttr
from ..passes.choose import schedule_facts
from ..passes.cost import ScheduledProduct
from ..runtime.machine import Machine

SCHEMA = 1
_ROOMS = "backend", "dialects", "passes", "runtime"
"""What cycles hang on beside product and machine: how code is made, and how it runs."""
_DIGITS = 3
"""Densities are taken to so many digits: a product of 0.1004 is not measured again for 0.1."""

Say = Callable[[str], None]


def _stderr(line: str) -> None:
    print(f"tune: {line}", file=sys.stderr)


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/dstc`, or the same in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "dstc"


def cache_folder() -> Path:
    """Where measured cycles are: `tune` in `cache_root()`."""
    return cache_root() / "tune"


@cache
def source_stamp(*rooms: str) -> str:
    """A hash of the sources in `rooms` (default: those that make and run code)."""
    digest = hashlib.sha256()
    base = Path(__file__).parents[1]
    for file in sorted(f for room in rooms or _ROOMS for f in (base / room).rglob("*.py")):
        digest.update(file.relative_to(base).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def machine_stamp(machine: Machine) -> str:
    """A hash of a machine's units and parameters, whatever its name."""
    values = {key: parameter.value for key, parameter in machine.parameters.items()}
    text = json.dumps([sorted(machine.features), values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Tuner:
    """Measures schedules of products; `folder`: the cache, None for none; `say`: takes one line.

    `threads`: as of `Device`; `simulated`, `remembered`: how many cycles came from where.
    """

    folder: Path | None = field(default_factory=cache_folder)
    threads: int | None = None
    say: Say = _stderr
    simulated: int = 0
    remembered: int = 0

    def __call__(
        self, product: ScheduledProduct, schedules: Sequence[ScheduleAttr], machine: Machine
    ) -> list[int]:
        """Cycles of the product with each schedule."""
        entry = _Entry.of(product, machine, self.folder, self.say)
        started = time.perf_counter()
        new = [s for s in schedules if _key(s) not in entry.cycles]
        for schedule in new:
            entry.cycles[_key(schedule)] = self._simulated(entry, schedule, machine)
        if new:
            entry.save()
        self.simulated += len(new)
        self.remembered += len(schedules) - len(new)
        m, n, k = product.sizes
        a, b = entry.densities
        self.say(
            f"{m} x {n} x {k}, densities {a:g} and {b:g}, on {machine.name}: "
            f"{len(new)} schedules simulated in {time.perf_counter() - started:.1f} s, "
            f"{len(schedules) - len(new)} remembered"
        )
        return [entry.cycles[_key(s)] for s in schedules]

    def _simulated(self, entry: _Entry, schedule: ScheduleAttr, machine: Machine) -> int:
        from .bench import Gemm, run_gemm

        product, (a, b) = entry.product, entry.densities
        sparse = product.patterns[schedule.swapped] if schedule.engine.data == Engine.NM else None
        if product.windows is not None:
            return _simulated_conv(product, (a, b), schedule, machine, self.threads)
        gemm = Gemm(
            *product.sizes, a, b, trans_a=product.transposed[0], trans_b=product.transposed[1],
            out="f16" if product.out_bytes == 2 else "f32",
            pattern="random" if sparse is None else str(sparse),
            pattern_side="ab"[schedule.swapped],
            tiles=(product.tiles[0], product.tiles[1]),
        )  # fmt: skip
        row = run_gemm(
            gemm, machine=machine, schedule=schedule, check=False, checks="off",
            threads=self.threads,
        )  # fmt: skip
        return row["cycles"]


def _windows(product: ScheduledProduct) -> dict[str, Any]:
    """What the right operand is windows of, for the facts of a convolution."""
    if product.windows is None:
        return {}
    return {"windows": json.loads(json.dumps(asdict(product.windows))), "groups": product.groups}


def _simulated_conv(
    product: ScheduledProduct,
    densities: tuple[float, float],
    schedule: ScheduleAttr,
    machine: Machine,
    threads: int | None,
) -> int:
    """Cycles of a convolution's product, without what may come before it."""
    from .bench_conv import Conv, run_conv

    windows, groups = product.windows, product.groups
    assert windows is not None
    w, pattern = windows.window, product.patterns[0]
    top, left, bottom, right = w.pads
    conv = Conv(
        windows.batch, windows.channels * groups, *windows.size, product.sizes[0] * groups,
        (w.kernel[0], w.kernel[1]), strides=(w.strides[0], w.strides[1]),
        pads=(top, left, bottom, right), dilations=(w.dilations[0], w.dilations[1]), groups=groups,
        spread=(w.spread[0], w.spread[1]), w_density=densities[0], a_density=densities[1],
        pattern=str(pattern) if pattern and schedule.engine.data == Engine.NM else "random",
        out="f16" if product.out_bytes == 2 else "f32",
    )  # fmt: skip
    row = run_conv(
        conv, machine=machine, schedule=schedule, check=False, checks="off", threads=threads
    )
    return row["kernels"][-1]["cycles"]


def _key(schedule: ScheduleAttr) -> str:
    return json.dumps(schedule_facts(schedule))


@dataclass
class _Entry:
    """What is known of one product on one machine: cycles by schedule, in a file of its own."""

    product: ScheduledProduct
    densities: tuple[float, float]
    facts: dict[str, Any]
    file: Path | None
    say: Say
    cycles: dict[str, int] = field(default_factory=dict[str, int])

    @staticmethod
    def of(product: ScheduledProduct, machine: Machine, folder: Path | None, say: Say) -> _Entry:
        a, b = (round(d, _DIGITS) for d in product.densities)
        facts = {
            "machine": machine_stamp(machine),
            "source": source_stamp(),
            "sizes": list(product.sizes),
            "transposed": list(product.transposed),
            "out_bytes": product.out_bytes,
            "densities": [a, b],
            "tiles": [round(share, _DIGITS) for share in product.tiles],
            "patterns": [str(p) if p else None for p in product.patterns],
            **_windows(product),
        }
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        file = None if folder is None else folder / f"{name}.json"
        entry = _Entry(product, (a, b), facts, file, say)
        if file is not None and file.exists():
            entry.load(file)
        return entry

    def load(self, file: Path) -> None:
        """Take over the cycles in `file`; one that is damaged, or another's, is ignored."""
        try:
            found: Any = json.loads(file.read_bytes())
            cycles = cast("dict[str, Any]", found["cycles"])
            if found["schema"] != SCHEMA or found["facts"] != self.facts:
                raise ValueError("it is of another product or version")
            if not all(isinstance(n, int) and n > 0 for n in cycles.values()):
                raise ValueError("cycles are positive whole numbers")
            self.cycles.update(cycles)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            self.say(f"{file}: ignored, no readable cache entry ({' '.join(str(e).split())})")

    def save(self) -> None:
        """Write the file, whole or not at all; a folder that cannot be written is told once."""
        if self.file is None:
            return
        text = json.dumps({"schema": SCHEMA, "facts": self.facts, "cycles": self.cycles}, indent=1)
        try:
            write_atomic(self.file, text.encode())
        except DstcError as e:
            self.say(f"not remembered: {e}")
