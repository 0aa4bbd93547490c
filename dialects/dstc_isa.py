"""The `dstc_isa` dialect: kernels as instructions on registers (level 4 of the IR).

In: the instruction table. Out: one op an instruction (`dstc_isa.iadd3` ...), generated from its
row, kernels, terminators, and register types, virtual (`!dstc_isa.reg<4>`) or assigned
(`!dstc_isa.reg<4, R8>`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    IntegerAttr,
    NoneAttr,
    StringAttr,
    SymbolNameConstraint,
    UnitAttr,
    i64,
)
from xdsl.ir import (
    Attribute,
    Block,
    Dialect,
    Operation,
    ParametrizedAttribute,
    Region,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    param_def,
    prop_def,
    region_def,
    result_def,
    successor_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from ..backend.isa.table import (
    INSTRUCTIONS,
    MAX_ACC_TILES,
    NUM_PREDICATES,
    NUM_REGISTERS,
    PT,
    RZ,
    SPECIAL_REGISTERS,
    Instruction,
    Kind,
    Operand,
    Unit,
)


@irdl_attr_definition
class RegType(ParametrizedAttribute, TypeAttribute):
    """`!dstc_isa.reg<4>`: a group of 4 consecutive 32-bit registers; `<4, R8>`: R8..R11."""

    name = "dstc_isa.reg"

    size: IntegerAttr[I64] = param_def()
    index: IntegerAttr[I64] | NoneAttr = param_def()

    @staticmethod
    def of(size: int, index: int | None = None) -> RegType:
        """A group of `size` registers, assigned to R`index` or not yet."""
        return RegType(
            IntegerAttr(size, i64), NoneAttr() if index is None else IntegerAttr(index, i64)
        )

    @property
    def registers(self) -> int:
        """Registers in the group."""
        return self.size.value.data

    @property
    def assigned(self) -> int | None:
        """First register, if assigned."""
        return None if isinstance(self.index, NoneAttr) else self.index.value.data

    def verify(self) -> None:
        """Sizes are 1, 2, 4, 8 or 16, assignments aligned and in range."""
        n, at = self.registers, self.assigned
        if n not in (1, 2, 4, 8, 16):
            raise VerifyException(f"a register group has 1, 2, 4, 8 or 16 registers, not {n}")
        if at is not None and at != RZ:
            if at % min(4, n):
                raise VerifyException(f"a group of {n} cannot start at R{at}: misaligned")
            if at + n > NUM_REGISTERS:
                raise VerifyException(f"R{at} + {n} registers run past R{NUM_REGISTERS - 1}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """`<4>` or `<4, R8>`."""
        with parser.in_angle_brackets():
            size = parser.parse_integer()
            index = None
            if parser.parse_optional_punctuation(",") is not None:
                name = parser.parse_identifier()
                if name != "RZ" and not (name[:1] == "R" and name[1:].isdigit()):
                    parser.raise_error("expected a register, R0 to R254 or RZ")
                index = RZ if name == "RZ" else int(name[1:])
        return RegType.of(size, index).parameters

    def print_parameters(self, printer: Printer) -> None:
        """`<4>` or `<4, R8>`."""
        at = self.assigned
        suffix = "" if at is None else ", RZ" if at == RZ else f", R{at}"
        printer.print_string(f"<{self.registers}{suffix}>")


@irdl_attr_definition
class PredType(ParametrizedAttribute, TypeAttribute):
    """`!dstc_isa.pred`: a predicate register; `!dstc_isa.pred<P0>` once assigned."""

    name = "dstc_isa.pred"

    index: IntegerAttr[I64] | NoneAttr = param_def()

    @staticmethod
    def of(index: int | None = None) -> PredType:
        """A predicate, assigned to P`index` or not yet."""
        return PredType(NoneAttr() if index is None else IntegerAttr(index, i64))

    @property
    def assigned(self) -> int | None:
        """Number, if assigned."""
        return None if isinstance(self.index, NoneAttr) else self.index.value.data

    def verify(self) -> None:
        """P0 to P6, or PT."""
        if self.assigned is not None and not 0 <= self.assigned <= PT:
            raise VerifyException(f"predicates are P0 to P{NUM_PREDICATES - 1} and PT")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """Nothing, or `<P0>`."""
        index = None
        if parser.parse_optional_punctuation("<") is not None:
            name = parser.parse_identifier()
            if name != "PT" and not (name[:1] == "P" and name[1:].isdigit()):
                parser.raise_error("expected a predicate, P0 to P6 or PT")
            index = PT if name == "PT" else int(name[1:])
            parser.parse_punctuation(">")
        return PredType.of(index).parameters

    def print_parameters(self, printer: Printer) -> None:
        """Nothing, or `<P0>`."""
        if self.assigned is not None:
            printer.print_string("<PT>" if self.assigned == PT else f"<P{self.assigned}>")


_VALUE = base(RegType) | base(PredType)


@dataclass(frozen=True)
class Use:
    """A register operand: the value, the first register of the group that is used, negation.

    `sub` picks registers out of a larger group; `negated` is for source predicates.
    """

    value: SSAValue
    sub: int = 0
    negated: bool = False


class IsaOp(IRDLOperation):
    """Base of all instruction ops. Register operands are SSA values with roles.

    Roles are those of the table's row (`a`, `b`, `c`, `e`, `pa`, `pb`), `guard` (the instruction
    runs in lanes where it holds) and `into`: the result keeps that value's registers, and the
    instruction writes (part of) them, so that lanes and registers it leaves alone keep theirs.
    Immediates sit in `immediates`: `b`, `offset` (of an address), `param` (word index of a kernel
    parameter standing for b), `acc`, `sr`.
    """

    ROW: ClassVar[Instruction]

    args = var_operand_def(_VALUE)
    outs = var_result_def(_VALUE)
    roles = prop_def(ArrayAttr[StringAttr])
    subs: DenseArrayBase[I64] | None = opt_prop_def(DenseArrayBase.constr(i64))
    modifiers = opt_prop_def(ArrayAttr[StringAttr])
    immediates = opt_prop_def(DictionaryAttr)

    @classmethod
    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        mnemonic: str,
        uses: Mapping[str, Use | SSAValue] | None = None,
        *,
        modifiers: Sequence[str] = (),
        immediates: Mapping[str, int | str] | None = None,
        result: Attribute | None = None,
    ) -> IsaOp:
        """The op for `mnemonic`.

        `result` is the result's type if it cannot be derived (default: from the row, or the type
        of `into`). `modifiers`: the choices in table order.
        """
        op_class = OPS[mnemonic]
        row = op_class.ROW
        items = {r: u if isinstance(u, Use) else Use(u) for r, u in (uses or {}).items()}
        chosen = dict(zip((m.name for m in row.modifiers), modifiers, strict=True))
        types: list[Attribute] = []
        for operand in row.operands:
            if operand.write:
                if result is not None:
                    types.append(result)
                elif "into" in items:
                    types.append(items["into"].value.type)
                elif operand.kind == Kind.PRED:
                    types.append(PredType.of())
                else:
                    types.append(RegType.of(row.registers(operand, chosen)))
        imms: dict[str, Attribute] = {
            k: StringAttr(v) if isinstance(v, str) else IntegerAttr(v, i64)
            for k, v in (immediates or {}).items()
        }
        subs = [u.sub for u in items.values()]
        return op_class(
            operands=[[u.value for u in items.values()]],
            result_types=[types],
            properties={
                "roles": ArrayAttr(
                    [StringAttr(("!" if u.negated else "") + r) for r, u in items.items()]
                ),
                "subs": DenseArrayBase.from_list(i64, subs) if any(subs) else None,
                "modifiers": ArrayAttr([StringAttr(m) for m in modifiers]) if modifiers else None,
                "immediates": DictionaryAttr(imms) if imms else None,
            },
        )

    @property
    def uses(self) -> dict[str, Use]:
        """Register operands by role."""
        subs = (0,) * len(self.args) if self.subs is None else self.subs.get_values()
        found: dict[str, Use] = {}
        for role, value, sub in zip(self.roles.data, self.args, subs, strict=True):
            text = role.data
            found[text.lstrip("!")] = Use(value, sub, text.startswith("!"))
        return found

    @property
    def modifier_choices(self) -> dict[str, str]:
        """Chosen modifiers by name."""
        given = () if self.modifiers is None else self.modifiers.data
        return {m.name: c.data for m, c in zip(self.ROW.modifiers, given, strict=True)}

    @property
    def immediate_values(self) -> dict[str, int | str]:
        """Immediates by role."""
        found: dict[str, int | str] = {}
        if self.immediates is not None:
            for key, attr in self.immediates.data.items():
                if isinstance(attr, StringAttr):
                    found[key] = attr.data
                else:
                    assert isinstance(attr, IntegerAttr)
                    found[key] = attr.value.data
        return found

    @property
    def result_operand(self) -> Operand | None:
        """The row's destination."""
        return next((o for o in self.ROW.operands if o.write), None)

    def operand_registers(self, role: str) -> int:
        """Registers that the instruction reads or writes for `role` (`into`: the destination)."""
        if role == "into":
            operand = self.result_operand
            assert operand is not None
        else:
            operand = next(o for o in self.ROW.operands if o.role == role)
        return self.ROW.registers(operand, self.modifier_choices)

    def verify_(self) -> None:
        row, uses = self.ROW, self.uses
        if len(uses) != len(self.args):
            raise VerifyException("each role may be given once")
        given = () if self.modifiers is None else self.modifiers.data
        if len(given) != len(row.modifiers):
            names = ", ".join(m.name for m in row.modifiers) or "none"
            raise VerifyException(f"needs {len(row.modifiers)} modifiers ({names})")
        for modifier, choice in zip(row.modifiers, given, strict=True):
            if choice.data not in modifier.choices:
                raise VerifyException(
                    f"modifier {modifier.name} must be one of "
                    f"{', '.join(c or repr(c) for c in modifier.choices)}, not {choice.data}"
                )
        imms = self.immediate_values
        known = {"guard", "into"} | {o.role for o in row.operands if not o.write}
        for role in uses:
            if role not in known:
                raise VerifyException(f"has no operand {role}")
        for operand in row.operands:
            self._verify_operand(operand, uses, imms)
        if "guard" in uses and not isinstance(uses["guard"].value.type, PredType):
            raise VerifyException("guard must be a predicate")
        self._verify_results(uses)

    def _verify_operand(
        self, operand: Operand, uses: dict[str, Use], imms: dict[str, int | str]
    ) -> None:
        role, kind = operand.role, operand.kind
        if operand.write:
            return
        if kind == Kind.ACC:
            tile = imms.get("acc")
            if not isinstance(tile, int) or not 0 <= tile < MAX_ACC_TILES or tile % operand.regs:
                multiple = f", a multiple of {operand.regs}" if operand.regs > 1 else ""
                raise VerifyException(f"needs acc, 0 to {MAX_ACC_TILES - operand.regs}{multiple}")
            return
        if kind == Kind.SREG:
            if imms.get("sr") not in SPECIAL_REGISTERS:
                raise VerifyException(f"needs sr, one of {', '.join(SPECIAL_REGISTERS)}")
            return
        if kind == Kind.FLEX and role not in uses:
            if ("b" in imms) == ("param" in imms):
                raise VerifyException("needs b: a register, an immediate, or a parameter")
            return
        if role not in uses:
            if not operand.optional and kind not in (Kind.REG, Kind.ADDR):
                raise VerifyException(f"needs operand {role}")
            return  # an absent register reads as RZ
        use = uses[role]
        if kind == Kind.PRED:
            if not isinstance(use.value.type, PredType):
                raise VerifyException(f"{role} must be a predicate")
            return
        self._verify_group(role, use)

    def _verify_group(self, role: str, use: Use) -> None:
        type_ = use.value.type
        if not isinstance(type_, RegType):
            raise VerifyException(f"{role} must be a register")
        if use.negated:
            raise VerifyException(f"{role} is a register and cannot be negated")
        n = self.operand_registers(role)
        if use.sub + n > type_.registers or use.sub % min(4, n):
            raise VerifyException(
                f"{role} uses {n} registers from {use.sub} of a group of {type_.registers}"
            )

    def _verify_results(self, uses: dict[str, Use]) -> None:
        operand = self.result_operand
        if len(self.outs) != (operand is not None):
            raise VerifyException(f"must have {int(operand is not None)} result")
        if operand is None:
            if "into" in uses:
                raise VerifyException("into needs a result")
            return
        out = self.outs[0].type
        if operand.kind == Kind.PRED:
            if not isinstance(out, PredType):
                raise VerifyException("the result must be a predicate")
            return
        if "into" in uses:
            self._verify_group("into", uses["into"])
            if uses["into"].value.type != out and not _same_size(uses["into"].value.type, out):
                raise VerifyException("the result must be of the size of into")
        elif not isinstance(out, RegType) or out.registers != self.operand_registers("into"):
            raise VerifyException(
                f"the result must have {self.operand_registers('into')} registers"
            )

    def print(self, printer: Printer) -> None:
        """`<MODIFIERS> role(%v[sub]), ... : (types) -> types`."""
        if self.modifiers is not None:
            chosen = ".".join(m.data or "_" for m in self.modifiers.data)
            printer.print_string(f"<{chosen}>" if chosen else "")
        imms = self.immediate_values
        first = True

        def item(text: str) -> None:
            nonlocal first
            printer.print_string((" " if first else ", ") + text)
            first = False

        for role, use in self.uses.items():
            item(f"{role}({'not ' if use.negated else ''}")
            printer.print_ssa_value(use.value)
            if use.sub:
                printer.print_string(f"[{use.sub}]")
            if role == "a" and "offset" in imms:
                printer.print_string(f" + {imms['offset']}")
            printer.print_string(")")
        for key, value in imms.items():
            if key != "offset" or "a" not in self.uses:
                item(f"{key}({value})")
        printer.print_op_attributes(self.attributes, print_keyword=False)
        printer.print_string(" : ")
        printer.print_operation_type(self)

    @classmethod
    def parse(cls, parser: Parser) -> IsaOp:
        """The converse of `print`."""
        modifiers: list[str] = []
        if cls.ROW.modifiers and parser.parse_optional_punctuation("<") is not None:
            text = ""
            while (parser.parse_optional_punctuation(">")) is None:
                token = parser._consume_token()  # pyright: ignore[reportPrivateUsage]
                text += token.text
            modifiers = ["" if m == "_" else m for m in text.split(".")]
        roles: list[str] = []
        operands: list[Any] = []
        subs: list[int] = []
        imms: dict[str, Attribute] = {}
        while (role := parser.parse_optional_identifier()) is not None:
            parser.parse_punctuation("(")
            negated = parser.parse_optional_keyword("not") is not None
            operand = parser.parse_optional_unresolved_operand()
            if operand is None:
                name = parser.parse_optional_identifier()
                imms[role] = (
                    StringAttr(name)
                    if name is not None
                    else IntegerAttr(parser.parse_integer(), i64)
                )
            else:
                sub = 0
                if parser.parse_optional_punctuation("[") is not None:
                    sub = parser.parse_integer()
                    parser.parse_punctuation("]")
                if parser.parse_optional_punctuation("+") is not None:
                    imms["offset"] = IntegerAttr(parser.parse_integer(), i64)
                roles.append(("!" if negated else "") + role)
                operands.append(operand)
                subs.append(sub)
            parser.parse_punctuation(")")
            if parser.parse_optional_punctuation(",") is None:
                break
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        at = parser.pos
        function_type = parser.parse_function_type()
        values = parser.resolve_operands(operands, function_type.inputs.data, at)
        return cls.create(
            operands=values,
            result_types=function_type.outputs.data,
            properties=_present(
                {
                    "roles": ArrayAttr([StringAttr(r) for r in roles]),
                    "subs": DenseArrayBase.from_list(i64, subs) if any(subs) else None,
                    "modifiers": ArrayAttr([StringAttr(m) for m in modifiers])
                    if modifiers
                    else None,
                    "immediates": DictionaryAttr(imms) if imms else None,
                }
            ),
            attributes=attributes,
        )


