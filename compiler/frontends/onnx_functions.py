"""Operators that ONNX defines by others: their nodes become what their definitions say.

In: a model with static inputs. Out: the same, changed in place, in which operators without a
converter of their own, such as Attention or RotaryEmbedding, are gone if ONNX has a body for them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TypeProto, helper, inliner, shape_inference

from ...backend.isa.errors import DstcError
from .onnx_node import node_name

DOMAIN = "dstc.functions"
"""Where the bodies stand while they are inlined."""
_DEFAULT_DOMAINS = ("", "ai.onnx")
_FOLDED = ("BlackmanWindow", "HammingWindow", "HannWindow", "Range")
"""Their result's shape depends on values: of constants they are evaluated, else refused."""


def defined(node: NodeProto, opset: int) -> bool:
    """ONNX defines the node's operator by a body of others, for this opset."""
    schema = None if node.op_type in _FOLDED else _schema(node, opset)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def _schema(node: NodeProto, opset: int) -> Any:
    """The operator's definition, or None; ONNX's stubs know it in part."""
    if node.domain not in _DEFAULT_DOMAINS or not opset:
        return None
    try:
        return onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None


def expand(model: ModelProto, file: str, opset: int, known: Collection[str]) -> None:
    """Replace nodes whose operators are not `known` by their bodies, and what these hold again."""
    for _ in range(_DEPTH):
        nodes = [n for n in model.graph.node if n.op_type not in known and defined(n, opset)]
        if not nodes:
            return
        _expand(model, file, opset, nodes)


_DEPTH = 4
"""How deep definitions refer to others."""


def _expand(model: ModelProto, file: str, opset: int, nodes: list[NodeProto]) -> None:
    types = _types(model)
    for number, node in enumerate(nodes):
        body = _body(node, opset, types)
        if body is None:
            raise DstcError(
                f"{file}: node {node_name(node)!r} ({node.op_type}): its definition does not fit "
                f"opset {opset}; export the model for another opset"
            )
        _without_defaults(node)
        body.domain, body.name = DOMAIN, f"{node.op_type}_{number}"
        node.domain, node.op_type = DOMAIN, body.name
        model.functions.append(body)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    try:
        inlined = inliner.inline_local_functions(model)
    except (ValueError, RuntimeError) as e:
        text = " ".join(str(e).split())[:300]
        raise DstcError(f"{file}: operators that are defined by others: {text}") from e
    del inlined.functions[:]
    kept = [entry for entry in inlined.opset_import if entry.domain != DOMAIN]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    model.CopyFrom(inlined)


def _without_defaults(node: NodeProto) -> None:
    """Optional inputs at the end that are left out."""
    while node.input and not node.input[-1]:
        del node.input[-1]


def _types(model: ModelProto) -> dict[str, TypeProto]:
    """Types of values, as far as they are known."""
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    graph = inferred.graph
    found = {v.name: v.type for v in (*graph.input, *graph.output, *graph.value_info)}
    for tensor in graph.initializer:
        found[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    return found


def _body(node: NodeProto, opset: int, types: dict[str, TypeProto]) -> FunctionProto | None:
    schema = _schema(node, opset)
    assert schema is not None
    body = FunctionProto()
    if schema.has_function:
        version = max((v for v in schema.function_opset_versions if v <= opset), default=None)
        if version is None:
            return None
        body.ParseFromString(schema.get_function_with_opset_version(version))
    else:
        versions = schema.context_dependent_function_opset_versions
        version = max((v for v in versions if v <= opset), default=None)
        if version is None or any(n and n not in types for n in node.input):
            return None
        kinds = [(types[n] if n else TypeProto()).SerializeToString() for n in node.input]
        data = schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), kinds
        )
        body.ParseFromString(data)
    for entry in body.opset_import:
        if entry.domain in _DEFAULT_DOMAINS:
            entry.version = opset
    for inner in body.node:  # errors name the model's node
        inner.name = f"{node_name(node)}/{inner.name or inner.output[0]}"
    return body
