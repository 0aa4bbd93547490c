"""Convolutions of ONNX as `conv2d` of the model graph: 1-D, 2-D, in groups, transposed.

In: Conv and ConvTranspose nodes. Out: one `conv2d` each. A 1-D convolution is one of images of one
row; a transposed one slides its filter, turned round, over the image spread out by its strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import ceil_div
from ...dialects.conv_window import ConvWindow
from .draft import Draft

if TYPE_CHECKING:
    from .onnx_node import Node


def window_pads(
    node: Node,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """Pads before all dimensions, then behind them, from `pads` or `auto_pad`."""
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return node.ints("pads", (0,) * (2 * len(size)))
    if mode == "VALID":
        return (0,) * (2 * len(size))
    totals = [
        max((ceil_div(n, s) - 1) * s + (k - 1) * d + 1 - n, 0)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    return _halved(totals, more_behind=mode == "SAME_UPPER")


def _halved(totals: Sequence[int], *, more_behind: bool) -> tuple[int, ...]:
    """Padding in two halves: those before all dimensions, then those behind."""
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (*small, *large) if more_behind else (*large, *small)


def conv(draft: Draft, node: Node) -> None:
    """Conv."""
    x, w = node.inputs[:2]
    size, kernel = _sizes(draft, node, "convolution")
    channels, group = draft.shape(x)[1], int(node.attrs.get("group", 1))
    filters, of_filter = draft.shape(w)[:2]
    _check_groups(group, filters, channels)
    if of_filter * group != channels:
        what = f"{channels} channels" if group == 1 else f"{channels} in {group} groups"
        raise DstcError(f"the filter has {of_filter} channels, but the input has {what}")
    ones = (1,) * len(size)
    strides, dilations = node.ints("strides", ones), node.ints("dilations", ones)
    pads = window_pads(node, size, kernel, strides, dilations)
    window = _flat(ConvWindow(kernel, strides, pads, dilations, ones))
    _emit(draft, node, w, filters, window, group)


def conv_transpose(draft: Draft, node: Node) -> None:
    """ConvTranspose, of constant filters."""
    x, w = node.inputs[:2]
    size, kernel = _sizes(draft, node, "transposed convolution")
    channels, group = draft.shape(x)[1], int(node.attrs.get("group", 1))
    rows, of_group = draft.shape(w)[:2]
    if w not in draft.constants:
        raise DstcError("the filter of a transposed convolution must be a constant")
    if rows != channels:
        raise DstcError(f"the filter has {rows} channels, but the input has {channels}")
    _check_groups(group, of_group * group, channels)
    ones = (1,) * len(size)
    strides, dilations = node.ints("strides", ones), node.ints("dilations", ones)
    extra = node.ints("output_padding", (0,) * len(size))
    pads = _transposed_pads(node, size, kernel, strides, dilations, extra)
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    before = [r - p for r, p in zip(reach, pads[: len(size)], strict=True)]
    behind = [r - p + e for r, p, e in zip(reach, pads[len(size) :], extra, strict=True)]
    if min(*before, *behind) < 0:
        raise DstcError(
            f"pads {list(pads)} cut off more than a filter of {list(kernel)} reaches; that is not "
            "supported"
        )
    # C x K/G x R x S -> K x C/G x R x S, each filter turned round
    array = draft.constants[w].reshape(group, channels // group, of_group, *kernel)
    array = np.flip(np.swapaxes(array, 1, 2), tuple(range(3, 3 + len(kernel))))
    filters = of_group * group
    turned = np.ascontiguousarray(array).reshape(filters, channels // group, *kernel)
    window = _flat(ConvWindow(kernel, ones, (*before, *behind), dilations, strides))
    _emit(draft, node, draft.constant(f"{w}.turned", turned), filters, window, group)


def _sizes(draft: Draft, node: Node, what: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The image's size and the kernel's, one or two numbers each."""
    xs, ws = draft.shape(node.inputs[0]), draft.shape(node.inputs[1])
    if len(xs) not in (3, 4):
        raise DstcError(
            f"{len(xs) - 2}-D {what} is not supported; only 1-D and 2-D (N x C x L, N x C x H x W)"
        )
    if len(ws) != len(xs):
        raise DstcError(f"the filter has {len(ws)} dimensions, but the input has {len(xs)}")
    kernel = node.ints("kernel_shape", ws[2:])
    if kernel != ws[2:]:
        raise DstcError(f"kernel_shape {kernel} is not the filter's {ws[2:]}")
    return xs[2:], kernel


