"""Source positions: where in an MLIR file an operation, or an error about it, comes from.

In: MLIR text, exceptions of the parser, the verifier and passes. Out: operations that carry
`file:line:col`, and messages with that position, the source line and a caret.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import UNKNOWN_LOC, FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Attribute, Operation, TypeAttribute
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException
from xdsl.utils.lexer import Span

from ..backend.isa.errors import DstcError, SourceError
from ..dialects.provenance import parts

NUMBERED = "dstc-op"
"""The file of locations that are no places in a file, but the numbers of `inspect_stages`."""
_UNDEFINED = re.compile(r"used but not defined: \[(%[\w$.-]+)")
_UNKNOWN = re.compile(r"^Operation (\S+) is not registered")


class LocatedParser(Parser):
    """A parser that gives each operation without a `loc(...)` its position in the text.

    `line_offset` is added to line numbers, for text that is a piece of a larger file.
    """

    def __init__(self, ctx: Context, text: str, name: str, line_offset: int = 0):
        super().__init__(ctx, text, name)
        self._file = StringAttr(name)
        self._line_offset = line_offset
        self._starts = list(accumulate((len(ln) for ln in text.split("\n")), _after, initial=0))

    @contextmanager
    def _placed(self) -> Generator[None]:
        """A type or attribute within that does not verify is shown where it begins."""
        start = self._current_token.span.start
        try:
            yield
        except VerifyException as e:
            end = max(self._last_end(), start + 1)
            raise ParseError(Span(start, end, self.lexer.input), str(e)) from e

    def _last_end(self) -> int:
        """Where the text that has been parsed ends, without the blanks behind it."""
        text = self.lexer.input.content[: self._current_token.span.start]
        return len(text.rstrip())

    def parse_optional_type(self) -> TypeAttribute | None:
        """As xDSL's, with the position of a type that does not verify."""
        with self._placed():
            return super().parse_optional_type()

    def parse_optional_attribute(self) -> Attribute | None:
        """As xDSL's, with the position of an attribute that does not verify."""
        with self._placed():
            return super().parse_optional_attribute()

    def parse_operation(self) -> Operation:
        """Parse one operation; see `xdsl.parser.Parser.parse_operation`."""
        start = self.pos
        with self._placed():
            op = super().parse_operation()
        if op.location == UNKNOWN_LOC:
            line = bisect_right(self._starts, start)
            column = start - self._starts[line - 1] + 1
            op.location = FileLineColLoc(
                self._file, IntAttr(line + self._line_offset), IntAttr(column)
            )
        return op


def read_module(ctx: Context, path: Path) -> ModuleOp:
    """The module in an MLIR file, verified. Raises `SourceError`, with position and caret."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise DstcError(f"{path}: not UTF-8 text at byte {e.start}; give MLIR text") from e
    module: ModuleOp | None = None
    try:
        module = LocatedParser(ctx, text, str(path)).parse_module()
        module.verify()
    except ParseError as e:
        raise SourceError(parse_error_message(e)) from e
    except VerifyException as e:
        lines = {str(path): text.split("\n")}
        message = " ".join(str(e).split())
        raise SourceError(op_error_message(message, culprit(e, module), lines)) from e
    return module


def _after(start: int, length: int) -> int:
    return start + length + 1


def source_error(message: str, op: Operation) -> DstcError:
    """An error about `op`: with position, source line and caret if it came from a file."""
    where = place(op)
    file = Path(where.rsplit(":", 2)[0]) if where is not None else None
    if file is None or not file.is_file():
        return DstcError(message)
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    return SourceError(op_error_message(message, op, {str(file): lines}))


def place(op: Operation) -> str | None:
    """`file:line:col` of `op`, or of the nearest operation around it; None if unknown. Of several
    places the first."""
    around: Operation | None = op
    while around is not None:
        for loc in parts(around.location):
            if isinstance(loc, FileLineColLoc) and loc.filename.data != NUMBERED:
                return f"{loc.filename.data}:{loc.line.data}:{loc.column.data}"
        around = around.parent_op()
    return None


def culprit(error: BaseException, module: ModuleOp | None) -> Operation | None:
    """The operation that `error` is about: the first that does not verify, else the innermost
    that the code which raised it had at hand as `op` or `self`."""
    if isinstance(error, VerifyException) and module is not None:
        for op in module.walk(region_first=True):
            try:
                op.verify(verify_nested_ops=False)
            except VerifyException:
                return op
    found: Operation | None = None
    tb = error.__traceback__
    while tb is not None:
        frame: dict[str, Any] = tb.tb_frame.f_locals
        for name in ("self", "op"):
            value = frame.get(name)
            if isinstance(value, Operation) and not isinstance(value, ModuleOp):
                found = value
        tb = tb.tb_next
    return found


def parse_error_message(error: ParseError) -> str:
    """`file:line:col: error: ...`, the source line and a caret. A value that is never defined is
    shown where it is first used, an unknown operation at its name, not at what xDSL read last."""
    content = error.span.input.content
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    start, end = error.span.start, error.span.end
    if (undefined := _UNDEFINED.search(error.msg)) and (
        use := re.search(rf"{re.escape(undefined[1])}(?![\w$.-])", text)
    ):
        start, end = use.span()
    elif (unknown := _UNKNOWN.search(error.msg)) and (at := text.rfind(unknown[1], 0, start)) >= 0:
        start, end = at, at + len(unknown[1])
    line = text.count("\n", 0, start)
    column = start - (text.rfind("\n", 0, start) + 1) + 1
    where = f"{error.span.input.name}:{line + 1 + error.span.line_offset}:{column}"
    message = " ".join(error.msg.split())
    return _with_caret(f"{where}: error: {message}", text.split("\n")[line], column, end - start)


def op_error_message(message: str, op: Operation | None, lines: dict[str, list[str]]) -> str:
    """`file:line:col: error: message` with the source line and a caret if `op` has a position
    in one of the files `lines` (name -> lines); else the message alone."""
    where = place(op) if op is not None else None
    if where is None:
        return f"error: {message}"
    file, line, column = where.rsplit(":", 2)
    text = lines.get(file, [])
    headline = f"{where}: error: {message}"
    if int(line) > len(text):
        return headline
    return _with_caret(headline, text[int(line) - 1], int(column), 1)


def _with_caret(headline: str, line: str, column: int, width: int) -> str:
    pad = "".join("\t" if c == "\t" else " " for c in line[: column - 1]).ljust(column - 1)
    carets = "^" * max(1, min(width, len(line) - column + 1))
    return f"{headline}\n{line}\n{pad}{carets}"
