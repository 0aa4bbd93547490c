"""convert-tile-to-isa: kernels as lanes' code become instructions on virtual registers.

In: `dstc_tile.kernel` with `scf` and `arith` inside. Out: `dstc_isa.kernel`, in blocks. Constants
and parameters become immediates, multiply-add and three-way additions one instruction, divisions by
constants multiplications; each instruction remembers the tile op it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from xdsl.context import Context
from xdsl.dialects import arith, builtin, scf
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr, StringAttr, i1
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.bitwise_casts import convert_f32_to_u32

from ..backend.isa.errors import DstcError
from ..dialects import dstc_isa as isa
from ..dialects import dstc_tile as tile
from ..dialects.dstc import SOURCE
from ..dialects.dstc_isa import IsaOp, RegType, Use

TILE_OP = "dstc_isa.tile"
"""Discardable attribute of an instruction: the tile op that it came from."""
_WIDTHS = {1: "32", 2: "64", 4: "128"}
_SPECIAL = {
    tile.Id.LANE: "SR_LANE",
    tile.Id.WARP: "SR_WARP",
    tile.Id.CTA_X: "SR_CTAID_X",
    tile.Id.CTA_Y: "SR_CTAID_Y",
    tile.Id.CTA_Z: "SR_CTAID_Z",
}
_SPACES = {tile.Space.GLOBAL: ("LDG", "STG"), tile.Space.SHARED: ("LDS", "STS")}
_COMPARE = {
    0: ("EQ", "U32"), 1: ("NE", "U32"), 2: ("LT", "S32"), 3: ("LE", "S32"), 4: ("GT", "S32"),
    5: ("GE", "S32"), 6: ("LT", "U32"), 7: ("LE", "U32"), 8: ("GT", "U32"), 9: ("GE", "U32"),
}  # fmt: skip
"""arith.cmpi's predicate number -> ISETP's modifiers."""
_SWAPPED = {"EQ": "EQ", "NE": "NE", "LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE"}

_BINARY: dict[type[Operation], tuple[str, tuple[str, ...], bool]] = {
    arith.SubiOp: ("ISUB", (), False),
    arith.AndIOp: ("LOP", ("AND",), True),
    arith.OrIOp: ("LOP", ("OR",), True),
    arith.XOrIOp: ("LOP", ("XOR",), True),
    arith.ShLIOp: ("SHL", (), False),
    arith.ShRUIOp: ("SHR", ("U32",), False),
    arith.ShRSIOp: ("SHR", ("S32",), False),
    arith.MinUIOp: ("IMNMX", ("MIN", "U32"), True),
    arith.MaxUIOp: ("IMNMX", ("MAX", "U32"), True),
    arith.MinSIOp: ("IMNMX", ("MIN", "S32"), True),
    arith.MaxSIOp: ("IMNMX", ("MAX", "S32"), True),
    arith.AddfOp: ("FADD", (), True),
    arith.MulfOp: ("FMUL", (), True),
    arith.MaxnumfOp: ("FMNMX", ("MAX",), True),
    arith.MinnumfOp: ("FMNMX", ("MIN",), True),
}
"""Two-operand ops: mnemonic, modifiers, whether the operands commute."""
_LOGIC: dict[type[Operation], tuple[str, ...]] = {
    arith.AndIOp: ("AND",),
    arith.OrIOp: ("OR",),
    arith.XOrIOp: ("XOR",),
}
"""On predicates: PLOP's modifiers."""


@dataclass(frozen=True)
class _Constant:
    """A 32-bit constant, as unsigned bits."""

    bits: int


@dataclass(frozen=True)
class _Param:
    """A kernel parameter, by word index."""

    index: int


_Word = Use | _Constant | _Param


@dataclass(frozen=True)
class _Deferred:
    """A product or sum with one use, an addition, which will take it in."""

    kind: str
    a: _Word
    b: _Word


