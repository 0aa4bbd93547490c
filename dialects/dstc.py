"""The `dstc` dialect: model-level ops and sparse tensors as values (levels 1 and 2 of the IR).

In: xDSL's irdl and the storage layouts. Out: the types `!dstc.bitmap`, `#dstc.schedule`, and the
ops from `dstc.conv2d` and `dstc.matmul` to `dstc.encode`, each with its verifier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    AnyFloat,
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    Float16Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    UnitAttr,
    f16,
    f64,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import (
    Attribute,
    Dialect,
    Operation,
    ParametrizedAttribute,
    SpacedOpaqueSyntaxAttribute,
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
    opt_operand_def,
    opt_prop_def,
    param_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa
from xdsl.utils.str_enum import StrEnum

from ..backend.isa.layout import NM_BLOCK_LINES, PITCH_ALIGN, BitmapLayout, NmLayout, ceil_div
from ..backend.isa.table import TILE_M, WINDOWS
from ..runtime.nm_format import PATTERNS, Pattern
from .conv_window import ConvWindow, WindowAttr
from .dstc_pointwise import POINTWISE_OPS
from .image_type import ImageType
from .provenance import locate
from .tiles import piece_tiles, pieces_of, warps_of


class Side(StrEnum):
    """Which operand of a product a bitmap encodes: vectors along M (a) or along N (b)."""

    A = "a"
    B = "b"


class Engine(StrEnum):
    """The tensor unit mode that a product runs on."""

    DENSE = "dense"
    NM = "nm"
    DUAL = "dual"


class Activation(StrEnum):
    """What an epilogue applies after the bias."""

    NONE = "none"
    RELU = "relu"


class PoolKind(StrEnum):
    """Pooling reductions."""

    MAX = "max"
    AVERAGE = "average"


@irdl_attr_definition
class ActivationAttr(EnumAttribute[Activation], SpacedOpaqueSyntaxAttribute):
    """`#dstc<activation relu>`."""

    name = "dstc.activation"


@irdl_attr_definition
class PoolKindAttr(EnumAttribute[PoolKind], SpacedOpaqueSyntaxAttribute):
    """`#dstc<pool max>`."""

    name = "dstc.pool"


def _verify_window(window: int) -> None:
    if window not in WINDOWS:
        raise VerifyException(f"window must be 32 or 64, not {window}")


def _parse_matrix(parser: AttrParser) -> tuple[list[int], Attribute]:
    """`64x288xf16,`: dimensions and element type of a matrix."""
    dims = parser.parse_dimension_list()
    parser.parse_shape_delimiter()
    element = parser.parse_type()
    parser.parse_punctuation(",")
    return dims, element


@irdl_attr_definition
class BitmapType(ParametrizedAttribute, TypeAttribute):
    """`!dstc.bitmap<64x288xf16, a>`: a matrix as two-level bitmap and condensed values.

    Side a: M x K, vectors along M. Side b: K x N, vectors along N. Stored as `BitmapLayout`.
    Vectors condense over 32 rows or columns, with `<64x288xf16, a, window = 64>` over 64.
    """

    name = "dstc.bitmap"

    rows: IntegerAttr[I64] = param_def()
    columns: IntegerAttr[I64] = param_def()
    element_type: Float16Type = param_def(base(Float16Type))
    side: StringAttr = param_def(base(StringAttr))
    window: IntegerAttr[I64] = param_def()

    @staticmethod
    def of(rows: int, columns: int, side: Side, window: int = TILE_M) -> BitmapType:
        """The bitmap type of a `rows` x `columns` f16 matrix."""
        sizes = IntegerAttr(rows, i64), IntegerAttr(columns, i64)
        return BitmapType(*sizes, f16, StringAttr(side), IntegerAttr(window, i64))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the matrix."""
        return self.rows.value.data, self.columns.value.data

    @property
    def layout(self) -> BitmapLayout:
        """Storage on the device."""
        vectors, depth = self.shape if self.side.data == "a" else self.shape[::-1]
        return BitmapLayout(vectors, depth, self.window.value.data)

    def verify(self) -> None:
        """The side is a or b, the shape is positive."""
        if self.side.data not in ("a", "b"):
            raise VerifyException(f"bitmap side must be a or b, not {self.side.data}")
        if min(self.shape) < 1:
            raise VerifyException(f"bitmap shape must be positive, not {self.shape}")
        _verify_window(self.window.value.data)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """`<64x288xf16, a[, window = 64]>`."""
        with parser.in_angle_brackets():
            dims, element = _parse_matrix(parser)
            side = parser.parse_identifier()
            window = TILE_M
            if parser.parse_optional_punctuation(",") is not None:
                parser.parse_keyword("window")
                parser.parse_punctuation("=")
                window = parser.parse_integer()
        if len(dims) != 2:
            parser.raise_error("a bitmap has two dimensions: !dstc.bitmap<MxKxf16, a>")
        return (
            IntegerAttr(dims[0], i64),
            IntegerAttr(dims[1], i64),
            element,
            StringAttr(side),
            IntegerAttr(window, i64),
        )

    def print_parameters(self, printer: Printer) -> None:
        """`<64x288xf16, a[, window = 64]>`."""
        rows, columns = self.shape
        printer.print_string(f"<{rows}x{columns}x")
        printer.print_attribute(self.element_type)
        window = self.window.value.data
        suffix = f", window = {window}" if window != TILE_M else ""
        printer.print_string(f", {self.side.data}{suffix}>")


