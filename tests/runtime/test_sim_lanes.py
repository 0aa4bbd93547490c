"""Lane-wise instructions against numpy: every form, on edge values, and masked.

In: the instruction table and numpy formulas. Out: equal bits.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.table import INSTRUCTIONS
from dstc.runtime.device import Device
from dstc.runtime.sim.constants import MODELLED

from .sim_kernels import kernel, lanes

U, F = np.uint32, np.float32
RNG = np.random.default_rng(7)
EDGES = np.array(
    [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 31, 32, 33, 0xAAAAAAAA, 0x55555555, 5, 64],
    U,
)
INTS = [
    (RNG.choice(EDGES, 32), RNG.choice(EDGES, 32), RNG.choice(EDGES, 32)),
    tuple(RNG.integers(0, 1 << 32, 32, dtype=np.uint64).astype(U) for _ in range(3)),
    (
        RNG.integers(0, 1 << 32, 32, dtype=np.uint64).astype(U),
        np.arange(32, dtype=U) + 8,
        RNG.integers(0, 1 << 32, 32, dtype=np.uint64).astype(U),
    ),
]
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, -3.4e38, 0.1, 65504.0, 65520.0,
     6e-8, 3e-8, 2.9802322e-08, 1.5, 1e10, -1e10, 2**31, -(2**31), 4294967040.0, 6.1e-5, 0.99],
    F,
)  # fmt: skip
FLOATS = [
    tuple(RNG.choice(SPECIAL, 32) for _ in range(3)),
    tuple(RNG.choice(SPECIAL, 32) for _ in range(3)),
    tuple((RNG.standard_normal(32) * 10.0 ** RNG.integers(-8, 8, 32)).astype(F) for _ in range(3)),
]
PRED = RNG.integers(0, 2, 32).astype(U)


def s(x):
    return x.view(np.int32)


def wide(x):
    return x.astype(np.uint64)


def low(x):
    return (x & np.uint64(0xFFFFFFFF)).astype(U)


def shift(x, n, f):
    return np.array([f(int(v), int(k)) & 0xFFFFFFFF for v, k in zip(x, n, strict=True)], U)


def prmt(a, b, c):
    out = []
    for x, n, y in zip(a, b, c, strict=True):
        pair = int(x) | int(y) << 32
        out.append(sum((pair >> 8 * (int(n) >> 4 * i & 7) & 0xFF) << 8 * i for i in range(4)))
    return np.array(out, U)


def shfl(pick):
    def f(a, b, c):
        to = np.array([pick(i, int(n)) for i, n in enumerate(b)])
        return a[np.where((to >= 0) & (to < 32), to, np.arange(32))]

    return f


def funnel(left):
    def f(a, b, c):
        both = wide(c) << np.uint64(32) | wide(a)
        n = wide(b) & np.uint64(31)
        return low((both << n) >> np.uint64(32)) if left else low(both >> n)

    return f


INTEGER = {
    "MOV R8, R4": lambda a, b, c: a,
    "SEL R8, R4, R5, P1": lambda a, b, c: np.where(PRED != 0, a, b),
    "SEL R8, R4, R5, !P1": lambda a, b, c: np.where(PRED == 0, a, b),
    "PRMT R8, R4, R5, R6": prmt,
    "SHFL.IDX R8, R4, R5": shfl(lambda i, n: n if n < 32 else 99),
    "SHFL.UP R8, R4, R5": shfl(lambda i, n: i - n),
    "SHFL.DOWN R8, R4, R5": shfl(lambda i, n: i + n),
    "SHFL.BFLY R8, R4, R5": shfl(lambda i, n: i ^ n),
    "IADD3 R8, R4, R5, R6": lambda a, b, c: a + b + c,
    "IADD3 R8, R4, 0x12345, RZ": lambda a, b, c: a + U(0x12345),
    "ISUB R8, R4, R5": lambda a, b, c: a - b,
    "IMAD.LO R8, R4, R5, R6": lambda a, b, c: a * b + c,
    "IMAD.HI R8, R4, R5, R6": lambda a, b, c: low(wide(a) * wide(b) >> np.uint64(32)) + c,
    "IMNMX.MIN.U32 R8, R4, R5": lambda a, b, c: np.minimum(a, b),
    "IMNMX.MAX.U32 R8, R4, R5": lambda a, b, c: np.maximum(a, b),
    "IMNMX.MIN.S32 R8, R4, R5": lambda a, b, c: np.minimum(s(a), s(b)),
    "IMNMX.MAX.S32 R8, R4, R5": lambda a, b, c: np.maximum(s(a), s(b)),
    "LOP.AND R8, R4, R5": lambda a, b, c: a & b,
    "LOP.OR R8, R4, R5": lambda a, b, c: a | b,
    "LOP.XOR R8, R4, R5": lambda a, b, c: a ^ b,
    "LOP.ANDN R8, R4, R5": lambda a, b, c: a & ~b,
    "SHL R8, R4, R5": lambda a, b, c: shift(a, b, lambda v, k: v << k if k < 32 else 0),
    "SHR.U32 R8, R4, R5": lambda a, b, c: shift(a, b, lambda v, k: v >> k if k < 32 else 0),
    "SHR.S32 R8, R4, R5": lambda a, b, c: shift(s(a), b, lambda v, k: v >> min(k, 31)),
    "SHF.L R8, R4, R5, R6": funnel(True),
    "SHF.R R8, R4, R5, R6": funnel(False),
    "POPC R8, R4": lambda a, b, c: np.bitwise_count(a).astype(U),
    "FLO R8, R4": lambda a, b, c: np.array([int(x).bit_length() - 1 for x in a], np.int64),
    "BREV R8, R4": lambda a, b, c: np.array([int(f"{x:032b}"[::-1], 2) for x in a], U),
    "I2F.U32 R8, R4": lambda a, b, c: a.astype(F),
    "I2F.S32 R8, R4": lambda a, b, c: s(a).astype(F),
    "VOTE.BALLOT R8, P1": lambda a, b, c: np.full(32, sum(int(v) << i for i, v in enumerate(PRED))),
    "VOTEP.ALL P0, P1": lambda a, b, c: np.full(32, PRED.all()),
    "VOTEP.ANY P0, P1": lambda a, b, c: np.full(32, PRED.any()),
    "PLOP.AND P0, P1, !P1": lambda a, b, c: np.zeros(32, bool),
    "PLOP.OR P0, P1, !P1": lambda a, b, c: np.ones(32, bool),
    "PLOP.XOR P0, P1, PT": lambda a, b, c: PRED == 0,
    "S2R R8, SR_LANE": lambda a, b, c: np.arange(32),
    "ISETP.EQ.U32 P0, R4, R5": lambda a, b, c: a == b,
    "ISETP.NE.U32 P0, R4, R5": lambda a, b, c: a != b,
    "ISETP.LT.U32 P0, R4, R5": lambda a, b, c: a < b,
    "ISETP.LE.S32 P0, R4, R5": lambda a, b, c: s(a) <= s(b),
    "ISETP.GT.S32 P0, R4, R5, P1": lambda a, b, c: (s(a) > s(b)) & (PRED != 0),
    "ISETP.GE.S32 P0, R4, R5, !P1": lambda a, b, c: (s(a) >= s(b)) & (PRED == 0),
    "ISETP.ANY.U32 P0, R4, R5": lambda a, b, c: (a & b) != 0,
    "ISETP.NONE.S32 P0, R4, R5, P1": lambda a, b, c: ((a & b) == 0) & (PRED != 0),
    "NOP": lambda a, b, c: np.zeros(32),
}


def fma(a, b, c):
    """f32 a * b + c rounded once, by exact rationals."""
    from fractions import Fraction

    out = []
    for x, y, z in zip(a, b, c, strict=True):
        values = float(x), float(y), float(z)
        if not all(np.isfinite(values)):
            out.append(F(x * y + z))
            continue
        exact = Fraction(values[0]) * Fraction(values[1]) + Fraction(values[2])
        if exact == 0:
            out.append(F(x * y + z))
            continue
        out.append(round_f32(exact))
    return np.array(out, F)


def round_f32(exact):
    """The f32 nearest to a rational, ties to even."""
    from fractions import Fraction

    size = abs(exact)
    exponent = max(-149, (size.numerator.bit_length() - size.denominator.bit_length()) - 25)
    while size / Fraction(2) ** exponent >= 1 << 24:
        exponent += 1
    value = round(size / Fraction(2) ** exponent) * Fraction(2) ** exponent
    result = F(np.inf) if value >= Fraction(2) ** 128 else F(float(value))
    return -result if exact < 0 else result


def extreme(pick, tie, number_wins=True):
    def f(a, b, c):
        r = pick(a, b)
        r = np.where((a == 0) & (b == 0), np.where(np.signbit(a) == tie, a, b), r)
        if not number_wins:
            return np.where(np.isnan(b), b, np.where(np.isnan(a), a, r)).astype(F)
        return np.where(np.isnan(a), b, np.where(np.isnan(b), a, r)).astype(F)

    return f


def to_int(low_, high, dtype):
    def f(a, b, c):
        clipped = np.clip(
            np.trunc(np.nan_to_num(a.astype(float), nan=0.0, posinf=1e20, neginf=-1e20)), low_, high
        )
        return clipped.astype(np.int64).astype(dtype)

    return f


def unary64(f):
    return lambda a, b, c: f(a.astype(np.float64)).astype(F)


def pack(a, b, c):
    low_, high = a.astype(np.float16), b.astype(np.float16)
    return low_.view(np.uint16).astype(U) | high.view(np.uint16).astype(U) << 16


FLOATING = {
    "FADD R8, R4, R5": lambda a, b, c: a + b,
    "FMUL R8, R4, R5": lambda a, b, c: a * b,
    "FMUL R8, R4, 2.5f": lambda a, b, c: a * F(2.5),
    "FFMA R8, R4, R5, R6": fma,
    "FMNMX.MIN R8, R4, R5": extreme(np.minimum, True),
    "FMNMX.MAX R8, R4, R5": extreme(np.maximum, False),
    "FMNMX.MIN.NAN R8, R4, R5": extreme(np.minimum, True, number_wins=False),
    "FMNMX.MAX.NAN R8, R4, R5": extreme(np.maximum, False, number_wins=False),
    "FSETP.EQ P0, R4, R5": lambda a, b, c: a == b,
    "FSETP.NE P0, R4, R5": lambda a, b, c: a != b,
    "FSETP.LT P0, R4, R5": lambda a, b, c: a < b,
    "FSETP.LE P0, R4, R5": lambda a, b, c: a <= b,
    "FSETP.GT P0, R4, R5": lambda a, b, c: a > b,
    "FSETP.GE P0, R4, R5": lambda a, b, c: a >= b,
    "MUFU.RCP R8, R4": unary64(lambda x: 1 / x),
    "MUFU.RSQ R8, R4": unary64(lambda x: 1 / np.sqrt(x)),
    "MUFU.SQRT R8, R4": unary64(np.sqrt),
    "MUFU.EX2 R8, R4": unary64(np.exp2),
    "MUFU.LG2 R8, R4": unary64(np.log2),
    "MUFU.TANH R8, R4": unary64(np.tanh),
    "MUFU.SIN R8, R4": unary64(np.sin),
    "MUFU.COS R8, R4": unary64(np.cos),
    "F2I.U32 R8, R4": to_int(0, 2**32 - 1, np.uint32),
    "F2I.S32 R8, R4": to_int(-(2**31), 2**31 - 1, np.int32),
    "PACK R8, R4, R5": pack,
}


def expected_bits(value) -> np.ndarray:
    value = np.asarray(value)
    if value.dtype == F:
        return value.view(U)
    if value.dtype == np.int32:
        return value.view(U)
    return (value.astype(np.int64) & 0xFFFFFFFF).astype(U)


def run(line, a, b, c):
    body = f"{line} ;\n" + ("SEL R8, R6, RZ, P0 ;\n" if " P0," in line else "")
    if " P0," in line:
        body = f"{line} ;\nMOV R9, 1 ;\nSEL R8, R9, RZ, P0 ;\n"
    return lanes(body, a, b, c, PRED)


def same(got, want, floating):
    if not floating:
        return np.array_equal(got, want)
    nan = np.isnan(want.view(F))
    return np.array_equal(np.isnan(got.view(F)), nan) and np.array_equal(got[~nan], want[~nan])


@pytest.mark.parametrize("line", INTEGER)
def test_integer_forms_equal_numpy(line):
    for a, b, c in INTS:
        want = expected_bits(INTEGER[line](a, b, c))
        assert np.array_equal(run(line, a, b, c), want)


@pytest.mark.parametrize("line", FLOATING)
@np.errstate(all="ignore")
def test_float_forms_equal_numpy(line):
    for a, b, c in FLOATS:
        want = FLOATING[line](a, b, c)
        floating = np.asarray(want).dtype == F
        got = run(line, a, b, c)
        if line.startswith("PACK"):
            halves, wanted = got.view(np.float16), expected_bits(want).view(np.float16)
            assert np.array_equal(halves, wanted, equal_nan=True)
        elif line.startswith("MUFU"):
            with_ulp = np.abs(got.view(np.int32).astype(int) - want.view(np.int32).astype(int))
            nan = np.isnan(want)
            assert np.array_equal(np.isnan(got.view(F)), nan)
            assert (with_ulp[~nan] <= 1).all()  # f64 libraries differ in their last place
        else:
            assert same(got, expected_bits(want), floating)


HALVES = """
.kernel halves
.param IN
.param OUT
S2R R0, SR_CTAID_X ;
SHL R0, R0, 5 ;
S2R R1, SR_LANE ;
IADD3 R0, R0, R1, RZ ;
SHL R1, R0, 2 ;
IADD3 R1, R1, c[IN], RZ ;
LDG.32 R2, [R1] ;
F2F.LO R4, R2 ;
F2F.HI R5, R2 ;
PACK R6, R4, R5 ;
IADD3 R8, R4, c[NOISE], RZ ;
IADD3 R9, R5, c[NOISE], RZ ;
PACK R7, R8, R9 ;
SHL R3, R0, 4 ;
IADD3 R3, R3, c[OUT], RZ ;
STG.128 [R3], R4 ;
EXIT ;
.end
""".replace(".param OUT", ".param OUT\n.param NOISE")


@pytest.mark.parametrize("noise", [0x0FFF, 0x1000, 0x1001, 0x1FFF])
@np.errstate(all="ignore")
def test_all_half_values_widen_and_narrow(noise):
    every = np.arange(65536, dtype=np.uint16)
    device = Device(mode="functional")
    source, target = device.upload(every), device.allocate(1 << 19)
    device.launch(kernel(HALVES), (1024, 1, 1), [source, target, noise])
    out = device.read(target, 1 << 19).view(U).reshape(-1, 4)
    wide_ = out[:, :2].copy().view(F).ravel()
    assert np.array_equal(wide_, every.view(np.float16).astype(F), equal_nan=True)
    nan = np.isnan(wide_)
    assert np.array_equal(out[:, 2].copy().view(np.uint16)[~nan], every[~nan])
    between = (wide_.view(U) + U(noise)).view(F)
    rounded = out[:, 3].copy().view(np.float16)
    assert np.array_equal(rounded, between.astype(np.float16), equal_nan=True)


def test_guard_masks_lanes():
    a = np.arange(32, dtype=U)
    got = lanes("@P1 IADD3 R8, R4, 1, RZ ;\n@!P1 MOV R8, 7 ;", a, p=PRED)
    assert np.array_equal(got, np.where(PRED != 0, a + 1, 7))


def test_rz_is_dropped_and_zero():
    assert not lanes("IADD3 RZ, R4, 5, RZ ;\nMOV R8, RZ ;", np.arange(32, dtype=U)).any()


ELSEWHERE = {
    "test_sim_runs.py": {"LDV"},
    "test_sim_memory.py": {"LDG", "STG", "LDS", "STS", "RED", "ATOM", "PREFETCH"},
    "test_sim_control.py": {"BRA", "BSSY", "BSYNC", "EXIT", "BAR"},
    "test_sim_tensor.py": {"HMMA", "SPWMMA", "BOHMMA", "OHMMA", "ACLR", "ARD", "AWR"},
    "test_sim_window64.py": {"SPWMMA64"},
    "test_sim_nm.py": {"HMMA.SP"},
}


def test_no_instruction_is_untested():
    lines = [*INTEGER, *FLOATING, "F2F "]
    here = {line.split()[0].split(".")[0] for line in lines}
    assert set(INSTRUCTIONS) == set(MODELLED) == here.union(*ELSEWHERE.values())
    for file, names in ELSEWHERE.items():
        text = (__import__("pathlib").Path(__file__).parent / file).read_text()
        assert all(name in text for name in names)
