"""The interpreter of `dstc_tile` kernels, each op against numpy, and whole kernels."""

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import (
    NARROW_VALUES,
    BitmapLayout,
    DenseLayout,
    hmma_a_position,
    hmma_b_position,
    hmma_d_position,
    tile_header,
    value_position,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .tile_kernels import per_lane, run_kernel, run_text, tensor

U32, F32, F16 = np.uint32, np.float32, np.float16
RNG = np.random.default_rng(1)
WORDS = np.concatenate(
    [np.array([0, 1, 31, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], U32),
     RNG.integers(0, 2**32, 24, U32)]
)  # fmt: skip
OTHERS = np.concatenate(
    [np.array([0xFFFFFFFF, 40, 1, 32, 0x80000000, 7, 31, 2], U32), RNG.integers(1, 50, 24, U32)]
)
FLOATS = np.concatenate(
    [np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -1.5, 1e38], F32),
     RNG.normal(size=24).astype(F32)]
)  # fmt: skip
REALS = np.concatenate(
    [np.array([-0.0, 0.0, np.nan, 1.0, 2.0, 1.5, 1.5, 1e38], F32), RNG.normal(size=24).astype(F32)]
)


def i32(x):
    return x.view(np.int32).astype(np.int64)


def wrap(x):
    return (np.asarray(x).astype(np.int64) & 0xFFFFFFFF).astype(U32)


INTEGER_OPS = {
    "addi": lambda a, b: wrap(i32(a) + i32(b)),
    "subi": lambda a, b: wrap(i32(a) - i32(b)),
    "muli": lambda a, b: np.array(
        [(int(x) * int(y)) % 2**32 for x, y in zip(a, b, strict=True)], U32
    ),
    "divui": lambda a, b: a // b,
    "remui": lambda a, b: a % b,
    "minui": np.minimum,
    "maxui": np.maximum,
    "minsi": lambda a, b: wrap(np.minimum(i32(a), i32(b))),
    "maxsi": lambda a, b: wrap(np.maximum(i32(a), i32(b))),
    "andi": np.bitwise_and,
    "ori": np.bitwise_or,
    "xori": np.bitwise_xor,
    "shli": lambda a, b: wrap(np.where(b < 32, a.astype(np.int64) << np.minimum(b, 31), 0)),
    "shrui": lambda a, b: np.array(
        [int(x) >> min(int(y), 32) for x, y in zip(a, b, strict=True)], U32
    ),
    "shrsi": lambda a, b: wrap(i32(a) >> np.minimum(b, 31).astype(np.int64)),
}


@pytest.mark.parametrize("name", INTEGER_OPS)
def test_integer_ops(name):
    got = per_lane(f"  %r = arith.{name} %a0, %a1 : i32", WORDS, OTHERS)
    assert np.array_equal(got, INTEGER_OPS[name](WORDS, OTHERS))


@pytest.mark.parametrize(
    ("predicate", "want"),
    [("eq", np.equal), ("ne", np.not_equal), ("ult", np.less), ("ule", np.less_equal),
     ("ugt", np.greater), ("uge", np.greater_equal)]
    + [(f"s{n}", lambda a, b, f=f: f(i32(a), i32(b)))
       for n, f in (("lt", np.less), ("le", np.less_equal), ("gt", np.greater),
                    ("ge", np.greater_equal))],
)  # fmt: skip
def test_compare_integers(predicate, want):
    others = np.where(np.arange(32) % 4 == 3, WORDS, OTHERS)
    got = per_lane(
        f"  %c = arith.cmpi {predicate}, %a0, %a1 : i32\n  %r = arith.extui %c : i1 to i32",
        WORDS,
        others,
    )
    assert np.array_equal(got, want(WORDS, others).astype(U32))


def larger(a, b, nan):
    best = np.where((a == b) & (a == 0), np.where(np.signbit(a), b, a), np.where(a > b, a, b))
    if nan:
        return np.where(np.isnan(a) | np.isnan(b), F32(np.nan), best)
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, best))


FLOAT_OPS = {
    "addf": np.add,
    "subf": np.subtract,
    "mulf": np.multiply,
    "divf": np.divide,
    "maxnumf": lambda a, b: larger(a, b, False),
    "minnumf": lambda a, b: -larger(-a, -b, False),
    "maximumf": lambda a, b: larger(a, b, True),
    "minimumf": lambda a, b: -larger(-a, -b, True),
}


@pytest.mark.parametrize("name", FLOAT_OPS)
def test_float_ops(name):
    got = per_lane(f"  %r = arith.{name} %a0, %a1 : f32", FLOATS, REALS, result="f32")
    with np.errstate(all="ignore"):
        want = FLOAT_OPS[name](FLOATS, REALS)
    np.testing.assert_array_equal(got, want)
    assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))


@pytest.mark.parametrize(
    ("predicate", "classes"),
    [("false", ""), ("oeq", "="), ("ogt", ">"), ("oge", ">="), ("olt", "<"), ("ole", "<="),
     ("one", "<>"), ("ord", "<=>"), ("ueq", "=u"), ("ugt", ">u"), ("uge", ">=u"), ("ult", "<u"),
     ("ule", "<=u"), ("une", "<>u"), ("uno", "u"), ("true", "<=>u")],
)  # fmt: skip
def test_compare_floats(predicate, classes):
    others = np.where(np.arange(32) % 4 == 3, FLOATS, REALS)
    got = per_lane(
        f"  %c = arith.cmpf {predicate}, %a0, %a1 : f32\n  %r = arith.extui %c : i1 to i32",
        FLOATS,
        others,
    )
    relation = [
        "u" if np.isnan(x) or np.isnan(y) else "<" if x < y else ">" if x > y else "="
        for x, y in zip(FLOATS, others, strict=True)
    ]
    assert got.tolist() == [int(r in classes) for r in relation]


