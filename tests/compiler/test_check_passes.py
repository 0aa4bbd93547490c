"""--check-each-pass: sound passes pass; each deliberate miscompilation is laid at the right door.

In: small modules through a pipeline in which one pass is made wrong by a row of `MUTATIONS`. Out:
`PassChanged` names that pass.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dstc.backend.interference import Classes
from dstc.compiler import driver
from dstc.compiler.check_passes import CheckPasses, Inputs, PassChanged
from dstc.compiler.instruments import pass_name
from dstc.compiler.pipelines import pipeline
from dstc.dialects.constants import ConstantPool, attach, constants_of
from dstc.runtime.machine import Machine
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass

from ..e2e.ir import Array, parse

RNG = np.random.default_rng(7)


def weights(*shape: int, density: float = 1.0) -> Array:
    values = RNG.standard_normal(shape).astype(np.float32)
    return np.where(RNG.random(shape) < density, values, np.float32(0))


@dataclasses.dataclass(frozen=True)
class Program:
    """A module, its constants, and the pipeline's options."""

    text: str
    constants: dict[str, Array]
    engine: str = "dense"
    machine: str = "dstc"
    lowering: str = "implicit"


def product(engine: str, machine: str = "dstc") -> Program:
    """x * w + bias, ReLU; sizes that fill no tile."""
    text = """
func.func @main(%x: tensor<20x40xf32>) -> tensor<20x24xf32> {
  %w = dstc.constant "w" : tensor<40x24xf32>
  %b = dstc.constant "b" : tensor<24xf32>
  %y = dstc.matmul %x, %w : tensor<20x40xf32>, tensor<40x24xf32> -> tensor<20x24xf32>
  %z = dstc.add %y, %b : tensor<20x24xf32>, tensor<24xf32> -> tensor<20x24xf32>
  %r = dstc.relu %z : tensor<20x24xf32> -> tensor<20x24xf32>
  func.return %r : tensor<20x24xf32>
}"""
    return Program(text, {"w": weights(40, 24, density=0.4), "b": weights(24)}, engine, machine)


CONV = Program(
    """
func.func @main(%x: tensor<1x3x6x7xf32>) -> tensor<1x8x6x4xf32> {
  %w = dstc.constant "w" : tensor<8x3x3x3xf32>
  %y = dstc.conv2d %x, %w {strides = array<i64: 1, 2>,
    pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
    : tensor<1x3x6x7xf32>, tensor<8x3x3x3xf32> -> tensor<1x8x6x4xf32>
  func.return %y : tensor<1x8x6x4xf32>
}""",
    {"w": weights(8, 3, 3, 3)},
)
EXPLICIT = dataclasses.replace(CONV, lowering="explicit")

POINTWISE = Program(
    """
func.func @main(%x: tensor<5x12xf32>, %y: tensor<5x12xf32>) -> tensor<5x12xf32> {
  %d = dstc.elementwise "sub"(%x, %y) : (tensor<5x12xf32>, tensor<5x12xf32>) -> tensor<5x12xf32>
  %s = dstc.softmax %d {axis = 1 : i64} : tensor<5x12xf32> -> tensor<5x12xf32>
  %t = dstc.elementwise "mul"(%s, %x) : (tensor<5x12xf32>, tensor<5x12xf32>) -> tensor<5x12xf32>
  func.return %t : tensor<5x12xf32>
}""",
    {},
)
CHAIN = Program(
    """
func.func @main(%x: tensor<32x32xf32>) -> tensor<32x32xf32> {
  %w = dstc.constant "w" : tensor<32x32xf32>
  %v = dstc.constant "v" : tensor<32x32xf32>
  %y = dstc.matmul %x, %w : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
  %r = dstc.relu %y : tensor<32x32xf32> -> tensor<32x32xf32>
  %t = dstc.transpose %v {perm = array<i64: 1, 0>} : tensor<32x32xf32> -> tensor<32x32xf32>
  %z = dstc.matmul %r, %t : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
  func.return %z : tensor<32x32xf32>
}""",
    {"w": weights(32, 32, density=0.5), "v": weights(32, 32, density=0.5)},
    "dual",
)
TWO = Program(
    """
func.func @main(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> (tensor<4x8xi32>, tensor<4x8xi32>) {
  %a = dstc.elementwise "lt"(%x, %y) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi32>
  %b = dstc.elementwise "ge"(%x, %y) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi32>
  func.return %a, %b : tensor<4x8xi32>, tensor<4x8xi32>
}""",
    {},
)
DENSE, DUAL, STRICT = product("dense"), product("dual"), product("dual", "dstc-strict")


