"""Tables of a run, a compilation, a benchmark, for people; the facts are those of the JSON.

In: the dictionaries that `--json` writes. Out: tables on standard output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ..run_facts import (
    changed,
    count,
    layers_compared,
    limit_text,
    number,
    on_machine,
    percent,
    short,
)

PIPED_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""

RUN_COLUMNS: tuple[tuple[str, int, Callable[[dict[str, Any]], str]], ...] = (
    ("kernel", 0, lambda k: k["name"]),
    ("op", 2, lambda k: k["op"]),
    ("engine", 3, lambda k: k["engine"] or "-"),
    ("A", 4, lambda k: percent(k["a_density"])),
    ("B", 4, lambda k: percent(k["b_density"])),
    ("MACs", 5, lambda k: short(k["macs_dense"]) if k["macs_dense"] else "-"),
    ("effective", 6, lambda k: short(k["macs_effective"]) if k["macs_effective"] else "-"),
    ("OHMMAs", 5, lambda k: count(k["ohmma_issued"]) if k["ohmma_issued"] else "-"),
    ("cycles", 0, lambda k: count(k["cycles"])),
    ("time us", 7, lambda k: f"{k['time_us']:.1f}"),
)
"""Title, how soon to leave it out of a narrow table (0: never), the kernel's text."""


def _console() -> Console:
    """Standard output; lines are never wrapped or cut."""
    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        return console
    return Console(highlight=False, soft_wrap=True, width=PIPED_WIDTH)


def _say(console: Console, text: str) -> None:
    """One line as it is: names may hold brackets."""
    console.print(text, markup=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    """Title, header and rows; the first column is text and the others are numbers.

    Never wrapped, no blanks at the ends of lines.
    """
    sizes = [max([len(c), *(len(r[i]) for r in rows)]) for i, c in enumerate(columns)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(s) if not i else c.rjust(s)
            for i, (c, s) in enumerate(zip(cells, sizes, strict=True))
        ]
        return "  ".join(padded).rstrip()

    text = Text(title + "\n", no_wrap=True, overflow="ignore")
    text.append(line(columns), style="bold")
    for row in rows:
        text.append("\n" + line(row))
    return text


def fitting(
    width: int, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]]
) -> list[int]:
    """Indices of the columns that fit into `width`; the highest number goes first, 0 never."""
    sizes = [max([len(t), *(len(r[i]) for r in rows)]) for i, (t, _) in enumerate(columns)]
    chosen = list(range(len(columns)))
    while sum(sizes[i] + 2 for i in chosen) - 2 > width:
        last = max(chosen, key=lambda i: (columns[i][1], i))
        if not columns[last][1]:
            break
        chosen.remove(last)
    return chosen


def print_run(facts: dict[str, Any]) -> None:
    """What `dstc run` found."""
    console = _console()
    total = facts["cycles"]
    timed = total > 0
    shown = [c for c in RUN_COLUMNS if timed or c[0] not in ("cycles", "time us")]
    columns = [(title, rank) for title, rank, _ in shown]
    rows = [[text(k) for _, _, text in shown] for k in facts["kernels"]]
    if timed:
        columns += [("share", 1), ("limit", 6)]
        for row, k in zip(rows, facts["kernels"], strict=True):
            row += [percent(k["cycles"] / total), limit_text(k["limit"])]
    title = f"{facts['model']} on {on_machine(facts)} ({facts['mode']} mode)"
    keep = fitting(console.width, columns, rows)
    if rows:
        kept = [[r[i] for i in keep] for r in rows]
        console.print(table(title, [columns[i][0] for i in keep], kept))
    else:
        _say(console, f"{title}: no kernels")
    for h in facts["host_ops"]:
        _say(
            console,
            f"host op: {h['name']} ({h['op']}), {1e3 * h['wall_seconds']:.1f} ms on this computer, "
            "not in the cycles",
        )
    _print_totals(console, facts, timed)
    _print_accuracy(console, facts)
    check = facts["check"]
    if check is not None:
        worst = f" ({check['worst']})" if len(check["machines"]) > 1 else ""
        _say(
            console,
            f"check against the ONNX reference on {', '.join(check['machines'])}: "
            f"{'ok' if check['ok'] else 'FAILED'}, largest error "
            f"{number(check['max_abs_error'])}{worst}, bound {number(check['bound'])}",
        )
    wall = facts["wall_seconds"]
    _say(
        console,
        f"wall time: compile {wall['compile']:.1f} s{_cached(facts)}, "
        f"simulate {wall['simulate']:.1f} s",
    )
    for note in facts["notes"]:
        _say(console, f"note: {note}")


