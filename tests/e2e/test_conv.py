"""Convolutions of every kind, bit by bit against numpy in the order (channel, row, column).

`DSTC_CONV_EXAMPLES` sets how many random ones there are (default 20; 500 take some ten minutes).
"""

import os
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.bench_conv import Conv, compile_conv, conv_reference, run_conv
from dstc.dialects.conv_window import ConvWindow
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.candidates import KERNELS
from dstc.runtime.machine import Machine
from hypothesis import given, settings
from hypothesis import strategies as st

from .ir import check, dense, main_of, sparse

EXAMPLES = int(os.environ.get("DSTC_CONV_EXAMPLES", "20"))
SMALL = {"sm.count": 4}
V100, NM, DSTC = (Machine.load(name).overridden(SMALL) for name in ("v100", "v100-nm", "dstc"))

WAYS: tuple[tuple[Machine, str, str], ...] = (
    (V100, "dense", "implicit"),
    (V100, "dense", "explicit"),
    (NM, "nm", "implicit"),
    (NM, "nm", "explicit"),
    (DSTC, "dual", "implicit"),
    (DSTC, "dual", "explicit"),
)
"""Machine, engine, lowering."""


def direct(x: np.ndarray, w: np.ndarray, conv: Conv) -> np.ndarray:
    """A convolution written out: one f32 addition after the other, taps in order."""
    n, filters, oh, ow = conv.result
    of_group, per_group = conv.channels // conv.groups, conv.filters // conv.groups
    top, left, bottom, right = conv.pads
    h, wd = conv.window.extent(x.shape[2:])
    wide = np.zeros((n, conv.channels, h, wd), np.float32)
    wide[:, :, :: conv.spread[0], :: conv.spread[1]] = x
    wide = np.pad(wide, ((0, 0), (0, 0), (top, bottom), (left, right)))
    acc = np.zeros((n, filters, oh, ow), np.float32)
    for k in range(filters):
        for c in range(of_group):
            for r in range(conv.kernel[0]):
                for s in range(conv.kernel[1]):
                    row, column = r * conv.dilations[0], s * conv.dilations[1]
                    tap = wide[
                        :,
                        k // per_group * of_group + c,
                        row : row + (oh - 1) * conv.strides[0] + 1 : conv.strides[0],
                        column : column + (ow - 1) * conv.strides[1] + 1 : conv.strides[1],
                    ]
                    acc[:, k] += np.float32(w[k, c, r, s]) * tap
    return acc.astype(np.float16 if conv.out == "f16" else np.float32).astype(np.float32)


