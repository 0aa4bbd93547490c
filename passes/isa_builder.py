"""A builder of `dstc_isa` kernels from lanes' code: words, operands, instructions. Not a pass.

In: a `dstc_tile.kernel` and handlers for the ops in it. Out: `KernelConverter`, which keeps where
each value of the kernel is (registers, a constant, a parameter) and emits instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from xdsl.dialects import arith
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from ..backend.isa.errors import DstcError
from ..dialects import dstc_isa as isa
from ..dialects import dstc_tile as tile
from ..dialects.dstc import SOURCE
from ..dialects.dstc_isa import IsaOp, RegType, Use
from ..dialects.provenance import locate

TILE_OP = "dstc_isa.tile"
"""Discardable attribute of an instruction: the tile op that it came from."""
COMPARE = {
    0: ("EQ", "U32"), 1: ("NE", "U32"), 2: ("LT", "S32"), 3: ("LE", "S32"), 4: ("GT", "S32"),
    5: ("GE", "S32"), 6: ("LT", "U32"), 7: ("LE", "U32"), 8: ("GT", "U32"), 9: ("GE", "U32"),
}  # fmt: skip
"""arith.cmpi's predicate number -> ISETP's modifiers."""
SWAPPED = {"EQ": "EQ", "NE": "NE", "LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE", "ANY": "ANY",
           "NONE": "NONE"}  # fmt: skip
COMMON = {"EQ": "NONE", "NE": "ANY"}
"""How a & b compares to 0 -> the relation of a and b."""


@dataclass(frozen=True)
class Constant:
    """A 32-bit constant, as unsigned bits."""

    bits: int


@dataclass(frozen=True)
class Param:
    """A kernel parameter, by word index."""

    index: int


Word = Use | Constant | Param


@dataclass(frozen=True)
class Deferred:
    """A product or sum with one use, an addition, which will take it in."""

    kind: str
    a: Word
    b: Word


def canonical_groups(type_: Attribute) -> list[int]:
    """Register groups in which a value of `type_` is kept across blocks."""
    if type_ == tile.ACCUMULATOR:
        return [2, 2, 2, 2]  # HMMA's d and c
    return [tile.word_count(type_)]


Handler = Callable[["KernelConverter", Any], None]
"""Emits the instructions of one tile-level op."""


class KernelConverter:
    """Converts one kernel."""

    def __init__(self, kernel: tile.KernelOp, handlers: Mapping[type[Operation], Handler]):
        self.kernel = kernel
        self.handlers = handlers
        self.words: dict[SSAValue, list[Word]] = {}
        self.predicates: dict[SSAValue, Use | None] = {}
        self.compared: dict[tuple[Block, SSAValue], Use] = {}
        self.deferred: dict[SSAValue, Deferred] = {}
        self.entry = Block()
        self.block = self.entry
        self.region = Region(self.entry)
        self.entry_ops = 0
        self.cached: dict[object, Use] = {}
        self.origin: StringAttr | None = None
        self.location = kernel.location
        self.last_top: Operation | None = None

    def convert(self) -> isa.KernelOp:
        """The kernel's instructions."""
        body = self.kernel.body.block
        for i, arg in enumerate(body.args):
            self.words[arg] = [Param(i)]
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
        locate(new, self.kernel)
        if SOURCE in self.kernel.attributes:
            new.attributes[SOURCE] = self.kernel.attributes[SOURCE]
        return new

    def convert_block(self, block: Block) -> None:
        """All ops of a block but its terminator's effect."""
        for op in block.ops:
            handler = self.handlers.get(type(op))
            if handler is None:
                raise self.error(
                    f"{op.name} has no instructions; "
                    f"convert-tile-to-isa knows {', '.join(sorted(t.name for t in self.handlers))}"
                )
            self.origin, self.location = StringAttr(op.name), op.location
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
        op.location = self.location
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

    def word(self, value: SSAValue) -> Word:
        """A one-word value."""
        (word,) = self.all_words(value)
        return word

    def all_words(self, value: SSAValue) -> list[Word]:
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
            self.words[value] = [self.add3(d.a, d.b, Constant(0))]
        else:
            self.words[value] = [self.multiply_add(d.a, d.b, Constant(0))]

    def register(self, word: Word) -> Use | None:
        """As a register operand; None is RZ."""
        if isinstance(word, Use):
            return word
        if isinstance(word, Constant) and word.bits == 0:
            return None
        return self.cache(word, lambda: self.emit("MOV", immediates=immediate(word), at_top=True))

    def operands(
        self, a: Word | None, b: Word | None = None, c: Word | None = None
    ) -> tuple[dict[str, Use | SSAValue], dict[str, int | str]]:
        """Uses and immediates of an instruction with register a, flexible b and register c."""
        uses: dict[str, Use | SSAValue] = {}
        for role, word in (("a", a), ("c", c)):
            register = None if word is None else self.register(word)
            if register is not None:
                uses[role] = register
        if isinstance(b, Use):
            uses["b"] = b
        return uses, immediate(b) if isinstance(b, Constant | Param) else {}

    def compute(
        self, mnemonic: str, a: Word, b: Word, c: Word | None = None, *modifiers: str
    ) -> Use:
        """An instruction with up to three operands."""
        uses, immediates = self.operands(a, b, c)
        return self.emit(mnemonic, uses, modifiers=modifiers, immediates=immediates)

    def multiply_add(self, a: Word, b: Word, c: Word) -> Use:
        """a * b + c."""
        if not isinstance(a, Use):
            a, b = b, a
        power = power_of_two(b)
        if power is not None and c == Constant(0):
            return self.compute("SHL", a, Constant(power))
        return self.compute("IMAD", a, b, c, "LO")

    def add3(self, a: Word, b: Word, c: Word) -> Use:
        """a + b + c; the one that is no register goes to the flexible operand."""
        registers = [w for w in (a, b, c) if isinstance(w, Use)]
        others = [w for w in (a, b, c) if not isinstance(w, Use) and w != Constant(0)]
        while len(others) > 1:
            extra = others.pop()
            register = self.register(extra)
            if register is not None:
                registers.append(register)
        flexible: Word = others[0] if others else registers.pop() if registers else Constant(0)
        registers_or_zero: list[Word] = [*registers, Constant(0), Constant(0)]
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
        relation, sign = COMPARE[op.predicate.value.data]
        a, b = self.word(op.lhs), self.word(op.rhs)
        common = op.lhs.owner
        if relation in COMMON and b == Constant(0) and isinstance(common, arith.AndIOp):
            relation = COMMON[relation]
            a, b = self.word(common.lhs), self.word(common.rhs)
        if not isinstance(a, Use) and isinstance(b, Use):
            a, b, relation = b, a, SWAPPED[relation]
        uses, immediates = self.operands(a, b)
        if also is not None:
            uses["pa"] = also
        return self.emit("ISETP", uses, modifiers=(relation, sign), immediates=immediates)

    def less(self, a: Use, b: Word) -> Use:
        """a < b, signed: a loop goes on."""
        uses, immediates = self.operands(a, b)
        return self.emit("ISETP", uses, modifiers=("LT", "S32"), immediates=immediates)

    def select(self, condition: Use | None, a: Word, b: Word) -> Word:
        """condition ? a : b."""
        if condition is None:
            return a
        if not isinstance(a, Use) and isinstance(b, Use):
            a, b = b, a
            condition = Use(condition.value, 0, not condition.negated)
        uses, immediates = self.operands(a, b)
        uses["pa"] = condition
        return self.emit("SEL", uses, immediates=immediates)

    def group(self, words: Sequence[Word], size: int) -> SSAValue:
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

    def part(self, words: Sequence[Word]) -> Use:
        """The words as consecutive registers: part of the group they are in, or a new group."""
        first, size = words[0], len(words)
        if (
            isinstance(first, Use)
            and first.sub % min(4, size) == 0
            and list(words) == [Use(first.value, first.sub + i) for i in range(size)]
        ):
            return first
        return Use(self.group(words, size))

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
        words: list[Word] = []
        for size in canonical_groups(value.type):
            arg = block.insert_arg(RegType.of(size), len(block.args))
            words += [Use(arg, i) for i in range(size)]
        self.words[value] = words


def signed_constant(word: Constant) -> int:
    """The constant as a signed number."""
    return word.bits - (1 << 32) if word.bits >> 31 else word.bits


def immediate(word: Constant | Param) -> dict[str, int | str]:
    """The immediates of an instruction whose flexible operand is `word`."""
    return {"param": word.index} if isinstance(word, Param) else {"b": signed_constant(word)}


def power_of_two(word: Word) -> int | None:
    """log2 of a constant that is a power of two."""
    if isinstance(word, Constant) and word.bits and word.bits & (word.bits - 1) == 0:
        return word.bits.bit_length() - 1
    return None


def only_user(value: SSAValue) -> Operation | None:
    """The one op that uses `value`, once."""
    return value.get_user_of_unique_use()