def _present(items: dict[str, Attribute | None]) -> dict[str, Attribute]:
    return {k: v for k, v in items.items() if v is not None}


def _same_size(a: Attribute, b: Attribute) -> bool:
    return isinstance(a, RegType) and isinstance(b, RegType) and a.registers == b.registers


_STRUCTURAL = ("BRA", "EXIT")


def _op_class(row: Instruction) -> type[IsaOp]:
    name = row.mnemonic.title().replace(".", "") + "Op"
    body = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": row.summary,
        "name": f"dstc_isa.{row.mnemonic.lower()}",
        "ROW": row,
        "__annotations__": {"ROW": ClassVar[Instruction]},
    }
    return irdl_op_definition(type(name, (IsaOp,), body))


OPS: dict[str, type[IsaOp]] = {
    mnemonic: _op_class(row)
    for mnemonic, row in INSTRUCTIONS.items()
    if mnemonic not in _STRUCTURAL
}
"""Instruction ops by mnemonic. BRA and EXIT are the terminators below."""


@irdl_op_definition
class UndefOp(IRDLOperation):
    """Registers of undefined contents: what a group that `into` fills part by part starts from.

    Emitted as nothing.
    """

    name = "dstc_isa.undef"
    out = result_def(_VALUE)
    assembly_format = "attr-dict `:` type($out)"

    def __init__(self, type_: RegType | PredType):
        super().__init__(result_types=[type_])


