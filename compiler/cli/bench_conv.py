"""`dstc bench conv`: generated convolutions through the compiler and the simulator.

In: sizes, a window, groups, densities, a machine, an engine, a lowering. Out: a table, and the same
facts as JSON; exit code 1 if a result is not numpy's, bit for bit.
"""

from __future__ import annotations

import argparse
from typing import Any

from ...backend.isa.errors import DstcError
from ..run_facts import changed, percent
from .bench_rows import cycles_column, measure, print_rows, run_options, time_columns
from .common import add_options, densities, key_values

_SIZES = (
    ("batch", 1, "images"),
    ("channels", None, "channels of an image"),
    ("height", None, "rows of an image"),
    ("width", None, "columns of an image"),
    ("filters", None, "filters: channels of the result"),
    ("groups", 1, "groups that channels and filters fall into"),
)
_PAIRS = (
    ("kernel", None, "R[,S]", "rows and columns of a filter"),
    ("stride", "1", "H[,W]", "pixels from window to window"),
    ("pad", "0", "H[,W] | T,L,B,R", "zeros around the image"),
    ("dilation", "1", "H[,W]", "pixels from tap to tap of a filter"),
    ("spread", "1", "H[,W]", "the image's pixels stand so far apart, zeros between them: the "
     "stride of a transposed convolution"),
)  # fmt: skip


def add_parser(kinds: Any) -> None:
    """Add `conv` to the kinds of `dstc bench`."""
    p = kinds.add_parser(
        "conv",
        help="a 2-D convolution, NCHW",
        description="Measure a convolution of N x C x H x W images (f16) with K filters, for every "
        "pair of densities, and compare each result with numpy bit for bit.",
    )
    for name, default, what in _SIZES:
        usual = "" if default is None else f" (default: {default})"
        p.add_argument(
            f"--{name}",
            type=int,
            required=default is None,
            default=default,
            metavar="N",
            help=what + usual,
        )
    for name, default, form, what in _PAIRS:
        usual = "" if default is None else f" (default: {default})"
        p.add_argument(
            f"--{name}",
            required=default is None,
            default=default,
            metavar=form,
            help=what + usual,
        )
    for side, what in (("a", "the images"), ("w", "the filters")):
        p.add_argument(
            f"--{side}-density",
            default="1",
            metavar="D[,D...]",
            help=f"share of {what} that is not zero, 0 to 1 (default: 1)",
        )
    p.add_argument(
        "--pattern",
        choices=("random", "2:4", "4:16"),
        default="random",
        help="zeros of the filters anywhere, or pruned to n:m (default: random)",
    )
    p.add_argument(
        "--out",
        choices=("f32", "f16"),
        default="f16",
        help="type of the result; sums are f32 (default: f16)",
    )
    add_options(
        p, "machine", "set", "engine", "lowering", "explain", "mode-or-estimate", "threads",
        "checks", "seed", "check", "json",
    )  # fmt: skip
    p.set_defaults(run=conv)


def numbers(text: str, option: str, counts: tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers separated by commas, as many as one of `counts` says.

    `DstcError` for what is no number, or another count.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise DstcError(f"{option} {text}: expected whole numbers, as in 3 or 3,5") from None
    if len(found) not in counts:
        wanted = " or ".join(map(str, counts))
        raise DstcError(f"{option} {text}: expected {wanted} numbers, not {len(found)}")
    return found


def pair(text: str, option: str) -> tuple[int, int]:
    """(height, width): two numbers, or one for both."""
    found = numbers(text, option, (1, 2))
    return found[0], found[-1]


def padding(text: str) -> tuple[int, int, int, int]:
    """(top, left, bottom, right): four numbers, two for height and width, or one for all."""
    found = numbers(text, "--pad", (1, 2, 4))
    if len(found) == 4:
        return found[0], found[1], found[2], found[3]
    return found[0], found[-1], found[0], found[-1]


def conv(args: argparse.Namespace) -> int:
    """`dstc bench conv`."""
    from ...runtime.machine import Machine
    from ..bench_conv import Conv, run_conv

    machine = Machine.load(args.machine, key_values(args.set))
    changes = machine.settings(key_values(args.set))
    todo = [
        Conv(
            args.batch,
            args.channels,
            args.height,
            args.width,
            args.filters,
            pair(args.kernel, "--kernel"),
            strides=pair(args.stride, "--stride"),
            pads=padding(args.pad),
            dilations=pair(args.dilation, "--dilation"),
            groups=args.groups,
            spread=pair(args.spread, "--spread"),
            a_density=a,
            w_density=w,
            pattern=args.pattern,
            out=args.out,
            seed=args.seed,
        )
        for a in densities(args.a_density, "--a-density")
        for w in densities(args.w_density, "--w-density")
    ]
    return measure(
        args,
        changes,
        todo,
        lambda one: run_conv(one, machine=machine, lowering=args.lowering, **run_options(args)),
        lambda rows: _print(todo[0].label, rows, changes),
        (("a_density", "images"), ("w_density", "filters")),
    )


def _print(label: str, rows: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    from ...passes.choose import in_words

    lines = [
        {
            "images": percent(r["a_density_measured"]),
            "filters": percent(r["w_density_measured"]),
            "engine": r["engine"],
            "lowering": r["lowering"],
            "tiles": in_words(r["schedule"], engine=False),
            "cycles": cycles_column([k["cycles"] for k in r["kernels"]]),
            **time_columns(r, r["kernels"][-1]["cycles"]),
        }
        for r in rows
    ]
    m, n, k = (rows[0][key] for key in "mnk")
    groups = f"{rows[0]['groups']} groups of " if rows[0]["groups"] > 1 else ""
    machine = changed(rows[0]["machine"], changes)
    title = f"{label}: {groups}{m} x {n} x {k} on {machine} ({rows[0]['mode']})"
    print_rows(title, lines, width=140)