def _cached(facts: dict[str, Any]) -> str:
    return " (from the cache)" if facts.get("cached") else ""


ESTIMATE_COLUMNS: tuple[tuple[str, int, Callable[[dict[str, Any]], str]], ...] = (
    *(c for c in RUN_COLUMNS if c[0] not in ("effective", "OHMMAs")),
    ("limit", 1, lambda k: k["limit"].replace("_", " ")),
)
"""The same of a kernel that was not simulated."""


def print_estimate(facts: dict[str, Any]) -> None:
    """What `dstc run --mode estimate` predicts."""
    console = _console()
    rows = [[text(k) for _, _, text in ESTIMATE_COLUMNS] for k in facts["kernels"]]
    columns = [(title, rank) for title, rank, _ in ESTIMATE_COLUMNS]
    keep = fitting(console.width, columns, rows)
    title = f"{facts['model']} on {on_machine(facts)} ({facts['mode']} mode)"
    if rows:
        kept = [[r[i] for i in keep] for r in rows]
        console.print(table(title, [columns[i][0] for i in keep], kept))
    else:
        _say(console, f"{title}: no kernels")
    total = f"{count(facts['cycles'])} cycles, {facts['time_us']:.1f} us with launches"
    _say(console, f"\ntotal: {total}")
    for name, other in facts["compare"].items():
        _say(
            console,
            f"on {name}: {count(other['cycles'])} cycles, {other['time_us']:.1f} us, speedup "
            f"{other['speedup']:.2f}",
        )
    for note in facts["notes"]:
        _say(console, f"note: {note}")


def _print_accuracy(console: Console, facts: dict[str, Any]) -> None:
    for name, ran in {facts["machine"]: facts, **facts["compare"]}.items():
        if "accuracy" in ran:
            right, of = ran["accuracy"]["right"], ran["accuracy"]["of"]
            share = percent(right / of if of else None)
            _say(console, f"accuracy on {name}: {right} of {of} right ({share})")


def _print_totals(console: Console, facts: dict[str, Any], timed: bool) -> None:
    instructions = f"{count(facts['warp_instructions'])} warp instructions"
    if not timed:
        _say(console, f"\ntotal: {instructions}; functional mode has no cycles")
        return
    _say(
        console,
        f"\ntotal: {count(facts['cycles'])} cycles, {facts['time_us']:.1f} us with launches, "
        f"{instructions}",
    )
    others = facts["compare"]
    if not others:
        return
    columns = ["layer (all its kernels)", f"{facts['machine']} cycles"]
    for name in others:
        columns += [f"{name} cycles", "speedup"]
    rows: list[list[str]] = []
    layers = layers_compared(facts)
    for layer, here, theirs in [*layers, _sum_row(facts)]:
        row = [layer, count(here)]
        for cycles in theirs:
            row += [count(cycles), f"{cycles / here:.2f}x" if here and cycles else "-"]
        rows.append(row)
    launches = ["time with launches, us", f"{facts['time_us']:.1f}"]
    for other in others.values():
        speedup = other["speedup"]
        launches += [f"{other['time_us']:.1f}", f"{speedup:.2f}x" if speedup else "-"]
    rows.append(launches)
    _say(console, "")
    compared = ", ".join(changed(name, other.get("set") or {}) for name, other in others.items())
    console.print(table(f"{on_machine(facts)}; compared: {compared}", columns, rows))


