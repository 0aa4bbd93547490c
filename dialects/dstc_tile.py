"""The `dstc_tile` dialect: kernels as SIMT code with warp-wide tile operations (level 3 of the IR).

In: xDSL's irdl. Out: kernels and launches, loads and stores of lanes, ballots, and the tensor
operations of a warp; loops and arithmetic are upstream `scf` and `arith` on i32, i1 and f32.

A kernel body is what one lane does. Values: i32 (integers and byte addresses), i1, f32, and
vectors of them that live in consecutive registers. Warp-wide ops (hmma, spwmma, ballot, shuffle,
acc_*) need all 32 lanes.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolNameConstraint,
    UnitAttr,
    VectorType,
    f32,
    i1,
    i32,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Block, Dialect, Region, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    base,
    eq,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import (
    IsolatedFromAbove,
    IsTerminator,
    Pure,
    SingleBlockImplicitTerminator,
    SymbolOpInterface,
)
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa
from xdsl.utils.str_enum import StrEnum

from ..backend.isa.table import (
    MAX_ACC_TILES,
    NM_SHAPE,
    NM_SHAPES,
    TILE_M,
    VALUE_REGISTERS,
    WINDOWS,
)
from .conv_window import WindowAttr


class Id(StrEnum):
    """Where a lane is in the launch."""

    LANE = "lane"
    WARP = "warp"
    CTA_X = "cta_x"
    CTA_Y = "cta_y"
    CTA_Z = "cta_z"


class Special(StrEnum):
    """Special functions: MUFU's."""

    RCP = "rcp"
    RSQ = "rsq"
    SQRT = "sqrt"
    EX2 = "ex2"
    LG2 = "lg2"
    TANH = "tanh"
    SIN = "sin"
    COS = "cos"


class Space(StrEnum):
    """Memories of a load or store."""

    GLOBAL = "global"
    SHARED = "shared"


@irdl_attr_definition
class IdAttr(EnumAttribute[Id], SpacedOpaqueSyntaxAttribute):
    """`#dstc_tile<id lane>`."""

    name = "dstc_tile.id"


@irdl_attr_definition
class SpecialAttr(EnumAttribute[Special], SpacedOpaqueSyntaxAttribute):
    """`#dstc_tile<special ex2>`."""

    name = "dstc_tile.special"


@irdl_attr_definition
class SpaceAttr(EnumAttribute[Space], SpacedOpaqueSyntaxAttribute):
    """`#dstc_tile<space global>`."""

    name = "dstc_tile.space"


class Lanes(StrEnum):
    """Lanes whose runs are loaded."""

    LOW = "low"
    HIGH = "high"
    ALL = "all"


@irdl_attr_definition
class LanesAttr(EnumAttribute[Lanes], SpacedOpaqueSyntaxAttribute):
    """`#dstc_tile<lanes low>`; in ops just `low`."""

    name = "dstc_tile.lanes"


RUN_REGISTERS = {Lanes.LOW: 8, Lanes.HIGH: 8, Lanes.ALL: 16}
"""Registers of the values of so many lanes' runs."""

FRAGMENT = VectorType(i32, [4])
"""A 16 x 16 f16 operand tile of hmma: register j holds k = 4j..4j+3 (see HMMA's layouts)."""
ACCUMULATOR = VectorType(f32, [8])
"""A 16 x 16 f32 tile: registers 2s, 2s+1 are quadrant s; or one part of an accumulator tile."""
VALUES = VectorType(i32, [8])
"""The condensed values of a 32 x 16 tile (see `layout.value_position`)."""
VALUE_VECTORS = (VectorType(i32, [4]), VALUES, VectorType(i32, [16]))
"""Registers for the first 256, 512 or 1024 condensed values of a tile."""

_I32 = eq(i32)
_I1 = eq(i1)
_VALUES = base(VectorType)


def _verify_values(*types: Attribute) -> None:
    for type_ in types:
        if type_ not in VALUE_VECTORS:
            raise VerifyException(f"condensed values are 4, 8 or 16 registers of i32, not {type_}")


def is_words(type_: Attribute) -> bool:
    """i32, f32, or a one-dimensional vector of either: what registers of a lane hold."""
    if isa(type_, VectorType):
        return len(type_.get_shape()) == 1 and type_.element_type in (i32, f32)
    return type_ in (i32, f32)


