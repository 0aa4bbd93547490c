"""Ops that are no products: the simulator has the interpreter's bits, at every level, fused or not.

In: IR of single ops and of groups. Out: equal bits before every pass and on the simulator.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.dialects.functions import FUNCTIONS

from .ir import Array, check, main_of, parse

DTYPES = {"f16": np.float16, "f32": np.float32, "i32": np.int32}
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0, 6e-8, 60000, -1.5, 0.5, 2.5], np.float32)


def values(shape: tuple[int, ...], element: str, seed: int = 0) -> Array:
    """Normal values and all that is special; integers around 0."""
    rng = np.random.default_rng(seed)
    if element == "i32":
        return rng.integers(-6, 7, shape).astype(np.int32)
    x = (3 * rng.standard_normal(shape)).astype(np.float32)
    flat = x.reshape(-1)
    if flat.size > 4 * SPECIAL.size:
        flat[:: flat.size // SPECIAL.size][: SPECIAL.size] = SPECIAL
    return x.astype(DTYPES[element])


def run(text: str, tame: bool = False) -> None:
    """Check @main on random inputs of its arguments' types; `tame`: without infinities and NaN."""
    _, module = parse(text)
    (main,) = module.body.block.ops
    inputs: list[Array] = []
    for i, argument in enumerate(main.regions[0].block.args):
        element = str(argument.type).split("x")[-1].rstrip(">").split("<")[-1]
        x = values(argument.type.get_shape(), element, i)
        inputs.append(np.nan_to_num(x, nan=1, posinf=2, neginf=-3) if tame else x)
    check(text, inputs, pipeline="default", start="annotate-sparsity")


@pytest.mark.parametrize("name", [n for n, f in FUNCTIONS.items() if f.floats])
def test_function_of_floats(name: str) -> None:
    function = FUNCTIONS[name]
    kinds = ["i32" if function.condition and i == 0 else "f32" for i in range(function.operands)]
    shapes = ["5x33", "33", "5x1"][: function.operands]
    types = [f"tensor<{s}x{k}>" for s, k in zip(shapes, kinds, strict=True)]
    args = ", ".join(f"%a{i}: {t}" for i, t in enumerate(types))
    result = f"tensor<5x33x{'i32' if function.truth else 'f32'}>"
    names = ", ".join(f"%a{i}" for i in range(function.operands))
    body = f'%y = dstc.elementwise "{name}"({names}) : ({", ".join(types)}) -> {result}'
    run(main_of(f"{args} -> {result}", body))


@pytest.mark.parametrize("name", [n for n, f in FUNCTIONS.items() if f.integers])
def test_function_of_integers(name: str) -> None:
    function = FUNCTIONS[name]
    shapes = ["7x8", "8", "7x1"][: function.operands]
    types = [f"tensor<{s}xi32>" for s in shapes]
    args = ", ".join(f"%a{i}: {t}" for i, t in enumerate(types))
    names = ", ".join(f"%a{i}" for i in range(function.operands))
    body = f'%y = dstc.elementwise "{name}"({names}) : ({", ".join(types)}) -> tensor<7x8xi32>'
    run(main_of(f"{args} -> tensor<7x8xi32>", body))


def pool(x: str, y: str, kind: str, rest: str) -> tuple[str, str]:
    head, *window = rest.split(";")
    names = ("kernel", "strides", "pads", "dilations")
    parts = ", ".join(f"{n} = array<i64: {v}>" for n, v in zip(names, window, strict=True))
    body = f"%y = dstc.pool2d %x {{kind = #dstc<pool {kind}>, {parts}{head}}} : {x} -> {y}"
    return f"%x: {x} -> {y}", body


