"""The MLIR front end: models as torch-mlir writes them, against numpy; every named operation, loop
by loop; errors with their place."""

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import SourceError
from dstc.compiler import compile_model
from dstc.compiler.cli.main import main
from dstc.compiler.frontends.mlir_import import read_mlir
from dstc.compiler.frontends.mlir_reader import Structured, read
from dstc.compiler.frontends.mlir_structured import _NAMED, nest  # pyright: ignore[reportPrivateUsage]
from dstc.compiler.frontends.onnx_import import load_onnx
from dstc.compiler.reference import onnx_reference
from numpy.typing import NDArray

Array = NDArray[Any]
MODELS = Path(__file__).parent / "models"


def mlp(x: Array, w1: Array, w2: Array) -> Array:
    start = np.array([1, 2, 3, 4, -1, -2, 0, 0.5, 0.25, -0.5, 1.5], np.float32)
    b1 = np.resize(start, 22)
    b1 = np.concatenate([b1, np.array([1, 2], np.float32)])
    b2 = np.array([0.5, -1.0, 2.0, 0.25, 0.0, 1.0, -0.5, 3.0, -2.0, 1.5], np.float32)
    return np.maximum(x @ w1.T + b1, 0) @ w2.T + b2


def convolved(x: Array, w: Array, stride: int) -> Array:
    """Convolution with one row of zeros around."""
    x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    seen = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    return np.einsum("nchwrs,fcrs->nfhw", seen[:, :, ::stride, ::stride], w)


