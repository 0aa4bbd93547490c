"""A device: memory, a machine and launches.

In: a machine by name, data, kernels. Out: results in device memory and a `LaunchResult` a launch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend.isa.errors import DstcError
from .machine import Machine
from .memory import Memory
from .sim.engine import L2State, LaunchResult, OnCtas, launch
from .sim.timeline import Recording

MODES = ("cycle", "functional")
CHECKS = ("off", "basic", "full")
MAX_INSTRUCTIONS = 1 << 27
"""Default bound on the instructions of one warp in one launch."""


def available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Device:
    """A simulated device.

    `mode`: "cycle" (values and time) or "functional" (values alone). `checks`: "basic" (reads
    of registers, predicates and accumulation tiles that were never written trap), "full" (reads
    of global and shared memory too, and races in shared memory), or "off". `overrides`: machine
    parameters by `section.key`. `max_instructions`: bound on one warp; a launch may take four
    times as many (or 2^18 a resident warp, if that is more) without any warp finishing.
    `threads`: host threads that simulate SMs (default: the CPUs that this process may use), as far
    as a launch in cycle mode has SMs for them; results never depend on it. `max_ctas`: every launch
    runs only its first so many CTAs, in dispatch order, which samples a long grid; what the others
    would compute is missing, and the result says how many were left out. Raises `DstcError` for an
    unknown machine, parameter or mode.
    """

    def __init__(
        self,
        machine: str | Machine = "dstc",
        mode: str = "cycle",
        threads: int | None = None,
        checks: str = "basic",
        max_instructions: int = MAX_INSTRUCTIONS,
        overrides: Mapping[str, object] | None = None,
        max_ctas: int | None = None,
        recording: Recording | None = None,
    ) -> None:
        if mode not in MODES:
            raise DstcError(f"mode '{mode}': there are {', '.join(MODES)}")
        threads = available_cpus() if threads is None else threads
        if checks not in CHECKS:
            raise DstcError(f"checks '{checks}': there are {', '.join(CHECKS)}")
        if threads < 1:
            raise DstcError(f"threads must be at least 1, not {threads}")
        if max_instructions < 1:
            raise DstcError(f"max_instructions must be at least 1, not {max_instructions}")
        if max_ctas is not None and max_ctas < 1:
            raise DstcError(f"max_ctas must be at least 1, not {max_ctas}")
        self.machine = (
            machine.overridden(overrides)
            if isinstance(machine, Machine)
            else Machine.load(machine, overrides)
        )
        self.mode, self.threads, self.checks = mode, threads, checks
        self.max_instructions, self.max_ctas = max_instructions, max_ctas
        self.recording = recording
        self.on_ctas: OnCtas | None = None
        self.memory = Memory(track=checks == "full")
        self._l2 = L2State(self.machine)

    def allocate(self, size: int, align: int = 256, *, zeroed: bool = False) -> int:
        """Address of `size` zero bytes. `zeroed`: on purpose; full checks count them as written."""
        address = self.memory.allocate(size, align)
        if zeroed:
            self.memory.mark(address, np.ones(size, np.bool_))
        return address

    def mark_written(self, address: int, written: NDArray[np.bool_]) -> None:
        """Count the bytes from `address` on as written where the flags say so, for full checks."""
        self.memory.check(address, written.size)
        self.memory.mark(address, written)

    def carve(self, address: int, pieces: Mapping[int, int]) -> None:
        """Let of the allocation at `address` only `pieces` (size by offset) be valid for now."""
        self.memory.carve(address, pieces)

    def free(self, address: int) -> None:
        """Give an allocation back."""
        self.memory.free(address)

    def write(self, address: int, data: ArrayLike | bytes) -> None:
        """Copy an array's bytes (C order) or bytes to the device."""
        raw = (
            np.frombuffer(data, np.uint8)
            if isinstance(data, bytes | bytearray | memoryview)
            else np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        )
        self.memory.check(address, raw.size)
        self.memory.bytes[address : address + raw.size] = raw
        self.memory.mark(address, np.ones(raw.size, np.bool_))

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """A copy of `size` bytes; `.view(dtype)` gives them a type."""
        self.memory.check(address, size)
        return self.memory.bytes[address : address + size].copy()

    def upload(self, data: ArrayLike) -> int:
        """Allocate, write; the address."""
        array = np.ascontiguousarray(data)
        address = self.allocate(array.nbytes)
        self.write(address, array)
        return address

    def invalidate_caches(self) -> None:
        """The next launch finds L2 empty. (L1 always starts empty.)"""
        self._l2.invalidate()

    def launch(
        self, kernel: Any, grid: Sequence[int] = (1, 1, 1), args: Sequence[int] = ()
    ) -> LaunchResult:
        """Run `kernel` over `grid` (CTAs in x, y, z; 1 if left out) with parameter words `args`.

        Raises `DstcError` for an invalid kernel, wrong arguments or one that does not fit the
        machine, `Trap` when it goes wrong.
        """
        kernel.validate()
        if len(args) != len(kernel.params):
            raise DstcError(
                f"kernel {kernel.name} takes {len(kernel.params)} arguments "
                f"({', '.join(kernel.params) or 'none'}), {len(args)} given"
            )
        if not 1 <= len(grid) <= 3:
            raise DstcError(
                f"kernel {kernel.name}: grid {tuple(grid)} must be one to three sizes, "
                f"not {len(grid)}"
            )
        x, y, z = (*map(int, grid), 1, 1)[:3]
        words = np.array([int(a) & 0xFFFFFFFF for a in args], np.uint32)
        return launch(
            kernel,
            (x, y, z),
            words,
            self.memory,
            self.machine,
            self._l2,
            timed=self.mode == "cycle",
            checks=self.checks,
            max_instructions=self.max_instructions,
            max_ctas=self.max_ctas,
            threads=self.threads,
            recording=self.recording,
            on_ctas=self.on_ctas,
        )
