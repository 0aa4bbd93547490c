"""Two-level bitmaps: round trips, the device image word by word, statistics."""

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import NARROW_VALUES, WIDE, BitmapLayout, tile_header
from dstc.runtime.formats import Bitmap, count, decode, encode, statistics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

WINDOWS = [32, 64]
SHAPES = [(1, 1), (33, 17), (32, 16), (31, 15), (1, 600), (100, 1), (65, 33), (64, 528)]


def matrix(shape, density, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape).astype(np.float16)
    values[values == 0] = 1
    return np.where(rng.random(shape) < density, values, np.float16(0))


def bits(x):
    return np.ascontiguousarray(x).view(np.uint16)


def same(found, expected):
    """Bit for bit, but for -0, which becomes +0."""
    expected = np.where(expected == 0, np.float16(0), expected)
    return found.shape == expected.shape and np.array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("side", "ab")
@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize("density", [0, 0.05, 0.5, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_round_trips(shape, density, slots, side, window):
    x = matrix(shape, density)
    bitmap = encode(x, side, slots, window)
    assert same(decode(bitmap), x)
    assert encode(decode(bitmap), side, slots, window) == bitmap
    assert bitmap.shape == shape
    assert bitmap.nonzeros == np.count_nonzero(x)
    image = bitmap.to_bytes()
    if slots:
        assert len(image) == bitmap.layout.slot_bytes
    vectors, depth = shape if side == "a" else shape[::-1]
    again = Bitmap.from_bytes(image, vectors, depth, side, window)
    assert again == bitmap and same(decode(again), x)


F16 = st.one_of(st.floats(width=16), st.sampled_from([0.0, -0.0, float("inf"), float("nan"), 6e-8]))


@settings(max_examples=100)
@given(
    hnp.arrays(np.float16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70), elements=F16),
    st.sampled_from("ab"),
    st.booleans(),
    st.sampled_from(WINDOWS),
)
def test_round_trips_of_any_values(x, side, slots, window):
    assert same(decode(encode(x, side, slots, window)), x)


def test_special_values():
    nan = np.array(0x7E01, np.uint16).view(np.float16)
    x = np.array([[0.0, -0.0, nan, np.inf, -np.inf, 6e-8]], np.float16)
    bitmap = encode(x, "a")
    assert bitmap.nonzeros == 4
    assert bits(decode(bitmap)).tolist() == [[0, 0, 0x7E01, 0x7C00, 0xFC00, 1]]


def test_views_are_encoded_like_copies():
    x = matrix((70, 50), 0.5)
    for view in (x.T, x[::2, 1::3], x[::-1]):
        assert encode(view, "a") == encode(view.copy(), "a")
    assert encode(x, "a").to_bytes() == encode(x.T, "b").to_bytes()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("slots", [False, True])
def test_the_image_is_what_the_layout_says(slots, window):
    """Every part, read back one element at a time."""
    x = matrix((70, 530), 0.3)
    x[32:64, 16:32] = 0
    x[:, 64:80] = 0
    layout, image = BitmapLayout(70, 530, window), encode(x, "a", slots, window).to_bytes()

    def word(offset):
        return int.from_bytes(image[offset : offset + 4], "little")

    used = np.zeros(len(image), bool)
    row_start = 0
    for v in range(layout.v_tiles):
        start_word = word(layout.starts_offset + 4 * v)
        assert start_word & ~WIDE == row_start
        offset, wide = 0, False
        for k in range(layout.k_tiles):
            tile = v * layout.k_tiles + k
            part = x[window * v : window * (v + 1), 16 * k : 16 * k + 16]
            present = word(4 * (v * layout.warp_words + k // 32)) >> k % 32 & 1
            assert present == part.any()
            count = np.count_nonzero(part)
            wide |= count > NARROW_VALUES
            header = word(layout.headers_offset + 4 * (v * layout.header_stride + k))
            assert header == tile_header(offset, count)
            values = part.T[part.T != 0]
            start = layout.values_offset + row_start + offset
            offset += 32 * window if slots else -(-2 * count // 16) * 16
            assert image[start : start + 2 * count] == values.tobytes()
            used[start : start + 2 * count] = True
            for j in range(16):
                column = part[:, j] if j < part.shape[1] else []
                ones = sum(1 << i for i, value in enumerate(column) if value != 0)
                for half in range(window // 32):
                    at = layout.bitmaps_offset + 2 * window * tile + 64 * half + 4 * j
                    assert word(at) == ones >> 32 * half & 0xFFFFFFFF
        assert bool(start_word & WIDE) == wide
        row_start += offset
    rest = np.frombuffer(image, np.uint8)[layout.values_offset :][~used[layout.values_offset :]]
    assert not rest.any()


def test_what_lies_in_a_slot_beyond_its_values_does_not_matter():
    x = matrix((40, 40), 0.3)
    bitmap = encode(x, "b", slots=True)
    image = bytearray(bitmap.to_bytes())
    end = bitmap.layout.values_offset + 2 * int(bitmap.tile_counts()[0, 0])
    slot = bitmap.layout.values_offset + bitmap.layout.tile_bytes
    image[end:slot] = b"\xff" * (slot - end)
    assert same(decode(Bitmap.from_bytes(bytes(image), 40, 40, "b")), x)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("bitmaps_offset", "its header's count is not its bitmap's number of ones in eighths"),
        ("headers_offset", "its header's count is not its bitmap's number of ones in eighths"),
        ("starts_offset", "it is wide, its row does not say so"),
        (None, "its warp-bitmap does not match"),
    ],
)
def test_an_inconsistent_image_is_refused(part, message):
    bitmap = encode(matrix((40, 40), 1), "a")
    image = bytearray(bitmap.to_bytes())
    image[getattr(bitmap.layout, part) if part else 0] ^= 0xFF
    with pytest.raises(DstcError, match=message):
        Bitmap.from_bytes(bytes(image), 40, 40, "a")


@pytest.mark.parametrize("window", WINDOWS)
def test_bits_outside_the_matrix_are_refused(window):
    image = encode(matrix((34, 17), 1), "a", window=window).to_bytes()
    with pytest.raises(DstcError, match="it has bits outside the matrix"):
        Bitmap.from_bytes(image, 33, 17, "a", window)


def test_a_window_is_32_or_64():
    with pytest.raises(DstcError, match="window is 32 or 64 vectors, not 48"):
        encode(matrix((34, 17), 1), "a", window=48)


def test_a_short_image_is_refused():
    image = encode(matrix((33, 17), 1), "a").to_bytes()
    with pytest.raises(DstcError, match="past the end"):
        Bitmap.from_bytes(image[:-512], 33, 17, "a")
    with pytest.raises(DstcError, match="its values alone begin at"):
        Bitmap.from_bytes(image[:100], 33, 17, "a")


@settings(max_examples=300)
@given(st.binary(max_size=600), st.integers(1, 40), st.integers(1, 20), st.sampled_from("ab"),
       st.sampled_from(WINDOWS))  # fmt: skip
def test_any_image_is_read_or_refused(data, vectors, depth, side, window):
    image = bytearray(BitmapLayout(vectors, depth, window).values_offset + 64)
    image[: len(data)] = data[: len(image)]
    try:
        bitmap = Bitmap.from_bytes(bytes(image), vectors, depth, side, window)
    except DstcError as error:
        assert len(str(error).splitlines()) == 1
    else:
        decode(bitmap)


@pytest.mark.parametrize(
    ("x", "side", "message"),
    [
        (np.zeros((2, 2), np.float32), "a", "only a 2-D f16 matrix"),
        (np.zeros(2, np.float16), "a", "only a 2-D f16 matrix"),
        (np.zeros((0, 2), np.float16), "a", "non-empty matrix, not 0 x 2"),
        (np.zeros((2, 2), np.float16), "c", "side must be 'a' or 'b'"),
    ],
)
def test_what_cannot_be_encoded_is_named(x, side, message):
    with pytest.raises(DstcError, match=message):
        encode(x, side)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("density", [0, 0.1, 0.5, 1])
def test_statistics_against_counting_one_by_one(density, window):
    x, y = matrix((70, 50), density, 1), matrix((50, 40), 0.4, 2)
    y[:, 32:] = 0
    found = statistics(encode(x, "a", window=window), encode(y, "b", window=window))
    assert found == statistics(count(x, "a", window), count(y != 0, "b", window))
    assert count(x, "a", window).density == encode(x, "a").density
    products = ohmma = steps = 0
    for i in range(0, 70, window):
        for j in range(0, 40, window):
            for k in range(0, 50, 16):
                a, b = x[i : i + window, k : k + 16] != 0, y[k : k + 16, j : j + window] != 0
                n_a, n_b = a.sum(axis=0), b.sum(axis=1)
                products += int((n_a * n_b).sum())
                ohmma += int((-(-n_a // 8) * -(-n_b // 16)).sum())
                steps += bool(a.any() and b.any())
    assert (found.products_effective, found.ohmma_issued) == (products, ohmma)
    dense = {32: 3 * 2 * 4, 64: 2 * 1 * 4}[window]
    assert (found.steps_issued, found.steps_dense) == (steps, dense)
    assert found.ohmma_dense == dense * 128 * (window // 32) ** 2
    assert found.products_dense == 70 * 50 * 40


def test_statistics_need_operands_that_fit():
    a, b = encode(matrix((4, 5), 1), "a"), encode(matrix((6, 4), 1), "b")
    wide = encode(matrix((5, 4), 1), "b", window=64)
    for pair in ((a, b), (a, a), (b, a), (a, wide)):
        with pytest.raises(DstcError, match="need sides a and b of one depth"):
            statistics(*pair)
