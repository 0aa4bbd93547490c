"""A pass that fails, whoever runs it: one line with pass, op and place, and its input as a file."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from dstc.compiler import compile_model
from dstc.compiler.cli.main import main
from dstc.compiler.driver import run_pipeline
from dstc.compiler.failures import PassBroke
from dstc.compiler.opt import main as opt
from dstc.dialects.dstc import ReluOp
from dstc.passes.lower_precision import LowerPrecision
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from ..e2e.ir import parse
from .onnx_models import model, node

Capture = pytest.CaptureFixture[str]

OURS = """func.func @main(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %w = dstc.constant "w" : tensor<16x16xf32>
  %y = dstc.matmul %x, %w : tensor<8x16xf32>, tensor<16x16xf32> -> tensor<8x16xf32>
  %e = dstc.reshape %y : tensor<8x16xf32> -> tensor<16x8xf32>
  %r = dstc.relu %x : tensor<8x16xf32> -> tensor<8x16xf32>
  %z = dstc.add %r, %y : tensor<8x16xf32>, tensor<8x16xf32> -> tensor<8x16xf32>
  func.return %z : tensor<8x16xf32>
}
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The third pass falls over the first ReLU; a file with one."""

    def apply(self: LowerPrecision, ctx: Context, module: ModuleOp) -> None:
        for op in module.walk():
            if isinstance(op, ReluOp):
                raise KeyError("no such thing")

    monkeypatch.setattr(LowerPrecision, "apply", apply)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    file = tmp_path / "m.mlir"
    file.write_text(OURS)
    np.savez(tmp_path / "constants.npz", w=np.eye(16, dtype=np.float32))
    return file


COMMANDS = {
    "compile": "compile M -o o.bin", "run": "run M --input random",
    "inspect": "inspect M --html o.html",
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_message_and_reproducer(
    command: str, broken: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(broken.parent)
    words = [str(broken) if w == "M" else w for w in COMMANDS[command].split()]
    assert main(words) == 1
    told, line, caret, note = capsys.readouterr().err.rstrip("\n").split("\n")
    wanted = "lower-precision: dstc.relu: internal error: KeyError: 'no such thing'"
    assert told == f"{broken}:5:3: error: {wanted}"
    assert line == OURS.split("\n")[4] and caret == "  ^"
    made = Path(note.split(": ")[-1])
    again = shlex.split(made.read_text().split("\n")[0].removeprefix("// "))
    assert again[-1].startswith("lower-precision,")
    monkeypatch.chdir(made.parent)
    assert opt(again[1:]) == 1
    assert wanted in capsys.readouterr().err


def test_the_folder_has_the_input_already(broken: Path, capsys: Capture) -> None:
    folder = broken.parent / "ir"
    assert main(["inspect", str(broken), "--ir-dir", str(folder)]) == 1
    note = capsys.readouterr().err.rstrip("\n").split("\n")[-1]
    assert note.endswith(str(folder / "03-fuse-pointwise.mlir"))


def test_a_node_of_the_model_is_named(broken: Path) -> None:
    proto = model([node("Sigmoid", ["x"], "s"), node("Relu", ["s"])], {"x": [2, 3]})
    with pytest.raises(PassBroke, match="of node_s, node_y: internal error: KeyErr"):
        compile_model(proto)
    assert not list(broken.parent.glob("dstc-*"))  # only the command line asks for a file


def test_invalid_ir_is_laid_at_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: LowerPrecision, ctx: Context, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, ReluOp):
                op.detach()

    monkeypatch.setattr(LowerPrecision, "apply", apply)
    ctx, module = parse(OURS)
    with pytest.raises(Exception, match="lower-precision: left invalid IR: "):
        run_pipeline(ctx, module, ["lower-precision"])
