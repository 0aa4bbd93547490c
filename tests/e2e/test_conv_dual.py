"""Windows of encoded images on the dual-side engine: every tile, orientation and split, bit by bit.

`DSTC_CONV_EXAMPLES` sets how many random ones there are (default 5).
"""

import os
from math import prod

import numpy as np
import pytest
from dstc.compiler.bench_conv import Conv, run_conv
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.candidates import KERNELS
from dstc.runtime.machine import Machine
from hypothesis import given, settings
from hypothesis import strategies as st

from .ir import check, main_of, sparse

EXAMPLES = int(os.environ.get("DSTC_CONV_EXAMPLES", "5"))
DSTC = Machine.load("dstc").overridden({"sm.count": 4})
TILES = [t for t in KERNELS[Engine.DUAL].tiles if t.window == 32 and prod(t.cta) <= 16 * 32**2]
"""What the accumulators of an SM hold."""


def pairs(low: int, high: int):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn) -> Conv:
    kernel = draw(st.sampled_from([(3, 3), (1, 5), (7, 7), (2, 3), (4, 1)]))
    dilations = draw(pairs(1, 2))
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    height, width = (draw(st.integers(n, n + 40)) for n in least)
    return Conv(
        batch=draw(st.integers(1, 2)),
        channels=draw(st.integers(1, 24)),
        height=height,
        width=width,
        filters=draw(st.integers(1, 70)),
        kernel=kernel,
        strides=draw(pairs(1, 3)),
        pads=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilations=dilations,
        a_density=draw(st.sampled_from([1.0, 0.5, 0.1])),
        w_density=draw(st.sampled_from([1.0, 0.3, 0.05])),
        out=draw(st.sampled_from(["f16", "f32"])),
    )


@settings(max_examples=EXAMPLES)
@given(convolutions(), st.integers(0, len(TILES) - 1), st.booleans(), st.sampled_from([1, 2, 3]))
def test_every_schedule_gives_numpys_bits(conv: Conv, which: int, swap: bool, split: int) -> None:
    tiles = TILES[which]
    schedule = ScheduleAttr.of(
        Engine.DUAL, tiles.cta, tiles.warp, tiles.stages[0], swap=swap, split=split
    )
    row = run_conv(conv, machine=DSTC, engine="dual", schedule=schedule, mode="functional")
    assert row["lowering"] == "implicit" and row["bit_exact"], conv.label


def test_a_deep_one_runs_its_loop_and_fetches_ahead() -> None:
    """More than two chunks of steps, checked for reads of what was never written."""
    conv = Conv(2, 40, 9, 14, 40, (3, 3), pads=(1, 1, 1, 1), a_density=0.2, w_density=0.2)
    schedule = ScheduleAttr.of(Engine.DUAL, (64, 64), (64, 64), 4)
    row = run_conv(conv, machine=DSTC, engine="dual", schedule=schedule, checks="full")
    assert row["bit_exact"]
    assert [k["op"] for k in row["kernels"]] == ["encode", "conv2d"]


@pytest.mark.parametrize(
    "conv",
    [
        Conv(1, 2, 1, 1, 3, (3, 3), pads=(1, 1, 1, 1)),
        Conv(2, 2, 2, 3, 4, (5, 7), pads=(3, 3, 2, 4)),
        Conv(1, 8, 9, 9, 16, (3, 3), pads=(1, 1, 1, 1), w_density=0.0),
        Conv(1, 8, 9, 9, 16, (3, 3), pads=(1, 1, 1, 1), a_density=0.0),
    ],
    ids=lambda c: c.label,
)
def test_degenerate_ones(conv: Conv) -> None:
    row = run_conv(conv, machine=DSTC, engine="dual", checks="full")
    assert row["lowering"] == "implicit" and row["bit_exact"]


def test_without_loads_of_runs_the_lowered_matrix_is_written() -> None:
    conv = Conv(1, 4, 6, 6, 8, (3, 3))
    without = DSTC.overridden({"features.runs": "off"})
    row = run_conv(conv, machine=without, engine="dual")
    assert row["lowering"] == "explicit" and row["bit_exact"]


def test_every_level_computes_the_same() -> None:
    x, y = "tensor<2x6x9x8xf16>", "tensor<2x8x9x8xf16>"
    properties = (
        "strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, "
        "dilations = array<i64: 1, 1>, activation = #dstc<activation relu>"
    )
    body = (
        '%w = dstc.constant "w" : tensor<8x6x3x3xf16>\n%b = dstc.constant "b" : tensor<8xf32>\n'
        f"%y = dstc.conv2d %x, %w bias(%b) residual(%r) {{{properties}}} : "
        f"{x}, tensor<8x6x3x3xf16>, tensor<8xf32> + {y} -> {y}"
    )
    rng = np.random.default_rng(1)
    constants = {
        "w": sparse(rng, (8, 6, 3, 3), 0.4),
        "b": rng.standard_normal(8).astype(np.float32),
    }
    inputs = [sparse(rng, (2, 6, 9, 8), 0.5), sparse(rng, (2, 8, 9, 8), 0.7)]
    for pipeline in ("default", "encoded-inputs"):
        check(
            main_of(f"%x: {x}, %r: {y} -> {y}", body), inputs, constants=constants,
            pipeline=pipeline, start="lower-conv", engine="dual", machine=DSTC,
        )  # fmt: skip