@pytest.mark.parametrize(
    ("line", "source", "result", "want"),
    [
        ("arith.negf %a0 : f32", FLOATS, "f32", np.negative(FLOATS)),
        ("arith.bitcast %a0 : f32 to i32", FLOATS, "i32", FLOATS.view(U32)),
        ("arith.bitcast %a0 : i32 to f32", WORDS, "f32", WORDS.view(F32)),
        ("arith.uitofp %a0 : i32 to f32", WORDS, "f32", WORDS.astype(F32)),
        ("arith.sitofp %a0 : i32 to f32", WORDS, "f32", i32(WORDS).astype(F32)),
        ("dstc_tile.popcount %a0", WORDS, "i32", [int(w).bit_count() for w in WORDS]),
    ],
)
def test_unary(line, source, result, want):
    got = per_lane(f"  %r = {line}", source, result=result)
    np.testing.assert_array_equal(got.view(U32), np.asarray(want, got.dtype).view(U32))


def test_conversions_to_integer_saturate():
    x = np.resize(np.array([0.9, -0.9, 3e9, -3e9, np.nan, np.inf, -7.5, 4e9], F32), 32)
    signed = per_lane("  %r = arith.fptosi %a0 : f32 to i32", x)
    assert i32(signed)[:8].tolist() == [0, 0, 2**31 - 1, -(2**31), 0, 2**31 - 1, -7, 2**31 - 1]
    unsigned = per_lane("  %r = arith.fptoui %a0 : f32 to i32", x)
    assert unsigned[:8].tolist() == [0, 0, 3 * 10**9, 0, 0, 2**32 - 1, 0, 4 * 10**9]


def test_booleans_and_select():
    got = per_lane(
        """
  %p = arith.trunci %a0 : i32 to i1
  %q = arith.cmpi ult, %a1, %c4 : i32
  %t = arith.constant true
  %np = arith.xori %p, %t : i1
  %b = arith.andi %np, %q : i1
  %o = arith.ori %b, %p : i1
  %s = arith.select %o, %a0, %a1 : i32
  %e = arith.extsi %b : i1 to i32
  %r = arith.xori %s, %e : i32""",
        WORDS,
        OTHERS,
    )
    p, q = (WORDS & 1).astype(bool), OTHERS < 4
    want = np.where((~p & q) | p, WORDS, OTHERS) ^ np.where(~p & q, U32(0xFFFFFFFF), U32(0))
    assert np.array_equal(got, want)


def test_vector_constants_and_arithmetic():
    body = """
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %s = dstc_tile.splat 1073741824 : vector<2xf32>
  %m = arith.mulf %v, %s : vector<2xf32>
  %c = arith.cmpi ult, %lane, %c4 : i32
  %w = arith.select %c, %m, %v : vector<2xf32>
  %r = dstc_tile.extract %w[1] : vector<2xf32> -> f32"""
    got = per_lane(body, result="f32")
    assert got.tolist() == [4.0] * 4 + [2.0] * 28


def test_pack_rounds_to_nearest_even_and_unpack_is_exact():
    x = np.concatenate([np.array([2049, 2051, 65519, 65520, 1e-8, 6e-8, -0.0], F32),
                        RNG.normal(size=25).astype(F32)])  # fmt: skip
    packed = per_lane("  %r = dstc_tile.pack %a0, %a1", x, x[::-1].copy())
    with np.errstate(over="ignore"):
        half = x.astype(F16).view(np.uint16).astype(U32)
    assert np.array_equal(packed, half | half[::-1] << 16)
    low = per_lane("  %r = dstc_tile.unpack %a0", packed, result="f32")
    high = per_lane("  %r = dstc_tile.unpack high %a0", packed, result="f32")
    assert np.array_equal(low, half.astype(np.uint16).view(F16).astype(F32))
    assert np.array_equal(high, low[::-1])


def test_ballot_and_shuffle():
    got = per_lane("  %p = arith.trunci %a0 : i32 to i1\n  %r = dstc_tile.ballot %p", WORDS)
    mask = sum(1 << i for i in range(32) if WORDS[i] & 1)
    assert got.tolist() == [mask] * 32
    got = per_lane("  %r = dstc_tile.shuffle %a0, %a1", WORDS, OTHERS)
    lanes = np.where(OTHERS < 32, OTHERS, np.arange(32))
    assert np.array_equal(got, WORDS[lanes])


