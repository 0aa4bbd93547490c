"""The ONNX front end against ONNX's own evaluator, and its messages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.frontends.onnx_import import load_onnx
from dstc.compiler.graph import ModelGraph
from dstc.compiler.reference import onnx_reference, run_module
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from xdsl.context import Context

from .onnx_models import model, node, random

RNG = np.random.default_rng(0)


def check(proto: ModelProto, feeds: Mapping[str, NDArray[Any]]) -> ModelGraph:
    """Import, interpret, compare with ONNX's evaluator."""
    graph = load_onnx(proto, input_shapes={n: a.shape for n, a in feeds.items()})
    ctx = Context()
    module = graph.to_module(ctx)
    got = run_module(module, ctx, [feeds[p.name] for p in graph.inputs])
    want = onnx_reference(proto, feeds)
    assert [p.shape for p in graph.outputs] == [w.shape for w in want]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-4)
    return graph


def ops(graph: ModelGraph) -> list[str]:
    return [n.op for n in graph.topological()]


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(*[st.integers(0, 2)] * 4)
auto = st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])


@settings(max_examples=40)
@given(pair, pair, pair, pads, auto, st.booleans(), st.integers(0, 2**31))
def test_conv(kernel, strides, dilations, pad, auto_pad, bias, seed):
    rng = np.random.default_rng(seed)
    if auto_pad.startswith("SAME"):
        dilations = (1, 1)  # ONNX's evaluator ignores dilations there
    attrs: dict[str, Any] = {"strides": strides, "dilations": dilations, "auto_pad": auto_pad}
    if auto_pad == "NOTSET":
        attrs["pads"] = pad
    constants = {"w": random(rng, 4, 3, *kernel), **({"b": random(rng, 4)} if bias else {})}
    proto = model(
        [node("Conv", ["x", *constants], **attrs)], {"x": (2, 3, 9, 8)}, ("y",), constants
    )
    check(proto, {"x": random(rng, 2, 3, 9, 8)})


@settings(max_examples=60)
@given(
    st.sampled_from(["MaxPool", "AveragePool"]),
    pair,
    pair,
    pair,
    pads,
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_pool(op, kernel, strides, dilations, pad, ceil_mode, include, seed):
    rng = np.random.default_rng(seed)
    assume(all(p < k for p, k in zip(pad, (*kernel, *kernel), strict=True)))
    if op == "AveragePool" and ceil_mode:
        dilations = (1, 1)  # ONNX's evaluator shifts dilated windows there; see the next test
    attrs: dict[str, Any] = {"ceil_mode": int(ceil_mode), "dilations": dilations, "pads": pad}
    if op == "AveragePool":
        attrs["count_include_pad"] = int(include)
    proto = model(
        [node(op, ["x"], kernel_shape=kernel, strides=strides, **attrs)], {"x": (2, 3, 8, 7)}
    )
    check(proto, {"x": random(rng, 2, 3, 8, 7)})


@pytest.mark.parametrize("include", [0, 1])
def test_dilated_average_with_ceil_mode(include):
    attrs = {"kernel_shape": [1, 2], "strides": [1, 3], "dilations": [1, 3], "pads": [0, 0, 0, 1]}
    proto = model(
        [node("AveragePool", ["x"], ceil_mode=1, count_include_pad=include, **attrs)],
        {"x": (1, 1, 1, 7)},
    )
    ctx = Context()
    module = load_onnx(proto).to_module(ctx)
    (got,) = run_module(module, ctx, [np.arange(1, 8, dtype=np.float32).reshape(1, 1, 1, 7)])
    # windows {1, 4}, {4, 7}, {7, behind the padding}
    np.testing.assert_array_equal(got.ravel(), [2.5, 5.5, 7.0])


@settings(max_examples=40)
@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([1.0, 0.5]),
    st.sampled_from([1.0, 0.0, 2.0]),
    st.sampled_from([None, (5,), (1, 5), (4, 1), (4, 5), (1,), ()]),
    st.integers(0, 2**31),
)
def test_gemm(trans_a, trans_b, alpha, beta, c_shape, seed):
    rng = np.random.default_rng(seed)
    a = random(rng, *((6, 4) if trans_a else (4, 6)))
    constants = {"b": random(rng, *((5, 6) if trans_b else (6, 5)))}
    if c_shape is not None:
        constants["c"] = random(rng, *c_shape)
    proto = model(
        [
            node(
                "Gemm",
                ["a", *constants],
                transA=int(trans_a),
                transB=int(trans_b),
                alpha=alpha,
                beta=beta,
            )
        ],
        {"a": a.shape},
        constants=constants,
    )
    graph = check(proto, {"a": a})
    assert ("transpose" in ops(graph)) == trans_a