def word_count(type_: Attribute) -> int:
    """32-bit registers that a value of `type_` takes; 0 for i1."""
    if isinstance(type_, VectorType):
        return type_.get_shape()[0]
    return 0 if type_ == i1 else 1


@irdl_op_definition
class ReturnOp(IRDLOperation):
    """End of a kernel."""

    name = "dstc_tile.return"
    traits = traits_def(IsTerminator())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class KernelOp(IRDLOperation):
    """A kernel: `grid` CTAs of `warps` warps; its arguments are i32 addresses and numbers.

    `shared` is bytes a CTA, `acc` accumulation-buffer tiles a warp.
    """

    name = "dstc_tile.kernel"
    sym_name = prop_def(SymbolNameConstraint())
    params = prop_def(ArrayAttr[StringAttr])
    grid: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    warps = prop_def(IntegerAttr[I64])
    shared = prop_def(IntegerAttr[I64])
    acc = prop_def(IntegerAttr[I64])
    body = region_def("single_block")
    traits = traits_def(
        IsolatedFromAbove(), SymbolOpInterface(), SingleBlockImplicitTerminator(ReturnOp)
    )
    assembly_format = (
        "$sym_name $params `grid` `=` $grid `,` `warps` `=` $warps `,` `shared` `=` $shared `,` "
        "`acc` `=` $acc attr-dict-with-keyword $body"
    )

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
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "params": ArrayAttr([StringAttr(p) for p in params]),
                "grid": DenseArrayBase.from_list(i64, list(grid)),
                "warps": IntegerAttr(warps, i64),
                "shared": IntegerAttr(shared, i64),
                "acc": IntegerAttr(acc, i64),
            },
            regions=[Region(Block(arg_types=[i32] * len(params)))],
        )

    @property
    def grid_size(self) -> tuple[int, int, int]:
        """CTAs along x, y, z."""
        x, y, z = (int(v) for v in self.grid.iter_values())
        return x, y, z

    def verify_(self) -> None:
        if len(self.grid) != 3 or min(self.grid_size) < 1:
            raise VerifyException("grid must be three positive numbers")
        if not 1 <= self.warps.value.data <= 32:
            raise VerifyException(f"warps must be 1 to 32, not {self.warps.value.data}")
        args = self.body.block.args
        if len(args) != len(self.params) or any(a.type != i32 for a in args):
            raise VerifyException(f"the body must have {len(self.params)} i32 arguments")
        for op in self.body.walk():
            if isinstance(op, AccClearOp | AccReadOp | SpwmmaOp):
                tile = op.tile.value.data
                if not 0 <= tile < self.acc.value.data:
                    raise VerifyException(
                        f"{op.name}: tile {tile} is beyond the kernel's {self.acc.value.data}"
                    )


@irdl_op_definition
class LaunchOp(IRDLOperation):
    """Run a kernel. Its parameters are the addresses of the inputs, then of the results.

    Properties say for reports what the kernel computes: op, engine, dense multiply-adds, and which
    of a product's operands (`a`, `b` or `ab`), the first two inputs, are stored transposed, and how
    many products are a batch. With `window` the second is an image, whose channels fall into
    `groups`.
    """

    name = "dstc_tile.launch"
    kernel = prop_def(SymbolNameConstraint())
    inputs = var_operand_def(AnyAttr())
    results_ = var_result_def(AnyAttr())
    op = prop_def(StringAttr)
    engine = opt_prop_def(StringAttr)
    macs = opt_prop_def(IntegerAttr[I64])
    transposed = opt_prop_def(StringAttr)
    batch = opt_prop_def(IntegerAttr[I64])
    window = opt_prop_def(WindowAttr)
    groups: IntegerAttr[I64] | None = opt_prop_def(IntegerAttr[I64])
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$kernel `(` $inputs `)` attr-dict `:` functional-type($inputs, results)"

    def __init__(
        self,
        kernel: str,
        inputs: Sequence[SSAValue],
        results: Sequence[Attribute],
        *,
        op: str,
        engine: str | None = None,
        macs: int | None = None,
        transposed: str = "",
        batch: int = 1,
        window: WindowAttr | None = None,
        groups: IntegerAttr[I64] | None = None,
    ):
        super().__init__(
            operands=[inputs],
            result_types=[results],
            properties={
                "kernel": StringAttr(kernel),
                "op": StringAttr(op),
                "engine": None if engine is None else StringAttr(engine),
                "macs": None if macs is None else IntegerAttr(macs, i64),
                "transposed": StringAttr(transposed) if transposed else None,
                "batch": IntegerAttr(batch, i64) if batch > 1 else None,
                "window": window,
                "groups": groups,
            },
        )


