"""`dstc validate`: the simulator against measured times.

In: which measurements, which of their rows, a machine. Out: a table, the same as JSON, a plot; exit
code 1 if a value is wrong or, over all rows, a target is missed.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from ...backend.isa.errors import CheckFailed, DstcError
from .common import add_options, check_outputs, key_values, positive, write_json

if TYPE_CHECKING:
    from ..validate_data import ConvRow
    from ..validate_facts import Targets

WHAT = ("v100", "dstc")
_ONLY = {
    "v100": {"rows": "--rows", "sample": "--sample"},
    "dstc": {"points": "--points", "size": "--size", "seed": "--seed"},
}
"""What of the options, by attribute, makes sense for one of them alone."""


def add_parsers(subparsers: Any) -> None:
    """Add the subcommand `validate`."""
    p = subparsers.add_parser(
        "validate",
        help="hold the simulator against measured times",
        description="Compile every product, simulate it, and compare the times. v100: DeepBench's "
        "matrix products and forward convolutions, cuBLAS and cuDNN on a V100, dense engine. dstc: "
        "the published curve of the "
        "dual-side core, time by densities of A and B, dual engine.",
    )
    p.add_argument(
        "what", nargs="?", choices=WHAT, default="v100", help="measurements (default: v100)"
    )
    p.add_argument(
        "--rows",
        metavar="ROW[,ROW...]",
        help="only these: indices (7), ranges (0-9), patterns of MxNxK-LAYOUT ('*-TN') of "
        "products; conv, conv:7, conv:0-9, patterns of labels ('conv-*-1x1*') of convolutions; the "
        "targets are for all rows of a kind and are not judged then",
    )
    p.add_argument(
        "--sample",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="simulate long grids by their first CTAs and project (default: on)",
    )
    p.add_argument(
        "--limit-seconds",
        type=positive,
        metavar="S",
        help="begin no further row after S seconds; what is there is reported",
    )
    p.add_argument(
        "--points",
        choices=("published", "all"),
        help="dstc: the published points (default), or a grid of 21 densities around them",
    )
    p.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="dstc: M, N and K (default: 4096, as published; others are not judged)",
    )
    p.add_argument(
        "--seed", type=int, metavar="N", help="dstc: seed of generated data (default: 0)"
    )
    p.add_argument("--plot", metavar="FILE.png|svg|pdf", help="plot simulated and measured")
    p.add_argument(
        "--machine",
        metavar="NAME|FILE.toml",
        help="machine to hold against the measurements (default: v100 or dstc)",
    )
    add_options(p, "set", "threads", "json")
    p.set_defaults(run=validate)


def validate(args: argparse.Namespace) -> int:
    """`dstc validate`."""
    for what, options in _ONLY.items():
        given = [flag for name, flag in options.items() if getattr(args, name) is not None]
        if what != args.what and given:
            raise DstcError(f"{given[0]} is for `dstc validate {what}` only; leave it out")
    if args.what == "dstc":
        from .validate_dstc import validate as validate_curve

        args.seed = args.seed or 0
        return validate_curve(args)
    args.sample = args.sample is not False
    return _validate_v100(args)


def _validate_v100(args: argparse.Namespace) -> int:
    from ...runtime.machine import Machine
    from .. import validate_conv
    from ..validate import simulate
    from ..validate_data import ConvRow, chosen, measured, measured_convolutions, split_choice
    from ..validate_facts import CONV_TARGETS, TARGETS
    from ..validate_plot import check_format, plot, plotting
    from .progress import steps_shown

    changes = key_values(args.set)
    machine = Machine.load(args.machine or args.what, changes)
    data, convolutions = measured(args.what), measured_convolutions(args.what)
    texts = split_choice(args.rows) or (None, None)
    todo = [] if texts[0] == "" else chosen(data.rows, texts[0])
    conv_todo = [] if texts[1] == "" else chosen(convolutions.rows, texts[1])
    check_outputs(args.json, args.plot)
    if args.plot:
        check_format(args.plot)
        plotting()
    facts: dict[str, Any] = {
        "schema": 1,
        "validate": args.what,
        "origin": data.origin,
        "measured_on": data.machine,
        "machine": machine.name,
        "set": {key: machine[key] for key in changes},
        "partial": True,
        **_part(len(data.rows), TARGETS),
        "conv": _part(len(convolutions.rows), CONV_TARGETS),
    }
    wanted = len(todo), len(conv_todo)
    jobs = [(work(r.m * r.n * r.k, args.sample), r) for r in todo]
    jobs += [(work(_macs(r), args.sample), r) for r in conv_todo]
    started = time.perf_counter()
    try:
        with steps_shown("validate") as progress:
            left = Remaining([amount for amount, _ in jobs])
            for i, (_, row) in enumerate(jobs):
                if args.limit_seconds and time.perf_counter() - started > args.limit_seconds:
                    break
                progress(i, len(jobs), f"{row.label}, {left.text(i)}")
                if isinstance(row, ConvRow):
                    found = validate_conv.simulate(row, machine, threads=args.threads)
                    facts["conv"]["rows"].append(found)
                else:
                    found = simulate(row, machine, threads=args.threads, sampled=args.sample)
                    facts["rows"].append(found)
                if args.json and args.json != "-":
                    write_json(args.json, _finished(facts, wanted))
    finally:  # an interrupt leaves what is there
        _finished(facts, wanted)
        if args.json:
            write_json(args.json, facts)
        if (facts["rows"] or facts["conv"]["rows"]) and args.plot:
            plot(args.plot, facts)
        if args.json != "-":
            _print(facts)
            for path in filter(None, (args.json, args.plot)):
                print(f"wrote {path}")
    for what, part in (("products", facts), ("convolutions", facts["conv"])):
        wrong = [r for r in part["rows"] if not r["check"]["ok"]]
        if wrong:
            raise CheckFailed(
                f"{len(wrong)} of {len(part['rows'])} {what} have values that are not numpy's; "
                f"the first is row {wrong[0]['index']}"
            )
    misses = [line for part in (facts, facts["conv"]) for line in part["missed"] or ()]
    if misses:
        raise CheckFailed(f"{'; '.join(misses)}")
    return 0


def _macs(row: ConvRow) -> int:
    m, n, k = row.conv().sizes
    return m * n * k


def _part(count: int, targets: Targets) -> dict[str, Any]:
    """The facts of one kind of rows, none of which has run."""
    return {
        "rows_of": count,
        "rows": [],
        "summary": None,
        "targets": {key: [low, high] for key, _, low, high in targets},
        "missed": None,
    }


def _finished(facts: dict[str, Any], wanted: tuple[int, int]) -> dict[str, Any]:
    """`facts` with summaries of the rows so far."""
    from ..validate_facts import (
        CLASSES,
        CONV_CLASSES,
        CONV_TARGETS,
        TARGETS,
        missed,
        summary,
    )

    kinds = (facts, CLASSES, TARGETS), (facts["conv"], CONV_CLASSES, CONV_TARGETS)
    facts["partial"] = sum(len(part["rows"]) for part, _, _ in kinds) < sum(wanted)
    for part, classes, targets in kinds:
        if part["rows"]:
            part["summary"] = summary(part["rows"], classes)
            whole = len(part["rows"]) == part["rows_of"]
            part["missed"] = missed(part["summary"], targets) if whole else None
    return facts


def work(macs: int, sampled: bool) -> float:
    """About how long a row takes to simulate, in no unit: its HMMAs and a fixed part."""
    from ...backend.isa.table import HMMA_MACS
    from ..sampling import THRESHOLD

    hmmas = macs / HMMA_MACS
    return 2e6 + (min(hmmas, THRESHOLD) if sampled else hmmas)


class Remaining:
    """How long the rest of a list takes, by the pace so far."""

    def __init__(self, works: list[float]) -> None:
        self.works, self.started = works, time.perf_counter()

    def text(self, done: int) -> str:
        """`about 3 min left`, when item `done` begins; nothing before there is a pace."""
        before = sum(self.works[:done])
        if not before:
            return ""
        seconds = (time.perf_counter() - self.started) / before * sum(self.works[done:])
        return (
            f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
        )


def _print(facts: dict[str, Any]) -> None:
    """The rows, the classes, the means."""
    from rich.console import Console

    from ..run_facts import changed
    from .tables import table

    console = Console(highlight=False, soft_wrap=True)
    machine = changed(facts["machine"], facts["set"])
    if not facts["rows"] and not facts["conv"]["rows"]:
        console.print("no row was simulated")
        return
    title = f"{facts['measured_on'].split(',')[0]}, measured, and {machine}, simulated"
    columns = ["measured us", "simulated us", "ratio", "tiles", "split"]
    columns += ["CTAs", "sampled", "limit"]
    for part, what in ((facts, "m x n x k"), (facts["conv"], "convolution")):
        if not part["rows"]:
            continue
        console.print(table(title, ["row", what, *columns], [_line(r) for r in part["rows"]]))
        s = part["summary"]
        lines = [
            [c["name"], str(c["rows"]), f"{c['geomean']:.3f}", f"{c['mape']:.1f} %"]
            for c in s["classes"]
            if c["rows"]
        ]
        lines.append(["all", str(s["rows"]), f"{s['geomean']:.3f}", f"{s['mape']:.1f} %"])
        console.print()
        console.print(table("simulated / measured", ["rows", "", "mean", "error"], lines))
        if s["rank"] is not None:
            console.print(f"rank correlation {s['rank']:.3f}")
        console.print(f"worst rows: {', '.join(map(str, s['worst']))}")
        if part["missed"] is None:
            console.print("targets are for all rows: not judged")
        for line in part["missed"] or ():
            console.print(f"missed: {line}")
    if facts["partial"]:
        console.print("not all rows that were asked for: stopped early")


def _line(r: dict[str, Any]) -> list[str]:
    s, part = r["schedule"], r["sampled"]
    return [
        str(r["index"]),
        r["label"] if r["layout"] == "conv" else f"{r['m']}x{r['n']}x{r['k']} {r['layout']}",
        f"{r['measured_us']:,.0f}",
        f"{r['simulated_us']:,.1f}",
        f"{r['ratio']:.3f}" + ("" if r["check"]["ok"] else " WRONG"),
        f"{s['cta'][0]}x{s['cta'][1]}/{s['warp'][0]}x{s['warp'][1]}",
        str(s.get("split", 1)),
        str(r["grid"][0] * r["grid"][1] * r["grid"][2]),
        f"{part['n1']}, {part['n2']}" if part else "-",
        f"{r['limit'].replace('_', ' ')} {100 * r['limit_share']:.0f} %",
    ]
