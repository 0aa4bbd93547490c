"""Every file of an IR folder parses, verifies, and leads to the program that was compiled."""

import re
from pathlib import Path

import numpy as np
import pytest
from dstc.backend.isa.errors import CheckFailed
from dstc.compiler.api import Compiled, compile_module
from dstc.compiler.pipelines import PIPELINES
from dstc.compiler.replay import commands, replay
from dstc.runtime.machine import Machine

from ..e2e.ir import parse

PRODUCT = """
func.func @main(%x: tensor<20x40xf32>) -> tensor<20x24xf32> {
  %w = dstc.constant "w" : tensor<40x24xf32>
  %y = dstc.matmul %x, %w : tensor<20x40xf32>, tensor<40x24xf32> -> tensor<20x24xf32>
  func.return %y : tensor<20x24xf32>
}"""


NET = """
func.func @main(%x: tensor<1x8x6x6xf32>) -> tensor<1x24xf32> {
  %v = dstc.constant "v" : tensor<8x8x3x3xf32>
  %w = dstc.constant "w" : tensor<72x24xf32>
  %y = dstc.conv2d %x, %v {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
    dilations = array<i64: 1, 1>} : tensor<1x8x6x6xf32>, tensor<8x8x3x3xf32> -> tensor<1x8x6x6xf32>
  %p = dstc.pool2d %y {kind = #dstc<pool max>, kernel = array<i64: 2, 2>,
    strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
    : tensor<1x8x6x6xf32> -> tensor<1x8x3x3xf32>
  %f = dstc.reshape %p : tensor<1x8x3x3xf32> -> tensor<1x72xf32>
  %m = dstc.matmul %f, %w : tensor<1x72xf32>, tensor<72x24xf32> -> tensor<1x24xf32>
  %s = dstc.softmax %m {axis = 1 : i64} : tensor<1x24xf32> -> tensor<1x24xf32>
  func.return %s : tensor<1x24xf32>
}"""


def compiled_to(folder: Path, machine: str, engine: str, text: str = PRODUCT) -> Compiled:
    rng = np.random.default_rng(4)
    shapes = {"w": (40, 24)} if text is PRODUCT else {"v": (8, 8, 3, 3), "w": (72, 24)}
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    ctx, module = parse(text, arrays)
    return compile_module(
        ctx, module, machine=Machine.load(machine), engine=engine, ir_dir=folder
    )  # fmt: skip


def test_from_file_to_file(tmp_path: Path) -> None:
    compiled = compiled_to(tmp_path, "dstc", "dual", NET)
    assert replay(tmp_path, compiled) == len(PIPELINES["default"]) + 1


def test_from_a_file_to_the_program(tmp_path: Path) -> None:
    compiled = compiled_to(tmp_path, "v100", "dense")
    assert replay(tmp_path, compiled) == len(PIPELINES["default"]) + 1
    files = list(commands(tmp_path))
    for file, _ in files[1:-3]:
        file.unlink()
    assert replay(tmp_path, compiled, full=True) == 4
    changed, specs = files[-2]
    assert specs == ["verify-registers"]
    text = changed.read_text()
    assert "lds<32> a(" in text
    changed.write_text(re.sub(r"(lds<32> a\(%\w+ \+) \d+\)", r"\1 4)", text, count=1))
    with pytest.raises(CheckFailed, match=changed.name):
        replay(tmp_path, compiled, full=True)
