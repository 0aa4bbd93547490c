"""The command `dstc`.

In: command-line arguments. Out: the chosen subcommand's output and exit code. Only the chosen
subcommand's module is imported, and nothing heavy before it runs: every `--help` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from .common import Parser, guarded

COMMANDS = {
    "run": "run",
    "compile": "run",
    "inspect": "run",
    "reduce": "reduce",
    "bench": "bench",
    "validate": "validate",
    "sim": "sim",
    "asm": "asm",
    "disasm": "asm",
    "isa": "asm",
    "machines": "sim",
    "passes": "listing",
    "pipelines": "listing",
}
"""Subcommand -> module of this package that has it. `add_parsers(subparsers)` of each module adds
its subcommands with `set_defaults(run=function)`; `function(args)` returns the exit code."""

_EPILOG = (
    "Exit codes: 0 done and correct; 1 a check failed, or an internal error; "
    "2 bad input or usage; 3 the simulated program trapped."
)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"dstc {version('dstc')}, xDSL {version('xdsl')}")
        parser.exit(0)


def build_parser(command: str | None = None) -> Parser:
    """The parser of `dstc`: of one command's module, or of all if `command` is none of ours."""
    parser = Parser(
        prog="dstc",
        description="Compile models with sparse weights and activations for the dual-side sparse "
        "tensor core, look at the IR between passes, run the code on the simulator.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    modules = [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values())
    for module in modules:
        importlib.import_module(f".{module}", __package__).add_parsers(subparsers)
    return parser


def _run(argv: Sequence[str]) -> int:
    command = next((a for a in argv if not a.startswith("-")), None)
    args = build_parser(command).parse_args(argv)
    return args.run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return guarded("dstc", lambda: _run(arguments), debug="--debug" in arguments)
