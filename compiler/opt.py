"""`dstc-opt`: run passes on MLIR text; `mlir-opt` for our dialects, and xDSL's own.

In: an MLIR file, a pipeline, constants in an .npz file, a machine. Out: MLIR text, or an error as
`file:line:col: error: ...` with the source line, and exit code 1.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import IO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException, ParseError
from xdsl.xdsl_opt_main import xDSLOptMain

from ..backend.isa.errors import DstcError
from .cli.common import guarded, write_text
from .locations import LocatedParser, culprit, op_error_message, parse_error_message


class _Memory(StringIO):
    """Text that stays readable when xDSL's driver closes it."""

    def close(self) -> None:
        pass


class OptMain(xDSLOptMain):
    """xDSL's driver with our constants and errors. Dialects and passes come from `UNIVERSE`."""

    version_format = "dstc-opt, on xDSL {xdsl_version}"

    def __init__(self, args: Sequence[str] | None = None):
        self.module: ModuleOp | None = None
        self.stage = "parsing"
        self.lines: dict[str, list[str]] = {}
        self._line_offset = 0
        self._output = _Memory()
        super().__init__("Run passes on MLIR text: dstc's dialects and passes, and xDSL's.", args)
        if self.args.constants:
            from ..dialects.constants import ConstantPool, attach

            attach(self.ctx, ConstantPool.load(self.args.constants))
        if self.args.machine:
            from ..passes.target_machine import attach_machine
            from ..runtime.machine import Machine

            attach_machine(self.ctx, Machine.load(self.args.machine))

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser):
        """xDSL's arguments, `--constants`, `--machine` and `--debug`."""
        arg_parser.prog = "dstc-opt"
        arg_parser.usage = "dstc-opt [option ...] [FILE.mlir]; see --help"
        super().register_all_arguments(arg_parser)
        arg_parser.add_argument(
            "--constants",
            metavar="FILE.npz",
            help="values of `dstc.constant` ops, for passes that need them",
        )
        arg_parser.add_argument(
            "--machine",
            metavar="FILE.toml",
            help="description of a machine that the passes name, if it is not a shipped one",
        )
        arg_parser.add_argument(
            "--debug", action="store_true", help="show the Python traceback of an error"
        )

    def register_all_frontends(self):
        """One front end: MLIR, with source positions."""
        self.available_frontends["mlir"] = self._parse_mlir

    def get_input_stream(self) -> tuple[IO[bytes], str]:
        """The input file, standard input if it is `-` or not given; MLIR whatever its name."""
        if self.args.input_file in (None, "-"):
            self.args.input_file = None
            return sys.stdin.buffer, "mlir"
        return Path(self.args.input_file).open("rb"), "mlir"

    def prepare_output(self) -> IO[str]:
        """Standard output; for `-o` memory, which `finish` writes as a whole file."""
        return sys.stdout if self.args.output_file is None else self._output

    def finish(self) -> None:
        """Write the file of `-o`, whole; called only when all went well."""
        if self.args.output_file is not None:
            write_text(self.args.output_file, self._output.getvalue())

    def _parse_mlir(self, stream: IO[bytes]) -> ModuleOp:
        name = self.get_input_name()
        try:
            text = stream.read().decode("utf-8")
        except UnicodeDecodeError as e:
            raise DstcError(f"{name}: not UTF-8 text at byte {e.start}; give MLIR text") from e
        self.lines[name] = [""] * self._line_offset + text.split("\n")
        parser = LocatedParser(self.ctx, text, name, self._line_offset)
        return parser.parse_module(not self.args.no_implicit_module)

    def parse_chunk(
        self, chunk: IO[bytes], file_extension: str, start_offset: int = 0
    ) -> ModuleOp | None:
        """Parse one piece of the input, which starts after line `start_offset`."""
        self._line_offset = start_offset
        self.stage = "parsing"
        self.module = super().parse_chunk(chunk, file_extension, start_offset)
        return self.module

    def setup_pipeline(self):
        """xDSL's pipeline, noting which pass runs; an unknown pass is named."""
        try:
            super().setup_pipeline()
        except ArgSpecParseError as e:
            raise DstcError(f"--passes {self.args.passes}: {_last_caret_line(e)}") from e
        except ValueError as e:
            raise DstcError(self._pipeline_message(e)) from e
        inner = self.pipeline.callback

        def callback(before: ModulePass | None, op: ModuleOp, after: ModulePass | None) -> None:
            if inner is not None:
                inner(before, op, after)
            self.stage = after.name if after is not None else "printing"

        self.pipeline = replace(self.pipeline, callback=callback)

    def _pipeline_message(self, error: ValueError) -> str:
        names = [s.split("{")[0].strip() for s in self.args.passes.split(",")]
        for name in names:
            near = difflib.get_close_matches(name, list(self.available_passes), n=1)
            if near and name not in self.available_passes:
                return f"no pass {name}; did you mean {near[0]}?"
        return f"--passes {self.args.passes}: {error}; see `dstc passes`"

    def explain(self, error: Exception) -> str:
        """`error` as a message for the user, with its position in the input if it has one."""
        if isinstance(error, ParseError):
            return parse_error_message(error)
        message = " ".join(str(error).split())
        if self.stage not in ("parsing", "printing"):
            message = f"{self.stage}: {message}"
        return op_error_message(message, culprit(error, self.module), self.lines)


def _last_caret_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].lstrip("^ ") if lines else str(error)


def _run(argv: Sequence[str] | None) -> int:
    tool: OptMain | None = None
    try:
        tool = OptMain(argv)
        tool.run()
        tool.finish()
    except (ParseError, DiagnosticException, DstcError) as e:
        if tool is None or tool.args.debug:
            raise
        print(tool.explain(e), file=sys.stderr)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run `dstc-opt` on `argv` (default: the process's own arguments); returns the exit code."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    arguments = sys.argv[1:] if argv is None else argv
    return guarded("dstc-opt", lambda: _run(arguments), debug="--debug" in arguments)
