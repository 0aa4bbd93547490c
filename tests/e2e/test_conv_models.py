"""Convolutions of ONNX models against ONNX's evaluator: groups, one dimension, transposed."""

from typing import Any

import numpy as np
import pytest
from dstc.compiler import compile_model
from dstc.runtime.machine import Machine
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

V100 = Machine.load("v100").overridden({"sm.count": 4})

CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "groups": ("Conv", (2, 6, 9, 8), (8, 3, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", (1, 12, 7, 9), (24, 1, 3, 3), {"group": 12, "strides": [2, 1]}),
    "one dimension": ("Conv", (2, 5, 40), (7, 5, 9), {"pads": [4, 4], "dilations": [2]}),
    "depthwise of one dimension": ("Conv", (2, 6, 30), (6, 1, 4), {"group": 6, "pads": [3, 0]}),
    "same": ("Conv", (1, 3, 10, 11), (4, 3, 3, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "transposed": ("ConvTranspose", (1, 6, 5, 6), (6, 4, 4, 4), {"strides": [2, 2],
                   "pads": [1, 1, 1, 1]}),
    "output padding": ("ConvTranspose", (2, 4, 5, 5), (4, 3, 3, 3), {"strides": [2, 3],
                       "pads": [1, 0, 1, 1], "output_padding": [1, 2]}),
    "transposed and dilated": ("ConvTranspose", (1, 6, 4, 4), (6, 2, 3, 3), {"dilations": [2, 1]}),
    "transposed row": ("ConvTranspose", (2, 4, 11), (4, 5, 6), {"strides": [3], "pads": [2, 1]}),
    "output shape": ("ConvTranspose", (1, 3, 4, 5), (3, 2, 3, 3), {"strides": [2, 2],
                     "output_shape": [8, 10], "auto_pad": "SAME_UPPER"}),
}  # fmt: skip


def model(op: str, x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any]) -> ModelProto:
    rng = np.random.default_rng(len(attrs))
    filters = w[0] if op == "Conv" else w[1] * attrs.get("group", 1)
    constants = {
        "w": rng.standard_normal(w).astype(np.float32),
        "b": rng.standard_normal(filters).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node(op, ["x", "w", "b"], ["c"], "conv", **attrs),
            helper.make_node("Relu", ["c"], ["y"], "relu"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=opset, ir_version=10)
    )


@pytest.mark.parametrize("engine", ["dense", "auto"])
@pytest.mark.parametrize("name", CASES)
def test_against_the_evaluator(name: str, engine: str) -> None:
    op, x, w, attrs = CASES[name]
    compiled = compile_model(model(op, x, w, attrs), machine=V100, engine=engine)
    data = np.random.default_rng(3).standard_normal(x).astype(np.float32)
    result = compiled.run(data)
    verdict = compiled.check(data, result)
    assert verdict["ok"], verdict
    (kernel,) = result.kernels
    assert kernel.launch.op == "conv2d" and kernel.operands is not None
    group, taps = attrs.get("group", 1), int(np.prod(w[2:]))
    (output,) = result.outputs.values()
    channels = x[1] // group
    assert kernel.launch.macs_dense == output.size * channels * taps
    assert 0 < kernel.macs_effective <= kernel.launch.macs_dense


def test_transposed_groups() -> None:
    """The evaluator cannot do them: each group by itself, scattered with numpy."""
    x, w, strides = (2, 6, 4, 5), (6, 2, 3, 2), (2, 1)
    proto = model("ConvTranspose", x, w, {"group": 3, "strides": list(strides)})
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    data = np.random.default_rng(3).standard_normal(x).astype(np.float32)
    (got,) = compile_model(proto, machine=V100, engine="dense").run(data).outputs.values()
    halves, filters = (a.astype(np.float16).astype(np.float64) for a in (data, constants["w"]))
    want = np.zeros((2, 6, 9, 6)) + constants["b"][:, None, None]
    for c in range(6):
        for f in range(2):
            for h in range(4):
                for i in range(5):
                    block = want[:, c // 2 * 2 + f, 2 * h : 2 * h + 3, i : i + 2]
                    block += halves[:, c, h, i, None, None] * filters[c, f]
    np.testing.assert_allclose(got, np.maximum(want, 0), atol=1e-2)
