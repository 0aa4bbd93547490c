"""Running a pipeline over a module: passes by name, IR dumps, times, errors with the pass's name.

In: a module, pass specifications, a context. Out: the module, transformed in place; for each pass
its time and op counts; if asked, numbered files of the IR before the first and after every pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.printer import Printer
from xdsl.transforms import get_all_passes as xdsl_passes
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import DiagnosticException, VerifyException

from ..backend.isa.errors import DstcError
from ..dialects.constants import constants_of
from ..dialects.registry import get_all_dialects
from ..passes.registry import get_all_passes
from ..passes.target_machine import attach_machine
from ..runtime.machine import Machine
from .failures import failure, note, reproducer
from .instruments import Instrument
from .ir_folder import IrFolder

OnPass = Callable[[int, int, str], None]
"""Called before each pass with its index, the number of passes and its specification."""


@dataclass(frozen=True)
class PassRecord:
    """One pass that ran: seconds, and ops in the module before and after."""

    spec: str
    seconds: float
    ops_before: int
    ops_after: int
    changed: bool | None
    """Whether the printed IR differs; None if it was not printed."""


def new_context() -> Context:
    """A context with all of xDSL's dialects and ours."""
    from xdsl.dialects import get_all_dialects as upstream

    ctx = Context()
    for name, factory in {**upstream(), **get_all_dialects()}.items():
        ctx.register_dialect(name, factory)
    return ctx


def make_pass(spec: str) -> ModulePass:
    """The pass that a specification such as `select-schedule{engine=dual}` names."""
    available = {**xdsl_passes(), **get_all_passes()}
    (parsed,) = parse_pipeline(spec)
    if parsed.name not in available:
        raise DstcError(f"there is no pass {parsed.name!r}; `dstc passes` lists them")
    return available[parsed.name]().from_spec(parsed)


def print_module(module: ModuleOp) -> str:
    """The module as text that parses back."""
    out = StringIO()
    Printer(out).print_op(module)
    return out.getvalue() + "\n"


def _count(module: ModuleOp) -> int:
    return sum(1 for _ in module.walk())


def run_pipeline(
    ctx: Context,
    module: ModuleOp,
    specs: Sequence[str],
    *,
    ir_dir: str | os.PathLike[str] | None = None,
    machine: Machine | None = None,
    on_pass: OnPass | None = None,
    instruments: Sequence[Instrument] = (),
) -> list[PassRecord]:
    """Run the passes in order, verifying after each.

    `machine`: what the machine's name means in `specs`, changes and own files included;
    `instruments`: called around each pass.
    Raises `DstcError` naming the pass for anything that goes wrong; its `note` says where the IR
    before the pass is: the last file of `ir_dir`, or one made for it.
    """
    passes = [make_pass(spec) for spec in specs]
    first = module.clone()
    if machine is not None:
        attach_machine(ctx, machine)
    folder = None if ir_dir is None else IrFolder(ir_dir, specs, machine)
    text = ""
    if folder is not None:
        text = print_module(module)
        folder.write(0, text)
    records: list[PassRecord] = []
    ops = _count(module)
    for instrument in instruments:
        instrument.begin(specs)
    try:
        for i, (spec, pass_) in enumerate(zip(specs, passes, strict=True)):
            if on_pass is not None:
                on_pass(i, len(specs), spec)
            for instrument in instruments:
                instrument.before(i, module)
            started = time.perf_counter()
            try:
                _apply(ctx, module, spec, pass_)
            except DstcError as e:
                e.note = _note(ctx, first, passes, specs, i, machine, folder)
                raise
            seconds = time.perf_counter() - started
            after = _count(module)
            changed = None
            if folder is not None:
                new_text = print_module(module)
                changed = new_text != text
                text = new_text
                folder.write(i + 1, text)
            records.append(PassRecord(spec, seconds, ops, after, changed))
            ops = after
            for instrument in instruments:
                instrument.after(i, module)
        for instrument in instruments:
            instrument.finish(module)
    finally:
        for instrument in instruments:
            instrument.close()
        if folder is not None:
            folder.write_constants(constants_of(ctx))
    return records


def _apply(ctx: Context, module: ModuleOp, spec: str, pass_: ModulePass) -> None:
    try:
        pass_.apply(ctx, module)
    except MemoryError:
        raise
    except Exception as e:
        raise failure(spec, e, module) from e
    try:
        module.verify()
    except (VerifyException, DiagnosticException) as e:
        raise failure(spec, e, module, left=True) from e


def _note(
    ctx: Context,
    first: ModuleOp,
    passes: Sequence[ModulePass],
    specs: Sequence[str],
    at: int,
    machine: Machine | None,
    folder: IrFolder | None,
) -> Callable[[], str]:
    """What makes the note about the IR before the pass that failed."""

    def made() -> str:
        if folder is not None:
            return note(folder.file(at))
        return note(reproducer(ctx, first, passes, specs, at, machine, print_module))

    return made