@irdl_op_definition
class IdOp(IRDLOperation):
    """Lane in the warp, warp in the CTA, or CTA in the grid."""

    name = "dstc_tile.id"
    which = prop_def(IdAttr)
    result = result_def(_I32)
    traits = traits_def(Pure())
    assembly_format = "$which attr-dict"

    def __init__(self, which: Id):
        super().__init__(properties={"which": IdAttr(which)}, result_types=[i32])


def _check_access(type_: Attribute, narrow: Attribute | None) -> None:
    if narrow is not None:
        if not (isinstance(narrow, IntegerAttr) and narrow.value.data in (8, 16)) or type_ != i32:
            raise VerifyException("a narrow access is of 8 or 16 bits and i32")
    elif not is_words(type_) or word_count(type_) not in (1, 2, 4):
        raise VerifyException(f"an access is of 1, 2 or 4 words of i32 or f32, not {type_}")


@irdl_op_definition
class LoadOp(IRDLOperation):
    """Load from `address` + `offset` bytes, in lanes where the predicate holds; else `default`.

    Without a default the other lanes' values are undefined.

    With `bits` 8 or 16 a narrow unsigned integer is loaded and extended with zeros.
    """

    name = "dstc_tile.load"
    space = prop_def(SpaceAttr)
    offset = prop_def(IntegerAttr[I64])
    bits = opt_prop_def(IntegerAttr[I64])
    address = operand_def(_I32)
    predicate = opt_operand_def(_I1)
    default = opt_operand_def(AnyAttr())
    result = result_def(AnyAttr())
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$space $address `+` $offset (`bits` $bits^)? (`if` $predicate^)? "
        "(`else` $default^ `:` type($default))? attr-dict `:` type($result)"
    )

    def __init__(
        self,
        space: Space,
        address: SSAValue,
        type_: Attribute,
        *,
        offset: int = 0,
        bits: int | None = None,
        predicate: SSAValue | None = None,
        default: SSAValue | None = None,
    ):
        super().__init__(
            operands=[address, predicate, default],
            properties={
                "space": SpaceAttr(space),
                "offset": IntegerAttr(offset, i64),
                "bits": None if bits is None else IntegerAttr(bits, i64),
            },
            result_types=[type_],
        )

    def verify_(self) -> None:
        _check_access(self.result.type, self.bits)
        if self.predicate is None and self.default is not None:
            raise VerifyException("a default needs a predicate")
        if self.default is not None and self.default.type != self.result.type:
            raise VerifyException("the default must be of the result's type")


@irdl_op_definition
class StoreOp(IRDLOperation):
    """Store `value` at `address` + `offset` bytes in lanes where the predicate holds."""

    name = "dstc_tile.store"
    space = prop_def(SpaceAttr)
    offset = prop_def(IntegerAttr[I64])
    bits = opt_prop_def(IntegerAttr[I64])
    value = operand_def(AnyAttr())
    address = operand_def(_I32)
    predicate = opt_operand_def(_I1)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$space $value `,` $address `+` $offset (`bits` $bits^)? (`if` $predicate^)? "
        "attr-dict `:` type($value)"
    )

    def __init__(
        self,
        space: Space,
        value: SSAValue,
        address: SSAValue,
        *,
        offset: int = 0,
        bits: int | None = None,
        predicate: SSAValue | None = None,
    ):
        super().__init__(
            operands=[value, address, predicate],
            properties={
                "space": SpaceAttr(space),
                "offset": IntegerAttr(offset, i64),
                "bits": None if bits is None else IntegerAttr(bits, i64),
            },
        )

    def verify_(self) -> None:
        _check_access(self.value.type, self.bits)


@irdl_op_definition
class PrefetchOp(IRDLOperation):
    """Have L1 fetch the sector of global memory at `address` + `offset` bytes; changes no value.

    Lanes where the predicate does not hold fetch nothing.
    """

    name = "dstc_tile.prefetch"
    offset = prop_def(IntegerAttr[I64])
    address = operand_def(_I32)
    predicate = opt_operand_def(_I1)
    assembly_format = "$address `+` $offset (`if` $predicate^)? attr-dict"

    def __init__(self, address: SSAValue, *, offset: int = 0, predicate: SSAValue | None = None):
        super().__init__(
            operands=[address, predicate], properties={"offset": IntegerAttr(offset, i64)}
        )


