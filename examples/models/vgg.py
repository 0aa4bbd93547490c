"""VGG-16: 3x3 convolutions with ReLU, max pooling, three fully connected layers.

In: sizes on the command line. Out: the time of every kernel. Weights are random and pruned.
"""

from __future__ import annotations

import numpy as np
from net import Feeds, Net, main
from onnx import ModelProto

STAGES = (1, 2), (2, 2), (4, 3), (8, 3), (8, 3)
"""Filters in units of the first stage's, and convolutions, of each stage."""


def build(
    size: int = 224, batch: int = 1, width: int = 64, hidden: int = 4096, classes: int = 1000,
    density: float = 0.2,
) -> tuple[ModelProto, Feeds]:  # fmt: skip
    """VGG-16; `width`: filters of the first stage, `hidden`: units of a fully connected layer."""
    net = Net(9, density)
    x, channels = net.input("x", (batch, 3, size, size)), 3
    for times, count in STAGES:
        for _ in range(count):
            filters = times * width
            w = net.weight(filters, channels, 3, 3, fan=9 * channels // 2)
            x = net.add("Relu", net.add("Conv", x, w, net.vector(filters), pads=[1] * 4))
            channels = filters
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x, inner = net.add("Flatten", x), channels * (size // 2 ** len(STAGES)) ** 2
    for units in (hidden, hidden):
        w = net.weight(units, inner, fan=inner // 2)
        x, inner = net.add("Relu", net.add("Gemm", x, w, net.vector(units), transB=1)), units
    net.output(net.add("Gemm", x, net.weight(classes, inner), net.vector(classes), transB=1))
    feeds = {"x": np.random.default_rng(10).standard_normal((batch, 3, size, size), np.float32)}
    return net.model("vgg"), feeds


if __name__ == "__main__":
    main(build, size=224, batch=1, width=64, hidden=4096, classes=1000, density=0.2)