def _check_groups(group: int, filters: int, channels: int) -> None:
    if group < 1 or filters % group or channels % group:
        raise DstcError(
            f"group = {group}: {channels} channels and {filters} filters do not fall into as many"
        )


def _transposed_pads(
    node: Node,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    extra: Sequence[int],
) -> tuple[int, ...]:
    """What is cut off the full result: by `pads`, or so that `output_shape` or `auto_pad` fits."""
    mode = node.attrs.get("auto_pad", "NOTSET")
    wanted = node.attrs.get("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        return node.ints("pads", (0,) * (2 * len(size))) if mode == "NOTSET" else (0, 0) * len(size)
    shape = (
        node.ints("output_shape", ())[-len(size) :]
        if wanted is not None
        else [n * s for n, s in zip(size, strides, strict=True)]
    )
    totals = [
        (n - 1) * s + (k - 1) * d + 1 + e - out
        for n, k, s, d, e, out in zip(size, kernel, strides, dilations, extra, shape, strict=True)
    ]
    if min(totals) < 0:
        raise DstcError(f"output_shape {list(shape)} is larger than the result without pads")
    return _halved(totals, more_behind=mode == "SAME_UPPER")


def _flat(window: ConvWindow) -> ConvWindow:
    """A window of one dimension as one of images of one row."""
    if len(window.kernel) == 2:
        return window
    before, behind = window.pads
    return ConvWindow(
        (1, *window.kernel),
        (1, *window.strides),
        (0, before, 0, behind),
        (1, *window.dilations),
        (1, *window.spread),
    )


def _emit(draft: Draft, node: Node, w: str, filters: int, window: ConvWindow, group: int) -> None:
    """The `conv2d`, between reshapes if the images have one dimension."""
    x, bias = node.inputs[0], node.optional(2)
    shape = draft.shape(x)
    sources = [node.name]
    flat = len(shape) == 3
    if flat:
        n, c, length = shape
        shape = (n, c, 1, length)
        x = draft.emit("reshape", [x], draft.fresh(f"{x}.row"), shape, sources=sources)
        w = _row_of(draft, node, w)
    out = (shape[0], filters, *window.output(shape[2:]))
    if min(out) < 1:
        raise DstcError(
            f"the kernel of {'x'.join(map(str, window.kernel))} is larger than the padded image"
        )
    attrs: dict[str, Any] = {
        "strides": window.strides,
        "pads": window.pads,
        "dilations": window.dilations,
        **({"spread": window.spread} if window.spread != (1, 1) else {}),
        **({"groups": group} if group != 1 else {}),
    }
    name = draft.fresh(f"{node.output}.row") if flat else node.output
    inputs = [x, w, *([bias] if bias else [])]
    y = draft.emit("conv2d", inputs, name, out, sources=sources, **attrs)
    if flat:
        draft.emit("reshape", [y], node.output, (*out[:2], out[3]), sources=sources)


def _row_of(draft: Draft, node: Node, w: str) -> str:
    """Filters of one dimension as filters of one row."""
    shape = draft.shape(w)
    rows = (*shape[:2], 1, shape[2])
    if w in draft.constants:
        return draft.constant(f"{w}.row", draft.constants[w].reshape(rows))
    return draft.emit("reshape", [w], draft.fresh(f"{w}.row"), rows, sources=[node.name])
