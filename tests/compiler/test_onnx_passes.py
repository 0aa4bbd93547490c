"""Whole models through the passes of levels 1 and 2: equal where they must be, else bounded."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.frontends.onnx_import import load_onnx
from dstc.compiler.reference import compare, error_bound, onnx_reference, run_module
from dstc.dialects import dstc
from dstc.dialects.constants import ConstantPool, attach
from dstc.passes.annotate_sparsity import AnnotateSparsity
from dstc.passes.fold_constants import FoldConstants
from dstc.passes.fuse_epilogue import FuseEpilogue
from dstc.passes.lower_conv import LowerConv
from dstc.passes.lower_precision import LowerPrecision
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto
from xdsl.context import Context
from xdsl.dialects.builtin import Float16Type, Float32Type, ModuleOp, TensorType

from .onnx_models import model, node, random

SAME = (FuseEpilogue(), FoldConstants(), AnnotateSparsity(), LowerConv(), FoldConstants())
"""Passes that change no bit."""

ROUND = LowerPrecision()


def network(seed: int) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A random small CNN: convolutions with whatever may follow them, then linear layers."""
    rng = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    shape = (int(rng.integers(1, 3)), int(rng.integers(1, 4)), 8, 7)
    feeds = {"x": random(rng, *shape)}
    value, channels = "x", shape[1]

    def add(op: str, *inputs: str, **attrs: Any) -> None:
        nonlocal value
        output = f"v{len(nodes)}"
        nodes.append(node(op, [value, *inputs], output, **attrs))
        value = output

    def weight(*dims: int) -> str:
        name = f"c{len(constants)}"
        constants[name] = random(rng, *dims)
        return name

    for _ in range(int(rng.integers(1, 3))):
        filters = int(rng.integers(1, 6))
        bias = [weight(filters)] if rng.random() < 0.5 else []
        add("Conv", weight(filters, channels, 3, 3), *bias, pads=[1, 1, 1, 1])
        channels = filters
        if rng.random() < 0.3:
            add("Add", weight(channels, 1, 1))
        if rng.random() < 0.7:
            add("Relu")
        if rng.random() < 0.3:
            add("Add", value)
        kind = ["MaxPool", "AveragePool", ""][int(rng.integers(0, 3))]
        if kind and len([n for n in nodes if "Pool" in n.op_type]) < 1:
            add(kind, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    if rng.random() < 0.5:
        add("GlobalAveragePool")
    add("Flatten")
    shapes = model(nodes, {"x": shape}, (value,), constants).graph.output[0]
    size = shapes.type.tensor_type.shape.dim[1].dim_value
    if rng.random() < 0.7:
        add("Gemm", weight(6, size), weight(6), transB=1)
        if rng.random() < 0.5:
            add("Relu")
            add("MatMul", weight(6, 4))
    if rng.random() < 0.4:
        add("Softmax")
    return model(nodes, {"x": shape}, (value,), constants), feeds


def lowered(proto: ModelProto, feeds: dict[str, np.ndarray]) -> tuple[ModuleOp, Context]:
    ctx = Context()
    return load_onnx(proto).to_module(ctx), ctx


def outputs(module: ModuleOp, ctx: Context, feeds: dict[str, np.ndarray]) -> np.ndarray:
    module.verify()
    return run_module(module, ctx, list(feeds.values()))[0]


@settings(max_examples=40)
@given(st.integers(0, 2**31))
def test_passes_keep_every_bit(seed):
    proto, feeds = network(seed)
    module, ctx = lowered(proto, feeds)
    results = [outputs(module, ctx, feeds)]
    for p in SAME:
        p.apply(ctx, module)
        results.append(outputs(module, ctx, feeds))
    for before, after in pairwise(results):
        np.testing.assert_array_equal(before, after)
    assert not any(isinstance(op, dstc.Conv2dOp) for op in module.walk())


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.booleans(), st.booleans())
def test_f16_stays_within_the_bound(seed, fuse, fold):
    proto, feeds = network(seed)
    graph = load_onnx(proto)
    module, ctx = lowered(proto, feeds)
    for p in (*[FuseEpilogue()] * fuse, *[FoldConstants()] * fold, ROUND):
        p.apply(ctx, module)
    first = outputs(module, ctx, feeds)
    (name,) = (p.name for p in graph.outputs)
    (want,) = onnx_reference(proto, feeds)
    bound = error_bound(graph, feeds)[name]
    assert bound.shape == want.shape
    verdict = compare(first, want, bound)
    assert verdict["ok"], verdict
    if proto.graph.node[-1].op_type != "Softmax":  # which amplifies the error of large inputs
        assert bound.max() < 0.05 * max(np.abs(want).max(), 1), "vacuous"
    for p in (FoldConstants(), AnnotateSparsity(), LowerConv(), ROUND):
        p.apply(ctx, module)
        np.testing.assert_array_equal(outputs(module, ctx, feeds), first)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.booleans())
