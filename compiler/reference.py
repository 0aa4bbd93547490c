"""References to check compiled models against: the IR's interpreter and ONNX's evaluator.

In: IR or an ONNX model, and inputs (numpy). Out: outputs in order, and `compare`, which says
whether results stay within a bound, such as that of `error_bound`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter
from xdsl.interpreters.arith import ArithFunctions
from xdsl.interpreters.builtin import BuiltinFunctions
from xdsl.interpreters.func import FuncFunctions
from xdsl.utils.exceptions import InterpretationError

from ..backend.isa.errors import DstcError
from ..dialects.constants import constants_of
from ..dialects.dstc import matrix_shape
from ..dialects.interpreters.dstc import DstcFunctions, rounded
from ..dialects.interpreters.dstc_pointwise import PointwiseFunctions
from ..dialects.interpreters.dstc_tile import Execute, TileFunctions
from .error_bound import error_bound

if TYPE_CHECKING:
    from onnx import ModelProto

Array = NDArray[Any]

NARROW = ("float16", "bfloat16")
"""Float types that are widened for the reference."""

__all__ = [
    "Comparison",
    "compare",
    "error_bound",
    "interpreter_for",
    "main_of",
    "onnx_reference",
    "run_module",
]


def interpreter_for(
    module: ModuleOp,
    ctx: Context,
    *,
    races: bool = False,
    execute: Execute | None = None,
    listeners: tuple[Interpreter.Listener, ...] = (),
) -> Interpreter:
    """An interpreter of `module` with all implementations; constants come from `ctx`.

    `races`: those in shared memory are errors; `execute`: what runs kernels whose registers are
    allocated, instead of the interpreter.
    """
    interpreter = Interpreter(module, listeners=listeners)
    for functions in (
        BuiltinFunctions(),
        FuncFunctions(),
        ArithFunctions(),
        DstcFunctions(constants_of(ctx)),
        PointwiseFunctions(),
        TileFunctions(ctx, races, execute),
    ):
        interpreter.register_implementations(functions)
    return interpreter


def main_of(module: ModuleOp) -> FuncOp:
    """The function @main; `DstcError` if the module has none."""
    for op in module.walk():
        if isinstance(op, FuncOp) and op.sym_name.data == "main":
            return op
    raise DstcError("the module has no function @main")


def run_module(
    module: ModuleOp,
    ctx: Context,
    inputs: Sequence[Array],
    *,
    races: bool = False,
    execute: Execute | None = None,
    listeners: tuple[Interpreter.Listener, ...] = (),
) -> list[Array]:
    """Interpret @main. Inputs are rounded to its argument types, as on upload to the device.

    For the options see `interpreter_for`.
    Raises `DstcError` if inputs do not fit or an op cannot be interpreted.
    """
    main = main_of(module)
    signature: FunctionType = main.function_type
    types = tuple(signature.inputs)
    if len(types) != len(inputs):
        raise DstcError(f"@main takes {len(types)} inputs, not {len(inputs)}")
    arguments: list[Array] = []
    for i, (array, type_) in enumerate(zip(inputs, types, strict=True)):
        if array.shape != matrix_shape(type_):
            raise DstcError(
                f"input {i} has the shape {array.shape}, but @main takes {matrix_shape(type_)}"
            )
        arguments.append(rounded(array, type_))
    try:
        interpreter = interpreter_for(
            module, ctx, races=races, execute=execute, listeners=listeners
        )
        results = interpreter.call_op("main", tuple(arguments))
        return [a.view(np.int32) if a.dtype == np.uint32 else a for a in results]
    except InterpretationError as e:
        raise DstcError(f"the IR cannot be interpreted: {' '.join(str(e).split())}") from e


def onnx_reference(
    model: str | os.PathLike[str] | bytes | ModelProto, inputs: Mapping[str, Array]
) -> list[Array]:
    """Outputs of the model by `onnx.reference`, for inputs by name.

    A model of f16 or bf16 is evaluated in f32: what it means, not how one evaluator rounds it.
    """
    from onnx.reference import ReferenceEvaluator

    from .frontends.onnx_import import read_model
    from .frontends.onnx_widen import widen
    from .reference_operators import OPERATORS

    file, proto = read_model(model)
    narrow = widen(proto)
    feeds = {
        name: array.astype(np.float32) if narrow and array.dtype.name in NARROW else array
        for name, array in inputs.items()
    }
    try:
        evaluator: Any = ReferenceEvaluator(proto, new_ops=list(OPERATORS))  # pyright: ignore[reportArgumentType]
        with np.errstate(all="ignore"):
            results: list[Any] = evaluator.run(None, feeds)
    except Exception as e:
        raise DstcError(
            f"{file}: ONNX's reference evaluator fails: {' '.join(str(e).split())[:300]}"
        ) from e
    outputs = [np.asarray(r) for r in results]
    del proto, evaluator
    gc.collect()  # the evaluator holds its copy of the weights in a cycle
    return outputs


class Comparison(TypedDict):
    """`max_rel_error` is relative to the largest magnitude of the reference."""

    ok: bool
    max_abs_error: float
    max_rel_error: float
    bound: float


def compare(got: Array, want: Array, bound: Array | float) -> Comparison:
    """Elementwise |got - want| <= bound; equal infinities and two NaN agree.

    A bound that is not finite allows nothing else (a value overflowed f16). The result's `bound`
    is the largest; an error that is no number is reported as infinite.
    """
    if got.shape != want.shape:
        raise DstcError(f"results have the shape {got.shape}, the reference has {want.shape}")
    g, w = got.astype(np.float64), want.astype(np.float64)
    limit = np.broadcast_to(np.asarray(bound, np.float64), g.shape)
    with np.errstate(invalid="ignore"):
        same = (g == w) | (np.isnan(g) & np.isnan(w))
        error = np.where(same, 0.0, np.abs(g - w))
    error = np.where(np.isnan(error), np.inf, error)
    finite = np.abs(w[np.isfinite(w)])
    scale = float(finite.max(initial=0.0))
    largest = float(error.max(initial=0.0))
    return Comparison(
        ok=bool((same | ((error <= limit) & np.isfinite(limit))).all()),
        max_abs_error=largest,
        max_rel_error=largest / scale if scale else largest,
        bound=float(limit.max(initial=0.0)),
    )
