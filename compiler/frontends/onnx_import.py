"""The ONNX front end: a model file as a model graph with static shapes.

In: a path, bytes or ModelProto (opset 13 or newer), sizes for dynamic dimensions. Out: a
`ModelGraph` with constants folded; `DstcError` in one line that names file, node and operator.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ...backend.isa.errors import DstcError, SourceError
from ..graph import ModelGraph, Port
from .draft import FLOAT, FLOATS, INTEGER, INTEGERS, Draft
from .mlir_import import is_mlir, located, read_mlir
from .onnx_dims import bind_dims
from .onnx_functions import defined, expand
from .onnx_ops import CONVERTERS, Node, node_name, type_name
from .onnx_rewrites import fold_batch_norms, fuse_linear_bias

MIN_OPSET = 13
"""The first opset in which the supported operators have their present inputs."""

_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform")
_DEFAULT_DOMAINS = ("", "ai.onnx")
_BAD_FILE = (DecodeError, ValueError, RuntimeError, TypeError, AttributeError)


def load_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    dims: Mapping[str, int] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> ModelGraph:
    """Import a model.

    `dims`: sizes of dynamic dimensions by name; `input_shapes`: shapes of inputs by name. A batch
    that neither binds is 1, which `ModelGraph.notes` says. Raises `DstcError`.
    """
    try:
        return _load(source, dims or {}, input_shapes or {})
    except SourceError:
        raise
    except DstcError as e:
        if is_mlir(source):
            raise located(e, os.fspath(source)) from e
        # names come from the file and may hold anything
        text = "".join(c if c.isprintable() else "?" for c in str(e))
        raise type(e)(text) from e.__cause__


def _load(
    source: str | os.PathLike[str] | bytes | ModelProto,
    dims: Mapping[str, int],
    input_shapes: Mapping[str, Sequence[int]],
) -> ModelGraph:
    file, model = read_model(source)
    _check_opset(model, file)
    _inline_functions(model, file)
    _densify(model, file)
    _prune(model.graph)
    opset = _opset(model)
    _check_operators(model.graph, file, opset)
    try:
        onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
    except (onnx.checker.ValidationError, ValueError) as e:
        raise DstcError(f"{file}: no valid ONNX model: {_one_line(e)}") from e
    _check_ports(model.graph, file)
    notes = bind_dims(model, file, dims, input_shapes)
    expand(model, file, opset, CONVERTERS)
    _check_operators(model.graph, file, 0)
    try:
        inferred = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, ValueError) as e:
        raise DstcError(f"{file}: shapes do not fit: {_one_line(e)}") from e
    draft = _convert(inferred, file)
    draft.notes += notes
    fold_batch_norms(draft)
    fuse_linear_bias(draft)
    return draft.finish(Path(file).stem)


def input_types(source: str | os.PathLike[str] | bytes | ModelProto) -> dict[str, str]:
    """Name -> dtype (a numpy name) of the inputs that a caller gives (initializers are none)."""
    file, model = read_model(source)
    return {value.name: _element(value, "input", file) for value in _ports(model.graph)}


def read_model(source: str | os.PathLike[str] | bytes | ModelProto) -> tuple[str, ModelProto]:
    """(name for messages, the model) with external data loaded; a ModelProto is copied."""
    if isinstance(source, ModelProto):
        model = ModelProto()
        model.CopyFrom(source)
        return source.graph.name or "model", model
    if is_mlir(source):
        return os.fspath(source), read_mlir(source)
    file = "model" if isinstance(source, bytes) else os.fspath(source)
    try:
        if isinstance(source, bytes):
            model = onnx.load_model_from_string(source)
        else:
            model = onnx.load(file)  # pyright: ignore[reportUnknownMemberType]
    except OSError as e:
        raise DstcError(f"{file}: {e.strerror or _one_line(e)}") from e
    except (onnx.checker.ValidationError, *_BAD_FILE) as e:
        raise DstcError(f"{file}: no ONNX model, or a damaged one: {_one_line(e)}") from e
    if not model.ir_version or not model.HasField("graph"):
        raise DstcError(f"{file}: no ONNX model, or a truncated one: it has no graph")
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise DstcError(f"{file}: a damaged ONNX model: a name in it is no text")
    return file, model


def _texts(model: ModelProto) -> Iterable[object]:
    """Names in the model; protobuf gives bytes for what is not UTF-8."""
    graph = model.graph
    yield graph.name
    for entry in model.opset_import:
        yield entry.domain
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (a.name for a in node.attribute)
    yield from (t.name for t in graph.initializer)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (d.dim_param for d in value.type.tensor_type.shape.dim)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def _fail(file: str, node: NodeProto, message: str) -> NoReturn:
    raise DstcError(f"{file}: node {node_name(node)!r} ({node.op_type}): {message}")


def _check_opset(model: ModelProto, file: str) -> None:
    for entry in model.opset_import:
        if entry.domain in _DEFAULT_DOMAINS and entry.version < MIN_OPSET:
            raise DstcError(
                f"{file}: opset {entry.version} is not supported; convert the model to "
                f"{MIN_OPSET} or newer (onnx.version_converter)"
            )


def _inline_functions(model: ModelProto, file: str) -> None:
    if not model.functions:
        return
    from onnx import inliner

    try:
        model.CopyFrom(inliner.inline_local_functions(model))
    except (ValueError, RuntimeError) as e:
        raise DstcError(f"{file}: local functions cannot be inlined: {_one_line(e)}") from e


def _densify(model: ModelProto, file: str) -> None:
    """Sparse initializers as ordinary ones."""
    for sparse in model.graph.sparse_initializer:
        try:
            shape = tuple(sparse.dims)
            values = numpy_helper.to_array(sparse.values)
            indices = numpy_helper.to_array(sparse.indices)
            dense = np.zeros(shape, values.dtype)
            at = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
            dense.reshape(-1)[at] = values
        except (ValueError, IndexError) as e:
            name = sparse.values.name
            raise DstcError(f"{file}: sparse constant {name!r}: {_one_line(e)}") from e
        model.graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del model.graph.sparse_initializer[:]


def _prune(graph: GraphProto) -> None:
    """Leave out nodes that no output needs."""
    needed = {o.name for o in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(o for o in node.output if o):
            kept.append(node)
            needed.update(node.input)
            needed.update(_captured(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _subgraphs(node: NodeProto) -> Iterable[GraphProto]:
    for attr in node.attribute:
        if attr.HasField("g"):
            yield attr.g
        yield from attr.graphs


def _captured(node: NodeProto) -> Iterable[str]:
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from inner.input
            yield from _captured(inner)
        yield from (o.name for o in graph.output)


def _check_operators(graph: GraphProto, file: str, opset: int) -> None:
    """Every node is supported, computes a constant, or (0: not that) is defined by others."""
    constant = {"", *(t.name for t in graph.initializer)}
    for node in graph.node:
        foldable = _foldable(node)
        if foldable and (node.op_type in ("Shape", "Size") or constant.issuperset(node.input)):
            constant.update(node.output)
        elif node.op_type not in CONVERTERS and defined(node, opset):
            continue
        elif any(_subgraphs(node)):
            _fail(
                file, node,
                "control flow is not supported; export the model unrolled, for fixed sizes",
            )  # fmt: skip
        elif node.op_type not in CONVERTERS or node.domain not in _DEFAULT_DOMAINS:
            supported = ", ".join(sorted(CONVERTERS))
            domain = "" if node.domain in _DEFAULT_DOMAINS else f" of {node.domain}"
            _fail(file, node, f"operator{domain} is not supported; supported: {supported}")


def _foldable(node: NodeProto) -> bool:
    return (
        node.domain in _DEFAULT_DOMAINS
        and not node.op_type.startswith(_RANDOM)
        and not any(_subgraphs(node))
    )


def _element(value: onnx.ValueInfoProto, what: str, file: str) -> str:
    """Element type of a port, as numpy name; it must be a tensor of numbers."""
    if not value.type.HasField("tensor_type"):
        raise DstcError(f"{file}: {what} {value.name!r} is no tensor; only tensors work")
    code = value.type.tensor_type.elem_type
    if code not in _CODES:
        raise DstcError(
            f"{file}: {what} {value.name!r} has elements of {type_name(code)}; there are "
            f"{', '.join(_CODES.values())}"
        )
    return _CODES[code]


_CODES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.BOOL: "bool",
}
"""Element types of inputs and outputs, as numpy calls them."""


def _ports(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    constants = {t.name for t in graph.initializer}
    return [i for i in graph.input if i.name not in constants]


def _check_ports(graph: GraphProto, file: str) -> None:
    if not graph.output:
        raise DstcError(f"{file}: the model has no outputs")
    for value in _ports(graph):
        _element(value, "input", file)
    for value in graph.output:
        _element(value, "output", file)


def _convert(model: ModelProto, file: str) -> Draft:
    graph = model.graph
    draft = Draft(constants={t.name: _array(t, file) for t in graph.initializer})
    for value in _ports(graph):
        shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        dtype = _element(value, "input", file)
        draft.inputs.append(Port(value.name, value.name, shape, dtype))
        draft.shapes[value.name] = shape
        draft.dtypes[value.name] = INTEGER if dtype in INTEGERS else FLOAT
    for proto in graph.node:
        try:
            _convert_node(model, proto, draft)
        except DstcError as e:
            _fail(file, proto, str(e))
        except (ValueError, IndexError, KeyError, TypeError, ArithmeticError) as e:
            _fail(file, proto, f"its inputs do not fit: {_one_line(e)}")
    for value in graph.output:
        target = draft.resolve(value.name)
        dtype = _element(value, "output", file)
        if not target:
            raise DstcError(f"{file}: output {value.name!r} is not computed: it is optional")
        if 0 in draft.shape(target):
            raise DstcError(f"{file}: output {value.name!r} has no elements")
        draft.outputs.append(Port(value.name, target, draft.shape(target), dtype))
    return draft


def _opset(model: ModelProto) -> int:
    return next((e.version for e in model.opset_import if e.domain in _DEFAULT_DOMAINS), 0)


def _convert_node(model: ModelProto, proto: NodeProto, draft: Draft) -> None:
    node = Node.of(proto, draft, _opset(model))
    if proto.op_type in ("Shape", "Size") and node.inputs[0] not in draft.constants:
        dims = np.array(draft.shape(node.inputs[0]), np.int64)
        sliced = dims[node.attrs.get("start", 0) : node.attrs.get("end")]
        draft.constants[node.output] = (
            sliced if proto.op_type == "Shape" else np.array(dims.prod(), np.int64)
        )
    elif _foldable(proto) and all(not i or i in draft.constants for i in node.inputs):
        for name, array in zip(proto.output, _evaluate(model, proto, node, draft), strict=False):
            if name:
                draft.constants[name] = array
    else:
        CONVERTERS[proto.op_type](draft, node)
        for extra in proto.output[1:]:
            if extra and extra not in draft.shapes and extra not in draft.constants:
                draft.aliases.setdefault(extra, "")


def _array(tensor: TensorProto, file: str) -> NDArray[Any]:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as e:
        raise DstcError(f"{file}: constant {tensor.name!r} is damaged: {_one_line(e)}") from e


def _evaluate(
    model: ModelProto, proto: NodeProto, node: Node, draft: Draft
) -> Sequence[NDArray[Any]]:
    """Outputs of a node with constant inputs, by ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    feeds = {
        name: draft.constants[value]
        for name, value in zip(proto.input, node.inputs, strict=True)
        if name
    }
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=o) for o in proto.output if o]
    graph = helper.make_graph([proto], "constant", inputs, outputs)
    single = helper.make_model(graph, opset_imports=model.opset_import)
    try:
        with np.errstate(all="ignore"):
            evaluator: Any = ReferenceEvaluator(single)
            results: list[Any] = evaluator.run(None, feeds)
    except Exception as e:
        raise DstcError(f"its constant inputs cannot be evaluated: {_one_line(e)}") from e
    return [np.asarray(r) for r in results]


__all__ = ["FLOATS", "MIN_OPSET", "load_onnx", "read_model"]
