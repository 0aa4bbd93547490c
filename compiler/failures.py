"""A pass that fails: one line that names pass, op and position, and the IR before it in a file.

In: the exception, the module that the pass was working on, and the module before the first pass.
Out: a `DstcError`, and a reproducer: IR whose first line is the command that fails.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import DiagnosticException, VerifyException

from ..backend.isa.errors import DstcError, SourceError
from ..dialects.constants import constants_of
from ..dialects.dstc import source_of
from ..runtime.machine import Machine
from .instruments import pass_name
from .ir_folder import IrFolder
from .locations import culprit, source_error


def told(name: str, error: Exception, op: Operation | None) -> str:
    """`error` of the pass `name` about `op` in one line: pass, op, the nodes of the model that it
    stands for, what is wrong."""
    message = " ".join(str(error).split())
    if not isinstance(error, DiagnosticException | DstcError):
        message = f"internal error: {type(error).__name__}{message and ': '}{message}"
    if op is not None:
        source = ", ".join(_nodes(op))
        named = f"{op.name} of {source}" if source and source not in message else op.name
        if op.name not in message or named != op.name:
            message = f"{named}: {message.removeprefix(f'{op.name}: ')}"
    return f"{name}: {message}"


def _nodes(op: Operation) -> tuple[str, ...]:
    """The nodes of the model that `op`, or the nearest op around it, stands for."""
    around: Operation | None = op
    while around is not None and not source_of(around):
        around = around.parent_op()
    return () if around is None else source_of(around)


def failure(spec: str, error: Exception, module: ModuleOp, *, left: bool = False) -> DstcError:
    """`error` of the pass `spec` on `module`, with its position if the module came from a file.

    `left`: the pass has run; what it left does not verify.
    """
    name, op = pass_name(spec), culprit(error, module)
    if left:
        lines = [line for line in str(error).splitlines() if line.strip()]
        error = VerifyException(f"left invalid IR: {' '.join(lines[-1].split())[:300]}")
    message = told(name, error, None if left else op)
    if isinstance(error, DstcError):
        made = type(error)(message)
    else:
        told_ = isinstance(error, DiagnosticException)
        made = DstcError(message) if told_ else PassBroke(message)
    if op is None or not isinstance(found := source_error(message, op), SourceError):
        return made
    found.exit_code = made.exit_code
    return found


class PassBroke(DstcError):
    """An error of ours in a pass."""

    exit_code = 1


def reproducer(
    ctx: Context,
    first: ModuleOp,
    passes: Sequence[ModulePass],
    specs: Sequence[str],
    at: int,
    machine: Machine | None,
    print_: Callable[[ModuleOp], str],
) -> Path | None:
    """A new folder with the IR before pass `at`, made again from `first`, which is changed.

    None if the passes before it do not do the same twice.
    """
    try:
        for pass_ in passes[:at]:
            pass_.apply(ctx, first)
    except Exception:
        return None
    folder = IrFolder(tempfile.mkdtemp(prefix=f"dstc-{pass_name(specs[at])}-"), specs[at:], machine)
    folder.write(0, print_(first))
    folder.write_constants(constants_of(ctx))
    return folder.path / "00-input.mlir"


def note(file: Path | None) -> str:
    """Where a reproducer is, for the command line."""
    return "" if file is None else f"note: the IR before the pass, and the command: {file}"
