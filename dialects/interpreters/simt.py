"""The SIMT machine that interprets kernels: all lanes of all CTAs at once, as numpy arrays.

In: a `dstc_tile.kernel` and its parameters. Out: its effects on global memory. A value is an array
that broadcasts to (CTAs, warps, 32): u32 for i32, f32, bool for i1; vectors have a last axis more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    FileLineColLoc,
    IndexType,
    VectorType,
    f32,
    i1,
    i32,
)
from xdsl.dialects.scf import ConditionOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.hints import isa

from ...backend.isa.errors import DstcError
from ...backend.isa.table import WARP_SIZE
from ..dstc_tile import KernelOp, ReturnOp
from .simt_memory import Array, Fault, Mask, Memory

Handler = Callable[["Simt", Any, tuple[Array, ...]], Sequence[Array]]
"""(machine, operation, operands) -> results."""

_DTYPES: dict[Attribute, np.dtype[Any]] = {
    i32: np.dtype(np.uint32),
    IndexType(): np.dtype(np.uint32),
    f32: np.dtype(np.float32),
    i1: np.dtype(np.bool_),
}


class Simt:
    """One launch. `active`: lanes that run, None for all; handlers read and write the rest.

    `races`: two warps that touch a byte of shared memory with no barrier in between, one of them
    writing, are an error.
    """

    def __init__(
        self,
        kernel: KernelOp,
        memory: Memory,
        handlers: Mapping[type, Handler],
        races: bool = False,
    ):
        self.kernel = kernel
        x, y, z = kernel.grid_size
        self.grid = (x * y * z, kernel.warps.value.data, WARP_SIZE)
        """(CTAs, warps, lanes); CTA (x, y, z) is number x + nx * (y + ny * z)."""
        self.memory = memory
        self.shared = Memory.shared(
            kernel.shared.value.data, self.grid[0], self.grid[1] if races else 0
        )
        tiles = kernel.acc.value.data
        self.acc = np.full((self.grid[0] * self.grid[1], tiles, 32, 32), np.nan, np.float32)
        """Accumulator tiles, f32 (CTAs * warps, tiles, 32, 32); NaN until cleared."""
        self.active: Mask | None = None
        self._handlers = handlers
        self._values: dict[SSAValue, Array] = {}

    def run(self, parameters: Sequence[int]) -> None:
        """Run the kernel on its parameters (u32)."""
        args = [np.full((1, 1, 1), p, np.uint32) for p in parameters]
        with np.errstate(all="ignore"):
            self.run_block(self.kernel.body.block, args)

    def run_block(self, block: Block, args: Sequence[Array]) -> tuple[Array, ...]:
        """Run a block; what its terminator passes on."""
        values = self._values
        values.update(zip(block.args, args, strict=True))
        for op in block.ops:
            operands = tuple(values[v] for v in op.operands)
            if isinstance(op, YieldOp | ConditionOp | ReturnOp):
                return operands
            handler = self._handlers.get(type(op))
            if handler is None:
                raise self.error(op, "the interpreter does not know this op in a kernel")
            try:
                results = handler(self, op, operands)
            except Fault as fault:
                raise self.lane_error(
                    op, fault.lanes, f"address {{:#x}}: {fault.reason}", fault.addresses
                ) from None
            values.update(zip(op.results, results, strict=True))
        return ()

    @contextmanager
    def masked(self, mask: Mask) -> Generator[None]:
        """Within it, only lanes where `mask` holds run."""
        outer = self.active
        self.active = mask if outer is None else outer & mask
        try:
            yield
        finally:
            self.active = outer

    def live(self, mask: Mask) -> Mask:
        """`mask` in active lanes, false in others."""
        return mask if self.active is None else mask & self.active

    def whole_warps(self, op: Operation) -> Mask | None:
        """(CTAs * warps) which warps are active, None if all; an error if one is only in part."""
        if self.active is None:
            return None
        lanes = np.broadcast_to(self.active, self.grid)
        some, every = lanes.any(axis=2), lanes.all(axis=2)
        if not np.array_equal(some, every):
            raise self.lane_error(
                op,
                np.expand_dims(some & ~every, 2) & ~lanes,
                "needs all 32 lanes of the warp, but this one does not run; "
                "move it out of the divergent scf.if or scf.for",
            )
        return every.ravel()

    def error(self, op: Operation, what: str) -> DstcError:
        """`what` is wrong with `op`."""
        return DstcError(f"kernel {self.kernel.sym_name.data}: {_describe(op)}: {what}")

    def lane_error(
        self, op: Operation, lanes: Mask, what: str, numbers: Array | None = None
    ) -> DstcError:
        """`what` is wrong with `op` in `lanes`; its `{}` is the first such lane's number."""
        where = np.broadcast_to(lanes, self.grid)
        cta, warp, lane = (int(i) for i in np.unravel_index(np.argmax(where), self.grid))
        if numbers is not None:
            what = what.format(int(np.broadcast_to(numbers, self.grid)[cta, warp, lane]))
        nx, ny, _ = self.kernel.grid_size
        place = f"CTA ({cta % nx}, {cta // nx % ny}, {cta // nx // ny}), warp {warp}, lane {lane}"
        return self.error(op, f"{place}: {what}")


def dtype_of(type_: Attribute) -> np.dtype[Any] | None:
    """Element dtype of the arrays that stand for values of `type_`; None if a kernel has none."""
    return _DTYPES.get(type_.element_type if isa(type_, VectorType) else type_)


def is_vector(type_: Attribute) -> bool:
    """Values of `type_` have a last axis of elements."""
    return isa(type_, VectorType)


def merge(mask: Mask, new: Array, old: Array) -> Array:
    """`new` where `mask` holds, else `old`; the values may be vectors."""
    return np.where(mask[..., None] if new.ndim > mask.ndim else mask, new, old)


def signed(value: Array) -> Array:
    """u32 as i32; bool as 0 and -1."""
    return -value.astype(np.int32) if value.dtype == np.bool_ else value.view(np.int32)


def unsigned(value: Array) -> Array:
    """u32 as it is; bool as 0 and 1."""
    return value.astype(np.uint32) if value.dtype == np.bool_ else value


def _describe(op: Operation) -> str:
    text = op.name if op.regions else " ".join(str(op).split())
    loc = op.location
    if isinstance(loc, FileLineColLoc):
        return f"{text} ({loc.filename.data}:{loc.line.data}:{loc.column.data})"
    return text
