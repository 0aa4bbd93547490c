"""Random graphs against ONNX's evaluator: operators, shapes, fan-out, residuals, several outputs.

In: a seed. Out: a model that compiles, runs without host operators and stays within its bound. The
number of graphs is DSTC_GRAPHS (default 25).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from dstc.compiler import compile_model
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

Array = NDArray[Any]
COUNT = int(os.environ.get("DSTC_GRAPHS", "25"))

UNARY = ("Relu", "Sigmoid", "Tanh", "Erf", "Gelu", "Abs", "Neg", "HardSwish", "Softplus",
         "LeakyRelu", "Elu", "Sin", "Cos")  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Max", "Min")


class Graph:
    """A random graph: each node reads any values made before."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.feeds: dict[str, Array] = {}
        self.unread: list[str] = []
        images = self.rng.random() < 0.4
        for i in range(int(self.rng.integers(1, 3))):
            sizes = (2, 4, 6, 6) if images else tuple(self.rng.integers(1, 9, 3).tolist())
            if images and i:
                sizes = (1, 4, 1, 1)
            self.feeds[f"x{i}"] = self.rng.standard_normal(sizes).astype(np.float32)
            self.shapes[f"x{i}"] = sizes

    def some(self, rank: int | None = None) -> str | None:
        names = [n for n, s in self.shapes.items() if rank is None or len(s) == rank]
        if not names:
            return None
        return str(self.rng.choice(names[-4:] if self.rng.random() < 0.7 else names))

    def constant(self, *shape: int, around: float = 0.0) -> str:
        name = f"c{len(self.constants)}"
        values = around + self.rng.standard_normal(shape) / np.sqrt(shape[0] if shape else 1)
        self.constants[name] = values.astype(np.float32)
        return name

    def numbers(self, *values: int) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.array(values, np.int64)
        return name

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], f"{op}_{output}", **attributes))
        self.shapes[output] = shape
        for value in inputs:
            if value in self.unread:
                self.unread.remove(value)
        self.unread.append(output)
        return output

    def step(self) -> None:
        x = self.some()
        assert x is not None
        shape = self.shapes[x]
        kind = str(self.rng.choice(KINDS))
        getattr(self, kind)(x, shape)

    def unary(self, x: str, shape: tuple[int, ...]) -> None:
        self.add(str(self.rng.choice(UNARY)), [x], shape)

    def binary(self, x: str, shape: tuple[int, ...]) -> None:
        partners = [n for n, s in self.shapes.items() if _broadcasts(s, shape)]
        y = str(self.rng.choice(partners))
        if self.rng.random() < 0.4:
            y = self.constant(*shape[int(self.rng.integers(0, len(shape) + 1)) :])
        self.add(str(self.rng.choice(BINARY)), [x, y], shape)

    def compare(self, x: str, shape: tuple[int, ...]) -> None:
        truth = self.add("Greater", [x, self.constant(shape[-1], around=9.0)], shape)
        self.unread.remove(truth)
        del self.shapes[truth]
        y = str(self.rng.choice([n for n, s in self.shapes.items() if s == shape]))
        self.add("Where", [truth, self.constant(1), y], shape)

    def linear(self, x: str, shape: tuple[int, ...]) -> None:
        n = int(self.rng.integers(1, 40))
        y = self.add("MatMul", [x, self.constant(shape[-1], n)], (*shape[:-1], n))
        if self.rng.random() < 0.6:
            self.add("Add", [y, self.constant(n)], (*shape[:-1], n))

    def attend(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) < 3:
            return
        perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        turned = (*shape[:-2], shape[-1], shape[-2])
        t = self.add("Transpose", [x], turned, perm=perm)
        scores = self.add("MatMul", [x, t], (*shape[:-1], shape[-2]))
        p = self.add("Softmax", [scores], (*shape[:-1], shape[-2]), axis=-1)
        self.add("MatMul", [p, x], shape)

    def softmax(self, x: str, shape: tuple[int, ...]) -> None:
        self.add("Softmax", [x], shape, axis=int(self.rng.integers(0, len(shape))))

    def normalize(self, x: str, shape: tuple[int, ...]) -> None:
        if shape[-1] > 2:
            scale = self.constant(shape[-1], around=1.0)
            self.add("LayerNormalization", [x, scale], shape, axis=-1, epsilon=0.1)

    def reduce(self, x: str, shape: tuple[int, ...]) -> None:
        axis = int(self.rng.integers(0, len(shape)))
        keep = bool(self.rng.random() < 0.6) or len(shape) < 3
        to = [1 if d == axis else n for d, n in enumerate(shape)]
        to = to if keep else [n for d, n in enumerate(shape) if d != axis]
        op = str(self.rng.choice(["ReduceMean", "ReduceMax", "ReduceSum"]))
        self.add(op, [x, self.numbers(axis)], tuple(to), keepdims=int(keep))

    def transpose(self, x: str, shape: tuple[int, ...]) -> None:
        perm = self.rng.permutation(len(shape)).tolist()
        self.add("Transpose", [x], tuple(shape[p] for p in perm), perm=perm)

    def reshape(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) > 1:
            to = (shape[0] * shape[1], *shape[2:])
            to = to if len(to) > 1 else (shape[1], shape[0])
            self.add("Reshape", [x, self.numbers(*to)], to)

    def part(self, x: str, shape: tuple[int, ...]) -> None:
        axis = int(np.argmax(shape))
        if shape[axis] > 2:
            start = int(self.rng.integers(0, shape[axis] - 1))
            to = tuple(n - start if d == axis else n for d, n in enumerate(shape))
            ends = self.numbers(shape[axis])
            self.add("Slice", [x, self.numbers(start), ends, self.numbers(axis)], to)

    def join(self, x: str, shape: tuple[int, ...]) -> None:
        axis = int(self.rng.integers(0, len(shape)))
        same = [
            n for n, s in self.shapes.items()
            if len(s) == len(shape) and all(a == b or d == axis for d, (a, b) in enumerate(
                zip(s, shape, strict=True)))
        ]  # fmt: skip
        y = str(self.rng.choice(same))
        total = shape[axis] + self.shapes[y][axis]
        if total < 40:
            to = tuple(total if d == axis else n for d, n in enumerate(shape))
            self.add("Concat", [x, y], to, axis=axis)

    def pad(self, x: str, shape: tuple[int, ...]) -> None:
        before = self.rng.integers(0, 2, len(shape)).tolist()
        behind = self.rng.integers(0, 2, len(shape)).tolist()
        to = tuple(n + p + q for n, p, q in zip(shape, before, behind, strict=True))
        self.add("Pad", [x, self.numbers(*before, *behind)], to)

    def conv(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) != 4 or min(shape[2:]) < 2:
            return
        filters = int(self.rng.integers(1, 7))
        w = self.constant(filters, shape[1], 3, 3)
        y = self.add("Conv", [x, w], (shape[0], filters, *shape[2:]), pads=[1, 1, 1, 1])
        if self.rng.random() < 0.5:
            vectors = [self.constant(filters, around=a) for a in (1.0, 0.0, 0.0)]
            variance = self.constant(filters, around=3.0)
            self.constants[variance] = np.abs(self.constants[variance]) + np.float32(0.5)
            self.add("BatchNormalization", [y, *vectors, variance], self.shapes[y])

    def strided(self, x: str, shape: tuple[int, ...]) -> None:
        """Groups, strides, a kernel of 1 or 3."""
        if len(shape) != 4 or min(shape[2:]) < 2:
            return
        size, group = int(self.rng.choice([1, 3])), int(self.rng.choice([1, shape[1]]))
        filters = group * int(self.rng.integers(1, 4))
        w = self.constant(filters, shape[1] // group, size, size)
        to = (shape[0], filters, *(-(-n // 2) for n in shape[2:]))
        pads = [size // 2] * 4
        self.add("Conv", [x, w], to, strides=[2, 2], pads=pads, group=group)

    def grown(self, x: str, shape: tuple[int, ...]) -> None:
        """Interpolated."""
        if len(shape) == 4 and max(shape[2:]) < 9:
            to = (*shape[:2], shape[2] + 1, 2 * shape[3])
            mode = str(self.rng.choice(["nearest", "linear"]))
            self.add("Resize", [x, "", "", self.numbers(*to)], to, mode=mode)

    def contracted(self, x: str, shape: tuple[int, ...]) -> None:
        """A product along the first dimension."""
        letters, n = "abcd"[: len(shape)], int(self.rng.integers(1, 9))
        out = letters[1:] + "z"
        y = self.constant(shape[0], n)
        equation = f"{letters},{letters[0]}z->{out}"
        self.add("Einsum", [x, y], (*shape[1:], n), equation=equation)

    def summed(self, x: str, shape: tuple[int, ...]) -> None:
        axis = self.numbers(0)
        self.constants[axis] = np.array(self.rng.integers(0, len(shape)))
        self.add("CumSum", [x, axis], shape)

    def picked(self, x: str, shape: tuple[int, ...]) -> None:
        """Elements by constant indices."""
        axis = int(self.rng.integers(0, len(shape)))
        at = self.rng.integers(-shape[axis], shape[axis], int(self.rng.integers(1, 6)))
        to = tuple(at.size if d == axis else n for d, n in enumerate(shape))
        self.add("Gather", [x, self.numbers(*at.tolist())], to, axis=axis)

    def tiled(self, x: str, shape: tuple[int, ...]) -> None:
        if max(shape) < 12:
            times = self.rng.integers(1, 3, len(shape)).tolist()
            to = tuple(n * t for n, t in zip(shape, times, strict=True))
            self.add("Tile", [x, self.numbers(*times)], to)

    def largest(self, x: str, shape: tuple[int, ...]) -> None:
        """The largest elements; not where they are, since near ones may change places."""
        axis = len(shape) - 1
        k = int(self.rng.integers(1, shape[axis] + 1))
        to = (*shape[:-1], k)
        y = self.add("TopK", [x, self.numbers(k)], to, axis=axis)
        self.nodes[-1].output.append(f"{y}_at")

    def recurrent(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] > 6:
            return
        op, gates = (("GRU", 3), ("LSTM", 4), ("RNN", 1))[int(self.rng.integers(0, 3))]
        hidden = int(self.rng.integers(1, 7))
        weights = [self.constant(1, gates * hidden, n) for n in (shape[2], hidden)]
        bias = self.constant(1, 2 * gates * hidden)
        to = (shape[0], 1, shape[1], hidden)
        y = self.add(op, [x, *weights, bias], to, hidden_size=hidden)
        self.add("Squeeze", [y, self.numbers(1)], (shape[0], shape[1], hidden))

    def pool(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) == 4 and min(shape[2:]) >= 2:
            op = str(self.rng.choice(["MaxPool", "AveragePool"]))
            to = (*shape[:2], shape[2] // 2, shape[3] // 2)
            self.add(op, [x], to, kernel_shape=[2, 2], strides=[2, 2])

    def model(self) -> ModelProto:
        outputs = self.unread or [self.nodes[-1].output[0]]
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape)
             for n, a in self.feeds.items()],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, self.shapes[o]) for o in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )  # fmt: skip
        opset = helper.make_opsetid("", 20)
        proto = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        return shape_inference.infer_shapes(proto, strict_mode=True)


KINDS = ("unary", "unary", "binary", "binary", "compare", "linear", "linear", "attend", "softmax",
         "normalize", "reduce", "transpose", "reshape", "part", "join", "pad", "conv", "conv",
         "pool", "strided", "grown", "contracted", "summed", "picked", "tiled", "largest",
         "recurrent")  # fmt: skip


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    if len(small) > len(large):
        return False
    return all(a in (1, b) for a, b in zip(small[::-1], large[::-1], strict=False))


def graph_of(seed: int) -> Graph:
    graph = Graph(seed)
    while len(graph.nodes) < 4 + seed % 12:
        graph.step()
    return graph


@pytest.mark.parametrize("seed", range(COUNT))
def test_random_graph(seed: int) -> None:
    graph = graph_of(seed)
    compiled = compile_model(graph.model(), machine=("v100", "dstc")[seed % 2])
    result = compiled.run(graph.feeds, checks="full", mode="functional")
    assert not result.host_ops
    check = compiled.check(graph.feeds, result)
    assert check["ok"], check
