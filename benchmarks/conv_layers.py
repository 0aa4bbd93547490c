"""Every convolution layer of ResNet-18, VGG-16 and Mask R-CNN's ResNet-50-FPN backbone, by engine.

In: a network's name. Out: of each layer cycles of the dense kernel (v100), of n:m (v100-nm, 4:16)
and of the dual-side one (dstc), effective products against those of issued OHMMAs, bounds; mean and
best speedup. Activations are what the network itself makes of an image, after ReLU, in f32 on
numpy; its weights are random (He) and pruned by magnitude: 70 % of the first layer's, 80 % of
others', 90 % of those with 512 channels or more. Batch norms take the statistics of their input.

    python benchmarks/conv_layers.py resnet18 --json layers.json
    python benchmarks/conv_layers.py --table layers.json

Layers of more than `--most` multiply-adds are estimated, not simulated. The dual-side kernel's time
is that of the product on an encoded image, which the layer before writes; the kernel that encodes a
dense one is listed beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from dstc.compiler.bench_conv import Conv, run_conv
from dstc.dialects.interpreters.dstc import im2col
from dstc.runtime.machine import Machine
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]
PATTERN = "4:16"
ENGINES = {"dense": "v100", "nm": "v100-nm", "dual": "dstc"}
OHMMA_PRODUCTS = 128
CHECKED = 150_000_000
"""Multiply-adds up to which results are held against numpy's bits."""


@dataclass(frozen=True)
class Layer:
    """A convolution with the operands that it has in the network."""

    name: str
    conv: Conv
    x: F16
    w: F16


@dataclass(frozen=True)
class Given(Conv):
    """A convolution of given operands."""

    given: tuple[F16, F16] | None = field(default=None, compare=False)

    def operands(self) -> tuple[F16, F16]:
        assert self.given is not None
        return self.given


class Network:
    """Runs a network in f32 and collects its convolutions."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.layers: list[Layer] = []

    def image(self, height: int, width: int) -> F32:
        """Noise whose amplitude falls with frequency, as that of photographs does."""
        down, along = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
        amplitude = 1 / np.maximum(np.hypot(down, along), 1 / max(height, width))
        shape = 3, height, width // 2 + 1
        spectrum = amplitude * np.exp(2j * np.pi * self.rng.random(shape))
        image = np.fft.irfft2(spectrum, (height, width)).astype(np.float32)
        return (image / image.std())[None]

    def conv(self, name: str, x: F32, filters: int, kernel: int, stride: int = 1) -> F32:
        """A convolution of what is there, and its result."""
        _, channels, height, width = x.shape
        shape = filters, channels, kernel, kernel
        w = self.rng.standard_normal(shape, np.float32) * (2 / prod(shape[1:])) ** 0.5
        share = 0.3 if channels == 3 else 0.1 if max(channels, filters) >= 512 else 0.2
        limit = np.quantile(np.abs(w), 1 - share)
        halves = np.where(np.abs(w) > limit, w / share**0.5, 0).astype(np.float16)
        image = x.astype(np.float16)
        pad = kernel // 2
        conv = Given(
            1, channels, height, width, filters, (kernel, kernel), (stride, stride),
            (pad, pad, pad, pad),
            a_density=np.count_nonzero(image) / image.size,
            w_density=np.count_nonzero(halves) / halves.size, given=(image, halves),
        )  # fmt: skip
        self.layers.append(Layer(name, conv, image, halves))
        matrix = halves.reshape(filters, -1).astype(np.float32)
        columns = im2col(image, conv.window)
        step, parts = 1 << 15, list[F32]()
        for start in range(0, columns.shape[1], step):
            parts.append(matrix @ columns[:, start : start + step].astype(np.float32))
        return np.concatenate(parts, axis=1).reshape(1, filters, *conv.result[2:])

    def norm(self, x: F32) -> F32:
        """Batch norm, by the statistics of `x`."""
        mean, std = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
        return (x - mean) / (std + 1e-5)


def relu(x: F32) -> F32:
    return np.maximum(x, 0)


def pool(x: F32, kernel: int, stride: int, pad: int) -> F32:
    """Max pooling."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    return np.ascontiguousarray(views[:, :, ::stride, ::stride].max((-2, -1)))


