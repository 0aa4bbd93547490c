"""`dstc validate dstc`: the published curve of the dual-side core and ours, side by side.

In: which points, the size, a machine. Out: a table, the same as JSON, a plot; exit code 1 if a
value is wrong or, at the published size, a judged point is too far off.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from ...backend.isa.errors import CheckFailed
from .common import check_outputs, key_values, write_json

NAME = "dstc"


def validate(args: argparse.Namespace) -> int:
    """`dstc validate dstc`."""
    from ...runtime.machine import Machine
    from ..validate_dstc import WITHIN, missed, points, published, quantisation, simulate_point
    from ..validate_plot import check_format, plot_curve, plotting
    from .progress import steps_shown
    from .validate import Remaining

    changes = key_values(args.set)
    machine = Machine.load(args.machine or NAME, changes)
    data = published()
    size = args.size or data.size
    todo = points(args.points or "published", data)
    check_outputs(args.json, args.plot)
    if args.plot:
        check_format(args.plot)
        plotting()
    facts: dict[str, Any] = {
        "schema": 1,
        "validate": NAME,
        "origin": data.origin,
        "confidence": data.confidence,
        "measured_on": data.machine,
        "machine": machine.name,
        "set": {key: machine[key] for key in changes},
        "size": size,
        "published_size": data.size,
        "seed": args.seed,
        "partial": True,
        "rows": [],
        "summary": None,
        "within": WITHIN,
        "missed": None,
    }
    started = time.perf_counter()
    try:
        with steps_shown("validate") as progress:
            left = Remaining([0.2 + quantisation(*point) for point in todo])
            for i, point in enumerate(todo):
                if args.limit_seconds and time.perf_counter() - started > args.limit_seconds:
                    break
                progress(i, len(todo), f"densities {point[0]:g}/{point[1]:g}, {left.text(i)}")
                facts["rows"].append(
                    simulate_point(
                        point,
                        machine,
                        size,
                        dense_cycles=facts["rows"][0]["cycles"] if facts["rows"] else None,
                        seed=args.seed,
                        threads=args.threads,
                        data=data,
                    )
                )
                if args.json and args.json != "-":
                    write_json(args.json, _finished(facts, len(todo)))
    finally:  # an interrupt leaves what is there
        _finished(facts, len(todo))
        if args.json:
            write_json(args.json, facts)
        plot = args.plot if facts["rows"] else None
        if plot:
            plot_curve(plot, facts)
        if args.json != "-":
            _print(facts)
            for path in filter(None, (args.json, plot)):
                print(f"wrote {path}")
    wrong = [r for r in facts["rows"] if not r["bit_exact"]]
    if wrong:
        raise CheckFailed(
            f"{len(wrong)} of {len(facts['rows'])} products have values that are not numpy's; the "
            f"first is at densities {wrong[0]['a_density']:g} / {wrong[0]['b_density']:g}"
        )
    misses = missed(facts["rows"]) if size == data.size else []
    if misses:
        raise CheckFailed("; ".join(misses))
    return 0


def _finished(facts: dict[str, Any], wanted: int) -> dict[str, Any]:
    """`facts` with the summary of its rows so far."""
    from ..validate_dstc import missed, summary

    facts["partial"] = len(facts["rows"]) < wanted
    if facts["rows"]:
        facts["summary"] = summary(facts["rows"])
        same = facts["size"] == facts["published_size"]
        facts["missed"] = missed(facts["rows"]) if same else None
    return facts


def _print(facts: dict[str, Any]) -> None:
    """The points, and what they come to."""
    from rich.console import Console

    from ..run_facts import changed
    from .tables import table

    console = Console(highlight=False, soft_wrap=True)
    machine = changed(facts["machine"], facts["set"])
    if not facts["rows"]:
        console.print("no point was simulated")
        return
    title = f"cycles over those of dense operands, {facts['size']}^3, {machine}, f16 results"
    columns = ["densities A / B", "cycles", "ours", "quantisation", "published", "difference"]
    columns += ["quantisation's", "tiles", "limit"]
    console.print(table(title, columns, [_line(r) for r in facts["rows"]]))
    s = facts["summary"]
    if s["largest"] is not None:
        console.print(
            f"largest difference from {s['published']} published points: "
            f"{100 * s['largest']:.1f} %, of the {s['judged']} judged "
            + ("-" if s["largest_judged"] is None else f"{100 * s['largest_judged']:.1f} %")
            + f"; quantisation alone: {100 * s['largest_quantisation']:.1f} %"
        )
    console.print(f"at most {100 * s['above_quantisation']:.1f} % above quantisation")
    if facts["partial"]:
        console.print("not all points that were asked for: stopped early")
    if facts["missed"] is None:
        console.print(f"published for {facts['published_size']}^3: not judged")
    for line in facts["missed"] or ():
        console.print(f"missed: {line}")


def _line(r: dict[str, Any]) -> list[str]:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:+.1f} %"

    s = r["schedule"]
    return [
        f"{r['a_density']:g} / {r['b_density']:g}",
        f"{r['cycles']:,}" + ("" if r["bit_exact"] else " WRONG"),
        f"{r['normalised']:.3f}",
        f"{r['quantisation']:.3f}",
        "-" if r["published"] is None else f"{r['published']:.3f}",
        percent(r["difference"]) + (" *" if r["judged"] else ""),
        percent(r["quantisation_difference"]),
        f"{s['cta'][0]}x{s['cta'][1]}/{s['warp'][0]}x{s['warp'][1]}",
        f"{r['limit'].replace('_', ' ')} {100 * r['limit_share']:.0f} %",
    ]
