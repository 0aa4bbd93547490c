"""Tables of a run, a compilation, a benchmark, for people; the facts are those of the JSON.

In: the dictionaries that `--json` writes. Out: tables on standard output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    return console


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    t = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        t.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        t.add_row(*row)
    return t


def count(n: float) -> str:
    """A count with thousands separated."""
    return f"{int(n):,}"


def percent(x: float | None) -> str:
    """A share, or a dash."""
    return "-" if x is None else f"{100 * x:.1f} %"


def print_run(facts: dict[str, Any]) -> None:
    """What `dstc run` found."""
    console = _console()
    total = facts["cycles"] or 1
    others = facts["compare"]
    columns = ["layer", "op", "engine", "A density", "B density", "MACs", "effective",
               "OHMMA issued", "cycles", "share", "time us"]  # fmt: skip
    layers = {name: _layer_cycles(o["kernels"]) for name, o in others.items()}
    columns += [f"{name} cycles" for name in others] + [f"speedup vs {name}" for name in others]
    rows: list[list[str]] = []
    for k in facts["kernels"]:
        key = _key(k)
        theirs = [layers[name].get(key) for name in others]
        rows.append(
            [
                k["name"],
                k["op"],
                k["engine"] or "-",
                percent(k["a_density"]),
                percent(k["b_density"]),
                count(k["macs_dense"]) if k["macs_dense"] else "-",
                count(k["macs_effective"]) if k["macs_effective"] else "-",
                count(k["ohmma_issued"]) if k["ohmma_issued"] else "-",
                count(k["cycles"]),
                percent(k["cycles"] / total),
                f"{k['time_us']:.1f}",
                *(count(c) if c else "-" for c in theirs),
                *(f"{c / k['cycles']:.2f}x" if c and k["cycles"] else "-" for c in theirs),
            ]
        )
    title = f"{facts['model']} on {facts['machine']} ({facts['mode']} mode)"
    console.print(table(title, columns, rows))
    for h in facts["host_ops"]:
        console.print(
            f"host op: {h['name']} ({h['op']}), {1e3 * h['wall_seconds']:.1f} ms on this computer, "
            "not in the cycles"
        )
    console.print(
        f"\ntotal: {count(facts['cycles'])} cycles, {facts['time_us']:.1f} us with launches, "
        f"{count(facts['warp_instructions'])} warp instructions"
    )
    for name, other in others.items():
        speedup = other["speedup_cycles"]
        text = f"{name}: {count(other['cycles'])} cycles, {other['time_us']:.1f} us with launches"
        if speedup:
            text += (
                f"; {facts['machine']} is {speedup:.2f}x as fast by cycles, "
                f"{other['speedup']:.2f}x with launches"
            )
        console.print(text)
    if "accuracy" in facts:
        a = facts["accuracy"]
        console.print(
            f"accuracy: {a['right']} of {a['of']} right ({percent(a['right'] / a['of'])})"
        )
    check = facts["check"]
    if check is not None:
        console.print(
            f"check against the ONNX reference: {'ok' if check['ok'] else 'FAILED'}, largest error "
            f"{check['max_abs_error']:.3g}, bound {check['bound']:.3g}"
        )
    wall = facts["wall_seconds"]
    console.print(f"wall time: compile {wall['compile']:.1f} s, simulate {wall['simulate']:.1f} s")
    for note in facts["notes"]:
        console.print(f"note: {note}")


def _key(kernel: dict[str, Any]) -> tuple[Any, ...]:
    """What identifies a layer on any machine: nodes and, for the rest, op."""
    return tuple(kernel["source"]), kernel["op"]


def _layer_cycles(kernels: Sequence[dict[str, Any]]) -> dict[tuple[Any, ...], int]:
    cycles: dict[tuple[Any, ...], int] = {}
    for k in kernels:
        cycles[_key(k)] = cycles.get(_key(k), 0) + k["cycles"]
    return cycles


def print_passes(facts: dict[str, Any]) -> None:
    """The passes that ran."""
    rows = [
        [
            p["pass"],
            f"{1e3 * p['seconds']:.1f}",
            count(p["ops_before"]),
            count(p["ops_after"]),
            "-" if p["changed"] is None else "yes" if p["changed"] else "no",
        ]
        for p in facts["passes"]
    ]
    console = _console()
    title = f"{facts['model']} for {facts['machine']}"
    console.print(table(title, ["pass", "ms", "ops before", "ops after", "changed"], rows))
    if facts.get("ir_dir"):
        console.print(f"wrote {len(rows) + 1} IR files to {facts['ir_dir']}")
    for note in facts["notes"]:
        console.print(f"note: {note}")


def print_compiled(facts: dict[str, Any]) -> None:
    """The kernels of a compiled program."""
    rows = [[k["name"], *(count(k[c]) for c in _KERNEL_COLUMNS)] for k in facts["kernels"]]
    console = _console()
    title = f"{facts['model']} for {facts['machine']}"
    columns = ["kernel", *(c.replace("_", " ") for c in _KERNEL_COLUMNS)]
    console.print(table(title, columns, rows))
    console.print(f"compiled in {facts['wall_seconds']['compile']:.2f} s")
    for path in facts["written"]:
        console.print(f"wrote {path}")
    for note in facts["notes"]:
        console.print(f"note: {note}")


_KERNEL_COLUMNS = ("instructions", "registers", "warps", "shared_bytes", "acc_tiles")
