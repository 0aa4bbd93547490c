"""Kernels that write the encoded image which the next convolution takes: bits, launches, traffic.

`DSTC_CONV_EXAMPLES` sets how many random pairs of convolutions there are (default 4).
"""

import os
from dataclasses import dataclass

import numpy as np
import pytest
from dstc.compiler.api import Compiled, compile_module
from dstc.compiler.pipelines import PIPELINES
from dstc.runtime.machine import Machine
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .ir import check, main_of, parse, sparse

EXAMPLES = int(os.environ.get("DSTC_CONV_EXAMPLES", "4"))
DSTC = Machine.load("dstc").overridden({"sm.count": 4})
DUAL = {
    "dual 64x64": "dual, cta = 64x64, warp = 32x64, stages = 4",
    "dual 64x128 swap": "dual, cta = 64x128, warp = 64x64, stages = 4, swap",
    "dual 32x32 split": "dual, cta = 32x32, warp = 32x32, stages = 4, split = 2",
}
DENSE = {
    "dense 64x64": "dense, cta = 64x64, warp = 32x32, stages = 2",
    "dense 32x128": "dense, cta = 32x128, warp = 32x32, stages = 2",
    "dense 16x64": "dense, cta = 16x64, warp = 16x32, stages = 2",
}
LAST = DUAL["dual 64x64"]


@dataclass(frozen=True)
class Stage:
    """A convolution with a schedule; `pads`: top, left, bottom, right."""

    filters: int
    kernel: tuple[int, int]
    schedule: str
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    residual: bool = False

    def out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        size = (
            (shape[2 + i] + self.pads[i] + self.pads[i + 2]
             - (self.kernel[i] - 1) * self.dilations[i] - 1) // self.strides[i] + 1
            for i in (0, 1)
        )  # fmt: skip
        return shape[0], self.filters, *size


def tensor(shape: tuple[int, ...]) -> str:
    return f"tensor<{'x'.join(map(str, shape))}xf16>"


def chain(shape: tuple[int, ...], stages: list[Stage | int]) -> tuple[str, dict, list]:
    """(IR, constants, inputs) of convolutions with bias and ReLU; a number is a max pooling."""
    rng = np.random.default_rng(3)
    lines, constants = list[str](), {}
    inputs, args = [sparse(rng, shape, 0.4)], [f"%v0: {tensor(shape)}"]
    for i, stage in enumerate(stages):
        last, x = i == len(stages) - 1, f"%v{i}"
        y = "%y" if last else f"%v{i + 1}"
        if isinstance(stage, int):
            out = *shape[:2], shape[2] // stage, shape[3] // stage
            lines.append(
                f"{y} = dstc.pool2d {x} {{kind = #dstc<pool max>, kernel = array<i64: {stage}, "
                f"{stage}>, strides = array<i64: {stage}, {stage}>, pads = array<i64: 0, 0, 0, 0>, "
                f"dilations = array<i64: 1, 1>}} : {tensor(shape)} -> {tensor(out)}"
            )
            shape = out
            continue
        out = stage.out(shape)
        depth = shape[1] // stage.groups * stage.kernel[0] * stage.kernel[1]
        constants[f"w{i}"] = sparse(rng, (stage.filters, depth), 0.3)
        constants[f"b{i}"] = rng.standard_normal(stage.filters).astype(np.float32)
        w, b = f"tensor<{stage.filters}x{depth}xf16>", f"tensor<{stage.filters}xf32>"
        if stage.residual:
            inputs.append(sparse(rng, out, 0.5))
            args.append(f"%r{i}: {tensor(out)}")
        window = (
            f"#dstc.window<{list(stage.kernel)}, strides = {list(stage.strides)}, "
            f"pads = {list(stage.pads)}, dilations = {list(stage.dilations)}>"
        )
        groups = f", groups = {stage.groups}" if stage.groups > 1 else ""
        lines.append(
            f'%w{i} = dstc.constant "w{i}" : {w}\n%b{i} = dstc.constant "b{i}" : {b}\n'
            f"{y} = dstc.matmul %w{i}, {x} bias(%b{i})"
            f"{f' residual(%r{i})' if stage.residual else ''} "
            f'{{bias_along = "m", activation = #dstc<activation relu>, '
            f"image = array<i64: {out[0]}, {out[2]}, {out[3]}>, window = {window}{groups}, "
            f"schedule = #dstc.schedule<{stage.schedule}>}} : {w}, {tensor(shape)}, {b}"
            f"{f' + {tensor(out)}' if stage.residual else ''} -> {tensor(out)}"
        )
        shape = out
    return main_of(f"{', '.join(args)} -> {tensor(shape)}", "\n".join(lines)), constants, inputs


