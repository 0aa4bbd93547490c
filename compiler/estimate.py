"""The mode `estimate`: cycles of a compiled model's kernels in closed form, nothing is simulated.

In: launches, the products' schedules as the compiler chose them, a machine. Out: cycles, time and
what limits each kernel. No values: there are no outputs, and densities are those known when
compiling (weights are counted, activations taken as dense).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..backend.isa.errors import DstcError
from ..backend.isa.program import Launch, Plan
from ..passes import cost_streaming
from ..passes.cost import ScheduledProduct
from ..passes.cost_chip import Chip, Prediction
from ..runtime.machine import Machine

if TYPE_CHECKING:
    from .api import Compiled

MODE = "estimate"
"""Its name on the command line, beside the simulator's modes."""


@dataclass(frozen=True)
class KernelEstimate:
    """One launch and its prediction; `product`: what was multiplied, if anything."""

    launch: Launch
    prediction: Prediction
    machine: Machine
    product: ScheduledProduct | None = None

    @property
    def cycles(self) -> int:
        """Predicted cycles of the kernel."""
        return round(self.prediction.cycles)

    @property
    def time_us(self) -> float:
        """Predicted time, launch overhead included."""
        return launch_time_us(self.prediction.cycles, self.machine)

    def to_json(self) -> dict[str, Any]:
        """The kernel's row in `dstc run --json`: what only a simulation knows is null."""
        launch, product = self.launch, self.product
        unknown = ("warp_instructions", "macs_effective", "ohmma_issued", "ohmma_skipped",
                   "dram_bytes", "counters", "stalls")  # fmt: skip
        return {
            "name": launch.name,
            "kernel": launch.kernel,
            "source": list(launch.source),
            "op": launch.op,
            "engine": launch.engine or None,
            "grid": list(launch.grid),
            "cycles": self.cycles,
            "time_us": self.time_us,
            "macs_dense": launch.macs_dense,
            "a_density": product.densities[0] if product else None,
            "b_density": product.densities[1] if product else None,
            **dict.fromkeys(unknown),
            **estimate_facts(self.prediction),
        }


def launch_time_us(cycles: float, machine: Machine) -> float:
    """Microseconds of a launch of `cycles`."""
    return cycles / machine["clock.core_mhz"] + machine["launch.overhead_us"]


def estimate_facts(prediction: Prediction) -> dict[str, Any]:
    """The limiting resource, and the cycles of each resource alone."""
    parts = {name: round(cycles, 1) for name, cycles in prediction.parts.items()}
    return {"limit": prediction.limit, "estimate": parts}


def estimate_kernels(compiled: Compiled) -> list[KernelEstimate]:
    """Every launch of a compiled model, in order.

    Raises `DstcError` for a program that was read from a file: it does not say how its products
    were scheduled.
    """
    plan = compiled.program.plan
    assert plan is not None
    products = iter(compiled.products)
    chip = Chip.of(compiled.machine)
    found: list[KernelEstimate] = []
    for launch in (step for step in plan.steps if isinstance(step, Launch)):
        product = next(products, None) if launch.engine else None
        if launch.engine and product is None:
            raise DstcError(
                "--mode estimate needs the model: a compiled program does not say how its products "
                "are scheduled"
            )
        prediction = product.predict(chip) if product else _streaming(compiled, plan, launch, chip)
        found.append(KernelEstimate(launch, prediction, compiled.machine, product))
    return found


def _streaming(compiled: Compiled, plan: Plan, launch: Launch, chip: Chip) -> Prediction:
    """A kernel that is no product: the last buffer is the one it writes."""
    sizes = list(_bytes(plan, launch))
    kernel = compiled.program.kernels[launch.kernel]
    x, y, z = launch.grid
    return cost_streaming.predict(
        x * y * z, kernel.warps, len(kernel.code), sum(sizes[:-1]), sum(sizes[-1:]), chip
    )


def _bytes(plan: Plan, launch: Launch) -> Iterator[int]:
    """Bytes of the buffers that a launch takes."""
    sizes = {b.name: b.bytes for b in plan.buffers}
    return (sizes[a] for a in launch.args if isinstance(a, str))
