"""--check-each-pass: sound passes pass; each deliberate miscompilation is laid at the right door.

In: small modules through a pipeline in which one pass is made wrong by a row of `MUTATIONS`. Out:
`PassChanged` names that pass.
"""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dstc.compiler import driver
from dstc.compiler.check_passes import CheckPasses, Inputs, PassChanged
from dstc.compiler.opt import main
from dstc.compiler.pipelines import pipeline
from dstc.dialects import dstc, dstc_isa, dstc_tile
from dstc.dialects.constants import ConstantPool, attach, constants_of
from dstc.runtime.machine import Machine
from xdsl.context import Context
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, ModuleOp, i32, i64
from xdsl.ir import Operation
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
  %y = dstc.conv2d %x, %w {strides = array<i64: 1, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : tensor<1x3x6x7xf32>, tensor<8x3x3x3xf32> -> tensor<1x8x6x4xf32>
  func.return %y : tensor<1x8x6x4xf32>
}""",
    {"w": weights(8, 3, 3, 3)},
)
EXPLICIT = dataclasses.replace(CONV, lowering="explicit")
DUAL_CONV = dataclasses.replace(CONV, engine="dual", lowering="explicit")

POINTWISE = Program(
    """
func.func @main(%x: tensor<5x12xf32>, %y: tensor<5x12xf32>) -> tensor<5x12xf32> {
  %d = dstc.elementwise "sub"(%x, %y) : tensor<5x12xf32>, tensor<5x12xf32> -> tensor<5x12xf32>
  %s = dstc.softmax %d {axis = 1 : i64} : tensor<5x12xf32> -> tensor<5x12xf32>
  %t = dstc.elementwise "mul"(%s, %x) : tensor<5x12xf32>, tensor<5x12xf32> -> tensor<5x12xf32>
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


@pytest.mark.parametrize("program", [DENSE, DUAL, STRICT, EXPLICIT, POINTWISE, CHAIN])
def test_sound_passes_pass(program: Program) -> None:
    assert compile_checked(program).runs == len(
        pipeline("default", machine=program.machine, engine=program.engine)
    ) + 1  # fmt: skip


# Mutations of the IR that a pass leaves

Mutate = Callable[[ModuleOp, Context], None]


def ops(module: ModuleOp, kind: type, where: Callable[..., bool] = lambda op: True) -> list:
    found = [op for op in module.walk() if isinstance(op, kind) and where(op)]
    assert found, f"there is no {kind.name} to mutate"
    return found


def erase(kind: type, index: int = 0, where: Callable[..., bool] = lambda op: True) -> Mutate:
    """An op without results is gone."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        op = ops(module, kind, where)[index]
        op.detach()
        op.erase()

    return mutate


def swap(kind: type, a: int = 0, b: int = 1, index: int = 0,
         where: Callable[..., bool] = lambda op: True) -> Mutate:  # fmt: skip
    """Two operands change places."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        op = ops(module, kind, where)[index]
        op.operands[a], op.operands[b] = op.operands[b], op.operands[a]

    return mutate


def bypass(kind: type, operand: int = 0, index: int = 0) -> Mutate:
    """Users take an operand in place of the result."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        op = ops(module, kind)[index]
        op.results[0].replace_all_uses_with(op.operands[operand])
        op.detach()
        op.erase()

    return mutate


def change(kind: type, key: str, new: Callable, index: int = 0,
           where: Callable[..., bool] = lambda op: True) -> Mutate:  # fmt: skip
    """A property becomes `new(old)`."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        op = ops(module, kind, where)[index]
        op.properties[key] = new(op.properties[key])

    return mutate


def drop(kind: type, key: str, index: int = 0,
         where: Callable[..., bool] = lambda op: True) -> Mutate:  # fmt: skip
    """A property is lost."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        del ops(module, kind, where)[index].properties[key]

    return mutate


def plus(n: int) -> Callable[[IntegerAttr], IntegerAttr]:
    return lambda attr: IntegerAttr(attr.value.data + n, attr.type)


def constant(old: int, new: int, index: int = 0) -> Mutate:
    """An i32 constant of a kernel is another."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        found = ops(module, arith.ConstantOp, lambda o: isinstance(o.value, IntegerAttr)
                    and o.value.type == i32 and o.value.value.data == old)  # fmt: skip
        found[index].properties["value"] = IntegerAttr(new, i32)

    return mutate


