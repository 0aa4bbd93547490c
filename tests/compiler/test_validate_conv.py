"""Measured convolutions: rows, what of them was padded, how they are chosen and checked."""

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.bench_conv import Conv
from dstc.compiler.cli.bench_conv import numbers, padding, pair
from dstc.compiler.validate_conv import check, columns_of
from dstc.compiler.validate_data import chosen, measured_convolutions, split_choice
from dstc.dialects.interpreters.dstc import im2col

DATA = measured_convolutions("v100")


def test_the_rows_are_the_measured_ones() -> None:
    assert len(DATA.rows) == 47 and "DeepBench" in DATA.origin and "cuDNN 7.6" in DATA.machine
    first = DATA.rows[0]
    assert (first.w, first.h, first.c, first.n, first.k, first.us) == (700, 161, 1, 4, 32, 591)
    assert first.conv().sizes == (32, 4 * 79 * 341, 8 * 5 * 20), "channels as they were padded"
    assert [r.index for r in DATA.rows if r.padded_channels != r.c] == [0, 1, 4, 6, 27]
    assert all(min(r.conv().result) > 0 for r in DATA.rows)


def test_rows_are_chosen_of_either_kind() -> None:
    assert split_choice(None) is None
    assert split_choice("0-9,*-TN") == ("0-9,*-TN", "")
    assert split_choice("conv") == ("", None)
    assert split_choice("7, conv:3,conv-*-1x1*") == ("7", "3,conv-*-1x1*")
    assert [r.index for r in chosen(DATA.rows, "3,5-6")] == [3, 5, 6]
    assert all(r.r == 1 for r in chosen(DATA.rows, "conv-*-1x1*"))
    with pytest.raises(DstcError, match="names no row"):
        chosen(DATA.rows, "47")


def test_some_pixels_are_those_of_the_whole_matrix() -> None:
    conv = Conv(2, 3, 6, 7, 5, (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), spread=(2, 1))
    x, w = conv.operands()
    matrix = im2col(x, conv.window)
    pixels = np.array([0, 5, matrix.shape[1] - 1])
    np.testing.assert_array_equal(columns_of(conv, x, pixels), matrix[:, pixels])
    n, k, oh, ow = conv.result
    exact = w.reshape(k, -1).astype(np.float32) @ matrix.astype(np.float32)
    output = exact.astype(np.float16).reshape(k, n, oh, ow).transpose(1, 0, 2, 3)
    small = np.where(np.abs(output) < 99, output, 0)
    assert not check(conv, x, w, small + np.float16(1))["ok"]


def test_sizes_of_windows() -> None:
    assert pair("3", "--kernel") == (3, 3) and pair("3,5", "--kernel") == (3, 5)
    assert padding("1") == (1, 1, 1, 1) and padding("1,2") == (1, 2, 1, 2)
    assert padding("1,2,3,4") == (1, 2, 3, 4)
    with pytest.raises(DstcError, match="--stride 1,2,3: expected 1 or 2 numbers, not 3"):
        pair("1,2,3", "--stride")
    with pytest.raises(DstcError, match="--pad a: expected whole numbers"):
        numbers("a", "--pad", (1, 2))
