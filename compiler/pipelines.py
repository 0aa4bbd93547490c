"""The pass pipelines, as data.

In: nothing. Out: `PIPELINES`, lists of pass specifications by name, which `dstc pipelines` prints
and `dstc-opt -p` replays; `{machine}` and `{engine}` stand for the driver's choices.
"""

from __future__ import annotations

GRAPH = (
    "fold-constants",
    "fuse-epilogue",
    "lower-precision",
    "annotate-sparsity",
    "lower-conv-im2col",
    "select-schedule{{machine={machine} engine={engine}}}",
    "encode-operands",
)
"""Model graph to scheduled products (levels 1 and 2)."""

TILE = (
    "convert-im2col-to-tile",
    "convert-encode-to-tile",
    "convert-matmul-to-tile",
    "convert-elementwise-to-tile",
    "cse",
    "licm",
)
"""Scheduled products to tiled kernels (level 3)."""

ISA = (
    "convert-tile-to-isa",
    "eliminate-dead-instructions",
    "schedule-instructions",
    "allocate-registers",
    "verify-registers",
)
"""Tiled kernels to instructions on registers (level 4)."""

PIPELINES: dict[str, list[str]] = {
    "default": [*GRAPH, *TILE, *ISA],
    "graph": [*GRAPH],
    "tile": [*GRAPH, *TILE],
    "encoded-inputs": [*GRAPH, "encode-inputs", *TILE, *ISA],
}
"""`default`: everything; `graph`, `tile`: stop at that level; `encoded-inputs`: bitmap operands
that are function arguments arrive encoded, as `dstc bench gemm` measures."""


def pipeline(name: str, *, machine: str, engine: str) -> list[str]:
    """Pass specifications of pipeline `name` for a machine and an engine."""
    return [spec.format(machine=machine, engine=engine) for spec in PIPELINES[name]]