@pytest.mark.parametrize("words", [1, 2, 4])
@pytest.mark.parametrize("space", ["global", "shared"])
def test_vector_accesses(words, space):
    x = RNG.integers(0, 2**32, (4, 32 * words), U32)
    kind = "i32" if words == 1 else f"vector<{words}xi32>"
    body = f"""
  %x = dstc_tile.id cta_x
  %z = dstc_tile.id cta_z
  %c2 = arith.constant 2 : i32
  %zz = arith.muli %z, %c2 : i32
  %cta = arith.addi %x, %zz : i32
  %width = arith.constant {4 * words} : i32
  %pitch = arith.constant {128 * words} : i32
  %row = arith.muli %cta, %pitch : i32
  %own = arith.muli %lane, %width : i32
  %at = arith.addi %row, %own : i32
  %from = arith.addi %in0, %at : i32
  %to = arith.addi %out0, %at : i32
  %v = dstc_tile.load global %from + 0 : {kind}
"""
    if space == "shared":
        body += f"""
  dstc_tile.store shared %v, %own + 0 : {kind}
  dstc_tile.barrier
  %v2 = dstc_tile.load shared %own + 0 : {kind}"""
    value = "%v2" if space == "shared" else "%v"
    body += f"\n  dstc_tile.store global {value}, %to + 0 : {kind}"
    (out,) = run_kernel(body, [x], [tensor(x.shape, U32)], grid=(2, 1, 2), shared=128 * words)
    assert np.array_equal(out, x)


@pytest.mark.parametrize("bits", [8, 16])
def test_narrow_accesses(bits):
    body = f"""
  %n = arith.constant {bits // 8} : i32
  %o = arith.muli %lane, %n : i32
  %from = arith.addi %in0, %o : i32
  %to = arith.addi %out0, %o : i32
  %v = dstc_tile.load global %from + 0 bits {bits} : i32
  %w = arith.addi %v, %c4 : i32
  dstc_tile.store global %w, %to + 0 bits {bits} : i32"""
    (out,) = run_kernel(body, [WORDS], [tensor((32,), U32)])
    dtype = {8: np.uint8, 16: np.uint16}[bits]
    want = np.zeros(32, U32)
    want.view(dtype)[:32] = WORDS.view(dtype)[:32] + dtype(4)
    assert np.array_equal(out, want)


def test_predicated_access_never_touches_masked_lanes():
    body = """
  %p = arith.cmpi ult, %lane, %c4 : i32
  %far = arith.constant -16 : i32
  %near = arith.addi %in0, %lane4 : i32
  %at = arith.select %p, %near, %far : i32
  %d = arith.constant 7 : i32
  %v = dstc_tile.load global %at + 0 if %p else %d : i32 : i32
  %q = arith.cmpi ugt, %lane, %c4 : i32
  %to = arith.addi %out0, %lane4 : i32
  %wild = arith.select %q, %to, %far : i32
  dstc_tile.store global %v, %wild + 0 if %q : i32
  %o1 = arith.addi %out1, %lane4 : i32
  dstc_tile.store global %v, %o1 + 0 : i32"""
    stored, loaded = run_kernel(body, [WORDS], [tensor((32,), U32)] * 2)
    assert loaded.tolist() == [*WORDS[:4].tolist(), *[7] * 28]
    assert stored.tolist() == [0] * 5 + [7] * 27


def test_of_conflicting_stores_the_highest_lane_wins():
    (out,) = run_kernel("  dstc_tile.store global %lane, %out0 + 8 : i32", [], ["tensor<4xi32>"])
    assert out.tolist() == [0, 0, 31, 0]


def test_atomic_ors_of_all_lanes_meet_in_one_word():
    body = """
  %c3 = arith.constant 3 : i32
  %some = arith.cmpi ugt, %lane, %c3 : i32
  %c1 = arith.constant 1 : i32
  %bit = arith.shli %c1, %lane : i32
  dstc_tile.atomic_or %bit, %out0 + 4 if %some"""
    (out,) = run_kernel(body, [], ["tensor<2xi32>"], grid=(3, 1, 1), warps=2)
    assert out.tolist() == [0, 0xFFFFFFF0]


def test_combine_makes_one_store_of_two():
    x = RNG.standard_normal(32).astype(F32)
    body = """
  %c8 = arith.constant 8 : i32
  %from = arith.addi %in0, %lane4 : i32
  %v = dstc_tile.load global %from + 0 : f32
  %n = arith.negf %v : f32
  %both = dstc_tile.combine %v, %n : f32, f32 -> vector<2xf32>
  %to8 = arith.muli %lane, %c8 : i32
  %to = arith.addi %out0, %to8 : i32
  dstc_tile.store global %both, %to + 0 : vector<2xf32>"""
    (out,) = run_kernel(body, [x], ["tensor<64xf32>"])
    assert np.array_equal(out.reshape(32, 2), np.stack([x, -x], axis=-1))


def test_loop_if_and_ballot():
    """Per warp of each CTA: how many of 32 numbers have bit i set, for the lanes' i."""
    x = RNG.integers(0, 2**32, (6, 32), U32)
    body = """
  %cta = dstc_tile.id cta_y
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c32 = arith.constant 32 : i32
  %c2 = arith.constant 2 : i32
  %c128 = arith.constant 128 : i32
  %r0 = arith.muli %cta, %c2 : i32
  %row = arith.addi %r0, %warp : i32
  %bytes = arith.muli %row, %c128 : i32
  %base = arith.addi %bytes, %lane4 : i32
  %from = arith.addi %in0, %base : i32
  %word = dstc_tile.load global %from + 0 : i32
  %sum = scf.for %i = %c0 to %c32 step %c1 iter_args(%acc = %c0) -> (i32) : i32 {
    %s = arith.shrui %word, %i : i32
    %p = arith.trunci %s : i32 to i1
    %mask = dstc_tile.ballot %p
    %n = dstc_tile.popcount %mask
    %mine = arith.cmpi eq, %i, %lane : i32
    %next = scf.if %mine -> (i32) {
      %t = arith.addi %acc, %n : i32
      scf.yield %t : i32
    } else {
      scf.yield %acc : i32
    }
    scf.yield %next : i32
  }
  %to = arith.addi %out0, %base : i32
  dstc_tile.store global %sum, %to + 0 : i32"""
    (out,) = run_kernel(body, [x], [tensor(x.shape, U32)], grid=(1, 3, 1), warps=2)
    want = (x[:, :, None] >> np.arange(32, dtype=U32) & 1).sum(axis=1)
    assert np.array_equal(out, want)


