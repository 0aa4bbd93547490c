"""Running a whole program: allocate, upload, launch kernel by kernel, download.

In: a `Program` with a plan, a `Device`, inputs by name. Out: outputs by name, and for each kernel
what it took and what its operands looked like.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError
from ..backend.isa.program import Buffer, HostStep, Launch, Plan, Program
from .device import Device
from .formats import Bitmap, Counts, Statistics, statistics
from .formats import count as counted
from .host_ops import run_host_op
from .images import bitmap_of, from_image, padding_of, to_image
from .layers import Layer, layers_of, limit_of
from .lowered import lowered
from .pictures import Picture
from .sim.engine import LaunchResult
from .sim.timeline import Recording

Array = NDArray[Any]


@dataclass
class KernelRun:
    """One launch: what it was, what it took, and its operands' densities (0 to 1).

    `pictures`: of the operands of its first product, if they were asked for.
    """

    launch: Launch
    result: LaunchResult
    a_density: float | None = None
    b_density: float | None = None
    operands: Statistics | None = None
    pictures: tuple[Picture, Picture] | None = None

    @property
    def macs_effective(self) -> int:
        """Multiply-adds of two non-zeros."""
        return self.operands.products_effective if self.operands else 0

    @property
    def limit(self) -> str | None:
        """What most of its sub-core cycles went to (`layers.limit_of`)."""
        return limit_of(self.result.stalls)

    def to_json(self) -> dict[str, Any]:
        """The kernel's row in `dstc run --json`."""
        r, launch = self.result, self.launch
        return {
            "name": launch.name,
            "kernel": launch.kernel,
            "source": list(launch.source),
            "op": launch.op,
            "engine": launch.engine or None,
            "grid": list(launch.grid),
            "cycles": r.cycles,
            "time_us": r.time_us,
            "warp_instructions": r.warp_instructions,
            "macs_dense": launch.macs_dense,
            "macs_effective": self.macs_effective,
            "a_density": self.a_density,
            "b_density": self.b_density,
            "ohmma_issued": r.counters.get("ohmma_issued", 0),
            "ohmma_skipped": r.counters.get("ohmma_skipped", 0),
            "dram_bytes": r.counters.get("dram_bytes", 0),
            "limit": self.limit,
            "counters": r.counters,
            "stalls": r.stalls,
            "opcodes": r.opcodes,
            "ctas": r.ctas,
            "occupancy": r.occupancy,
            "occupancy_limits": r.limits,
        }

    def detail_to_json(self) -> dict[str, Any]:
        """By instruction, and the operands' pictures: what a report has beyond `to_json`.

        `pc_stalled`: for each cause that occurs, [instruction, sub-core cycles] pairs.
        """
        r = self.result
        stalled: dict[str, list[list[int]]] = {}
        for cause, column in zip(r.stalls, r.pc_stalled.T, strict=bool(r.stalls)):
            places = np.flatnonzero(column)
            if places.size:
                stalled[cause] = np.stack([places, column[places]], axis=1).tolist()
        return {
            "pc_issued": r.pc_issued.tolist(),
            "pc_stalled": stalled,
            "pictures": None if self.pictures is None else [p.to_json() for p in self.pictures],
        }


@dataclass
class HostRun:
    """One operator that ran on the host."""

    name: str
    op: str
    source: tuple[str, ...]
    wall_seconds: float

    def to_json(self) -> dict[str, Any]:
        """The operator's entry in `dstc run --json`."""
        return {
            "name": self.name,
            "op": self.op,
            "source": list(self.source),
            "wall_seconds": self.wall_seconds,
        }


@dataclass
class RunResult:
    """Outputs by name, kernels and host operators in the order they ran.

    `stopped_at`: the step that an interrupt stopped, of which and of later ones nothing is here;
    then there are no outputs.
    """

    outputs: dict[str, Array]
    kernels: list[KernelRun] = field(default_factory=list[KernelRun])
    host_ops: list[HostRun] = field(default_factory=list[HostRun])
    wall_seconds: float = 0.0
    stopped_at: str | None = None

    @property
    def cycles(self) -> int:
        """Cycles of all kernels, one after the other."""
        return sum(k.result.cycles for k in self.kernels)

    @property
    def time_us(self) -> float:
        """Time of all kernels, launch overheads included; host operators are not."""
        return sum(k.result.time_us for k in self.kernels)

    @property
    def layers(self) -> list[Layer]:
        """The kernels by the node of the model that they work for."""
        return layers_of(self.kernels)

    @property
    def warp_instructions(self) -> int:
        """Warp instructions issued."""
        return sum(k.result.warp_instructions for k in self.kernels)


