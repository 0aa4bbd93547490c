"""A builder for `dstc_tile` kernels: arithmetic with constant folding, loops, loads and stores.

In: Python code that describes what a lane does. Out: a `dstc_tile.kernel` op. Not a pass.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from xdsl.builder import Builder
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, UnitAttr, f32, i1, i32
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from ..dialects import dstc_tile as tile

Value = SSAValue | int
"""An i32: a value of the IR or a constant that folds."""

_MASK = 0xFFFFFFFF


def signed(value: int) -> int:
    """The two's complement reading of the low 32 bits."""
    value &= _MASK
    return value - (1 << 32) if value >> 31 else value


class KernelBuilder:
    """Builds one kernel. Python ints stand for i32 constants wherever a `Value` is taken."""

    def __init__(
        self,
        name: str,
        params: Sequence[str],
        grid: Sequence[int],
        *,
        warps: int,
        shared: int = 0,
        acc: int = 0,
    ):
        self.kernel = tile.KernelOp(name, params, grid, warps=warps, shared=shared, acc=acc)
        self.entry = self.kernel.body.block
        self.block: Block = self.entry
        self.builder = Builder(InsertPoint.at_end(self.entry))
        self.params: dict[str, SSAValue] = {}
        for param, arg in zip(params, self.entry.args, strict=True):
            arg.name_hint = param
            self.params[param] = arg
        self._constants: dict[tuple[Attribute, int], SSAValue] = {}
        self._ids: dict[tile.Id, SSAValue] = {}
        self._entry_top: Operation | None = None

    def finish(self) -> tile.KernelOp:
        """The kernel, ended by a return."""
        self.builder.insert(tile.ReturnOp())
        return self.kernel

    def insert(self, op: Operation, hint: str | None = None) -> SSAValue:
        """Insert an op and give its result."""
        self.builder.insert(op)
        result = op.results[0]
        if hint is not None:
            result.name_hint = hint
        return result

    def _at_top(self, op: Operation) -> SSAValue:
        """Insert at the start of the kernel, after what was put there before."""
        if self._entry_top is None:
            first = self.entry.first_op
            if first is None:
                self.entry.add_op(op)
            else:
                self.entry.insert_op_before(op, first)
        else:
            self.entry.insert_op_after(op, self._entry_top)
        self._entry_top = op
        if self.block is self.entry:
            self.builder = Builder(InsertPoint.at_end(self.entry))
        return op.results[0]

    def id(self, which: tile.Id) -> SSAValue:
        """Lane, warp or CTA number."""
        if which not in self._ids:
            self._ids[which] = self._at_top(tile.IdOp(which))
            self._ids[which].name_hint = str(which)
        return self._ids[which]

    @property
    def lane(self) -> SSAValue:
        """Lane in the warp."""
        return self.id(tile.Id.LANE)

    @property
    def warp(self) -> SSAValue:
        """Warp in the CTA."""
        return self.id(tile.Id.WARP)

    def value(self, v: Value) -> SSAValue:
        """An i32 value of the IR."""
        if isinstance(v, SSAValue):
            return v
        key = (i32, signed(v))
        if key not in self._constants:
            op = arith.ConstantOp(IntegerAttr(signed(v), i32))
            self._constants[key] = self._at_top(op)
            self._constants[key].name_hint = f"c{signed(v)}" if signed(v) >= 0 else f"m{-signed(v)}"
        return self._constants[key]

    def float(self, v: float) -> SSAValue:
        """An f32 constant."""
        (bits,) = struct.unpack("<I", struct.pack("<f", v))
        key = (f32, int(bits))
        if key not in self._constants:
            self._constants[key] = self._at_top(arith.ConstantOp(FloatAttr(v, f32)))
        return self._constants[key]

    # Integer arithmetic

    def _binary(
        self, op: type[arith.SignlessIntegerBinaryOperation], a: Value, b: Value, hint: str | None
    ) -> SSAValue:
        return self.insert(op(self.value(a), self.value(b)), hint)

    def add(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        if b == 0:
            return a
        return self._binary(arith.AddiOp, a, b, hint) if not isinstance(a, int) else self.add(b, a)

    def sub(self, a: Value, b: Value) -> Value:
        """a - b."""
        if isinstance(b, int):
            return self.add(a, -b)
        return self._binary(arith.SubiOp, a, b, None)

    def mul(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a * b, low 32 bits."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if isinstance(a, int):
            a, b = b, a
        if b == 0:
            return 0
        if b == 1:
            return a
        if isinstance(b, int) and b & (b - 1) == 0 and b > 0:
            return self._binary(arith.ShLIOp, a, b.bit_length() - 1, hint)
        return self._binary(arith.MuliOp, a, b, hint)

    def mad(self, a: Value, b: Value, c: Value, hint: str | None = None) -> Value:
        """a * b + c."""
        return self.add(self.mul(a, b), c, hint)

    def div(self, a: Value, b: int, hint: str | None = None) -> Value:
        """a / b, unsigned, rounded down; a < 2^31."""
        if isinstance(a, int):
            return a // b
        if b == 1:
            return a
        if b & (b - 1) == 0:
            return self._binary(arith.ShRUIOp, a, b.bit_length() - 1, hint)
        return self._binary(arith.DivUIOp, a, b, hint)

    def rem(self, a: Value, b: int, hint: str | None = None) -> Value:
        """a mod b, unsigned; a < 2^31."""
        if isinstance(a, int):
            return a % b
        if b & (b - 1) == 0:
            return self.and_(a, b - 1)
        return self.sub(a, self.mul(self.div(a, b), b))

    def and_(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a & b."""
        if isinstance(a, int) and isinstance(b, int):
            return a & b
        if 0 in (a, b):
            return 0
        return self._binary(arith.AndIOp, a, b, hint)

    def or_(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a | b."""
        if isinstance(a, int) and isinstance(b, int):
            return a | b
        return self._binary(arith.OrIOp, a, b, hint)

    def xor(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a ^ b."""
        if isinstance(a, int) and isinstance(b, int):
            return a ^ b
        return self._binary(arith.XOrIOp, a, b, hint)

    def shl(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a << b."""
        if isinstance(a, int) and isinstance(b, int):
            return a << b
        return self._binary(arith.ShLIOp, a, b, hint)

    def shr(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """a >> b, logical."""
        if isinstance(a, int) and isinstance(b, int):
            return (a & _MASK) >> b
        return self._binary(arith.ShRUIOp, a, b, hint)

    def min_(self, a: Value, b: Value, hint: str | None = None) -> Value:
        """The smaller, unsigned."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self._binary(arith.MinUIOp, a, b, hint)

    # Predicates

    def compare(self, relation: str, a: Value, b: Value) -> SSAValue:
        """An i1: `relation` is one of arith.cmpi's (eq, ne, ult, ...)."""
        return self.insert(arith.CmpiOp(self.value(a), self.value(b), relation))

    def less(self, a: Value, b: Value) -> SSAValue:
        """a < b, unsigned."""
        return self.compare("ult", a, b)

    def both(self, *predicates: SSAValue | None) -> SSAValue | None:
        """The conjunction; None is true."""
        result: SSAValue | None = None
        for p in predicates:
            if result is None:
                result = p
            elif p is not None:
                result = self.insert(arith.AndIOp(result, p, i1))
        return result

    def select(self, condition: SSAValue, a: Value, b: Value) -> SSAValue:
        """condition ? a : b."""
        return self.insert(arith.SelectOp(condition, self.value(a), self.value(b)))

    # Memory

    def load(
        self,
        space: tile.Space,
        address: Value,
        type_: Attribute,
        *,
        offset: int = 0,
        bits: int | None = None,
        predicate: SSAValue | None = None,
        zero: bool = True,
        hint: str | None = None,
    ) -> SSAValue:
        """A load; lanes without predicate get zero, or (not `zero`) what nobody may use."""
        default = None
        if predicate is not None and zero:
            default = (
                self.value(0)
                if type_ == i32
                else self.float(0.0)
                if type_ == f32
                else self.insert(tile.SplatOp(0, type_))
            )
        return self.insert(
            tile.LoadOp(
                space,
                self.value(address),
                type_,
                offset=offset,
                bits=bits,
                predicate=predicate,
                default=default,
            ),
            hint,
        )

    def store(
        self,
        space: tile.Space,
        value: SSAValue,
        address: Value,
        *,
        offset: int = 0,
        bits: int | None = None,
        predicate: SSAValue | None = None,
    ) -> None:
        """A store."""
        self.builder.insert(
            tile.StoreOp(
                space, value, self.value(address), offset=offset, bits=bits, predicate=predicate
            )
        )

    def prefetch(
        self, address: Value, *, offset: int = 0, predicate: SSAValue | None = None
    ) -> None:
        """Have L1 fetch a sector of global memory."""
        self.builder.insert(
            tile.PrefetchOp(self.value(address), offset=offset, predicate=predicate)
        )

    def barrier(self) -> None:
        """All warps of the CTA meet."""
        self.builder.insert(tile.BarrierOp())

    def fence(self) -> None:
        """Scheduling moves nothing across."""
        self.builder.insert(tile.FenceOp())

    def extract(self, vector: SSAValue, index: int) -> SSAValue:
        """Element `index`."""
        return self.insert(tile.ExtractOp(vector, index))

    # Control

    def loop(
        self,
        start: int,
        stop: Value,
        step: int,
        inits: Sequence[SSAValue],
        body: Callable[[SSAValue, Sequence[SSAValue]], Sequence[SSAValue]],
        *,
        uniform: bool = False,
    ) -> Sequence[SSAValue]:
        """`scf.for` with carried values; `body` gets the counter and them, and gives the next.

        `uniform`: all lanes of a warp go round equally often, though the bounds are no constants.
        """
        bounds = [self.value(v) for v in (start, stop, step)]
        block = Block(arg_types=[i32, *(v.type for v in inits)])
        op = scf.ForOp(bounds[0], bounds[1], bounds[2], list(inits), Region(block))
        if uniform and isinstance(stop, SSAValue):
            op.attributes["uniform"] = UnitAttr()
        self.builder.insert(op)
        outer_block, outer_builder = self.block, self.builder
        self.block, self.builder = block, Builder(InsertPoint.at_end(block))
        results = body(block.args[0], block.args[1:])
        self.builder.insert(scf.YieldOp(*results))
        self.block, self.builder = outer_block, outer_builder
        if self.block is self.entry:
            self.builder = Builder(InsertPoint.at_end(self.entry))
        return op.results

    def repeat(
        self,
        inits: Sequence[SSAValue],
        body: Callable[[Sequence[SSAValue]], tuple[SSAValue, Sequence[SSAValue]]],
    ) -> Sequence[SSAValue]:
        """A do-while loop: `body` gets the carried values and gives whether to go on, and the next.

        All lanes of a warp go round equally often.
        """
        types = [v.type for v in inits]
        before, after = Block(arg_types=types), Block(arg_types=types)
        after.add_op(scf.YieldOp(*after.args))
        op = scf.WhileOp(list(inits), types, Region(before), Region(after))
        op.attributes["uniform"] = UnitAttr()
        self.builder.insert(op)
        outer_block, outer_builder = self.block, self.builder
        self.block, self.builder = before, Builder(InsertPoint.at_end(before))
        condition, results = body(before.args)
        self.builder.insert(scf.ConditionOp(condition, *results))
        self.block, self.builder = outer_block, outer_builder
        if self.block is self.entry:
            self.builder = Builder(InsertPoint.at_end(self.entry))
        return op.results

    def when(self, condition: SSAValue, body: Callable[[], None]) -> None:
        """`scf.if` without results. The condition is the same in all lanes of a warp."""
        block = Block()
        op = scf.IfOp(condition, [], Region(block))
        op.attributes["uniform"] = UnitAttr()
        self.builder.insert(op)
        outer_block, outer_builder = self.block, self.builder
        self.block, self.builder = block, Builder(InsertPoint.at_end(block))
        body()
        self.builder.insert(scf.YieldOp())
        self.block, self.builder = outer_block, outer_builder
        if self.block is self.entry:
            self.builder = Builder(InsertPoint.at_end(self.entry))