@irdl_op_definition
class FenceOp(IRDLOperation):
    """No instruction moves across it when instructions are scheduled. Emitted as nothing."""

    name = "dstc_isa.fence"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class JumpOp(IRDLOperation):
    """Go to a block. Emitted as BRA, or as nothing where the block follows."""

    name = "dstc_isa.jump"
    values = var_operand_def(_VALUE)
    target = successor_def()
    traits = traits_def(IsTerminator())
    assembly_format = "$target (`(` $values^ `:` type($values) `)`)? attr-dict"

    def __init__(self, target: Block, values: Sequence[SSAValue] = ()):
        super().__init__(operands=[values], successors=[target])


@irdl_op_definition
class BranchOp(IRDLOperation):
    """Go to `taken` in lanes where the predicate holds (or, `negated`, does not), else on.

    Emitted as a guarded BRA to `taken`; `other` follows in the code or is reached by a BRA.
    """

    name = "dstc_isa.branch"
    predicate = operand_def(base(PredType))
    taken_values = var_operand_def(_VALUE)
    other_values = var_operand_def(_VALUE)
    negated = opt_prop_def(UnitAttr)
    taken = successor_def()
    other = successor_def()
    traits = traits_def(IsTerminator())
    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format = (
        "$predicate `:` type($predicate) `,` $taken (`(` $taken_values^ `:` type($taken_values) "
        "`)`)? `,` $other (`(` $other_values^ `:` type($other_values) `)`)? attr-dict"
    )

    def __init__(
        self,
        predicate: SSAValue,
        taken: Block,
        taken_values: Sequence[SSAValue],
        other: Block,
        other_values: Sequence[SSAValue],
        *,
        negated: bool = False,
    ):
        super().__init__(
            operands=[predicate, taken_values, other_values],
            successors=[taken, other],
            properties={"negated": UnitAttr() if negated else None},
        )