@irdl_op_definition
class AtomicOrOp(IRDLOperation):
    """OR `value` into the word of global memory at `address` + `offset` bytes, atomically.

    Lanes where the predicate does not hold do nothing.
    """

    name = "dstc_tile.atomic_or"
    offset = prop_def(IntegerAttr[I64])
    value = operand_def(_I32)
    address = operand_def(_I32)
    predicate = opt_operand_def(_I1)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = "$value `,` $address `+` $offset (`if` $predicate^)? attr-dict"

    def __init__(
        self,
        value: SSAValue,
        address: SSAValue,
        *,
        offset: int = 0,
        predicate: SSAValue | None = None,
    ):
        super().__init__(
            operands=[value, address, predicate], properties={"offset": IntegerAttr(offset, i64)}
        )


@irdl_op_definition
class AtomicAddOp(IRDLOperation):
    """Add `value` to the word of global memory at `address`; the result is what stood there.

    Lanes where the predicate does not hold do nothing; their result is undefined.
    """

    name = "dstc_tile.atomic_add"
    value = operand_def(_I32)
    address = operand_def(_I32)
    predicate = opt_operand_def(_I1)
    result = result_def(_I32)
    assembly_format = "$value `,` $address (`if` $predicate^)? attr-dict"

    def __init__(self, value: SSAValue, address: SSAValue, predicate: SSAValue | None = None):
        super().__init__(operands=[value, address, predicate], result_types=[i32])


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """All warps of the CTA meet; their earlier shared-memory accesses are done."""

    name = "dstc_tile.barrier"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class FenceOp(IRDLOperation):
    """Nothing is moved across it when instructions are scheduled; it does nothing when it runs.

    So that loads spread over a loop's body instead of all being issued at its start.
    """

    name = "dstc_tile.fence"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class BallotOp(IRDLOperation):
    """A word whose bit i says whether the predicate holds in lane i."""

    name = "dstc_tile.ballot"
    predicate = operand_def(_I1)
    result = result_def(_I32)
    traits = traits_def(Pure())
    assembly_format = "$predicate attr-dict"

    def __init__(self, predicate: SSAValue):
        super().__init__(operands=[predicate], result_types=[i32])


@irdl_op_definition
class ShuffleOp(IRDLOperation):
    """The value that lane `lane` holds (0..31)."""

    name = "dstc_tile.shuffle"
    value = operand_def(_I32)
    lane = operand_def(_I32)
    result = result_def(_I32)
    traits = traits_def(Pure())
    assembly_format = "$value `,` $lane attr-dict"

    def __init__(self, value: SSAValue, lane: SSAValue):
        super().__init__(operands=[value, lane], result_types=[i32])


@irdl_op_definition
class PopulationCountOp(IRDLOperation):
    """Number of ones in a word."""

    name = "dstc_tile.popcount"
    value = operand_def(_I32)
    result = result_def(_I32)
    traits = traits_def(Pure())
    assembly_format = "$value attr-dict"

    def __init__(self, value: SSAValue):
        super().__init__(operands=[value], result_types=[i32])


@irdl_op_definition
class FunnelOp(IRDLOperation):
    """32 bits of the 64 in `high` and `low`, from bit `amount` mod 32 on."""

    name = "dstc_tile.funnel"
    low = operand_def(_I32)
    high = operand_def(_I32)
    amount = operand_def(_I32)
    result = result_def(_I32)
    traits = traits_def(Pure())
    assembly_format = "$low `,` $high `,` $amount attr-dict"

    def __init__(self, low: SSAValue, high: SSAValue, amount: SSAValue):
        super().__init__(operands=[low, high, amount], result_types=[i32])


@irdl_op_definition
class MufuOp(IRDLOperation):
    """A special function of an f32: computed in f64, rounded once."""

    name = "dstc_tile.mufu"
    function = prop_def(SpecialAttr)
    value = operand_def(eq(f32))
    result = result_def(eq(f32))
    traits = traits_def(Pure())
    assembly_format = "$function $value attr-dict"

    def __init__(self, function: Special, value: SSAValue):
        super().__init__(
            operands=[value],
            properties={"function": SpecialAttr(function)},
            result_types=[f32],
        )


