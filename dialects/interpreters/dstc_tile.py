"""Launches of `dstc_tile` kernels in xDSL's interpreter: device memory around `simt`.

In: tensors as numpy arrays; a bitmap is the dense f16 matrix, without negative zeros. Out: the
results of the kernel, computed lane by lane on the same storage layouts as on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import TensorType, f16, f32, i32
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import Attribute
from xdsl.traits import SymbolTable
from xdsl.utils.hints import isa

from ...backend.isa.errors import DstcError
from ...backend.isa.layout import DenseLayout
from ...runtime import image_format, nm_format
from ...runtime.formats import Bitmap, decode, encode
from ..dstc import BitmapType, NmType
from ..dstc_tile import KernelOp, LaunchOp
from ..image_type import ImageType
from .lane_ops import LANE
from .simt import Simt
from .simt_arith import ARITH
from .simt_memory import Array, Memory
from .simt_scf import SCF
from .warp_ops import WARP

HANDLERS = {**ARITH, **SCF, **LANE, **WARP}
"""Everything that a kernel body may contain."""

_DTYPES: dict[Attribute, np.dtype[Any]] = {
    f16: np.dtype(np.float16),
    f32: np.dtype(np.float32),
    i32: np.dtype(np.uint32),
}


@dataclass(frozen=True)
class _Dense:
    """A dense tensor in device memory."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def layout(self) -> DenseLayout:
        return DenseLayout.of(self.shape, self.dtype.itemsize)

    @property
    def bytes(self) -> int:
        return self.layout.bytes

    def image(self, value: Array) -> bytes:
        at = self.layout
        padded = np.zeros((at.padded_rows, at.pitch), self.dtype)
        padded[: at.rows, : at.columns] = value.reshape(at.rows, at.columns)
        return padded.tobytes()

    def value(self, image: bytes) -> Array:
        at = self.layout
        padded = np.frombuffer(image, self.dtype).reshape(at.padded_rows, at.pitch)
        return np.array(padded[: at.rows, : at.columns]).reshape(self.shape)


@dataclass(frozen=True)
class _Encoded:
    """A bitmap operand in device memory, with slots for values."""

    type_: BitmapType

    @property
    def shape(self) -> tuple[int, int]:
        return self.type_.shape

    @property
    def bytes(self) -> int:
        return self.type_.layout.slot_bytes

    def image(self, value: Array) -> bytes:
        window = self.type_.layout.window
        matrix = value.astype(np.float16, copy=False)
        return encode(matrix, self.type_.side.data, window=window).to_bytes()

    def value(self, image: bytes) -> Array:
        at = self.type_.layout
        side = self.type_.side.data
        return decode(Bitmap.from_bytes(image, at.vectors, at.depth, side, at.window))


@dataclass(frozen=True)
class _Sparse:
    """An n:m operand in device memory."""

    type_: NmType

    @property
    def shape(self) -> tuple[int, int]:
        return self.type_.shape

    @property
    def bytes(self) -> int:
        return self.type_.layout.bytes

    def image(self, value: Array) -> bytes:
        matrix = value.astype(np.float16, copy=False)
        return nm_format.encode(matrix, self.type_.pattern, self.type_.side.data)

    def value(self, image: bytes) -> Array:
        return nm_format.decode(image, self.type_.pattern, self.shape, self.type_.side.data)


@dataclass(frozen=True)
class _Image:
    """An encoded image in device memory."""

    type_: ImageType

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type_.shape

    @property
    def bytes(self) -> int:
        return self.type_.layout.bytes

    def image(self, value: Array) -> bytes:
        return image_format.encode(value.astype(np.float16, copy=False), self.type_.layout)

    def value(self, image: bytes) -> Array:
        return image_format.decode(image, self.type_.layout)


def _storage(op: LaunchOp, type_: Attribute) -> _Dense | _Encoded | _Sparse | _Image:
    if isinstance(type_, ImageType):
        return _Image(type_)
    if isinstance(type_, NmType):
        return _Sparse(type_)
    if isinstance(type_, BitmapType):
        return _Encoded(type_)
    if isa(type_, TensorType) and (dtype := _DTYPES.get(type_.element_type)) is not None:
        return _Dense(type_.get_shape(), dtype)
    raise DstcError(
        f"launch of {op.kernel.data}: {type_} has no place in device memory; "
        "use tensors of f16, f32 or i32, !dstc.bitmap, !dstc.nm or !dstc.image"
    )


def run_kernel(kernel: KernelOp, launch: LaunchOp, values: Sequence[Array]) -> tuple[Array, ...]:
    """The results of `launch` for its inputs' values.

    Raises `DstcError` naming op, CTA, warp and lane at the first wrong access, and for values and
    parameters that do not fit the launch.
    """
    name = kernel.sym_name.data
    inputs = [_storage(launch, v.type) for v in launch.inputs]
    outputs = [_storage(launch, v.type) for v in launch.results_]
    if len(kernel.params) != len(inputs) + len(outputs):
        raise DstcError(
            f"launch of {name}: {len(inputs)} inputs and {len(outputs)} results, but the kernel "
            f"has {len(kernel.params)} parameters; give one a buffer"
        )
    images: list[bytes] = []
    for i, (storage, value) in enumerate(zip(inputs, values, strict=True)):
        if np.shape(value) != storage.shape:
            raise DstcError(
                f"launch of {name}: input {i} is {np.shape(value)}, the IR says {storage.shape}"
            )
        images.append(storage.image(np.asarray(value)))
    memory = Memory.device([*map(len, images), *(o.bytes for o in outputs)])
    for image, (start, _) in zip(images, memory.extents, strict=False):
        memory.bytes[start : start + len(image)] = np.frombuffer(image, np.uint8)
    Simt(kernel, memory, HANDLERS).run([start for start, _ in memory.extents])
    return tuple(
        storage.value(memory.bytes[start : start + storage.bytes].tobytes())
        for storage, (start, _) in zip(outputs, memory.extents[len(images) :], strict=True)
    )


@register_impls
class TileFunctions(InterpreterFunctions):
    """`dstc_tile.launch` for xDSL's interpreter; the kernel is looked up in the module."""

    def __init__(self, ctx: Context):
        self.ctx = ctx

    @impl(LaunchOp)
    def run_launch(
        self, interpreter: Interpreter, op: LaunchOp, args: PythonValues
    ) -> PythonValues:
        kernel = SymbolTable.lookup_symbol(interpreter.module, op.kernel.data)
        if not isinstance(kernel, KernelOp):
            raise DstcError(f"launch of {op.kernel.data}: the module has no such dstc_tile.kernel")
        return run_kernel(kernel, op, args)
