"""A run as JSON: the one place from which tables, page, profile and files take their numbers.

In: a compiled model and what running it gave. Out: dictionaries that JSON can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..backend.isa.disassembler import render
from ..backend.isa.encoding import decode
from .units import rates_of

if TYPE_CHECKING:
    from ..backend.isa.program import Kernel, Program
    from ..runtime.executor import RunResult
    from .api import Compiled


def machine_run(
    compiled: Compiled, result: RunResult, changes: Mapping[str, Any], *, detail: bool
) -> dict[str, Any]:
    """What ran on one machine, whose parameters `changes` the user set.

    `detail`: counts by instruction and pictures of operands, too.
    """
    kernels = [k.to_json() for k in result.kernels]
    if detail:
        for row, kernel in zip(kernels, result.kernels, strict=True):
            row.update(kernel.detail_to_json())
    return {
        "set": dict(changes),
        "cycles": result.cycles,
        "time_us": result.time_us,
        "warp_instructions": result.warp_instructions,
        "kernels": kernels,
        "layers": [layer.to_json() for layer in result.layers],
        "rates": rates_of(compiled.machine),
        "code": code_of(compiled.program, detail=detail),
    }


def run_json(
    compiled: Compiled,
    result: RunResult,
    *,
    model: str = "model",
    changes: Mapping[str, Any] | None = None,
    mode: str = "cycle",
    detail: bool = True,
) -> dict[str, Any]:
    """The facts of a run on one machine, none of them compared: what `dstc run --json` begins with.

    `model`: name or path.
    """
    from .memory_plan import MemoryUse

    plan = compiled.program.plan
    assert plan is not None
    return {
        "schema": 1,
        "model": model,
        "machine": compiled.machine.name,
        "engine": compiled.engine,
        "mode": mode,
        "check": None,
        **machine_run(compiled, result, changes or {}, detail=detail),
        "wall_seconds": {"compile": compiled.seconds, "simulate": result.wall_seconds},
        "cached": compiled.cached,
        "inputs": {port.name: list(port.shape) for port in plan.inputs},
        "outputs": {n: list(a.shape) for n, a in result.outputs.items()},
        "host_ops": [h.to_json() for h in result.host_ops],
        "memory": MemoryUse.of(plan).to_json(),
        "notes": list(compiled.notes),
        "compare": {},
    }


def code_of(program: Program, *, detail: bool) -> dict[str, Any]:
    """Facts of each kernel; with `detail` its instructions as text, and what they were made from.

    `sources`: the text behind the kernel's name, which is the tile operation.
    """
    return {name: _code(kernel, detail) for name, kernel in program.kernels.items()}


def _code(kernel: Kernel, detail: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "instructions": len(kernel.code),
        "warps": kernel.warps,
        "registers": kernel.registers,
        "shared_bytes": kernel.shared_bytes,
        "acc_tiles": kernel.acc_tiles,
    }
    if detail:
        facts["text"] = [render(decode(*w), kernel.params) for w in kernel.code.tolist()]
        facts["sources"] = [_tile(source, kernel.name) for source in kernel.sources]
    return facts


def _tile(source: str, kernel: str) -> str:
    """Of `nodes / kernel / tile op` the last, or all of what was not compiled here."""
    parts = source.split(" / ")
    return " / ".join(parts[parts.index(kernel) + 1 :]) if kernel in parts else source