def compile_checked(program: Program, *, until: str = "") -> CheckPasses:
    """Run the pipeline under the check, to the end or to pass `until`."""
    ctx, module = parse(program.text, program.constants)
    machine = Machine.load(program.machine)
    specs = pipeline(
        "default", machine=program.machine, engine=program.engine, lowering=program.lowering
    )
    if until:
        names = [s.split("{")[0] for s in specs]
        specs = specs[: names.index(until) + 1]
    check = CheckPasses(ctx, specs, Inputs({}, seed=3), machine)
    driver.run_pipeline(ctx, module, specs, machine=machine, instruments=[check])
    return check


@pytest.mark.parametrize("program", [DENSE, DUAL, EXPLICIT, POINTWISE])
def test_sound_passes_pass(program: Program) -> None:
    assert compile_checked(program).runs == len(
        pipeline("default", machine=program.machine, engine=program.engine)
    ) + 1  # fmt: skip


# Miscompilations


def rewritten(pattern: str, new: str, nth: int = 0) -> Callable[[ModuleOp, Context], None]:
    """The `nth` match of `pattern` in the IR that the pass leaves becomes `new`."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        text = driver.print_module(module)
        found = list(re.finditer(pattern, text))
        assert len(found) > nth, f"{pattern!r} is there {len(found)} times"
        at = found[nth]
        text = text[: at.start()] + at.expand(new) + text[at.end() :]
        other = Parser(ctx, text).parse_module()
        block = module.body.block
        for op in reversed(list(block.ops)):
            op.detach()
            op.erase(safe_erase=False)
        for op in list(other.body.block.ops):
            op.detach()
            block.add_op(op)

    return mutate


def pooled(part: str) -> Callable[[ModuleOp, Context], None]:
    """A constant whose name has `part` has its rows in the wrong order."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        pool = constants_of(ctx)
        arrays = {n: pool[n] for n in pool.names()}
        name = next(n for n in arrays if part in n)
        attach(ctx, ConstantPool({**arrays, name: arrays[name][::-1].copy()}))

    return mutate


def patched(target: str, wrong: Any) -> Any:
    """Code of the pass that is wrong."""
    return (target, wrong)


def forgets_neighbours(classes: Classes) -> dict[int, set[int]]:
    """Of the values that are live together, the last is forgotten."""
    found = NEIGHBOURS(classes)
    return {k: v - {max(v)} if v else v for k, v in found.items()}