class Observer(Protocol):
    """Watches the launches of a run."""

    def before(self, launch: Launch) -> Recording | None:
        """What to record of a launch; None: nothing."""
        ...

    def after(self, run: KernelRun) -> None:
        """A launch has run; its timeline is in its result."""
        ...


Progress = Callable[[int, int, str], None]
"""Called before each step with its index, the number of steps and its name."""


def check_inputs(plan: Plan, inputs: Mapping[str, Array]) -> None:
    """Raises `DstcError` unless each input is there, of its dtype and of its shape."""
    names = [port.name for port in plan.inputs]
    unknown = [n for n in inputs if n not in names]
    if unknown:
        raise DstcError(f"the model has no input {unknown[0]!r}; its inputs: {', '.join(names)}")
    for port in plan.inputs:
        if port.name not in inputs:
            raise DstcError(f"input {port.name!r} is missing; give it as {port.name}=file.npy")
        array = inputs[port.name]
        check_dtype(port.name, array, port.dtype)
        if tuple(array.shape) != tuple(port.shape):
            raise DstcError(
                f"input {port.name!r} has shape {'x'.join(map(str, array.shape))}; the program "
                f"takes {'x'.join(map(str, port.shape))}"
            )


def check_dtype(name: str, array: Array, wanted: str) -> None:
    """Raises `DstcError` unless `array`, input `name`, has dtype `wanted` in native byte order."""
    if array.dtype.name != wanted or not array.dtype.isnative:
        raise DstcError(
            f"input {name!r} has dtype {array.dtype}; the model takes {wanted}: convert it with "
            f'.astype("{wanted}")'
        )


def run_program(
    program: Program,
    device: Device,
    inputs: Mapping[str, Array],
    *,
    statistics_: bool = True,
    progress: Progress | None = None,
    pictures: bool = False,
    observer: Observer | None = None,
    keep_partial: bool = False,
) -> RunResult:
    """Run `program` on `device`.

    `statistics_`: look at each product's operands for densities and effective products;
    `pictures`: keep what they look like, too. `observer`: told of each launch, and may have it
    recorded. `keep_partial`: an interrupt (Ctrl-C) ends the run with what was done by then, instead
    of `KeyboardInterrupt`.
    Raises `DstcError` for unfit inputs, `Trap` when a kernel goes wrong.
    """
    plan = program.plan
    if plan is None:
        raise DstcError("the program has no launch plan; run its kernels with `dstc sim`")
    check_inputs(plan, inputs)
    run = _Run(program, plan, device, pictures, observer)
    return run.run(inputs, statistics_, progress, keep_partial)