def test_gemm_of_two_inputs_transposes_the_second():
    a, b, c = random(RNG, 4, 6), random(RNG, 5, 6), random(RNG, 5)
    proto = model(
        [node("Gemm", ["a", "b", "c"], transB=1)], {"a": a.shape, "b": b.shape, "c": c.shape}
    )
    assert ops(check(proto, {"a": a, "b": b, "c": c})) == ["transpose", "matmul", "add"]


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6), (2, 1, 3, 6)])
def test_matmul_and_add_are_one_linear(shape):
    constants = {"w": random(RNG, 6, 5), "b": random(RNG, 5)}
    proto = model(
        [node("MatMul", ["x", "w"], "p"), node("Add", ["b", "p"])], {"x": shape}, ("y",), constants
    )
    graph = check(proto, {"x": random(RNG, *shape)})
    assert ops(graph).count("matmul") == 1 and "add" not in ops(graph)
    (linear,) = (n for n in graph.topological() if n.op == "matmul")
    assert linear.onnx_nodes == ("node_p", "node_y") and linear.inputs[2] == "b"


def test_an_add_that_makes_the_result_larger_stays():
    constants = {"w": random(RNG, 6, 5), "b": random(RNG, 3, 1, 5)}
    proto = model(
        [node("MatMul", ["x", "w"], "p"), node("Add", ["p", "b"])], {"x": (4, 6)}, ("y",), constants
    )
    assert ops(check(proto, {"x": random(RNG, 4, 6)})) == ["matmul", "add"]


