"""ResNets, with batch norms as trained: residual blocks, pooling, a classifier.

In: sizes on the command line. Out: the time of every kernel. Weights are random and pruned.
"""

from __future__ import annotations

import numpy as np
from net import Feeds, Net, main
from onnx import ModelProto

DEPTHS = {
    18: (1, (2, 2, 2, 2)), 34: (1, (3, 4, 6, 3)), 50: (4, (3, 4, 6, 3)), 101: (4, (3, 4, 23, 3)),
}  # fmt: skip
"""Depth -> how much wider a block's result is than what is within, blocks of each stage."""


def build(
    size: int = 224, batch: int = 1, width: int = 64, blocks: int = 2, stages: int = 4,
    classes: int = 1000, density: float = 0.2, depth: int = 0,
) -> tuple[ModelProto, Feeds]:  # fmt: skip
    """ResNet of `blocks` basic blocks a stage; `width`: channels of the first stage.

    `depth`: one of `DEPTHS`, which sets the blocks instead; from 50 on they are bottlenecks.
    """
    net = Net(5, density)
    widening, counts = DEPTHS[depth] if depth else (1, (blocks,) * stages)
    x = net.input("x", (batch, 3, size, size))
    x = net.add("Relu", _conv(net, x, 3, width, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = width
    for stage, count in enumerate(counts):
        for block in range(count):
            inner = width << stage
            filters = inner * widening
            stride = 2 if stage and block == 0 else 1
            if widening > 1:
                y = net.add("Relu", _conv(net, x, channels, inner, 1, 1))
                y = net.add("Relu", _conv(net, y, inner, inner, 3, stride))
                y = _conv(net, y, inner, filters, 1, 1)
            else:
                y = net.add("Relu", _conv(net, x, channels, filters, 3, stride))
                y = _conv(net, y, filters, filters, 3, 1)
            if stride != 1 or channels != filters:
                x = _conv(net, x, channels, filters, 1, stride)
            x = net.add("Relu", net.add("Add", y, x))
            channels = filters
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    net.output(net.add("Gemm", x, net.weight(classes, channels), net.vector(classes), transB=1))
    feeds = {"x": np.random.default_rng(6).standard_normal((batch, 3, size, size), np.float32)}
    return net.model("resnet"), feeds


def _conv(net: Net, x: str, channels: int, filters: int, kernel: int, stride: int) -> str:
    """Convolution and batch norm."""
    weights = net.weight(filters, channels, kernel, kernel)
    x = net.add("Conv", x, weights, strides=[stride] * 2, pads=[kernel // 2] * 4)
    scale, shift, mean = net.vector(filters, 1.0), net.vector(filters), net.vector(filters)
    variance = net.constant((0.5 + net.rng.random(filters)).astype(np.float32))
    return net.add("BatchNormalization", x, scale, shift, mean, variance)


if __name__ == "__main__":
    main(
        build, size=224, batch=1, width=64, blocks=2, stages=4, classes=1000, density=0.2, depth=18
    )