@irdl_op_definition
class PackOp(IRDLOperation):
    """Two f32 rounded to f16 (nearest even): `low` in bits 0..15, `high` in bits 16..31."""

    name = "dstc_tile.pack"
    low = operand_def(eq(f32))
    high = operand_def(eq(f32))
    result = result_def(_I32)
    traits = traits_def(Pure())
    assembly_format = "$low `,` $high attr-dict"

    def __init__(self, low: SSAValue, high: SSAValue):
        super().__init__(operands=[low, high], result_types=[i32])


@irdl_op_definition
class UnpackOp(IRDLOperation):
    """The f16 in the low (or, with `high`, the high) half of a word, as f32."""

    name = "dstc_tile.unpack"
    value = operand_def(_I32)
    high = opt_prop_def(UnitAttr)
    result = result_def(eq(f32))
    traits = traits_def(Pure())
    assembly_format = "(`high` $high^)? $value attr-dict"

    def __init__(self, value: SSAValue, *, high: bool = False):
        super().__init__(
            operands=[value], properties={"high": UnitAttr() if high else None}, result_types=[f32]
        )


@irdl_op_definition
class ExtractOp(IRDLOperation):
    """One element of a vector: one register of its group, at no cost."""

    name = "dstc_tile.extract"
    vector = operand_def(VectorType)
    index = prop_def(IntegerAttr[I64])
    result = result_def(AnyAttr())
    traits = traits_def(Pure())
    assembly_format = "$vector `[` $index `]` attr-dict `:` type($vector) `->` type($result)"

    def __init__(self, vector: SSAValue, index: int):
        assert isa(vector.type, VectorType)
        super().__init__(
            operands=[vector],
            properties={"index": IntegerAttr(index, i64)},
            result_types=[vector.type.element_type],
        )

    def verify_(self) -> None:
        assert isa(self.vector.type, VectorType)
        if not is_words(self.vector.type):
            raise VerifyException(
                f"an extract is from a vector of i32 or f32, not {self.vector.type}"
            )
        size = word_count(self.vector.type)
        if not 0 <= self.index.value.data < size:
            raise VerifyException(f"index must be 0 to {size - 1}")
        if self.result.type != self.vector.type.element_type:
            raise VerifyException("the result must be of the vector's element type")


@irdl_op_definition
class CombineOp(IRDLOperation):
    """Words as a vector; at no cost where they are neighbouring registers already."""

    name = "dstc_tile.combine"
    elements = var_operand_def(_I32 | eq(f32))
    result = result_def(VectorType)
    traits = traits_def(Pure())
    assembly_format = "$elements attr-dict `:` type($elements) `->` type($result)"

    def __init__(self, *elements: SSAValue):
        super().__init__(
            operands=[elements], result_types=[VectorType(elements[0].type, [len(elements)])]
        )

    def verify_(self) -> None:
        if not is_words(self.result.type) or word_count(self.result.type) != len(self.elements):
            raise VerifyException(
                f"{len(self.elements)} words are no {self.result.type}; the result has one element "
                "an operand"
            )
        assert isa(self.result.type, VectorType)
        if any(e.type != self.result.type.element_type for e in self.elements):
            raise VerifyException("elements must be of the result's element type")


@irdl_op_definition
class HalvesOp(IRDLOperation):
    """Words of two 16-bit values each: `low` in bits 0..15, `high` in bits 16..31.

    Bits 16..31 of each operand are zero, as a 16-bit load leaves them.
    """

    name = "dstc_tile.halves"
    low = var_operand_def(_I32)
    high = var_operand_def(_I32)
    result = result_def(VectorType)
    traits = traits_def(Pure())
    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format = "$low `:` $high attr-dict `->` type($result)"

    def __init__(self, low: Sequence[SSAValue], high: Sequence[SSAValue]):
        super().__init__(operands=[low, high], result_types=[VectorType(i32, [len(low)])])

    def verify_(self) -> None:
        words = VectorType(i32, [len(self.low)])
        if len(self.low) != len(self.high) or self.result.type != words:
            raise VerifyException("as many words as low and as high halves")


