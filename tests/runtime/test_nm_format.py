"""n:m operands: encoding and its inverse, pruning, refusals; against the layout's definition.

In: random f16 matrices. Out: identities, positions of violations, values where HMMA.SP takes them.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import (
    NM_BLOCK_K,
    NM_BLOCK_LINES,
    NM_INDEX_BYTES,
    nm_index_position,
    nm_value_position,
)
from dstc.runtime.nm_format import (
    PATTERNS,
    Pattern,
    decode,
    encode,
    pattern_of,
    prune,
    violation,
)
from hypothesis import given, settings
from hypothesis import strategies as st

TWO, FOUR = PATTERNS
SPECIAL = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0, 6e-8, 65504], np.float16)
cases = st.tuples(
    st.sampled_from(PATTERNS),
    st.sampled_from("ab"),
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(0, 1000),
    st.booleans(),
)


def random_matrix(rows: int, columns: int, seed: int, special: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns)).astype(np.float16)
    x[rng.random(x.shape) < rng.random()] = 0
    if special:
        x = np.where(rng.random(x.shape) < 0.2, rng.choice(SPECIAL, x.shape), x)
    return x


@settings(max_examples=60, deadline=None)
@given(cases)
def test_decode_undoes_encode(case):
    pattern, side, rows, columns, seed, special = case
    matrix = prune(random_matrix(rows, columns, seed, special), pattern, side)
    assert violation(matrix, pattern, side) is None
    image = encode(matrix, pattern, side)
    back = decode(image, pattern, matrix.shape, side)
    assert np.array_equal(back.view(np.uint16), np.where(matrix == 0, 0, matrix.view(np.uint16)))
    assert encode(back, pattern, side) == image


@settings(max_examples=60, deadline=None)
@given(cases)
def test_pruning_keeps_the_largest(case):
    pattern, side, rows, columns, seed, _ = case
    matrix = random_matrix(rows, columns, seed, False)
    kept = prune(matrix, pattern, side)
    assert np.array_equal(kept[kept != 0], matrix[kept != 0])
    assert np.array_equal(prune(kept, pattern, side), kept)
    lines, left = (matrix, kept) if side == "a" else (matrix.T, kept.T)
    for line, some in zip(lines, left, strict=True):
        for first in range(0, len(line), pattern.m):
            group, rest = line[first : first + pattern.m], some[first : first + pattern.m]
            best = sorted(range(len(group)), key=lambda i: (-abs(group[i]), i))[: pattern.n]
            assert np.flatnonzero(rest).tolist() == sorted(i for i in best if group[i] != 0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_values_and_indices_lie_where_the_layout_says(pattern):
    lines, depth = 100, 200
    matrix = prune(random_matrix(lines, depth, 5, False), pattern, "a")
    at = pattern.layout(lines, depth)
    image = encode(matrix, pattern, "a")
    values = np.frombuffer(image, np.float16, at.indices_offset // 2)
    words = np.frombuffer(image, np.uint32, offset=at.indices_offset)
    found = np.zeros_like(matrix)
    for line in range(lines):
        l_tile, within = divmod(line, NM_BLOCK_LINES)
        pair, fragment, odd = within // 8, within // 2 % 4, within % 2
        for number in range(at.k_tiles * at.slices):
            k_tile, part = divmod(number, at.slices)
            tile = l_tile * at.k_tiles + k_tile
            for value in range(4):
                lane, half = nm_value_position(2 * pair + odd, value)
                word = (part * 32 + lane) * 4 + fragment
                v = values[tile * at.tile_bytes // 2 + 2 * word + half]
                lane, shift = nm_index_position(at.slice_depth, 2 * pair + odd, part, value)
                word = tile * NM_INDEX_BYTES // 4 + lane * 4 + fragment
                index = int(words[word]) >> shift & (at.m - 1)
                k = k_tile * NM_BLOCK_K + part * at.slice_depth + value // at.n * at.m + index
                if v != 0:
                    found[line, k] = v
    assert np.array_equal(found, matrix)


def test_the_largest_stay_and_the_first_of_equals():
    row = np.array([[1, -3, 3, 2, 5, 5, -5, 5]], np.float16)
    assert prune(row, TWO, "a").tolist() == [[0, -3, 3, 0, 5, 5, 0, 0]]
    assert prune(row.T, TWO, "b").ravel().tolist() == [0, -3, 3, 0, 5, 5, 0, 0]
    odd = np.array([[np.inf, 1, np.nan, np.nan]], np.float16)
    assert np.isnan(prune(odd, TWO, "a")[0, 2:]).all()


def test_a_violation_names_its_place():
    matrix = np.zeros((20, 10), np.float16)
    matrix[3, 8:10] = matrix[7, 4:7] = 1
    with pytest.raises(DstcError, match="not 2:4: row 7, columns 4 to 7: 3 non-zeros; prune it"):
        encode(matrix, TWO, "a")
    assert violation(matrix, FOUR, "a") is None
    assert violation(matrix.T, TWO, "b") == "column 7, rows 4 to 7: 3 non-zeros"
    assert pattern_of(matrix, "a") == FOUR
    assert pattern_of(np.ones((1, 8), np.float16), "a") is None
    assert pattern_of(np.eye(8, dtype=np.float16), "b") == FOUR


def test_refusals():
    with pytest.raises(DstcError, match=r"pattern '3:4' is not known; use 2:4, 4:16"):
        Pattern.parse("3:4")
    with pytest.raises(DstcError, match="only an f16"):
        encode(np.zeros((2, 2), np.float32), TWO, "a")
    with pytest.raises(DstcError, match="side"):
        encode(np.zeros((2, 2), np.float16), TWO, "c")
    with pytest.raises(DstcError, match="is a matrix"):
        encode(np.zeros(2, np.float16), TWO, "a")
    with pytest.raises(DstcError, match="pass the whole buffer"):
        decode(b"", TWO, (2, 2), "a")
    with pytest.raises(DstcError, match="descend"):
        decode(bytes(TWO.layout(2, 2).bytes), TWO, (2, 2), "a")
