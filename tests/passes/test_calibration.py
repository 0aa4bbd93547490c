"""annotate-sparsity: densities from hints and from calibration inputs, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.api import compile_model
from dstc.compiler.cli.main import main
from dstc.compiler.driver import new_context, run_pipeline
from dstc.dialects.constants import ConstantPool, attach
from dstc.dialects.dstc import MatmulOp
from dstc.passes.annotate_sparsity import occupied_steps
from dstc.passes.calibration import attach_calibration
from xdsl.parser import Parser

TEXT = """
func.func @main(%x: tensor<4x8xf16>, %z: tensor<8x6xf16>) -> (tensor<4x6xf32>, tensor<4x6xf32>) {
  %w = dstc.constant "w" : tensor<8x6xf16>
  %r = dstc.relu %x : tensor<4x8xf16> -> tensor<4x8xf16>
  %y = dstc.matmul %r, %w {dstc.source = ["fc1"]} : tensor<4x8xf16>, tensor<8x6xf16> -> tensor<4x6xf32>
  %v = dstc.matmul %x, %z {dstc.source = ["fc2"]} : tensor<4x8xf16>, tensor<8x6xf16> -> tensor<4x6xf32>
  func.return %y, %v : tensor<4x6xf32>, tensor<4x6xf32>
}"""  # noqa: E501
W = np.zeros((8, 6), np.float16)
W[0] = 1
X = np.array([[1, -1, 0, 0, 2, -2, -3, 4]] * 5, np.float16)
Z = np.eye(8, 6, dtype=np.float16)


def annotated(spec: str = "annotate-sparsity", **inputs: Any) -> list[tuple[float, float]]:
    ctx = new_context()
    attach(ctx, ConstantPool({"w": W}))
    if inputs:
        attach_calibration(ctx, inputs)
    module = Parser(ctx, TEXT).parse_module()
    run_pipeline(ctx, module, [spec])
    products = [op for op in module.walk() if isinstance(op, MatmulOp)]
    pairs = [(op.a_density, op.b_density) for op in products]
    return [(float(a.value.data), float(b.value.data)) for a, b in pairs if a and b]


def test_without_anything_a_relu_is_half_full() -> None:
    assert annotated() == [(0.5, 1 / 8), (1, 1)]


def test_calibration_measures_each_operand() -> None:
    assert annotated(x=X, z=Z) == [(3 / 8, 1 / 8), (6 / 8, 6 / 48)]


def test_a_file_does_as_well(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", x=X, z=Z)
    spec = f'annotate-sparsity{{calibrate="{tmp_path / "c.npz"}"}}'
    assert annotated(spec) == [(3 / 8, 1 / 8), (6 / 8, 6 / 48)]


@pytest.mark.parametrize(
    ("hint", "want"),
    [
        ("r=0.3", [(0.3, 1 / 8), (1, 1)]),
        ("fc1=0.3", [(0.3, 1 / 8), (1, 1)]),
        ("fc2.b=0.3", [(0.5, 1 / 8), (1, 0.3)]),
        ("x=0.3", [(0.5, 1 / 8), (0.3, 1)]),
    ],
)
def test_hints(hint: str, want: list[tuple[float, float]]) -> None:
    assert annotated(f'annotate-sparsity{{density="{hint}"}}') == want


def test_a_hint_is_worth_more_than_a_measurement() -> None:
    assert annotated('annotate-sparsity{density="r=0.3"}', x=X, z=Z)[0] == (0.3, 1 / 8)


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("q=0.3", "no product takes a value of that name"),
        ("fc11=0.3", "did you mean fc1"),
        ("fc2=0.3", "name one, as fc2.a or fc2.b"),
        ("w=0.3", "it is a constant"),
        ("r=1.5", "expected NAME=D"),
        ("r", "expected NAME=D"),
    ],
)
def test_hints_that_fit_nothing_are_refused(hint: str, said: str) -> None:
    with pytest.raises(DstcError, match=said):
        annotated(f'annotate-sparsity{{density="{hint}"}}')


def test_calibration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DstcError, match="has no input 'z'"):
        annotated(x=X)
    with pytest.raises(DstcError, match="'x' has the shape"):
        annotated(x=X[:2], z=Z)
    with pytest.raises(DstcError, match="'x' is of type <U1; give numbers that a model takes"):
        annotated(x=np.full(X.shape, "a"), z=Z)
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DstcError, match=r"no readable \.npz"):
        annotated(f'annotate-sparsity{{calibrate="{tmp_path / "one.npy"}"}}')
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(DstcError, match=r"no readable \.npz"):
        annotated(f'annotate-sparsity{{calibrate="{tmp_path / "bad.npz"}"}}')


def test_a_model_is_calibrated(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = root / "examples" / "digits_cnn" / "digits_cnn_pruned90.onnx"
    plain = compile_model(model, dims={"batch": 8})
    name = plain.program.plan.inputs[0].name if plain.program.plan else ""
    shape = plain.program.plan.inputs[0].shape if plain.program.plan else ()
    data = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    calibrated = compile_model(model, dims={"batch": 8}, calibrate=data)
    assumed, measured = ([p.densities for p in c.products] for c in (plain, calibrated))
    assert assumed != measured and len(assumed) == len(measured)
    # one operand is a weight, whose density is counted: it stays
    assert all(set(a) & set(m) for a, m in zip(assumed, measured, strict=True))
    words = ["run", str(model), "--input", "random", "--dim", "batch=8", "--mode", "estimate"]
    assert main([*words, "--calibrate", "input"]) == 0
    assert main([*words, "--density", "nothing=0.1"]) == 2
    assert "no product takes a value of that name" in capsys.readouterr().err


def test_tiles_of_constants_that_are_empty() -> None:
    """Which steps along K hold a non-zero of 32, 64 and 128 rows."""
    weights = np.zeros((128, 96), np.float16)
    weights[40:64, 16:32] = 1  # one of 6 steps, of the second of four 32s
    weights[100, 95] = np.nan
    assert occupied_steps(weights) == (2 / 24, 2 / 12, 2 / 6)
    assert occupied_steps(np.ones((3, 5))) == (1, 1, 1)
    text = """func.func @main(%x: tensor<4096x512xf16>) -> tensor<512x512xf32> {
      %w = dstc.constant "w" : tensor<512x4096xf16>
      %y = dstc.matmul %w, %x : tensor<512x4096xf16>, tensor<4096x512xf16> -> tensor<512x512xf32>
      func.return %y : tensor<512x512xf32>
    }"""
    ctx, weights = new_context(), np.zeros((512, 4096), np.float16)
    weights[:, 512:1024] = 1
    attach(ctx, ConstantPool({"w": weights}))
    module = Parser(ctx, text).parse_module()
    select = "select-schedule{machine=dstc engine=dual encoded-inputs=true}"
    run_pipeline(ctx, module, ["annotate-sparsity", select])
    (product,) = (op for op in module.walk() if isinstance(op, MatmulOp))
    assert product.occupied == ((1 / 8, 1 / 8, 1 / 8), None)
    assert product.schedule is not None and product.schedule.skips