OPS = {
    "fill": ("-> tensor<3x5xf32>", "%y = dstc.fill {value = 1.5 : f64} : tensor<3x5xf32>"),
    "slice": (
        "%x: tensor<6x40x3xf16> -> tensor<3x20x2xf16>",
        "%y = dstc.slice %x {starts = array<i64: 5, 1, 0>, steps = array<i64: -2, 2, 2>} : "
        "tensor<6x40x3xf16> -> tensor<3x20x2xf16>",
    ),
    "slice-wide": (
        "%x: tensor<4x64xf16> -> tensor<4x32xf16>",
        "%y = dstc.slice %x {starts = array<i64: 0, 16>, steps = array<i64: 1, 1>} : "
        "tensor<4x64xf16> -> tensor<4x32xf16>",
    ),
    "pad": (
        "%x: tensor<3x5x7xf32> -> tensor<5x5x10xf32>",
        "%y = dstc.pad %x {low = array<i64: 1, 0, 2>, value = -2.5 : f64} : "
        "tensor<3x5x7xf32> -> tensor<5x5x10xf32>",
    ),
    "expand": (
        "%x: tensor<3x1xf16> -> tensor<4x3x5xf16>",
        "%y = dstc.expand %x : tensor<3x1xf16> -> tensor<4x3x5xf16>",
    ),
    "concat": (
        "%a: tensor<2x3xf16>, %b: tensor<2x8xf32>, %c: tensor<2x1xf16> -> tensor<2x12xf32>",
        "%y = dstc.concat %a, %b, %c {axis = 1 : i64} : "
        "(tensor<2x3xf16>, tensor<2x8xf32>, tensor<2x1xf16>) -> tensor<2x12xf32>",
    ),
    "concat-outer": (
        "%a: tensor<2x32xf16>, %b: tensor<5x32xf16> -> tensor<7x32xf16>",
        "%y = dstc.concat %a, %b {axis = 0 : i64} : "
        "(tensor<2x32xf16>, tensor<5x32xf16>) -> tensor<7x32xf16>",
    ),
    "gather-rows": (
        "%x: tensor<5x32xf16>, %i: tensor<2x3xi32> -> tensor<2x3x32xf16>",
        "%y = dstc.gather %x, %i {axis = 0 : i64} : "
        "tensor<5x32xf16>, tensor<2x3xi32> -> tensor<2x3x32xf16>",
    ),
    "gather-inner": (
        "%x: tensor<4x5xf32>, %i: tensor<7xi32> -> tensor<4x7xf32>",
        "%y = dstc.gather %x, %i {axis = 1 : i64} : "
        "tensor<4x5xf32>, tensor<7xi32> -> tensor<4x7xf32>",
    ),
    "gather-scalar": (
        "%x: tensor<4x5xi32>, %i: tensor<i32> -> tensor<4xi32>",
        "%y = dstc.gather %x, %i {axis = 1 : i64} : tensor<4x5xi32>, tensor<i32> -> tensor<4xi32>",
    ),
    "cast-to-float": (
        "%x: tensor<9xi32> -> tensor<9xf16>",
        "%y = dstc.cast %x : tensor<9xi32> -> tensor<9xf16>",
    ),
    "cast-to-integer": (
        "%x: tensor<90xf16> -> tensor<90xi32>",
        "%y = dstc.cast %x : tensor<90xf16> -> tensor<90xi32>",
    ),
    "pool-max": pool(
        "tensor<2x3x7x8xf16>", "tensor<2x3x3x4xf16>", "max", ";3, 2;2, 2;0, 0, 0, 0;1, 1"
    ),
    "pool-max-padded": pool(
        "tensor<1x3x7x8xf32>", "tensor<1x3x4x9xf32>", "max", ";3, 2;2, 1;1, 1, 2, 2;1, 2"
    ),
    "pool-average": pool(
        "tensor<2x2x6x6xf16>", "tensor<2x2x3x3xf32>", "average", ";2, 2;2, 2;0, 0, 0, 0;1, 1"
    ),
    "pool-average-padded": pool(
        "tensor<2x2x6x7xf16>", "tensor<2x2x4x4xf16>", "average", ";3, 3;2, 2;1, 1, 2, 1;1, 1"
    ),
    "pool-average-counts-padding": pool(
        "tensor<2x2x6x7xf16>", "tensor<2x2x4x4xf16>", "average",
        ", count_include_pad = true;3, 3;2, 2;1, 1, 1, 1;1, 1",
    ),
    "normalize": (
        "%x: tensor<5x70xf16> -> tensor<5x70xf32>",
        "%y = dstc.normalize %x {axis = 1 : i64, epsilon = 1.0e-05 : f64} : "
        "tensor<5x70xf16> -> tensor<5x70xf32>",
    ),
    "normalize-two": (
        "%x: tensor<3x8x16xf32> -> tensor<3x8x16xf16>",
        "%y = dstc.normalize %x {axis = 1 : i64, epsilon = 1.0e-05 : f64, centred = false} : "
        "tensor<3x8x16xf32> -> tensor<3x8x16xf16>",
    ),
    "normalize-long": (
        "%x: tensor<2x1500xf16> -> tensor<2x1500xf32>",
        "%y = dstc.normalize %x {axis = 1 : i64, epsilon = 1.0e-05 : f64} : "
        "tensor<2x1500xf16> -> tensor<2x1500xf32>",
    ),
}  # fmt: skip
for shape, axis in (((7, 45), 1), ((7, 45), 0), ((2, 3, 128), 2), ((3, 5), 1), ((2, 1100), 1),
                    ((2, 40, 3), 1), ((1, 7), 1)):  # fmt: skip
    t = f"tensor<{'x'.join(map(str, shape))}xf32>"
    OPS[f"softmax-{'x'.join(map(str, shape))}-{axis}"] = (
        f"%x: {t} -> {t}",
        f"%y = dstc.softmax %x {{axis = {axis} : i64}} : {t} -> {t}",
    )
