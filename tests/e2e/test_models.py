"""Random small ONNX models, compiled, run on both machines, checked against ONNX's evaluator."""

from typing import Any

import numpy as np
import pytest
from dstc.compiler import compile_model
from dstc.compiler.driver import new_context
from dstc.compiler.frontends.onnx_import import load_onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from .ir import Array, check_module

MACHINES = [("dstc", "auto"), ("v100", "auto")]


def sparse(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> Array:
    values = rng.standard_normal(shape).astype(np.float32)
    return np.where(rng.random(shape) < density, values, np.float32(0))


class Net:
    """A chain of ONNX nodes from x to the last one."""

    def __init__(self, seed: int, *shape: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.shape, self.value = shape, "x"

    def weight(self, *shape: int, density: float = 0.3) -> str:
        name = f"w{len(self.constants)}"
        self.constants[name] = sparse(self.rng, shape, density)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, [self.value, *inputs], [output], f"{op}_{output}", **attributes)
        )
        self.value = output
        return output

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(self.value, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )
        opset = [helper.make_opsetid("", 20)]
        return shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=opset, ir_version=10)
        )


def mlp(seed: int) -> Net:
    """Two to four linear layers of odd sizes."""
    net = Net(seed, 9 + seed, 31)
    width = 31
    for _ in range(2 + seed % 3):
        new = int(net.rng.integers(3, 60))
        if net.rng.random() < 0.5:
            net.add("Gemm", net.weight(new, width), net.weight(new, density=1), transB=1)
        else:
            net.add("MatMul", net.weight(width, new))
            net.add("Add", net.weight(new, density=1))
        net.add("Relu")
        width = new
    net.add("Gemm", net.weight(width, 7), net.weight(7))
    return net


def cnn(seed: int) -> Net:
    """Two convolutions of random windows, pooling and a residual, then a classifier."""
    net = Net(seed, 2, 3, 12, 10)
    filters = int(net.rng.integers(4, 9))
    net.add("Conv", net.weight(filters, 3, 3, 3), net.weight(filters), pads=[1, 1, 1, 1])
    net.add("Relu")
    before = net.value
    window = {"pads": [2, 2, 2, 2], "dilations": [2, 2]} if seed % 2 else {"pads": [1, 1, 1, 1]}
    net.add("Conv", net.weight(filters, filters, 3, 3), **window)
    net.add("Add", before)
    if seed % 3:
        net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Conv", net.weight(5, filters, 2, 3), strides=[2, 1])
    net.add("Relu")
    if seed % 2:
        net.add("GlobalAveragePool")
        net.add("Flatten")
        net.add("Gemm", net.weight(5, 4, density=1), net.weight(4))
    else:
        net.add("Transpose", perm=[0, 2, 3, 1])
        net.add("Flatten")
    return net


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: "-".join(m))
@pytest.mark.parametrize("make", [mlp, cnn], ids=["mlp", "cnn"])
@pytest.mark.parametrize("seed", range(3))
def test_model(make: Any, seed: int, machine: tuple[str, str]) -> None:
    net = make(seed)
    compiled = compile_model(net.model(), machine=machine[0], engine=machine[1])
    for density in (0.3, 1):
        inputs = sparse(net.rng, net.shape, density)
        result = compiled.run(inputs, checks="full")
        check = compiled.check(inputs, result)
        assert check["ok"], check
        assert 0 < result.cycles == sum(k.result.cycles for k in result.kernels)
        for kernel in result.kernels:
            if kernel.launch.macs_dense:
                assert kernel.macs_effective <= kernel.launch.macs_dense
    again = compiled.run(inputs)
    assert again.cycles == result.cycles
    for name, array in result.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], array)


def test_engines_agree_within_the_bound_on_an_empty_input() -> None:
    net = mlp(1)
    zeros = np.zeros(net.shape, np.float32)
    outputs = [
        compile_model(net.model(), machine=m, engine=e).run(zeros).outputs for m, e in MACHINES
    ]
    for other in outputs[1:]:
        for name, array in outputs[0].items():
            np.testing.assert_array_equal(other[name], array)


@pytest.mark.parametrize("engine", ["dense", "dual"])
def test_every_level_has_the_same_bits(engine: str) -> None:
    """After f16 is chosen no pass changes a bit: convolution, pooling, linear layer, softmax."""
    net = Net(5, 1, 2, 6, 5)
    net.add("Conv", net.weight(4, 2, 3, 3), net.weight(4), pads=[1, 1, 1, 1])
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten")
    net.add("Gemm", net.weight(7, 24), net.weight(7), transB=1)
    net.add("Softmax")
    ctx = new_context()
    module = load_onnx(net.model()).to_module(ctx)
    inputs: list[Array] = [sparse(net.rng, net.shape, 0.8)]
    check_module(ctx, module, inputs, engine=engine, start="annotate-sparsity")
