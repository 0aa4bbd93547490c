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


def compiled_to(folder: Path, machine: str, engine: str) -> Compiled:
    weights = np.random.default_rng(4).standard_normal((40, 24)).astype(np.float32)
    ctx, module = parse(PRODUCT, {"w": weights})
    return compile_module(
        ctx, module, machine=Machine.load(machine), engine=engine, ir_dir=folder
    )  # fmt: skip


def test_from_file_to_file(tmp_path: Path) -> None:
    compiled = compiled_to(tmp_path, "dstc", "dual")
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
