"""The pass pipelines, as data.

In: nothing. Out: `PIPELINES`, lists of pass specifications by name, which `dstc pipelines` prints
and `dstc-opt -p` replays; `{machine}` and `{engine}` stand for the driver's choices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

GRAPH = (
    "fold-constants",
    "fuse-epilogue",
    "fuse-pointwise",
    "lower-precision",
    "annotate-sparsity",
    "lower-conv",
    "select-schedule{{machine={machine} engine={engine}}}",
    "materialize-im2col{{machine={machine}}}",
    "encode-operands",
    "fuse-encode",
)
"""Model graph to scheduled products (levels 1 and 2)."""

TILE = (
    "convert-im2col-to-tile{{machine={machine}}}",
    "convert-encode-to-tile{{machine={machine}}}",
    "convert-matmul-to-tile",
    "convert-elementwise-to-tile",
    "deduplicate-kernels",
    "cse",
    "licm",
)
"""Scheduled products to tiled kernels (level 3)."""

ISA = (
    "convert-tile-to-isa",
    "expand-spwmma{{machine={machine}}}",
    "eliminate-dead-instructions",
    "schedule-instructions{{machine={machine}}}",
    "rematerialize-predicates",
    "allocate-registers",
    "verify-registers",
)
"""Tiled kernels to instructions on registers (level 4)."""


def _encoded(specs: tuple[str, ...]) -> list[str]:
    """As `specs`, for arguments that arrive encoded, which no kernel then encodes."""
    known = [
        spec.replace("engine={engine}", "engine={engine} encoded-inputs=true") for spec in specs
    ]
    at = known.index("fuse-encode")
    return [*known[:at], "encode-inputs", *known[at:]]


PIPELINES: dict[str, list[str]] = {
    "default": [*GRAPH, *TILE, *ISA],
    "graph": [*GRAPH],
    "tile": [*GRAPH, *TILE],
    "encoded-inputs": [*_encoded(GRAPH), *TILE, *ISA],
}
"""`default`: everything; `graph`, `tile`: stop at that level; `encoded-inputs`: bitmap operands
that are function arguments arrive encoded, as `dstc bench gemm` measures."""


def pipeline(
    name: str, *, machine: str, engine: str, tune: int = 0, lowering: str = "implicit"
) -> list[str]:
    """Pass specifications of pipeline `name` for a machine and an engine.

    `tune`: candidates that select-schedule measures; `lowering`: of convolutions.
    """
    specs = filled(PIPELINES[name], machine=machine, engine=engine)
    if lowering != "implicit":
        specs = [
            f"{spec[:-1]} lowering={lowering}}}" if spec.startswith("materialize-im2col{") else spec
            for spec in specs
        ]
    return [_tuned(spec, tune) for spec in specs] if tune else specs


def _tuned(spec: str, tune: int) -> str:
    """select-schedule measures the best candidates."""
    return f"{spec[:-1]} tune={tune}}}" if spec.startswith("select-schedule{") else spec


def filled(specs: Iterable[str], *, machine: str = "dstc", engine: str = "auto") -> list[str]:
    """`specs` for a machine (its name or file) and an engine."""
    machine = machine if _BARE.fullmatch(machine) else json.dumps(machine, ensure_ascii=False)
    return [spec.format(machine=machine, engine=engine) for spec in specs]


_BARE = re.compile(r"(?!true$|false$)[A-Za-z_][A-Za-z0-9_-]*")
"""A pass option's value that needs no quotes."""
