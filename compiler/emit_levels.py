"""Writing a compiled model at one level: graph, dstc, tile, isa, asm or bin.

In: a `Compiled`. Out: one file. IR above instructions comes from the same passes, stopped early.
"""

from __future__ import annotations

from pathlib import Path

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic
from .api import Compiled
from .driver import new_context, print_module, run_pipeline
from .pipelines import pipeline

LEVELS = {
    "graph": "graph.mlir", "dstc": "dstc.mlir", "tile": "tile.mlir", "isa": "isa.mlir", "asm": "s",
    "bin": "bin",
}  # fmt: skip
"""Level -> file ending when several are written."""
_STOPS = {"graph": "", "dstc": "graph", "tile": "tile"}
"""IR level -> the pipeline that ends there."""


def emit_level(compiled: Compiled, level: str, path: Path) -> None:
    """Write `level` to `path`, whole or not at all."""
    if level == "bin":
        compiled.program.save(path)
        return
    if level == "asm":
        from ..backend.isa.disassembler import disassemble

        text = disassemble(compiled.program)
    elif level == "isa" and compiled.module is not None:
        text = print_module(compiled.module)
    else:
        text = _ir(compiled, _STOPS[level])
    write_atomic(path, text.encode())


def _ir(compiled: Compiled, stop: str) -> str:
    if compiled.graph is None:
        raise DstcError("a program has no graph; compile it from the model")
    ctx = new_context()
    module = compiled.graph.to_module(ctx)
    if stop:
        specs = pipeline(stop, machine=compiled.machine.name, engine=compiled.engine)
        run_pipeline(ctx, module, specs, machine=compiled.machine)
    return print_module(module)
