"""Epilogues and elementwise kernels: the simulator has the interpreter's bits, at every level."""

import numpy as np
import pytest

from .ir import Array, assert_same, check, main_of, parse, sparse

SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0, 6e-8, 65504, -1.5], np.float16)


def values(shape: tuple[int, ...], seed: int = 0, dtype: type = np.float16) -> Array:
    """Normal values with zeros and, where there is room, everything that is special."""
    x = sparse(np.random.default_rng(seed), shape, 0.7).astype(dtype)
    flat = x.reshape(-1)
    if flat.size > 4 * SPECIAL.size:
        flat[:: flat.size // SPECIAL.size][: SPECIAL.size] = SPECIAL
    return x


ENGINES = {
    "dense": "dense, cta = 32x32, warp = 32x16, stages = 2",
    "dual": "dual, cta = 32x64, warp = 32x32, stages = 2",
    "split": "dense, cta = 64x64, warp = 32x32, stages = 2, split = 2",
    "wide": "dense, cta = 64x128, warp = 64x64, stages = 2",
    "swap": "dual, cta = 64x32, warp = 64x32, stages = 3, swap",
    "swap-split": "dual, cta = 64x64, warp = 64x64, stages = 3, swap, split = 2",
}
RELU = "activation = #dstc<activation relu>"
RESIDUAL = "test.residual"
EPILOGUES = {
    "bias-m": ('bias_along = "m"', "m", None),
    "bias-n": ('bias_along = "n"', "n", None),
    "bias-m-relu": (f'bias_along = "m", {RELU}', "m", None),
    "relu": (RELU, "", None),
    "image": ("image = array<i64: 2, 3, 7>", "", (2, 3, 7)),
    "image-bias-m-relu": (
        f'image = array<i64: 3, 7, 2>, bias_along = "m", {RELU}',
        "m",
        (3, 7, 2),
    ),
    "image-bias-n": ('image = array<i64: 1, 6, 7>, bias_along = "n"', "n", (1, 6, 7)),
    "residual": (RESIDUAL, "", None),
    "residual-bias-n-relu": (f'bias_along = "n", {RELU}, {RESIDUAL}', "n", None),
    "residual-image-bias-m": (
        f'image = array<i64: 3, 7, 2>, bias_along = "m", {RESIDUAL}',
        "m",
        (3, 7, 2),
    ),
}


def product(
    engine: str, epilogue: str, element: str, sizes: tuple[int, int, int]
) -> tuple[str, list[Array], dict[str, Array]]:
    """IR of a product with an epilogue, its inputs, its constants."""
    m, n, k = sizes
    attributes, along, image = EPILOGUES[epilogue]
    shape = (m, n) if image is None else (image[0], m, *image[1:])
    result = f"tensor<{'x'.join(map(str, shape))}x{element}>"
    a, b = f"tensor<{m}x{k}xf16>", f"tensor<{k}x{n}xf16>"
    rng = np.random.default_rng(len(epilogue))
    inputs = [sparse(rng, (m, k), 0.4), sparse(rng, (k, n), 0.5)]
    constant, bias, types, constants = "", "", f"{a}, {b}", {}
    if along:
        size = m if along == "m" else n
        constant = f'%c = dstc.constant "c" : tensor<{size}xf32>\n'
        bias, types = " bias(%c)", f"{types}, tensor<{size}xf32>"
        constants["c"] = rng.standard_normal(size).astype(np.float32)
    schedule = f"schedule = #dstc.schedule<{ENGINES[engine]}>"
    arguments = f"%a: {a}, %b: {b}"
    if RESIDUAL in attributes:
        # of the other type, so that both meet
        added = result.replace(element, "f32" if element == "f16" else "f16")
        arguments, bias, types = (
            f"{arguments}, %r: {added}",
            f"{bias} residual(%r)",
            f"{types} + {added}",
        )
        inputs.append(values(shape, 7, np.float32 if element == "f16" else np.float16))
    body = f"%y = dstc.matmul %a, %b{bias} {{{attributes}, {schedule}}} : {types} -> {result}"
    return main_of(f"{arguments} -> {result}", constant + body), inputs, constants


@pytest.mark.parametrize("element", ["f16", "f32"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("engine", ENGINES)
def test_epilogue(engine: str, epilogue: str, element: str) -> None:
    text, inputs, constants = product(engine, epilogue, element, (37, 42, 33))
    interpret = (engine, element) in {("dense", "f16"), ("swap", "f32")} and "bias" in epilogue
    # a residual of f32 stays so, behind the pass that makes arguments f16
    start = "annotate-sparsity" if RESIDUAL in text else ""
    check(text, inputs, interpret=interpret, constants=constants, start=start)


@pytest.mark.parametrize("element", ["f16", "f32"])
def test_transposed_operands_at_every_level(element: str) -> None:
    m, n, k = 37, 45, 70
    a, b = f"tensor<{k}x{m}xf16>", f"tensor<{n}x{k}xf16>"
    result = f"tensor<{m}x{n}x{element}>"
    schedule = f"schedule = #dstc.schedule<{ENGINES['split']}>"
    body = (
        f"%y = dstc.matmul %a, %b {{trans_a, trans_b, {RELU}, {schedule}}} : {a}, {b} -> {result}"
    )
    rng = np.random.default_rng(4)
    inputs = [sparse(rng, (k, m), 0.6), sparse(rng, (n, k), 0.6)]
    check(main_of(f"%a: {a}, %b: {b} -> {result}", body), inputs)


def test_f16_results_round_to_nearest_even_and_overflow() -> None:
    text, *_ = product("dual", "relu", "f16", (2, 42, 2))
    a = np.array([[1, 2.0**-11], [65504, 65504]], np.float16)
    b = np.tile(np.array([[1], [1]], np.float16), 42)
    check(text, [a, b], interpret=False)


ELEMENTWISE = {
    "add": (
        "%x: tensor<5x33xf16>, %z: tensor<5x33xf16> -> tensor<5x33xf16>",
        "%y = dstc.add %x, %z : tensor<5x33xf16>, tensor<5x33xf16> -> tensor<5x33xf16>",
    ),
    "add-broadcast-row": (
        "%x: tensor<2x3x4x5xf16>, %z: tensor<3x1x1xf16> -> tensor<2x3x4x5xf32>",
        "%y = dstc.add %x, %z : tensor<2x3x4x5xf16>, tensor<3x1x1xf16> -> tensor<2x3x4x5xf32>",
    ),
    "add-broadcast-last": (
        "%x: tensor<17x9xf32>, %z: tensor<9xf32> -> tensor<17x9xf32>",
        "%y = dstc.add %x, %z : tensor<17x9xf32>, tensor<9xf32> -> tensor<17x9xf32>",
    ),
    "relu": (
        "%x: tensor<3x50xf16> -> tensor<3x50xf16>",
        "%y = dstc.relu %x : tensor<3x50xf16> -> tensor<3x50xf16>",
    ),
    "relu-f32": (
        "%x: tensor<131xf32> -> tensor<131xf32>",
        "%y = dstc.relu %x : tensor<131xf32> -> tensor<131xf32>",
    ),
    "cast-down": (
        "%x: tensor<9x20xf32> -> tensor<9x20xf16>",
        "%y = dstc.cast %x : tensor<9x20xf32> -> tensor<9x20xf16>",
    ),
    "cast-up": (
        "%x: tensor<9x20xf16> -> tensor<9x20xf32>",
        "%y = dstc.cast %x : tensor<9x20xf16> -> tensor<9x20xf32>",
    ),
    "transpose": (
        "%x: tensor<19x45xf16> -> tensor<45x19xf16>",
        "%y = dstc.transpose %x {perm = array<i64: 1, 0>} : tensor<19x45xf16> -> tensor<45x19xf16>",
    ),
    "transpose-4": (
        "%x: tensor<2x3x5x7xf16> -> tensor<7x2x5x3xf16>",
        "%y = dstc.transpose %x {perm = array<i64: 3, 0, 2, 1>} : "
        "tensor<2x3x5x7xf16> -> tensor<7x2x5x3xf16>",
    ),
    "reshape-moves": (
        "%x: tensor<6x35xf16> -> tensor<10x21xf16>",
        "%y = dstc.reshape %x : tensor<6x35xf16> -> tensor<10x21xf16>",
    ),
    "reshape-alias": (
        "%x: tensor<6x5x7xf16> -> tensor<6x35xf16>",
        "%y = dstc.reshape %x : tensor<6x5x7xf16> -> tensor<6x35xf16>",
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str) -> None:
    signature, body = ELEMENTWISE[name]
    text = main_of(signature, body)
    _, module = parse(text)
    (main,) = module.body.block.ops
    inputs: list[Array] = []
    for i, argument in enumerate(main.regions[0].block.args):
        half = "f16" in str(argument.type)
        inputs.append(values(argument.type.get_shape(), i, np.float16 if half else np.float32))
    check(text, inputs, pipeline="default", start="annotate-sparsity")


IM2COL = "kernel = array<i64: 3, 2>, strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 2, 1>"
WINDOW = f"{IM2COL}, dilations = array<i64: 1, 2>"


@pytest.mark.parametrize("side", ["dense", "b", "b64"])
def test_im2col(side: str) -> None:
    """2 x 3 x 7 x 6, kernel 3 x 2: 18 rows; 4 x 5 pixels of two images."""
    x = values((2, 3, 7, 6))
    if side == "dense":
        y = "tensor<18x40xf16>"
        body = f"%y = dstc.im2col %x {{{WINDOW}}} : tensor<2x3x7x6xf16> -> {y}"
        check(main_of(f"%x: tensor<2x3x7x6xf16> -> {y}", body), [x], start="annotate-sparsity")
        return
    body = f"""
      %w = dstc.encode %a : tensor<5x18xf16> -> !dstc.bitmap<5x18xf16, a>
      %i = dstc.im2col %x {{{WINDOW}}} : tensor<2x3x7x6xf16> -> !dstc.bitmap<18x40xf16, b>
      %y = dstc.matmul %w, %i {{image = array<i64: 2, 4, 5>,
        schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 2>}} :
        !dstc.bitmap<5x18xf16, a>, !dstc.bitmap<18x40xf16, b> -> tensor<2x5x4x5xf32>"""
    signature = "%x: tensor<2x3x7x6xf16>, %a: tensor<5x18xf16> -> tensor<2x5x4x5xf32>"
    machine = "dstc"
    if side == "b64":
        machine = "dstc-plus"
        for narrow, wide in (("cta = 32x32, warp = 32x32, stages = 2", "cta = 64x64, warp = 64x64, "
                              "stages = 2, window = 64"), ("f16, a>", "f16, a, window = 64>"),
                             ("f16, b>", "f16, b, window = 64>")):  # fmt: skip
            body = body.replace(narrow, wide)
    a = sparse(np.random.default_rng(3), (5, 18), 0.5)
    text = main_of(signature, body)
    check(text, [x, a], machine=machine, pipeline="default", start="annotate-sparsity")


def test_different_bits_are_found() -> None:
    """The comparison of these tests is not blind."""
    x = np.array([0.0, 1, np.nan], np.float32)
    assert_same(x, x.copy(), "")
    for other in ([-0.0, 1, np.nan], [0, 1 + 2**-23, np.nan], [0, 1, 2], [0, np.nan, np.nan]):
        with pytest.raises(AssertionError, match="differ"):
            assert_same(x, np.array(other, np.float32), "")


def test_a_constant_bias_of_more_dimensions() -> None:
    conv = """
  %w = dstc.constant "w" : tensor<16x8x3x3xf32>
  %b = dstc.constant "b" : tensor<16x1x1xf32>
  %p = dstc.conv2d %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
    dilations = array<i64: 1, 1>} : tensor<1x8x8x8xf32>, tensor<16x8x3x3xf32>
    -> tensor<1x16x8x8xf32>
  %y = dstc.add %p, %b : tensor<1x16x8x8xf32>, tensor<16x1x1xf32> -> tensor<1x16x8x8xf32>"""
    text = main_of("%x: tensor<1x8x8x8xf32> -> tensor<1x16x8x8xf32>", conv)
    rng = np.random.default_rng(3)
    constants = {
        name: rng.integers(-4, 5, shape).astype(np.float32)
        for name, shape in {"w": (16, 8, 3, 3), "b": (16, 1, 1)}.items()
    }
    x = rng.integers(-4, 5, (1, 8, 8, 8)).astype(np.float32)
    compiled = check(text, [x], constants=constants, engine="dense", pipeline="default")
    assert [k.name for k in compiled.program.kernels.values()] == ["conv2d"]
