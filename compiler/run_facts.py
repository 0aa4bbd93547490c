"""What the table and the report of a run both say: layers, and numbers for people.

In: kernels as `dstc run --json` writes them; numbers. Out: cycles by layer; short texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast


def count(n: float) -> str:
    """A count with thousands separated."""
    return f"{int(n):,}"


def short(n: float) -> str:
    """A count to three digits: 830, 8.29 M, 17.0 M."""
    for unit in ("", " k", " M", " G", " T"):
        if n < 999.5 or unit == " T":
            return f"{n:.0f}" if not unit else f"{n:#.3g}".rstrip(".") + unit
        n /= 1000
    raise AssertionError


def percent(x: float | None) -> str:
    """A share of 1, or a dash."""
    return "-" if x is None else f"{100 * x:.1f} %"


def number(x: float | None) -> str:
    """Three significant digits; what JSON cannot hold was no number."""
    return "not a number" if x is None else f"{x:.3g}"


LIMITS = {
    "issue": "issue slots",
    "tensor": "tensor core",
    "accumulator": "accumulators",
    "scoreboard_tensor": "tensor result",
    "scoreboard_dram": "DRAM latency",
    "scoreboard_l2": "L2 latency",
    "scoreboard_l1": "L1 latency",
    "global_queue": "L1 rate",
    "scoreboard_shared": "shared latency",
    "shared_queue": "shared rate",
    "scoreboard_alu": "ALU latency",
    "scoreboard_mufu": "MUFU latency",
    "unit": "pipes",
    "branch": "branches",
    "barrier": "barriers",
    "no_warp": "too few warps",
}
"""What most sub-core cycles of a kernel went to -> what limits it."""


def limit_text(limit: str | None) -> str:
    """A kernel's limit for people, or a dash."""
    return "-" if limit is None else LIMITS.get(limit, limit.replace("_", " "))


def on_machine(facts: Mapping[str, Any]) -> str:
    """The machine's name, and the parameters that the user changed."""
    return changed(facts["machine"], facts.get("set") or {})


def changed(name: str, changes: Mapping[str, Any]) -> str:
    """A machine's name, and its parameters that the user changed, as they were given."""
    texts = [f"{key}={_value(value)}" for key, value in changes.items()]
    return f"{name} with {', '.join(texts)}" if texts else name


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, cast("Sequence[Any]", value)))
    return str(value)


def layer_of(kernel: Mapping[str, Any]) -> str:
    """The layer that a kernel works for: the first node it comes from, or its own name."""
    source: Sequence[str] = kernel["source"]
    return source[0] if source else kernel["name"]


def layer_cycles(kernels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Cycles by layer, all kernels of a layer together, in the order they ran."""
    cycles: dict[str, int] = {}
    for k in kernels:
        cycles[layer_of(k)] = cycles.get(layer_of(k), 0) + k["cycles"]
    return cycles


def layers_compared(facts: Mapping[str, Any]) -> list[tuple[str, int, list[int]]]:
    """(layer, cycles here, cycles on each machine of `compare`); 0 where a machine has none."""
    here = layer_cycles(facts["kernels"])
    others = [layer_cycles(other["kernels"]) for other in facts["compare"].values()]
    names = dict.fromkeys([*here, *(name for other in others for name in other)])
    return [(n, here.get(n, 0), [other.get(n, 0) for other in others]) for n in names]