NORM = {
    "scale": random(RNG, 4) + 2,
    "shift": random(RNG, 4),
    "mean": random(RNG, 4),
    "var": np.abs(random(RNG, 4)) + np.float32(0.5),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("product", ["Conv", "Gemm"])
def test_batch_norm_folds(product, bias):
    w = random(RNG, 4, 3, 2, 2) if product == "Conv" else random(RNG, 3, 4)
    x = random(RNG, 2, 3, 5, 5) if product == "Conv" else random(RNG, 2, 3)
    constants = {**NORM, "w": w, **({"b": random(RNG, 4)} if bias else {})}
    proto = model(
        [
            node(product, ["x", "w", *(["b"] if bias else [])], "p"),
            node("BatchNormalization", ["p", *NORM], "q", epsilon=1e-3),
            node("Relu", ["q"]),
        ],
        {"x": x.shape},
        constants=constants,
    )
    graph = check(proto, {"x": x})
    assert len(ops(graph)) == 2
    assert next(graph.topological()).onnx_nodes == ("node_p", "node_q")


def test_a_batch_norm_with_another_reader_before_it_scales_its_input():
    proto = model(
        [
            node("Conv", ["x", "w"], "p"),
            node("BatchNormalization", ["p", *NORM], "q"),
            node("Add", ["p", "q"]),
        ],
        {"x": (1, 3, 4, 4)},
        constants={**NORM, "w": random(RNG, 4, 3, 2, 2)},
    )
    graph = check(proto, {"x": random(RNG, 1, 3, 4, 4)})
    assert ops(graph) == ["conv2d", "elementwise", "add", "add"]


SHAPES = {
    "flatten": [node("Flatten", ["x"])],
    "flatten axis": [node("Flatten", ["x"], axis=-1)],
    "global average": [node("GlobalAveragePool", ["x"])],
    "global max": [node("GlobalMaxPool", ["x"])],
    "softmax": [node("Softmax", ["x"])],
    "softmax axis": [node("Softmax", ["x"], axis=1)],
    "transpose": [node("Transpose", ["x"])],
    "permute": [node("Transpose", ["x"], perm=[0, 2, 3, 1])],
    "identity": [node("Identity", ["x"])],
    "cast": [node("Cast", ["x"], "c", to=TensorProto.FLOAT), node("Relu", ["c"])],
    "dropout": [node("Dropout", ["x"], "d"), node("Relu", ["d"])],
    "add itself": [node("Add", ["x", "x"])],
    "broadcast": [node("Transpose", ["x"], "t", perm=[0, 1, 3, 2]), node("Add", ["t", "s"])],
    "reshape": [node("Constant", [], "k", value_ints=[0, -1]), node("Reshape", ["x", "k"])],
    "squeeze": [node("GlobalAveragePool", ["x"], "g"), node("Squeeze", ["g", "axes"])],
    "unsqueeze": [node("Unsqueeze", ["x", "axes"])],
    "computed shape": [
        node("Shape", ["x"], "n", end=1),
        node("Constant", [], "m", value_ints=[-1]),
        node("Concat", ["n", "m"], "k", axis=0),
        node("Reshape", ["x", "k"]),
    ],
    "constant output": [node("Identity", ["s"])],
}


@pytest.mark.parametrize("name", SHAPES)
def test_other_operators(name):
    constants = {"s": random(RNG, 1), "axes": np.array([2, 3])}
    proto = model(SHAPES[name], {"x": ("n", 3, 4, 5)}, constants=constants)
    check(proto, {"x": random(RNG, 2, 3, 4, 5)})


def test_constant_subgraphs_are_folded():
    constants = {"w": random(RNG, 3, 4), "scale": random(RNG, 4)}
    proto = model(
        [
            node("Transpose", ["w"], "t"),
            node("Transpose", ["t"], "u"),
            node("Mul", ["u", "scale"], "v"),
            node("MatMul", ["x", "v"]),
        ],
        {"x": (2, 3)},
        constants=constants,
    )
    assert ops(check(proto, {"x": random(RNG, 2, 3)})) == ["matmul"]


def test_nodes_that_no_output_needs_are_left_out():
    proto = model([node("Erf", ["x"], "e"), node("Relu", ["x"])], {"x": (2, 3)})
    assert ops(check(proto, {"x": random(RNG, 2, 3)})) == ["relu"]


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_constants(linear):
    values = numpy_helper.from_array(np.array([2, -3], np.float32), "w")
    at = np.array([1, 5]) if linear else np.array([[0, 1], [1, 2]])
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(at), [2, 3])
    proto = model(
        [node("MatMul", ["x", "w"])],
        {"x": (4, 2)},
        output_shape=(4, 3),
        sparse_initializer=[sparse],
    )
    graph = load_onnx(proto)
    np.testing.assert_array_equal(graph.constants["w"], [[0, 2, 0], [0, 0, -3]])


def test_local_functions_are_inlined():
    body = helper.make_function(
        "com.acme",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], "b")],
        [helper.make_opsetid("", 20)],
    )
    proto = model(
        [helper.make_node("Twice", ["x"], ["y"], domain="com.acme")],
        {"x": (2, 3)},
        output_shape=(2, 3),
    )
    proto.functions.append(body)
    assert ops(check(proto, {"x": random(RNG, 2, 3)})) == ["add"]


def test_half_precision_models_keep_their_types():
    half = random(RNG, 3, 4).astype(np.float16)
    proto = model(
        [node("MatMul", ["x", "w"])],
        {"x": (2, 3)},
        constants={"w": half},
        dtype=TensorProto.FLOAT16,
    )
    graph = load_onnx(proto)
    assert [p.dtype for p in (*graph.inputs, *graph.outputs)] == ["float16", "float16"]
    assert graph.constants["w"].dtype == np.float32


def test_names_without_node_names():
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (2, 3)})
    (relu,) = load_onnx(proto).topological()
    assert relu.onnx_nodes == ("y",)


# --- dynamic dimensions -----------------------------------------------------------------------

DYNAMIC = model([node("Relu", ["x"])], {"x": ("batch", 3, "size")})


def test_dims_by_name_and_by_shape():
    assert load_onnx(DYNAMIC, {"batch": 4, "size": 2}).inputs[0].shape == (4, 3, 2)
    graph = load_onnx(DYNAMIC, input_shapes={"x": (4, 3, 2)})
    assert graph.inputs[0].shape == (4, 3, 2) and not graph.notes


