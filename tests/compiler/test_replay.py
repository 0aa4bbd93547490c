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

MODEL = """
func.func @main(%x: tensor<1x3x6x7xf32>) -> tensor<1x8x6x4xf32> {
  %w = dstc.constant "w" : tensor<8x3x3x3xf32>
  %b = dstc.constant "b" : tensor<8xf32>
  %y = dstc.conv2d %x, %w bias(%b) {strides = array<i64: 1, 2>, pads = array<i64: 1, 1, 1, 1>,
    dilations = array<i64: 1, 1>, dstc.source = ["conv"]}
    : tensor<1x3x6x7xf32>, tensor<8x3x3x3xf32>, tensor<8xf32> -> tensor<1x8x6x4xf32>
  %r = dstc.relu %y {dstc.source = ["relu"]} : tensor<1x8x6x4xf32> -> tensor<1x8x6x4xf32>
  %s = dstc.softmax %r {axis = 1 : i64} : tensor<1x8x6x4xf32> -> tensor<1x8x6x4xf32>
  func.return %s : tensor<1x8x6x4xf32>
}"""


PRODUCT = """
func.func @main(%x: tensor<20x40xf32>) -> tensor<20x24xf32> {
  %w = dstc.constant "w" : tensor<40x24xf32>
  %y = dstc.matmul %x, %w : tensor<20x40xf32>, tensor<40x24xf32> -> tensor<20x24xf32>
  func.return %y : tensor<20x24xf32>
}"""


def compiled_to(folder: Path, text: str, machine: str, engine: str, *shape: int) -> Compiled:
    rng = np.random.default_rng(4)
    constants = {"w": rng.standard_normal(shape), "b": rng.standard_normal(8)}
    ctx, module = parse(text, {n: a.astype(np.float32) for n, a in constants.items()})
    return compile_module(
        ctx, module, machine=Machine.load(machine), engine=engine, ir_dir=folder
    )  # fmt: skip


def test_from_file_to_file(tmp_path: Path) -> None:
    compiled = compiled_to(tmp_path, PRODUCT, "dstc", "dual", 40, 24)
    assert replay(tmp_path, compiled) == len(PIPELINES["default"]) + 1


def test_from_a_file_to_the_program(tmp_path: Path) -> None:
    compiled = compiled_to(tmp_path, MODEL, "v100", "dense", 8, 3, 3, 3)
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