def conv(x: Array, w: Array, *rest: Array) -> Array:
    scale, shift, mean, var, v, c, fc = rest
    y = convolved(x, w, 1)
    scale, shift, mean, var = (a.reshape(-1, 1, 1) for a in (scale, shift, mean, var))
    y = np.maximum((y - mean) / np.sqrt(var + 1e-5) * scale + shift, 0)
    y = np.pad(y, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    seen = np.lib.stride_tricks.sliding_window_view(y, (3, 3), (2, 3))
    y = convolved(seen[:, :, ::2, ::2].max((4, 5)), v, 2) + c.reshape(-1, 1, 1)
    return y.mean((2, 3)) @ fc + np.float32(0.25)


def attention(x: Array, wq: Array, wk: Array, wv: Array, mask: Array, gamma: Array) -> Array:
    q, k, v = (np.moveaxis((x @ w).reshape(2, 8, 2, 8), 1, 2) for w in (wq, wk, wv))
    s = np.where(mask, q @ np.swapaxes(k, 2, 3) * 0.35355339, -1e4)
    s = np.exp(s - s.max(-1, keepdims=True))
    s /= s.sum(-1, keepdims=True)
    r = np.moveaxis(s @ v, 1, 2).reshape(2, 8, 16) + x
    d = r - r.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * gamma


CONV_INPUTS = ("x", "w", "scale", "shift", "mean", "var", "v", "c", "fc")
REFERENCES: dict[str, Callable[..., Array]] = {"mlp": mlp, "conv": conv, "attention": attention}
FORMS = {"as it is": [], "generic": ["--mlir-print-op-generic"],
         "generalized": ["--linalg-generalize-named-ops"]}  # fmt: skip


def mlir_opt(file: Path, options: list[str], folder: Path) -> Path:
    """`file` as MLIR's own tool prints it."""
    tool = shutil.which("mlir-opt-19") or shutil.which("mlir-opt")
    assert tool, "this test needs mlir-opt (Debian: apt-get install mlir-19-tools)"
    out = folder / f"{file.stem}.opt.mlir"
    words = [tool, str(file), "--allow-unregistered-dialect", *options, "-o", str(out)]
    subprocess.run(words, check=True, capture_output=True)
    return out


def inputs_of(file: Path, seed: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for port in load_onnx(file).inputs:
        values = rng.standard_normal(port.shape) * 0.5
        found[port.name] = values > -0.3 if port.dtype == "bool" else values.astype(port.dtype)
    names = list(found)
    if len(names) == len(CONV_INPUTS):  # a variance
        found[names[5]] = np.abs(found[names[5]]) + np.float32(0.5)
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REFERENCES)
def test_models(name: str, form: str, tmp_path: Path) -> None:
    file = MODELS / f"{name}.mlir"
    if FORMS[form]:
        file = mlir_opt(file, FORMS[form], tmp_path)
    inputs = inputs_of(file)
    (got,) = onnx_reference(file, inputs)
    np.testing.assert_allclose(got, REFERENCES[name](*inputs.values()), rtol=2e-4, atol=2e-5)


def test_known_patterns_are_one_operator() -> None:
    ops = {
        name: [n.op for n in load_onnx(MODELS / f"{name}.mlir").topological()]
        for name in REFERENCES
    }
    assert ops["attention"].count("softmax") == ops["attention"].count("normalize") == 1
    assert "reduce" not in ops["attention"]
    assert ops["mlp"].count("relu") == 1 and ops["mlp"].count("matmul") == 2
    assert ops["conv"].count("conv2d") == 2 and "pad" not in ops["conv"]


def test_batch_norms_go_into_convolutions(tmp_path: Path) -> None:
    """Where weights are constants: one convolution with a bias, called as it was."""
    text, inputs = (MODELS / "conv.mlir").read_text(), inputs_of(MODELS / "conv.mlir")
    for name in ("w", "scale", "shift", "mean", "var"):
        found = re.search(rf", %{name}: (tensor<[^>]*>)", text)
        assert found is not None
        line = f'%{name} = arith.constant dense<"0x{inputs[name].tobytes().hex()}"> : {found[1]}'
        head, brace, rest = text.replace(found[0], "", 1).partition("tensor<1x5xf32> {\n")
        text = f"{head}{brace}    {line}\n{rest}"
    file = tmp_path / "m.mlir"
    file.write_text(text)
    graph = load_onnx(file)
    nodes = list(graph.topological())
    kinds = [n.op for n in nodes if n.op != "reshape"]
    assert kinds == ["conv2d", "relu", "pool2d", "conv2d", "add", "reduce", "matmul"]
    assert nodes[0].onnx_nodes[0].startswith("conv_2d_nchw_fchw_")
    given = {p.name: inputs[p.name] for p in graph.inputs}
    (got,) = onnx_reference(file, given)
    np.testing.assert_allclose(got, conv(*inputs.values()), rtol=2e-4, atol=2e-5)


def test_on_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(MODELS / "mlp.mlir"), "--input", "random", "--no-cache"]
    assert main(words) == 0
    assert "check against the ONNX reference on dstc: ok" in capsys.readouterr().out
    file = MODELS / "conv.mlir"
    compiled, inputs = compile_model(file, machine="v100"), inputs_of(file)
    result = compiled.run(inputs)
    assert compiled.check(inputs, result)["ok"]
    np.testing.assert_allclose(result.outputs["out0"], conv(*inputs.values()), atol=0.02)


# Every named operation

SIZES = {
    "n": 2, "c": 3, "g": 2, "f": 4, "m": 3, "k": 5, "b": 2, "h": 3, "w": 2, "y": 3, "x": 4,
}  # fmt: skip


def named(name: str) -> str:
    """A module with the operation, its result beginning as an argument; windows have steps."""
    parts = _NAMED[name].split(",")
    steps = {"h": (2, 1), "w": (1, 2)}
    letters = [c for c in "hw" if f":{c}" in _NAMED[name]]

    def size(word: str) -> int:
        out, _, window = word.partition(":")
        if not window:
            return SIZES.get(out, 3)
        stride, dilation = steps[window]
        return (SIZES[out] - 1) * stride + (SIZES[window] - 1) * dilation + 1

    types = ["x".join([*(str(size(w)) for w in part.split()), "f32"]) for part in parts]
    a, b, c = (f"tensor<{t}>" for t in types)
    attrs = ""
    if letters:
        lists = [", ".join(str(steps[w][i]) for w in letters) for i in (0, 1)]
        vector = f"vector<{len(letters)}xi64>"
        strides, dilations = (f"dense<[{text}]> : {vector}" for text in lists)
        attrs = f"{{dilations = {dilations}, strides = {strides}}}"
    return f"""func.func @main(%a: {a}, %b: {b}, %c: {c}) -> {c} {{
  %0 = linalg.{name} {attrs} ins(%a, %b : {a}, {b}) outs(%c : {c}) -> {c}
  func.return %0 : {c}
}}"""


