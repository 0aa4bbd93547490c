"""The MLIR front end: linalg on tensors, or torch-mlir's form of ONNX, as an ONNX model.

In: an MLIR file with one model, as torch-mlir or iree-import-onnx writes it. Out: a ModelProto,
which goes on through the ONNX front end; `SourceError` with file, line, column and caret for what
is not supported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from ...backend.isa.errors import DstcError, SourceError
from ..locations import op_error_message, place
from .mlir_emit import Emit, Value
from .mlir_linalg import structured
from .mlir_reader import Structured, TorchOperator, read, text_of
from .mlir_scalar import RULES, scalar
from .mlir_tensor import TENSOR, constant, element, inner, shape_of
from .mlir_torch import torch_model

OPSET = 20
"""Of the models made from linalg."""
_SILENT = ("cf.assert", "ml_program.global", "util.global")
"""Operations that compute nothing."""
_NAMES = ("main", "forward", "main_graph", "torch_jit")
"""Functions that are the model where there are several."""


_NODE = re.compile(r"node '\w*?_(\d+)[\w.]*' ")


def located(error: DstcError, file: str) -> DstcError:
    """An error about a node, which is called after its line, as one about the line."""
    message = str(error).removeprefix(f"{file}: ")
    found = _NODE.search(message)
    if found is None:
        return error
    lines, at = text_of(Path(file)).split("\n"), int(found[1])
    message = message.replace(found[0], "").replace("\n", " ")
    text = lines[at - 1] if 0 < at <= len(lines) else ""
    column = len(text) - len(text.lstrip()) + 1
    return SourceError(f"{file}:{at}:{column}: error: {message}\n{text}\n{' ' * (column - 1)}^")


def is_mlir(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """A file name that ends in .mlir."""
    return isinstance(source, str | os.PathLike) and os.fspath(cast("str", source)).endswith(
        ".mlir"
    )


def read_mlir(path: str | os.PathLike[str]) -> ModelProto:
    """The model in an MLIR file. Raises `SourceError`, or `DstcError` if it cannot be read."""
    file = os.fspath(path)
    text = text_of(Path(file))
    module, resources = read(text, file)
    lines = {file: text.split("\n")}
    main = _main(module, file)
    if any(isinstance(op, TorchOperator) for op in main.walk()):
        return torch_model(main, resources, lines)
    return _Import(module, resources, lines).model(main)


def _main(module: ModuleOp, file: str) -> FuncOp:
    """The function that is the model."""
    found = [op for op in module.body.block.ops if isinstance(op, FuncOp) and op.body.blocks]
    public = [f for f in found if f.sym_visibility is None or f.sym_visibility.data != "private"]
    if not public:
        raise DstcError(
            f"{file}: there is no public function with a body; a model is one func.func"
        )
    for name in _NAMES:
        for function in public:
            if function.sym_name.data == name:
                return function
    if len(public) > 1:
        names = ", ".join(f"@{f.sym_name.data}" for f in public)
        raise DstcError(f"{file}: there are several functions ({names}); call the model @main")
    return public[0]


class _Import:
    def __init__(
        self, module: ModuleOp, resources: Mapping[str, bytes], lines: dict[str, list[str]]
    ):
        self.resources, self.lines = resources, lines
        self.functions = {
            op.sym_name.data: op for op in module.body.block.ops if isinstance(op, FuncOp)
        }
        self.emit = Emit()
        self.values: dict[SSAValue, Value] = {}

    def model(self, main: FuncOp) -> ModelProto:
        """The ONNX model of `main`."""
        inputs: list[Any] = []
        outputs: list[Any] = []
        for i, arg in enumerate(main.body.block.args):
            shape, dtype = self._at(main, lambda a=arg: _port(a.type))
            name = self.emit.fresh(arg.name_hint or f"arg{i}")
            code = _code(dtype)
            inputs.append(helper.make_tensor_value_info(name, code, shape))
            kept = inner(cast("Any", arg.type).element_type)
            value = Value(shape, kept, name)
            self.values[arg] = value if dtype == kept else self._ported(value, kept)
        for i, value in enumerate(self._block(main)):
            type_ = main.function_type.outputs.data[i]
            shape, dtype = self._at(main, lambda t=type_: _port(t))
            code = _code(dtype)
            name = self.emit.fresh(f"out{i}")
            inputs_ = [self.emit.use(value)]
            if dtype == value.dtype:
                self.emit.nodes.append(helper.make_node("Identity", inputs_, [name], name))
            else:
                self.emit.nodes.append(helper.make_node("Cast", inputs_, [name], name, to=code))
            outputs.append(helper.make_tensor_value_info(name, code, shape))
        tensors = [numpy_helper.from_array(a, n) for n, a in self.emit.constants.items()]
        graph = helper.make_graph(self.emit.nodes, main.sym_name.data, inputs, outputs, tensors)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10
        )

    def _ported(self, value: Value, kept: str) -> Value:
        """An input of another type, as what is computed with."""
        code = helper.np_dtype_to_tensor_dtype(np.dtype(kept))
        return self.emit.node("Cast", [value], value.shape, kept, to=code)

    def _block(self, function: FuncOp) -> list[Value]:
        """What a function returns."""
        for op in function.body.block.ops:
            if isinstance(op, ReturnOp):
                return [self.values[v] for v in op.operands]
            self._at(op, lambda o=op: self._operation(o))
        raise DstcError(f"@{function.sym_name.data} returns nothing")

    def _at(self, op: Operation, action: Any) -> Any:
        """Errors of `action` are about `op`."""
        try:
            return action()
        except SourceError:
            raise
        except (DstcError, VerifyException, ValueError, IndexError, KeyError, AssertionError) as e:
            known = isinstance(e, DstcError)
            message = " ".join(str(e).split()) if known else f"it cannot be read: {e!r}"
            text = op_error_message(message, op, self.lines)
            raise SourceError(text) from e

    def _operation(self, op: Operation) -> None:
        where = place(op)
        line = where.rsplit(":", 2)[1] if where else "0"
        self.emit.label = f"{op.name.rpartition('.')[2]}_{line}"
        results = self._results(op)
        for result, value in zip(op.results, results, strict=True):
            if result.type and value.shape != shape_of(result.type):
                value = self.emit.expand(value, shape_of(result.type))
            self.values[result] = value

    def _results(self, op: Operation) -> list[Value]:
        if op.name in _SILENT:
            return []
        if op.name == "arith.constant":
            return [constant(op.properties["value"], self.resources)]
        if op.name == "func.call":
            return self._called(op)
        if isinstance(op, Structured):
            self._body_constants(op)
            return structured(self.emit, op, self.values)
        operands = [self.values[v] for v in op.operands]
        if op.name in TENSOR:
            self._body_constants(op)
            return [TENSOR[op.name](self.emit, op, operands, self.values)]
        if op.name in RULES:
            return [scalar(self.emit, op, operands)]
        name = getattr(op, "op_name", None)
        raise DstcError(
            f"{name.data if isinstance(name, StringAttr) else op.name} is not supported"
        )

    def _body_constants(self, op: Operation) -> None:
        """Constants within an operation's region."""
        for inside in op.walk():
            if inside.name == "arith.constant":
                value = constant(inside.properties["value"], self.resources)
                self.values[inside.results[0]] = value

    def _called(self, op: Operation) -> list[Value]:
        name = cast("Any", op).callee.string_value()
        function = self.functions.get(name)
        if function is None or not function.body.blocks:
            raise DstcError(f"there is no function @{name} with a body")
        for arg, value in zip(function.body.block.args, op.operands, strict=True):
            self.values[arg] = self.values[value]
        return self._block(function)


def _code(dtype: str) -> int:
    """ONNX's number of an element type."""
    if dtype == "bfloat16":
        return TensorProto.BFLOAT16
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _port(type_: Any) -> tuple[tuple[int, ...], str]:
    """(shape, element type) of an argument or result of the model."""
    if not hasattr(type_, "element_type"):
        raise DstcError(f"an argument or result of type {type_}; a model's are tensors")
    return shape_of(type_), element(type_.element_type)
