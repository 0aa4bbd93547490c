"""Host operators: their definitions, and the same bits as the interpreter of the IR."""

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.api import compile_model
from dstc.compiler.driver import new_context, run_pipeline
from dstc.compiler.pipelines import pipeline
from dstc.compiler.reference import run_module
from dstc.runtime.host_ops import pool, run_host_op, softmax

from ..compiler.onnx_models import model, node, random

MODELS = {
    "max": [node("MaxPool", ["x"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])],
    "max dilated": [node("MaxPool", ["x"], kernel_shape=[2, 2], dilations=[2, 3])],
    "average": [node("AveragePool", ["x"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)],
    "average with padding": [
        node("AveragePool", ["x"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    ],
    "average, ceil": [node("AveragePool", ["x"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
    "global average": [node("GlobalAveragePool", ["x"])],
    "softmax": [node("Flatten", ["x"], "f", axis=1), node("Softmax", ["f"], axis=1)],
    "pool of a reshape": [
        node("Flatten", ["x"], "f", axis=1),
        node("Reshape", ["f", "shape"], "r"),
        node("MaxPool", ["r"], kernel_shape=[2, 2]),
    ],
    "softmax of a pool": [
        node("MaxPool", ["x"], "p", kernel_shape=[2, 2]),
        node("Flatten", ["p"], "f", axis=1),
        node("Softmax", ["f"], axis=0),
    ],
}


@pytest.mark.parametrize("name", MODELS)
def test_a_program_computes_what_the_ir_means(name: str) -> None:
    x = 4 * random(np.random.default_rng(3), 2, 3, 7, 9)
    x[0, 0, 0, :3] = (60000, -60000, 1e-7)
    shape = {"shape": np.array([2, 7, 3, 9])}
    compiled = compile_model(model(MODELS[name], {"x": x.shape}, constants=shape))
    result = compiled.run(x, mode="functional")
    assert not result.host_ops
    assert compiled.graph is not None
    ctx = new_context()
    module = compiled.graph.to_module(ctx)
    run_pipeline(ctx, module, pipeline("graph", machine="dstc", engine="auto"))
    (want,) = run_module(module, ctx, [x])
    (got,) = result.outputs.values()
    np.testing.assert_array_equal(got, want.astype(got.dtype))
    assert compiled.check(x, result)["ok"]


WINDOW = ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1))


def test_a_nan_never_wins() -> None:
    x = np.array([[np.nan, 1], [-3, 2]], np.float16).reshape(1, 1, 2, 2)
    assert pool(x, (1, 1), WINDOW, "max", False).item() == 2
    assert np.isnan(pool(x, (1, 1), WINDOW, "average", False).item())


def test_average_adds_in_order() -> None:
    x = np.array([1e8, 1, -1e8, 1], np.float32).reshape(1, 1, 2, 2)
    assert pool(x, (1, 1), WINDOW, "average", False).item() == 0.25  # (1e8 + 1) is 1e8 in f32


def test_softmax_of_large_values() -> None:
    y = softmax(np.array([[1e30, 0, -1e30], [0, 0, 0]], np.float32), 1)
    np.testing.assert_array_equal(y[0], [1, 0, 0])
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)


def test_unknown_operator() -> None:
    with pytest.raises(DstcError, match=r"'sort' is not known; known: pool2d, softmax"):
        run_host_op("sort", [np.zeros(1)], (1,), {})
