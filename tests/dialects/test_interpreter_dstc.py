"""What `dstc` ops compute: bit by bit against plain numpy."""

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.reference import run_module
from dstc.dialects.constants import ConstantPool, attach
from dstc.dialects.dstc import DSTC
from dstc.dialects.interpreters.dstc import matmul_f32
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.parser import Parser

F16, F32 = np.float16, np.float32


def parse(ctx: Context, text: str) -> ModuleOp:
    for dialect in (Builtin, Func, DSTC):
        ctx.load_dialect(dialect)
    module = Parser(ctx, text).parse_module()
    module.verify()
    return module


def run(signature: str, body: str, *inputs: np.ndarray, pool: ConstantPool | None = None):
    """Interpret `@main(signature)` whose last value is %y."""
    ctx = Context()
    attach(ctx, pool or ConstantPool())
    args, result = signature.split("->")
    text = f"func.func @main({args}) -> {result} {{\n{body}\nfunc.return %y : {result}\n}}"
    return run_module(parse(ctx, text), ctx, list(inputs))[0]


def rank_one(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The definition: rank-1 updates in ascending k."""
    acc = np.zeros((a.shape[0], b.shape[1]), F32)
    with np.errstate(all="ignore"):
        for k in range(a.shape[1]):
            acc += a[:, k, None].astype(F32) * b[None, k, :].astype(F32)
    return acc


def sparse(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, 0, rng.standard_normal(shape)).astype(F16)


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 50), st.integers(0, 2**31))
def test_matmul_is_rank_one_updates(m, n, k, seed):
    rng = np.random.default_rng(seed)
    a, b = sparse(rng, m, k), sparse(rng, k, n)
    got = matmul_f32(a, b)
    np.testing.assert_array_equal(got.view(np.uint32), rank_one(a, b).view(np.uint32))
    np.testing.assert_array_equal(matmul_f32(a, b, skip_zeros=True), got)


def test_matmul_in_column_blocks():
    rng = np.random.default_rng(0)
    a, b = sparse(rng, 128, 9), sparse(rng, 9, 1300)
    np.testing.assert_array_equal(matmul_f32(a, b), rank_one(a, b))


A = np.array([[0, 1], [np.inf, 0], [-0.0, np.nan]], F16)
B = np.array([[np.inf, 0, 1], [np.nan, 2, -0.0]], F16)


def test_dense_products_keep_zero_times_infinity():
    np.testing.assert_array_equal(matmul_f32(A, B), rank_one(A, B))
    assert np.isnan(matmul_f32(A, B)[0, 0])


def test_bitmaps_drop_zero_times_infinity():
    body = """
      %a = dstc.encode %x : tensor<3x2xf16> -> !dstc.bitmap<3x2xf16, a>
      %b = dstc.encode %z : tensor<2x3xf16> -> !dstc.bitmap<2x3xf16, b>
      %y = dstc.matmul %a, %b
        : !dstc.bitmap<3x2xf16, a>, !dstc.bitmap<2x3xf16, b> -> tensor<3x3xf32>
    """
    got = run("%x: tensor<3x2xf16>, %z: tensor<2x3xf16> -> tensor<3x3xf32>", body, A, B)
    nan = np.nan
    np.testing.assert_array_equal(got, [[nan, 2, 0], [np.inf, 0, np.inf], [nan, nan, 0]])


def test_the_dual_engine_skips_zeros_of_dense_operands():
    text = """%y = dstc.matmul %x, %z {schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32,
      stages = 2>} : tensor<3x2xf16>, tensor<2x3xf16> -> tensor<3x3xf32>"""
    got = run("%x: tensor<3x2xf16>, %z: tensor<2x3xf16> -> tensor<3x3xf32>", text, A, B)
    np.testing.assert_array_equal(got[1], [np.inf, 0, np.inf])


def test_encode_drops_negative_zero():
    x = np.array([[-0.0, 1, np.nan]], F16)
    body = """%e = dstc.encode %x : tensor<1x3xf16> -> !dstc.bitmap<1x3xf16, a>
      %y = dstc.decode %e : !dstc.bitmap<1x3xf16, a> -> tensor<1x3xf16>"""
    got = run("%x: tensor<1x3xf16> -> tensor<1x3xf16>", body, x)
    assert not np.signbit(got[0, 0]) and np.isnan(got[0, 2]) and got[0, 1] == 1


def test_epilogue_order_and_rounding():
    """Bias in f32, then ReLU, then one rounding to f16."""
    rng = np.random.default_rng(1)
    a, b, bias = sparse(rng, 5, 7), sparse(rng, 7, 6), rng.standard_normal(6).astype(F32)
    got = run(
        "%x: tensor<5x7xf16>, %z: tensor<7x6xf16>, %b: tensor<6xf32> -> tensor<5x6xf16>",
        """%y = dstc.matmul %x, %z bias(%b) {bias_along = "n", activation = #dstc<activation relu>}
        : tensor<5x7xf16>, tensor<7x6xf16>, tensor<6xf32> -> tensor<5x6xf16>""",
        a,
        b,
        bias,
    )
    want = np.maximum(rank_one(a, b) + bias, 0).astype(F16)
    np.testing.assert_array_equal(got, want)


def test_relu_keeps_nan_and_makes_negative_zero_positive():
    x = np.array([np.nan, -0.0, -1, np.inf, 2], F16)
    got = run(
        "%x: tensor<5xf16> -> tensor<5xf32>",
        "%y = dstc.relu %x : tensor<5xf16> -> tensor<5xf32>",
        x,
    )
    np.testing.assert_array_equal(got, [np.nan, 0, 0, np.inf, 2])
    assert not np.signbit(got[1:]).any()


WINDOW = (
    "kernel = array<i64: 2, 3>, strides = array<i64: 2, 1>, pads = array<i64: 1, 2, 0, 1>, "
    "dilations = array<i64: 2, 1>"
)


def brute_im2col(x: np.ndarray) -> np.ndarray:
    """The definition for WINDOW: rows (c, r, s), columns (n, oh, ow)."""
    n, c, h, w = x.shape
    oh, ow = (h + 1 - 2 - 1) // 2 + 1, (w + 3 - 2 - 1) + 1
    out = np.zeros((c, 2, 3, n, oh, ow), x.dtype)
    for index in np.ndindex(*out.shape):
        ci, r, s, ni, i, j = index
        row, column = i * 2 + r * 2 - 1, j + s - 2
        if 0 <= row < h and 0 <= column < w:
            out[index] = x[ni, ci, row, column]
    return out.reshape(c * 6, n * oh * ow)


def test_im2col_and_conv():
    rng = np.random.default_rng(2)
    x, w = sparse(rng, 2, 3, 6, 5), sparse(rng, 4, 3, 2, 3)
    matrix = brute_im2col(x)
    columns = matrix.shape[1]
    got = run(
        f"%x: tensor<2x3x6x5xf16> -> tensor<18x{columns}xf16>",
        f"%y = dstc.im2col %x {{{WINDOW}}} : tensor<2x3x6x5xf16> -> tensor<18x{columns}xf16>",
        x,
    )
    np.testing.assert_array_equal(got, matrix)
    shape = f"tensor<2x4x3x{columns // 6}xf32>"
    conv = WINDOW.replace("kernel = array<i64: 2, 3>, ", "")
    got = run(
        f"%x: tensor<2x3x6x5xf16>, %w: tensor<4x3x2x3xf16> -> {shape}",
        f"%y = dstc.conv2d %x, %w {{{conv}}} : tensor<2x3x6x5xf16>, tensor<4x3x2x3xf16> -> {shape}",
        x,
        w,
    )
    want = rank_one(w.reshape(4, -1), matrix).reshape(4, 2, 3, -1).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(got, want)


def test_pooling_of_nan_and_padding():
    x = np.array([[[[np.nan, -5], [-3, -4]]]], F16)
    text = """%y = dstc.pool2d %x {{kind = #dstc<pool {}>, kernel = array<i64: 2, 2>,
      strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 0, 0>, dilations = array<i64: 1, 1>}}
      : tensor<1x1x2x2xf16> -> tensor<1x1x2x2xf32>"""
    signature = "%x: tensor<1x1x2x2xf16> -> tensor<1x1x2x2xf32>"
    got = run(signature, text.format("max"), x)
    np.testing.assert_array_equal(got[0, 0], [[-np.inf, -5], [-3, -3]])
    got = run(signature, text.format("average"), np.nan_to_num(x, nan=1))
    np.testing.assert_array_equal(got[0, 0], [[1, -2], [-1, -2.75]])


def test_softmax_is_close_to_the_definition():
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((3, 50)) * 20).astype(F32)
    got = run(
        "%x: tensor<3x50xf32> -> tensor<3x50xf32>",
        "%y = dstc.softmax %x {axis = 1 : i64} : tensor<3x50xf32> -> tensor<3x50xf32>",
        x,
    )
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(got, e / e.sum(1, keepdims=True), rtol=1e-5, atol=1e-12)


def test_constants_and_casts():
    pool = ConstantPool({"c": np.array([1, 65520, 1 + 2**-11, 3e-8], F32)})
    got = run(
        " -> tensor<4xf16>",
        """%c = dstc.constant "c" : tensor<4xf32>
           %y = dstc.cast %c : tensor<4xf32> -> tensor<4xf16>""",
        pool=pool,
    )
    np.testing.assert_array_equal(got, np.array([1, np.inf, 1, 6e-8], F16))


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({}, "constant 'c' is not in the pool; give the weights with --constants FILE.npz"),
        ({"c": np.zeros(3, F32)}, r"constant 'c' has the shape \(3,\) in the pool, but \(4,\)"),
    ],
)
def test_constants_that_do_not_fit(pool, message):
    with pytest.raises(DstcError, match=message):
        run(" -> tensor<4xf32>", '%y = dstc.constant "c" : tensor<4xf32>', pool=ConstantPool(pool))