def test_an_open_batch_is_one_with_a_note():
    graph = load_onnx(DYNAMIC, {"size": 2})
    assert graph.inputs[0].shape == (1, 3, 2)
    assert graph.notes == ("input 'x': batch 'batch' assumed 1; set it with --dim batch=N",)


@pytest.mark.parametrize(
    ("dims", "shapes", "message"),
    [
        ({}, {}, "input 'x' has the dynamic dimension 'size'; set it with --dim size=N"),
        ({"n": 1}, {}, "no dimension is named 'n'; dynamic dimensions: batch, size"),
        ({"size": 0}, {}, "dimension 'size' must be 1 or more, not 0"),
        ({}, {"z": (1,)}, "no input is named 'z'; inputs: x"),
        ({}, {"x": (1, 3)}, "has 3 dimensions, but the shape given has 2"),
        ({}, {"x": (1, 4, 2)}, "dimension 1 must be 3, not 4"),
        ({"size": 5}, {"x": (1, 3, 2)}, "dimension 2 must be 5, not 2"),
    ],
)
def test_dims_that_do_not_fit(dims, shapes, message):
    with pytest.raises(DstcError) as e:
        load_onnx(DYNAMIC, dims, shapes)
    assert message in str(e.value) and "\n" not in str(e.value)


# --- messages ---------------------------------------------------------------------------------

