"""fuse-pointwise: ops that are no products are grouped, a kernel a group.

In: level-1 IR. Out: the same with `dstc.fused` ops: whatever only one group reads is computed in
that group, from the elements that it needs; at most one op of a group works along rows or windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from ..dialects import dstc
from ..dialects import dstc_pointwise as pointwise
from ..dialects.checks import shape_of
from ..dialects.functions import FUNCTIONS
from ..dialects.rows import RowOp, row_op

POINT = (pointwise.ElementwiseOp, dstc.AddOp, dstc.ReluOp, dstc.CastOp)
"""Ops by element: what is fused behind a row-wise op."""
MOVE = (
    dstc.ReshapeOp, dstc.TransposeOp, pointwise.SliceOp, pointwise.ExpandOp, pointwise.PadOp,
    pointwise.ConcatOp, pointwise.GatherOp,
)  # fmt: skip
"""Ops that move elements."""
MOST_INPUTS = 12
"""Addresses that a kernel keeps in registers."""
MOST_OPS = 48
"""Ops of a group."""


def _elements(value: SSAValue) -> int:
    return math.prod(shape_of(value.type))


def _users(value: SSAValue) -> Iterator[Operation]:
    return (use.operation for use in value.uses)


def _costly(op: Operation) -> bool:
    """Computing it again for every reader is worth a kernel and a place in memory."""
    if isinstance(op, pointwise.ElementwiseOp):
        return FUNCTIONS[op.function.data].costly
    return isinstance(op, dstc.Pool2dOp)


@dataclass
class _Group:
    """Ops of one kernel, the root (which gives the result) first."""

    root: Operation
    ops: list[Operation] = field(default_factory=list[Operation])
    row: RowOp | None = None
    window: bool = False

    def add(self, op: Operation) -> None:
        self.ops.append(op)
        self.row = self.row or row_op(op)
        self.window = self.window or isinstance(op, dstc.Pool2dOp)

    def inputs(self, also: Iterable[Operation] = ()) -> list[SSAValue]:
        """What the group, with more ops in it, reads: each value once, in the order of reading."""
        members = [*self.ops, *also]
        made = {id(r) for op in members for r in op.results}
        operands = (v for op in reversed(members) for v in op.operands)
        return [
            v for v in dict.fromkeys(operands)
            if id(v) not in made and not isinstance(v.owner, pointwise.FillOp)
        ]  # fmt: skip

    def takes(self, op: Operation) -> bool:
        """Whether `op`, which only this group reads, can be computed in it."""
        row = row_op(op)
        window = isinstance(op, dstc.Pool2dOp)
        if len(self.ops) >= MOST_OPS or len(self.inputs([op])) > MOST_INPUTS:
            return False
        if (row or window) and (self.row or self.window):
            return False
        if row is not None:
            return self._keeps_rows(op, row)
        readers = list(_users(op.results[0]))
        repeated = self.window or any(
            2 * _elements(op.results[0]) <= _elements(r.results[0]) for r in readers
        )
        return not (repeated and _costly(op))

    def _keeps_rows(self, op: Operation, row: RowOp) -> bool:
        """All ops behind a row-wise one compute an element from the element at its place."""
        rank = len(shape_of(op.operands[0].type))
        trailing = row.axes == tuple(range(rank - len(row.axes), rank)) or not row.elements
        behind = [op.results[0]]
        while behind:
            value = behind.pop()
            for reader in _users(value):
                alike = _elements(reader.results[0]) == _elements(value)
                flat = isinstance(reader, dstc.ReshapeOp) and trailing
                if not alike or not (isinstance(reader, POINT) or flat):
                    return False
                if not trailing and shape_of(reader.results[0].type) != shape_of(value.type):
                    return False
                if reader is not self.root:
                    behind.append(reader.results[0])
        return True


def _fusible(op: Operation) -> bool:
    return isinstance(op, (*POINT, *MOVE, dstc.Pool2dOp)) or row_op(op) is not None


def _groups(block: Block) -> list[_Group]:
    """Groups of a block's ops, from the last root to the first."""
    of: dict[Operation, _Group] = {}
    groups: list[_Group] = []
    for op in reversed(list(block.ops)):
        if not _fusible(op) or _of_constants(op):
            continue
        readers = {id(of.get(user)): of.get(user) for user in _users(op.results[0])}
        (group,) = readers.values() if len(readers) == 1 else (None,)
        if group is None or not group.takes(op):
            group = _Group(op)
            groups.append(group)
        group.add(op)
        of[op] = group
    return groups


def _of_constants(op: Operation) -> bool:
    """It is folded ahead of time."""
    movement = isinstance(op, dstc.ReshapeOp | dstc.TransposeOp | dstc.CastOp)
    return movement and isinstance(op.operands[0].owner, dstc.ConstantOp)


def _fuse(group: _Group) -> None:
    """Put a `dstc.fused` where the root stands."""
    fills = [
        v.owner for op in group.ops for v in op.operands if isinstance(v.owner, pointwise.FillOp)
    ]
    if len(group.ops) == 1 and not fills:
        return
    inputs = group.inputs()
    body = pointwise.FusedOp.block_for(inputs)
    inside: dict[SSAValue, SSAValue] = dict(zip(inputs, body.args, strict=True))
    for value, arg in inside.items():
        arg.name_hint = value.name_hint
    for op in (*dict.fromkeys(fills), *reversed(group.ops)):
        copy = op.clone(value_mapper=inside)
        for old, new in zip(op.results, copy.results, strict=True):
            new.name_hint = old.name_hint
        copy.attributes.pop(dstc.SOURCE, None)
        body.add_op(copy)
    body.add_op(pointwise.YieldOp(inside[group.root.results[0]]))
    fused = pointwise.FusedOp(inputs, Region(body), group.root.results[0].type)
    dstc.copy_source(fused, *reversed(group.ops))
    fused.result.name_hint = group.root.results[0].name_hint
    Rewriter.insert_op(fused, InsertPoint.before(group.root))
    group.root.results[0].replace_all_uses_with(fused.result)
    for op in (*group.ops, *dict.fromkeys(fills)):
        if not any(r.uses for r in op.results):
            op.detach()
            op.erase()


@dataclass(frozen=True)
class FusePointwise(ModulePass):
    """Group what is computed by element, by index, along rows and over windows into kernels."""

    name = "fuse-pointwise"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for main in [f for f in op.walk() if isinstance(f, FuncOp)]:
            for block in main.body.blocks:
                for group in _groups(block):
                    _fuse(group)
