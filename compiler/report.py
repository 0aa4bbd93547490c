"""The report of a run: one HTML page that needs nothing else.

In: the dictionary that `dstc run --json` writes. Out: HTML with the same numbers: summary, kernels,
where the cycles go, products, other machines, host operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runtime.formats import OHMMA_A, OHMMA_B
from .run_facts import (
    changed,
    count,
    layers_compared,
    limit_text,
    number,
    on_machine,
    percent,
    short,
)

TEMPLATE = "report.html.jinja"

CAUSES: dict[str, tuple[str, str, str]] = {
    "issued": ("issued", "#2f7ed8", "an instruction issued"),
    "tensor": ("tensor core busy", "#e4572e", "the tensor core, or room in its queue"),
    "accumulator": ("accumulators", "#b3261e", "the accumulation buffer"),
    "scoreboard_tensor": ("tensor result", "#f2a07b", "a result of the tensor core"),
    "scoreboard_dram": ("DRAM load", "#54307a", "data from DRAM"),
    "scoreboard_l2": ("L2 load", "#7b4fa3", "data from L2, or an atomic"),
    "scoreboard_l1": ("L1 load", "#9b78bd", "data from L1"),
    "global_queue": ("global queue", "#b79ad1", "room before L1"),
    "scoreboard_shared": ("shared load", "#1f8a70", "data from shared memory"),
    "shared_queue": ("shared queue", "#86c9b7", "room before shared memory"),
    "scoreboard_alu": ("ALU result", "#c99700", "a result of the ALU or FMA pipe"),
    "scoreboard_mufu": ("MUFU result", "#8a6d00", "a result of the special function unit"),
    "unit": ("pipe busy", "#efcf63", "the interval of an ALU, FMA, MUFU or load/store pipe"),
    "branch": ("branch", "#8d6e63", "a branch's target"),
    "barrier": ("barrier", "#d9a7c7", "the other warps of the CTA"),
    "no_warp": ("no warp", "#9aa3ad", "no warp is resident"),
}
"""Cause of a sub-core cycle -> label, colour, meaning; the order of the stacked bars."""

UNKNOWN = ("#5f6b76", "a cause of the simulator")
"""Colour and meaning of a cause that is not listed."""


def render_report(facts: Mapping[str, Any]) -> str:
    """The page for `facts`, with every name in it escaped.

    Cycles and time_us are those of the facts; sums in the tables are over the facts' kernels.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment: Any = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count, percent=percent, short=short, number=number, limit_text=limit_text
    )
    return environment.get_template(TEMPLATE).render(
        f=facts,
        model=Path(facts["model"]).name,
        machine=on_machine(facts),
        changed=changed,
        timed=facts["cycles"] > 0,
        longest=max((k["cycles"] for k in facts["kernels"]), default=0),
        causes=_causes(facts),
        products=_products(facts),
        layers=layers_compared(facts),
        total=_total(facts),
        volume=OHMMA_A * OHMMA_B,
    )


def _total(facts: Mapping[str, Any]) -> dict[str, float]:
    keys = ("cycles", "time_us", "warp_instructions", "macs_dense", "macs_effective",
            "ohmma_issued", "ohmma_skipped", "dram_bytes")  # fmt: skip
    return {key: sum(k[key] for k in facts["kernels"]) for key in keys}


def _causes(facts: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(key, label, colour, meaning) of the causes that occur."""
    occur = {c: None for k in facts["kernels"] for c, cycles in k["stalls"].items() if cycles}
    known = [(key, *CAUSES[key]) for key in CAUSES if key in occur]
    return known + [(key, key, *UNKNOWN) for key in occur if key not in CAUSES]


def _products(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Kernels that multiply: multiply-adds and OHMMAs, and how well the latter are filled."""
    rows: list[dict[str, Any]] = []
    for k in facts["kernels"]:
        if k["macs_dense"]:
            issued, skipped = k["ohmma_issued"], k["ohmma_skipped"]
            slots = issued * OHMMA_A * OHMMA_B
            rows.append(
                {
                    **k,
                    "effective_share": k["macs_effective"] / k["macs_dense"],
                    "issued_share": issued / (issued + skipped) if issued + skipped else None,
                    "filled": k["macs_effective"] / slots if slots else None,
                }
            )
    return rows
