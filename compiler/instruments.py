"""Watching a pipeline: what is called around each pass, whoever runs the passes.

In: a module and the specifications of the passes, before and after each of them. Out: dumps, files,
times (below); checks are in `check_passes.py`, single rewrites in `rewrites.py`.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

Print = Callable[[ModuleOp], str]
"""A module as text that parses back."""


class Instrument:
    """Watches passes `0 .. n - 1`. The module is not to be changed."""

    def begin(self, specs: Sequence[str]) -> None:
        """These passes are about to run."""

    def before(self, index: int, module: ModuleOp) -> None:
        """Pass `index` is about to run."""

    def after(self, index: int, module: ModuleOp) -> None:
        """Pass `index` has run and left IR that verifies."""

    def finish(self, module: ModuleOp) -> None:
        """All passes have run; called once for each module, without passes too."""

    def close(self) -> None:
        """Nothing more will run, whether all went well or not."""


def pass_name(spec: str) -> str:
    """The pass of a specification such as `select-schedule{engine=dual}`."""
    return spec.partition("{")[0]


def go_on(file: str, options: str, specs: Sequence[str]) -> str:
    """The command that goes on from `file` with the passes `specs`, as a comment line."""
    passes = f" -p {shlex.quote(','.join(specs))}" if specs else ""
    return f"// dstc-opt {file}{options and ' ' + options}{passes}\n"


def symbol(op: Operation) -> str | None:
    """The name of a function or kernel."""
    name = op.properties.get("sym_name")
    return name.data if isinstance(name, StringAttr) else None


def only(module: ModuleOp, names: Collection[str]) -> ModuleOp:
    """A module with copies of the functions and kernels of these names."""
    ops = [op.clone() for op in module.body.block.ops if symbol(op) in names]
    return ModuleOp(ops, module.attributes.copy())


@dataclass(frozen=True)
class DumpRequest:
    """Which dumps are wanted. `before`, `after`: names of passes; `symbols`: of functions and
    kernels, empty for all; `function_scope`: of those only what the pass changed."""

    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    before_all: bool = False
    after_all: bool = False
    after_change: bool = False
    function_scope: bool = False
    symbols: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        every = self.before_all or self.after_all or self.after_change
        return bool(every or self.before or self.after)


SEPARATOR = "// -----\n"
"""Between dumps, so that all of them are an input for `dstc-opt --split-input-file`."""


@dataclass
class Dumps(Instrument):
    """IR on a stream. Each dump parses; its first line is the command that goes on from it."""

    request: DumpRequest
    specs: Sequence[str]
    print_: Print
    options: Callable[[], str] = lambda: ""
    """Further options of the command, such as `--constants FILE`."""
    stream: TextIO | None = None
    """Default: standard error."""
    _texts: dict[str | None, str] = field(default_factory=dict[str | None, str])
    _whole: str = ""

    def before(self, index: int, module: ModuleOp) -> None:
        """Dump if asked; remember the text if changes matter."""
        if self._changes_matter:
            self._remember(module)
        if self.request.before_all or pass_name(self.specs[index]) in self.request.before:
            self._write(index, f"before {self._count(index)}", module, None)

    def after(self, index: int, module: ModuleOp) -> None:
        """Dump if asked."""
        request, name = self.request, pass_name(self.specs[index])
        wanted = request.after_all or name in request.after
        if not (wanted or request.after_change):
            return
        changed = self._changed(module) if self._changes_matter else None
        if request.after_change and not changed:
            return
        self._write(index + 1, f"after {self._count(index)}", module, changed)

    @property
    def _changes_matter(self) -> bool:
        return self.request.after_change or self.request.function_scope

    def _count(self, index: int) -> str:
        return f"pass {index + 1} of {len(self.specs)}, {pass_name(self.specs[index])}"

    def _pieces(self, module: ModuleOp) -> dict[str | None, str]:
        found = {symbol(op): str(op) for op in module.body.block.ops}
        found[""] = str(module.attributes)
        return found

    def _remember(self, module: ModuleOp) -> None:
        self._texts = self._pieces(module)

    def _changed(self, module: ModuleOp) -> set[str | None]:
        """Names of what is new or different; "" if only something went away."""
        now = self._pieces(module)
        found = {name for name, text in now.items() if self._texts.get(name) != text}
        return found or ({""} if set(self._texts) - set(now) else set[str | None]())

    def _write(
        self, next_: int, what: str, module: ModuleOp, changed: set[str | None] | None
    ) -> None:
        request = self.request
        names = {symbol(op) for op in module.body.block.ops} - {None}
        if request.symbols:
            names &= request.symbols
        if request.function_scope and changed is not None:
            names &= changed
        narrowed = request.symbols or (request.function_scope and changed is not None)
        if narrowed and not names:
            return
        shown = only(module, {n for n in names if n is not None}) if narrowed else module
        command = go_on("-", self.options(), self.specs[next_:])
        stream = self.stream or sys.stderr
        stream.write(f"{SEPARATOR}{command}// IR {what}\n{self.print_(shown)}")
        stream.flush()


@dataclass
class Times(Instrument):
    """Seconds and op counts of each pass; a table at the end."""

    specs: Sequence[str]
    stream: TextIO | None = None
    """Default: standard error."""
    rows: list[tuple[str, float, int, int]] = field(
        default_factory=list[tuple[str, float, int, int]]
    )
    _started: float = 0.0
    _ops: int = 0

    def before(self, index: int, module: ModuleOp) -> None:
        """Start the clock."""
        self._ops = count_ops(module)
        self._started = time.perf_counter()

    def after(self, index: int, module: ModuleOp) -> None:
        """Stop it."""
        seconds = time.perf_counter() - self._started
        self.rows.append((pass_name(self.specs[index]), seconds, self._ops, count_ops(module)))

    def finish(self, module: ModuleOp) -> None:
        """Write the table."""
        total = sum(row[1] for row in self.rows)
        lines = [f"{'seconds':>9} {'share':>7} {'ops before':>11} {'after':>8}  pass"]
        for name, seconds, before, after in self.rows:
            share = 100 * seconds / total if total else 0.0
            lines.append(f"{seconds:9.4f} {share:6.1f}% {before:11d} {after:8d}  {name}")
        lines.append(f"{total:9.4f} {100.0 if total else 0.0:6.1f}% {'':11} {'':8}  total")
        (self.stream or sys.stderr).write("\n".join(lines) + "\n")
        self.rows.clear()


def count_ops(module: ModuleOp) -> int:
    """Operations in a module, itself included."""
    return sum(1 for _ in module.walk())


@dataclass
class Files(Instrument):
    """Numbered files of the IR before the first and after every pass, in an `IrFolder`."""

    write: Callable[[int, str], None]
    """Called with the number of passes that have run, and the IR."""
    print_: Print

    def before(self, index: int, module: ModuleOp) -> None:
        """The input."""
        if index == 0:
            self.write(0, self.print_(module))

    def after(self, index: int, module: ModuleOp) -> None:
        """The IR that the pass left."""
        self.write(index + 1, self.print_(module))


def named(path: str | os.PathLike[str]) -> str:
    """A path as a word of a shell command."""
    return shlex.quote(str(Path(path)))