@irdl_attr_definition
class NmType(ParametrizedAttribute, TypeAttribute):
    """`!dstc.nm<64x288xf16, 2:4, a>`: a matrix of which at most 2 of each 4 along K are not zero.

    Side a: M x K, groups within rows. Side b: K x N, groups within columns. Stored as `NmLayout`.
    """

    name = "dstc.nm"

    rows: IntegerAttr[I64] = param_def()
    columns: IntegerAttr[I64] = param_def()
    element_type: Float16Type = param_def(base(Float16Type))
    n: IntegerAttr[I64] = param_def()
    m: IntegerAttr[I64] = param_def()
    side: StringAttr = param_def(base(StringAttr))

    @staticmethod
    def of(rows: int, columns: int, pattern: Pattern, side: Side) -> NmType:
        """The n:m type of a `rows` x `columns` f16 matrix."""
        r, c, n, m = (IntegerAttr(v, i64) for v in (rows, columns, pattern.n, pattern.m))
        return NmType(r, c, f16, n, m, StringAttr(side))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the matrix."""
        return self.rows.value.data, self.columns.value.data

    @property
    def pattern(self) -> Pattern:
        """n:m."""
        return Pattern(self.n.value.data, self.m.value.data)

    @property
    def layout(self) -> NmLayout:
        """Storage on the device."""
        rows, columns = self.shape
        return self.pattern.layout(*(self.shape if self.side.data == "a" else (columns, rows)))

    def verify(self) -> None:
        """The side is a or b, the shape is positive, HMMA.SP has the pattern."""
        if self.side.data not in ("a", "b"):
            raise VerifyException(f"n:m side must be a or b, not {self.side.data}")
        if min(self.shape) < 1:
            raise VerifyException(f"n:m shape must be positive, not {self.shape}")
        if self.pattern not in PATTERNS:
            known = " or ".join(map(str, PATTERNS))
            raise VerifyException(f"pattern must be {known}, not {self.pattern}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """`<64x288xf16, 2:4, a>`."""
        with parser.in_angle_brackets():
            dims, element = _parse_matrix(parser)
            n = parser.parse_integer()
            parser.parse_punctuation(":")
            m = parser.parse_integer()
            parser.parse_punctuation(",")
            side = parser.parse_identifier()
        if len(dims) != 2:
            parser.raise_error("an n:m operand has two dimensions: !dstc.nm<MxKxf16, 2:4, a>")
        return (*(IntegerAttr(v, i64) for v in dims), element, IntegerAttr(n, i64),
                IntegerAttr(m, i64), StringAttr(side))  # fmt: skip

    def print_parameters(self, printer: Printer) -> None:
        """`<64x288xf16, 2:4, a>`."""
        rows, columns = self.shape
        printer.print_string(f"<{rows}x{columns}x")
        printer.print_attribute(self.element_type)
        printer.print_string(f", {self.pattern}, {self.side.data}>")


_TILE_UNITS = {Engine.DENSE: 16, Engine.NM: 32, Engine.DUAL: 32}
"""Warp tiles are multiples of this, on each engine."""


@irdl_attr_definition
class ScheduleAttr(ParametrizedAttribute):
    """How a product runs: `#dstc.schedule<dual, cta = 128x128, warp = 64x64, stages = 2, swap>`.

    `cta` and `warp` are M x N tile sizes in elements, `stages` the depth of the operand pipeline.
    With `swap` the right operand takes the 8-side of the outer product and the left the 16-side;
    on the n:m engine the right operand is the sparse one, else the left.
    With `split = s` s CTAs share an output tile: each accumulates one part of K
    (`layout.split_ranges`) from zero, and the parts are added in ascending order.
    With `window = 64` (dual engine) operands condense over 64 vectors and not 32.
    With `ctas = n` (dual engine) n CTAs take the output tiles in turn, not one CTA each; with
    `cut = t` the last t tiles are cut into smaller ones (`pieces`), which go first and last.
    With `skip` (dual engine) warps read the warp-bitmaps and take only those steps along K where
    neither side is empty.
    """

    name = "dstc.schedule"

    engine: StringAttr = param_def(base(StringAttr))
    cta: DenseArrayBase[I64] = param_def()
    warp: DenseArrayBase[I64] = param_def()
    stages: IntegerAttr[I64] = param_def()
    swap: BoolAttr = param_def()
    split: IntegerAttr[I64] = param_def()
    window: IntegerAttr[I64] = param_def()
    ctas: IntegerAttr[I64] = param_def()
    cut: IntegerAttr[I64] = param_def()
    skip: BoolAttr = param_def()

    @staticmethod
    def of(
        engine: Engine,
        cta: tuple[int, int],
        warp: tuple[int, int],
        stages: int,
        swap: bool = False,
        split: int = 1,
        window: int = TILE_M,
        ctas: int = 0,
        cut: int = 0,
        skip: bool = False,
    ) -> ScheduleAttr:
        """A schedule from plain values."""
        return ScheduleAttr(
            StringAttr(engine),
            DenseArrayBase.from_list(i64, cta),
            DenseArrayBase.from_list(i64, warp),
            IntegerAttr(stages, i64),
            BoolAttr.from_bool(swap),
            IntegerAttr(split, i64),
            IntegerAttr(window, i64),
            IntegerAttr(ctas, i64),
            IntegerAttr(cut, i64),
            BoolAttr.from_bool(skip),
        )

    @property
    def cta_tile(self) -> tuple[int, int]:
        """(M, N) of a CTA's tile."""
        m, n = self.cta.iter_values()
        return int(m), int(n)

    @property
    def warp_tile(self) -> tuple[int, int]:
        """(M, N) of a warp's tile."""
        m, n = self.warp.iter_values()
        return int(m), int(n)

    @property
    def warps(self) -> int:
        """Warps of a CTA."""
        return warps_of(self.cta_tile, self.warp_tile)

    @property
    def swapped(self) -> bool:
        """The right operand takes the 8-side."""
        return bool(self.swap.value.data)

    @property
    def parts(self) -> int:
        """Parts of K that are accumulated apart."""
        return self.split.value.data

    @property
    def vectors(self) -> int:
        """Vectors that operands condense over."""
        return self.window.value.data

    @property
    def persistent(self) -> int:
        """CTAs that take tiles in turn; 0: a CTA a tile."""
        return self.ctas.value.data

    @property
    def cut_tiles(self) -> int:
        """Tiles that are cut into smaller ones."""
        return self.cut.value.data

    @property
    def skips(self) -> bool:
        """Steps that are empty on either side are left out."""
        return bool(self.skip.value.data)

    @property
    def pieces(self) -> tuple[int, int]:
        """Smaller tiles, along M and N, that one is cut into."""
        return pieces_of(self.warp_tile, self.vectors)

    @property
    def cut_schedule(self) -> ScheduleAttr:
        """The schedule of smaller tiles."""
        return ScheduleAttr.of(
            Engine.DUAL,
            *piece_tiles(self.cta_tile, self.warp_tile, self.vectors),
            self.stages.value.data,
            self.swapped,
            window=self.vectors,
        )

    def encodes(self, result: BitmapType) -> bool:
        """Whether a warp's tile is whole tiles of `result`, so that it can be written encoded."""
        window = result.layout.window
        whole = self.warp_tile[0 if result.side.data == Side.A else 1] % window == 0
        return whole and (not self.cut_tiles or self.cut_schedule.encodes(result))

    def accumulator_tile(self, row: int, column: int) -> int:
        """Number of the accumulator tile of 32x32 block (row, column) of a warp's tile.

        Steps of a window take consecutive tiles, in the order that SPWMMA's side A and B have.
        """
        blocks = self.vectors // TILE_M
        columns = self.warp_tile[1] // self.vectors
        step = row // blocks * columns + column // blocks
        within = (row % blocks, column % blocks)
        a, b = reversed(within) if self.swapped else within
        return (step * blocks + a) * blocks + b

    def verify(self) -> None:
        """Tiles nest and fit the units."""
        if self.engine.data not in tuple(Engine):
            raise VerifyException(
                f"schedule engine must be one of {', '.join(Engine)}, not {self.engine.data}"
            )
        dual, nm = self.engine.data == Engine.DUAL, self.engine.data == Engine.NM
        unit = self.vectors if dual else _TILE_UNITS[Engine(self.engine.data)]
        _verify_window(self.vectors)
        if self.vectors != TILE_M and not dual:
            raise VerifyException("window is for the dual engine")
        for what, c, w in zip("MN", self.cta_tile, self.warp_tile, strict=True):
            if w < unit or w % unit:
                raise VerifyException(f"warp tile {what} must be a multiple of {unit}, not {w}")
            if c % w:
                raise VerifyException(f"CTA tile {what} {c} is no multiple of the warp tile's {w}")
            if nm and (c % NM_BLOCK_LINES or (w > unit and w % NM_BLOCK_LINES)):
                raise VerifyException(
                    f"the nm engine's tiles are whole {NM_BLOCK_LINES}s, but for a warp's of "
                    f"{unit}, not {what} {c} and {w}"
                )
        if self.warps > 32:
            raise VerifyException(f"a CTA has at most 32 warps, not {self.warps}")
        if not 2 <= self.stages.value.data <= 8:
            raise VerifyException(f"stages must be 2 to 8, not {self.stages.value.data}")
        if self.parts < 1:
            raise VerifyException(f"split must be 1 or more, not {self.parts}")
        if nm and (self.parts > 1 or self.stages.value.data != 2):
            raise VerifyException("the nm engine has 2 stages, and no split")
        if self.persistent and (not dual or self.parts > 1 or self.persistent < 0):
            raise VerifyException(
                f"ctas is for the dual engine without split, and positive, not {self.persistent}"
            )
        if self.skips and (not dual or self.parts > 1 or self.persistent):
            raise VerifyException("skip is for the dual engine without split and ctas")
        if self.cut_tiles and (not self.persistent or self.cut_tiles < 0):
            raise VerifyException(f"cut needs ctas, and is positive, not {self.cut_tiles}")
        if self.cut_tiles and self.pieces == (1, 1):
            raise VerifyException(
                f"cut needs warp tiles of {2 * self.vectors} or more along M or N"
            )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """`<dual, cta = 128x128, warp = 64x64, stages = 2[, swap][, skip][, split = 4]...>`."""

        def pair(key: str) -> DenseArrayBase[I64]:
            parser.parse_punctuation(",")
            parser.parse_keyword(key)
            parser.parse_punctuation("=")
            dims = parser.parse_dimension_list()
            if len(dims) != 2:
                parser.raise_error(f"{key} is MxN")
            return DenseArrayBase.from_list(i64, dims)

        with parser.in_angle_brackets():
            engine = StringAttr(parser.parse_identifier())
            cta, warp = pair("cta"), pair("warp")
            parser.parse_punctuation(",")
            parser.parse_keyword("stages")
            parser.parse_punctuation("=")
            stages = IntegerAttr(parser.parse_integer(), i64)
            flags = {"swap": False, "skip": False}
            numbers = {"split": 1, "window": TILE_M, "ctas": 0, "cut": 0}
            while parser.parse_optional_punctuation(",") is not None:
                flag = next(filter(parser.parse_optional_keyword, flags), None)
                if flag is not None:
                    flags[flag] = True
                    continue
                key = parser.expect(
                    lambda: next(filter(parser.parse_optional_keyword, numbers), None),
                    f"expected {', '.join((*flags, *numbers))}",
                )
                parser.parse_punctuation("=")
                numbers[key] = parser.parse_integer()
        last = (IntegerAttr(n, i64) for n in numbers.values())
        swap, skip = (BoolAttr.from_bool(flag) for flag in flags.values())
        return engine, cta, warp, stages, swap, *last, skip

    def print_parameters(self, printer: Printer) -> None:
        """`<dual, cta = 128x128, warp = 64x64, stages = 2[, swap][, skip][, split = 4]...>`."""
        (cm, cn), (wm, wn) = self.cta_tile, self.warp_tile
        printer.print_string(
            f"<{self.engine.data}, cta = {cm}x{cn}, warp = {wm}x{wn}, "
            f"stages = {self.stages.value.data}{', swap' if self.swapped else ''}"
            f"{', skip' if self.skips else ''}"
            f"{f', split = {self.parts}' if self.parts > 1 else ''}"
            f"{f', window = {self.vectors}' if self.vectors != TILE_M else ''}"
            f"{f', ctas = {self.persistent}' if self.persistent else ''}"
            f"{f', cut = {self.cut_tiles}' if self.cut_tiles else ''}>"
        )


