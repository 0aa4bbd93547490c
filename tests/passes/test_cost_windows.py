"""Predictions of products on windows: what they hang on, and which kernels are offered."""

from dataclasses import replace

import pytest
from dstc.dialects.conv_window import ConvWindow
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.choose import choose
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Chip
from dstc.passes.cost_windows import Windows, direct
from dstc.runtime.machine import Machine

V100 = Machine.load("v100")
CHIP = Chip.of(V100)
SAME = ConvWindow((3, 3), pads=(1, 1, 1, 1))


def product(windows: Windows, filters: int, groups: int = 1) -> ScheduledProduct:
    oh, ow = windows.out
    sizes = filters, windows.batch * oh * ow, windows.channels * windows.window.taps
    some = ScheduleAttr.of(Engine.DENSE, (64, 64), (32, 32), 2)
    return ScheduledProduct(sizes, some, out_bytes=2, windows=windows, groups=groups)


def test_windows_overlap_in_what_they_read() -> None:
    wide = Windows(8, 64, (112, 112), SAME)
    assert wide.gathered and 0.2 < wide.fresh(128) < 0.6
    assert wide.fresh(128) < wide.fresh(16)
    points = Windows(8, 64, (112, 112), ConvWindow((1, 1)))
    assert not points.gathered and points.run == 8 and points.fresh(128) == 1
    strided = Windows(8, 64, (112, 112), ConvWindow((1, 1), strides=(2, 2)))
    assert strided.gathered and strided.fresh(128) > 1.9
    assert strided.bytes == wide.bytes // 2, "every other row"


@pytest.mark.parametrize(("pixels", "warps", "even"), [(128, 4, True), (16, 4, False),
                                                       (64, 4, True), (256, 4, False)])  # fmt: skip
def test_only_tiles_that_fall_evenly_to_lanes_are_offered(
    pixels: int, warps: int, even: bool
) -> None:
    assert Windows(1, 8, (9, 9), SAME).shared_out(pixels, warps) == even
    found = choose(product(Windows(1, 8, (9, 9), SAME), 8), V100, "dense")
    assert all(c.schedule.cta_tile[1] > 16 for c in found.candidates if c.schedule.warps == 4)


@pytest.mark.parametrize(("batch", "faster"), [(1, False), (8, True)])
def test_a_matrix_that_l2_does_not_hold_takes_longer_than_its_image(
    batch: int, faster: bool
) -> None:
    image = product(Windows(batch, 64, (56, 56), SAME), 64)
    matrix = replace(image, windows=None)
    gathered, plain = (choose(p, V100, "dense").best.cycles for p in (image, matrix))
    assert (gathered < plain) == faster


def test_groups_are_not_split() -> None:
    found = choose(product(Windows(1, 8, (14, 14), SAME), 8, groups=4), V100, "dense")
    assert {c.schedule.parts for c in found.candidates} == {1}


def test_depthwise_convolutions_do_without_the_tensor_core() -> None:
    assert direct(1, 9, 9, 64) and direct(4, 25, 25, 2)
    assert not direct(1, 9, 9, 1) and not direct(1, 18, 9, 64) and not direct(8, 9, 9, 64)
    best = choose(product(Windows(8, 1, (56, 56), SAME), 1, groups=128), V100, "dense").best
    assert best.cycles == pytest.approx(31622, rel=0.4), "simulated"
