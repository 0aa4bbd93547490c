"""`dstc-opt`: run passes on MLIR text; `mlir-opt` for our dialects, and xDSL's own.

In: an MLIR file, a pipeline, constants in an .npz file, a machine. Out: MLIR text and the dumps
asked for, or an error as `file:line:col: error: ...` with the source line, and exit code 1.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.printer import Printer
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    ParseError,
    VerifyException,
)
from xdsl.xdsl_opt_main import xDSLOptMain

from ..backend.isa.errors import DstcError
from .cli.common import guarded, write_text
from .expectations import Diagnostic, expectations, unmet
from .failures import note, reproducer, told
from .instruments import DumpRequest, Dumps, Files, Instrument, Times, named
from .locations import LocatedParser, culprit, op_error_message, parse_error_message
from .pipelines import PIPELINES, pipeline

if TYPE_CHECKING:
    from ..runtime.machine import Machine
    from .ir_folder import IrFolder

_MLIR_NAMES = {
    "--mlir-print-op-generic": "--print-op-generic",
    "--mlir-print-debuginfo": "--print-debuginfo",
    "--mlir-timing": "--timing",
    "--mlir-print-ir-before": "--print-ir-before",
    "--mlir-print-ir-after": "--print-ir-after",
    "--mlir-print-ir-before-all": "--print-ir-before-all",
    "--mlir-print-ir-after-all": "--print-ir-after-all",
    "--mlir-print-ir-after-change": "--print-ir-after-change",
    "--mlir-print-ir-tree-dir": "--ir-dir",
    "--pass-pipeline": "--passes",
}
"""Names that mlir-opt has for options of ours."""


class _Memory(StringIO):
    """Text that stays readable when xDSL's driver closes it."""

    def close(self) -> None:
        pass