W = {"w": random(RNG, 4, 3, 2, 2)}
LOOP = model(
    [
        node(
            "Loop",
            ["n", "yes"],
            body=helper.make_graph(
                [helper.make_node("Identity", ["c"], ["d"]),
                 helper.make_node("Identity", ["x"], ["z"])],
                "body",
                [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                 helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
                [helper.make_tensor_value_info("d", TensorProto.BOOL, []),
                 helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
            ),
        )
    ],
    {"x": (1,)},
    constants={"n": np.array(3), "yes": np.array(True)},
)  # fmt: skip
BAD = {
    "operator": (
        model([node("Det", ["x"])], {"x": (5, 5)}),
        "node 'node_y' (Det): operator is not supported; supported: Abs, Add, ",
    ),
    "unknown operator": (
        model([node("Nonsense", ["x"])], {"x": (1,)}),
        "node 'node_y' (Nonsense): operator is not supported",
    ),
    "domain": (
        model([node("Relu", ["x"], domain="com.acme")], {"x": (1,)}),
        "node 'node_y' (Relu): operator of com.acme is not supported",
    ),
    "groups": (
        model([node("Conv", ["x", "w"], group=3)], {"x": (1, 9, 5, 5)}, constants=W),
        "node 'node_y' (Conv): group = 3: 9 channels and 4 filters do not fall into as many",
    ),
    "dynamic filter of a transposed convolution": (
        model([node("ConvTranspose", ["x", "z"])], {"x": (1, 4, 5, 5), "z": (4, 3, 2, 2)}),
        "the filter of a transposed convolution must be a constant",
    ),
    "pads of a transposed convolution": (
        model(
            [node("ConvTranspose", ["x", "w"], pads=[2, 0, 0, 0])], {"x": (1, 4, 5, 5)}, constants=W
        ),
        "pads [2, 0, 0, 0] cut off more than a filter of [2, 2] reaches",
    ),
    "3-D convolution": (
        model(
            [node("Conv", ["x", "w"])],
            {"x": (1, 3, 5, 5, 5)},
            constants={"w": random(RNG, 4, 3, 2, 2, 2)},
        ),
        "3-D convolution is not supported; only 1-D and 2-D",
    ),
    "3-D": (
        model([node("MaxPool", ["x"], kernel_shape=[1, 1, 1])], {"x": (1, 3, 5, 5, 5)}),
        "3-D pooling is not supported",
    ),
    "int relu": (
        model([node("Relu", ["x"])], {"x": (1,)}, dtype=TensorProto.INT32),
        "node 'node_y' (Relu): relu of int32 is not supported",
    ),
    "string input": (
        model([node("StringNormalizer", ["x"])], {"x": (1,)}, dtype=TensorProto.STRING),
        "node 'node_y' (StringNormalizer): operator is not supported",
    ),
    "strings": (
        model([node("Identity", ["x"])], {"x": (1,)}, dtype=TensorProto.STRING),
        "input 'x' has elements of STRING; there are float32, ",
    ),
    "loop": (LOOP, "node 'node_y' (Loop): control flow is not supported; export the model "),
    "cast": (
        model(
            [node("Cast", ["x"], "h", to=TensorProto.STRING), node("Cast", ["h"], to=1)],
            {"x": (1,)},
        ),
        "node 'node_h' (Cast): a cast to STRING is not supported",
    ),
    "empty": (
        model([node("Slice", ["x", "s", "s"])], {"x": (4,)}, constants={"s": np.array([1])}),
        "output 'y' has no elements",
    ),
    "large integer": (
        model(
            [node("Add", ["x", "k"])],
            {"x": (1,)},
            dtype=TensorProto.INT64,
            constants={"k": np.array([2**40])},
        ),
        "constant 'k' has 1099511627776 to 1099511627776; integers must fit 32 bits",
    ),
    "no outputs": (model([], {"x": (1,)}, ()), "the model has no outputs"),
    "opset": (model([node("Relu", ["x"])], {"x": (1,)}, opset=9), "opset 9 is not supported"),
    "shapes": (
        model([node("MatMul", ["x", "w"])], {"x": (2, 7)}, constants={"w": random(RNG, 3, 4)}),
        "shapes do not fit",
    ),
    "undefined value": (model([node("Relu", ["nothing"])], {"x": (1,)}), "no valid ONNX model"),
    "no value": (model([node("Relu", ["x"], "z")], {"x": (1,)}), "no valid ONNX model"),
    "zero": (model([node("Relu", ["x"])], {"x": (0, 2)}), "dimension 0 is 0; it must be 1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_messages_are_one_line(name, tmp_path: Path):
    proto, message = BAD[name]
    file = tmp_path / "model.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(DstcError) as e:
        load_onnx(file)
    assert str(e.value).startswith(f"{file}: ") and message in str(e.value)
    assert "\n" not in str(e.value) and e.value.exit_code == 2


def test_damaged_files(tmp_path: Path):
    whole = DYNAMIC.SerializeToString()
    for name, data in {"empty": b"", "text": b"not a model at all", "cut": whole[:-9]}.items():
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(data)
        with pytest.raises(DstcError) as e:
            load_onnx(file)
        assert str(e.value).startswith(f"{file}: ") and "\n" not in str(e.value)
    with pytest.raises(DstcError, match="No such file"):
        load_onnx(tmp_path / "missing.onnx")
    with pytest.raises(DstcError, match="directory"):
        load_onnx(tmp_path)


def test_names_that_are_no_text():
    for old, new in ((b"node_y", b"node\xff\xfe"), (b"Conv", b"Co\xffv"), (b"node_y", b"no\nde\n")):
        data = BAD["groups"][0].SerializeToString().replace(old, new)
        with pytest.raises(DstcError) as e:
            load_onnx(data)
        assert "\n" not in str(e.value)


CLEAN = model(
    [
        node("Conv", ["x", "w"], "c", pads=[1, 1, 0, 0]),
        node("MaxPool", ["c"], "p", kernel_shape=[2, 2]),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "v"], transB=1),
    ],
    {"x": ("batch", 3, 5, 5)},
    constants={"w": random(RNG, 4, 3, 2, 2), "v": random(RNG, 2, 64)},
).SerializeToString()


@settings(max_examples=300)
@given(st.integers(0, len(CLEAN)), st.binary(max_size=4), st.integers(0, len(CLEAN)))
def test_corrupt_bytes_never_raise_anything_else(at, noise, cut):
    data = bytearray(CLEAN)
    data[at : at + len(noise)] = noise
    for damaged in (bytes(data), bytes(data[:cut])):
        try:
            load_onnx(damaged).to_module(Context())
        except DstcError as e:
            assert "\n" not in str(e)


def test_external_data_that_is_missing(tmp_path: Path):
    proto = model(
        [node("MatMul", ["x", "w"])], {"x": (2, 64)}, constants={"w": random(RNG, 64, 64)}
    )
    onnx.save(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0
    )
    assert load_onnx(tmp_path / "m.onnx").constants["w"].shape == (64, 64)
    (tmp_path / "m.bin").unlink()
    with pytest.raises(DstcError) as e:
        load_onnx(tmp_path / "m.onnx")
    assert "\n" not in str(e.value)
