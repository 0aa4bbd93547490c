"""Runs hand-written kernels in xDSL's interpreter.

In: a kernel's body as MLIR text and its inputs as numpy arrays. Out: the launch's results.
"""

from collections.abc import Sequence

import numpy as np
from dstc.dialects.dstc import DSTC
from dstc.dialects.dstc_tile import DSTC_TILE
from dstc.dialects.interpreters.dstc_tile import TileFunctions
from xdsl.context import Context
from xdsl.dialects import arith, builtin, func, scf
from xdsl.interpreter import Interpreter
from xdsl.interpreters.func import FuncFunctions
from xdsl.parser import Parser

ELEMENTS = {np.dtype(np.float16): "f16", np.dtype(np.float32): "f32", np.dtype(np.uint32): "i32"}


def tensor(shape, dtype):
    return f"tensor<{''.join(f'{d}x' for d in shape)}{ELEMENTS[np.dtype(dtype)]}>"


def run_text(text, args: Sequence = (), function="main"):
    ctx = Context()
    for dialect in (builtin.Builtin, func.Func, arith.Arith, scf.Scf, DSTC, DSTC_TILE):
        ctx.load_dialect(dialect)
    module = Parser(ctx, text, "kernel.mlir").parse_module()
    module.verify()
    interpreter = Interpreter(module)
    interpreter.register_implementations(FuncFunctions())
    interpreter.register_implementations(TileFunctions(ctx))
    return interpreter.call_op(function, tuple(args))


def run_kernel(
    body, inputs, outputs, *, grid=(1, 1, 1), warps=1, shared=0, acc=0, types=None
):  # fmt: skip
    """`body` names its parameters %in0 ..., %out0 ...; `outputs`: types as text.

    `types`: types of the inputs, if not dense.
    """
    types = types or [tensor(x.shape, x.dtype) for x in inputs]
    names = [f"in{i}" for i in range(len(inputs))] + [f"out{i}" for i in range(len(outputs))]
    params = ", ".join(f'"{n}"' for n in names)
    args = ", ".join(f"%{n}: i32" for n in names)
    values = ", ".join(f"%x{i}" for i in range(len(inputs)))
    typed = ", ".join(f"%x{i}: {t}" for i, t in enumerate(types))
    results = ", ".join(f"%y{i}" for i in range(len(outputs)))
    text = f"""
dstc_tile.kernel @k [{params}] grid = {list(grid)}, warps = {warps}, shared = {shared}, acc = {acc} {{
^bb0({args}):
  %lane = dstc_tile.id lane
  %warp = dstc_tile.id warp
  %c4 = arith.constant 4 : i32
  %lane4 = arith.muli %lane, %c4 : i32
{body}
  dstc_tile.return
}}
func.func @main({typed}) -> ({", ".join(outputs)}) {{
  {results} = dstc_tile.launch @k({values}) {{op = "test"}} : ({", ".join(types)}) -> ({", ".join(outputs)})
  func.return {results} : {", ".join(outputs)}
}}
"""  # noqa: E501
    return run_text(text, inputs)


def per_lane(expression, *inputs, result="i32", setup=""):
    """`%r` after `expression`, which reads 32-word inputs as %a0, %a1 ...; stored lane by lane."""
    lines = [setup]
    for i, x in enumerate(inputs):
        kind = ELEMENTS[x.dtype]
        lines.append(f"  %p{i} = arith.addi %in{i}, %lane4 : i32")
        lines.append(f"  %a{i} = dstc_tile.load global %p{i} + 0 : {kind}")
    lines.append(expression)
    lines.append("  %po = arith.addi %out0, %lane4 : i32")
    lines.append(f"  dstc_tile.store global %r, %po + 0 : {result}")
    (out,) = run_kernel("\n".join(lines), inputs, [f"tensor<32x{result}>"])
    return out