class OptMain(xDSLOptMain):
    """xDSL's driver with our constants, dumps and errors. Dialects, passes come from `UNIVERSE`."""

    version_format = "dstc-opt, on xDSL {xdsl_version}"

    def __init__(self, args: Sequence[str] | None = None):
        self.module: ModuleOp | None = None
        self.stage = "parsing"
        self.position = 0
        """Passes that have run on the module."""
        self.lines: dict[str, list[str]] = {}
        self.specs: list[str] = []
        self.instruments: list[Instrument] = []
        self.came: list[Diagnostic] = []
        self._line_offset = 0
        self._text = ""
        self._output = _Memory()
        self._machine: Machine | None = None
        self._folder: IrFolder | None = None
        super().__init__("Run passes on MLIR text: dstc's dialects and passes, and xDSL's.", args)
        self._attach_constants()
        if self.args.machine:
            from ..passes.target_machine import attach_machine
            from ..runtime.machine import Machine

            self._machine = Machine.load(self.args.machine)
            attach_machine(self.ctx, self._machine)
        self._add_instruments()

    def _attach_constants(self) -> None:
        """The constants as the command line gives them."""
        from ..dialects.constants import ConstantPool, attach

        given = self.args.constants
        attach(self.ctx, ConstantPool.load(given) if given else ConstantPool())

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser):
        """xDSL's arguments and ours; `_MLIR_NAMES` are accepted too."""
        arg_parser.prog = "dstc-opt"
        arg_parser.usage = "dstc-opt [option ...] [--PASS[=options] ...] [FILE.mlir]; see --help"
        super().register_all_arguments(arg_parser)
        for flags, keywords in _ARGUMENTS.items():
            arg_parser.add_argument(*flags.split(), **keywords)
        _redescribe(arg_parser)

    def register_all_frontends(self):
        """One front end: MLIR, with source positions."""
        self.available_frontends["mlir"] = self._parse_mlir

    def get_input_stream(self) -> tuple[IO[bytes], str]:
        """The input file, standard input if it is `-` or not given; MLIR whatever its name."""
        if self.args.input_file in (None, "-"):
            self.args.input_file = None
            return sys.stdin.buffer, "mlir"
        return Path(self.args.input_file).open("rb"), "mlir"

    def prepare_input(self) -> tuple[list[tuple[IO[bytes], int]], str]:
        """The pieces of the input, each with the number of lines before it.

        With --split-input-file a line that says `// -----` and nothing else ends a piece, as in
        MLIR. A piece without any text is none.
        """
        if not self.args.split_input_file:
            return super().prepare_input()
        stream, kind = self.get_input_stream()
        with stream:
            lines = stream.read().splitlines(keepends=True)
        ends = [i for i, line in enumerate(lines) if line.strip() == b"// -----"]
        starts = [0, *(i + 1 for i in ends)]
        pieces = [
            (b"".join(lines[start:end]), start)
            for start, end in zip(starts, [*ends, len(lines)], strict=True)
        ]
        kept = [piece for piece in pieces if piece[0].strip()] or pieces[:1]
        return [(BytesIO(text), start) for text, start in kept], kind

    def prepare_output(self) -> IO[str]:
        """Standard output; for `-o` memory, which `finish` writes as a whole file.

        Under --verify-diagnostics nothing is written.
        """
        if self.args.verify_diagnostics:
            return _Memory()
        return sys.stdout if self.args.output_file is None else self._output

    def finish(self) -> None:
        """Write the file of `-o`, whole; called only when all went well."""
        if self.args.output_file is not None and not self.args.verify_diagnostics:
            write_text(self.args.output_file, self._output.getvalue())
        self._write_constants()

    def _write_constants(self) -> None:
        """The constants that the IR names now, where a file or folder is to have them."""
        from ..dialects.constants import constants_of

        if self.args.save_constants is not None:
            constants_of(self.ctx).save(Path(self.args.save_constants))
        if self._folder is not None:
            self._folder.write_constants(constants_of(self.ctx))

    def _parse_mlir(self, stream: IO[bytes]) -> ModuleOp:
        name = self.get_input_name()
        try:
            text = stream.read().decode("utf-8")
        except UnicodeDecodeError as e:
            raise DstcError(f"{name}: not UTF-8 text at byte {e.start}; give MLIR text") from e
        self._text = text
        self.lines[name] = [""] * self._line_offset + text.split("\n")
        return self._parsed(text)

    def _parsed(self, text: str) -> ModuleOp:
        parser = LocatedParser(self.ctx, text, self.get_input_name(), self._line_offset)
        return parser.parse_module(not self.args.no_implicit_module)

    def parse_chunk(
        self, chunk: IO[bytes], file_extension: str, start_offset: int = 0
    ) -> ModuleOp | None:
        """Parse one piece of the input, which starts after line `start_offset`."""
        self._line_offset = start_offset
        self.stage, self.position = "parsing", 0
        self.module = None
        if not self.args.verify_diagnostics:
            self.module = super().parse_chunk(chunk, file_extension, start_offset)
            return self.module
        with chunk:
            self._expect(chunk)
        return None

    def _expect(self, chunk: IO[bytes]) -> None:
        """Process a piece under --verify-diagnostics; what is wrong with it goes to `came`."""
        found: list[Diagnostic] = []
        try:
            self.module = self._parse_mlir(chunk)
            if not self.args.disable_verify:
                found = self._all_verifier_errors(self.module)
            if not found:
                self.apply_passes(self.module)
        except ParseError as e:
            e.span = replace(e.span, line_offset=self._line_offset)
            found = [_diagnostic(parse_error_message(e))]
        except (DiagnosticException, DstcError) as e:
            found = [_diagnostic(self.explain(e))]
        first = self._line_offset + 1
        name = self.get_input_name()
        for line in unmet(name, expectations(self._text.split("\n"), first), found):
            self.came.append(Diagnostic(0, line))

    def _all_verifier_errors(self, module: ModuleOp) -> list[Diagnostic]:
        found: list[Diagnostic] = []
        for op in module.walk():
            try:
                op.verify(verify_nested_ops=False)
            except VerifyException as e:
                found.append(_diagnostic(op_error_message(" ".join(str(e).split()), op, {})))
        return found

    # Passes

    def setup_pipeline(self):
        """xDSL's pipeline, noting which pass runs; an unknown pass is named.

        Names of `PIPELINES` stand for their passes.
        """
        try:
            self.specs = list(expanded(self.args.passes))
            self.args.passes = ",".join(self.specs)
            super().setup_pipeline()
        except ArgSpecParseError as e:
            raise DstcError(f"--passes {self.args.passes}: {_last_caret_line(e)}") from e
        except ValueError as e:
            raise DstcError(self._pipeline_message(e)) from e
        inner = self.pipeline.callback

        def callback(before: ModulePass | None, op: ModuleOp, after: ModulePass | None) -> None:
            if inner is not None and (before is None or self.args.verify_each):
                inner(before, op, after)
            if before is not None:
                for instrument in self.instruments:
                    instrument.after(self.position, op)
                self.position += 1
            self.stage = after.name if after is not None else "printing"
            for instrument in self.instruments:
                if after is not None:
                    instrument.before(self.position, op)
                else:
                    instrument.finish(op)

        self.pipeline = replace(self.pipeline, callback=callback)

    def _add_instruments(self) -> None:
        args = self.args
        request = DumpRequest(
            before=frozenset(self._passes_named("--print-ir-before", args.print_ir_before)),
            after=frozenset(self._passes_named("--print-ir-after", args.print_ir_after)),
            before_all=args.print_ir_before_all,
            after_all=args.print_ir_after_all,
            after_change=args.print_ir_after_change,
            function_scope=args.print_ir_scope == "function",
            symbols=frozenset(args.print_ir_symbol),
        )
        if request:
            self.instruments.append(Dumps(request, self.specs, self.print_ir, self._options))
        if args.ir_dir is not None:
            from .ir_folder import IrFolder

            self._folder = IrFolder(args.ir_dir, self.specs, self._machine)
            self.instruments.append(Files(self._folder.write, self.print_ir))
        if args.check_each_pass is not None:
            from .check_passes import CheckPasses, Inputs

            inputs = Inputs.parse(args.check_each_pass)
            self.instruments.append(CheckPasses(self.ctx, self.specs, inputs, self._machine))
        if args.timing:
            self.instruments.append(Times(self.specs))

    def _passes_named(self, option: str, given: Sequence[str]) -> list[str]:
        names = [name for words in given for name in words.split(",") if name]
        for name in names:
            if name not in self.available_passes:
                raise DstcError(f"{option} {name}: {self._unknown_pass(name)}")
        return names

    def print_ir(self, module: ModuleOp) -> str:
        """A dump, in the format of the options."""
        out = StringIO()
        Printer(
            out,
            print_generic_format=self.args.print_op_generic,
            print_debuginfo=self.args.print_debuginfo,
        ).print_op(module)
        return out.getvalue() + "\n"

    def _options(self) -> str:
        """What a command that goes on from a dump needs beside its passes."""
        constants = self.args.save_constants or self.args.constants
        words = [f"--constants {named(constants)}"] if constants else []
        words += [f"--machine {named(self.args.machine)}"] if self.args.machine else []
        return " ".join(words)

    def _pipeline_message(self, error: ValueError) -> str:
        names = [s.split("{")[0].strip() for s in self.args.passes.split(",")]
        for name in names:
            if name not in self.available_passes and re.fullmatch(r"[a-z][\w-]*", name):
                return self._unknown_pass(name)
        return f"--passes {self.args.passes}: {error}; see `dstc passes`"

    def _unknown_pass(self, name: str) -> str:
        known = [*self.available_passes, *PIPELINES]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see `dstc passes`"
        return f"no pass {name}; {hint}"

    # Errors

    @property
    def in_pass(self) -> bool:
        """A pass is running, or what it left is being verified."""
        return self.stage not in ("parsing", "printing") and self.position < len(self.specs)

    def explain(self, error: Exception) -> str:
        """`error` as a message for the user, with its position in the input if it has one.

        An error in a pass names the pass and the operation that it had at hand.
        """
        if isinstance(error, ParseError):
            return parse_error_message(error)
        op = culprit(error, self.module)
        if self.in_pass:
            message = told(self.stage, error, op)
        else:
            message = " ".join(str(error).split())
            if not isinstance(error, DiagnosticException | DstcError):
                message = f"internal error: {type(error).__name__}{message and ': '}{message}"
        return op_error_message(message, op, self.lines)

    def reproducer(self) -> Path | None:
        """A file with the IR before the pass that failed; its first line is the command that fails.

        The IR is made again, from the input: passes do the same each time.
        """
        if not self.in_pass:
            return None
        self._attach_constants()
        return reproducer(
            self.ctx, self._parsed(self._text), self.pipeline.passes, self.specs, self.position,
            self._machine, self.print_ir,
        )  # fmt: skip


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "--constants": {
        "metavar": "FILE.npz",
        "help": "values of `dstc.constant` ops, for passes that need them",
    },
    "--save-constants": {
        "metavar": "FILE.npz",
        "help": "write the values of the constants that the result names: passes make new ones",
    },
    "--machine": {
        "metavar": "FILE.toml",
        "help": "description of a machine that the passes name, if it is not a shipped one",
    },
    "--print-ir-before": {
        "action": "append", "default": [], "metavar": "PASS[,...]",
        "help": "write the IR before these passes to standard error; repeatable",
    },
    "--print-ir-after": {
        "action": "append", "default": [], "metavar": "PASS[,...]",
        "help": "write the IR after these passes to standard error; repeatable",
    },
    "--print-ir-before-all": {"action": "store_true", "help": "before every pass"},
    "--print-ir-after-all": {"action": "store_true", "help": "after every pass"},
    "--print-ir-after-change": {
        "action": "store_true",
        "help": "after every pass that changed the IR",
    },
    "--print-ir-scope": {
        "choices": ("module", "function"), "default": "module",
        "help": "dumps have the whole module (default), or only the functions and kernels that "
        "the pass changed",
    },
    "--print-ir-symbol": {
        "action": "append", "default": [], "metavar": "NAME",
        "help": "dumps have this function or kernel only; repeatable",
    },
    "--ir-dir": {
        "metavar": "DIR",
        "help": "write the IR before the first and after every pass to numbered files; the first "
        "line of each is the command that goes on from it",
    },
    "--verify-each": {
        "action": argparse.BooleanOptionalAction, "default": True,
        "help": "verify the IR after every pass (default: on)",
    },
    "--timing": {
        "action": "store_true",
        "help": "write seconds and op counts of every pass to standard error",
    },
    "--check-each-pass": {
        "nargs": "?", "const": "random", "metavar": "F.npz|random[:SEED]",
        "help": "execute @main before the first and after every pass on the same inputs (default: "
        "random): interpreted, on the simulator once registers are allocated; the first pass that "
        "changes the result is named",
    },
    "--debug": {"action": "store_true", "help": "show the Python traceback of an error"},
}  # fmt: skip
"""Our options: flags -> what argparse is told."""

