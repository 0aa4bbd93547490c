"""Densities on constants and on the operands of products.

In: IR with `dstc.constant` and its pool, perhaps calibration inputs and hints. Out: `density` on
each constant, `a_density` and `b_density` on each product: exact for constants, else as hinted,
else as measured, else an estimate behind a ReLU, else what was there, else 1; `a_occupied` and
`b_occupied` of constant matrices with empty tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, Float64Type, FloatAttr, ModuleOp, f64
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..backend.isa.table import TILE_K
from ..dialects import dstc
from ..dialects.constants import ConstantPool, constants_of
from ..dialects.dstc_pointwise import FusedOp
from .calibration import Densities, calibration_of, measured_densities, read_calibration

_TRANSPARENT = (
    dstc.ReshapeOp | dstc.TransposeOp | dstc.CastOp | dstc.Pool2dOp | dstc.Im2colOp | dstc.EncodeOp
    | dstc.DecodeOp
)  # fmt: skip
"""Ops whose result is about as dense as their operand."""

_UNKNOWN = FloatAttr(1.0, f64)


def density_of(pool: ConstantPool, name: str) -> float:
    """Fraction of non-zeros of a constant; -0 is a zero, NaN is none; 1 for an empty array."""
    array = pool[name]
    return np.count_nonzero(array) / array.size if array.size else 1.0


def occupied_steps(matrix: NDArray[Any]) -> tuple[float, ...]:
    """Of an operand (vectors x depth), `dstc.matmul`'s `a_occupied`."""
    some = np.asarray(matrix != 0)
    vectors, depth = some.shape
    steps = np.logical_or.reduceat(some, list(range(0, depth, TILE_K)), axis=1)
    return tuple(
        float(np.logical_or.reduceat(steps, list(range(0, vectors, count)), axis=0).mean())
        for count in dstc.OCCUPIED_VECTORS
    )


@dataclass(frozen=True)
class AnnotateSparsity(ModulePass):
    """Annotate constants and the operands of products with their densities.

    `activation_density` is assumed for an operand that comes from a ReLU, through pooling,
    reshapes and im2col. A density that is there stays where nothing is known. `density` holds
    hints, NAME=0.3: of a value (then of every operand that is this value, pooled, reshaped or
    lowered), or of the operand of a product's node that is no constant (NODE.a or NODE.b if
    neither is). `calibrate` is an .npz of inputs by name, on which the model is interpreted.
    """

    name = "annotate-sparsity"

    activation_density: float | int = 0.5
    density: tuple[str, ...] = ()
    calibrate: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not 0 <= self.activation_density <= 1:
            raise DstcError(
                f"{self.name}: activation-density must be 0 to 1, not {self.activation_density:g}"
            )
        pool = constants_of(ctx)
        hints = Hints.parse((*self.density, *hints_of(ctx)))
        inputs = read_calibration(self.calibrate) if self.calibrate else calibration_of(ctx)
        measured = {} if inputs is None else measured_densities(op, ctx, inputs)
        for inner in op.walk():
            if isinstance(inner, dstc.ConstantOp):
                inner.density = FloatAttr(density_of(pool, inner.constant.data), f64)
        for inner in op.walk():
            if isinstance(inner, dstc.MatmulOp | dstc.Conv2dOp):
                pair = (
                    (inner.lhs, inner.rhs)
                    if isinstance(inner, dstc.MatmulOp)
                    else (inner.w, inner.x)
                )
                found = [
                    _constant(value) or hints.of(inner, pair, i) or _float(measured.get(inner), i)
                    or self._assumed(value)
                    for i, value in enumerate(pair)
                ]  # fmt: skip
                inner.a_density = found[0] or inner.a_density or _UNKNOWN
                inner.b_density = found[1] or inner.b_density or _UNKNOWN
            if isinstance(inner, dstc.MatmulOp):
                inner.a_occupied, inner.b_occupied = (_occupied(pool, inner, i) for i in range(2))
        hints.check(op)

    def _assumed(self, value: SSAValue) -> FloatAttr | None:
        """What is assumed behind a ReLU."""
        owner = list(_chain(value))[-1].owner
        if isinstance(owner, dstc.ReluOp) or (
            isinstance(owner, dstc.MatmulOp | dstc.Conv2dOp)
            and owner.activation is not None
            and owner.activation.data == dstc.Activation.RELU
        ):
            return FloatAttr(self.activation_density, f64)
        return None


