"""What the lowering passes refuse: one line that says what is wrong, where, and what to do."""

import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.driver import new_context, run_pipeline
from xdsl.parser import Parser

TO_ISA = "convert-tile-to-isa"
TO_TILE = "convert-matmul-to-tile"
DENSE = "schedule = #dstc.schedule<dense, cta = 32x32, warp = 32x32, stages = 2>"
DUAL = "schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3>"


def kernel(body: str) -> str:
    return f"""
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {{
^bb0(%x: i32):
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %f = arith.bitcast %x : i32 to f32
  %p = arith.cmpi ult, %x, %c1 : i32
{body}
  dstc_tile.return
}}"""


def matmul(attributes: str, a: str = "f16", b: str = "f16", bias: str = "") -> str:
    given, type_ = (" bias(%b)", f", {bias}") if bias else ("", "")
    argument = f", %b: {bias}" if bias else ""
    return f"""
func.func @main(%x: tensor<8x8x{a}>, %w: tensor<8x8x{b}>{argument}) -> tensor<8x8xf32> {{
  %y = dstc.matmul %x, %w{given} {{{attributes}}} : tensor<8x8x{a}>, tensor<8x8x{b}>{type_} -> tensor<8x8xf32>
  func.return %y : tensor<8x8xf32>
}}"""  # noqa: E501


CARRIED = "i1 cannot be carried by a loop or given by an scf.if; carry an i32 and compare it"

REFUSALS = {
    "no instruction": (
        TO_ISA,
        kernel("  %q = arith.divf %f, %f : f32"),
        "kernel k: arith.divf has no instructions; convert-tile-to-isa knows arith.addf,",
    ),
    "division by a variable": (
        TO_ISA,
        kernel("  %q = arith.divui %x, %x : i32"),
        "kernel k: arith.divui: only division by a constant above 0 has instructions",
    ),
    "remainder of division by zero": (
        TO_ISA,
        kernel("  %q = arith.remui %x, %c0 : i32"),
        "kernel k: arith.remui: only division by a constant above 0 has instructions",
    ),
    "a predicate carried by a loop": (
        TO_ISA,
        kernel("""  %r = scf.for %i = %c0 to %x step %c1 iter_args(%q = %p) -> (i1) : i32 {
    scf.yield %q : i1
  }"""),
        f"kernel k: {CARRIED}",
    ),
    "a predicate out of a loop that never runs": (
        TO_ISA,
        kernel("""  %r = scf.for %i = %c1 to %c0 step %c1 iter_args(%q = %p) -> (i1) : i32 {
    scf.yield %q : i1
  }"""),
        f"kernel k: {CARRIED}",
    ),
    "a predicate out of an scf.if": (
        TO_ISA,
        kernel("""  %r = scf.if %p -> (i1) {
    scf.yield %p : i1
  } else {
    scf.yield %p : i1
  }"""),
        f"kernel k: {CARRIED}",
    ),
    "a loop without a step": (
        TO_ISA,
        kernel("  scf.for %i = %c0 to %x step %c0 : i32 {\n    scf.yield\n  }"),
        "kernel k: the step of an scf.for must be positive",
    ),
    "a choice of predicates": (
        TO_ISA,
        kernel("  %r = arith.select %p, %p, %p : i1"),
        "kernel k: an operation on i1 has no instruction; use i32 or f32",
    ),
    "an odd operation on predicates": (
        TO_ISA,
        kernel("  %r = arith.minui %p, %p : i1"),
        "kernel k: arith.minui of predicates has no instruction; use andi, ori or xori",
    ),
    "a wide constant": (
        TO_ISA,
        kernel("  %r = arith.constant 1 : i64"),
        "kernel k: a constant of i64 has no instruction; use i32 or f32",
    ),
    "no schedule": (
        TO_TILE,
        matmul('dstc.source = ["fc1"]'),
        "node 'fc1': dstc.matmul has no schedule; run select-schedule first",
    ),
    "operands that are not encoded": (
        TO_TILE,
        matmul(DUAL),
        "dstc.matmul: the dual engine does not take operands of types tensor<8x8xf16> and "
        "tensor<8x8xf16>; run encode-operands first",
    ),
    "operands of f32": (
        TO_TILE,
        matmul(DENSE, b="f32"),
        "dstc.matmul: operands must be f16, not tensor<8x8xf32>; run lower-precision first",
    ),
    "a bias of f16": (
        TO_TILE,
        matmul(f'bias_along = "n", {DENSE}', bias="tensor<8xf16>"),
        "dstc.matmul: the bias must be f32, not tensor<8xf16>; run lower-precision first",
    ),
    "encoding f32": (
        "encode-operands",
        matmul(DUAL, a="f32"),
        "dstc.matmul: operands must be f16, not tensor<8x8xf32>; run lower-precision first",
    ),
    "an unknown engine": (
        "select-schedule{engine=fast}",
        matmul(""),
        "engine 'fast' is not known; use auto, dense, nm, dual",
    ),
    "an engine that the machine lacks": (
        "select-schedule{machine=v100 engine=dual}",
        matmul(""),
        "machine v100 has no dual-side tensor core; use --engine dense or --machine dstc",
    ),
    "elements without a device form": (
        "convert-elementwise-to-tile",
        """func.func @main(%x: tensor<8xf64>) -> tensor<8xf64> {
  %y = dstc.relu %x : tensor<8xf64> -> tensor<8xf64>
  func.return %y : tensor<8xf64>
}""",
        "device tensors are f16, f32 or i32, not tensor<8xf64>; run lower-precision first",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal(case: str) -> None:
    spec, text, message = REFUSALS[case]
    ctx = new_context()
    module = Parser(ctx, text).parse_module()
    module.verify()
    with pytest.raises(DstcError) as error:
        run_pipeline(ctx, module, [spec])
    told = str(error.value)
    assert told.startswith(f"{spec.split('{')[0]}: ") and message in told
    assert "\n" not in str(error.value)
