"""A BERT-like encoder: token embeddings, attention under a padding mask, GELU, layer norms.

In: sizes on the command line. Out: the time of every kernel. Weights are random, the products'
pruned to `--density`.
"""

from __future__ import annotations

import numpy as np
from net import Feeds, Net, main
from onnx import ModelProto, TensorProto


def build(
    layers: int = 1,
    batch: int = 1,
    sequence: int = 128,
    width: int = 768,
    heads: int = 12,
    inner: int = 3072,
    words: int = 1000,
    padding: float = 0.25,
    density: float = 0.1,
) -> tuple[ModelProto, Feeds]:
    """BERT-like encoder; `padding`: the share of tokens that are masked."""
    net = Net(1, density)
    tokens = net.input("input_ids", (batch, sequence), TensorProto.INT64)
    mask = net.input("attention_mask", (batch, sequence), TensorProto.INT64)
    table = net.weight(words, width, fan=1, dense=True)
    places = net.weight(1, sequence, width, fan=4, dense=True)
    x = net.add("Add", net.add("Gather", table, tokens, axis=0), places)
    x = _norm(net, x, width)
    kept = net.add("Cast", mask, to=TensorProto.FLOAT)
    kept = net.add("Unsqueeze", kept, net.constant(np.array([1, 2])))
    low = net.add("Sub", net.constant(1.0), kept)
    low = net.add("Mul", low, net.constant(float(np.finfo(np.float32).min)))
    for _ in range(layers):
        x = _norm(net, net.add("Add", _attention(net, x, low, width, heads), x), width)
        h = _linear(net, x, width, inner)
        h = _linear(net, _gelu(net, h), inner, width)
        x = _norm(net, net.add("Add", h, x), width)
    net.output(x)
    rng = np.random.default_rng(2)
    ones = np.arange(sequence) < round(sequence * (1 - padding))
    feeds = {
        "input_ids": rng.integers(0, words, (batch, sequence)),
        "attention_mask": np.tile(ones, (batch, 1)).astype(np.int64),
    }
    return net.model("bert"), feeds


def _linear(net: Net, x: str, k: int, n: int) -> str:
    return net.add("Add", net.add("MatMul", x, net.weight(k, n, fan=k)), net.vector(n))


def _norm(net: Net, x: str, width: int) -> str:
    return net.add("LayerNormalization", x, net.vector(width, 1.0), net.vector(width), axis=-1)


def _gelu(net: Net, x: str) -> str:
    """As exporters write it."""
    inner = net.add("Erf", net.add("Div", x, net.constant(float(np.sqrt(2)))))
    both = net.add("Mul", x, net.add("Add", inner, net.constant(1.0)))
    return net.add("Mul", both, net.constant(0.5))


def _attention(net: Net, x: str, low: str, width: int, heads: int) -> str:
    size = width // heads
    shape = net.constant(np.array([0, 0, heads, size]))

    def split(perm: list[int]) -> str:
        return net.add(
            "Transpose", net.add("Reshape", _linear(net, x, width, width), shape), perm=perm
        )

    q, k, v = split([0, 2, 1, 3]), split([0, 2, 3, 1]), split([0, 2, 1, 3])
    scores = net.add("Div", net.add("MatMul", q, k), net.constant(float(np.sqrt(size))))
    p = net.add("Softmax", net.add("Add", scores, low), axis=-1)
    y = net.add("Transpose", net.add("MatMul", p, v), perm=[0, 2, 1, 3])
    y = net.add("Reshape", y, net.constant(np.array([0, 0, width])))
    return _linear(net, y, width, width)


if __name__ == "__main__":
    main(
        build, layers=1, batch=1, sequence=128, width=768, heads=12, inner=3072, words=1000,
        padding=0.25, density=0.1,
    )  # fmt: skip
