"""Packaging: IR at the instruction level becomes a program that runs without the compiler.

In: a module with @main (launches, host operators, constants) and allocated `dstc_isa` kernels, and
the constant pool. Out: a `Program` with machine code, launch plan and constant data.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    Float16Type,
    IntegerType,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from ..backend.emit import emit_module
from ..backend.isa.errors import DstcError
from ..backend.isa.layout import DenseLayout
from ..backend.isa.program import Buffer, Launch, Plan, Port, Program
from ..dialects import dstc_isa as isa
from ..dialects import dstc_tile as tile
from ..dialects.constants import ConstantPool
from ..dialects.dstc import (
    BitmapType,
    ConstantOp,
    EncodeOp,
    ImageType,
    NmType,
    ReshapeOp,
    int_values,
    matrix_shape,
    source_of,
)
from ..runtime import nm_format
from ..runtime.formats import encode
from ..runtime.image_format import encode as encode_image
from ..runtime.images import to_image
from .graph import ModelGraph
from .memory_plan import plan_memory


def package(
    module: ModuleOp, pool: ConstantPool, graph: ModelGraph | None, machine: str, model: str
) -> Program:
    """The program of `module`. Raises `DstcError` for an op that runs on neither side."""
    return _Packager(module, pool, machine, model).program(graph)


def _dtype(type_: Attribute) -> str:
    if isinstance(type_, BitmapType):
        return "bitmap"
    if isinstance(type_, NmType):
        return "nm"
    if isinstance(type_, ImageType):
        return "image"
    element: Attribute = cast("Any", type_).element_type
    if isinstance(element, IntegerType):
        return "i32"
    return "f16" if isinstance(element, Float16Type) else "f32"


class _Packager:
    def __init__(self, module: ModuleOp, pool: ConstantPool, machine: str, model: str):
        self.module, self.pool = module, pool
        self.plan = Plan(model=model, machine=machine)
        self.data: dict[str, bytes] = {}
        self.buffer_of: dict[SSAValue, str] = {}
        self.names: set[str] = set()
        self.grids: dict[str, tuple[int, int, int]] = {}
        for op in module.body.block.ops:
            if isinstance(op, isa.KernelOp):
                grid = op.attributes["grid"]
                assert isinstance(grid, DenseArrayBase)
                x, y, z = int_values(cast("DenseArrayBase[Any]", grid))
                self.grids[op.sym_name.data] = (x, y, z)

    def program(self, graph: ModelGraph | None) -> Program:
        main = next(
            (
                o
                for o in self.module.body.block.ops
                if isinstance(o, FuncOp) and o.sym_name.data == "main"
            ),
            None,
        )
        if main is None:
            raise DstcError("the module has no function @main")
        names = _names(main, "dstc.inputs") or [f"arg{i}" for i in range(len(main.args))]
        if graph is not None:
            self.plan.metadata["index_ranges"] = graph.index_ranges()
        given = _names(main, "dstc.input_types")
        dtypes = dict(zip(names, given, strict=True)) if given else {}
        if graph is not None:
            dtypes = {p.name: p.dtype for p in graph.inputs}
        for name, arg in zip(names, main.args, strict=True):
            buffer = self.buffer(arg, "input", name)
            shape = matrix_shape(arg.type)
            dtype = dtypes.get(name, "float16" if _dtype(arg.type) != "f32" else "float32")
            self.plan.inputs.append(Port(name, shape, dtype, buffer))
        for op in main.body.block.ops:
            self.op(op)
        returned = main.body.block.last_op
        assert isinstance(returned, ReturnOp)
        outputs = _names(main, "dstc.outputs") or [
            f"out{i}" for i in range(len(returned.arguments))
        ]
        out_dtypes = {p.name: p.dtype for p in graph.outputs} if graph is not None else {}
        for name, value in zip(outputs, returned.arguments, strict=True):
            buffer = self.buffer_of[value]
            for b in self.plan.buffers:
                if b.name == buffer and b.kind == "temporary":
                    b.kind = "output"
            dtype = out_dtypes.get(name, "float32")
            self.plan.outputs.append(Port(name, matrix_shape(value.type), dtype, buffer))
        plan_memory(self.plan)
        program = Program(emit_module(self.module), self.plan, self.data)
        program.validate()
        return program

    def op(self, op: Operation) -> None:
        """One op of @main."""
        match op:
            case ConstantOp():
                pass  # when it is used: dense or encoded
            case EncodeOp() if isinstance(op.input.owner, ConstantOp):
                self.encoded_constant(op, op.input.owner)
            case ReshapeOp():
                self.alias(op)
            case tile.LaunchOp():
                self.launch(op)
            case ReturnOp():
                for value in op.arguments:
                    self.use(value)
            case _:
                raise DstcError(
                    f"node {(source_of(op) or (op.name,))[0]!r}: {op.name} is left without a "
                    "kernel; run the passes convert-*-to-tile"
                )

    def fresh(self, hint: str) -> str:
        name, n = hint, 0
        while name in self.names:
            n += 1
            name = f"{hint}.{n}"
        self.names.add(name)
        return name

    def buffer(self, value: SSAValue, kind: str, hint: str, data: bytes | None = None) -> str:
        """A new buffer for `value`."""
        name = self.fresh(hint)
        type_, shape = value.type, matrix_shape(value.type)
        bitmap: dict[str, Any] | None = None
        nm: dict[str, Any] | None = None
        image: dict[str, Any] | None = None
        if isinstance(type_, NmType):
            at = type_.layout
            nm = {"lines": at.lines, "depth": at.depth, "n": at.n, "m": at.m,
                  "side": type_.side.data}  # fmt: skip
            size = at.bytes
        elif isinstance(type_, BitmapType):
            layout = type_.layout
            bitmap = {**asdict(layout), "side": type_.side.data}
            size = layout.slot_bytes if data is None else len(data)
        elif isinstance(type_, ImageType):
            image, size = type_.layout.facts(), type_.layout.bytes
        else:
            size = DenseLayout.of(shape, 2 if _dtype(type_) == "f16" else 4).bytes
        if data is not None:
            self.data[name] = data
        self.plan.buffers.append(
            Buffer(
                name,
                kind,
                shape,
                _dtype(type_),
                size,
                name if data is not None else None,
                bitmap,
                nm,
                image,
            )
        )
        self.buffer_of[value] = name
        return name

    def use(self, value: SSAValue) -> str:
        """The buffer that holds `value`; a dense constant gets one now."""
        if value not in self.buffer_of:
            owner = value.owner
            assert isinstance(owner, ConstantOp)
            shape = matrix_shape(value.type)
            probe = Buffer("", "constant", shape, _dtype(value.type), 0)
            image = to_image(self.constant(owner), probe)
            self.buffer(value, "constant", owner.constant.data, image.tobytes())
        return self.buffer_of[value]

    def constant(self, op: ConstantOp) -> NDArray[Any]:
        array = self.pool[op.constant.data]
        shape = matrix_shape(op.result.type)
        if array.shape != shape:
            raise DstcError(
                f"constant {op.constant.data!r} has shape {array.shape} in the pool, "
                f"{shape} in the IR"
            )
        return array

    def encoded_constant(self, op: EncodeOp, constant: ConstantOp) -> None:
        type_ = op.result.type
        matrix = np.asarray(self.constant(constant), np.float16)
        if isinstance(type_, ImageType):
            data = encode_image(matrix, type_.layout)
            self.buffer(op.result, "constant", f"{constant.constant.data}.image", data)
            return
        if isinstance(type_, NmType):
            name = constant.constant.data
            where = nm_format.violation(matrix, type_.pattern, type_.side.data)
            if where is not None:
                raise DstcError(f"constant {name!r} is not {type_.pattern}: {where}")
            image = nm_format.encode(matrix, type_.pattern, type_.side.data)
            self.buffer(op.result, "constant", f"{name}.nm", image)
            return
        assert isinstance(type_, BitmapType)
        image = encode(matrix, type_.side.data, window=type_.layout.window).to_bytes()
        self.buffer(op.result, "constant", f"{constant.constant.data}.bitmap", image)

    def alias(self, op: ReshapeOp) -> None:
        """The result lies where the input does."""
        name = self.use(op.x)
        here, there = (
            DenseLayout.of(matrix_shape(v.type), 2 if _dtype(v.type) == "f16" else 4)
            for v in (op.x, op.result)
        )
        if not here.covers(there):
            raise DstcError(f"{op.name} moves data; run convert-elementwise-to-tile first")
        self.buffer_of[op.result] = name

    def launch(self, op: tile.LaunchOp) -> None:
        kernel = op.kernel.data
        if kernel not in self.grids:
            raise DstcError(f"dstc_tile.launch: there is no dstc_isa.kernel @{kernel}")
        args = [self.use(v) for v in op.inputs]
        for result in op.results_:
            args.append(self.buffer(result, "temporary", result.name_hint or kernel))
            if not result.uses and _dtype(result.type) == "i32":
                self.plan.buffers[-1].dtype = "u32"  # scratch: it counts from zero
        product = op.macs is not None
        source = source_of(op)
        self.plan.steps.append(
            Launch(
                kernel=kernel,
                name=_title(op, source),
                op=op.op.data,
                engine="" if op.engine is None else op.engine.data,
                source=source,
                grid=self.grids[kernel],
                args=tuple(args),
                macs_dense=0 if op.macs is None else op.macs.value.data,
                a_operand=args[0] if product else None,
                b_operand=args[1] if product else None,
                transposed="" if op.transposed is None else op.transposed.data,
                batch=1 if op.batch is None else op.batch.value.data,
                a_shape=matrix_shape(op.inputs[0].type) if product else (),
                b_shape=matrix_shape(op.inputs[1].type) if product else (),
                window=_window(op),
            )
        )


def _title(op: tile.LaunchOp, source: tuple[str, ...]) -> str:
    """What reports call a launch: a product by its node, others by what they do behind that."""
    if not source:
        return op.kernel.data
    return source[0] if op.macs is not None else f"{source[0]}_{op.op.data}"


def _window(op: tile.LaunchOp) -> tuple[int, ...]:
    """The numbers of `Launch.window`."""
    if op.window is None:
        return ()
    w = op.window.window
    groups = 1 if op.groups is None else op.groups.value.data
    image = matrix_shape(op.inputs[1].type)
    return (*w.kernel, *w.strides, *w.pads, *w.dilations, *w.spread, groups, *image)


def _names(main: FuncOp, key: str) -> list[str]:
    attr = main.attributes.get(key)
    if not isinstance(attr, ArrayAttr):
        return []
    items = cast("ArrayAttr[Attribute]", attr).data
    return [a.data for a in items if isinstance(a, StringAttr)]