class _Run:
    def __init__(
        self,
        program: Program,
        plan: Plan,
        device: Device,
        pictures: bool,
        observer: Observer | None,
    ) -> None:
        self.program, self.plan, self.device = program, plan, device
        self.pictures, self.observer = pictures, observer
        self.buffers: dict[str, Buffer] = {b.name: b for b in plan.buffers}
        self.addresses: dict[str, int] = {}
        self.arena: int | None = None
        self.placed = {n: b for n, b in self.buffers.items() if b.offset is not None}
        self.lives = plan.lives()

    def run(
        self,
        inputs: Mapping[str, Array],
        look: bool,
        progress: Progress | None,
        keep_partial: bool,
    ) -> RunResult:
        started = time.perf_counter()
        result = RunResult({})
        try:
            self._allocate()
            for port in self.plan.inputs:
                self.put(port.buffer, inputs[port.name])
            for i, step in enumerate(self.plan.steps):
                if progress is not None:
                    progress(i, len(self.plan.steps), step.name)
                try:
                    self._step(i, step, look, result)
                except KeyboardInterrupt:
                    if not keep_partial:
                        raise
                    result.stopped_at = step.name
                    return result
            self._carve(len(self.plan.steps))
            for port in self.plan.outputs:
                array = self.get(port.buffer).reshape(port.shape)
                result.outputs[port.name] = array.astype(np.dtype(port.dtype))
            return result
        finally:
            result.wall_seconds = time.perf_counter() - started
            if self.arena is not None:
                self.device.free(self.arena)
            for name, address in self.addresses.items():
                if self.buffers[name].offset is None:
                    self.device.free(address)

    def _step(self, index: int, step: Launch | HostStep, look: bool, result: RunResult) -> None:
        """Run a step of the plan; `result` gets it."""
        self._carve(index)
        if isinstance(step, Launch):
            result.kernels.append(self._launch(step, look))
            return
        began = time.perf_counter()
        target = step.outputs[0]
        value = run_host_op(
            step.op,
            [self.get(name) for name in step.inputs],
            self.buffers[target].shape,
            step.attributes,
        )
        self.put(target, value)
        took = time.perf_counter() - began
        result.host_ops.append(HostRun(step.name, step.op, step.source, took))

    def _carve(self, step: int) -> None:
        """Of the arena the buffers are valid that step `step` or a later one needs again."""
        if self.arena is None:
            return
        live = {
            n: b for n, b in self.placed.items() if self.lives[n][0] <= step <= self.lives[n][1]
        }
        self.device.carve(self.arena, {b.offset or 0: b.bytes for b in live.values()})
        for name, buffer in live.items():
            if self.lives[name][0] == step:
                self.device.mark_written(self.addresses[name], padding_of(buffer))

    def _allocate(self) -> None:
        if self.plan.arena:
            self.arena = self.device.allocate(self.plan.arena)
        for buffer in self.plan.buffers:
            if buffer.offset is not None and self.arena is not None:
                self.addresses[buffer.name] = self.arena + buffer.offset
                continue
            self.addresses[buffer.name] = self.device.allocate(buffer.bytes)
            self.device.mark_written(self.addresses[buffer.name], padding_of(buffer))
            if buffer.data is not None:
                self.device.write(self.addresses[buffer.name], self.program.data[buffer.data])

    def put(self, name: str, array: Array) -> None:
        """Upload an array into a buffer."""
        image = to_image(array, self.buffers[name])
        if image.size > self.buffers[name].bytes:
            raise DstcError(
                f"buffer {name!r} of {self.buffers[name].bytes} bytes cannot hold {image.size}"
            )
        self.device.write(self.addresses[name], image)

    def get(self, name: str) -> Array:
        """Download a buffer as an array."""
        return from_image(self._bytes(name), self.buffers[name])

    def _bytes(self, name: str) -> NDArray[np.uint8]:
        return self.device.read(self.addresses[name], self.buffers[name].bytes)

    def _operands(
        self, launch: Launch, name: str, side: str, seen: list[Picture]
    ) -> list[Bitmap | Counts]:
        """An operand of each product of a launch; `seen` gets the first one's picture."""
        buffer = self.buffers[name]
        if buffer.bitmap is not None:
            bitmap = bitmap_of(self._bytes(name), buffer)
            if self.pictures:
                seen.append(Picture.of_bitmap(bitmap))
            return [bitmap]
        array = self.get(name) != 0
        shape = launch.a_shape if side == "a" else launch.b_shape
        parts = np.split(array.reshape(shape or (array.shape[0], -1)), launch.batch)
        turned = [p.T if side in launch.transposed else p for p in parts]
        operands: list[Bitmap | Counts] = [counted(p, side) for p in turned]
        if self.pictures:
            seen.append(Picture.of(turned[0], operands[0]))
        return operands

    def _look_at_windows(self, run: KernelRun) -> None:
        """What a product on windows of an image multiplies, over all groups."""
        launch = run.launch
        assert launch.a_operand is not None and launch.b_operand is not None
        numbers, groups, image = launch.window[:12], launch.window[12], launch.window[13:]
        window = (numbers[0:2], numbers[2:4], numbers[4:8], numbers[8:10])
        left = np.split(self.get(launch.a_operand).reshape(launch.a_shape) != 0, groups)
        # a reshape is an alias: the buffer's shape may be another
        occupied = self.get(launch.b_operand).reshape(image) != 0
        columns = lowered(occupied, window, numbers[10:12])
        pairs = list(zip(left, np.split(columns, groups), strict=True))
        operands = [(counted(a, "a"), counted(b, "b")) for a, b in pairs]
        if self.pictures:
            (a, b), (counts_a, counts_b) = pairs[0], operands[0]
            run.pictures = Picture.of(a, counts_a), Picture.of(b, counts_b)
        run.a_density, run.b_density = (
            sum(pair[i].density for pair in operands) / groups for i in range(2)
        )
        run.operands = Statistics.total(statistics(*pair) for pair in operands)

    def _launch(self, launch: Launch, look: bool) -> KernelRun:
        args = [self.addresses[a] if isinstance(a, str) else a for a in launch.args]
        if self.observer is not None:
            self.device.recording = self.observer.before(launch)
        result = self.device.launch(self.program.kernels[launch.kernel], launch.grid, args)
        run = KernelRun(launch, result)
        if self.observer is not None:
            self.observer.after(run)
            run.result = replace(result, timeline=None)
        if look and launch.window and launch.a_operand is not None:
            self._look_at_windows(run)
        elif look and launch.a_operand is not None and launch.b_operand is not None:
            sides = ((launch.a_operand, "a"), (launch.b_operand, "b"))
            seen: list[Picture] = []
            pairs = list(zip(*(self._operands(launch, *side, seen) for side in sides), strict=True))
            if seen:
                run.pictures = seen[0], seen[1]
            run.a_density, run.b_density = (
                sum(pair[i].density for pair in pairs) / len(pairs) for i in (0, 1)
            )
            run.operands = Statistics.total(statistics(*pair) for pair in pairs)
        return run