@irdl_op_definition
class SplatOp(IRDLOperation):
    """A vector of equal constants, as bits of a word."""

    name = "dstc_tile.splat"
    bits = prop_def(IntegerAttr[I64])
    result = result_def(AnyAttr())
    traits = traits_def(Pure())
    assembly_format = "$bits attr-dict `:` type($result)"

    def __init__(self, bits: int, type_: Attribute):
        super().__init__(properties={"bits": IntegerAttr(bits, i64)}, result_types=[type_])

    def verify_(self) -> None:
        if not is_words(self.result.type):
            raise VerifyException(f"a splat is of i32 or f32, not {self.result.type}")
        if not -(1 << 31) <= self.bits.value.data < 1 << 32:
            raise VerifyException(f"bits {self.bits.value.data} are no 32-bit word")


@irdl_op_definition
class HmmaOp(IRDLOperation):
    """16 x 16 x 16 step on the dense tensor core: result = a * b + c, ascending k, f32.

    `layout_a` AROW or ACOL and `layout_b` BROW or BCOL say how fragments sit in lanes.
    """

    name = "dstc_tile.hmma"
    a = operand_def(eq(FRAGMENT))
    b = operand_def(eq(FRAGMENT))
    c = operand_def(eq(ACCUMULATOR))
    layout_a = prop_def(StringAttr)
    layout_b = prop_def(StringAttr)
    result = result_def(eq(ACCUMULATOR))
    traits = traits_def(Pure())
    assembly_format = "$layout_a $layout_b $a `,` $b `,` $c attr-dict"

    def __init__(self, a: SSAValue, b: SSAValue, c: SSAValue, layout_a: str, layout_b: str):
        super().__init__(
            operands=[a, b, c],
            properties={"layout_a": StringAttr(layout_a), "layout_b": StringAttr(layout_b)},
            result_types=[ACCUMULATOR],
        )

    def verify_(self) -> None:
        _check_layouts(self.layout_a, self.layout_b)


@irdl_op_definition
class HmmaStepOp(IRDLOperation):
    """16 x 16 x 4 step on the dense tensor core: `hmma` for one register of each operand.

    A lane's word of `a` holds two of 16 x 4 elements, that of `b` two of 4 x 16 (HMMA's layouts).
    """

    name = "dstc_tile.hmma_step"
    a = operand_def(_I32)
    b = operand_def(_I32)
    c = operand_def(eq(ACCUMULATOR))
    layout_a = prop_def(StringAttr)
    layout_b = prop_def(StringAttr)
    result = result_def(eq(ACCUMULATOR))
    traits = traits_def(Pure())
    assembly_format = "$layout_a $layout_b $a `,` $b `,` $c attr-dict"

    def __init__(self, a: SSAValue, b: SSAValue, c: SSAValue, layout_a: str, layout_b: str):
        super().__init__(
            operands=[a, b, c],
            properties={"layout_a": StringAttr(layout_a), "layout_b": StringAttr(layout_b)},
            result_types=[ACCUMULATOR],
        )

    def verify_(self) -> None:
        _check_layouts(self.layout_a, self.layout_b)


@irdl_op_definition
class HmmaSpOp(IRDLOperation):
    """A 16 x 16 step on the dense tensor core whose one operand is n:m sparse: HMMA.SP.

    `shape` 888 or 8816 (depth 8, 2:4; depth 16, 4:16). `values`: the sparse operand's, `indices`
    where they belong, of which `slice` counts; `dense`: the other operand in HMMA.SP's `layout`.
    The sparse operand is the left one, or with `right` the right one.
    """

    name = "dstc_tile.hmma_sp"
    shape = prop_def(StringAttr)
    layout = prop_def(StringAttr)
    slice = prop_def(IntegerAttr[I64])
    right = opt_prop_def(UnitAttr)
    values = operand_def(_I32)
    indices = operand_def(_I32)
    dense = operand_def(VectorType)
    c = operand_def(eq(ACCUMULATOR))
    result = result_def(eq(ACCUMULATOR))
    traits = traits_def(Pure())
    assembly_format = (
        "(`right` $right^)? $shape $layout $slice `,` $values $indices `,` $dense `,` $c attr-dict "
        "`:` type($dense)"
    )

    def __init__(
        self,
        values: SSAValue,
        indices: SSAValue,
        dense: SSAValue,
        c: SSAValue,
        *,
        shape: str,
        layout: str,
        slice: int,
        right: bool,
    ):
        super().__init__(
            operands=[values, indices, dense, c],
            properties={
                "shape": StringAttr(shape),
                "layout": StringAttr(layout),
                "slice": IntegerAttr(slice, i64),
                "right": UnitAttr() if right else None,
            },
            result_types=[ACCUMULATOR],
        )

    def verify_(self) -> None:
        if self.shape.data not in NM_SHAPES:
            raise VerifyException(f"shape is {' or '.join(NM_SHAPES)}, not {self.shape.data}")
        if self.layout.data not in ("ALONG", "ACROSS"):
            raise VerifyException(f"layout is ALONG or ACROSS, not {self.layout.data}")
        registers = NM_SHAPE.registers[NM_SHAPE.choices.index(self.shape.data)]
        words = VectorType(i32, [registers])
        if self.dense.type != words:
            raise VerifyException(f"shape {self.shape.data} takes {words}, not {self.dense.type}")
        slices = 16 // words.get_shape()[0]
        if not 0 <= self.slice.value.data < slices:
            raise VerifyException(f"slice must be 0 to {slices - 1}, not {self.slice.value.data}")