def test_loops_that_differ_by_lane_and_warp():
    """Sum of lane, lane + 2, ... below 40 + warp, and how often the loop ran."""
    body = """
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c40 = arith.constant 40 : i32
  %c128 = arith.constant 128 : i32
  %end = arith.addi %c40, %warp : i32
  %sum, %n = scf.for %i = %lane to %end step %c2 iter_args(%s = %c0, %m = %c0) -> (i32, i32) : i32 {
    %s1 = arith.addi %s, %i : i32
    %m1 = arith.addi %m, %c1 : i32
    scf.yield %s1, %m1 : i32, i32
  }
  %row = arith.muli %warp, %c128 : i32
  %at = arith.addi %row, %lane4 : i32
  %p = arith.addi %out0, %at : i32
  %q = arith.addi %out1, %at : i32
  dstc_tile.store global %sum, %p + 0 : i32
  dstc_tile.store global %n, %q + 0 : i32"""
    total, count = run_kernel(body, [], [tensor((2, 32), U32)] * 2, warps=2)
    for w in range(2):
        for lane in range(32):
            assert total[w, lane] == sum(range(lane, 40 + w, 2))
            assert count[w, lane] == len(range(lane, 40 + w, 2))


def test_negative_bounds_and_empty_loops():
    body = """
  %m3 = arith.constant -3 : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %s = scf.for %i = %m3 to %c1 step %c1 iter_args(%a = %c0) -> (i32) : i32 {
    %t = arith.addi %a, %i : i32
    scf.yield %t : i32
  }
  %r = scf.for %i = %c1 to %m3 step %c1 iter_args(%a = %s) -> (i32) : i32 {
    scf.yield %c0 : i32
  }"""
    assert i32(per_lane(body)).tolist() == [-6] * 32


def test_masks_nest_and_merge():
    """Divergent ifs in a divergent loop; stores happen only in the lanes that reach them."""
    body = """
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c3 = arith.constant 3 : i32
  %to = arith.addi %out0, %lane4 : i32
  scf.for %i = %c0 to %lane step %c1 : i32 {
    %odd = arith.trunci %i : i32 to i1
    scf.if %odd {
      %low = arith.cmpi ult, %lane, %c4 : i32
      scf.if %low {
        dstc_tile.store global %i, %to + 0 : i32
      } else {
        %neg = arith.subi %c0, %i : i32
        dstc_tile.store global %neg, %to + 0 : i32
      }
    }
  }"""
    (out,) = run_kernel(body, [], ["tensor<32xi32>"])
    want = np.zeros(32, np.int64)
    for lane in range(32):
        for i in range(lane):
            if i % 2:
                want[lane] = i if lane < 4 else -i
    assert np.array_equal(i32(out), want)


def test_while_loop():
    """Number of ones by clearing the lowest, and the rest, which is 0."""
    body = """
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %rest, %n = scf.while (%x = %a0, %k = %c0) : (i32, i32) -> (i32, i32) {
    %more = arith.cmpi ne, %x, %c0 : i32
    scf.condition(%more) %x, %k : i32, i32
  } do {
  ^bb1(%x1: i32, %k1: i32):
    %m = arith.subi %x1, %c1 : i32
    %x2 = arith.andi %x1, %m : i32
    %k2 = arith.addi %k1, %c1 : i32
    scf.yield %x2, %k2 : i32, i32
  }
  %r = arith.ori %rest, %n : i32"""
    assert per_lane(body, WORDS).tolist() == [int(w).bit_count() for w in WORDS]


def rank_one(a, b, start=None):
    acc = np.zeros((a.shape[0], b.shape[1]), F32) if start is None else start.copy()
    for k in range(a.shape[1]):
        acc += a[:, k, None].astype(F32) * b[None, k, :].astype(F32)
    return acc