for kind in ("sum", "mean", "max", "min", "prod"):
    for axes, y in (
        ("2", "4x6"),
        ("1", "4x1x33"),
        ("0, 2", "6"),
        ("0, 1, 2", "1x1x1"),
        ("1, 2", "4"),
    ):
        x, t = "tensor<4x6x33xf16>", f"tensor<{y}xf32>"
        OPS[f"{kind}-{axes.replace(', ', '')}"] = (
            f"%x: {x} -> {t}",
            f'%y = dstc.reduce "{kind}" %x {{axes = array<i64: {axes}>}} : {x} -> {t}',
        )


@pytest.mark.parametrize("name", OPS)
def test_op(name: str) -> None:
    signature, body = OPS[name]
    run(main_of(signature, body), tame=name.startswith(("cast", "normalize")))


GROUPS = {
    "chain": (
        "%x: tensor<9x40xf16>, %z: tensor<40xf16> -> tensor<9x40xf16>",
        """%s = dstc.fill {value = 0.125 : f64} : tensor<f32>
        %a = dstc.add %x, %z : tensor<9x40xf16>, tensor<40xf16> -> tensor<9x40xf32>
        %b = dstc.elementwise "mul"(%a, %s) : (tensor<9x40xf32>, tensor<f32>) -> tensor<9x40xf32>
        %c = dstc.elementwise "sigmoid"(%b) : (tensor<9x40xf32>) -> tensor<9x40xf32>
        %y = dstc.elementwise "mul"(%b, %c) :
          (tensor<9x40xf32>, tensor<9x40xf32>) -> tensor<9x40xf16>""",
    ),
    "softmax-around": (
        "%x: tensor<2x3x5x12xf32>, %m: tensor<2x1x1x12xi32> -> tensor<30x12xf16>",
        """%s = dstc.fill {value = 0.35 : f64} : tensor<f32>
        %one = dstc.fill {value = 1.0 : f64} : tensor<f32>
        %low = dstc.fill {value = -10000.0 : f64} : tensor<f32>
        %f = dstc.cast %m : tensor<2x1x1x12xi32> -> tensor<2x1x1x12xf32>
        %n = dstc.elementwise "sub"(%one, %f) :
          (tensor<f32>, tensor<2x1x1x12xf32>) -> tensor<2x1x1x12xf32>
        %k = dstc.elementwise "mul"(%n, %low) :
          (tensor<2x1x1x12xf32>, tensor<f32>) -> tensor<2x1x1x12xf32>
        %a = dstc.elementwise "mul"(%x, %s) :
          (tensor<2x3x5x12xf32>, tensor<f32>) -> tensor<2x3x5x12xf32>
        %b = dstc.add %a, %k :
          tensor<2x3x5x12xf32>, tensor<2x1x1x12xf32> -> tensor<2x3x5x12xf32>
        %p = dstc.softmax %b {axis = 3 : i64} : tensor<2x3x5x12xf32> -> tensor<2x3x5x12xf32>
        %y = dstc.reshape %p : tensor<2x3x5x12xf32> -> tensor<30x12xf16>""",
    ),
    "normalize-affine": (
        "%x: tensor<4x64xf16>, %r: tensor<4x64xf16>, %g: tensor<64xf32> -> tensor<4x64xf16>",
        """%a = dstc.add %x, %r : tensor<4x64xf16>, tensor<4x64xf16> -> tensor<4x64xf32>
        %n = dstc.normalize %a {axis = 1 : i64, epsilon = 1.0e-05 : f64} :
          tensor<4x64xf32> -> tensor<4x64xf32>
        %y = dstc.elementwise "mul"(%n, %g) :
          (tensor<4x64xf32>, tensor<64xf32>) -> tensor<4x64xf16>""",
    ),
    "sum-then": (
        "%x: tensor<6x50xf16> -> tensor<6x1xf32>",
        """%e = dstc.fill {value = 1.0e-05 : f64} : tensor<f32>
        %q = dstc.elementwise "mul"(%x, %x) :
          (tensor<6x50xf16>, tensor<6x50xf16>) -> tensor<6x50xf32>
        %m = dstc.reduce "mean" %q {axes = array<i64: 1>} : tensor<6x50xf32> -> tensor<6x1xf32>
        %a = dstc.add %m, %e : tensor<6x1xf32>, tensor<f32> -> tensor<6x1xf32>
        %y = dstc.elementwise "rsqrt"(%a) : (tensor<6x1xf32>) -> tensor<6x1xf32>""",
    ),
    "moves": (
        "%x: tensor<4x6x8xf16>, %z: tensor<8x1x5xf16> -> tensor<2x32x5xf32>",
        """%t = dstc.transpose %x {perm = array<i64: 2, 0, 1>} :
          tensor<4x6x8xf16> -> tensor<8x4x6xf32>
        %s = dstc.slice %t {starts = array<i64: 0, 0, 1>, steps = array<i64: 1, 1, 1>} :
          tensor<8x4x6xf32> -> tensor<8x4x5xf32>
        %a = dstc.add %s, %z : tensor<8x4x5xf32>, tensor<8x1x5xf16> -> tensor<8x4x5xf32>
        %r = dstc.reshape %a : tensor<8x4x5xf32> -> tensor<32x5xf32>
        %c = dstc.concat %r, %r {axis = 0 : i64} :
          (tensor<32x5xf32>, tensor<32x5xf32>) -> tensor<64x5xf32>
        %y = dstc.reshape %c : tensor<64x5xf32> -> tensor<2x32x5xf32>""",
    ),
    "relu-pool-reshape": (
        "%x: tensor<1x8x6x6xf16> -> tensor<1x72xf16>",
        """%a = dstc.relu %x : tensor<1x8x6x6xf16> -> tensor<1x8x6x6xf32>
        %p = dstc.pool2d %a {kind = #dstc<pool max>, kernel = array<i64: 2, 2>,
          strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} :
          tensor<1x8x6x6xf32> -> tensor<1x8x3x3xf32>
        %y = dstc.reshape %p : tensor<1x8x3x3xf32> -> tensor<1x72xf16>""",
    ),
    "inner-rounding": (
        "%x: tensor<40xf32> -> tensor<40xf32>",
        """%a = dstc.cast %x : tensor<40xf32> -> tensor<40xf16>
        %y = dstc.elementwise "exp"(%a) : (tensor<40xf16>) -> tensor<40xf32>""",
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_group(name: str) -> None:
    """All ops of the body are one kernel."""
    signature, body = GROUPS[name]
    text = main_of(signature, body)
    run(text, tame=name in ("normalize-affine",))


def test_every_op_of_a_group_is_one_kernel() -> None:
    from dstc.compiler.driver import make_pass
    from dstc.dialects.dstc_pointwise import FusedOp

    for signature, body in GROUPS.values():
        ctx, module = parse(main_of(signature, body))
        make_pass("fuse-pointwise").apply(ctx, module)
        module.verify()
        (main,) = module.body.block.ops
        first, _ = main.regions[0].block.ops
        assert isinstance(first, FusedOp), str(module)