NEIGHBOURS = Classes.neighbours
COMPARES = r"arith\.cmpi ult, (%\w+), "
MUTATIONS: dict[str, tuple[str, Program, Any]] = {
    "rows of a folded constant": ("fold-constants", CHAIN, pooled("v.t")),
    "ReLU not fused but dropped":
        ("fuse-epilogue", DENSE, rewritten(", activation = #dstc<activation relu>", "")),
    "operands of a fused subtraction":
        ("fuse-pointwise", POINTWISE, rewritten(r'"sub"\((%\w+), (%\w+)\)', r'"sub"(\2, \1)')),
    "rows of weights in f16": ("lower-precision", DENSE, pooled("w.f16")),
    "padding at the wrong side":
        ("lower-conv", CONV, rewritten(r"pads = \[1, 1, 1, 1\]", "pads = [0, 1, 2, 1]")),
    "padding of a lowered matrix":
        ("materialize-im2col", EXPLICIT,
         rewritten("pads = array<i64: 1, 1, 1, 1>", "pads = array<i64: 1, 0, 1, 2>")),
    "another constant is encoded":
        ("encode-operands", CHAIN, rewritten(r'dstc.constant "v.t.f16"', 'dstc.constant "w.f16"')),
    "ReLU lost before encoding":
        ("fuse-encode", CHAIN, rewritten("activation = #dstc<activation relu>, ", "")),
    "mask off by one, im2col":
        ("convert-im2col-to-tile", EXPLICIT,
         rewritten(COMPARES + "%c6", r"arith.cmpi ule, \1, %c6", 2)),
    "shuffle from the wrong lane":
        ("convert-im2col-to-tile", EXPLICIT,
         rewritten(r"shuffle (%\w+), %c1\n", r"shuffle \1, %c2\n")),
    "zeros and values mixed up, encode":
        ("convert-encode-to-tile", DUAL,
         rewritten(r"arith.cmpi ne, (%\w+), %c0", r"arith.cmpi eq, \1, %c0", 3)),
    "predicate lost, encode":
        ("convert-encode-to-tile", DUAL,
         rewritten(r"(store global .* bits 16) if %\w+", r"\1", 2)),
    "wrong index, shared memory":
        ("convert-matmul-to-tile", DENSE, rewritten(r"(store shared .*) \+ 8", r"\1 + 16")),
    "barrier before the loop dropped":
        ("convert-matmul-to-tile", DENSE, rewritten(r"dstc_tile.barrier\n", "")),
    "barrier in the loop dropped":
        ("convert-matmul-to-tile", DENSE, rewritten(r"dstc_tile.barrier\n", "", 1)),
    "operands of HMMA":
        ("convert-matmul-to-tile", DENSE,
         rewritten(r'hmma_step "AROW" "BROW" (%\w+), (%\w+)', r'hmma_step "AROW" "BROW" \2, \1')),
    "accumulator not cleared":
        ("convert-matmul-to-tile", DUAL, rewritten(r"dstc_tile.acc_clear 0\n", "")),
    "wrong part of the accumulator":
        ("convert-matmul-to-tile", DUAL, rewritten(r"acc_read 0, 1", "acc_read 0, 2")),
    "lanes of a row reduction":
        ("convert-elementwise-to-tile", POINTWISE,
         rewritten(r"arith.xori %lane, %c1 ", "arith.xori %lane, %c2 ")),
    "lanes outside the row not masked":
        ("convert-elementwise-to-tile", POINTWISE,
         rewritten(r"arith.select (%\w+), (%\w+), %\w+ : f32",
                   r"arith.select \1, \2, \2 : f32", 4)),
    "kernels that differ in a property":
        ("deduplicate-kernels", TWO,
         patched("dstc.passes.deduplicate_kernels._items", lambda attributes: ())),
    "operands of a subtraction, cse":
        ("cse", DENSE, rewritten(r"arith.subi (%\w+), (%\w+)", r"arith.subi \2, \1")),
    "a trip less": ("licm", DENSE, rewritten(r"to %c2 step", "to %c1 step")),
    "condition of a loop":
        ("convert-tile-to-isa", DENSE, rewritten(r"isetp<LT\.S32>", "isetp<LE.S32>", 1)),
    "parameters mixed up":
        ("convert-tile-to-isa", DENSE, rewritten(r"param\(2\)", "param(1)")),
    "barrier without an instruction":
        ("convert-tile-to-isa", DENSE, rewritten(r"dstc_isa\.bar.*\n", "", 1)),
    "operands of ISUB":
        ("convert-tile-to-isa", DENSE,
         rewritten(r"isub a\((%\w+)\), b\((%\w+)\)", r"isub a(\2), b(\1)")),
    "guard lost":
        ("convert-tile-to-isa", DUAL, 
         rewritten(r"(stg<U16> .*), guard\((?:not )?%\w+\)(.*: \()(.*), !dstc_isa.pred\)",
                   r"\1\2\3)", 4)),
    "wrong step of OHMMA":
        ("expand-spwmma", STRICT, rewritten(r"ohmma<8161\.K3\.", "ohmma<8161.K4.")),
    "wrong chunk of OHMMA":
        ("expand-spwmma", STRICT, rewritten(r"(ohmma<8161\.K5\.\w+\.\w+)\.A1", r"\1.A2")),
    "a store taken for dead":
        ("eliminate-dead-instructions", DUAL, rewritten(r"dstc_isa\.stg<32> .*\n", "", 20)),
    "a header taken for dead":
        ("eliminate-dead-instructions", DUAL, rewritten(r"dstc_isa\.stg<32> .*\n", "", 3)),
    "loads before the stores they read":
        ("schedule-instructions", CONV,
         patched("dstc.backend.scheduler._Graph._memory", lambda self, ops: None)),
    "condition computed again, negated":
        ("rematerialize-predicates", DUAL, rewritten(r"isetp<LT\.U32>", "isetp<GE.U32>", 2)),
    "two live values in a register":
        ("allocate-registers", DENSE,
         patched("dstc.backend.interference.Classes.neighbours", forgets_neighbours)),
    "wrong offset":
        ("verify-registers", DENSE, rewritten(r"(lds<32> a\(%\w+ \+) 8\)", r"\1 12)")),
}  # fmt: skip
"""What is wrong -> the pass, a program on which it shows, and how the pass is made wrong: what it
leaves is changed, or a function that it uses replaced."""


class Wrong(ModulePass):
    """A pass with a change of what it leaves."""

    def __init__(self, right: ModulePass, mutate: Callable[[ModuleOp, Context], None]):
        self.right, self.mutate = right, mutate

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        self.right.apply(ctx, op)
        self.mutate(op, ctx)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_laid_at_the_right_door(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guilty, program, how = MUTATIONS[name]
    if isinstance(how, tuple):
        monkeypatch.setattr(*how)
    else:
        make = driver.make_pass
        monkeypatch.setattr(
            driver,
            "make_pass",
            lambda spec: Wrong(make(spec), how) if pass_name(spec) == guilty else make(spec),
        )
    with pytest.raises(PassChanged, match=f"^{guilty}[: ]") as error:
        compile_checked(program, until=guilty)
    print(error.value)


def test_there_are_enough_of_them() -> None:
    assert len(MUTATIONS) >= 30