@irdl_op_definition
class ExitOp(IRDLOperation):
    """End of the kernel for the warp."""

    name = "dstc_isa.exit"
    traits = traits_def(IsTerminator())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class KernelOp(IRDLOperation):
    """A kernel as blocks of instructions; parameters are read by `b(param)` immediates.

    `registers` is set by register allocation.
    """

    name = "dstc_isa.kernel"
    sym_name = prop_def(SymbolNameConstraint())
    params = prop_def(ArrayAttr[StringAttr])
    warps = prop_def(IntegerAttr[I64])
    shared_bytes = prop_def(IntegerAttr[I64])
    acc_tiles = prop_def(IntegerAttr[I64])
    registers = opt_prop_def(IntegerAttr[I64])
    body = region_def()
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface())
    assembly_format = (
        "$sym_name $params `warps` `=` $warps `,` `shared` `=` $shared_bytes `,` "
        "`acc` `=` $acc_tiles (`,` `registers` `=` $registers^)? attr-dict-with-keyword $body"
    )

    def __init__(
        self,
        name: str,
        params: Sequence[str],
        region: Region,
        *,
        warps: int,
        shared_bytes: int,
        acc_tiles: int,
    ):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "params": ArrayAttr([StringAttr(p) for p in params]),
                "warps": IntegerAttr(warps, i64),
                "shared_bytes": IntegerAttr(shared_bytes, i64),
                "acc_tiles": IntegerAttr(acc_tiles, i64),
            },
            regions=[region],
        )

    def verify_(self) -> None:
        if not 1 <= self.warps.value.data <= 32:
            raise VerifyException(f"warps must be 1 to 32, not {self.warps.value.data}")
        for block in self.body.blocks:
            last = block.last_op
            if not isinstance(last, JumpOp | BranchOp | ExitOp):
                raise VerifyException("each block ends with jump, branch or exit")
            for op in block.ops:
                if isinstance(op, IsaOp):
                    self._verify_immediates(op)

    def _verify_immediates(self, op: IsaOp) -> None:
        imms = op.immediate_values
        param, acc = imms.get("param"), imms.get("acc")
        if isinstance(param, int) and not 0 <= param < len(self.params.data):
            raise VerifyException(f"{op.name}: the kernel has no parameter {param}")
        if isinstance(acc, int) and acc >= self.acc_tiles.value.data:
            raise VerifyException(
                f"{op.name}: acc {acc} is beyond the kernel's {self.acc_tiles.value.data} tiles"
            )


def is_tensor(op: Operation) -> bool:
    """The op runs on the tensor core."""
    return isinstance(op, IsaOp) and op.ROW.unit == Unit.TENSOR


DSTC_ISA = Dialect(
    "dstc_isa",
    [*OPS.values(), UndefOp, FenceOp, JumpOp, BranchOp, ExitOp, KernelOp],
    [RegType, PredType],
)
