"""The table of passes: one file a pass, named as the pass with underscores.

In: nothing. Out: pass name -> loader; a pass's file is imported when its loader is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.passes import ModulePass

PASSES = {
    "fold-constants": "fold_constants:FoldConstants",
    "fuse-epilogue": "fuse_epilogue:FuseEpilogue",
    "fuse-pointwise": "fuse_pointwise:FusePointwise",
    "lower-precision": "lower_precision:LowerPrecision",
    "annotate-sparsity": "annotate_sparsity:AnnotateSparsity",
    "lower-conv": "lower_conv:LowerConv",
    "select-schedule": "select_schedule:SelectSchedule",
    "materialize-im2col": "materialize_im2col:MaterializeIm2col",
    "encode-operands": "encode_operands:EncodeOperands",
    "fuse-encode": "fuse_encode:FuseEncode",
    "encode-inputs": "encode_inputs:EncodeInputs",
    "convert-matmul-to-tile": "convert_matmul_to_tile:ConvertMatmulToTile",
    "convert-im2col-to-tile": "convert_im2col_to_tile:ConvertIm2colToTile",
    "convert-encode-to-tile": "convert_encode_to_tile:ConvertEncodeToTile",
    "convert-elementwise-to-tile": "convert_elementwise_to_tile:ConvertElementwiseToTile",
    "deduplicate-kernels": "deduplicate_kernels:DeduplicateKernels",
    "convert-tile-to-isa": "convert_tile_to_isa:ConvertTileToIsa",
    "expand-spwmma": "expand_spwmma:ExpandSpwmma",
    "eliminate-dead-instructions": "eliminate_dead_instructions:EliminateDeadInstructions",
    "schedule-instructions": "schedule_instructions:ScheduleInstructions",
    "rematerialize-predicates": "rematerialize_predicates:RematerializePredicates",
    "allocate-registers": "allocate_registers:AllocateRegisters",
    "verify-registers": "verify_registers:VerifyRegisters",
}
"""Pass name -> module in this room and the `ModulePass` class in it, from the model's
level down. A pass `do-a-thing` is in do_a_thing.py."""


def _load(place: str) -> type[ModulePass]:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(f".{module}", __package__), attribute)


def get_all_passes() -> dict[str, Callable[[], type[ModulePass]]]:
    """Loaders by pass name."""
    return {name: partial(_load, place) for name, place in PASSES.items()}
