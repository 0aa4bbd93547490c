"""The worked example of docs/architecture.md: one convolution at every level of IR.

In: the digits model of examples/. Out: excerpts by level, first lines that show something new;
`...` stands for what is left out.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation

from ..backend.isa.disassembler import disassemble
from ..dialects.constants import constants_of
from ..dialects.dstc import Conv2dOp, MatmulOp
from .driver import new_context, print_module, run_pipeline
from .frontends.onnx_import import load_onnx
from .package import package
from .pipelines import GRAPH, ISA, TILE, pipeline
from .reference import main_of

MODEL = Path(__file__).parents[1] / "examples/digits_cnn/digits_cnn_pruned90.onnx"
MACHINE, BATCH, WIDTH = "dstc", 8, 96

TILE_LINES = (
    r"dstc_tile\.kernel", "acc_clear", r"load global .*vector<2xi32>", "load_values", "spwmma",
    "acc_read", "addf", "maximumf", r"store global .*if",
)  # fmt: skip
ISA_LINES = (
    r"dstc_isa\.kernel", "aclr", "ldg<64>", "isetp.*load_values", "ldg<128>", "spwmma", "ard<",
    "fadd", "fmnmx", "stg",
)  # fmt: skip
ASM_LINES = (
    r"\.kernel", "ACLR", r"LDG\.64", r"LDG\.128", "SPWMMA", "ARD", "FADD", "FMNMX", "STG", "EXIT",
)  # fmt: skip


def _firsts(lines: Sequence[str], patterns: Iterable[str]) -> str:
    """The first line for each pattern, in the order of the lines."""
    found = {next((i for i, line in enumerate(lines) if re.search(p, line)), -1) for p in patterns}
    text: list[str] = []
    last = -1
    for i in sorted(found - {-1}):
        if text and i != last + 1:
            text.append("...")
        text.append(_wrapped(lines[i].strip()))
        last = i
    return "\n".join(text)


def _wrapped(line: str) -> str:
    return "\n".join(
        textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False,
                      break_on_hyphens=False)
    )  # fmt: skip


def _with_operands(op: Operation) -> list[str]:
    """`op` after the ops of its block that it needs."""
    needed = [v.owner for v in op.operands if isinstance(v.owner, Operation)]
    lines = [line for o in needed for line in _with_operands(o)]
    return [*dict.fromkeys([*lines, _wrapped(str(op))])]


def _first(module: ModuleOp, kind: type[Operation]) -> Operation:
    return next(op for op in module.walk() if isinstance(op, kind))


def _cut(module: ModuleOp, last: Operation) -> None:
    """Let @main end with `last`."""
    main = main_of(module)
    block = main.body.block
    for op in reversed(list(block.ops)):
        if op is last:
            break
        op.detach()
        op.erase(safe_erase=False)
    block.add_op(ReturnOp(*last.results))
    signature: FunctionType = main.function_type
    main.function_type = FunctionType.from_lists(
        list(signature.inputs), [r.type for r in last.results]
    )


def _kernel(text: str, head: str) -> list[str]:
    """The lines from the one that contains `head`."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if head in line)
    return lines[start:]


def excerpts() -> dict[str, str]:
    """Excerpts by level: graph, dstc, tile, isa, asm."""
    ctx = new_context()
    module = load_onnx(MODEL, {"batch": BATCH}).to_module(ctx)
    result = {"graph": "\n".join(_with_operands(_first(module, Conv2dOp)))}
    specs = pipeline("default", machine=MACHINE, engine="dual")
    graph, tile = len(GRAPH), len(GRAPH) + len(TILE)
    assert len(specs) == tile + len(ISA)
    run_pipeline(ctx, module, specs[:graph])
    product = _first(module, MatmulOp)
    result["dstc"] = "\n".join(_with_operands(product))
    _cut(module, product)
    run_pipeline(ctx, module, specs[graph:tile])
    result["tile"] = _firsts(_kernel(print_module(module), "_conv2d ["), TILE_LINES)
    run_pipeline(ctx, module, specs[tile : tile + 1])
    result["isa"] = _firsts(_kernel(print_module(module), "_conv2d ["), ISA_LINES)
    run_pipeline(ctx, module, specs[tile + 1 :])
    program = package(module, constants_of(ctx), None, MACHINE, "walkthrough")
    result["asm"] = _firsts(_kernel(disassemble(program), "_conv2d"), ASM_LINES)
    return result
