"""Densities of products' operands, measured by interpreting the model on given inputs. Not a pass.

In: level-1 or level-2 IR, inputs by name, constants. Out: for each `dstc.matmul` and `dstc.conv2d`
the shares of non-zeros of its operands, a convolution's as the matrix that it multiplies.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter
from xdsl.interpreters.arith import ArithFunctions
from xdsl.interpreters.builtin import BuiltinFunctions
from xdsl.interpreters.func import FuncFunctions
from xdsl.ir import Operation
from xdsl.utils.exceptions import InterpretationError
from xdsl.utils.hints import isa

from ..backend.isa.errors import DstcError
from ..dialects import dstc
from ..dialects.constants import constants_of
from ..dialects.interpreters.dstc import DstcFunctions, im2col, rounded
from ..dialects.interpreters.dstc_pointwise import PointwiseFunctions

Array = NDArray[Any]
Densities = tuple[float, float]


def read_calibration(path: str) -> dict[str, Array]:
    """Arrays of an .npz file, by name; `DstcError` if it is none."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            return {name: npz[name] for name in npz.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, AttributeError) as e:
        raise DstcError(
            f"{path}: no readable .npz of calibration inputs ({' '.join(str(e).split())}); write "
            "it with numpy.savez, a name for each input"
        ) from None


def attach_calibration(ctx: Context, inputs: Mapping[str, Array]) -> None:
    """Make `inputs` those that annotate-sparsity measures with."""
    ctx.__dict__["dstc_calibration"] = dict(inputs)


def calibration_of(ctx: Context) -> dict[str, Array] | None:
    """The calibration inputs of `ctx`, if there are any."""
    return ctx.__dict__.get("dstc_calibration")


def measured_densities(
    module: ModuleOp, ctx: Context, inputs: Mapping[str, Array]
) -> dict[Operation, Densities]:
    """Densities of A and of B of each product of @main, for `inputs` by name.

    An input of more samples than the model takes (its first dimension) is cut. Raises `DstcError`
    for an input that is missing or does not fit, or an op that cannot be interpreted.
    """
    main = next((op for op in module.walk() if isinstance(op, FuncOp)), None)
    if main is None or main.sym_name.data != "main":
        raise DstcError("calibration needs a function @main; give a whole model")
    arguments = [
        rounded(_fitting(name, inputs, dstc.matrix_shape(arg.type)), arg.type)
        for name, arg in zip(_input_names(main), main.body.block.args, strict=True)
    ]
    listener = _Densities()
    interpreter = Interpreter(module, listeners=(listener,))
    for functions in (
        BuiltinFunctions(), FuncFunctions(), ArithFunctions(), DstcFunctions(constants_of(ctx)),
        PointwiseFunctions(),
    ):  # fmt: skip
        interpreter.register_implementations(functions)
    try:
        interpreter.call_op("main", tuple(arguments))
    except InterpretationError as e:
        raise DstcError(f"calibration cannot run the model: {' '.join(str(e).split())}") from e
    return listener.found


def _input_names(main: FuncOp) -> list[str]:
    """Names of the model's inputs, or those of the arguments, or arg0, arg1, ..."""
    names = main.attributes.get("dstc.inputs")
    if isa(names, ArrayAttr[StringAttr]):
        return [n.data for n in names]
    return [arg.name_hint or f"arg{i}" for i, arg in enumerate(main.body.block.args)]


def _fitting(name: str, inputs: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    array = inputs.get(name)
    if array is None:
        have = ", ".join(inputs) or "nothing"
        raise DstcError(f"calibration has no input {name!r} (it has {have}); add an array for it")
    if array.dtype.kind not in "fiub":
        raise DstcError(
            f"calibration input {name!r} is of type {array.dtype}; give numbers that a model takes"
        )
    if array.shape[1:] != shape[1:] or array.ndim != len(shape) or len(array) < shape[0]:
        raise DstcError(
            f"calibration input {name!r} has the shape {array.shape}, but the model takes {shape}: "
            "give as many samples or more"
        )
    return array[: shape[0]]


def _density(array: Array) -> float:
    return float(np.count_nonzero(array) / array.size) if array.size else 1.0


class _Densities(Interpreter.Listener):
    """Notes the densities of the operands of products as they are interpreted."""

    def __init__(self) -> None:
        self.found: dict[Operation, Densities] = {}

    def will_interpret_op(self, op: Operation, args: tuple[Any, ...]) -> None:
        """Called before each op."""
        if isinstance(op, dstc.MatmulOp):
            self.found[op] = _density(args[0]), _density(args[1])
        elif isinstance(op, dstc.Conv2dOp):
            self.found[op] = _density(args[1]), _density(im2col(args[0], op.window))
