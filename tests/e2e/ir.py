"""IR text to results: on the simulator, and interpreted before every pass on the way there."""

from typing import Any

import numpy as np
from dstc.compiler.api import Compiled, compile_module
from dstc.compiler.driver import new_context
from dstc.compiler.reference import run_module
from dstc.dialects.constants import ConstantPool, attach
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.runtime.machine import Machine
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

Array = NDArray[Any]

LAST_INTERPRETED = "convert-tile-to-isa"
"""From this pass on the IR is instructions, which the simulator runs."""


def dense(cta: tuple[int, int], warp: tuple[int, int], split: int = 1) -> ScheduleAttr:
    return ScheduleAttr.of(Engine.DENSE, cta, warp, 2, split=split)


def dual(
    cta: tuple[int, int],
    warp: tuple[int, int],
    stages: int = 3,
    swap: bool = False,
    split: int = 1,
    window: int = 32,
    ctas: int = 0,
    cut: int = 0,
    skip: bool = False,
) -> ScheduleAttr:
    return ScheduleAttr.of(Engine.DUAL, cta, warp, stages, swap, split, window, ctas, cut, skip)


def sparse(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> Array:
    """Normal f16 values, of which the expected share `density` is not zero."""
    values = rng.standard_normal(shape).astype(np.float16)
    return np.where(rng.random(shape) < density, values, np.float16(0))


def parse(text: str, constants: dict[str, Array] | None = None) -> tuple[Context, ModuleOp]:
    ctx = new_context()
    attach(ctx, ConstantPool(constants))
    module = Parser(ctx, text).parse_module()
    module.verify()
    return ctx, module


def main_of(signature: str, body: str) -> str:
    """`@main(signature)` whose last value is %y."""
    args, result = signature.split("->")
    return f"func.func @main({args}) -> {result} {{\n{body}\nfunc.return %y : {result}\n}}"


def assert_same(got: Array, want: Array, where: str) -> None:
    """Equal bits; NaN equals NaN, +0 is not -0."""
    assert got.shape == want.shape, where
    g, w = got.astype(np.float32), want.astype(np.float32)
    equal = (g.view(np.uint32) == w.view(np.uint32)) | (np.isnan(g) & np.isnan(w))
    if not equal.all():
        at = tuple(int(i) for i in np.argwhere(~equal)[0])
        raise AssertionError(
            f"{where}: {int((~equal).sum())} of {equal.size} differ; at {at} got {g[at]!r}, "
            f"want {w[at]!r}"
        )


def check(
    text: str,
    inputs: list[Array],
    *,
    machine: str | Machine = "dstc",
    engine: str = "auto",
    pipeline: str = "encoded-inputs",
    interpret: bool = True,
    start: str = "",
    constants: dict[str, Array] | None = None,
) -> Compiled:
    """As `check_module`, for IR text."""
    ctx, module = parse(text, constants)
    return check_module(
        ctx,
        module,
        inputs,
        machine=machine,
        engine=engine,
        pipeline=pipeline,
        interpret=interpret,
        start=start,
    )


def check_module(
    ctx: Context,
    module: ModuleOp,
    inputs: list[Array],
    *,
    machine: str | Machine = "dstc",
    engine: str = "auto",
    pipeline: str = "default",
    interpret: bool = True,
    start: str = "",
) -> Compiled:
    """The simulator's result has the bits of the interpreted IR.

    With `interpret` the IR before each pass down to instructions has them too. What counts is the
    IR before pass `start` (default: the first): passes before it may change bits.
    """
    target = machine if isinstance(machine, Machine) else Machine.load(machine)
    wanted: list[Array] = []
    level = 0

    def look(_index: int, _count: int, spec: str) -> None:
        nonlocal level
        name = spec.split("{")[0]
        if not wanted:
            if name.startswith(start):
                wanted.extend(run_module(module, ctx, inputs))
        elif interpret and level == 0:
            for got, want in zip(run_module(module, ctx, inputs), wanted, strict=True):
                assert_same(got, want, f"before {name}")
        if name == LAST_INTERPRETED:
            level = 1

    compiled = compile_module(
        ctx, module, machine=target, engine=engine, pipeline_name=pipeline, on_pass=look
    )
    plan = compiled.program.plan
    assert plan is not None and wanted
    given = {p.name: x.astype(p.dtype) for p, x in zip(plan.inputs, inputs, strict=True)}
    result = compiled.run(given, checks="full")
    for got, want in zip(result.outputs.values(), wanted, strict=True):
        assert_same(got, want, "on the simulator")
    return compiled
