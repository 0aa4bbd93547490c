"""A LLaMA-style decoder block with a ReLU feed-forward: rotary embedding, causal mask, RMS norms.

In: sizes on the command line. Out: the time of every kernel. Weights are random and pruned; ReLU
leaves the second product of the feed-forward sparse on both sides.
"""

from __future__ import annotations

import numpy as np
from net import Feeds, Net, main
from onnx import ModelProto, TensorProto


def build(
    layers: int = 1, batch: int = 1, sequence: int = 128, width: int = 512, heads: int = 8,
    inner: int = 2048, words: int = 1000, density: float = 0.5, active: float = 0.1,
) -> tuple[ModelProto, Feeds]:  # fmt: skip
    """Decoder blocks and a mean over the sequence; `active`: share that the ReLU leaves."""
    net = Net(9, density)
    tokens = net.input("input_ids", (batch, sequence), TensorProto.INT64)
    positions = net.input("position_ids", (batch, sequence), TensorProto.INT64)
    x = net.add("Gather", net.weight(words, width, fan=1, dense=True), tokens, axis=0)
    rotary = _rotary(net, positions, width // heads)
    causal = net.constant(np.tril(np.ones((sequence, sequence), np.bool_)))
    for _ in range(layers):
        x = net.add("Add", x, _attention(net, _norm(net, x, width), rotary, causal, width, heads))
        h = net.add("MatMul", _norm(net, x, width), net.weight(width, inner, fan=width))
        bias = net.constant(np.full(inner, -_quantile(1 - active), np.float32))
        h = net.add("Relu", net.add("Add", h, bias))
        x = net.add("Add", x, net.add("MatMul", h, net.weight(inner, width, fan=inner)))
    net.output(x)
    pooled = net.add("ReduceMean", _norm(net, x, width), net.constant(np.array([1])), keepdims=0)
    length = net.add("ReduceL2", pooled, net.constant(np.array([-1])), keepdims=1)
    net.output(net.add("Div", pooled, length))
    rng = np.random.default_rng(10)
    feeds = {
        "input_ids": rng.integers(0, words, (batch, sequence)),
        "position_ids": np.tile(np.arange(sequence), (batch, 1)),
    }
    return net.model("llama"), feeds


def _quantile(share: float) -> float:
    """The normal distribution's quantile, from many samples."""
    return float(np.quantile(np.random.default_rng(0).standard_normal(100_000), share))


def _norm(net: Net, x: str, width: int) -> str:
    """RMS norm as exporters write it."""
    square = net.add("Pow", x, net.constant(2.0))
    mean = net.add("ReduceMean", square, net.constant(np.array([-1])), keepdims=1)
    root = net.add("Sqrt", net.add("Add", mean, net.constant(1e-5)))
    scaled = net.add("Mul", x, net.add("Reciprocal", root))
    return net.add("Mul", scaled, net.vector(width, 1.0))


def _rotary(net: Net, positions: str, size: int) -> tuple[str, str]:
    """(cos, sin) of position times frequency, batch x 1 x sequence x size."""
    steps = 1 / 10000 ** (np.arange(0, size, 2, dtype=np.float32) / size)
    at = net.add("Cast", positions, to=TensorProto.FLOAT)
    at = net.add("Unsqueeze", at, net.constant(np.array([1, 3])))
    angle = net.add("Mul", at, net.constant(steps.astype(np.float32)))
    both = net.add("Concat", angle, angle, axis=-1)
    return net.add("Cos", both), net.add("Sin", both)


def _turned(net: Net, x: str, rotary: tuple[str, str], size: int) -> str:
    """x cos + (-x2, x1) sin for the halves x1, x2."""
    low, high = net.add("Split", x, outputs=2, axis=-1, num_outputs=2)
    crossed = net.add("Concat", net.add("Neg", high), low, axis=-1)
    return net.add("Add", net.add("Mul", x, rotary[0]), net.add("Mul", crossed, rotary[1]))


def _attention(
    net: Net, x: str, rotary: tuple[str, str], causal: str, width: int, heads: int
) -> str:
    size = width // heads
    shape = net.constant(np.array([0, 0, heads, size]))

    def split() -> str:
        value = net.add("MatMul", x, net.weight(width, width, fan=width))
        return net.add("Transpose", net.add("Reshape", value, shape), perm=[0, 2, 1, 3])

    q, k = (_turned(net, split(), rotary, size) for _ in range(2))
    scores = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = net.add("Mul", scores, net.constant(float(size**-0.5)))
    masked = net.add("Where", causal, scores, net.constant(float("-inf")))
    p = net.add("Softmax", masked, axis=-1)
    y = net.add("Transpose", net.add("MatMul", p, split()), perm=[0, 2, 1, 3])
    y = net.add("Reshape", y, net.constant(np.array([0, 0, width])))
    return net.add("MatMul", y, net.weight(width, width, fan=width))


if __name__ == "__main__":
    main(
        build, layers=1, batch=1, sequence=128, width=512, heads=8, inner=2048, words=1000,
        density=0.5, active=0.1,
    )  # fmt: skip