def _check_layouts(a: StringAttr, b: StringAttr) -> None:
    if a.data not in ("AROW", "ACOL") or b.data not in ("BROW", "BCOL"):
        raise VerifyException("layouts are AROW or ACOL, and BROW or BCOL")


@irdl_op_definition
class LoadValuesOp(IRDLOperation):
    """The condensed f16 values of a tile in global memory, as its header says.

    `address` is that of the values of the tile's row (16-byte aligned) plus 16 bytes a lane;
    `header` (`layout.tile_header`) is the same in all lanes. The values are 64 a register at most;
    the rest of the registers is undefined.
    """

    name = "dstc_tile.load_values"
    address = operand_def(_I32)
    header = operand_def(_I32)
    result = result_def(_VALUES)
    assembly_format = "$address `,` $header attr-dict `:` type($result)"

    def __init__(self, address: SSAValue, header: SSAValue, registers: int = VALUE_REGISTERS):
        super().__init__(operands=[address, header], result_types=[VectorType(i32, [registers])])

    def verify_(self) -> None:
        _verify_values(self.result.type)


@irdl_op_definition
class LoadRunsOp(IRDLOperation):
    """The condensed f16 values of several lanes' runs in global memory, one after the other.

    A lane's run begins at `address`, in slots of 64 bytes: bits 7 to 0 of `counts` tell how many of
    its values lie in that slot, bits 15 to 8 how many there are; the others begin the next slot.
    `lanes`: low (0 to 15), high (16 to 31): 8 registers; all (0, 16, 1, 17, ...): 16. What is left
    of the registers is 0.
    """

    name = "dstc_tile.load_runs"
    lanes = prop_def(LanesAttr)
    address = operand_def(_I32)
    counts = operand_def(_I32)
    result = result_def(_VALUES)
    assembly_format = "$lanes $address `,` $counts attr-dict `:` type($result)"

    def __init__(self, lanes: Lanes, address: SSAValue, counts: SSAValue):
        registers = RUN_REGISTERS[lanes]
        super().__init__(
            operands=[address, counts],
            properties={"lanes": LanesAttr(lanes)},
            result_types=[VectorType(i32, [registers])],
        )

    def verify_(self) -> None:
        want = RUN_REGISTERS[self.lanes.data]
        if self.result.type != VectorType(i32, [want]):
            raise VerifyException(
                f"runs of {self.lanes.data} lanes are {want} registers of i32, not "
                f"{self.result.type}"
            )


class _TileOp(IRDLOperation):
    def _verify_tile(self, tile: IntegerAttr[I64]) -> None:
        if not 0 <= tile.value.data < MAX_ACC_TILES:
            raise VerifyException(f"tile must be 0 to {MAX_ACC_TILES - 1}")


