"""What `dstc bench gemm` and `dstc bench conv` share: running, writing and printing their rows.

In: generated operations, how to run one, the command's arguments. Out: JSON, tables, and
`CheckFailed` if a result is not numpy's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...backend.isa.errors import CheckFailed
from ..run_facts import count, percent
from .common import write_json

Row = dict[str, Any]
_T = TypeVar("_T")


def run_options(args: argparse.Namespace) -> Row:
    """The arguments that every measured operation takes."""
    names = "engine", "mode", "threads", "checks", "check", "explain"
    return {name: getattr(args, name) for name in names}


def measure(
    args: argparse.Namespace,
    changes: Row,
    todo: Sequence[_T],
    run: Callable[[_T], Row],
    show: Callable[[list[Row]], None],
    densities: tuple[tuple[str, str], tuple[str, str]],
) -> int:
    """Run each of `todo` and print its row; the exit code.

    `changes`: parameters of the machine that the user set; `show` prints the table; `densities`:
    keys of the two in a row, and what the operands are called. Raises `CheckFailed`.
    """
    from .progress import steps_shown
    from .tables import print_choices

    rows: list[Row] = []
    with steps_shown("bench") as progress:
        for i, one in enumerate(todo):
            said = (f"{name} {getattr(one, key):g}" for key, name in densities)
            progress(i, len(todo), ", ".join(said))
            rows.append(run(one))
    if args.json:
        write_json(args.json, {"schema": 1, "set": changes, "rows": rows})
    if args.json != "-":
        show(rows)
        print_choices([row["choice"] for row in rows if row["choice"] is not None])
        if args.json:
            print(f"wrote {args.json}")
    wrong = [row for row in rows if row["bit_exact"] is False]
    if wrong:
        first = " and ".join(f"{wrong[0][key]:g}" for key, _ in densities)
        raise CheckFailed(
            f"{len(wrong)} of {len(rows)} results are not numpy's, bit for bit; the first at "
            f"densities {first}"
        )
    return 0


def print_rows(title: str, lines: list[dict[str, str]], width: int) -> None:
    """A table; columns are the keys of a line. `width`: characters of a line off a terminal."""
    from rich.console import Console

    from .tables import table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=width)
    console.print(table(title, list(lines[0]), [list(line.values()) for line in lines]))


def time_columns(row: Row, product: int | None) -> dict[str, str]:
    """Columns on time that all tables have; `product`: cycles of the product's own kernel."""
    from ..bench import tightest

    name, bound = tightest(row)
    if row["limit"] is not None:
        name, bound = row["limit"], row["estimate"][row["limit"]]
    return {
        "us": f"{row['time_us']:.1f}" if product is not None else "-",
        "TFLOP/s": f"{row['tflops']:.1f}" if row["tflops"] is not None else "-",
        "of bound": f"{percent(bound / product) if product else '-'} {name.replace('_', ' ')}",
        "exact": {None: "-", True: "yes", False: "NO"}[row["bit_exact"]],
    }


def cycles_column(cycles: Sequence[int | None]) -> str:
    """Cycles of the kernels, with a plus between."""
    return " + ".join("-" if c is None else count(c) for c in cycles)
