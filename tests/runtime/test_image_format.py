"""Encoded images: layout, encode, decode, and windows that are runs of positions.

In: random images and windows. Out: the lowered matrix, taken from 32 neighbouring positions a k.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.image_layout import ImageLayout
from dstc.runtime.image_format import decode, encode, operand, pixel_columns
from dstc.runtime.lowered import lowered
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def sizes(low: int, high: int):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def layouts(draw):
    """Small images and windows that fit them."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *draw(sizes(1, 40)))
    pads = (*draw(sizes(0, 3)), *draw(sizes(0, 3)))
    window = [draw(sizes(1, 4)), draw(sizes(1, 3)), pads, draw(sizes(1, 3))]
    layout = ImageLayout(shape, *window)
    assume(min(layout.out) > 0)
    return layout


def image(layout: ImageLayout, density: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(layout.shape).astype(np.float16)
    return np.where(rng.random(layout.shape) < density, x, np.float16(0))


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_windows_are_runs_of_positions(layout):
    x = image(layout)
    window = (layout.kernel, layout.strides, layout.pads, layout.dilations)
    want = lowered(x, window)
    columns = pixel_columns(layout)
    got = operand(x, layout)
    assert got.shape == (layout.depth, layout.computed)
    assert np.array_equal(got[:, columns >= 0], want)
    assert np.array_equal(np.sort(columns[columns >= 0]), np.arange(want.shape[1]))
    # the positions of the last pixels, and the word after, are there
    last = max(layout.start(k) for k in range(layout.depth)) + 32 * layout.vectors - 1
    assert last // 32 < layout.words


@settings(max_examples=100, deadline=None)
@given(layouts())
def test_round_trip(layout):
    x = image(layout)
    window = (layout.kernel, layout.strides, layout.pads, layout.dilations)
    data = encode(x, layout)
    assert len(data) == layout.bytes and layout.values_offset % 64 == 0
    back = decode(data, layout)
    assert np.array_equal(lowered(back, window), lowered(x, window))
    if layout.strides == (1, 1) and min(layout.kernel) > 0:
        touched = lowered(np.ones_like(x), window).any()
        assert np.array_equal(back, x) or not touched or layout.out != x.shape[2:]
    assert decode(encode(back, layout), layout).tobytes() == back.tobytes()
    assert ImageLayout.of_facts(layout.facts()) == layout


def test_one_layout_by_hand():
    """3x3 with padding 1: rows share a column of padding."""
    layout = ImageLayout((1, 2, 4, 6), (3, 3), pads=(1, 1, 1, 1))
    assert (layout.out, layout.pitch, layout.phase_count) == ((4, 6), 7, 1)
    assert layout.vectors == 1  # 3 rows of 7 and one of 6
    assert (layout.lead, layout.first_word) == (24, 1)  # 8 elements before the first one
    assert layout.plane_words == (24 + 31 + 2 * 7 + 2) // 32 + 1 == 3
    starts = [0, 1, 2, 7, 8, 9, 14, 15, 16, 96]
    assert [layout.start(k) for k in range(10)] == [24 + start for start in starts]
    x = np.zeros((1, 2, 4, 6), np.float16)
    x[0, 0, 0, 0], x[0, 0, 3, 5], x[0, 1, 2, 3] = 1, -0.0, 3
    x[0, 0, 1, 2] = np.inf
    data = encode(x, layout)
    entries = np.frombuffer(data, "<u4", 12).reshape(6, 2)
    first = 1 << 0 | 1 << (7 + 2)
    second = 1 << (2 * 7 + 3)
    assert entries.tolist() == [[0, first], [first, 0], [0, 0], [0, second], [second, 0], [0, 0]]
    values = np.frombuffer(data, np.float16, 6 * 32, offset=64).reshape(6, 32)
    assert values[1, :3].tolist() == [1, np.inf, 0] and values[4, 0] == 3


def test_images_share_rows():
    """The row behind an image is the one before the next."""
    layout = ImageLayout((3, 1, 4, 4), (3, 3), pads=(1, 1, 1, 1))
    assert (layout.rows, layout.pitch, layout.vectors) == (5, 5, 3)  # (2 * 5 + 3) * 5 + 4 pixels
    columns = pixel_columns(layout)
    assert (columns[[0, 3, 4, 20, 25]] == [0, 3, -1, -1, 16]).all()


def test_strides_deal_out_phases():
    layout = ImageLayout((1, 1, 8, 8), (3, 3), (2, 2), (1, 1, 1, 1))
    assert layout.phases == ((0, 1), (0, 1)) and layout.out == (4, 4)
    alone = ImageLayout((1, 1, 8, 8), (1, 1), (2, 2))
    assert alone.phases == ((0,), (0,)) and alone.pitch == 4


def test_refusals():
    layout = ImageLayout((1, 1, 4, 4), (3, 3), pads=(1, 1, 1, 1))
    with pytest.raises(DstcError, match="is to be encoded, not float32"):
        encode(np.zeros((1, 1, 4, 4), np.float32), layout)
    with pytest.raises(DstcError, match="bytes, not 3"):
        decode(b"abc", layout)
    data = bytearray(encode(np.ones((1, 1, 4, 4), np.float16), layout))
    data[4] ^= 1
    with pytest.raises(DstcError, match="do not hold the words after"):
        decode(bytes(data), layout)
    data[4] ^= 1
    for entry in (4, 8):
        data[entry] ^= 1 << 4  # the column behind the first row
    data[layout.values_offset + 64] = 1
    with pytest.raises(DstcError, match="outside the image"):
        decode(bytes(data), layout)
    with pytest.raises(ValueError, match="positive"):
        ImageLayout.of_facts({**layout.facts(), "kernel": [9, 9]})
