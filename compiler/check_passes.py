"""`--check-each-pass`: the same inputs through the IR after every pass; who changes the result.

In: a module before the first and after every pass, inputs. Out: nothing, or `PassChanged`, which
names the first pass after which @main gives other values, and the op whose value first differs.

IR is interpreted, kernels included, be they lanes' code or instructions; kernels whose registers
are allocated run on the simulator with all its checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import (
    ArrayAttr,
    FunctionType,
    IntegerType,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Attribute, Operation

from ..backend.emit import emit_kernel
from ..backend.isa.errors import CheckFailed, DstcError
from ..dialects.dstc import matrix_shape, source_of
from ..dialects.dstc_isa import KernelOp
from ..dialects.dstc_tile import LaunchOp
from ..dialects.interpreters.simt_memory import Mask, Memory
from ..runtime.device import Device
from ..runtime.machine import Machine
from .instruments import Instrument, pass_name
from .locations import place
from .reference import main_of, run_module

Array = NDArray[Any]

ROUNDING = {"lower-precision": 2.0**-6, "select-schedule": 2.0**-8}
"""Passes that round elsewhere (operands to f16, sums in parts): how far they may move a value, in
parts of the largest magnitude of the tensor. All others keep every bit."""


class PassChanged(CheckFailed):
    """A pass changed what the program computes."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of @main: by name, and random where none is given (but then for all)."""

    arrays: Mapping[str, Array]
    seed: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of integer inputs that are indices: they stay below."""

    @staticmethod
    def parse(text: str) -> Inputs:
        """`random`, `random:SEED`, or the name of an .npz file of inputs by name."""
        if text == "random" or text.startswith("random:"):
            seed = text.partition(":")[2] or "0"
            if not seed.isdigit():
                raise DstcError(f"--check-each-pass {text}: a seed is a whole number")
            return Inputs({}, int(seed))
        try:
            with np.load(Path(text), allow_pickle=False) as file:
                return Inputs({name: file[name] for name in file.files})
        except (OSError, ValueError) as e:
            raise DstcError(f"{text}: no readable .npz of inputs ({e})") from e

    def for_main(self, main: FuncOp) -> list[Array]:
        """An array for each argument. Random ones have zeros, as activations do."""
        signature: FunctionType = main.function_type
        rng = np.random.default_rng(self.seed)
        found: list[Array] = []
        for name, type_ in zip(input_names(main), signature.inputs, strict=True):
            shape = matrix_shape(type_)
            if name in self.arrays:
                if self.arrays[name].shape != shape:
                    raise DstcError(
                        f"input {name!r} has the shape {self.arrays[name].shape}, but @main takes "
                        f"{shape}"
                    )
                found.append(self.arrays[name])
            elif self.seed is None:
                raise DstcError(
                    f"input {name!r} is missing; the file has {', '.join(self.arrays) or 'none'}"
                )
            elif _is_integer(type_):
                found.append(rng.integers(0, self.limits.get(name, 2), shape, dtype=np.int32))
            else:
                values = rng.standard_normal(shape).astype(np.float16).astype(np.float32)
                found.append(np.where(rng.random(shape) < 0.5, values, np.float32(0)))
        return found


def input_names(main: FuncOp) -> list[str]:
    """Names of the arguments of @main."""
    attr = main.attributes.get("dstc.inputs")
    if isinstance(attr, ArrayAttr):
        items = cast("ArrayAttr[Attribute]", attr).data
        return [a.data for a in items if isinstance(a, StringAttr)]
    return [arg.name_hint or f"arg{i}" for i, arg in enumerate(main.body.block.args)]


def _is_integer(type_: Attribute) -> bool:
    return isinstance(type_, TensorType) and isinstance(
        cast("TensorType[Attribute]", type_).element_type, IntegerType
    )


@dataclass
class _Value:
    """A value of @main: the op that made it (as text), its name and elements."""

    op: str
    name: str | None
    array: Array


@dataclass
class _Recorder(Interpreter.Listener):
    """Keeps every value of @main, in the order of execution."""

    main: FuncOp
    values: list[_Value] = field(default_factory=list[_Value])

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        """Keep the results."""
        if op.parent_op() is not self.main:
            return
        for result, array in zip(op.results, results, strict=True):
            if isinstance(array, np.ndarray):
                self.values.append(_Value(_described(op), result.name_hint, cast("Array", array)))


def _described(op: Operation) -> str:
    """An op, what it stands for and where it is."""
    what = op.name
    if isinstance(op, LaunchOp):
        what = f"the launch of kernel {op.kernel.data}"
    source = ", ".join(source_of(op))
    where = place(op)
    return what + (f" of {source}" if source else "") + (f" ({where})" if where else "")


def simulate(machine: Machine) -> Any:
    """What runs kernels of instructions on the simulator, with all checks: an `Execute`."""

    def execute(
        kernel: KernelOp, memory: Memory, words: Sequence[int], known: Sequence[Mask]
    ) -> None:
        device = Device(machine, mode="functional", checks="full", threads=1)
        code = emit_kernel(kernel.clone())
        addresses: list[int] = []
        for (start, end), mask in zip(memory.extents, known, strict=True):
            address = device.allocate(end - start)
            device.memory.bytes[address : address + end - start] = memory.bytes[start:end]
            device.mark_written(address, mask)
            addresses.append(address)
        grid = tuple(int(v) for v in cast("Any", kernel.attributes["grid"]).get_values())
        device.launch(code, grid, addresses)
        for (start, end), address in zip(memory.extents, addresses, strict=True):
            memory.bytes[start:end] = device.read(address, end - start)

    return execute


class CheckPasses(Instrument):
    """Runs @main before the first and after every pass. See the module.

    `machine`: of the simulator; default: the one that the passes name, else dstc.
    """

    def __init__(
        self,
        ctx: Context,
        specs: Sequence[str],
        inputs: Inputs,
        machine: Machine | None = None,
    ):
        self.ctx, self.specs, self.inputs = ctx, list(specs), inputs
        self.machine = machine
        self.runs = 0
        """How often @main was executed."""
        self._arrays: list[Array] = []
        self._outputs: list[Array] = []
        self._values: list[_Value] = []

    def before(self, index: int, module: ModuleOp) -> None:
        """Before the first pass: what @main is to compute."""
        if index == 0:
            self._arrays = self.inputs.for_main(main_of(module))
            self._outputs, self._values = self._run(module)

    def after(self, index: int, module: ModuleOp) -> None:
        """Compare."""
        name = pass_name(self.specs[index])
        try:
            outputs, values = self._run(module)
        except DstcError as e:
            raise PassChanged(f"{name}: what it left cannot be executed: {e}") from e
        self._compare(name, outputs, values)
        self._outputs, self._values = outputs, values

    def _target(self) -> Machine:
        if self.machine is None:
            from ..passes.target_machine import machine_of
            from .driver import make_pass

            named = (getattr(make_pass(s), "machine", None) for s in self.specs)
            self.machine = machine_of(self.ctx, next((n for n in named if n), "dstc"))
        return self.machine

    def _run(self, module: ModuleOp) -> tuple[list[Array], list[_Value]]:
        self.runs += 1
        recorder = _Recorder(main_of(module))
        allocated = any(
            isinstance(op, KernelOp) and op.registers is not None for op in module.body.block.ops
        )
        execute = simulate(self._target()) if allocated else None
        outputs = run_module(
            module, self.ctx, self._arrays, races=True, execute=execute, listeners=(recorder,)
        )
        return outputs, recorder.values

    def _compare(self, name: str, outputs: list[Array], values: list[_Value]) -> None:
        rounds = ROUNDING.get(name, 0.0)
        wrong = next(
            (i for i, (new, old) in enumerate(zip(outputs, self._outputs, strict=True))
             if not same(new, old, rounds)), None
        )  # fmt: skip
        if wrong is None:
            return
        known = {v.name: v.array for v in self._values if v.name is not None}
        first = next(
            (v for v in values if v.name in known and v.array.size == known[v.name].size
             and not same(v.array, known[v.name], rounds)), None
        )  # fmt: skip
        if first is None or first.name is None:
            what, new, old = f"output {wrong}", outputs[wrong], self._outputs[wrong]
        else:
            what, new, old = f"%{first.name}, made by {first.op},", first.array, known[first.name]
        raise PassChanged(f"{name} changes the result: {what} {_difference(new, old, rounds)}")


def same(new: Array, old: Array, rounds: float = 0.0) -> bool:
    """Equal values, of whatever shape and type; `rounds`: or so near, see `ROUNDING`."""
    return new.size == old.size and bool(_agree(new, old, rounds).all())


def _agree(new: Array, old: Array, rounds: float) -> NDArray[np.bool_]:
    if new.dtype.kind != "f" or old.dtype.kind != "f":
        return np.asarray(new.reshape(-1) == old.reshape(-1))
    n, o = (x.reshape(-1).astype(np.float32) for x in (new, old))
    equal = (n.view(np.uint32) == o.view(np.uint32)) | (np.isnan(n) & np.isnan(o))
    if not rounds:
        return equal
    scale = float(np.abs(o[np.isfinite(o)]).max(initial=0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(n.astype(np.float64) - o) <= rounds * max(scale, 2.0**-14)
    return equal | near | ~np.isfinite(o)


def _difference(new: Array, old: Array, rounds: float) -> str:
    if new.size != old.size:
        return f"has {new.size} elements, before {old.size}"
    wrong = np.flatnonzero(~_agree(new, old, rounds))
    at = np.unravel_index(int(wrong[0]), new.shape)
    where = ", ".join(str(int(i)) for i in at)
    return (
        f"is {new.reshape(-1)[wrong[0]]} at ({where}), before {old.reshape(-1)[wrong[0]]}; "
        f"{len(wrong)} of {new.size} elements differ"
    )
