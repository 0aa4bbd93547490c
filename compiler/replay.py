"""Going on from every file of an IR folder: the program must be the same each time.

In: the folder that `IrFolder` wrote, and the model as compiled. Out: nothing, or `CheckFailed`,
which names the first file that does not parse, does not verify or leads to other code.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from ..backend.isa.errors import CheckFailed, DstcError
from ..dialects.constants import ConstantPool, attach, constants_of
from ..runtime.machine import Machine
from .api import Compiled
from .driver import new_context, print_module, run_pipeline
from .ir_folder import CONSTANTS_FILE, MACHINE_FILE
from .locations import read_module
from .package import package


def commands(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The files in order, each with the specifications of the passes that its command names."""
    from .opt import expanded

    for file in sorted(folder.glob("[0-9][0-9]-*.mlir")):
        with file.open() as stream:
            words = shlex.split(stream.readline().removeprefix("//"))
        passes = words[words.index("-p") + 1] if "-p" in words else ""
        yield file, list(expanded(passes))


def replay(folder: Path, compiled: Compiled, *, full: bool = False) -> int:
    """Go on from each file: by one pass, which must leave the text of the next file, and from the
    last to the program; with `full` by all passes to the program. How many files there were.

    Raises `CheckFailed`.
    """
    pool = ConstantPool.load(folder / CONSTANTS_FILE)
    machine = Machine.load(str(folder / MACHINE_FILE))
    files = list(commands(folder))
    for (file, specs), following in zip(files, [*(f for f, _ in files[1:]), None], strict=True):
        ctx = new_context()
        attach(ctx, ConstantPool({name: pool[name] for name in pool.names()}))
        try:
            module = read_module(ctx, file)
            run_pipeline(ctx, module, specs if full else specs[:1], machine=machine)
            same = (
                _leads_to_program(ctx, module, compiled)
                if full or following is None
                else print_module(module) == _body(following)
            )
        except DstcError as e:
            raise CheckFailed(f"{file}: cannot be gone on from: {e}") from e
        if not same:
            raise CheckFailed(f"{file}: leads to another program than the one compiled")
    return len(files)


def _body(file: Path) -> str:
    """A file's text without the command."""
    return file.read_text(encoding="utf-8").partition("\n")[2]


def _leads_to_program(ctx: Context, module: ModuleOp, compiled: Compiled) -> bool:
    plan = compiled.program.plan
    assert plan is not None
    program = package(module, constants_of(ctx), compiled.graph, plan.machine, plan.model)
    return program.to_bytes() == compiled.program.to_bytes()