def ops(compiled: Compiled) -> list[str]:
    plan = compiled.program.plan
    assert plan is not None
    return [step.op for step in plan.steps]


def test_a_chain_of_convolutions_and_a_pooling_stays_encoded() -> None:
    """No decode, and no encode between: visible in the IR's launches and in what memory sees."""
    same = {"kernel": (3, 3), "pads": (1, 1, 1, 1)}
    stages = [
        Stage(24, schedule=DUAL["dual 64x64"], **same),
        Stage(40, schedule=DUAL["dual 64x128 swap"], **same),
        2,
        Stage(33, schedule=LAST, **same),
        Stage(8, schedule=LAST, **same),
    ]
    text, constants, inputs = chain((2, 8, 14, 18), stages)
    compiled = check(text, inputs, constants=constants, pipeline="default", machine=DSTC)
    assert ops(compiled) == ["encode", "conv2d", "conv2d", "pool2d", "conv2d", "conv2d"]
    written, apart = traffic(compiled, inputs), traffic(unfused(text, constants), inputs)
    assert written[0] < 0.9 * apart[0] and written[1] < 0.9 * apart[1]


def unfused(text: str, constants: dict) -> Compiled:
    """The same with encoding kernels of their own."""
    specs = [spec for spec in PIPELINES["default"] if spec != "fuse-encode"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PIPELINES, "default", specs)
        return compile_module(*parse(text, constants), machine=DSTC)


def traffic(compiled: Compiled, inputs: list) -> tuple[int, int]:
    """Sectors that L2 was asked for, and bytes that DRAM would take of what was written."""
    plan = compiled.program.plan
    assert plan is not None
    given = dict(zip([p.name for p in plan.inputs], inputs, strict=True))
    found = [k.result.counters for k in compiled.run(given).kernels]
    return sum(c["l2_accesses"] for c in found), sum(c["global_sectors_written"] for c in found)


def pairs(low: int, high: int):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def two_convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Stage | int]]:
    """The second takes what the first writes, perhaps through a pooling."""
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from([1, 4, 6])), *draw(pairs(3, 24)))
    stages: list[Stage | int] = []
    for second in (False, True):
        kernel = draw(st.sampled_from([(3, 3), (1, 3), (2, 2), (5, 1)]))
        like = bool(stages) and draw(st.booleans())
        first = stages[0] if stages else None
        assert first is None or isinstance(first, Stage)
        stages.append(
            Stage(
                draw(st.sampled_from([2, 12, 40, 70])),
                first.kernel if like and first else kernel,
                LAST if second else draw(st.sampled_from([*DUAL.values(), *DENSE.values()])),
                (1, 1) if like else draw(pairs(1, 2)),
                first.pads if like and first else draw(st.tuples(*[st.integers(0, 2)] * 4)),
                first.dilations if like and first else draw(pairs(1, 2)),
            )
        )
        if not second:
            first = stages[0]
            assert isinstance(first, Stage)
            stages[0] = Stage(
                **{**first.__dict__, "residual": draw(st.booleans()),
                   "groups": 2 if "dense" in first.schedule and shape[1] % 2 == 0
                   and draw(st.booleans()) else 1}
            )  # fmt: skip
    first, second = stages
    assert isinstance(first, Stage) and isinstance(second, Stage)
    between = first.out(shape)
    if draw(st.integers(0, 3)) == 0 and min(between[2:]) > 1:
        stages.insert(1, 2)
        between = *between[:2], between[2] // 2, between[3] // 2
    assume(min(first.out(shape)[2:]) > 0 and min(second.out(between)[2:]) > 0)
    return shape, stages


@settings(max_examples=EXAMPLES, deadline=None)
@given(two_convolutions())
def test_what_is_written_encoded_has_the_same_bits(case) -> None:
    text, constants, inputs = chain(*case)
    check(text, inputs, constants=constants, pipeline="default", machine=DSTC, interpret=False)
