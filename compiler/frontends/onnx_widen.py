"""A model of f16 or bf16 as one of f32, which computes what the model means without its roundings.

In: a ModelProto. Out: the same, changed in place, and whether anything was.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

_NARROW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "stash_type")
"""Attributes that name an element type."""


def widen(model: ModelProto) -> bool:
    """Make every f16 and bf16 of the model f32; whether there was any."""
    changed = _graph(model.graph)
    for function in model.functions:
        changed = _nodes(function.node) or changed
    return changed


def _graph(graph: GraphProto) -> bool:
    changed = False
    for value in (*graph.input, *graph.output, *graph.value_info):
        changed = _value(value) or changed
    for tensor in graph.initializer:
        changed = _tensor(tensor) or changed
    return _nodes(graph.node) or changed


def _value(value: ValueInfoProto) -> bool:
    if value.type.tensor_type.elem_type not in _NARROW:
        return False
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    return True


def _tensor(tensor: TensorProto) -> bool:
    if tensor.data_type not in _NARROW:
        return False
    array = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return True


def _nodes(nodes: Iterable[NodeProto]) -> bool:
    changed = False
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                changed = _tensor(attribute.t) or changed
            if attribute.HasField("g"):
                changed = _graph(attribute.g) or changed
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _NARROW:
                attribute.i = TensorProto.FLOAT
                changed = True
    return changed