def without_predicate(kind: type, index: int = 0, where: Callable[..., bool] = lambda op: True
                      ) -> Mutate:  # fmt: skip
    """A guarded store stores in all lanes."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        op = ops(module, kind, lambda o: o.predicate is not None and where(o))[index]
        new = dstc_tile.StoreOp.build(
            operands=[op.value, op.address, []],
            properties={k: v for k, v in op.properties.items() if k != "operandSegmentSizes"},
        )
        op.parent_block().insert_op_before(new, op)
        op.detach()
        op.erase()

    return mutate


def pooled(part: str, change_: Callable[[Array], Array]) -> Mutate:
    """A constant in the pool whose name has `part` holds other values."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        pool = constants_of(ctx)
        names = {o.constant.data for o in module.walk() if isinstance(o, dstc.ConstantOp)}
        name = next(n for n in sorted(names) if part in n)
        arrays = {n: pool[n] for n in pool.names()}
        arrays[name] = change_(arrays[name])
        attach(ctx, ConstantPool(arrays))

    return mutate


def predicate(old: int, new: int, index: int = 0) -> Mutate:
    """A comparison of a kernel is another (numbers of arith.cmpi)."""

    def mutate(module: ModuleOp, ctx: Context) -> None:
        found = ops(module, arith.CmpiOp, lambda o: o.predicate.value.data == old)
        found[index].properties["predicate"] = IntegerAttr(new, i64)

    return mutate


# Instructions

INSTRUCTION = dstc_isa.OPS


def instruction(mnemonic: str, change_: Callable[[Operation], None], index: int = 0,
                where: Callable[..., bool] = lambda op: True) -> Mutate:  # fmt: skip
    def mutate(module: ModuleOp, ctx: Context) -> None:
        change_(ops(module, INSTRUCTION[mnemonic], where)[index])

    return mutate


def lose_guard(op: Operation) -> None:
    """The instruction runs in all lanes."""
    roles = [r.data.lstrip("!") for r in op.properties["roles"].data]
    at = roles.index("guard")
    keep = [i for i in range(len(roles)) if i != at]
    operands = [op.operands[i] for i in keep]
    op.operands = operands
    properties = op.properties["roles"].data
    op.properties["roles"] = type(op.properties["roles"])([properties[i] for i in keep])
    if "subs" in op.properties:
        subs = op.properties["subs"].get_values()
        op.properties["subs"] = DenseArrayBase.from_list(i64, [subs[i] for i in keep])


def modifier(old: str, new: str) -> Callable[[Operation], None]:
    def change_(op: Operation) -> None:
        given = [m.data for m in op.properties["modifiers"].data]
        kind = type(op.properties["modifiers"].data[0])
        given[given.index(old)] = new
        op.properties["modifiers"] = type(op.properties["modifiers"])([kind(m) for m in given])

    return change_


def immediate(key: str, by: int) -> Callable[[Operation], None]:
    def change_(op: Operation) -> None:
        given = dict(op.properties["immediates"].data)
        given[key] = IntegerAttr(given[key].value.data + by, i64)
        op.properties["immediates"] = type(op.properties["immediates"])(given)

    return change_


def vanish(op: Operation) -> None:
    op.detach()
    op.erase()


def has(key: str) -> Callable[[Operation], bool]:
    return lambda op: key in op.immediate_values


def guarded(op: Operation) -> bool:
    return "guard" in op.uses


def chose(*choices: str) -> Callable[[Operation], bool]:
    return lambda op: set(choices) <= set(op.modifier_choices.values())
