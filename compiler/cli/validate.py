"""`dstc validate`: the simulator against measured times.

In: which measurements, which of their rows, a machine. Out: a table, the same as JSON, a plot; exit
code 1 if a value is wrong or, over all rows, a target is missed.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from ...backend.isa.errors import CheckFailed, DstcError
from .common import add_options, check_outputs, key_values, positive, write_json

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
        "matrix products, cuBLAS on a V100, dense engine. dstc: the published curve of the "
        "dual-side core, time by densities of A and B, dual engine.",
    )
    p.add_argument(
        "what", nargs="?", choices=WHAT, default="v100", help="measurements (default: v100)"
    )
    p.add_argument(
        "--rows",
        metavar="ROW[,ROW...]",
        help="only these: indices (7), ranges (0-9), patterns of MxNxK-LAYOUT ('*-TN'); the "
        "targets are for all rows and are not judged then",
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
    from ..validate import simulate
    from ..validate_data import chosen, measured
    from ..validate_facts import TARGETS, missed
    from ..validate_plot import check_format, plot, plotting
    from .progress import steps_shown

    changes = key_values(args.set)
    machine = Machine.load(args.machine or args.what, changes)
    data = measured(args.what)
    todo = chosen(data.rows, args.rows)
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
        "rows_of": len(data.rows),
        "rows": [],
        "summary": None,
        "targets": {key: [low, high] for key, _, low, high in TARGETS},
        "missed": None,
    }
    started = time.perf_counter()
    try:
        with steps_shown("validate") as progress:
            left = Remaining([work(row.m * row.n * row.k, args.sample) for row in todo])
            for i, row in enumerate(todo):
                if args.limit_seconds and time.perf_counter() - started > args.limit_seconds:
                    break
                progress(i, len(todo), f"{row.label}, {left.text(i)}")
                facts["rows"].append(
                    simulate(row, machine, threads=args.threads, sampled=args.sample)
                )
                if args.json and args.json != "-":
                    write_json(args.json, _finished(facts, len(todo)))
    finally:  # an interrupt leaves what is there
        _finished(facts, len(todo))
        if args.json:
            write_json(args.json, facts)
        if facts["rows"] and args.plot:
            plot(args.plot, facts)
        if args.json != "-":
            _print(facts)
            for path in filter(None, (args.json, args.plot)):
                print(f"wrote {path}")
    wrong = [r for r in facts["rows"] if not r["check"]["ok"]]
    if wrong:
        raise CheckFailed(
            f"{len(wrong)} of {len(facts['rows'])} products have values that are not numpy's; "
            f"the first is row {wrong[0]['index']}"
        )
    if len(facts["rows"]) < facts["rows_of"]:
        return 0
    misses = missed(facts["summary"])
    if misses:
        raise CheckFailed(f"{'; '.join(misses)}")
    return 0


def _finished(facts: dict[str, Any], wanted: int) -> dict[str, Any]:
    """`facts` with the summary of its rows so far."""
    from ..validate_facts import missed, summary

    facts["partial"] = len(facts["rows"]) < wanted
    if facts["rows"]:
        facts["summary"] = summary(facts["rows"])
        whole = len(facts["rows"]) == facts["rows_of"]
        facts["missed"] = missed(facts["summary"]) if whole else None
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
    if not facts["rows"]:
        console.print("no row was simulated")
        return
    title = f"{facts['measured_on'].split(',')[0]}, measured, and {machine}, simulated"
    columns = ["row", "m x n x k", "measured us", "simulated us", "ratio", "tiles", "split"]
    columns += ["CTAs", "sampled", "limit"]
    console.print(table(title, columns, [_line(r) for r in facts["rows"]]))
    s = facts["summary"]
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
    if facts["partial"]:
        console.print("not all rows that were asked for: stopped early")
    if facts["missed"] is None:
        console.print("targets are for all rows: not judged")
    for line in facts["missed"] or ():
        console.print(f"missed: {line}")


def _line(r: dict[str, Any]) -> list[str]:
    s, part = r["schedule"], r["sampled"]
    return [
        str(r["index"]),
        f"{r['m']}x{r['n']}x{r['k']} {r['layout']}",
        f"{r['measured_us']:,.0f}",
        f"{r['simulated_us']:,.1f}",
        f"{r['ratio']:.3f}" + ("" if r["check"]["ok"] else " WRONG"),
        f"{s['cta'][0]}x{s['cta'][1]}/{s['warp'][0]}x{s['warp'][1]}",
        str(s.get("split", 1)),
        str(r["grid"][0] * r["grid"][1] * r["grid"][2]),
        f"{part['n1']}, {part['n2']}" if part else "-",
        f"{r['limit'].replace('_', ' ')} {100 * r['limit_share']:.0f} %",
    ]