def _chain(value: SSAValue) -> Iterator[SSAValue]:
    """`value`, and those that it is as dense as, back to where they come from."""
    yield value
    while (origin := _origin(value)) is not None:
        value = origin
        yield value


def _origin(value: SSAValue) -> SSAValue | None:
    """The value that `value` is about as dense as, one step back; through a fused op's body."""
    owner = value.owner
    if isinstance(owner, FusedOp):
        return owner.yielded
    if isinstance(owner, _TRANSPARENT):
        return owner.operands[0]
    if isinstance(value, BlockArgument) and isinstance(fused := value.owner.parent_op(), FusedOp):
        return fused.inputs[value.index]
    return None


def _constant(value: SSAValue) -> FloatAttr | None:
    owner = list(_chain(value))[-1].owner
    return owner.density if isinstance(owner, dstc.ConstantOp) else None


def _occupied(
    pool: ConstantPool, op: dstc.MatmulOp, which: int
) -> DenseArrayBase[Float64Type] | None:
    """Of an operand that is a constant matrix with empty tiles; what was there if it is not."""
    value = (op.lhs, op.rhs)[which]
    if not isinstance(value.owner, dstc.ConstantOp):
        return (op.a_occupied, op.b_occupied)[which]
    array = pool[value.owner.constant.data]
    if array.ndim != 2 or array.size == 0:
        return None
    along_rows = (which == 1) == op.transposed[which]
    found = occupied_steps(array if along_rows else array.T)
    return dstc.occupied_attr(found) if found[0] < 1 else None


def _float(pair: Densities | None, index: int) -> FloatAttr | None:
    return None if pair is None else FloatAttr(pair[index], f64)


@dataclass
class Hints:
    """Densities that the user gives, by name; `used`: those that were found in the model."""

    densities: dict[str, float]
    used: set[str] = field(default_factory=set[str])

    @staticmethod
    def parse(texts: Sequence[str]) -> Hints:
        """From `NAME=0.3`; raises `DstcError` for another form, or what is no density."""
        found: dict[str, float] = {}
        for text in texts:
            name, equals, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = -1.0
            if not (equals and name) or not 0 <= value <= 1:
                raise DstcError(f"density {text}: expected NAME=D with D from 0 to 1, as in x=0.3")
            found[name] = value
        return Hints(found)

    def of(
        self, op: dstc.MatmulOp | dstc.Conv2dOp, pair: tuple[SSAValue, SSAValue], index: int
    ) -> FloatAttr | None:
        """The hint for operand `index` of a product: by node and side, by node, or by value."""
        if not self.densities:
            return None
        other_known = _constant(pair[1 - index]) is not None
        for node in dstc.source_of(op):
            for name in (f"{node}.{'ab'[index]}", node):
                if name in self.densities and (name != node or other_known):
                    return self._use(name)
        hints = [value.name_hint for value in _chain(pair[index])]
        for name in self.densities:
            if dstc.value_hint(name) in hints:
                return self._use(name)
        return None

    def _use(self, name: str) -> FloatAttr:
        self.used.add(name)
        return FloatAttr(self.densities[name], f64)

    def check(self, module: ModuleOp) -> None:
        """Raise `DstcError` for a hint that no operand of a product took."""
        for name in self.densities.keys() - self.used:
            products = [o for o in module.walk() if isinstance(o, dstc.MatmulOp | dstc.Conv2dOp)]
            nodes = [node for o in products for node in dstc.source_of(o)]
            values = [
                v.name_hint for o in products for x in o.operands for v in _chain(x) if v.name_hint
            ]
            known = list(dict.fromkeys([*nodes, *values]))
            near = get_close_matches(name, known, n=1)
            if any(
                dstc.value_hint(name) == list(_chain(x))[-1].name_hint and _constant(x)
                for o in products
                for x in o.operands
            ):
                raise DstcError(f"density {name}=: it is a constant, whose density is known")
            if name in nodes:
                raise DstcError(
                    f"density {name}=: no operand of that node alone is unknown; name one, as "
                    f"{name}.a or {name}.b"
                )
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:8])}"
            raise DstcError(f"density {name}=: no product takes a value of that name; {hint}")


def attach_hints(ctx: Context, hints: Sequence[str]) -> None:
    """Make `hints` (NAME=0.3) those of `ctx`, beside the pass's own."""
    ctx.__dict__["dstc_densities"] = tuple(hints)


def hints_of(ctx: Context) -> tuple[str, ...]:
    """The hints of `ctx`."""
    return ctx.__dict__.get("dstc_densities", ())