def by_loops(op: Structured, arrays: list[Array], kind: str) -> Array:
    """What a product or pooling computes, one element after the other."""
    n = nest(op, [a.shape for a in arrays])
    a, b, out = arrays[0], arrays[1], np.array(arrays[2], np.float64)
    for point in itertools.product(*(range(e) for e in n.extents)):
        at = [tuple(sum(point[d] * f for d, f in p.terms) for p in m) for m in n.maps]
        x = float(a[at[0]])
        if kind == "product":
            out[at[2]] += x * float(b[at[1]])
        else:
            out[at[2]] = {"max": max, "min": min, "sum": lambda u, v: u + v}[kind](out[at[2]], x)
    return out


@pytest.mark.parametrize("name", _NAMED)
def test_named_operations(name: str, tmp_path: Path) -> None:
    file = tmp_path / "m.mlir"
    file.write_text(named(name))
    module, _ = read(file.read_text(), str(file))
    (op,) = [o for o in module.walk() if isinstance(o, Structured)]
    inputs = {
        k: v * 4 if k == "c" and name.endswith(("max", "min")) else v
        for k, v in inputs_of(file).items()
    }
    kind = name.rpartition("_")[2] if name.startswith("pooling") else "product"
    wanted = by_loops(op, list(inputs.values()), kind)
    (got,) = onnx_reference(file, inputs)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


BODIES = {
    "strided": ("affine_map<(d0, d1) -> (d0 * 2, d1)>", "tensor<7x3xf32>", "linalg.yield %in : f32",
                lambda a: a[::2]),
    "gelu": ("affine_map<(d0, d1) -> (d0, d1)>", "tensor<4x3xf32>", """
      %k = arith.constant 0.5 : f32
      %p = math.tanh %in : f32
      %q = arith.addf %p, %k : f32
      %r = arith.mulf %in, %q : f32
      linalg.yield %r : f32""", lambda a: a * (np.tanh(a) + 0.5)),
    "index": ("affine_map<(d0, d1) -> (d1, d0)>", "tensor<3x4xf32>", """
      %i = linalg.index 1 : index
      %j = arith.index_cast %i : index to i32
      %f = arith.sitofp %j : i32 to f32
      %r = arith.mulf %in, %f : f32
      linalg.yield %r : f32""", lambda a: a.T * np.arange(3)),
    "sigmoid": ("affine_map<(d0, d1) -> (d0, 0)>", "tensor<4x1xf32>", """
      %one = arith.constant 1.0 : f32
      %n = arith.negf %in : f32
      %p = math.exp %n : f32
      %s = arith.addf %p, %one : f32
      %r = arith.divf %one, %s : f32
      linalg.yield %r : f32""", lambda a: np.broadcast_to(1 / (1 + np.exp(-a)), (4, 3))),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str, tmp_path: Path) -> None:
    map_, type_, body, wanted = BODIES[name]
    file = tmp_path / "m.mlir"
    file.write_text(f"""func.func @main(%a: {type_}) -> tensor<4x3xf32> {{
  %e = tensor.empty() : tensor<4x3xf32>
  %0 = linalg.generic {{indexing_maps = [{map_}, affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]}} ins(%a : {type_}) outs(%e : tensor<4x3xf32>) {{
    ^bb0(%in: f32, %out: f32):
      {body}
    }} -> tensor<4x3xf32>
  func.return %0 : tensor<4x3xf32>
}}""")
    inputs = inputs_of(file)
    (got,) = onnx_reference(file, inputs)
    np.testing.assert_allclose(got, wanted(inputs["a"]), rtol=1e-5, atol=1e-6)


