"""dstc reduce: small modules that still fail."""

import sys
from pathlib import Path

import numpy as np
import pytest
from dstc.compiler import driver
from dstc.compiler.cli.main import main
from dstc.compiler.instruments import pass_name
from dstc.dialects.constants import ConstantPool
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

LARGE = """
func.func @main(%x: tensor<8x16xf32>, %v: tensor<8x16xf32>) -> (tensor<8x8xf32>, tensor<8x16xf32>)
    attributes {dstc.outputs = ["a", "b"]} {
  %w = dstc.constant "w" : tensor<16x16xf32>
  %u = dstc.constant "u" : tensor<16x8xf32>
  %0 = dstc.add %x, %v : tensor<8x16xf32>, tensor<8x16xf32> -> tensor<8x16xf32>
  %1 = dstc.matmul %0, %w : tensor<8x16xf32>, tensor<16x16xf32> -> tensor<8x16xf32>
  %2 = dstc.relu %1 : tensor<8x16xf32> -> tensor<8x16xf32>
  %3 = dstc.softmax %2 {axis = 1 : i64} : tensor<8x16xf32> -> tensor<8x16xf32>
  %4 = dstc.relu %3 : tensor<8x16xf32> -> tensor<8x16xf32>
  %5 = dstc.matmul %4, %u : tensor<8x16xf32>, tensor<16x8xf32> -> tensor<8x8xf32>
  func.return %5, %0 : tensor<8x8xf32>, tensor<8x16xf32>
}
func.func @helper(%a: i32) -> i32 {
  %b = arith.addi %a, %a : i32
  func.return %b : i32
}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    source, constants, out = (tmp_path / n for n in ("m.mlir", "c.npz", "out.mlir"))
    source.write_text(LARGE)
    rng = np.random.default_rng(2)
    arrays = {"w": rng.standard_normal((16, 16)), "u": rng.standard_normal((16, 8))}
    ConstantPool({n: a.astype(np.float32) for n, a in arrays.items()}).save(constants)
    return source, constants, out


def names(file: Path) -> list[str]:
    from dstc.compiler.driver import new_context
    from dstc.compiler.locations import read_module

    return [op.name for op in read_module(new_context(), file).walk()]


def test_by_a_command(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source, _, out = files
    script = tmp_path / "test.py"
    script.write_text(
        "import sys\nsys.exit(3 if 'dstc.softmax' in open(sys.argv[1]).read() else 0)"
    )
    command = f"{sys.executable} {script} {{}}"
    assert main(["reduce", str(source), "-o", str(out), "--test", command]) == 0
    assert names(out) == ["builtin.module", "func.func", "dstc.softmax", "func.return"]


class Wrong(ModulePass):
    """fuse-epilogue that forgets the ReLU behind a product."""

    def __init__(self, right: ModulePass):
        self.right = right

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        self.right.apply(ctx, op)
        for product in op.walk():
            product.properties.pop("activation", None)


def test_by_the_check_of_each_pass(
    files: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, constants, out = files
    make = driver.make_pass
    monkeypatch.setattr(
        driver,
        "make_pass",
        lambda s: Wrong(make(s)) if pass_name(s) == "fuse-epilogue" else make(s),
    )
    saved = tmp_path / "left.npz"
    words = ["-p", "fold-constants,fuse-epilogue,cse", "--pass", "fuse-epilogue"]
    more = ["--constants", str(constants), "--save-constants", str(saved)]
    assert main(["reduce", str(source), "-o", str(out), *words, *more]) == 0
    assert names(out) == [
        "builtin.module", "func.func", "dstc.constant", "dstc.matmul", "dstc.relu", "func.return",
    ]  # fmt: skip
    assert np.load(saved).files == ["w"]


def test_what_does_not_fail_is_refused(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, _, out = files
    assert main(["reduce", str(source), "-o", str(out), "--test", "true {}"]) == 2
    assert "does not fail" in capsys.readouterr().err
    assert main(["reduce", str(source), "-o", str(out), "--test", "true"]) == 2
    assert "write {} where" in capsys.readouterr().err
    assert main(["reduce", str(source), "-o", str(out)]) == 2
    assert "one of them" in capsys.readouterr().err
