"""Where a run's time went, layer by layer.

In: kernels in the order they ran. Out: `Layer`s: all kernels that work for one node of the model,
with engine, densities at the product's operands, work, cycles, share and what limits them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .executor import KernelRun

ISSUE = "issue"
"""The limit of a kernel whose sub-cores issue in most of their cycles."""


def limit_of(stalls: Mapping[str, int]) -> str | None:
    """What took most sub-core cycles: `issue` or a cause of stalls; None if nothing was timed."""
    if not any(stalls.values()):
        return None
    cause = max(stalls, key=lambda name: stalls[name])
    return ISSUE if cause == "issued" else cause


@dataclass(frozen=True)
class Layer:
    """Kernels of one node; `share`: of the run's cycles, 0 to 1.

    `op` and `engine` are the product's, if there is one; densities (0 to 1) are those of its
    operands as they were multiplied. `limit`: where most cycles of all kernels went.
    """

    name: str
    op: str
    engine: str | None
    a_density: float | None
    b_density: float | None
    macs_dense: int
    macs_effective: int
    ohmma_issued: int
    ohmma_skipped: int
    cycles: int
    time_us: float
    share: float | None
    limit: str | None
    kernels: int

    @staticmethod
    def of(name: str, runs: Sequence[KernelRun], total: int) -> Layer:
        """The layer that `runs` work for, of a run of `total` cycles."""
        main = next((r for r in runs if r.launch.engine), runs[0])
        stalls: dict[str, int] = {}
        for run in runs:
            for cause, cycles in run.result.stalls.items():
                stalls[cause] = stalls.get(cause, 0) + cycles
        cycles = sum(r.result.cycles for r in runs)
        return Layer(
            name, main.launch.op, main.launch.engine or None, main.a_density, main.b_density,
            macs_dense=sum(r.launch.macs_dense for r in runs),
            macs_effective=sum(r.macs_effective for r in runs),
            ohmma_issued=sum(r.result.counters.get("ohmma_issued", 0) for r in runs),
            ohmma_skipped=sum(r.result.counters.get("ohmma_skipped", 0) for r in runs),
            cycles=cycles,
            time_us=sum(r.result.time_us for r in runs),
            share=cycles / total if total else None,
            limit=limit_of(stalls),
            kernels=len(runs),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The layer's row in `dstc run --json`."""
        return dict(self.__dict__)


def layers_of(runs: Sequence[KernelRun]) -> list[Layer]:
    """The layers of a run, in the order of their first kernels."""
    found: dict[str, list[KernelRun]] = {}
    for run in runs:
        source = run.launch.source
        found.setdefault(source[0] if source else run.launch.name, []).append(run)
    total = sum(run.result.cycles for run in runs)
    return [Layer.of(name, own, total) for name, own in found.items()]
