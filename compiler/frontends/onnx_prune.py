"""Weights of an ONNX model pruned to n:m, before anything else sees the model.

In: a model, a pattern. Out: a copy whose constant weights of products and convolutions keep the
pattern along K, the largest magnitudes of each group, and a note for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from ...backend.isa.errors import DstcError
from ...runtime.nm_format import Pattern, prune
from .draft import FLOATS
from .onnx_import import read_model

_Array = NDArray[np.floating]
_Place = tuple[int, str]
"""Input of a node that may be a weight, and the side of the product that it is: a (M x K) or b."""


def _flag(node: NodeProto, name: str) -> bool:
    return any(a.name == name and a.i for a in node.attribute)


def _gemm(node: NodeProto) -> list[_Place]:
    return [(0, "ab"[_flag(node, "transA")]), (1, "ba"[_flag(node, "transB")])]


_WEIGHTS: dict[str, Callable[[NodeProto], list[_Place]]] = {
    "MatMul": lambda _: [(0, "a"), (1, "b")],
    "Gemm": _gemm,
    "Conv": lambda _: [(1, "a")],
}
"""Operator -> where its weights are, and which operand of its product they are."""


def prune_weights(
    source: str | os.PathLike[str] | bytes | ModelProto, text: str
) -> tuple[ModelProto, list[str]]:
    """A pruned copy of the model, and a note for each weight.

    `text`: the pattern, 2:4 or 4:16. Weights are constants of at least two dimensions (a filter
    counts as a row of C x H x W) with K at least m; the reference of a check sees them pruned too.
    Raises `DstcError` for another pattern, or for a model without such weights.
    """
    pattern = Pattern.parse(text)
    file, model = read_model(source)
    tensors: dict[str, TensorProto] = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for value in (a for a in node.attribute if a.name == "value"):
                tensors[node.output[0]] = value.t
    notes: list[str] = []
    done: set[str] = set()
    for node in model.graph.node:
        for which, side in _WEIGHTS.get(node.op_type, lambda _: [])(node):
            name = node.input[which] if which < len(node.input) else ""
            if name not in tensors or name in done:
                continue
            array = numpy_helper.to_array(tensors[name])
            matrix = _matrix(array, node.op_type)
            if matrix is None or matrix.shape["ba".index(side)] < pattern.m:
                continue
            pruned = prune(matrix, pattern, side).reshape(array.shape)
            tensors[name].CopyFrom(numpy_helper.from_array(pruned, tensors[name].name))
            done.add(name)
            left = np.count_nonzero(pruned)
            notes.append(
                f"pruned {name!r} ({'x'.join(map(str, array.shape))}) to {pattern}: "
                f"{left} of {np.count_nonzero(array)} values left"
            )
    if not notes:
        raise DstcError(
            f"{file}: --prune {pattern}: no constant weights of a product with K of at least "
            f"{pattern.m}; leave --prune out"
        )
    return model, notes


def _matrix(array: _Array, operator: str) -> _Array | None:
    """A weight as the matrix that a product gets; None where it is none."""
    if array.dtype.name not in FLOATS or array.size == 0:
        return None
    if operator == "Conv":
        return array.reshape(len(array), -1)
    return array if array.ndim == 2 else None
