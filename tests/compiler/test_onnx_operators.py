"""Every operator of the front end, from the model to the simulator, against ONNX's evaluator.

In: models of one or a few nodes. Out: results within the derived error bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dstc.compiler import compile_model
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
RNG = np.random.default_rng(11)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return (np.abs(floats(*shape)) + 0.2).astype(np.float32)


def whole(*shape: int, low: int = -5, high: int = 6) -> Array:
    return RNG.integers(low, high, shape)


def bools(*shape: int) -> Array:
    return RNG.random(shape) < 0.5


Case = tuple[list[NodeProto], dict[str, Array], dict[str, Array]]


def one(op: str, *inputs: Array, constants: dict[int, Array] | None = None, outputs: int = 1,
        **attributes: Any) -> Case:  # fmt: skip
    """A node; `constants` by position, after or between the inputs."""
    fixed = dict(constants or {})
    names: list[str] = []
    given = iter(inputs)
    feeds: dict[str, Array] = {}
    for i in range(len(inputs) + len(fixed)):
        name = f"k{i}" if i in fixed else f"x{i}"
        names.append(name if i not in fixed or fixed[i] is not None else "")
        if i not in fixed:
            feeds[name] = next(given)
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], "n", **attributes)
    return [node], feeds, {f"k{i}": a for i, a in fixed.items() if a is not None}


X = floats(2, 3, 4)
IMAGE = floats(2, 4, 6, 6)
CASES: dict[str, Case] = {
    **{op: one(op, X) for op in (
        "Abs", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "LeakyRelu", "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
        "Softplus", "Softsign", "Tanh", "LogSoftmax", "Softmax", "ReduceL1", "ReduceL2",
        "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Identity", "LpNormalization",
    )},
    **{op: one(op, positive(2, 3, 4)) for op in ("Log", "Sqrt", "Reciprocal", "ReduceLogSum")},
    **{op: one(op, X, floats(3, 1)) for op in ("Add", "Sub", "Mul", "Min", "Max")},
    "Div": one("Div", X, positive(4)),
    **{f"{op} of integers": one(op, whole(3, 4), whole(4, low=1)) for op in (
        "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Equal", "Less", "GreaterOrEqual")},
    **{op: one(op, X, floats(4)) for op in (
        "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    **{op: one(op, bools(3, 4), bools(4)) for op in ("And", "Or", "Xor")},
    "Not": one("Not", bools(3, 4)),
    "Sum": one("Sum", X, floats(4), floats(3, 1)),
    "Mean": one("Mean", X, floats(4), floats(3, 1)),
    "Mod of floats": one("Mod", positive(3, 4), np.float32([[0.7]]), fmod=1),
    "Pow": one("Pow", positive(3, 4), floats(4)),
    "Pow of 2": one("Pow", X, constants={1: np.float32(2)}),
    "Pow of 3": one("Pow", X, constants={1: np.float32([3])}),
    "Pow of an integer": one("Pow", X, constants={1: np.array(2)}),
    "Pow of integers": one("Pow", whole(3, 4), constants={1: np.array(2)}),
    "PRelu": one("PRelu", X, constants={1: floats(3, 1)}),
    "Gelu by tanh": one("Gelu", X, approximate="tanh"),
    "Clip": one("Clip", X, constants={1: np.float32(-0.5), 2: np.float32(0.8)}),
    "Clip at 0": one("Clip", X, constants={1: np.float32(0), 2: np.float32(6)}),
    "Clip above": one("Clip", X, constants={1: None, 2: np.float32(0.8)}),
    "Clip integers": one("Clip", whole(3, 4), constants={1: np.array(-1), 2: np.array(2)}),
    "Where": one("Where", bools(3, 1), X, floats(4)),
    "IsNaN": one("IsNaN", np.float32([1, np.nan, -2])),
    "IsInf": one("IsInf", np.float32([1, np.inf, -np.inf])),
    "Cast to integers": one("Cast", 3 * X, to=TensorProto.INT64),
    "Cast to floats": one("Cast", whole(3, 4), to=TensorProto.FLOAT),
    "Cast to bool": one("Cast", whole(3, 4), to=TensorProto.BOOL),
    "Cast of bool": one("Cast", bools(3, 4), to=TensorProto.FLOAT),
    "CastLike": one("CastLike", X, constants={1: np.array([1])}),
    "Trilu": one("Trilu", floats(5, 5)),
    "Trilu below": one("Trilu", floats(5, 6), constants={1: np.array(-1)}, upper=0),
    "CumSum": one("CumSum", X, constants={1: np.array(1)}),
    "CumSum of integers": one("CumSum", whole(3, 9), constants={1: np.array(1)}, exclusive=1),
    "ReduceSum of axes": one("ReduceSum", X, constants={1: np.array([0, 2])}, keepdims=0),
    "ReduceMean of axis": one("ReduceMean", X, constants={1: np.array([-1])}),
    "ReduceSum of nothing": one("ReduceSum", X, noop_with_empty_axes=1),
    "ReduceMax of integers": one("ReduceMax", whole(3, 9), constants={1: np.array([1])}),
    "LayerNormalization": one(
        "LayerNormalization", X, constants={1: floats(4), 2: floats(4)}, axis=-1
    ),
    "LayerNormalization of two": one("LayerNormalization", X, constants={1: floats(3, 4)}, axis=1),
    "InstanceNormalization": one(
        "InstanceNormalization", IMAGE, constants={1: floats(4), 2: floats(4)}
    ),
    "GroupNormalization": one(
        "GroupNormalization", IMAGE, constants={1: floats(4), 2: floats(4)}, num_groups=2
    ),
    "BatchNormalization": one("BatchNormalization", IMAGE, constants={
        1: floats(4), 2: floats(4), 3: floats(4), 4: positive(4)}),
    "GlobalAveragePool": one("GlobalAveragePool", IMAGE),
    "GlobalMaxPool": one("GlobalMaxPool", IMAGE),
    "MaxPool": one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "MaxPool in one dimension": one("MaxPool", floats(2, 3, 9), kernel_shape=[2], strides=[2]),
    "AveragePool": one("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "Reshape": one("Reshape", X, constants={1: np.array([0, -1])}),
    "Flatten": one("Flatten", X),
    "Squeeze": one("Squeeze", floats(2, 1, 3), constants={1: np.array([1])}),
    "Unsqueeze": one("Unsqueeze", X, constants={1: np.array([0, -1])}),
    "Transpose": one("Transpose", X, perm=[2, 0, 1]),
    "Concat": one("Concat", X, floats(2, 5, 4), floats(2, 1, 4), axis=1),
    "Concat of many": one("Concat", *(floats(2, 3) for _ in range(11)), axis=0),
    "Split": one("Split", floats(7, 4), constants={1: np.array([2, 5])}, outputs=2, axis=0),
    "Split in parts": one("Split", floats(3, 7), outputs=3, axis=1, num_outputs=3),
    "Slice": one("Slice", floats(8, 9), constants={
        1: np.array([1, -1]), 2: np.array([7, -(2**63)]), 3: np.array([0, 1]),
        4: np.array([2, -3])}),
    "Gather": one("Gather", floats(9, 32), whole(2, 3, low=-9, high=9)),
    "Gather of a constant": one("Gather", whole(2, 3, low=0, high=9), constants={0: floats(9, 6)}),
    "Gather one": one("Gather", X, constants={1: np.array(-1)}, axis=1),
    "GatherND": one("GatherND", X, constants={1: np.array([[0, 2], [1, -1]])}),
    "GatherND of inputs": one("GatherND", floats(3, 4), whole(2, 5, 2, low=0, high=3)),
    "Expand": one("Expand", floats(3, 1), constants={1: np.array([2, 1, 4])}),
    "Tile": one("Tile", X, constants={1: np.array([1, 2, 3])}),
    "Pad": one("Pad", X, constants={1: np.array([0, 1, 0, 2, 0, 3]), 2: np.float32(-1.5)}),
    "Pad reflecting": one("Pad", X, constants={1: np.array([0, 1, 2, 0, 1, 1])}, mode="reflect"),
    "Pad with edges": one("Pad", X, constants={1: np.array([0, 1, 2, 0, 1, 1])}, mode="edge"),
    "DepthToSpace": one("DepthToSpace", IMAGE, blocksize=2),
    "DepthToSpace CRD": one("DepthToSpace", IMAGE, blocksize=2, mode="CRD"),
    "SpaceToDepth": one("SpaceToDepth", IMAGE, blocksize=2),
    "Resize": one("Resize", IMAGE, constants={1: None, 2: np.float32([1, 1, 2, 3])},
                  mode="nearest", coordinate_transformation_mode="asymmetric",
                  nearest_mode="floor"),
    "OneHot": one("OneHot", whole(2, 3, low=-3, high=5), constants={
        1: np.array(5), 2: np.float32([0, 1])}),
    "MatMul": one("MatMul", floats(5, 7), floats(7, 3)),
    "MatMul of weights": one("MatMul", floats(2, 3, 5, 7), constants={1: floats(7, 3)}),
    "MatMul of batches": one("MatMul", floats(2, 3, 5, 7), floats(2, 3, 7, 6)),
    "MatMul broadcasts": one("MatMul", floats(2, 1, 5, 40), floats(3, 40, 33)),
    "MatMul of a constant": one("MatMul", floats(3, 7, 6), constants={0: floats(3, 5, 7)}),
    "MatMul of a vector": one("MatMul", floats(7), floats(3, 7, 5)),
    "MatMul with a vector": one("MatMul", floats(3, 5, 7), floats(7)),
    "MatMul of vectors": one("MatMul", floats(7), floats(7)),
    "MatMul of one batch": one("MatMul", floats(1, 5, 7), floats(1, 7, 4)),
    "Gemm": one("Gemm", floats(7, 5), floats(4, 7), floats(4), transA=1, transB=1, alpha=0.5,
                beta=2.0),
    "Gemm of weights": one("Gemm", floats(5, 7), constants={1: floats(4, 7), 2: floats(4)},
                           transB=1, alpha=2.0, beta=0.5),
    "Gemm without C": one("Gemm", floats(5, 7), floats(7, 4), alpha=0.25),
    "Einsum": one("Einsum", floats(2, 5, 3, 8), floats(2, 6, 3, 8), equation="bihd,bjhd->bhij"),
    "Einsum of weights": one("Einsum", floats(2, 5, 8), constants={1: floats(8, 3, 4)},
                             equation="bsd,dhe->bhse"),
    **{op: one(op, floats(3, 4)) for op in ("Sinh", "Cosh", "Tan", "EyeLike")},
    "LRN": one("LRN", IMAGE, size=3, alpha=0.5),
    "QuantizeLinear": one("QuantizeLinear", 9 * floats(3, 4), constants={
        1: np.float32([0.5, 2, 1, 4]), 2: np.int8([0, 3, -9, 1])}),
    "DequantizeLinear": one("DequantizeLinear", whole(3, 4).astype(np.uint8), constants={
        1: np.float32(0.25), 2: np.uint8(3)}),
    "Einsum of one": one("Einsum", X, equation="bij->jb"),
    "Einsum of three": one("Einsum", floats(3, 4), floats(4, 5), floats(5, 2),
                           equation="ij,jk,kl->il"),
    "Einsum with dots": one("Einsum", floats(2, 3, 4), floats(1, 4, 5),
                            equation="...ij,...jk->...ik"),
    "Einsum without arrow": one("Einsum", floats(3, 4), floats(4, 5), equation="ij,jk"),
    "Einsum, outer": one("Einsum", floats(3), floats(4, 2), equation="i,jk->ij"),
    **{f"Resize {mode} {how}": one("Resize", IMAGE, constants={
        1: None, 2: None, 3: np.array([2, 4, *size])}, mode=mode,
        coordinate_transformation_mode=how)
       for mode, how, size in (
           ("nearest", "half_pixel", (9, 4)), ("linear", "half_pixel", (9, 4)),
           ("linear", "align_corners", (7, 12)), ("linear", "pytorch_half_pixel", (1, 9)),
           ("cubic", "half_pixel", (9, 12)))},
    "Resize of scales": one("Resize", IMAGE, constants={
        1: None, 2: np.float32([1.5, 2])}, mode="linear", axes=[2, 3]),
    "Attention": one("Attention", floats(2, 3, 5, 8), floats(2, 3, 6, 8), floats(2, 3, 6, 8)),
    "Attention, causal": one("Attention", *(floats(2, 3, 6, 8) for _ in range(3)), is_causal=1),
    "Attention of groups": one("Attention", floats(2, 5, 24), floats(2, 6, 12), floats(2, 6, 12),
                               q_num_heads=6, kv_num_heads=3),
    **{f"RotaryEmbedding{' interleaved' * i}": one(
        "RotaryEmbedding", floats(2, 3, 6, 8), whole(2, 6, low=0, high=7),
        constants={1: floats(7, 4), 2: floats(7, 4)}, interleaved=i) for i in (0, 1)},
    "ThresholdedRelu": one("ThresholdedRelu", X, alpha=0.3),
    **{op: one(op, floats(3, 7, 5), axis=1) for op in ("ArgMax", "ArgMin", "Hardmax")},
    "ArgMax of long rows": one("ArgMax", floats(3, 1200), axis=1, keepdims=0),
    "ArgMax, the last": one("ArgMax", np.round(floats(4, 40)), axis=1, select_last_index=1),
    "ArgMax, the first": one("ArgMax", np.round(floats(4, 40)), axis=1),
    "ArgMax of integers": one("ArgMax", whole(4, 9), axis=-1),
    "TopK": one("TopK", floats(3, 9), constants={1: np.array([4])}, outputs=2),
    "TopK of integers": one("TopK", whole(6, 2), constants={1: np.array([2])}, outputs=2, axis=0),
    "TopK, smallest": one("TopK", floats(2, 9, 3), constants={1: np.array([9])}, outputs=2,
                          axis=1, largest=0),
    "TopK of many": one("TopK", floats(2, 1100), constants={1: np.array([3])}, outputs=2),
    "GatherElements": one("GatherElements", floats(3, 4), whole(2, 4, low=-3, high=3)),
    "GatherElements along 1": one("GatherElements", floats(3, 4), constants={
        1: whole(3, 6, low=0, high=4)}, axis=1),
    "GatherND in batches": one("GatherND", floats(2, 3, 4), whole(2, 5, 1, low=0, high=3),
                               batch_dims=1),
    "ScatterND": one("ScatterND", floats(4, 5), constants={
        1: np.array([[2], [-4]]), 2: floats(2, 5)}),
    "ScatterND of inputs": one("ScatterND", floats(4, 5), np.array([[[2, 1], [0, 4]]]),
                               floats(1, 2)),
    "ScatterND adding": one("ScatterND", floats(4, 5), np.array([[2], [2], [0]]), floats(3, 5),
                            reduction="add"),
    "ScatterElements": one("ScatterElements", floats(3, 4), np.array([[1, 0], [2, 3]]),
                           floats(2, 2), axis=1),
    "ScatterElements, known": one("ScatterElements", floats(3, 4), floats(2, 2), constants={
        1: np.array([[1, 0], [-1, 3]])}, axis=1),
    "ScatterElements, largest": one("ScatterElements", floats(3, 4), np.array([[1, 1], [2, 2]]),
                                    floats(2, 2), axis=1, reduction="max"),
    **{f"{op}{' backwards' * back}": one(op, floats(4, 2, 5), constants={
        1: floats(1, n * 3, 5), 2: floats(1, n * 3, 3), 3: floats(1, n * 6)}, outputs=2,
        hidden_size=3, **({"direction": "reverse"} if back else {}))
       for op, n in (("GRU", 3), ("RNN", 1)) for back in (False, True)},
    "GRU from a state": one("GRU", floats(3, 2, 5), floats(1, 2, 4), constants={
        1: floats(1, 12, 5), 2: floats(1, 12, 4), 3: None, 4: None}, outputs=2, hidden_size=4),
    "GRU, product first": one("GRU", floats(3, 2, 5), constants={
        1: floats(1, 12, 5), 2: floats(1, 12, 4), 3: floats(1, 24)}, outputs=2, hidden_size=4,
        linear_before_reset=1),
    "RNN with ReLU": one("RNN", floats(3, 2, 5), constants={
        1: floats(1, 4, 5), 2: floats(1, 4, 4)}, outputs=2, hidden_size=4, activations=["Relu"]),
    **{f"{op} both ways": one(op, floats(4, 2, 5), np.array([4, 2], np.int32), constants={
        1: floats(2, n * 3, 5), 2: floats(2, n * 3, 3), 3: floats(2, n * 6)},
        outputs=2 + (op == "LSTM"), hidden_size=3, direction="bidirectional")
       for op, n in (("GRU", 3), ("LSTM", 4), ("RNN", 1))},
    "LSTM with peepholes": one("LSTM", floats(3, 2, 5), constants={
        1: floats(1, 12, 5), 2: floats(1, 12, 3), 3: None, 4: None, 5: None, 6: None,
        7: floats(1, 9)}, outputs=3, hidden_size=3, activations=["HardSigmoid", "Softsign", "Relu"],
        activation_alpha=[0.3], activation_beta=[0.4]),
    "RNN, batch first": one("RNN", floats(2, 3, 5), constants={
        1: floats(1, 4, 5), 2: floats(1, 4, 4)}, outputs=2, hidden_size=4, layout=1),
    "LSTM": one("LSTM", floats(4, 2, 5), constants={
        1: floats(1, 12, 5), 2: floats(1, 12, 3), 3: floats(1, 24)}, outputs=3, hidden_size=3),
    "LSTM from a state": one("LSTM", floats(3, 2, 5), floats(1, 2, 3), floats(1, 2, 3), constants={
        1: floats(1, 12, 5), 2: floats(1, 12, 3), 3: None, 4: None}, outputs=3, hidden_size=3),
    "LSTM backwards": one("LSTM", floats(3, 2, 5), constants={
        1: floats(1, 12, 5), 2: floats(1, 12, 3)}, outputs=3, hidden_size=3, direction="reverse"),
}  # fmt: skip


def build(case: Case) -> ModelProto:
    nodes, feeds, constants = case

    def info(name: str, array: Array) -> Any:
        code = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, code, array.shape)

    outputs = [helper.make_empty_tensor_value_info(o) for o in nodes[-1].output]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    inputs = [info(n, a) for n, a in feeds.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    newer = any(n.op_type in ("GroupNormalization",) for n in nodes)
    newest = any(n.op_type in ("Attention", "RotaryEmbedding") for n in nodes)
    opset = helper.make_opsetid("", 23 if newest else 21 if newer else 20)
    if newer:  # whose types are not inferred
        graph.output[0].CopyFrom(
            helper.make_tensor_value_info("y0", TensorProto.FLOAT, IMAGE.shape)
        )
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(proto)
    known = {v.name: v for v in inferred.graph.output}
    del proto.graph.output[:]
    proto.graph.output.extend(known[o] for o in nodes[-1].output)
    return proto


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str) -> None:
    proto = build(CASES[name])
    feeds = CASES[name][1]
    compiled = compile_model(proto, machine="v100")
    result = compiled.run(feeds, checks="full", mode="functional")
    assert not result.host_ops
    for port in compiled.graph.outputs if compiled.graph else ():
        assert result.outputs[port.name].dtype == np.dtype(port.dtype)
    check = compiled.check(feeds, result)
    assert check["ok"], check


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_half_precision(dtype: int) -> None:
    """The reference is evaluated in f32; the result has the model's type."""
    element = helper.tensor_dtype_to_np_dtype(dtype)
    w, k = floats(40, 40).astype(element), np.ones(40).astype(element)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Cast", ["a"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Gelu", ["f"], ["g"]),
        helper.make_node("Cast", ["g"], ["h"], to=dtype),
        helper.make_node("Add", ["h", "x"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "k"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "half",
        [helper.make_tensor_value_info("x", dtype, (3, 40))],
        [helper.make_tensor_value_info("y", dtype, (3, 40))],
        [helper.make_tensor(n, dtype, a.shape, a.astype(np.float32).ravel())
         for n, a in (("w", w), ("k", k))],
    )  # fmt: skip
    opset = helper.make_opsetid("", 20)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    feeds = {"x": floats(3, 40).astype(element)}
    compiled = compile_model(proto, machine="v100")
    result = compiled.run(feeds, mode="functional")
    assert result.outputs["y"].dtype == element
    check = compiled.check(feeds, result)
    assert check["ok"], check
