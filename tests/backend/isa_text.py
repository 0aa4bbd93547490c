"""Kernels from text, for tests.

In: the body of a `dstc_isa.kernel`. Out: the verified kernel.
"""

from __future__ import annotations

from dstc.dialects.dstc_isa import DSTC_ISA, KernelOp
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin
from xdsl.parser import Parser


def parsed(body: str) -> KernelOp:
    """The kernel @k with one parameter, 2 warps, 4 accumulation tiles and `body`."""
    ctx = Context()
    for dialect in (Builtin, DSTC_ISA):
        ctx.load_dialect(dialect)
    text = f'dstc_isa.kernel @k ["x", "y"] warps = 2, shared = 64, acc = 4 {{\n{body}\n}}'
    module = Parser(ctx, text).parse_module()
    module.verify()
    kernel = module.body.block.first_op
    assert isinstance(kernel, KernelOp)
    return kernel