def magic(divisor: int) -> tuple[int, int]:
    """(m, s) with n // divisor == (n * m >> 32) >> s for all n < 2^31.

    Granlund and Montgomery, Division by invariant integers using multiplication, PLDI 1994.
    """
    bits = (divisor - 1).bit_length()
    return -(-(1 << (31 + bits)) // divisor), bits - 1


def canonical_groups(type_: Attribute) -> list[int]:
    """Register groups in which a value of `type_` is kept across blocks."""
    if type_ == tile.ACCUMULATOR:
        return [2, 2, 2, 2]  # HMMA's d and c
    return [tile.word_count(type_)]


class _Converter:
    """Converts one kernel."""

    def __init__(self, kernel: tile.KernelOp):
        self.kernel = kernel
        self.words: dict[SSAValue, list[_Word]] = {}
        self.predicates: dict[SSAValue, Use | None] = {}
        self.compared: dict[tuple[Block, SSAValue], Use] = {}
        self.deferred: dict[SSAValue, _Deferred] = {}
        self.entry = Block()
        self.block = self.entry
        self.region = Region(self.entry)
        self.entry_ops = 0
        self.cached: dict[object, Use] = {}
        self.origin: StringAttr | None = None
        self.last_top: Operation | None = None

    def convert(self) -> isa.KernelOp:
        """The kernel's instructions."""
        body = self.kernel.body.block
        for i, arg in enumerate(body.args):
            self.words[arg] = [_Param(i)]
        self.convert_block(body)
        self.block.add_op(isa.ExitOp())
        new = isa.KernelOp(
            self.kernel.sym_name.data,
            [p.data for p in self.kernel.params.data],
            self.region,
            warps=self.kernel.warps.value.data,
            shared_bytes=self.kernel.shared.value.data,
            acc_tiles=self.kernel.acc.value.data,
        )
        new.attributes["grid"] = self.kernel.grid
        if SOURCE in self.kernel.attributes:
            new.attributes[SOURCE] = self.kernel.attributes[SOURCE]
        return new

    def convert_block(self, block: Block) -> None:
        """All ops of a block but its terminator's effect."""
        for op in block.ops:
            handler = _HANDLERS.get(type(op))
            if handler is None:
                raise self.error(
                    f"{op.name} has no instructions; "
                    f"convert-tile-to-isa knows {', '.join(sorted(t.name for t in _HANDLERS))}"
                )
            self.origin = StringAttr(op.name)
            handler(self, op)

    def error(self, what: str) -> DstcError:
        """`what` cannot be converted."""
        return DstcError(f"kernel {self.kernel.sym_name.data}: {what}")

    # Emission

    def emit(
        self,
        mnemonic: str,
        uses: Mapping[str, Use | SSAValue] | None = None,
        *,
        modifiers: Sequence[str] = (),
        immediates: Mapping[str, int | str] | None = None,
        at_top: bool = False,
    ) -> Use:
        """Add an instruction; its result, if it has one."""
        op = IsaOp.build(mnemonic, uses, modifiers=modifiers, immediates=immediates)
        if self.origin is not None:
            op.attributes[TILE_OP] = self.origin
        self.place(op, at_top)
        return Use(op.results[0]) if op.results else Use(cast("SSAValue", None))

    def place(self, op: Operation, at_top: bool) -> None:
        """Append to the block, or to what stands at the top of the kernel."""
        if not at_top:
            self.block.add_op(op)
        elif self.last_top is not None:
            self.entry.insert_op_after(op, self.last_top)
        elif self.entry.first_op is not None:
            self.entry.insert_op_before(op, self.entry.first_op)
        else:
            self.entry.add_op(op)
        if at_top:
            self.last_top = op

    def cache(self, key: object, make: Callable[[], Use]) -> Use:
        """A value computed once, at the top of the kernel."""
        if key not in self.cached:
            self.cached[key] = make()
        return self.cached[key]

    def special(self, name: str) -> Use:
        """A special register."""
        return self.cache(name, lambda: self.emit("S2R", immediates={"sr": name}, at_top=True))

    def undefined(self, size: int) -> SSAValue:
        """A group of registers to be written."""
        op = isa.UndefOp(RegType.of(size))
        self.block.add_op(op)
        return op.out

    # Operands

    def word(self, value: SSAValue) -> _Word:
        """A one-word value."""
        (word,) = self.all_words(value)
        return word

    def all_words(self, value: SSAValue) -> list[_Word]:
        """The words of a value."""
        if value in self.deferred:
            self.force(value)
        if value not in self.words:
            raise self.error(f"an operation on {value.type} has no instruction; use i32 or f32")
        return self.words[value]

    def force(self, value: SSAValue) -> None:
        """Emit a deferred product or sum by itself."""
        d = self.deferred.pop(value)
        if d.kind == "add":
            self.words[value] = [self.add3(d.a, d.b, _Constant(0))]
        else:
            self.words[value] = [self.multiply_add(d.a, d.b, _Constant(0))]

    def register(self, word: _Word) -> Use | None:
        """As a register operand; None is RZ."""
        if isinstance(word, Use):
            return word
        if isinstance(word, _Constant) and word.bits == 0:
            return None
        return self.cache(word, lambda: self.emit("MOV", immediates=_immediate(word), at_top=True))

    def operands(
        self, a: _Word | None, b: _Word | None = None, c: _Word | None = None
    ) -> tuple[dict[str, Use | SSAValue], dict[str, int | str]]:
        """Uses and immediates of an instruction with register a, flexible b and register c."""
        uses: dict[str, Use | SSAValue] = {}
        for role, word in (("a", a), ("c", c)):
            register = None if word is None else self.register(word)
            if register is not None:
                uses[role] = register
        if isinstance(b, Use):
            uses["b"] = b
        return uses, _immediate(b) if isinstance(b, _Constant | _Param) else {}

    def compute(
        self, mnemonic: str, a: _Word, b: _Word, c: _Word | None = None, *modifiers: str
    ) -> Use:
        """An instruction with up to three operands."""
        uses, immediates = self.operands(a, b, c)
        return self.emit(mnemonic, uses, modifiers=modifiers, immediates=immediates)

    def multiply_add(self, a: _Word, b: _Word, c: _Word) -> Use:
        """a * b + c."""
        if not isinstance(a, Use):
            a, b = b, a
        power = _power_of_two(b)
        if power is not None and c == _Constant(0):
            return self.compute("SHL", a, _Constant(power))
        return self.compute("IMAD", a, b, c, "LO")

    def add3(self, a: _Word, b: _Word, c: _Word) -> Use:
        """a + b + c; the one that is no register goes to the flexible operand."""
        registers = [w for w in (a, b, c) if isinstance(w, Use)]
        others = [w for w in (a, b, c) if not isinstance(w, Use) and w != _Constant(0)]
        while len(others) > 1:
            extra = others.pop()
            register = self.register(extra)
            if register is not None:
                registers.append(register)
        flexible: _Word = others[0] if others else registers.pop() if registers else _Constant(0)
        registers_or_zero: list[_Word] = [*registers, _Constant(0), _Constant(0)]
        return self.compute("IADD3", registers_or_zero[0], flexible, registers_or_zero[1])

    def predicate(self, value: SSAValue) -> Use | None:
        """An i1 as predicate operand; None is PT."""
        source = value.owner
        if not isinstance(source, arith.CmpiOp):
            return self.predicates[value]
        # Predicates are few: comparisons are made where they are needed, once a block.
        key = (self.block, value)
        if key not in self.compared:
            self.compared[key] = self.compare(source, None)
        return self.compared[key]

    def compare(self, op: arith.CmpiOp, also: Use | None) -> Use:
        """ISETP, combined with another predicate."""
        relation, sign = _COMPARE[op.predicate.value.data]
        a, b = self.word(op.lhs), self.word(op.rhs)
        if not isinstance(a, Use) and isinstance(b, Use):
            a, b, relation = b, a, _SWAPPED[relation]
        uses, immediates = self.operands(a, b)
        if also is not None:
            uses["pa"] = also
        return self.emit("ISETP", uses, modifiers=(relation, sign), immediates=immediates)

    def less(self, a: Use, b: _Word) -> Use:
        """a < b, signed: a loop goes on."""
        uses, immediates = self.operands(a, b)
        return self.emit("ISETP", uses, modifiers=("LT", "S32"), immediates=immediates)

    def select(self, condition: Use | None, a: _Word, b: _Word) -> _Word:
        """condition ? a : b."""
        if condition is None:
            return a
        if not isinstance(a, Use) and isinstance(b, Use):
            a, b = b, a
            condition = Use(condition.value, 0, not condition.negated)
        uses, immediates = self.operands(a, b)
        uses["pa"] = condition
        return self.emit("SEL", uses, immediates=immediates)

    def group(self, words: Sequence[_Word], size: int) -> SSAValue:
        """The words as one group of registers; the group they are already, if possible."""
        first = words[0]
        if (
            isinstance(first, Use)
            and first.sub == 0
            and isinstance(first.value.type, RegType)
            and first.value.type.registers == size
            and list(words) == [Use(first.value, i) for i in range(size)]
        ):
            return first.value
        if size == 1:
            uses, immediates = self.operands(None, words[0])
            return self.emit("MOV", uses, immediates=immediates).value
        group = self.undefined(size)
        for i, word in enumerate(words):
            uses, immediates = self.operands(None, word)
            uses["into"] = Use(group, i)
            group = self.emit("MOV", uses, immediates=immediates).value
        return group

    def pieces(self, value: SSAValue) -> list[SSAValue]:
        """A value in its canonical groups, to be carried into a block."""
        self.check_carried(value)
        words = self.all_words(value)
        groups: list[SSAValue] = []
        at = 0
        for size in canonical_groups(value.type):
            groups.append(self.group(words[at : at + size], size))
            at += size
        return groups

    def check_carried(self, value: SSAValue) -> None:
        """Predicates stay in their block."""
        if not tile.is_words(value.type):
            raise self.error(
                f"{value.type} cannot be carried by a loop or given by an scf.if; "
                "carry an i32 and compare it"
            )

    def bind(self, value: SSAValue, block: Block) -> None:
        """New block arguments for `value`."""
        self.check_carried(value)
        words: list[_Word] = []
        for size in canonical_groups(value.type):
            arg = block.insert_arg(RegType.of(size), len(block.args))
            words += [Use(arg, i) for i in range(size)]
        self.words[value] = words


def _signed(word: _Constant) -> int:
    return word.bits - (1 << 32) if word.bits >> 31 else word.bits


def _immediate(word: _Constant | _Param) -> dict[str, int | str]:
    return {"param": word.index} if isinstance(word, _Param) else {"b": _signed(word)}


def _power_of_two(word: _Word) -> int | None:
    if isinstance(word, _Constant) and word.bits and word.bits & (word.bits - 1) == 0:
        return word.bits.bit_length() - 1
    return None


def _only_user(value: SSAValue) -> Operation | None:
    return value.get_user_of_unique_use()


# Handlers, one a tile-level op


def _constant(c: _Converter, op: arith.ConstantOp) -> None:
    value: Attribute = op.value
    if op.result.type == i1:
        if isinstance(value, IntegerAttr) and value.value.data == 0:
            never = c.cache(
                "never",
                lambda: c.emit("ISETP", modifiers=("NE", "U32"), immediates={"b": 0}, at_top=True),
            )
            c.predicates[op.result] = never
        else:
            c.predicates[op.result] = None
        return
    if not tile.is_words(op.result.type):
        raise c.error(f"a constant of {op.result.type} has no instruction; use i32 or f32")
    numbers: Sequence[Any] = []
    match value:
        case FloatAttr() | IntegerAttr():
            numbers = [value.value.data]
        case DenseIntOrFPElementsAttr():
            numbers = cast("Sequence[Any]", value.get_values())
        case _:
            raise c.error(f"the constant {value} has no instruction")
    c.words[op.result] = [
        _Constant(convert_f32_to_u32(n) if isinstance(n, float) else int(n) & 0xFFFFFFFF)
        for n in numbers
    ]


def _splat(c: _Converter, op: tile.SplatOp) -> None:
    c.words[op.result] = [_Constant(op.bits.value.data & 0xFFFFFFFF)] * tile.word_count(
        op.result.type
    )


def _addi(c: _Converter, op: arith.AddiOp) -> None:
    inputs = [op.lhs, op.rhs]
    taken = next((v for v in inputs if v in c.deferred), None)
    if taken is not None:
        d = c.deferred[taken]
        other = c.word(inputs[1 - inputs.index(taken)])
        if d.kind == "mul" and isinstance(other, _Constant):
            c.force(taken)  # IMAD adds registers only
            c.words[op.result] = [c.add3(c.word(taken), other, _Constant(0))]
            return
        del c.deferred[taken]
        if d.kind == "mul":
            c.words[op.result] = [c.multiply_add(d.a, d.b, other)]
        else:
            c.words[op.result] = [c.add3(d.a, d.b, other)]
        return
    a, b = c.word(op.lhs), c.word(op.rhs)
    user = _only_user(op.result)
    if isinstance(user, arith.AddiOp) and user.parent is op.parent:
        c.deferred[op.result] = _Deferred("add", a, b)
    else:
        c.words[op.result] = [c.add3(a, b, _Constant(0))]


def _multiply(c: _Converter, op: Operation) -> None:
    a, b = c.word(op.operands[0]), c.word(op.operands[1])
    if isinstance(op, arith.ShLIOp):
        if not isinstance(b, _Constant) or b.bits > 31 or not isinstance(a, Use):
            _binary(c, op)
            return
        b = _Constant(1 << b.bits)
    user = _only_user(op.results[0])
    if isinstance(user, arith.AddiOp) and user.parent is op.parent:
        c.deferred[op.results[0]] = _Deferred("mul", a, b)
    else:
        c.words[op.results[0]] = [c.multiply_add(a, b, _Constant(0))]


def _binary(c: _Converter, op: Operation) -> None:
    if op.results[0].type == i1:
        _logic(c, op)
        return
    mnemonic, modifiers, commutes = _BINARY[type(op)]
    a, b = c.word(op.operands[0]), c.word(op.operands[1])
    if commutes and not isinstance(a, Use):
        a, b = b, a
    c.words[op.results[0]] = [c.compute(mnemonic, a, b, None, *modifiers)]


def _logic(c: _Converter, op: Operation) -> None:
    if type(op) not in _LOGIC:
        raise c.error(f"{op.name} of predicates has no instruction; use andi, ori or xori")
    # ISETP takes in the conjunction: of two comparisons, the one that fewer others need.
    free = [
        v
        for v in op.operands
        if isinstance(v.owner, arith.CmpiOp) and (c.block, v) not in c.compared
    ]
    if free and isinstance(op, arith.AndIOp):
        taken = min(free, key=lambda v: sum(1 for _ in v.uses))
        other = op.operands[1 if taken is op.operands[0] else 0]
        assert isinstance(taken.owner, arith.CmpiOp)
        c.predicates[op.results[0]] = c.compare(taken.owner, c.predicate(other))
        return
    both = [c.predicate(v) for v in op.operands]
    uses = {role: p for role, p in zip(("pa", "pb"), both, strict=True) if p is not None}
    c.predicates[op.results[0]] = c.emit("PLOP", uses, modifiers=_LOGIC[type(op)])


def _quotient(c: _Converter, op: arith.DivUIOp | arith.RemUIOp) -> tuple[_Word, int, _Word]:
    """(dividend, divisor, quotient); a divisor that is no power of two needs a dividend < 2^31."""
    divisor = c.word(op.rhs)
    if not isinstance(divisor, _Constant) or not divisor.bits:
        raise c.error(f"{op.name}: only division by a constant above 0 has instructions")
    dividend = c.word(op.lhs)
    power = _power_of_two(divisor)
    if power is not None:
        shifted = c.compute("SHR", dividend, _Constant(power), None, "U32") if power else dividend
        return dividend, divisor.bits, shifted
    m, s = magic(divisor.bits)
    high = c.compute("IMAD", dividend, _Constant(m), _Constant(0), "HI")
    return dividend, divisor.bits, c.compute("SHR", high, _Constant(s), None, "U32")


def _divide(c: _Converter, op: arith.DivUIOp) -> None:
    c.words[op.result] = [_quotient(c, op)[2]]


def _remainder(c: _Converter, op: arith.RemUIOp) -> None:
    divisor = c.word(op.rhs)
    if isinstance(divisor, _Constant) and _power_of_two(divisor) is not None:
        mask = _Constant(divisor.bits - 1)
        c.words[op.result] = [c.compute("LOP", c.word(op.lhs), mask, None, "AND")]
        return
    dividend, number, quotient = _quotient(c, op)
    c.words[op.result] = [c.multiply_add(quotient, _Constant(-number & 0xFFFFFFFF), dividend)]


def _select(c: _Converter, op: arith.SelectOp) -> None:
    condition = c.predicate(op.cond)
    pairs = zip(c.all_words(op.lhs), c.all_words(op.rhs), strict=True)
    c.words[op.result] = [c.select(condition, a, b) for a, b in pairs]


def _bitcast(c: _Converter, op: arith.BitcastOp) -> None:
    c.words[op.results[0]] = c.all_words(op.operands[0])


def _id(c: _Converter, op: tile.IdOp) -> None:
    c.words[op.result] = [c.special(_SPECIAL[op.which.data])]


def _access(
    c: _Converter, address: SSAValue, offset: int
) -> tuple[dict[str, Use | SSAValue], dict[str, int | str]]:
    uses: dict[str, Use | SSAValue] = {}
    register = c.register(c.word(address))
    if register is not None:
        uses["a"] = register
    return uses, {"offset": offset} if offset else {}


def _load(c: _Converter, op: tile.LoadOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    size = tile.word_count(op.result.type)
    width = _WIDTHS[size] if op.bits is None else f"U{op.bits.value.data}"
    if op.predicate is not None and op.default is not None:
        guard = c.predicate(op.predicate)
        if guard is not None:
            if op.default in c.deferred:
                c.force(op.default)
            # A copy of its own: the load overwrites it.
            words = c.words[op.default]
            into = c.undefined(size)
            for i, word in enumerate(words):
                move, move_immediates = c.operands(None, word)
                move["into"] = Use(into, i)
                into = c.emit("MOV", move, immediates=move_immediates).value
            uses["guard"] = guard
            uses["into"] = into
    loaded = c.emit(_SPACES[op.space.data][0], uses, modifiers=(width,), immediates=immediates)
    c.words[op.result] = [Use(loaded.value, i) for i in range(size)]


def _store(c: _Converter, op: tile.StoreOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    if op.value in c.deferred:
        c.force(op.value)
    words = c.words[op.value]
    size = len(words)
    if size == 1:
        register = c.register(words[0])
        if register is not None:
            uses["b"] = register
    else:
        uses["b"] = c.group(words, size)
    if op.predicate is not None:
        guard = c.predicate(op.predicate)
        if guard is not None:
            uses["guard"] = guard
    width = _WIDTHS[size] if op.bits is None else f"U{op.bits.value.data}"
    c.emit(_SPACES[op.space.data][1], uses, modifiers=(width,), immediates=immediates)


def _atomic_or(c: _Converter, op: tile.AtomicOrOp) -> None:
    uses, immediates = _access(c, op.address, op.offset.value.data)
    register = c.register(c.word(op.value))
    if register is not None:
        uses["b"] = register
    if op.predicate is not None:
        guard = c.predicate(op.predicate)
        if guard is not None:
            uses["guard"] = guard
    c.emit("RED", uses, modifiers=("OR", "U32"), immediates=immediates)


def _barrier(c: _Converter, op: Operation) -> None:
    del op
    c.emit("BAR", modifiers=("SYNC",))


def _ballot(c: _Converter, op: tile.BallotOp) -> None:
    predicate = c.predicate(op.predicate)
    uses = {} if predicate is None else {"pa": predicate}
    c.words[op.result] = [c.emit("VOTE", uses, modifiers=("BALLOT",))]


def _shuffle(c: _Converter, op: tile.ShuffleOp) -> None:
    c.words[op.result] = [c.compute("SHFL", c.word(op.value), c.word(op.lane), None, "IDX")]


def _popcount(c: _Converter, op: tile.PopulationCountOp) -> None:
    uses, _ = c.operands(c.word(op.value))
    c.words[op.result] = [c.emit("POPC", uses)]


def _pack(c: _Converter, op: tile.PackOp) -> None:
    c.words[op.result] = [c.compute("PACK", c.word(op.low), c.word(op.high))]


def _unpack(c: _Converter, op: tile.UnpackOp) -> None:
    uses, _ = c.operands(c.word(op.value))
    half = "LO" if op.high is None else "HI"
    c.words[op.result] = [c.emit("F2F", uses, modifiers=(half,))]


def _extract(c: _Converter, op: tile.ExtractOp) -> None:
    c.words[op.result] = [c.words[op.vector][op.index.value.data]]


def _combine(c: _Converter, op: tile.CombineOp) -> None:
    c.words[op.result] = [c.word(op.first), c.word(op.second)]


def _hmma(c: _Converter, op: tile.HmmaOp) -> None:
    a, b, acc = c.words[op.a], c.words[op.b], list(c.words[op.c])
    for j in range(4):
        for step in range(4):
            uses, _ = c.operands(a[j])
            second = c.register(b[j])
            if second is not None:
                uses["b"] = second
            pair = acc[2 * step : 2 * step + 2]
            if pair != [_Constant(0)] * 2:
                uses["c"] = c.group(pair, 2)
            modifiers = ("884", op.layout_a.data, op.layout_b.data, f"STEP{step}")
            d = c.emit("HMMA", uses, modifiers=modifiers)
            acc[2 * step : 2 * step + 2] = [Use(d.value, 0), Use(d.value, 1)]
    c.words[op.result] = acc


def _load_values(c: _Converter, op: tile.LoadValuesOp) -> None:
    lane = c.special("SR_LANE")
    group = c.undefined(8)
    start = c.compute("IMAD", lane, _Constant(16), c.word(op.address), "LO")
    for half in range(2):
        # Lane l holds values 8l..8l+7 of the first 256, then of the next.
        first = c.cache(
            ("first value", half),
            lambda half=half: c.emit(
                "IMAD" if half == 0 else "IADD3",
                {"a": lane if half == 0 else c.cached[("first value", 0)]},
                modifiers=("LO",) if half == 0 else (),
                immediates={"b": 8 if half == 0 else 256},
                at_top=True,
            ),
        )
        count = c.word(op.count)
        uses, immediates = c.operands(first, count)
        guard = c.emit("ISETP", uses, modifiers=("LT", "U32"), immediates=immediates)
        offset: dict[str, int | str] = {"offset": 512 * half} if half else {}
        loaded = c.emit(
            "LDG",
            {"a": start, "guard": guard, "into": Use(group, 4 * half)},
            modifiers=("128",),
            immediates=offset,
        )
        group = loaded.value
    c.words[op.result] = [Use(group, i) for i in range(8)]


def _spwmma(c: _Converter, op: tile.SpwmmaOp) -> None:
    uses: dict[str, Use | SSAValue] = {
        "a": c.group(c.words[op.a], 8),
        "b": c.group(c.words[op.b], 8),
    }
    for role, bitmap in (("c", op.a_bitmap), ("e", op.b_bitmap)):
        register = c.register(c.word(bitmap))
        if register is not None:
            uses[role] = register
    modifiers = ("323216", "AHI" if op.high_a else "ALO", "BHI" if op.high_b else "BLO")
    c.emit("SPWMMA", uses, modifiers=modifiers, immediates={"acc": op.tile.value.data})


def _acc_clear(c: _Converter, op: tile.AccClearOp) -> None:
    c.emit("ACLR", immediates={"acc": op.tile.value.data})


def _acc_read(c: _Converter, op: tile.AccReadOp) -> None:
    modifiers = (f"P{op.part.value.data}", "T" if op.transposed else "")
    d = c.emit("ARD", modifiers=modifiers, immediates={"acc": op.tile.value.data})
    c.words[op.result] = [Use(d.value, i) for i in range(8)]


def _for(c: _Converter, op: scf.ForOp) -> None:
    bounds = [c.word(v) for v in (op.lb, op.ub, op.step)]
    if isinstance(bounds[2], _Constant) and not 0 < bounds[2].bits < 1 << 31:
        raise c.error("the step of an scf.for must be positive")
    counted = all(isinstance(w, _Constant) for w in bounds)
    lower, upper = (_signed(w) if isinstance(w, _Constant) else 0 for w in bounds[:2])
    if counted and lower >= upper:
        for value, result in zip(op.iter_args, op.results, strict=True):
            c.check_carried(value)
            c.words[result] = c.all_words(value)
        return
    # Bounds in registers may differ from lane to lane.
    uniform = "uniform" in op.attributes or not any(isinstance(w, Use) for w in bounds)
    inits = [piece for v in op.iter_args for piece in c.pieces(v)]
    start = c.group([bounds[0]], 1)
    loop, after = Block(), Block()
    c.region.add_block(loop)
    for arg in op.body.block.args:
        c.bind(arg, loop)
    for result in op.results:
        c.bind(result, after)
    if not uniform:
        c.emit("BSSY")
    if counted:
        c.block.add_op(isa.JumpOp(loop, [start, *inits]))
    else:
        enter = c.less(Use(start), bounds[1])
        c.block.add_op(isa.BranchOp(enter.value, loop, [start, *inits], after, inits))
    c.block = loop
    body = op.body.block
    c.convert_block(body)
    c.origin = StringAttr(op.name)
    yielded = body.last_op
    assert isinstance(yielded, scf.YieldOp)
    carried = [piece for v in yielded.arguments for piece in c.pieces(v)]
    (counter,) = c.words[body.args[0]]
    following = c.add3(counter, bounds[2], _Constant(0))
    again = c.less(following, bounds[1])
    c.block.add_op(isa.BranchOp(again.value, loop, [following.value, *carried], after, carried))
    c.region.add_block(after)
    c.block = after
    if not uniform:
        c.emit("BSYNC")


def _if(c: _Converter, op: scf.IfOp) -> None:
    condition = c.predicate(op.cond)
    if condition is None:
        taken = op.true_region.block
        c.convert_block(taken)
        assert isinstance(taken.last_op, scf.YieldOp)
        for result, value in zip(op.results, taken.last_op.arguments, strict=True):
            c.check_carried(result)
            c.words[result] = c.all_words(value)
        return
    uniform = "uniform" in op.attributes
    blocks = [r.block for r in (op.true_region, op.false_region) if r.blocks]
    after = Block()
    for result in op.results:
        c.bind(result, after)
    sides = [Block() for _ in blocks]
    if not uniform:
        c.emit("BSSY")
    other = sides[1] if len(sides) > 1 else after
    c.block.add_op(
        isa.BranchOp(condition.value, sides[0], [], other, [], negated=condition.negated)
    )
    for side, block in zip(sides, blocks, strict=True):
        c.region.add_block(side)
        c.block = side
        c.convert_block(block)
        yielded = block.last_op
        assert isinstance(yielded, scf.YieldOp)
        carried = [piece for v in yielded.arguments for piece in c.pieces(v)]
        c.block.add_op(isa.JumpOp(after, carried))
    c.region.add_block(after)
    c.block = after
    if not uniform:
        c.origin = StringAttr(op.name)
        c.emit("BSYNC")


def _nothing(c: _Converter, op: Operation) -> None:
    del c, op


_HANDLERS: dict[type[Operation], Callable[[_Converter, Any], None]] = {
    arith.ConstantOp: _constant,
    arith.AddiOp: _addi,
    arith.MuliOp: _multiply,
    arith.DivUIOp: _divide,
    arith.RemUIOp: _remainder,
    arith.CmpiOp: _nothing,
    arith.SelectOp: _select,
    arith.BitcastOp: _bitcast,
    **dict.fromkeys(_BINARY, _binary),
    arith.ShLIOp: _multiply,
    scf.ForOp: _for,
    scf.IfOp: _if,
    scf.YieldOp: _nothing,
    tile.ReturnOp: _nothing,
    tile.IdOp: _id,
    tile.LoadOp: _load,
    tile.StoreOp: _store,
    tile.AtomicOrOp: _atomic_or,
    tile.BarrierOp: _barrier,
    tile.BallotOp: _ballot,
    tile.ShuffleOp: _shuffle,
    tile.PopulationCountOp: _popcount,
    tile.PackOp: _pack,
    tile.UnpackOp: _unpack,
    tile.ExtractOp: _extract,
    tile.CombineOp: _combine,
    tile.SplatOp: _splat,
    tile.HmmaOp: _hmma,
    tile.LoadValuesOp: _load_values,
    tile.SpwmmaOp: _spwmma,
    tile.AccClearOp: _acc_clear,
    tile.AccReadOp: _acc_read,
}


@dataclass(frozen=True)
class ConvertTileToIsa(ModulePass):
    """Turn tiled kernels into instructions on virtual registers."""

    name = "convert-tile-to-isa"

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        for kernel in [o for o in op.body.block.ops if isinstance(o, tile.KernelOp)]:
            new = _Converter(kernel).convert()
            op.body.block.insert_op_before(new, kernel)
            kernel.detach()
            kernel.erase()