OCCUPIED_VECTORS = (32, 64, 128)
"""Neighbouring rows or columns of an operand that `dstc.matmul` has facts of."""


def occupied_attr(shares: Sequence[float] | None) -> DenseArrayBase[Float64Type] | None:
    """Facts of an operand as an attribute."""
    return None if shares is None else DenseArrayBase.from_list(f64, list(shares))


def _ints(values: Sequence[int]) -> DenseArrayBase[I64]:
    return DenseArrayBase.from_list(i64, list(values))


def int_values(attr: DenseArrayBase[I64]) -> tuple[int, ...]:
    """The integers of an `array<i64: ...>`."""
    return tuple(int(v) for v in attr.iter_values())


def matrix_shape(type_: Attribute) -> tuple[int, ...]:
    """Shape of a tensor, bitmap, n:m or encoded image type."""
    if isinstance(type_, BitmapType | NmType | ImageType):
        return type_.shape
    assert isinstance(type_, TensorType)
    return type_.get_shape()


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise VerifyException(message)


def _dims(shape: Sequence[int]) -> str:
    return "x".join(str(d) for d in shape)


def window_output(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, int]:
    """(OH, OW) of a sliding window; pads are top, left, bottom, right."""
    out = tuple(
        (size[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i in (0, 1)
    )
    return out[0], out[1]


def _check_window(
    kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> None:
    """A sliding window's numbers: two each, four pads; all but the pads positive."""
    for what, values, n, least in (
        ("kernel", kernel, 2, 1),
        ("strides", strides, 2, 1),
        ("pads", pads, 4, 0),
        ("dilations", dilations, 2, 1),
    ):
        _expect(len(values) == n, f"{what} must have {n} values, not {len(values)}")
        _expect(
            min(values) >= least,
            f"{what} must be {'positive' if least else 'non-negative'}, not {list(values)}",
        )


def _check_groups(groups: int, filters: int, channels: int) -> None:
    _expect(groups >= 1, f"groups must be positive, not {groups}")
    for what, count in (("filters", filters), ("channels", channels)):
        _expect(count % groups == 0, f"{count} {what} do not fall into {groups} groups")


def _check_residual(residual: SSAValue | None, result: Sequence[int]) -> None:
    if residual is not None:
        shape = matrix_shape(residual.type)
        _expect(shape == tuple(result), f"residual must be {_dims(result)}, not {_dims(shape)}")


_TENSOR = base(TensorType)
_ENCODED = base(BitmapType) | base(NmType) | base(ImageType)
_MATRIX = base(TensorType) | _ENCODED


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A named constant (weight, bias); its values live in the `ConstantPool`, not in the IR."""

    name = "dstc.constant"
    constant = prop_def(StringAttr)
    density = opt_prop_def(FloatAttr)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$constant attr-dict `:` type($result)"

    def __init__(self, constant: str, type_: Attribute):
        super().__init__(properties={"constant": StringAttr(constant)}, result_types=[type_])


@irdl_op_definition
class Conv2dOp(IRDLOperation):
    """2-D convolution, NCHW, with fused bias (one a filter), residual and activation.

    x: N x C x H x W, w: K x C x R x S, result: N x K x OH x OW. pads: top, left, bottom, right. A
    residual has the result's shape; it is added after the bias, before the activation. With
    `groups = G` channels and filters fall into G groups, and w is K x C/G x R x S. With `spread`
    x is spread out before, zeros between its rows and columns (a transposed convolution's stride).
    """

    name = "dstc.conv2d"
    x = operand_def(_TENSOR)
    w = operand_def(_TENSOR)
    bias = opt_operand_def(_TENSOR)
    residual = opt_operand_def(_TENSOR)
    strides: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    pads: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    dilations: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    spread: DenseArrayBase[I64] | None = opt_prop_def(DenseArrayBase.constr(i64))
    groups: IntegerAttr[I64] | None = opt_prop_def(IntegerAttr[I64])
    activation = opt_prop_def(ActivationAttr)
    a_density = opt_prop_def(FloatAttr)
    b_density = opt_prop_def(FloatAttr)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format = (
        "$x `,` $w (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)? attr-dict `:` "
        "type($x) `,` type($w) (`,` type($bias)^)? (`+` type($residual)^)? `->` type($result)"
    )

    def __init__(
        self,
        x: SSAValue,
        w: SSAValue,
        bias: SSAValue | None,
        result_type: Attribute,
        *,
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        spread: Sequence[int] = (1, 1),
        groups: int = 1,
        activation: Activation = Activation.NONE,
        residual: SSAValue | None = None,
    ):
        super().__init__(
            operands=[x, w, bias, residual],
            properties={
                "strides": _ints(strides),
                "pads": _ints(pads),
                "dilations": _ints(dilations),
                "spread": None if tuple(spread) == (1, 1) else _ints(spread),
                "groups": None if groups == 1 else IntegerAttr(groups, i64),
                "activation": ActivationAttr(activation) if activation != "none" else None,
            },
            result_types=[result_type],
        )

    @property
    def window(self) -> ConvWindow:
        """How the filter moves."""
        return ConvWindow(
            matrix_shape(self.w.type)[2:],
            int_values(self.strides),
            int_values(self.pads),
            int_values(self.dilations),
            (1, 1) if self.spread is None else int_values(self.spread),
        )

    @property
    def group_count(self) -> int:
        """Groups of channels and filters."""
        return 1 if self.groups is None else self.groups.value.data

    def verify_(self) -> None:
        xs, ws, rs = (matrix_shape(v.type) for v in (self.x, self.w, self.result))
        for what, shape in (("input", xs), ("filter", ws), ("result", rs)):
            _expect(len(shape) == 4, f"{what} must have 4 dimensions, not {len(shape)}")
        self.window.check()
        groups = self.group_count
        _check_groups(groups, ws[0], xs[1])
        channels = xs[1] // groups
        _expect(
            ws[1] == channels,
            f"filter has {ws[1]} channels, but the input has {channels} channels"
            + (" a group" if groups > 1 else ""),
        )
        want = (xs[0], ws[0], *self.window.output(xs[2:]))
        _expect(rs == want, f"result must be {_dims(want)}, not {_dims(rs)}")
        if self.bias is not None:
            bs = matrix_shape(self.bias.type)
            _expect(bs == (ws[0],), f"bias must be {ws[0]} long, not {_dims(bs)}")
        _check_residual(self.residual, rs)


@irdl_op_definition
class MatmulOp(IRDLOperation):
    """lhs (M x K) times rhs (K x N), f32 accumulation in ascending k, with a fused epilogue.

    Epilogue: + bias (along m or n), + residual (of the result's shape), each in f32, activation,
    rounding to the result's element type. With
    `image = [N, H, W]` the columns are the pixels of N images and the result is N x M x H x W.
    With `trans_a` the lhs is stored K x M, with `trans_b` the rhs N x K; a bitmap never is.
    On the dual engine the result can be a bitmap, of either side, for the next product.
    With `window` the rhs is an image, N x C x H x W, and stands for its lowered matrix: rows by
    (channel, kernel row, kernel column), a column a pixel; `image` is there. With `groups = G` the
    rows of lhs and the channels fall into G groups, each a product of its own.
    `a_pattern`, `b_pattern`: the n:m pattern that the operand keeps along K, "2:4" or "4:16".
    `a_occupied`, `b_occupied`: for each of `OCCUPIED_VECTORS` neighbouring rows (columns), at which
    share of the steps of 16 along K they are not all zero; where it is not as for random zeros.
    With `batch = b` these are b products on the dense engine: the matrices of each operand, and
    of the result, stand one below the other, each of whole blocks of 32 rows.
    """

    name = "dstc.matmul"
    lhs = operand_def(_MATRIX)
    rhs = operand_def(_MATRIX)
    bias = opt_operand_def(_TENSOR)
    residual = opt_operand_def(_TENSOR)
    bias_along = opt_prop_def(StringAttr)
    activation = opt_prop_def(ActivationAttr)
    image: DenseArrayBase[I64] | None = opt_prop_def(DenseArrayBase.constr(i64))
    a_density = opt_prop_def(FloatAttr)
    b_density = opt_prop_def(FloatAttr)
    a_pattern = opt_prop_def(StringAttr)
    b_pattern = opt_prop_def(StringAttr)
    a_occupied: DenseArrayBase[Float64Type] | None = opt_prop_def(DenseArrayBase.constr(f64))
    b_occupied: DenseArrayBase[Float64Type] | None = opt_prop_def(DenseArrayBase.constr(f64))
    schedule = opt_prop_def(ScheduleAttr)
    trans_a = opt_prop_def(UnitAttr)
    trans_b = opt_prop_def(UnitAttr)
    batch = opt_prop_def(IntegerAttr[I64])
    window = opt_prop_def(WindowAttr)
    groups: IntegerAttr[I64] | None = opt_prop_def(IntegerAttr[I64])
    result = result_def(_MATRIX)
    traits = traits_def(Pure())
    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format = (
        "$lhs `,` $rhs (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)? attr-dict `:` "
        "type($lhs) `,` type($rhs) (`,` type($bias)^)? (`+` type($residual)^)? "
        "`->` type($result)"
    )

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        bias: SSAValue | None,
        result_type: Attribute,
        *,
        bias_along: str = "n",
        activation: Activation = Activation.NONE,
        image: Sequence[int] | None = None,
        schedule: ScheduleAttr | None = None,
        a_density: FloatAttr | None = None,
        b_density: FloatAttr | None = None,
        a_pattern: str | None = None,
        b_pattern: str | None = None,
        trans_a: bool = False,
        trans_b: bool = False,
        residual: SSAValue | None = None,
        occupied: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None),
        batch: int = 1,
        window: ConvWindow | None = None,
        groups: int = 1,
    ):
        super().__init__(
            operands=[lhs, rhs, bias, residual],
            properties={
                "batch": IntegerAttr(batch, i64) if batch > 1 else None,
                "bias_along": StringAttr(bias_along) if bias is not None else None,
                "activation": ActivationAttr(activation) if activation != "none" else None,
                "image": None if image is None else _ints(image),
                "schedule": schedule,
                "a_density": a_density,
                "b_density": b_density,
                "a_pattern": None if a_pattern is None else StringAttr(a_pattern),
                "b_pattern": None if b_pattern is None else StringAttr(b_pattern),
                "a_occupied": occupied_attr(occupied[0]),
                "b_occupied": occupied_attr(occupied[1]),
                "trans_a": UnitAttr() if trans_a else None,
                "trans_b": UnitAttr() if trans_b else None,
                "window": None if window is None else WindowAttr.of(window),
                "groups": None if groups == 1 else IntegerAttr(groups, i64),
            },
            result_types=[result_type],
        )

    @property
    def densities(self) -> tuple[float, float]:
        """Shares of the operands that are not zero (0 to 1); 1 where nothing is known."""
        a, b = (1.0 if d is None else float(d.value.data) for d in (self.a_density, self.b_density))
        return a, b

    @property
    def occupied(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """`a_occupied` and `b_occupied` as plain values."""
        a, b = (
            None if found is None else tuple(float(v) for v in found.iter_values())
            for found in (self.a_occupied, self.b_occupied)
        )
        return a, b

    @property
    def transposed(self) -> tuple[bool, bool]:
        """(lhs is stored K x M, rhs is stored N x K)."""
        return self.trans_a is not None, self.trans_b is not None

    @property
    def matrices(self) -> int:
        """How many products of a batch these are."""
        return 1 if self.batch is None else self.batch.value.data

    @property
    def group_count(self) -> int:
        """Products that differ in nothing but their operands' rows."""
        return 1 if self.groups is None else self.groups.value.data

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(M, N, K) of one product of the batch, or of one group."""
        ls, rs = matrix_shape(self.lhs.type), matrix_shape(self.rhs.type)
        ls, rs = (ls[0] // self.matrices, ls[1]), (rs[0] // self.matrices, *rs[1:])
        (m, k) = reversed(ls) if self.trans_a is not None else ls
        if self.window is not None:
            oh, ow = self.window.window.output(rs[2:])
            return m // self.group_count, rs[0] * oh * ow, k
        return m, rs[0 if self.trans_b is not None else 1], k

    @property
    def extents(self) -> tuple[int, int, int]:
        """(M, N, K) of what is computed: of an encoded image, pixels beyond its rows' ends too."""
        m, n, k = self.sizes
        return m, self.rhs.type.layout.computed if isinstance(self.rhs.type, ImageType) else n, k

    @property
    def total_sizes(self) -> tuple[int, int, int]:
        """(M, N, K) of all products of a batch as one with that many rows."""
        m, n, k = self.sizes
        return self.matrices * m, n, k

    @property
    def relu(self) -> bool:
        """A ReLU is fused."""
        return self.activation is not None and self.activation.data == Activation.RELU

    def _one(self, shape: tuple[int, ...], what: str) -> tuple[int, ...]:
        """Shape of one of an operand's matrices."""
        count = self.matrices
        if self.batch is None:
            return shape
        whole = shape[0] % (count * PITCH_ALIGN) == 0
        _expect(whole, f"{what} must have {count} times whole blocks of {PITCH_ALIGN} rows")
        dense = self.schedule is None or self.schedule.engine.data == Engine.DENSE
        single = self.schedule is None or self.schedule.parts == 1
        _expect(dense and single, "a batch is for the dense engine, without split")
        return shape[0] // count, shape[1]

    def verify_(self) -> None:
        ls, rs = matrix_shape(self.lhs.type), matrix_shape(self.rhs.type)
        self._verify_window(ls, rs)
        if self.window is not None:
            oh, ow = self.window.window.output(rs[2:])
            depth = rs[1] // self.group_count * self.window.window.taps
            rs = (depth, rs[0] * oh * ow)
        _expect(len(ls) == 2 and len(rs) == 2, "operands must be matrices")
        ls, rs = self._one(ls, "lhs"), self._one(rs, "rhs")
        trans_a, trans_b = self.transposed
        left, right = (0, "rows") if trans_a else (1, "columns"), (1, "columns")
        right = right if trans_b else (0, "rows")
        _expect(
            ls[left[0]] == rs[right[0]],
            f"lhs has {ls[left[0]]} {left[1]}, but rhs has {rs[right[0]]} {right[1]}",
        )
        for what, v, side, trans in (
            ("lhs", self.lhs, "a", trans_a),
            ("rhs", self.rhs, "b", trans_b),
        ):
            if isinstance(v.type, BitmapType | NmType):
                form = "a bitmap" if isinstance(v.type, BitmapType) else "an n:m operand"
                _expect(not trans, f"{form} is not transposed: remove trans_{side}")
                _expect(v.type.side.data == side, f"{what} must be {form} of side {side}")
            if isinstance(v.type, BitmapType):
                own = v.type.layout.window
                window = own if self.schedule is None else self.schedule.vectors
                _expect(own == window, f"{what} has window {own}, but the schedule {window}")
        for shares in self.occupied:
            if shares is not None and (
                len(shares) != len(OCCUPIED_VECTORS) or not all(0 <= v <= 1 for v in shares)
            ):
                raise VerifyException(
                    f"occupied is a share (0 to 1) for each of {OCCUPIED_VECTORS} vectors, "
                    f"not {shares}"
                )
        for pattern in (self.a_pattern, self.b_pattern):
            known = [str(p) for p in PATTERNS]
            _expect(
                pattern is None or pattern.data in known,
                f"a pattern is {' or '.join(known)}, not {pattern}",
            )
        m, n, _ = self.sizes
        m *= self.group_count
        want: tuple[int, ...] = (m, n)
        if self.image is not None:
            images, h, w = int_values(self.image)
            _expect(images * h * w == n, f"image {images}x{h}x{w} has not the {n} columns of rhs")
            want = (images, m, h, w)
        got = matrix_shape(self.result.type)
        if self.batch is not None:
            _expect(self.image is None, "a batch has no image")
            want = (self.matrices * m, n)
        _expect(got == want, f"result must be {_dims(want)}, not {_dims(got)}")
        if self.bias is not None:
            _expect(
                self.bias_along is not None and self.bias_along.data in ("m", "n"),
                "a bias needs bias_along = m or n",
            )
            assert self.bias_along is not None
            size = self.matrices * m if self.bias_along.data == "m" else n
            bs = matrix_shape(self.bias.type)
            _expect(bs == (size,), f"bias must be {size} long, not {_dims(bs)}")
        _check_residual(self.residual, got)
        bitmaps = [isinstance(v.type, BitmapType | ImageType) for v in (self.lhs, self.rhs)]
        if self.schedule is not None:
            dual = self.schedule.engine.data == Engine.DUAL
            _expect(dual or not any(bitmaps), "only the dual engine takes bitmap operands")
            sparse = [isinstance(v.type, NmType) for v in (self.lhs, self.rhs)]
            nm = self.schedule.engine.data == Engine.NM
            _expect(nm or not any(sparse), "only the nm engine takes n:m operands")
            if any(sparse):
                _expect(
                    sparse == [not self.schedule.swapped, self.schedule.swapped],
                    "the nm engine takes one n:m operand: the left, or with swap the right",
                )
        if isinstance(self.result.type, ImageType):
            windows = self.image is not None and self.window is not None
            _expect(windows, "an encoded image is the result of a product on windows")
            nm = self.schedule is not None and self.schedule.engine.data == Engine.NM
            _expect(not nm, "the nm engine does not write an encoded image")
        if isinstance(self.result.type, BitmapType):
            dual = self.schedule is not None and self.schedule.engine.data == Engine.DUAL
            _expect(dual, "only the dual engine writes a bitmap")
            _expect(self.image is None, "an image cannot be a bitmap")
            assert self.schedule is not None
            window = self.result.type.layout.window
            whole = self.schedule.encodes(self.result.type)
            _expect(whole, f"the warp tile is not whole windows of {window} of the result")

    def _verify_window(self, lhs: Sequence[int], rhs: Sequence[int]) -> None:
        """A product on windows is on an image, and gives one; only it has groups."""
        if self.window is None:
            _expect(self.groups is None, "groups are for products on windows of an image")
            _expect(len(rhs) == 2, "an image is multiplied with a window")
            return
        _expect(len(lhs) == 2, "lhs must be a matrix")
        _expect(len(rhs) == 4, f"rhs must be an image of 4 dimensions, not {len(rhs)}")
        _expect(not any(self.transposed), "a product on windows takes no transposed operands")
        if isinstance(self.rhs.type, ImageType):
            same = self.rhs.type.window == self.window
            _expect(same, f"rhs is encoded for {self.rhs.type.window}, not for {self.window}")
            _expect(self.group_count == 1, "an encoded image has no groups")
        _check_groups(self.group_count, lhs[0], rhs[1])
        oh, ow = self.window.window.output(rhs[2:])
        _expect(min(oh, ow) > 0, "the window does not fit the image")
        image = None if self.image is None else int_values(self.image)
        _expect(image == (rhs[0], oh, ow), f"image must be [{rhs[0]}, {oh}, {ow}]")


@irdl_op_definition
class Im2colOp(IRDLOperation):
    """The lowered matrix of a convolution: (C*R*S) x (N*OH*OW), rows ordered by (c, r, s).

    With a bitmap result (side b) the matrix is encoded on the fly.
    """

    name = "dstc.im2col"
    x = operand_def(_TENSOR)
    kernel: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    strides: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    pads: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    dilations: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    spread: DenseArrayBase[I64] | None = opt_prop_def(DenseArrayBase.constr(i64))
    result = result_def(_MATRIX)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self,
        x: SSAValue,
        result_type: Attribute,
        window: ConvWindow,
    ):
        super().__init__(
            operands=[x],
            properties={
                "kernel": _ints(window.kernel),
                "strides": _ints(window.strides),
                "pads": _ints(window.pads),
                "dilations": _ints(window.dilations),
                "spread": None if window.spread == (1, 1) else _ints(window.spread),
            },
            result_types=[result_type],
        )

    @property
    def window(self) -> ConvWindow:
        """How the kernel moves."""
        return ConvWindow(
            int_values(self.kernel),
            int_values(self.strides),
            int_values(self.pads),
            int_values(self.dilations),
            (1, 1) if self.spread is None else int_values(self.spread),
        )

    def verify_(self) -> None:
        xs = matrix_shape(self.x.type)
        _expect(len(xs) == 4, f"input must have 4 dimensions, not {len(xs)}")
        window = self.window
        window.check()
        oh, ow = window.output(xs[2:])
        want = (xs[1] * window.taps, xs[0] * oh * ow)
        got = matrix_shape(self.result.type)
        _expect(got == want, f"result must be {_dims(want)}, not {_dims(got)}")
        if isinstance(self.result.type, BitmapType):
            _expect(self.result.type.side.data == "b", "a bitmap result must be of side b")


class _EncodingOp(IRDLOperation):
    def _verify_shapes(self, dense: Attribute, encoded: Attribute) -> None:
        ds, bs = matrix_shape(dense), matrix_shape(encoded)
        forms: dict[type[Attribute], str] = {BitmapType: "bitmap", ImageType: "image"}
        form = forms.get(type(encoded), "n:m operand")
        _expect(ds == bs, f"tensor {_dims(ds)} and {form} {_dims(bs)} differ in shape")


@irdl_op_definition
class EncodeOp(_EncodingOp):
    """A dense f16 matrix as bitmap and condensed values, or as n:m operand; an image encoded.

    A matrix that does not keep the pattern n:m is an error.
    """

    name = "dstc.encode"
    input = operand_def(_TENSOR)
    result = result_def(_ENCODED)
    traits = traits_def(Pure())
    assembly_format = "$input attr-dict `:` type($input) `->` type($result)"

    def __init__(self, input: SSAValue, result_type: BitmapType | NmType | ImageType):
        super().__init__(operands=[input], result_types=[result_type])

    def verify_(self) -> None:
        self._verify_shapes(self.input.type, self.result.type)


@irdl_op_definition
class DecodeOp(_EncodingOp):
    """A bitmap, an n:m operand or an encoded image as a dense f16 tensor."""

    name = "dstc.decode"
    input = operand_def(_ENCODED)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$input attr-dict `:` type($input) `->` type($result)"

    def __init__(self, input: SSAValue, result_type: Attribute):
        super().__init__(operands=[input], result_types=[result_type])

    def verify_(self) -> None:
        self._verify_shapes(self.result.type, self.input.type)


@irdl_op_definition
class ReluOp(IRDLOperation):
    """max(x, 0) by element."""

    name = "dstc.relu"
    x = operand_def(_TENSOR)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, result_type: Attribute):
        super().__init__(operands=[x], result_types=[result_type])

    def verify_(self) -> None:
        _same_shape(self.x, self.result)


@irdl_op_definition
class AddOp(IRDLOperation):
    """Sum by element, with numpy's broadcasting."""

    name = "dstc.add"
    lhs = operand_def(_TENSOR)
    rhs = operand_def(_TENSOR)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)"

    def __init__(self, lhs: SSAValue, rhs: SSAValue, result_type: Attribute):
        super().__init__(operands=[lhs, rhs], result_types=[result_type])

    def verify_(self) -> None:
        ls, rs, got = (matrix_shape(v.type) for v in (self.lhs, self.rhs, self.result))
        rank = max(len(ls), len(rs))
        pairs = zip((1,) * (rank - len(ls)) + ls, (1,) * (rank - len(rs)) + rs, strict=True)
        want = tuple(max(a, b) if 1 in (a, b) else a if a == b else -1 for a, b in pairs)
        _expect(-1 not in want, f"shapes {_dims(ls)} and {_dims(rs)} do not broadcast")
        _expect(got == want, f"result must be {_dims(want)}, not {_dims(got)}")


@irdl_op_definition
class TransposeOp(IRDLOperation):
    """Dimensions in another order: result dimension i is dimension perm[i] of x."""

    name = "dstc.transpose"
    x = operand_def(_TENSOR)
    perm: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, perm: Sequence[int], result_type: Attribute):
        super().__init__(operands=[x], properties={"perm": _ints(perm)}, result_types=[result_type])

    def verify_(self) -> None:
        xs, perm = matrix_shape(self.x.type), int_values(self.perm)
        _expect(sorted(perm) == list(range(len(xs))), f"perm must permute 0 to {len(xs) - 1}")
        want, got = tuple(xs[p] for p in perm), matrix_shape(self.result.type)
        _expect(got == want, f"result must be {_dims(want)}, not {_dims(got)}")


@irdl_op_definition
class CastOp(IRDLOperation):
    """The same values in another float type, rounded to nearest even."""

    name = "dstc.cast"
    x = operand_def(_TENSOR)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, result_type: Attribute):
        super().__init__(operands=[x], result_types=[result_type])

    def verify_(self) -> None:
        _same_shape(self.x, self.result)


