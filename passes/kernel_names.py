"""Names of kernels and the exchange of an op for a launch. Not a pass.

In: the module and the op that becomes a kernel. Out: a symbol that is free in the module and
tells where the kernel comes from.
"""

from __future__ import annotations

import re

from xdsl.dialects import builtin
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter

from ..dialects import dstc_tile as tile
from ..dialects.dstc import copy_source, source_of


class KernelNames:
    """Symbols of one module."""

    def __init__(self, module: builtin.ModuleOp):
        self.module = module
        symbols = (op.properties.get("sym_name") for op in module.body.block.ops)
        self.taken = {s.data for s in symbols if isinstance(s, StringAttr)}

    def fresh(self, op: Operation, what: str) -> str:
        """`conv1_conv2d`, or `conv1_conv2d_1` if that is taken; a name that assembly can write."""
        source = source_of(op)
        words = f"{source[0]}_{what}" if source else what
        stem = re.sub(r"\W+", "_", words, flags=re.ASCII).strip("_")
        stem = f"k{stem}" if stem[0].isdigit() else stem
        name, n = stem, 0
        while name in self.taken:
            n += 1
            name = f"{stem}_{n}"
        self.taken.add(name)
        return name

    def where(self, op: Operation) -> str:
        """The op, by its ONNX node if known, for messages."""
        source = source_of(op)
        return f"node {source[0]!r}" if source else op.name

    def replace(
        self,
        op: Operation,
        rewriter: PatternRewriter,
        kernel: tile.KernelOp,
        launch: tile.LaunchOp,
    ) -> None:
        """Put `kernel` at the end of the module and `launch` in the place of `op`.

        Results of the launch beyond the op's are scratch memory that nothing else uses.
        """
        copy_source(launch, op)
        copy_source(kernel, op)
        self.module.body.block.add_op(kernel)
        for old, new in zip(op.results, launch.results, strict=False):
            new.name_hint = old.name_hint
        rewriter.replace(op, launch, launch.results[: len(op.results)])
