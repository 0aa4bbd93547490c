"""`dstc reduce`: shrink a module that fails.

In: an MLIR file, its constants, and a command that fails on it, or passes of which one changes what
is computed. Out: a small file, and constants, that still fail.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backend.isa.errors import DstcError
from .common import check_outputs, positive, write_json, write_text

if TYPE_CHECKING:
    from ..reduce import Test


def add_parsers(subparsers: Any) -> None:
    """Add the subcommand `reduce`."""
    p = subparsers.add_parser(
        "reduce",
        help="shrink a module that fails",
        description="Take away from a module what it does not need to fail. It fails if a command "
        "does (--test), or if one of the passes -p changes what is computed.",
    )
    p.add_argument("file", metavar="FILE.mlir")
    p.add_argument("-o", "--output", required=True, metavar="OUT.mlir", help="module to write")
    p.add_argument("--constants", metavar="F.npz", help="values of `dstc.constant` ops")
    p.add_argument("--save-constants", metavar="OUT.npz", help="write the constants that are left")
    p.add_argument(
        "--test",
        metavar="COMMAND",
        help="fails on the module, with the same exit code each time; {} stands for its file, "
        "{constants} for its constants",
    )
    p.add_argument(
        "--match", metavar="REGEX", help="what the command's output must say, too, for its failure "
        "to count"
    )  # fmt: skip
    p.add_argument(
        "-p", "--passes", help="as for dstc-opt; the test is that --check-each-pass names one"
    )
    p.add_argument("--pass", dest="guilty", metavar="PASS", help="with -p: only this pass counts")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="with -p: of random inputs")
    p.add_argument(
        "--limit", type=positive, default=2000, metavar="N",
        help="run the test no more often (default: 2000)",
    )  # fmt: skip
    p.add_argument("--json", metavar="FILE", help="write the facts as JSON")
    p.set_defaults(run=run)


def _by_command(args: argparse.Namespace, folder: Path) -> Test:
    from xdsl.dialects.builtin import ModuleOp

    from ...dialects.constants import ConstantPool
    from ..driver import print_module

    file, constants = folder / "module.mlir", folder / "constants.npz"
    names = {"{}": str(file), "{constants}": str(constants)}
    words = [names.get(w, w) for w in shlex.split(args.test)]
    if str(file) not in words:
        raise DstcError(f"--test {args.test}: write {{}} where the module's file goes")
    pattern = re.compile(args.match) if args.match else None
    wanted: list[int] = []

    def test(module: ModuleOp, pool: ConstantPool) -> bool:
        file.write_text(print_module(module))
        pool.save(constants)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return False
        if pattern is not None and not pattern.search(done.stdout + done.stderr):
            return False
        wanted[:] = wanted or [done.returncode]
        return done.returncode == wanted[0]

    return test


def run(args: argparse.Namespace) -> int:
    """`dstc reduce`."""
    from ...dialects.constants import ConstantPool
    from ..driver import new_context, print_module
    from ..instruments import count_ops
    from ..locations import read_module
    from ..opt import expanded
    from ..reduce import Reducer, fails_check

    if bool(args.test) == bool(args.passes):
        raise DstcError("give --test COMMAND or -p PASSES, one of them")
    check_outputs(args.output, args.save_constants, args.json)
    module = read_module(new_context(), Path(args.file))
    pool = ConstantPool.load(args.constants) if args.constants else ConstantPool()
    before = count_ops(module)
    with tempfile.TemporaryDirectory(prefix="dstc-reduce-") as folder:
        test = (
            _by_command(args, Path(folder))
            if args.test
            else fails_check(list(expanded(args.passes)), args.seed, args.guilty)
        )
        reducer = Reducer(module, pool, test, args.limit)
        small = reducer.run()
    write_text(args.output, print_module(small))
    if args.save_constants:
        reducer.pool.save(Path(args.save_constants))
    facts = {
        "schema": 1, "file": args.file, "output": args.output, "ops_before": before,
        "ops_after": count_ops(small), "tests": reducer.tests, "steps": reducer.log,
    }  # fmt: skip
    if args.json:
        write_json(args.json, facts)
    if args.json != "-":
        print(f"{before} ops to {facts['ops_after']}, {reducer.tests} tests; wrote {args.output}")
    return 0