def resnet18(net: Network, size: int = 224) -> None:
    x = relu(net.norm(net.conv("conv1", net.image(size, size), 64, 7, 2)))
    x = pool(x, 3, 2, 1)
    for stage in range(4):
        filters = 64 << stage
        for block in range(2):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = relu(net.norm(net.conv(f"{name}.conv1", x, filters, 3, stride)))
            y = net.norm(net.conv(f"{name}.conv2", y, filters, 3))
            if stride > 1:
                x = net.norm(net.conv(f"{name}.downsample", x, filters, 1, stride))
            x = relu(y + x)


def vgg16(net: Network, size: int = 224) -> None:
    x = net.image(size, size)
    for stage, (filters, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for i in range(count):
            x = relu(net.norm(net.conv(f"conv{stage + 1}_{i + 1}", x, filters, 3)))
        x = pool(x, 2, 2, 0)


def mask_rcnn(net: Network, size: tuple[int, int] = (800, 1088)) -> None:
    """The ResNet-50 backbone and the feature pyramid."""
    x = relu(net.norm(net.conv("conv1", net.image(*size), 64, 7, 2)))
    x = pool(x, 3, 2, 1)
    levels: list[F32] = []
    for stage, count in enumerate((3, 4, 6, 3)):
        inner = 64 << stage
        for block in range(count):
            name, stride = f"res{stage + 2}.{block}", 2 if stage and not block else 1
            y = relu(net.norm(net.conv(f"{name}.conv1", x, inner, 1)))
            y = relu(net.norm(net.conv(f"{name}.conv2", y, inner, 3, stride)))
            y = net.norm(net.conv(f"{name}.conv3", y, 4 * inner, 1))
            if not block:
                x = net.norm(net.conv(f"{name}.shortcut", x, 4 * inner, 1, stride))
            x = relu(y + x)
        levels.append(x)
    above: F32 | None = None
    for i in reversed(range(4)):
        lateral = net.conv(f"fpn.lateral{i + 2}", levels[i], 256, 1)
        if above is not None:
            lateral = lateral + above.repeat(2, 2).repeat(2, 3)[:, :, : lateral.shape[2]]
        net.conv(f"fpn.output{i + 2}", lateral, 256, 3)
        above = lateral


NETWORKS = {"resnet18": resnet18, "vgg16": vgg16, "mask_rcnn": mask_rcnn}


def effective(layer: Layer) -> int:
    """Products of two non-zeros."""
    columns = im2col(layer.x, layer.conv.window) != 0
    weights = layer.w.reshape(layer.conv.filters, -1) != 0
    return int(weights.sum(0, dtype=np.int64) @ columns.sum(1, dtype=np.int64))


def measured(layer: Layer, known: dict[Any, Any], most: int) -> dict[str, Any]:
    """The row of a layer. Dense and n:m kernels take as long whatever the values are."""
    macs = prod(layer.conv.sizes)
    mode = "cycle" if macs <= most else "estimate"
    row: dict[str, Any] = {
        "layer": layer.name, "conv": layer.conv.label, "macs": macs, "mode": mode,
        "a_density": layer.conv.a_density, "w_density": layer.conv.w_density,
        "effective": effective(layer),
    }  # fmt: skip
    for engine, machine in ENGINES.items():
        conv: Conv = layer.conv
        if engine != "dual":
            key = engine, layer.conv.label
            if key in known:
                row[engine] = known[key]
                continue
        if engine == "nm":
            if layer.conv.sizes[2] % 16:
                row[engine] = None
                continue
            conv = Conv(
                *conv.image, conv.filters, conv.kernel, conv.strides, conv.pads, pattern=PATTERN
            )
        found = run_conv(
            conv, machine=Machine.load(machine), engine=engine, mode=mode,
            check=macs <= CHECKED,
        )  # fmt: skip
        *before, product = found["kernels"]
        limits = {k: v for k, v in found["bounds"].items() if v is not None}
        bound = max(limits, key=lambda name: limits[name])
        row[engine] = {
            "cycles": product["cycles"], "before": sum(k["cycles"] for k in before),
            "bound": limits[bound], "limit": bound, "tiles": tiles(found["schedule"]),
            "lowering": found["lowering"], "bit_exact": found["bit_exact"],
            "ohmma": (found["counters"] or {}).get("ohmma_issued"),
        }  # fmt: skip
        if engine != "dual":
            known[engine, layer.conv.label] = row[engine]
    return row


def tiles(schedule: dict[str, Any]) -> str:
    """`64x256/64x64 swap`."""
    cta, warp = ("x".join(map(str, schedule[key])) for key in ("cta", "warp"))
    split = f" /{schedule['split']}" if schedule["split"] > 1 else ""
    return f"{cta}/{warp}{' swap' if schedule['swap'] else ''}{split}"


def rows_of(name: str, most: int) -> Iterator[dict[str, Any]]:
    net, known = Network(), dict[Any, Any]()
    NETWORKS[name](net)
    for layer in net.layers:
        yield {"network": name, **measured(layer, known, most)}


def speedups(row: dict[str, Any]) -> tuple[float, float | None]:
    """Of the dual-side kernel over the dense one, and over n:m."""
    nm = row["nm"]
    dual = row["dual"]["cycles"]
    return row["dense"]["cycles"] / dual, None if nm is None else nm["cycles"] / dual


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of a network, and its mean and best."""
    clock = Machine.load("dstc")["clock.core_mhz"]
    lines = [
        "| layer | convolution | weights | input | dense us | n:m us | dual us (encoding) | speedup"
        " | effective of issued | of bound |", "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        dual, nm, dense = row["dual"], row["nm"], row["dense"]
        us = [None if v is None else f"{v['cycles'] / clock:.1f}" for v in (dense, nm, dual)]
        before = f" ({dual['before'] / clock:.1f})" if dual["before"] else ""
        share = "-"
        if dual["ohmma"]:
            share = f"{row['effective'] / (dual['ohmma'] * OHMMA_PRODUCTS):.0%}"
        lines.append(
            f"| {row['layer']}{'' if row['mode'] == 'cycle' else ' *'} | {row['conv']} "
            f"| {row['w_density']:.0%} | {row['a_density']:.0%} | {us[0]} | {us[1] or '-'} "
            f"| {us[2]}{before} | {speedups(row)[0]:.2f}x | {share} "
            f"| {dual['bound'] / dual['cycles']:.0%} {dual['limit']} |"
        )
    each = [speedups(row)[0] for row in rows]
    mean = float(np.exp(np.mean(np.log(each))))
    total = sum(r["dense"]["cycles"] for r in rows) / sum(r["dual"]["cycles"] for r in rows)
    lines += [
        "", f"Speedup over dense: {mean:.2f}x geometric mean, {np.mean(each):.2f}x arithmetic, "
        f"{max(each):.2f}x best, {min(each):.2f}x worst; {total:.2f}x of the sum of all layers.",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", choices=[*NETWORKS, []])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path, help="print the tables of a JSON file, run nothing")
    parser.add_argument("--most", type=float, default=2e9)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = [] if args.table is None else json.loads(args.table.read_text())
    for name in args.networks:
        for row in rows_of(name, int(args.most)):
            rows.append(row)
            line = {k: row[k]["cycles"] if row[k] else None for k in ENGINES}
            print(row["layer"], row["conv"], row["mode"], line, flush=True)
            if args.json is not None:
                args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    for name in dict.fromkeys(row["network"] for row in rows):
        print(f"\n### {name}\n\n{table([r for r in rows if r['network'] == name])}")


if __name__ == "__main__":
    main()
