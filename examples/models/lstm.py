"""A two-layer LSTM on a sequence, with a classifier on its last state.

In: sizes on the command line. Out: the time of every kernel. Weights are random and pruned.
"""

from __future__ import annotations

import numpy as np
from net import Feeds, Net, main
from onnx import ModelProto


def build(
    steps: int = 16, batch: int = 32, width: int = 256, hidden: int = 256, layers: int = 2,
    classes: int = 10, density: float = 0.2,
) -> tuple[ModelProto, Feeds]:  # fmt: skip
    """LSTM layers and a Gemm."""
    net = Net(3, density)
    x = net.input("x", (steps, batch, width))
    size = width
    for _ in range(layers):
        w = net.weight(1, 4 * hidden, size, fan=size)
        r = net.weight(1, 4 * hidden, hidden, fan=hidden)
        bias = net.constant((0.1 * net.rng.standard_normal((1, 8 * hidden))).astype(np.float32))
        y, last = net.add("LSTM", x, w, r, bias, outputs=2, hidden_size=hidden)
        x, size = net.add("Squeeze", y, net.constant(np.array([1]))), hidden
    last = net.add("Squeeze", last, net.constant(np.array([0])))
    net.output(net.add("Gemm", last, net.weight(classes, hidden), net.vector(classes), transB=1))
    feeds = {"x": np.random.default_rng(4).standard_normal((steps, batch, width), np.float32)}
    return net.model("lstm"), feeds


if __name__ == "__main__":
    main(build, steps=16, batch=32, width=256, hidden=256, layers=2, classes=10, density=0.2)
