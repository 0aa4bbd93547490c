"""A depthwise network like MobileNet: 1x1 convolutions around depthwise 3x3 ones, clipped ReLUs.

In: sizes on the command line. Out: the time of every kernel. Weights are random; those of the 1x1
convolutions are pruned.
"""

from __future__ import annotations

import numpy as np
from net import Feeds, Net, main
from onnx import ModelProto


def build(
    size: int = 96, batch: int = 1, width: int = 32, blocks: int = 4, expansion: int = 4,
    classes: int = 100, density: float = 0.2,
) -> tuple[ModelProto, Feeds]:  # fmt: skip
    """Inverted residuals; every second one halves the image and doubles the channels."""
    net = Net(7, density)
    x = net.input("x", (batch, 3, size, size))
    weights = net.weight(width, 3, 3, 3, dense=True)
    x = _clipped(net, net.add("Conv", x, weights, strides=[2, 2], pads=[1] * 4))
    channels = width
    for block in range(blocks):
        stride = 1 + block % 2
        filters = channels * stride
        inner = channels * expansion
        y = _clipped(net, net.add("Conv", x, net.weight(inner, channels, 1, 1), net.vector(inner)))
        depthwise = net.weight(inner, 1, 3, 3, dense=True)
        y = net.add("Conv", y, depthwise, strides=[stride] * 2, pads=[1] * 4, group=inner)
        y = net.add("Conv", _clipped(net, y), net.weight(filters, inner, 1, 1))
        x = net.add("Add", x, y) if stride == 1 else y
        channels = filters
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    net.output(net.add("Gemm", x, net.weight(classes, channels), net.vector(classes), transB=1))
    feeds = {"x": np.random.default_rng(8).standard_normal((batch, 3, size, size), np.float32)}
    return net.model("mobilenet"), feeds


def _clipped(net: Net, x: str) -> str:
    """ReLU6."""
    return net.add("Clip", x, net.constant(0.0), net.constant(6.0))


if __name__ == "__main__":
    main(build, size=96, batch=1, width=32, blocks=4, expansion=4, classes=100, density=0.2)
