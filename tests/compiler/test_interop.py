"""What we print goes through MLIR's own mlir-opt and comes back the same.

In: upstream dialects in custom and generic syntax; our IR at every stage in generic syntax, which
mlir-opt takes with --allow-unregistered-dialect. Out: the module that was printed, op for op.
"""

import shutil
import subprocess
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from dstc.compiler.driver import make_pass, new_context, print_module
from dstc.compiler.pipelines import pipeline
from dstc.dialects.interpreters.simt_arith import ARITH
from dstc.dialects.interpreters.simt_scf import SCF
from dstc.passes.target_machine import attach_machine
from dstc.runtime.machine import Machine
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.printer import Printer

from ..e2e.ir import parse

UPSTREAM = Path(__file__).with_name("upstream.mlir")
MODEL = """
func.func @main(%x: tensor<20x40xf32>) -> tensor<20x24xf32> {
  %w = dstc.constant "w" : tensor<40x24xf32>
  %y = dstc.matmul %x, %w {dstc.source = ["one"]}
    : tensor<20x40xf32>, tensor<40x24xf32> -> tensor<20x24xf32>
  %r = dstc.relu %y : tensor<20x24xf32> -> tensor<20x24xf32>
  %s = dstc.softmax %r {axis = 1 : i64} : tensor<20x24xf32> -> tensor<20x24xf32>
  func.return %s : tensor<20x24xf32>
}"""
STAGES = ("", "lower-precision", "encode-operands", "licm", "convert-tile-to-isa",
          "allocate-registers")  # fmt: skip


def mlir_opt(text: str, *options: str) -> str:
    tool = shutil.which("mlir-opt-19") or shutil.which("mlir-opt")
    assert tool, "this test needs mlir-opt (Debian: apt-get install mlir-19-tools)"
    done = subprocess.run(
        [tool, *options], input=text, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]
    return done.stdout


def generic(module: ModuleOp) -> str:
    out = StringIO()
    Printer(out, print_generic_format=True).print_op(module)
    return out.getvalue()


def assert_same(module: ModuleOp, text: str) -> None:
    """`text` is the module, but for the names of values."""
    back = Parser(new_context(), text).parse_module()
    back.verify()
    assert module.is_structurally_equivalent(back)


@pytest.mark.parametrize("form", ["custom", "generic"])
def test_upstream_dialects(form: str) -> None:
    module = Parser(new_context(), UPSTREAM.read_text()).parse_module()
    module.verify()
    text = print_module(module) if form == "custom" else generic(module)
    options = () if form == "custom" else ("--mlir-print-op-generic",)
    assert_same(module, mlir_opt(text, *options))


def test_upstream_dialects_are_covered() -> None:
    module = Parser(new_context(), UPSTREAM.read_text()).parse_module()
    assert {op.name for op in ARITH} | {op.name for op in SCF} <= {op.name for op in module.walk()}


@pytest.mark.parametrize("engine", ["dense", "dual"])
def test_every_level(engine: str) -> None:
    ctx, module = parse(MODEL, {"w": np.eye(40, 24, dtype=np.float32)})
    attach_machine(ctx, Machine.load("dstc"))
    specs = ["", *pipeline("default", machine="dstc", engine=engine)]
    for spec in specs:
        if spec:
            make_pass(spec).apply(ctx, module)
        if spec.split("{")[0] in STAGES:
            there = mlir_opt(
                generic(module), "--allow-unregistered-dialect", "--mlir-print-op-generic"
            )
            assert_same(module, there)