@irdl_op_definition
class SpwmmaOp(_TileOp):
    """One 32 x 32 x 16 warp-tile step of the dual-side unit, into accumulator tile `tile`.

    Operands: condensed values and element bitmaps (word k in lane k, or 16 + k where `high_*`). A
    tile must not have more values than the registers given for them hold. With `window` = 64 a
    64 x 64 x 16 step into the four tiles from `tile` on (row by row), a multiple of 4; word k of
    the low 32 vectors is in lane k of a bitmap, that of the high ones in lane 16 + k.
    """

    name = "dstc_tile.spwmma"
    tile = prop_def(IntegerAttr[I64])
    a = operand_def(_VALUES)
    b = operand_def(_VALUES)
    a_bitmap = operand_def(_I32)
    b_bitmap = operand_def(_I32)
    high_a = opt_prop_def(UnitAttr)
    high_b = opt_prop_def(UnitAttr)
    window = opt_prop_def(IntegerAttr[I64])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$tile `,` $a $a_bitmap `,` $b $b_bitmap attr-dict `:` type($a) `,` type($b)"

    def __init__(
        self,
        tile: int,
        a: SSAValue,
        a_bitmap: SSAValue,
        b: SSAValue,
        b_bitmap: SSAValue,
        *,
        high_a: bool = False,
        high_b: bool = False,
        window: int = TILE_M,
    ):
        super().__init__(
            operands=[a, b, a_bitmap, b_bitmap],
            properties={
                "tile": IntegerAttr(tile, i64),
                "high_a": UnitAttr() if high_a else None,
                "high_b": UnitAttr() if high_b else None,
                "window": None if window == TILE_M else IntegerAttr(window, i64),
            },
        )

    @property
    def vectors(self) -> int:
        """Rows and columns of the step: 32, or 64 with the window of 64."""
        return TILE_M if self.window is None else self.window.value.data

    def verify_(self) -> None:
        self._verify_tile(self.tile)
        _verify_values(self.a.type, self.b.type)
        if self.vectors not in WINDOWS:
            raise VerifyException(f"window must be 32 or 64, not {self.vectors}")
        if self.vectors == TILE_M:
            if VALUE_VECTORS[-1] in (self.a.type, self.b.type):
                raise VerifyException("a tile of 32 vectors has 4 or 8 registers of values")
        elif self.tile.value.data % 4 or self.high_a or self.high_b:
            raise VerifyException("with window 64, tile is a multiple of 4, and no half is chosen")


@irdl_op_definition
class AccClearOp(_TileOp):
    """Accumulator tile = 0."""

    name = "dstc_tile.acc_clear"
    tile = prop_def(IntegerAttr[I64])
    assembly_format = "$tile attr-dict"

    def __init__(self, tile: int):
        super().__init__(properties={"tile": IntegerAttr(tile, i64)})

    def verify_(self) -> None:
        self._verify_tile(self.tile)


@irdl_op_definition
class AccReadOp(_TileOp):
    """Rows 8p..8p+7 of an accumulator tile, lane = column; `transposed`: columns, lane = row."""

    name = "dstc_tile.acc_read"
    tile = prop_def(IntegerAttr[I64])
    part = prop_def(IntegerAttr[I64])
    transposed = opt_prop_def(UnitAttr)
    result = result_def(eq(ACCUMULATOR))
    assembly_format = "$tile `,` $part (`transposed` $transposed^)? attr-dict"

    def __init__(self, tile: int, part: int, *, transposed: bool = False):
        super().__init__(
            properties={
                "tile": IntegerAttr(tile, i64),
                "part": IntegerAttr(part, i64),
                "transposed": UnitAttr() if transposed else None,
            },
            result_types=[ACCUMULATOR],
        )

    def verify_(self) -> None:
        self._verify_tile(self.tile)
        if not 0 <= self.part.value.data < 4:
            raise VerifyException("part must be 0 to 3")


def is_bool(type_: Attribute) -> bool:
    """The type is i1."""
    return isinstance(type_, IntegerType) and type_ == i1


DSTC_TILE = Dialect(
    "dstc_tile",
    [
        KernelOp, ReturnOp, LaunchOp, IdOp, LoadOp, StoreOp, PrefetchOp, AtomicOrOp, AtomicAddOp,
        BarrierOp, FenceOp, BallotOp, ShuffleOp, PopulationCountOp, FunnelOp, MufuOp, PackOp,
        UnpackOp, ExtractOp, CombineOp, HalvesOp, SplatOp, HmmaOp, HmmaStepOp, HmmaSpOp,
        LoadValuesOp, LoadRunsOp, SpwmmaOp, AccClearOp, AccReadOp,
    ],
    [IdAttr, SpecialAttr, SpaceAttr, LanesAttr],
)  # fmt: skip
