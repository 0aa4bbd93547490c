"""`dstc bench`: generated products and convolutions through the compiler and the simulator.

In: sizes, densities, a machine, an engine. Out: a table, and the same facts as JSON; exit code 1
if a result is not numpy's, bit for bit.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..run_facts import changed, percent
from . import bench_conv
from .bench_rows import cycles_column, measure, print_rows, run_options, time_columns
from .common import add_options, densities, key_values


def add_parsers(subparsers: Any) -> None:
    """Add the subcommand `bench`."""
    p = subparsers.add_parser(
        "bench",
        help="measure generated matrix products and convolutions",
        description="Compile and run products of generated operands: the same passes and the same "
        "simulator as for models.",
    )
    kinds = p.add_subparsers(metavar="WHAT", required=True)
    p = kinds.add_parser(
        "gemm",
        help="C = A B, M x K times K x N",
        description="Measure C (M x N) = A (M x K, f16) times B (K x N, f16), for every pair "
        "of densities, and compare each result with numpy bit for bit.",
    )
    for name, what in (("m", "rows of A"), ("n", "columns of B"), ("k", "depth")):
        p.add_argument(f"-{name}", type=int, required=True, metavar=name.upper(), help=what)
    for side in "ab":
        p.add_argument(
            f"--{side}-density",
            default="1",
            metavar="D[,D...]",
            help=f"share of {side.upper()} that is not zero, 0 to 1 (default: 1)",
        )
    p.add_argument(
        "--pattern",
        choices=("random", "block", "2:4", "4:16"),
        default="random",
        help="zeros anywhere, in whole 32 x 16 tiles of the format, or one operand pruned to n:m "
        "(default: random)",
    )
    p.add_argument(
        "--pattern-side",
        choices=("a", "b"),
        default="a",
        help="the operand that an n:m pattern prunes (default: a)",
    )
    for side, sizes in (("a", "K x M"), ("b", "N x K")):
        p.add_argument(
            f"--trans-{side}",
            action="store_true",
            help=f"{side.upper()} is stored {sizes}, row by row (default: as the product has it)",
        )
    p.add_argument(
        "--out",
        choices=("f32", "f16"),
        default="f32",
        help="type of C; sums are f32 (default: f32)",
    )
    add_options(
        p,
        "machine",
        "set",
        "engine",
        "explain",
        "tune",
        "mode-or-estimate",
        "threads",
        "checks",
        "seed",
        "check",
        "json",
    )
    p.set_defaults(run=gemm)
    bench_conv.add_parser(kinds)


def gemm(args: argparse.Namespace) -> int:
    """`dstc bench gemm`."""
    from ...runtime.machine import Machine
    from ..bench import products, run_gemm
    from ..tune import Tuner

    machine = Machine.load(args.machine, key_values(args.set))
    changes = machine.settings(key_values(args.set))
    todo = products(
        (args.m, args.n, args.k),
        densities(args.a_density, "--a-density"),
        densities(args.b_density, "--b-density"),
        args.pattern,
        args.seed,
        trans_a=args.trans_a,
        trans_b=args.trans_b,
        out=args.out,
        pattern_side=args.pattern_side,
    )
    tuner = Tuner(threads=args.threads)
    return measure(
        args,
        changes,
        todo,
        lambda one: run_gemm(
            one, machine=machine, tune=args.tune, tuner=tuner, **run_options(args)
        ),
        lambda rows: _print(rows, changes),
        (("a_density", "A"), ("b_density", "B")),
    )


def _print(rows: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    """A table of the rows of the JSON, for a machine with parameters that the user changed."""
    from ...passes.choose import in_words

    lines = [
        {
            "A": percent(r["a_density_measured"]),
            "B": percent(r["b_density_measured"]),
            "engine": r["engine"],
            "tiles": in_words(r["schedule"], engine=False),
            "cycles": cycles_column([r["cycles"]]),
            **time_columns(r, r["cycles"]),
            "s": f"{r['wall_seconds']:.1f}",
        }
        for r in rows
    ]
    first = rows[0]
    machine = changed(first["machine"], changes)
    form = "".join(f", {x.upper()} transposed" for x in "ab" if first[f"trans_{x}"])
    form += ", f16 result" if first["out"] == "f16" else ""
    title = f"{first['m']} x {first['n']} x {first['k']}{form} on {machine} ({first['mode']})"
    print_rows(title, lines, width=120)
