"""Lowered kernels compute what their ops mean: both levels are interpreted and agree bit by bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from dstc.compiler.driver import new_context, run_pipeline
from dstc.compiler.pipelines import TILE, filled
from dstc.compiler.reference import run_module
from dstc.dialects import dstc
from dstc.dialects.dstc_tile import LaunchOp
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

Array = NDArray[Any]
F16, F32 = np.float16, np.float32
ELEMENTS = {np.dtype(F16): "f16", np.dtype(F32): "f32"}
SPECIAL = np.array([np.inf, -np.inf, np.nan, -0.0, 6e-8, 65504], F32)


def tensor(*shape: int, element: str = "f16") -> str:
    return f"tensor<{'x'.join(map(str, shape))}x{element}>"


def sparse(
    shape: Sequence[int], density: float = 0.4, *, dtype: type = F16, special: bool = False
) -> Array:
    rng = np.random.default_rng(sum(shape) + int(100 * density))
    x = rng.normal(size=shape).astype(dtype)
    x[rng.random(shape) >= density] = 0
    if special:
        flat = x.reshape(-1)
        places = rng.permutation(flat.size)[: len(SPECIAL)]
        flat[places] = SPECIAL[: len(places)].astype(dtype)
    return x


def main(body: str, inputs: Sequence[Array], results: str) -> str:
    arguments = ", ".join(
        f"%x{i}: {tensor(*x.shape, element=ELEMENTS[x.dtype])}" for i, x in enumerate(inputs)
    )
    return f"func.func @main({arguments}) -> ({results}) {{\n{body}\n}}"


def check(body: str, inputs: Sequence[Array], result: str) -> None:
    """`body` defines %y of type `result`; every op of it must become a kernel."""
    ctx = new_context()
    text = main(f"{body}\n  func.return %y : {result}", inputs, result)
    module = Parser(ctx, text).parse_module()
    module.verify()
    (want,) = run_module(module, ctx, inputs)
    run_pipeline(ctx, module, filled(TILE))
    assert_lowered(module)
    (got,) = run_module(module, ctx, inputs)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    numbers = ~np.isnan(want)
    assert np.array_equal(np.isnan(got), ~numbers)
    assert np.array_equal(got[numbers], want[numbers])
    assert np.array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))


def assert_lowered(module: ModuleOp) -> None:
    assert any(isinstance(op, LaunchOp) for op in module.walk())
    left = {op.name for op in module.walk() if op.name.startswith("dstc.")}
    assert not left


def schedule(engine: str, cta: str, warp: str, stages: int, swap: bool = False) -> str:
    tiles = f"cta = {cta}, warp = {warp}, stages = {stages}{', swap' if swap else ''}"
    return f"schedule = #dstc.schedule<{engine}, {tiles}>"


EPILOGUES = {
    "plain": ("", "f32"),
    "f16": ("", "f16"),
    "bias-n": ('bias_along = "n", ', "f32"),
    "bias-m-relu": ('bias_along = "m", activation = #dstc<activation relu>, ', "f16"),
    "image": ('bias_along = "m", image = array<i64: IMAGE>, ', "f16"),
    "odd-image": ("image = array<i64: 1, 1, N>, ", "f32"),
}


def product(
    sizes: tuple[int, int, int],
    how: str,
    epilogue: str = "plain",
    *,
    special: bool = False,
    densities: tuple[float, float] = (0.5, 0.3),
) -> None:
    m, n, k = sizes
    attributes, element = EPILOGUES[epilogue]
    image = (2, n // 2, 1) if n % 2 == 0 else (n, 1, 1)
    attributes = attributes.replace("IMAGE", ", ".join(map(str, image))).replace("N>", f"{n}>")
    shape = (m, n)
    if "image" in attributes:
        images, h, w = image if epilogue == "image" else (1, 1, n)
        shape = (images, m, h, w)
    inputs = [
        sparse((m, k), densities[0], special=special),
        sparse((k, n), densities[1], special=special),
    ]
    given = ""
    if "bias_along" in attributes:
        inputs.append(sparse((m if '"m"' in attributes else n,), 1, dtype=F32))
        given = " bias(%x2)"
    a, b, lines = "%x0", "%x1", []
    types = [tensor(m, k), tensor(k, n)]
    if "<dual" in how:
        bitmaps = [f"!dstc.bitmap<{m}x{k}xf16, a>", f"!dstc.bitmap<{k}x{n}xf16, b>"]
        for i in range(2):
            lines.append(f"  %e{i} = dstc.encode %x{i} : {types[i]} -> {bitmaps[i]}")
        a, b, types = "%e0", "%e1", bitmaps
    if given:
        types.append(tensor(inputs[2].size, element="f32"))
    result = tensor(*shape, element=element)
    lines.append(
        f"  %y = dstc.matmul {a}, {b}{given} {{{attributes}{how}}} : {', '.join(types)} -> {result}"
    )
    check("\n".join(lines), inputs, result)


SIZES = [(1, 1, 1), (33, 40, 70), (70, 33, 17), (64, 96, 32), (5, 100, 49)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("tiles", ["32x32/16x16", "32x64/32x32", "64x32/32x32"])
def test_dense_products(sizes: tuple[int, int, int], tiles: str) -> None:
    cta, warp = tiles.split("/")
    product(sizes, schedule("dense", cta, warp, 2))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    ("tiles", "stages", "swap"),
    [("32x32/32x32", 2, False), ("64x32/64x32", 3, True), ("64x64/32x32", 4, False)],
    ids=str,
)
def test_dual_products(sizes: tuple[int, int, int], tiles: str, stages: int, swap: bool) -> None:
    cta, warp = tiles.split("/")
    product(sizes, schedule("dual", cta, warp, stages, swap))


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("n", [40, 33])
@pytest.mark.parametrize("engine", ["dense", "dual", "swap"])
def test_epilogues(engine: str, n: int, epilogue: str) -> None:
    dual = engine != "dense"
    how = schedule(
        "dual" if dual else "dense", "32x64", "32x32", 3 if dual else 2, engine == "swap"
    )
    product((35, n, 20), how, epilogue)


@pytest.mark.parametrize("engine", ["dense", "dual"])
def test_infinities_and_nan(engine: str) -> None:
    """The dual engine skips zeros, even against infinity and NaN; the dense one does not."""
    product((33, 40, 50), schedule(engine, "32x32", "32x32", 2), special=True)


@pytest.mark.parametrize("densities", [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.01, 0.01)], ids=str)
def test_extreme_densities(densities: tuple[float, float]) -> None:
    product((40, 40, 100), schedule("dual", "64x32", "32x32", 3), densities=densities)


WINDOWS = {
    "1x1": ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    "3x3-same": ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "stride": ((3, 2), (2, 3), (1, 0, 0, 1), (1, 1)),
    "dilation": ((3, 3), (1, 2), (2, 1, 2, 0), (2, 3)),
    "whole": ((9, 11), (1, 1), (0, 0, 0, 0), (1, 1)),
    "bottom-right": ((2, 2), (1, 1), (0, 0, 1, 1), (1, 1)),
    "far-padding": ((3, 3), (2, 2), (4, 5, 3, 6), (1, 1)),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(1, 1, 9, 11), (3, 5, 9, 11)], ids=str)
@pytest.mark.parametrize("form", ["dense", "bitmap"])
def test_im2col(form: str, shape: tuple[int, ...], window: str) -> None:
    kernel, strides, pads, dilations = WINDOWS[window]
    oh, ow = dstc.window_output(shape[2:], kernel, strides, pads, dilations)
    rows, columns = shape[1] * kernel[0] * kernel[1], shape[0] * oh * ow
    result = tensor(rows, columns)
    if form == "bitmap":
        result = f"!dstc.bitmap<{rows}x{columns}xf16, b>"
    properties = ", ".join(
        f"{name} = array<i64: {', '.join(map(str, values))}>"
        for name, values in (
            ("kernel", kernel), ("strides", strides), ("pads", pads), ("dilations", dilations)
        )
    )  # fmt: skip
    check(
        f"  %y = dstc.im2col %x0 {{{properties}}} : {tensor(*shape)} -> {result}",
        [sparse(shape, special=True)],
        result,
    )


@pytest.mark.parametrize("shape", [(1, 1), (31, 15), (33, 17), (140, 32), (3, 1100)], ids=str)
@pytest.mark.parametrize("side", ["a", "b"])
def test_encode(side: str, shape: tuple[int, int]) -> None:
    if side == "b":
        shape = shape[1], shape[0]
    result = f"!dstc.bitmap<{shape[0]}x{shape[1]}xf16, {side}>"
    check(
        f"  %y = dstc.encode %x0 : {tensor(*shape)} -> {result}",
        [sparse(shape, special=True)],
        result,
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [((4, 33), (33,)), ((1, 7), (5, 1)), ((2, 3, 5, 7), (3, 1, 1)), ((129,), (1,)), ((4, 5), ())],
    ids=str,
)
def test_add(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    inputs = [sparse(left, special=True), sparse(right or (1,), 1, dtype=F32).reshape(right)]
    result = tensor(*np.broadcast_shapes(left, right))
    types = f"{tensor(*left)}, " + (tensor(*right, element="f32") if right else "tensor<f32>")
    text = f"  %y = dstc.add %x0, %x1 : {types} -> {result}"
    if right:
        check(text, inputs, result)


@pytest.mark.parametrize("source", [F16, F32])
@pytest.mark.parametrize("target", ["f16", "f32"])
@pytest.mark.parametrize("op", ["relu", "cast"])
def test_unary(op: str, source: type, target: str) -> None:
    x = sparse((5, 47), 0.9, dtype=source, special=True)
    types = f"{tensor(5, 47, element=ELEMENTS[x.dtype])} -> {tensor(5, 47, element=target)}"
    check(f"  %y = dstc.{op} %x0 : {types}", [x], tensor(5, 47, element=target))


@pytest.mark.parametrize("perm", [(1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)], ids=str)
def test_transpose(perm: tuple[int, ...]) -> None:
    x = sparse((3, 5, 37), special=True)
    result = tensor(*(x.shape[p] for p in perm))
    attribute = f"{{perm = array<i64: {', '.join(map(str, perm))}>}}"
    check(f"  %y = dstc.transpose %x0 {attribute} : {tensor(*x.shape)} -> {result}", [x], result)


@pytest.mark.parametrize("shape", [(111, 5), (555,), (5, 3, 37), (1, 555)], ids=str)
def test_reshape(shape: tuple[int, ...]) -> None:
    x = sparse((3, 5, 37), special=True)
    result = tensor(*shape)
    check(f"  %y = dstc.reshape %x0 : {tensor(*x.shape)} -> {result}", [x], result)