def test_operands_are_f16_and_biases_f32(seed, fold_first):
    proto, feeds = network(seed)
    module, ctx = lowered(proto, feeds)
    folding = (FoldConstants(),) if fold_first else ()
    for p in (FuseEpilogue(), *folding, ROUND, FoldConstants(), LowerConv()):
        p.apply(ctx, module)
    for op in module.walk():
        if isinstance(op, dstc.MatmulOp):
            for operand in (op.lhs, op.rhs):
                assert isinstance(operand.type, TensorType)
                assert isinstance(operand.type.element_type, Float16Type)
            if op.bias is not None:
                assert isinstance(op.bias.type, TensorType)
                assert isinstance(op.bias.type.element_type, Float32Type)


def test_a_weight_that_overflows_f16_is_refused():
    proto = model(
        [node("MatMul", ["x", "w"])],
        {"x": (1, 2)},
        constants={"w": np.array([[1], [1e6]], np.float32)},
    )
    module, ctx = lowered(proto, {})
    with pytest.raises(DstcError, match="constant 'w': 1e\\+06 does not fit f16"):
        ROUND.apply(ctx, module)


def test_weights_that_are_missing():
    module, ctx = lowered(*network(1))
    attach(ctx, ConstantPool())
    with pytest.raises(DstcError, match="is not in the pool; give the weights with --constants"):
        ROUND.apply(ctx, module)


def test_compare():
    want = np.array([1.0, -2.0, np.inf, np.nan], np.float32)
    verdict = compare(want + np.array([0.5, 0, 0, 0], np.float32), want, 0.5)
    assert verdict == {"ok": True, "max_abs_error": 0.5, "max_rel_error": 0.25, "bound": 0.5}
    assert not compare(np.array([np.nan]), np.array([1.0]), 0.5)["ok"]
    assert not compare(np.array([np.inf]), np.array([1.0]), np.inf)["ok"]
    assert not compare(np.array([1.25]), np.array([1.0]), 0.125)["ok"]
    with pytest.raises(DstcError, match=r"results have the shape \(1,\), the reference has \(2,\)"):
        compare(np.zeros(1), np.zeros(2), 0)


def test_the_example(root: Path):
    """The pruned digits CNN: densities, layers, accuracy and bound."""
    folder = root / "examples" / "digits_cnn"
    file = folder / "digits_cnn_pruned90.onnx"
    with np.load(folder / "digits_test.npz") as data:
        x, y = data["x"][:64], data["y"][:64]
    graph = load_onnx(file, input_shapes={"x": x.shape})
    ctx = Context()
    module = graph.to_module(ctx)
    for p in (FuseEpilogue(), ROUND, FoldConstants(), AnnotateSparsity(), LowerConv()):
        p.apply(ctx, module)
    module.verify()
    products = [op for op in module.walk() if isinstance(op, dstc.MatmulOp)]
    assert [p.relu for p in products] == [True] * 4 + [False]
    assert all(dstc.source_of(p) for p in products)
    a, b = products[2].a_density, products[2].b_density
    assert a is not None and b is not None
    assert 0.1 < a.value.data < 0.12 and b.value.data == 0.5
    (got,) = run_module(module, ctx, [x])
    (want,) = onnx_reference(file, {"x": x})
    bound = error_bound(graph, {"x": x})["linear_1"]
    assert compare(got, want, bound)["ok"]
    assert (got.argmax(1) == want.argmax(1)).all() and (got.argmax(1) == y).mean() > 0.95