def test_lookups_slices_calls_and_places() -> None:
    file = MODELS / "moves.mlir"
    inputs = inputs_of(file) | {"ids": np.array([7, 2])}
    table, ids, x = inputs["table"], inputs["ids"], inputs["x"]
    wanted = np.concatenate([2 * table[ids], x[:, 1::2]], 1)
    wanted[1, 2:4] = x[0, :2]
    got = onnx_reference(file, inputs)
    np.testing.assert_allclose(got[0], wanted, rtol=1e-6)
    np.testing.assert_array_equal(got[1], x.argmax(1))
    np.testing.assert_allclose(got[2], x.sum(1) + x.max(1), rtol=1e-5)


def test_onnx_as_torch_mlir_has_it(tmp_path: Path) -> None:
    w = np.arange(20, dtype=np.float32).reshape(2, 10) / 8
    file = tmp_path / "m.mlir"
    file.write_text(
        (MODELS / "torch_onnx.mlir").read_text().replace("WEIGHTS", w.tobytes().hex().upper())
    )
    x = np.random.default_rng(2).standard_normal((3, 10)).astype(np.float32)
    compiled = compile_model(file, machine="v100", dims={"arg0_0": 3})
    result = compiled.run({"arg0": x})
    assert compiled.check({"arg0": x}, result)["ok"]
    (got,) = result.outputs.values()
    np.testing.assert_allclose(got, x @ w.T + np.array([0.5, -0.5]), atol=0.05)


WRONG = {
    "%0 = tensor.bitcast %a : tensor<4x3xf32> to tensor<4x3xi32>": "bitcast is not supported",
    "%0 = math.cbrt %a : tensor<4x3xf32>": "math.cbrt is not supported",
    "%0 = linalg.winograd fmr(F_2_3) ins(%a : tensor<4x3xf32>) outs(%a : tensor<4x3xf32>)": "",
    "%0 = math.atan %a : tensor<4x3xf32>": "math.atan is not supported",
    "%0 = arith.constant dense_resource<gone> : tensor<4x3xf32>": "is not in the file",
}


@pytest.mark.parametrize("line", WRONG)
def test_errors_have_a_place(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.mlir"
    file.write_text(f"""func.func @main(%a: tensor<4x3xf32>) -> tensor<4x3xf32> {{
  {line}
  %1 = linalg.copy ins(%0 : tensor<4x3xf32>) outs(%a : tensor<4x3xf32>) -> tensor<4x3xf32>
  func.return %1 : tensor<4x3xf32>
}}""")
    with pytest.raises(SourceError, match=WRONG[line]):
        read_mlir(file)
        load_onnx(file)
    assert main(["compile", str(file), "-o", str(tmp_path / "o.bin"), "--no-cache"]) == 2
    told, shown, caret = capsys.readouterr().err.rstrip("\n").split("\n")
    assert told.startswith(f"{file}:2:") and ": error: " in told, told
    assert shown == f"  {line}" and caret.strip().startswith("^")


def test_errors_of_the_graph_have_a_place(tmp_path: Path) -> None:
    """What only the ONNX front end finds: here, that products of integers have no kernel."""
    file = tmp_path / "m.mlir"
    line = "  %0 = linalg.matmul ins(%a, %a : T, T) outs(%a : T) -> T".replace(
        "T", "tensor<4x4xi32>"
    )
    file.write_text(
        "func.func @main(%a: tensor<4x4xi32>) -> tensor<4x4xi32> {\n"
        f"{line}\n  func.return %0 : tensor<4x4xi32>\n}}\n"
    )
    with pytest.raises(SourceError) as told:
        load_onnx(file)
    assert str(told.value).split("\n") == [
        f"{file}:2:3: error: (MatMul): products of integers are not supported",
        line,
        "  ^",
    ]