@irdl_op_definition
class ReshapeOp(IRDLOperation):
    """The same values in row-major order under another shape."""

    name = "dstc.reshape"
    x = operand_def(_TENSOR)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, result_type: Attribute):
        super().__init__(operands=[x], result_types=[result_type])

    def verify_(self) -> None:
        counts: list[int] = []
        for v in (self.x, self.result):
            n = 1
            for d in matrix_shape(v.type):
                n *= d
            counts.append(n)
        _expect(counts[0] == counts[1], f"{counts[0]} values do not reshape to {counts[1]}")


@irdl_op_definition
class Pool2dOp(IRDLOperation):
    """Maximum or average over a sliding window, NCHW.

    Padding never wins a maximum; it counts in an average if `count_include_pad`.
    """

    name = "dstc.pool2d"
    x = operand_def(_TENSOR)
    kind = prop_def(PoolKindAttr)
    kernel: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    strides: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    pads: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    dilations: DenseArrayBase[I64] = prop_def(DenseArrayBase.constr(i64))
    count_include_pad = opt_prop_def(BoolAttr)
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(
        self,
        x: SSAValue,
        result_type: Attribute,
        *,
        kind: PoolKind,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int] = (1, 1),
        count_include_pad: bool = False,
    ):
        super().__init__(
            operands=[x],
            properties={
                "kind": PoolKindAttr(kind),
                "kernel": _ints(kernel),
                "strides": _ints(strides),
                "pads": _ints(pads),
                "dilations": _ints(dilations),
                "count_include_pad": BoolAttr.from_bool(True) if count_include_pad else None,
            },
            result_types=[result_type],
        )

    @property
    def window(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """(kernel, strides, pads, dilations)."""
        return (
            int_values(self.kernel),
            int_values(self.strides),
            int_values(self.pads),
            int_values(self.dilations),
        )

    def verify_(self) -> None:
        xs, rs = matrix_shape(self.x.type), matrix_shape(self.result.type)
        _expect(len(xs) == 4 and len(rs) == 4, "input and result must have 4 dimensions")
        _expect(xs[:2] == rs[:2], "pooling keeps images and channels")
        kernel, strides, pads, dilations = self.window
        _check_window(kernel, strides, pads, dilations)
        for i, what in enumerate(("height", "width")):
            # ceil_mode may add one partial window
            low = window_output(xs[2:], kernel, strides, pads, dilations)[i]
            span = xs[2 + i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1
            high = ceil_div(span, strides[i]) + 1
            _expect(
                low <= rs[2 + i] <= high,
                f"result {what} must be {low}{'' if low == high else f' or {high}'}, "
                f"not {rs[2 + i]}",
            )


@irdl_op_definition
class SoftmaxOp(IRDLOperation):
    """exp(x - max) / sum along one axis."""

    name = "dstc.softmax"
    x = operand_def(_TENSOR)
    axis = prop_def(IntegerAttr[I64])
    result = result_def(_TENSOR)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"

    def __init__(self, x: SSAValue, axis: int, result_type: Attribute):
        super().__init__(
            operands=[x], properties={"axis": IntegerAttr(axis, i64)}, result_types=[result_type]
        )

    def verify_(self) -> None:
        _same_shape(self.x, self.result)
        rank = len(matrix_shape(self.x.type))
        _expect(0 <= self.axis.value.data < rank, f"axis must be 0 to {rank - 1}")


def _same_shape(x: SSAValue, y: SSAValue) -> None:
    xs, ys = matrix_shape(x.type), matrix_shape(y.type)
    _expect(xs == ys, f"result must be {_dims(xs)}, not {_dims(ys)}")


def value_hint(name: str) -> str:
    """A valid SSA name hint close to `name`, a value of a model."""
    hint = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return hint if re.match(r"[A-Za-z_]", hint) else f"v_{hint}"


SOURCE = "dstc.source"
"""Discardable attribute: the ONNX nodes (array of strings) that an op stands for."""


def copy_source(target: Operation, *origins: Operation) -> None:
    """Give `target` the ONNX nodes of all `origins`, in order, once each, and their location."""
    locate(target, *origins)
    names = dict.fromkeys(name for op in origins for name in source_of(op))
    if names:
        target.attributes[SOURCE] = ArrayAttr([StringAttr(n) for n in names])


def source_of(op: Operation) -> tuple[str, ...]:
    """The ONNX nodes that `op` stands for."""
    attr = op.attributes.get(SOURCE)
    return tuple(n.data for n in attr) if isa(attr, ArrayAttr[StringAttr]) else ()


def tensor(shape: Sequence[int], element: AnyFloat) -> TensorType[AnyFloat]:
    """A ranked tensor type."""
    return TensorType(element, shape)


DSTC = Dialect(
    "dstc",
    [
        ConstantOp, Conv2dOp, MatmulOp, Im2colOp, EncodeOp, DecodeOp, ReluOp, AddOp, TransposeOp,
        CastOp, ReshapeOp, Pool2dOp, SoftmaxOp, *POINTWISE_OPS,
    ],
    [BitmapType, NmType, ImageType, ScheduleAttr, WindowAttr, ActivationAttr, PoolKindAttr],
)  # fmt: skip