_HELP = {
    "verify_diagnostics": "check the errors that come against `// expected-error {{...}}` comments "
    "in the input (behind `error`: @+N, @-N, @above, @below, @unknown); exit code 1 if one is "
    "missing or not expected; no IR is printed",
    "split_input_file": "process the pieces between lines `// -----` one by one",
    "passes": "passes in order, separated by commas, with options: a,b{size=2 on=true}. Names of "
    "pipelines (`dstc pipelines`) stand for their passes: default{machine=v100 engine=dense}. "
    "--PASS or --PASS=options adds one too. `dstc passes` lists ours, and xDSL's are there",
}


def _redescribe(parser: argparse.ArgumentParser) -> None:
    """Say what we do differently from xDSL."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
        if action.dest in _HELP:
            action.help = _HELP[action.dest].replace("%", "%%")


def unwrapped(passes: str) -> str:
    """`builtin.module(a,func.func(b))` as `a,b`: ours are all passes on modules."""
    text = re.sub(r"\b(?:builtin\.module|func\.func|dstc_tile\.kernel|dstc_isa\.kernel)\(", "(",
                  passes)  # fmt: skip
    return text.replace("(", "").replace(")", "") if text != passes else passes


def expanded(passes: str) -> Iterator[str]:
    """Specifications of passes; names of pipelines become what they stand for."""
    for spec in parse_pipeline(unwrapped(passes)):
        if spec.name not in PIPELINES:
            yield str(spec)
            continue
        options = {k: v[0] if v else True for k, v in spec.parameters.items()}
        unknown = set(options) - {"machine", "engine", "tune", "lowering"}
        if unknown:
            raise DstcError(
                f"pipeline {spec.name} has no option {min(unknown)}; it takes machine, engine, "
                "tune and lowering"
            )
        inner = pipeline(
            spec.name,
            machine=str(options.get("machine", "dstc")),
            engine=str(options.get("engine", "auto")),
            tune=int(options.get("tune", 0)),
            lowering=str(options.get("lowering", "implicit")),
        )
        for text in inner:
            yield from map(str, parse_pipeline(text))


def _diagnostic(message: str) -> Diagnostic:
    """The first line of an error as `Diagnostic`."""
    headline = message.split("\n")[0]
    found = re.match(r"(?:.*?:(\d+):\d+: )?error: (.*)", headline)
    assert found is not None
    return Diagnostic(int(found[1] or 0), found[2])


def _last_caret_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].lstrip("^ ") if lines else str(error)


def _words(argv: Sequence[str]) -> list[str]:
    """`argv` with MLIR's names of options as ours, and `--PASS=options` collected for `-p`."""
    from xdsl.universe import Universe

    passes = Universe.get_multiverse().all_passes
    found: list[str] = []
    given: list[str] = []
    for word in argv:
        name, equals, value = word.partition("=")
        if name in _MLIR_NAMES:
            found.append(_MLIR_NAMES[name] + equals + value)
        elif name.startswith("--") and (name[2:] in passes or name[2:] in PIPELINES):
            options = value[1:-1] if value.startswith("{") else value
            given.append(str(ArgSpec(name[2:], {})) + (f"{{{options}}}" if options else ""))
        else:
            found.append(word)
    return [*found, "--passes", ",".join(given)] if given else found


def _run(argv: Sequence[str] | None) -> int:
    tool: OptMain | None = None
    try:
        tool = OptMain(_words(sys.argv[1:] if argv is None else argv))
        tool.run()
        tool.finish()
    except Exception as e:
        known = isinstance(e, ParseError | DiagnosticException | DstcError)
        if tool is None or tool.args.debug or not (known or tool.in_pass):
            raise
        print(tool.explain(e), file=sys.stderr)
        _leave_reproducer(tool)
        return 1
    for diagnostic in tool.came:
        print(diagnostic.message, file=sys.stderr)
    return 1 if tool.came else 0


def _leave_reproducer(tool: OptMain) -> None:
    """Say where the IR before the failed pass is."""
    if said := note(tool.reproducer()):
        print(said, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `dstc-opt` on `argv` (default: the process's own arguments); returns the exit code."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    arguments = sys.argv[1:] if argv is None else argv
    return guarded("dstc-opt", lambda: _run(arguments), debug="--debug" in arguments)


__all__ = ["OptMain", "main"]
