"""convert-matmul-to-tile: scheduled `dstc.matmul` ops become tiled kernels and their launches.

In: `dstc.matmul` with a `#dstc.schedule`, operands in the form that its engine takes. Out: a
`dstc_tile.kernel` each and a `dstc_tile.launch` in the op's place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from ..backend.isa.errors import DstcError
from ..dialects import dstc_tile as tile
from ..dialects.dstc import BitmapType, Engine, ImageType, MatmulOp, NmType, ScheduleAttr
from .conv_direct import direct_kernel, takes_direct
from .device_tensor import DeviceTensor
from .kernel_names import KernelNames
from .matmul_dense import dense_kernel
from .matmul_dual import dual_kernel
from .matmul_dual_windows import window_kernel
from .matmul_nm import nm_kernel
from .matmul_split import scratch_types

_KERNELS: dict[str, Callable[[MatmulOp, ScheduleAttr, str, list[str]], tile.KernelOp]] = {
    Engine.DENSE: dense_kernel,
    Engine.NM: nm_kernel,
    Engine.DUAL: dual_kernel,
}


class _ConvertMatmul(RewritePattern):
    def __init__(self, names: KernelNames):
        self.names = names

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        schedule = op.schedule
        if schedule is None:
            raise DstcError(
                f"{self.names.where(op)}: dstc.matmul has no schedule; run select-schedule first"
            )
        engine = schedule.engine.data
        bitmaps = {isinstance(v.type, BitmapType | ImageType) for v in (op.lhs, op.rhs)}
        sparse = [isinstance(v.type, NmType) for v in (op.lhs, op.rhs)]
        if bitmaps != {engine == Engine.DUAL} or any(sparse) != (engine == Engine.NM):
            raise DstcError(
                f"{self.names.where(op)}: the {engine} engine does not take operands of types "
                f"{op.lhs.type} and {op.rhs.type}; run encode-operands first"
            )
        self._check_elements(op)
        self._check_forms(op, engine)
        given = {"a": op.lhs, "b": op.rhs, "bias": op.bias, "residual": op.residual}
        inputs = {name: value for name, value in given.items() if value is not None}
        scratch = scratch_types(op, schedule)
        params = [*inputs, "c", *scratch]
        name = self.names.fresh(op, "conv2d" if op.image is not None else "matmul")
        if engine == Engine.DENSE and takes_direct(op):
            kernel = direct_kernel(op, name, params)
        elif isinstance(op.rhs.type, ImageType):
            kernel = window_kernel(op, schedule, name, params)
        else:
            kernel = _KERNELS[engine](op, schedule, name, params)
        m, n, k = op.total_sizes
        self.names.replace(
            op,
            rewriter,
            kernel,
            tile.LaunchOp(
                name,
                list(inputs.values()),
                [op.result.type, *scratch.values()],
                op="matmul" if op.image is None else "conv2d",
                engine=engine,
                macs=m * n * k * op.group_count,
                transposed="".join(s for s, t in zip("ab", op.transposed, strict=True) if t),
                batch=op.matrices,
                window=op.window,
                groups=op.groups,
            ),
        )

    def _check_forms(self, op: MatmulOp, engine: str) -> None:
        if engine == Engine.DUAL and any(op.transposed):
            raise DstcError(
                f"{self.names.where(op)}: the {engine} engine takes no transposed operands; "
                "run encode-operands first"
            )

    def _check_elements(self, op: MatmulOp) -> None:
        for value in (op.lhs, op.rhs):
            if (
                not isinstance(value.type, BitmapType | NmType | ImageType)
                and DeviceTensor.of(value.type).element_bytes != 2
            ):
                raise DstcError(
                    f"{self.names.where(op)}: operands must be f16, not {value.type}; "
                    "run lower-precision first"
                )
        if op.bias is not None and DeviceTensor.of(op.bias.type).element_bytes != 4:
            raise DstcError(
                f"{self.names.where(op)}: the bias must be f32, not {op.bias.type}; "
                "run lower-precision first"
            )


@dataclass(frozen=True)
class ConvertMatmulToTile(ModulePass):
    """Turn scheduled matrix products into tiled kernels and launches."""

    name = "convert-matmul-to-tile"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        PatternRewriteWalker(
            _ConvertMatmul(KernelNames(op)), apply_recursively=False
        ).rewrite_module(op)