def _sum_row(facts: dict[str, Any]) -> tuple[str, int, list[int]]:
    return "all layers", facts["cycles"], [o["cycles"] for o in facts["compare"].values()]


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
    title = f"{facts['model']} for {on_machine(facts)}"
    console.print(table(title, ["pass", "ms", "ops before", "ops after", "changed"], rows))
    if facts.get("ir_dir"):
        _say(console, f"wrote {len(rows) + 1} IR files to {facts['ir_dir']}")
    if facts.get("replayed"):
        _say(console, f"went on from {facts['replayed']} files: the same program each time")
    if facts.get("html"):
        _say(console, f"wrote {facts['html']}")
    for note in facts["notes"]:
        _say(console, f"note: {note}")


CANDIDATE_COLUMNS: tuple[tuple[str, Callable[[dict[str, Any], float], str]], ...] = (
    ("schedule", lambda c, best: _schedule(c)),
    ("stages", lambda c, best: str(c["stages"])),
    ("predicted", lambda c, best: count(c["predicted"])),
    ("encoding", lambda c, best: count(c["encoding"]) if c["encoding"] else "-"),
    ("measured", lambda c, best: "-" if c["measured"] is None else count(c["measured"])),
    ("of best", lambda c, best: f"{c['cycles'] / best:.3f}"),
    ("limit", lambda c, best: c["limit"].replace("_", " ")),
)
"""Title, the candidate's text; `best`: cycles of the chosen one."""


def _schedule(c: dict[str, Any]) -> str:
    text = f"{c['engine']} {'x'.join(map(str, c['cta']))}/{'x'.join(map(str, c['warp']))}"
    text += (" swap" if c["swap"] else "") + (f" /{c['split']}" if c["split"] > 1 else "")
    return text + (f" w{c['window']}" if c["window"] > 32 else "")


def print_choices(choices: Sequence[dict[str, Any]]) -> None:
    """What `--explain` says: products that were chosen for alike stand together."""
    console = _console()
    alike: dict[str, list[str]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for choice in choices:
        key = str({k: v for k, v in choice.items() if k not in ("source", "milliseconds")})
        alike.setdefault(key, []).extend(choice["source"][:1])
        facts.setdefault(key, choice)
    for key, choice in facts.items():
        best = max(1, choice["candidates"][0]["cycles"])
        rows = [[text(c, best) for _, text in CANDIDATE_COLUMNS] for c in choice["candidates"]]
        names = f"{', '.join(alike[key])}: " if alike[key] else ""
        title = (
            f"\n{names}{choice['m']} x {choice['n']} x {choice['k']}, densities "
            f"{percent(choice['a_density'])} and {percent(choice['b_density'])}: "
            f"{choice['considered']} candidates in {choice['milliseconds']:.1f} ms"
        )
        console.print(table(title, [t for t, _ in CANDIDATE_COLUMNS], rows))
        _say(console, choice["why"])


def print_compiled(facts: dict[str, Any]) -> None:
    """The kernels of a compiled program."""
    rows = [[k["name"], *(count(k[c]) for c in _KERNEL_COLUMNS)] for k in facts["kernels"]]
    console = _console()
    title = f"{facts['model']} for {on_machine(facts)}"
    columns = ["kernel", *(c.replace("_", " ") for c in _KERNEL_COLUMNS)]
    console.print(table(title, columns, rows))
    _say(console, f"compiled in {facts['wall_seconds']['compile']:.2f} s{_cached(facts)}")
    for path in facts["written"]:
        _say(console, f"wrote {path}")
    for note in facts["notes"]:
        _say(console, f"note: {note}")


_KERNEL_COLUMNS = ("instructions", "registers", "warps", "shared_bytes", "acc_tiles")
