"""torch-mlir's form of ONNX, `torch.operator "onnx.X"`, as the ONNX model that it was.

In: a function as iree-import-onnx writes it. Out: a ModelProto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    UnregisteredAttr,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, SSAValue

from ...backend.isa.errors import DstcError, SourceError
from ..locations import op_error_message, place
from .mlir_reader import TorchNone, TorchOperator
from .mlir_tensor import decoded

_TENSOR = re.compile(r"\[([^\]]*)\],(\w+)")
_CODES = {
    "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "f32": TensorProto.FLOAT,
    "f64": TensorProto.DOUBLE, "i1": TensorProto.BOOL, "si8": TensorProto.INT8,
    "si16": TensorProto.INT16, "si32": TensorProto.INT32, "si64": TensorProto.INT64,
    "ui8": TensorProto.UINT8, "ui16": TensorProto.UINT16, "ui32": TensorProto.UINT32,
}  # fmt: skip
_META = "torch.onnx_meta.opset_version"


def torch_model(
    main: FuncOp, resources: Mapping[str, bytes], lines: dict[str, list[str]]
) -> ModelProto:
    """The model. Raises `SourceError`."""
    names: dict[SSAValue, str] = {}
    inputs: list[Any] = []
    for i, arg in enumerate(main.body.block.args):
        names[arg] = arg.name_hint or f"arg{i}"
        inputs.append(_port(names[arg], arg.type))
    nodes: list[NodeProto] = []
    returned: list[Any] = []
    for op in main.body.block.ops:
        try:
            if isinstance(op, TorchNone):
                names[op.results[0]] = ""
            elif isinstance(op, TorchOperator):
                nodes.append(_node(op, names, resources))
            elif isinstance(op, ReturnOp):
                returned = [_port(names[v], v.type) for v in op.operands]
            else:
                raise DstcError(f"{op.name} is not supported between operators of ONNX")
        except (DstcError, KeyError, ValueError) as e:
            message = str(e) if isinstance(e, DstcError) else f"it cannot be read: {e!r}"
            raise SourceError(op_error_message(message, op, lines)) from e
    graph = helper.make_graph(nodes, main.sym_name.data, inputs, returned)
    opset = main.attributes.get(_META)
    version = cast("Any", opset).value.data if isinstance(opset, IntegerAttr) else 20
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)


def _node(
    op: TorchOperator, names: dict[SSAValue, str], resources: Mapping[str, bytes]
) -> NodeProto:
    kind = op.kind.data if op.kind is not None else ""
    if not kind.startswith("onnx."):
        raise DstcError(f'torch.operator "{kind}" is no operator of ONNX')
    if any(r.blocks for r in op.regions):
        raise DstcError(f"{kind}: control flow is not supported; export the model unrolled")
    where = place(op)
    line = where.rsplit(":", 2)[1] if where else str(len(names))
    label = f"{kind.removeprefix('onnx.')}_{line}"
    outputs: list[str] = []
    for i, result in enumerate(op.results):
        names[result] = f"{label}.{i}" if i else label
        outputs.append(names[result])
    attributes = {
        key.removeprefix("torch.onnx."): _attribute(value, resources)
        for key, value in op.attributes.items()
        if key.startswith("torch.onnx.")
    }
    inputs = [names[v] for v in op.operands]
    return helper.make_node(kind.removeprefix("onnx."), inputs, outputs, label, **attributes)


def _attribute(attr: Attribute, resources: Mapping[str, bytes]) -> Any:
    if isinstance(attr, StringAttr):
        return attr.data
    if isinstance(attr, IntegerAttr | FloatAttr):
        return cast("Any", attr).value.data
    if isinstance(attr, ArrayAttr):
        return [_attribute(a, resources) for a in cast("ArrayAttr[Attribute]", attr).data]
    if isinstance(attr, DenseIntOrFPElementsAttr):
        data = cast("DenseIntOrFPElementsAttr[Any]", attr)
        return _tensor(data.data.data, cast("Attribute", data.type))
    if isinstance(attr, DenseResourceAttr):
        name = attr.resource_handle.data
        if name not in resources:
            raise DstcError(f"the data of dense_resource<{name}> is not in the file")
        return _tensor(resources[name], cast("Attribute", attr.type))
    raise DstcError(f"attribute {attr} is not supported")


def _tensor(data: bytes, type_: Attribute) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(decoded(data, type_)))


def _port(name: str, type_: Attribute) -> Any:
    """The ONNX type of !torch.vtensor<[1,?,3],f32>."""
    text = type_.value.data if isinstance(type_, UnregisteredAttr) else ""
    found = _TENSOR.fullmatch(text)
    if found is None or found[2] not in _CODES:
        raise DstcError(f"type {type_} is not supported")
    dims = [d.strip() for d in found[1].split(",") if d.strip()]
    shape = [f"{name}_{i}" if d == "?" else int(d) for i, d in enumerate(dims)]
    return helper.make_tensor_value_info(name, _CODES[found[2]], shape)
