"""encode-inputs: bitmap operands that are function arguments arrive encoded.

In: a `dstc.encode` of an argument of @main that is used by nothing else, or of its transpose. Out:
an argument of bitmap type; the caller encodes (and transposes) when it uploads.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from ..dialects.dstc import EncodeOp, TransposeOp


@dataclass(frozen=True)
class EncodeInputs(ModulePass):
    """Let arguments that are only encoded arrive as bitmaps."""

    name = "encode-inputs"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        for function in [o for o in op.body.block.ops if isinstance(o, FuncOp)]:
            changed = False
            for encode in [o for o in function.body.walk() if isinstance(o, EncodeOp)]:
                source, turned = encode.input, encode.input.owner
                if isinstance(turned, TransposeOp) and source.has_one_use():
                    source = turned.x
                if isinstance(source, BlockArgument) and source.has_one_use():
                    encode.result.replace_all_uses_with(source)
                    Rewriter.replace_value_with_new_type(source, encode.result.type)
                    encode.detach()
                    encode.erase()
                    if isinstance(turned, TransposeOp):
                        turned.detach()
                        turned.erase()
                    changed = True
            if changed:
                function.update_function_type()