def fragment(tile, operand, layout):
    """32 lanes x 4 words of a 16 x 16 f16 tile, from the layout's functions."""
    words = np.zeros((32, 4, 2), F16)
    for i in range(16):
        for k in range(16):
            if operand == "a":
                lane, half = hmma_a_position(layout, i, k % 4)
                words[lane, k // 4, half] = tile[i, k]
            else:
                lane, half = hmma_b_position(layout, k % 4, i)
                words[lane, k // 4, half] = tile[k, i]
    return words.reshape(32, 8).view(U32)


def accumulator(registers):
    """16 x 16 of 32 lanes x 8 registers."""
    tile = np.zeros((16, 16), F32)
    for row in range(16):
        for column in range(16):
            step = 2 * (row // 8) + column // 8
            lane, register = hmma_d_position(step, row % 8, column % 8)
            tile[row, column] = registers[lane, 2 * step + register]
    return tile


def store_vector(value, output="%out0", tag=""):
    """Stores a vector<8xf32> as 32 bytes a lane."""
    lines = [
        f"  %c32{tag} = arith.constant 32 : i32",
        f"  %ro{tag} = arith.muli %lane, %c32{tag} : i32",
        f"  %rp{tag} = arith.addi {output}, %ro{tag} : i32",
    ]
    for i in range(8):
        lines += [
            f"  %e{tag}_{i} = dstc_tile.extract {value}[{i}] : vector<8xf32> -> f32",
            f"  dstc_tile.store global %e{tag}_{i}, %rp{tag} + {4 * i} : f32",
        ]
    return "\n".join(lines)


@pytest.mark.parametrize("layout_a", ["AROW", "ACOL"])
@pytest.mark.parametrize("layout_b", ["BROW", "BCOL"])
def test_hmma_from_shared_memory(layout_a, layout_b):
    """16 x 16 x 32: two steps, the second adds to the first."""
    a, b = RNG.normal(size=(16, 32)).astype(F16), RNG.normal(size=(32, 16)).astype(F16)
    parts = [fragment(a[:, s], "a", layout_a) for s in (slice(0, 16), slice(16, 32))]
    parts += [fragment(b[s], "b", layout_b) for s in (slice(0, 16), slice(16, 32))]
    body = """
  %c16 = arith.constant 16 : i32
  %own = arith.muli %lane, %c16 : i32
  %from = arith.addi %in0, %own : i32
"""
    for i in range(4):
        body += f"""
  %g{i} = dstc_tile.load global %from + {512 * i} : vector<4xi32>
  dstc_tile.store shared %g{i}, %own + {512 * i} : vector<4xi32>"""
    body += "\n  dstc_tile.barrier\n  %c = dstc_tile.splat 0 : vector<8xf32>\n"
    for i in range(4):
        body += f"  %f{i} = dstc_tile.load shared %own + {512 * i} : vector<4xi32>\n"
    body += f"""
  %d0 = dstc_tile.hmma "{layout_a}" "{layout_b}" %f0, %f2, %c
  %d1 = dstc_tile.hmma "{layout_a}" "{layout_b}" %f1, %f3, %d0
{store_vector("%d1")}"""
    (out,) = run_kernel(body, [np.stack(parts).reshape(-1)], ["tensor<256xf32>"], shared=2048)
    assert np.array_equal(accumulator(out.reshape(32, 8)), rank_one(a, b))


def sparse(rng, shape, density):
    return np.where(rng.random(shape) < density, rng.normal(size=shape), 0).astype(F16)


def spwmma_body(layout_a, layout_b, k_tiles, high, transposed):
    """One 32 x 32 tile over k_tiles steps; the bitmaps sit in the low or high half of the lanes."""
    side = "{high_a, high_b}" if high else ""
    lanes = "%hi" if high else "%lane"
    body = f"""
  %c16 = arith.constant 16 : i32
  %hi = arith.subi %lane, %c16 : i32
  %has = arith.cmpi ult, {lanes}, %c16 : i32
  %word = arith.muli {lanes}, %c4 : i32
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %steps = arith.constant {k_tiles} : i32
  %c64 = arith.constant 64 : i32
  %lane16 = arith.muli %lane, %c16 : i32
  dstc_tile.acc_clear 1
  scf.for %k = %zero to %steps step %one : i32 {{
    %h = arith.muli %k, %c4 : i32
    %e = arith.muli %k, %c64 : i32
    %we = arith.addi %word, %e : i32
"""
    for i, at in enumerate((layout_a, layout_b)):
        body += f"""
    %h{i} = arith.addi %in{i}, %h : i32
    %n{i} = dstc_tile.load global %h{i} + {at.headers_offset} : i32
    %values{i} = arith.constant {at.values_offset} : i32
    %vs{i} = arith.addi %in{i}, %values{i} : i32
    %va{i} = arith.addi %vs{i}, %lane16 : i32
    %vals{i} = dstc_tile.load_values %va{i}, %n{i} : vector<8xi32>
    %w{i} = arith.addi %in{i}, %we : i32
    %bits{i} = dstc_tile.load global %w{i} + {at.bitmaps_offset} if %has else %zero : i32 : i32"""
    body += f"""
    dstc_tile.spwmma 1, %vals0 %bits0, %vals1 %bits1 {side} : vector<8xi32>, vector<8xi32>
  }}"""
    for part in range(4):
        body += f"""
  %part{part} = dstc_tile.acc_read 1, {part} {"transposed" if transposed else ""}
  %offset{part} = arith.constant {1024 * part} : i32
  %base{part} = arith.addi %out0, %offset{part} : i32
{store_vector(f"%part{part}", f"%base{part}", f"_{part}")}"""
    return body


@pytest.mark.parametrize(
    ("k", "da", "db", "high", "transposed"),
    [(16, 0.5, 0.5, False, False), (48, 0.1, 0.3, True, True), (40, 1.0, 0.6, False, True),
     (16, 0.0, 1.0, True, False), (16, 1.0, 1.0, False, False)],
)  # fmt: skip
def test_spwmma_on_encoded_operands(k, da, db, high, transposed):
    rng = np.random.default_rng(k)
    a, b = sparse(rng, (32, k), da), sparse(rng, (k, 32), db)
    la, lb = BitmapLayout(32, k), BitmapLayout(32, k)
    (out,) = run_kernel(
        spwmma_body(la, lb, la.k_tiles, high, transposed),
        [a, b],
        ["tensor<1024xf32>"],
        acc=2,
        types=[f"!dstc.bitmap<32x{k}xf16, a>", f"!dstc.bitmap<{k}x32xf16, b>"],
    )
    # part p, lane l, register r: row 8p + r, column l (or the other way round)
    tile = out.reshape(4, 32, 8).transpose(0, 2, 1).reshape(32, 32)
    want = rank_one(a, b)
    assert np.array_equal(tile.T if transposed else tile, want)


def test_spwmma_skips_zero_times_infinity():
    a, b = sparse(RNG, (32, 16), 0.5), sparse(RNG, (16, 32), 0.5)
    a[3, 5] = np.inf
    b[5, :] = 0
    b[5, 7] = 2
    a[:, 6] = 0
    b[6, 9] = np.nan
    layout = BitmapLayout(32, 16)
    (out,) = run_kernel(
        spwmma_body(layout, layout, 1, False, False),
        [a, b],
        ["tensor<1024xf32>"],
        acc=2,
        types=["!dstc.bitmap<32x16xf16, a>", "!dstc.bitmap<16x32xf16, b>"],
    )
    tile = out.reshape(4, 32, 8).transpose(0, 2, 1).reshape(32, 32)
    assert tile[3, 7] == np.inf
    finite = np.isfinite(tile)
    assert not finite[3, 7] and finite.sum() == 1023


def test_load_values_places_the_stream():
    values = np.arange(1, 513).astype(F16)
    body = f"""
  %n = arith.constant {tile_header(16, 301)} : i32
  %c16 = arith.constant 16 : i32
  %lane16 = arith.muli %lane, %c16 : i32
  %from = arith.addi %in0, %lane16 : i32
  %v = dstc_tile.load_values %from, %n : vector<8xi32>
  %c32 = arith.constant 32 : i32
  %o = arith.muli %lane, %c32 : i32
  %p = arith.addi %out0, %o : i32
"""
    for i in range(8):
        body += f"  %e{i} = dstc_tile.extract %v[{i}] : vector<8xi32> -> i32\n"
        body += f"  dstc_tile.store global %e{i}, %p + {4 * i} : i32\n"
    (out,) = run_kernel(body, [values], ["tensor<256xi32>"])
    halves = out.view(F16).reshape(32, 8, 2)
    for i in range(301):
        register, lane, half = value_position(i)
        assert halves[lane, register, half] == values[8 + i]


def test_bitmap_results_are_read_back():
    """A kernel that encodes one 32 x 16 tile of a dense matrix (side a) into a slot."""
    x = sparse(RNG, (32, 16), 0.4)
    x[0, 0] = -0.0
    layout = BitmapLayout(32, 16)
    pitch = DenseLayout.of(x.shape, 2).pitch * 2
    body = f"""
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %two = arith.constant 2 : i32
  %pitch = arith.constant {pitch} : i32
  %row = arith.muli %lane, %pitch : i32
  %from = arith.addi %in0, %row : i32
  %below = arith.shli %one, %lane : i32
  %mask = arith.subi %below, %one : i32
  %c16 = arith.constant 16 : i32
  %magnitude = arith.constant 32767 : i32
  %n = scf.for %k = %zero to %c16 step %one iter_args(%count = %zero) -> (i32) : i32 {{
    %k2 = arith.muli %k, %two : i32
    %at = arith.addi %from, %k2 : i32
    %v = dstc_tile.load global %at + 0 bits 16 : i32
    %m = arith.andi %v, %magnitude : i32
    %nz = arith.cmpi ne, %m, %zero : i32
    %word = dstc_tile.ballot %nz
    %before = arith.andi %word, %mask : i32
    %rank = dstc_tile.popcount %before
    %index = arith.addi %count, %rank : i32
    %i2 = arith.muli %index, %two : i32
    %to = arith.addi %out0, %i2 : i32
    dstc_tile.store global %v, %to + {layout.values_offset} bits 16 if %nz : i32
    %k4 = arith.muli %k, %c4 : i32
    %wp = arith.addi %out0, %k4 : i32
    dstc_tile.store global %word, %wp + {layout.bitmaps_offset} : i32
    %more = dstc_tile.popcount %word
    %next = arith.addi %count, %more : i32
    scf.yield %next : i32
  }}
  %seven = arith.constant 7 : i32
  %three = arith.constant 3 : i32
  %up = arith.addi %n, %seven : i32
  %pieces = arith.shrui %up, %three : i32
  dstc_tile.store global %pieces, %out0 + {layout.headers_offset} : i32
  %full = arith.constant {NARROW_VALUES} : i32
  %wide = arith.cmpi ugt, %n, %full : i32
  %start = arith.extui %wide : i1 to i32
  dstc_tile.store global %start, %out0 + {layout.starts_offset} : i32
  %any = arith.cmpi ne, %n, %zero : i32
  %bit = arith.extui %any : i1 to i32
  dstc_tile.store global %bit, %out0 + 0 : i32"""
    (out,) = run_kernel(body, [x], ["!dstc.bitmap<32x16xf16, a>"])
    assert np.array_equal(out, x) and not np.signbit(out[0, 0])


@given(st.lists(st.integers(1, 70), min_size=1, max_size=3), st.sampled_from([F16, F32, U32]))
@settings(max_examples=20, deadline=None)
def test_dense_layout_round_trip(shape, dtype):
    """Copy whole allocations word by word: padding included, the value comes back."""
    x = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    words = DenseLayout.of(tuple(shape), x.itemsize).bytes // 4
    body = f"""
  %x = dstc_tile.id cta_x
  %c128 = arith.constant 128 : i32
  %base = arith.muli %x, %c128 : i32
  %o = arith.addi %base, %lane4 : i32
  %end = arith.constant {4 * words} : i32
  %p = arith.cmpi ult, %o, %end : i32
  %z = arith.constant 0 : i32
  %a = arith.addi %in0, %o : i32
  %b = arith.addi %out0, %o : i32
  %v = dstc_tile.load global %a + 0 if %p else %z : i32 : i32
  dstc_tile.store global %v, %b + 0 if %p : i32"""
    (out,) = run_kernel(body, [x], [tensor(shape, dtype)], grid=(-(-words // 32), 1, 1))
    assert out.dtype == x.dtype and np.array_equal(out, x)


ERRORS = {
    "out of bounds": (
        "  %p = arith.addi %out0, %lane4 : i32\n"
        "  dstc_tile.store global %lane, %p + 4 : i32",
        r"kernel k: dstc_tile.store .*\(?.*\)?: CTA \(0, 0, 0\), warp 0, lane 31: address 0x180: "
        r"4 bytes there are not within one allocation \(0x100..0x17f\)",
    ),
    "null": (
        "  %z = arith.constant 0 : i32\n  %v = dstc_tile.load global %z + 0 : i32",
        r"lane 0: address 0x0: 4 bytes there are not within",
    ),
    "misaligned": (
        "  %p = arith.addi %out0, %lane4 : i32\n"
        "  %v = dstc_tile.load global %p + 0 : vector<2xi32>",
        r"warp 0, lane 1: address 0x104: not a multiple of 8",
    ),
    "no shared memory": (
        "  %v = dstc_tile.load shared %lane4 + 0 : i32",
        r"lane 0: address 0x0: 4 bytes there are not within one allocation \(none\)",
    ),
    "divergent hmma": (
        '  %f = dstc_tile.splat 0 : vector<4xi32>\n  %c = dstc_tile.splat 0 : vector<8xf32>\n'
        "  %p = arith.cmpi ult, %lane, %c4 : i32\n"
        '  scf.if %p {\n  %d = dstc_tile.hmma "AROW" "BROW" %f, %f, %c\n  }',
        r"lane 4: needs all 32 lanes of the warp, but this one does not run; move it out",
    ),
    "divergent barrier": (
        "  %p = arith.cmpi ult, %lane, %c4 : i32\n  scf.if %p {\n  dstc_tile.barrier\n  }",
        r"dstc_tile.barrier.*lane 4: is not at this barrier, but other lanes are",
    ),
    "division by zero": (
        "  %q = arith.divui %c4, %lane : i32",
        r"lane 0: division by zero",
    ),
    "step": (
        "  scf.for %i = %c4 to %c4 step %lane : i32 {\n  }",
        r"scf.for.*lane 0: the step is 0; it must be positive",
    ),
    "address differs": (
        "  %v = dstc_tile.load_values %lane4, %c4 : vector<8xi32>",
        r"lane 1: the address less 16 bytes a lane is 4294967284, not that of lane 0",
    ),
    "too many values": (
        "  %n = arith.constant 65 : i32\n  %l16 = arith.muli %lane4, %c4 : i32\n"
        "  %v = dstc_tile.load_values %l16, %n : vector<8xi32>",
        r"lane 0: 520 values; the registers hold at most 512",
    ),
    "unknown op": (
        "  %h, %l = arith.mului_extended %lane, %lane : i32",
        r"the interpreter does not know this op in a kernel",
    ),
    "unknown type": (
        "  %v = arith.constant 1 : i16",
        r"kernels compute on i32, i1 and f32 only",
    ),
    "i1 arithmetic": (
        "  %p = arith.trunci %lane : i32 to i1\n  %q = arith.addi %p, %p : i1",
        r"not for i1; use andi, ori or xori",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_op_and_first_lane(case):
    body, want = ERRORS[case]
    with pytest.raises(DstcError, match=want) as e:
        run_kernel(body, [], ["tensor<32xi32>"])
    assert "\n" not in str(e.value) and str(e.value).startswith("kernel k: ")


def test_error_in_another_cta():
    body = """
  %x = dstc_tile.id cta_x
  %y = dstc_tile.id cta_y
  %p = arith.cmpi eq, %x, %y : i32
  %one = arith.constant 1 : i32
  %q = arith.cmpi eq, %y, %one : i32
  %r = arith.andi %p, %q : i1
  %bad = arith.constant 2 : i32
  dstc_tile.store global %bad, %bad + 0 if %r : i32"""
    with pytest.raises(DstcError, match=r"CTA \(1, 1, 0\), warp 0, lane 0: address 0x2: "):
        run_kernel(body, [], ["tensor<32xi32>"], grid=(3, 2, 1))


LAUNCH = """
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {{
^bb0(%x: i32):
  dstc_tile.return
}}
func.func @main(%x: {0}) -> {0} {{
  %y = dstc_tile.launch @{1}(%x) {{op = "copy"}} : ({0}) -> {0}
  func.return %y : {0}
}}
"""


@pytest.mark.parametrize(
    ("type_", "kernel", "want"),
    [
        ("tensor<4xf32>", "other", "launch of other: the module has no such dstc_tile.kernel"),
        ("tensor<4xf32>", "k", "launch of k: 1 inputs and 1 results, but the kernel has 1 param"),
        ("tensor<4xf64>", "k", "launch of k: tensor<4xf64> has no place in device memory"),
    ],
)
def test_launch_errors(type_, kernel, want):
    with pytest.raises(DstcError, match=want):
        run_text(LAUNCH.format(type_, kernel), [np.zeros(4, F32)])


def test_input_of_another_shape():
    text = LAUNCH.format("tensor<4xf32>", "k").replace('["x"]', '["x", "y"]')
    text = text.replace("^bb0(%x: i32)", "^bb0(%x: i32, %y: i32)")
    with pytest.raises(DstcError, match=r"input 0 is \(5,\), the IR says \(4,\)"):
        run_text(text, [np.zeros(5, F32)])


def hmma_gemm(m, n, k):
    """A warp a 16 x 16 tile, fragments straight from row-major global memory."""
    pitch_a, pitch_b, pitch_c = 2 * k, 2 * n, 4 * n
    text = f"""
  %x = dstc_tile.id cta_x
  %y = dstc_tile.id cta_y
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %two = arith.constant 2 : i32
  %three = arith.constant 3 : i32
  %seven = arith.constant 7 : i32
  %c8 = arith.constant 8 : i32
  %c32 = arith.constant 32 : i32
  %c64 = arith.constant 64 : i32
  %pa = arith.constant {pitch_a} : i32
  %pb = arith.constant {pitch_b} : i32
  %pc = arith.constant {pitch_c} : i32
  %pa16 = arith.constant {16 * pitch_a} : i32
  %pb16 = arith.constant {16 * pitch_b} : i32
  %pc16 = arith.constant {16 * pitch_c} : i32
  %steps = arith.constant {k // 16} : i32
  %row_a = arith.divui %lane, %two : i32
  %ra = arith.muli %row_a, %pa : i32
  %odd = arith.andi %lane, %one : i32
  %ca = arith.muli %odd, %c4 : i32
  %ta = arith.muli %y, %pa16 : i32
  %a1 = arith.addi %ra, %ca : i32
  %a2 = arith.addi %a1, %ta : i32
  %a3 = arith.addi %a2, %in0 : i32
  %row_b = arith.divui %lane, %c8 : i32
  %rb = arith.muli %row_b, %pb : i32
  %pair = arith.andi %lane, %seven : i32
  %cb = arith.muli %pair, %c4 : i32
  %tb = arith.muli %x, %c32 : i32
  %b1 = arith.addi %rb, %cb : i32
  %b2 = arith.addi %b1, %tb : i32
  %b3 = arith.addi %b2, %in1 : i32
  %row_c = arith.divui %lane, %c4 : i32
  %rc = arith.muli %row_c, %pc : i32
  %quad = arith.andi %lane, %three : i32
  %cc = arith.muli %quad, %c8 : i32
  %tc = arith.muli %x, %c64 : i32
  %tr = arith.muli %y, %pc16 : i32
  %o1 = arith.addi %rc, %cc : i32
  %o2 = arith.addi %o1, %tc : i32
  %o3 = arith.addi %o2, %tr : i32
  %o4 = arith.addi %o3, %out0 : i32
  %clear = dstc_tile.splat 0 : vector<8xf32>
  %own16 = arith.muli %lane, %sixteen : i32
  %d = scf.for %i = %zero to %steps step %one iter_args(%acc = %clear) -> (vector<8xf32>) : i32 {{
    %ka = arith.muli %i, %c32 : i32
    %aa = arith.addi %a3, %ka : i32
    %kb = arith.muli %i, %pb16 : i32
    %ba = arith.addi %b3, %kb : i32
"""
    for j in range(4):
        text += f"""
    %a_{j} = dstc_tile.load global %aa + {8 * j} : i32
    dstc_tile.store shared %a_{j}, %own16 + {4 * j} : i32
    %b_{j} = dstc_tile.load global %ba + {4 * j * pitch_b} : i32
    dstc_tile.store shared %b_{j}, %own16 + {512 + 4 * j} : i32"""
    text += """
    %fa = dstc_tile.load shared %own16 + 0 : vector<4xi32>
    %fb = dstc_tile.load shared %own16 + 512 : vector<4xi32>
    %next = dstc_tile.hmma "AROW" "BROW" %fa, %fb, %acc
    scf.yield %next : vector<8xf32>
  }"""
    for s in range(4):
        for r in range(2):
            at = 8 * (s // 2) * pitch_c + 32 * (s % 2) + 4 * r
            text += f"""
  %e{s}{r} = dstc_tile.extract %d[{2 * s + r}] : vector<8xf32> -> f32
  dstc_tile.store global %e{s}{r}, %o4 + {at} : f32"""
    return "  %sixteen = arith.constant 16 : i32\n" + text


def test_gemm_512_is_exact():
    size = 512
    a, b = RNG.normal(size=(size, size)).astype(F16), RNG.normal(size=(size, size)).astype(F16)
    (out,) = run_kernel(
        hmma_gemm(size, size, size),
        [a, b],
        [tensor((size, size), F32)],
        grid=(size // 16, size // 16, 1),
        shared=1024,
    )
    assert np.array_equal(out, rank_one(a, b))
