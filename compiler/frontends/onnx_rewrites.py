"""Rewrites of a draft that need neighbours: batch norms and biases go into the product before.

In: a `Draft` after conversion. Out: the same draft without `batch_norm` operators; conv2d and
matmul have their bias as third operand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..graph import OpNode
from .draft import Draft


def fold_batch_norms(draft: Draft) -> None:
    """Scale the weights of the Conv or Gemm before each batch norm; others scale their input."""
    for norm in [n for n in draft.nodes.values() if n.op == "batch_norm"]:
        product = draft.nodes.get(norm.inputs[0])
        if (
            product is None
            or product.op not in ("conv2d", "matmul")
            or draft.uses(product.output) != 1
            or not all(v in draft.constants for v in product.inputs[1:])
            or product.attrs.get("bias_along", "n") != "n"
        ):
            _apply(draft, norm)
        else:
            _fold(draft, product, norm)


def _apply(draft: Draft, norm: OpNode) -> None:
    """A batch norm that no product can take: scale and shift by channel."""
    gamma, beta, mean, variance = (draft.constants[v].astype(np.float64) for v in norm.inputs[1:])
    scale = gamma / np.sqrt(variance + norm.attrs["epsilon"])
    shape = draft.shape(norm.output)
    along = (-1, *[1] * (len(shape) - 2))
    vectors = (
        draft.constant(f"{norm.output}.{what}", values.astype(np.float32).reshape(along))
        for what, values in (("scale", scale), ("shift", beta - mean * scale))
    )
    scales, shifts = vectors
    del draft.nodes[norm.output]
    scaled = draft.emit(
        "elementwise", [norm.inputs[0], scales], draft.fresh(f"{norm.output}.scaled"), shape,
        sources=norm.onnx_nodes, function="mul",
    )  # fmt: skip
    draft.emit("add", [scaled, shifts], norm.output, shape, sources=norm.onnx_nodes)


def _fold(draft: Draft, product: OpNode, norm: OpNode) -> None:
    def f64(name: str) -> NDArray[np.float64]:
        return draft.constants[name].astype(np.float64)

    gamma, beta, mean, variance = (f64(v) for v in norm.inputs[1:])
    scale = gamma / np.sqrt(variance + norm.attrs["epsilon"])
    x, w, *biases = product.inputs
    along = (-1, 1, 1, 1) if product.op == "conv2d" else (1, -1)
    weights = (f64(w) * scale.reshape(along)).astype(np.float32)
    old = f64(biases[0]) if biases else np.zeros_like(mean)
    bias = ((old - mean) * scale + beta).astype(np.float32)
    attrs = dict(product.attrs) | ({"bias_along": "n"} if product.op == "matmul" else {})
    fused = replace(
        product,
        name=norm.output,
        inputs=(
            x,
            draft.constant(f"{w}.normalized", weights),
            draft.constant(f"{norm.output}.bias", bias),
        ),
        output=norm.output,
        attrs=attrs,
        onnx_nodes=(*product.onnx_nodes, *norm.onnx_nodes),
    )
    del draft.nodes[norm.output]
    draft.replace(product, fused)


def fuse_linear_bias(draft: Draft) -> None:
    """matmul, (reshape,) add of a constant vector along the last dimension: one matmul."""
    for add in [n for n in draft.nodes.values() if n.op == "add"]:
        for value, vector in (add.inputs, add.inputs[::-1]):
            if _fuse(draft, add, value, vector):
                break


def _fuse(draft: Draft, add: OpNode, value: str, vector: str) -> bool:
    reshape = draft.nodes.get(value)
    product = reshape
    if reshape is not None and reshape.op == "reshape":
        product = draft.nodes.get(reshape.inputs[0])
    if (
        vector not in draft.constants
        or reshape is None
        or product is None
        or product.op != "matmul"
        or len(product.inputs) != 2
        or draft.uses(value) != 1
        or draft.uses(product.output) != 1
        or draft.shape(value) != draft.shape(add.output)
    ):
        return False
    n = draft.shape(product.output)[-1]
    array = draft.constants[vector]
    if draft.shape(value)[-1] != n or array.size != n or array.shape[-1:] != (n,):
        return False
    if array.ndim > 1:
        vector = draft.constant(f"{vector}.vector", array.reshape(n))
    nodes = (*product.onnx_nodes, *add.onnx_nodes)
    inputs, attrs = (*product.inputs, vector), {**product.attrs, "bias_along": "n"}
    del draft.nodes[add.output]
    if reshape is product:
        target = replace(
            product,
            name=add.output,
            output=add.output,
            inputs=inputs,
            attrs=attrs,
            onnx_nodes=nodes,
        )
        draft.replace(product, target)
    else:
        draft.replace(product, replace(product, inputs=inputs, attrs=attrs, onnx_nodes=nodes))
        draft.replace(reshape, replace(reshape, name=add.output, output=add.output))
    return True