def pairs(low: int, high: int) -> Any:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn) -> Conv:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 6]))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 5), (7, 7), (2, 3), (4, 1)]))
    pads = draw(st.one_of(st.just((0, 0, 0, 0)), st.tuples(*[st.integers(0, 3)] * 4)))
    strides, dilations = draw(pairs(1, 3)), draw(pairs(1, 2))
    spread = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3)]))
    window = ConvWindow(kernel, strides, pads, dilations, spread)
    size = draw(pairs(1, 17))
    if min(window.output(size)) < 1:  # the smallest image that the window fits
        size = tuple(
            max(n, -(-max((k - 1) * d - a - b, 0) // u) + 1)
            for n, k, d, a, b, u in zip(
                size, kernel, dilations, pads[:2], pads[2:], spread, strict=True
            )
        )
    return Conv(
        batch=draw(st.integers(1, 3)),
        channels=groups * draw(st.integers(1, 20)),
        height=size[0],
        width=size[1],
        filters=groups * draw(st.integers(1, 40)),
        kernel=kernel,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
        spread=spread,
        a_density=draw(st.sampled_from([1.0, 0.5])),
        w_density=draw(st.sampled_from([1.0, 0.3, 0.0])),
        out=draw(st.sampled_from(["f16", "f32"])),
        seed=draw(st.integers(0, 1000)),
    )


@pytest.mark.parametrize("way", WAYS, ids=lambda w: f"{w[1]}-{w[2]}")
@settings(max_examples=EXAMPLES)
@given(conv=convolutions(), tiles=st.integers(0, 2**16))
def test_every_bit_is_numpys(way: tuple[Machine, str, str], conv: Conv, tiles: int) -> None:
    machine, engine, lowering = way
    if lowering == "explicit" and conv.groups > 1:
        conv = Conv(**{**vars(conv), "groups": 1})
    if engine == "nm":
        conv = Conv(**{**vars(conv), "pattern": ("2:4", "4:16")[tiles % 2]})
    kernels = KERNELS[Engine.DENSE].tiles
    tile = kernels[tiles % len(kernels)]
    schedule = None
    if engine == "dense" and tile.cta[1] > 16:  # some tile, not the one that is predicted fastest
        parts = 1 + tiles // len(kernels) % 3 if conv.groups == 1 else 1
        schedule = ScheduleAttr.of(Engine.DENSE, tile.cta, tile.warp, 2, split=parts)
    row = run_conv(
        conv, machine=machine, engine=engine, lowering=lowering, schedule=schedule, checks="full"
    )
    assert row["bit_exact"], conv.label


@settings(max_examples=30)
@given(conv=convolutions())
def test_the_reference_is_a_convolution_written_out(conv: Conv) -> None:
    x, w = conv.operands()
    whole = ScheduleAttr.of(Engine.DENSE, (32, 32), (16, 16), 2)
    got = conv_reference(conv, x, w, whole)
    np.testing.assert_array_equal(got, direct(x, w, conv))


DEGENERATE = {
    "1x1 image": Conv(1, 3, 1, 1, 5, (1, 1)),
    "kernel larger than the image": Conv(2, 2, 2, 3, 4, (5, 7), pads=(3, 3, 2, 4)),
    "zero weights": Conv(1, 8, 9, 9, 16, (3, 3), pads=(1, 1, 1, 1), w_density=0.0),
    "depthwise": Conv(2, 24, 10, 11, 24, (3, 3), pads=(1, 1, 1, 1), groups=24),
    "one row": Conv(2, 16, 1, 70, 24, (1, 9), pads=(0, 4, 0, 4)),
    "wide kernel": Conv(1, 1, 12, 60, 8, (5, 20), strides=(2, 2)),
    "transposed": Conv(1, 8, 7, 7, 12, (4, 4), pads=(2, 2, 2, 2), spread=(2, 2)),
    "only padding in a window": Conv(1, 2, 2, 2, 3, (2, 2), strides=(3, 3), pads=(2, 2, 3, 3)),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_convolutions(name: str) -> None:
    conv = DEGENERATE[name]
    assert run_conv(conv, machine=V100, engine="dense", checks="full")["bit_exact"]
    if conv.groups == 1 and max(conv.kernel) <= 15:
        assert run_conv(conv, machine=DSTC, engine="dual", checks="full")["bit_exact"]


def test_every_level_computes_the_same() -> None:
    x, w = "tensor<2x6x9x8xf16>", "tensor<8x3x3x3xf16>"
    y = "tensor<2x8x9x8xf16>"
    properties = (
        "strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, "
        "dilations = array<i64: 1, 1>, groups = 2 : i64, activation = #dstc<activation relu>"
    )
    body = (
        '%w = dstc.constant "w" : tensor<8x3x3x3xf16>\n%b = dstc.constant "b" : tensor<8xf32>\n'
        f"%y = dstc.conv2d %x, %w bias(%b) residual(%r) {{{properties}}} : "
        f"{x}, {w}, tensor<8xf32> + {y} -> {y}"
    )
    rng = np.random.default_rng(1)
    constants = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float16),
        "b": rng.standard_normal(8).astype(np.float32),
    }
    inputs = [sparse(rng, (2, 6, 9, 8), 0.7), sparse(rng, (2, 8, 9, 8), 0.7)]
    check(
        main_of(f"%x: {x}, %r: {y} -> {y}", body), inputs, constants=constants, pipeline="default",
        start="lower-conv",
    )  # fmt: skip


@pytest.mark.parametrize("split", [1, 3])
@pytest.mark.parametrize("size", [(4, 4), (6, 7), (5, 5)])
def test_runs_of_pixels(size: tuple[int, int], split: int) -> None:
    """Images whose pixels divide by 8, by 2 and not at all: 1x1 windows are runs, or gathered."""
    conv = Conv(3, 150, *size, 40, (1, 1), out="f32")
    schedule = dense((64, 64), (32, 32), split)
    assert run_conv(conv, machine=V100, engine="dense", schedule=schedule)["bit_exact"]


def test_kernels_of_their_own_are_counted() -> None:
    conv = Conv(1, 16, 8, 8, 16, (3, 3), pads=(1, 1, 1, 1))
    implicit = run_conv(conv, machine=V100, engine="dense")
    explicit = run_conv(conv, machine=V100, engine="dense", lowering="explicit")
    assert [k["op"] for k in implicit["kernels"]] == ["conv2d"]
    assert [k["op"] for k in explicit["kernels"]] == ["im2col", "conv2d"]
    assert explicit["cycles"] == sum(k["cycles"] for k in explicit["kernels"])
    assert explicit["counters"]["dram_bytes"] >= 0 and implicit["bit_exact"]


def test_refusals() -> None:
    conv = Conv(1, 2, 40, 40, 4, (20, 20), pads=(1, 1, 1, 1))
    with pytest.raises(DstcError, match="a padded kernel of 20x20 is too large"):
        compile_conv(conv, V100, conv.operands()[1], "dense")
    grouped = Conv(1, 4, 5, 5, 4, (1, 1), groups=2)
    with pytest.raises(DstcError, match="groups have no lowered matrix"):
        compile_conv(grouped, V100, grouped.operands()[1], "dense", "explicit")
    for wrong, message in (
        ({"groups": 3}, "--groups 3: 4 channels do not fall into so many"),
        ({"kernel": (9, 1)}, "--kernel 9,1: larger than the padded image"),
        ({"pads": (-1, 0, 0, 0)}, "padding is not negative"),
    ):
        with pytest.raises(DstcError, match=message):
            Conv(**{"batch": 1, "channels": 4, "height": 5, "width": 5, "filters": 6,
                    "kernel": (1, 1), **wrong})  # fmt: skip
