"""What `dstc inspect --html` keeps of a compilation: every stage's text, op by op, with lineage.

In: a module before the first and after every pass. Out: `Stages`: for each stage its functions and
kernels as lines, each line with the number of its op; for each op the numbers of those it was made
from.

Numbers travel as locations: before a pass each op is located at its number, and what the pass makes
carries the location of what it stands for (see `dialects/provenance.py`). Places in a file of the
user's stay beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    FileLineColLoc,
    IntAttr,
    LocationAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.ir import Operation
from xdsl.printer import Printer

from ..dialects.dstc import source_of
from ..dialects.provenance import fused, parts
from .instruments import Instrument, count_ops, symbol
from .locations import NUMBERED

_HERE = StringAttr(NUMBERED)
"""The file of locations that are numbers of ops."""
_WIDE = 400
"""Characters of a line that are kept."""


@dataclass(frozen=True)
class Piece:
    """A function or kernel at a stage: `ops[i]` is the op that line i belongs to."""

    name: str
    kind: str
    lines: tuple[str, ...]
    ops: tuple[int, ...]
    source: tuple[str, ...]
    count: int


@dataclass
class Stage:
    """The IR after a pass (`spec` empty: before the first)."""

    spec: str
    ops: int
    pieces: list[Piece]


@dataclass
class Stages(Instrument):
    """Collects stages. `parents[n]`: the ops that op n was made from; `sources[n]`: ONNX nodes."""

    specs: list[str] = field(default_factory=list[str])
    stages: list[Stage] = field(default_factory=list[Stage])
    parents: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    sources: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    numbers: dict[Operation, int] = field(default_factory=dict[Operation, int])
    """Ops seen so far; they are kept, so that none is taken for another."""

    def begin(self, specs: Sequence[str]) -> None:
        """Note the passes."""
        self.specs = list(specs)

    def before(self, index: int, module: ModuleOp) -> None:
        """Take the input."""
        if index == 0:
            self._take("", module)

    def after(self, index: int, module: ModuleOp) -> None:
        """Take what the pass left."""
        self._take(self.specs[index], module)

    def _take(self, spec: str, module: ModuleOp) -> None:
        for op in module.walk():
            self._number(op)
        pieces = [self._piece(op) for op in module.body.block.ops]
        self.stages.append(Stage(spec, count_ops(module), pieces))

    def _number(self, op: Operation) -> None:
        if op not in self.numbers:
            self.numbers[op] = len(self.parents)
            self.parents.append(_parents(op))
        number = self.numbers[op]
        source = source_of(op)
        if source:
            self.sources[number] = source
        here = FileLineColLoc(_HERE, IntAttr(number), IntAttr(0))
        op.location = fused(here, *(p for p in parts(op.location) if not _numbered(p)))

    def _piece(self, op: Operation) -> Piece:
        out = StringIO()
        printer = _LinePrinter(out)
        printer.print_op(op)
        text = out.getvalue().split("\n")
        owners = [-1] * len(text)
        for line, owner in printer.starts:
            owners[line] = self.numbers[owner]
        for i in range(1, len(owners)):
            owners[i] = owners[i] if owners[i] >= 0 else owners[i - 1]
        lines = tuple(line if len(line) <= _WIDE else line[: _WIDE - 2] + " …" for line in text)
        name = symbol(op) or op.name
        return Piece(name, op.name, lines, tuple(owners), source_of(op), sum(1 for _ in op.walk()))


def _parents(op: Operation) -> tuple[int, ...]:
    if op.location == UNKNOWN_LOC:
        return ()
    places = [p for p in parts(op.location) if isinstance(p, FileLineColLoc)]
    return tuple(p.line.data for p in places if _numbered(p))


def _numbered(place: LocationAttr) -> bool:
    return isinstance(place, FileLineColLoc) and place.filename == _HERE


class _LinePrinter(Printer):
    """Remembers on which line (from 0) each op begins."""

    def __init__(self, stream: StringIO):
        super().__init__(stream)
        self.starts: list[tuple[int, Operation]] = []

    def print_op(self, op: Operation) -> None:
        """As xDSL's; the first op of a line owns it."""
        self.starts.append((self._current_line, op))
        super().print_op(op)
