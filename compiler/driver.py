"""Running a pipeline over a module: passes by name, IR dumps, times, errors with the pass's name.

In: a module, pass specifications, a context. Out: the module, transformed in place; for each pass
its time and op counts; if asked, numbered files of the IR before the first and after every pass.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.printer import Printer
from xdsl.transforms import get_all_passes as xdsl_passes
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import DiagnosticException, VerifyException

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.registry import get_all_dialects
from ..passes.registry import get_all_passes
from ..passes.target_machine import attach_machine
from ..runtime.machine import Machine
from .instruments import Instrument

CONSTANTS_FILE = "constants.npz"
"""Name of the constants beside the IR files of an IR folder."""
MACHINE_FILE = "machine.toml"
"""Name of the machine compiled for, with every change made to it, beside the IR files."""

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


class IrFolder:
    """Numbered, re-parsable IR files: `00-input.mlir`, `01-fold-constants.mlir`, ...

    Each file's first line is the command that goes on from it. Constants and machine lie beside the
    files. Files of an earlier run are replaced; `DstcError` if a numbered file is somebody else's.
    """

    def __init__(
        self, path: str | os.PathLike[str], specs: Sequence[str], machine: Machine | None = None
    ):
        self.path, self.specs = Path(path), list(specs)
        self.options = f"--constants {CONSTANTS_FILE}"
        if self.path.exists() and not self.path.is_dir():
            raise DstcError(f"{self.path}: is a file; --ir-dir takes a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._clear()
        except OSError as e:
            raise DstcError(f"{self.path}: cannot be made: {e.strerror}") from e
        if machine is not None:
            self.options += f" --machine {MACHINE_FILE}"
            machine.save(self.path / MACHINE_FILE)

    def _clear(self) -> None:
        """Remove an earlier run's files, unless something here is not one."""
        numbered = sorted(self.path.glob("[0-9][0-9]-*.mlir"))
        others = [f for f in numbered if not _written_here(f)]
        if not numbered:
            others = [f for n in (CONSTANTS_FILE, MACHINE_FILE) if (f := self.path / n).exists()]
        if others:
            raise DstcError(
                f"{others[0]}: is no file of an earlier run and would be lost; give another folder"
            )
        for old in numbered:
            old.unlink()

    def write(self, index: int, text: str) -> None:
        """The IR before pass `index` (from 0), or after the last."""
        name = "input" if index == 0 else self.specs[index - 1].split("{")[0]
        rest = ",".join(self.specs[index:])
        file = self.path / f"{index:02d}-{name}.mlir"
        passes = f" -p {shlex.quote(rest)}" if rest else ""
        command = f"{_COMMAND} {file.name} {self.options}{passes}\n"
        write_atomic(file, (command + text).encode())

    def write_constants(self, pool: ConstantPool) -> None:
        """The constants that the IR names."""
        pool.save(self.path / CONSTANTS_FILE)


_COMMAND = "// dstc-opt"
"""Start of the first line of each IR file."""


def _written_here(file: Path) -> bool:
    """Whether the first line is the command that `IrFolder` writes."""
    start = f"{_COMMAND} {file.name} ".encode()
    with file.open("rb") as stream:
        return stream.read(len(start)) == start


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
    Raises `DstcError` naming the pass for anything that goes wrong; with `ir_dir` the IR before it
    is the last file there.
    """
    passes = [make_pass(spec) for spec in specs]
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
            _apply(ctx, module, spec, pass_)
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
    except DstcError as e:
        raise type(e)(f"{spec.split('{')[0]}: {e}") from e
    except (VerifyException, DiagnosticException) as e:
        raise DstcError(f"{spec.split('{')[0]}: {' '.join(str(e).split())}") from e
    try:
        module.verify()
    except (VerifyException, DiagnosticException) as e:
        lines = [line for line in str(e).splitlines() if line.strip()]
        raise DstcError(
            f"{spec.split('{')[0]}: left invalid IR: {' '.join(lines[-1].split())[:300]}"
        ) from e
