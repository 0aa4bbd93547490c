"""Reading MLIR that compilers of models write: linalg on tensors, and torch-mlir's form of ONNX.

In: text. Out: a module, and the bytes of `dense_resource` constants. All linalg operations are
`Structured`, of whatever name: xDSL has few of the named ones, and reads one result of a generic.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xdsl.context import Context
from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import (
    DenseArrayBase,
    FunctionType,
    IndexType,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    i64,
)
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.dialects.linalg.ops import YieldOp
from xdsl.ir import Attribute, Dialect, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
    var_region_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException

from ...backend.isa.errors import DstcError, SourceError
from ..locations import LocatedParser, culprit, op_error_message, parse_error_message

_NAMED = re.compile(r"\blinalg\.([a-z]\w*)")
_OPERATION = re.compile(r"\b[a-z]\w*\.[a-z][\w.]*")
_OTHERS = {"iterator_type", "yield", "index", "memoized_indexing_maps"}
_HEADER = 4
"""Bytes before a resource's data: its alignment."""


class Structured(IRDLOperation):
    """Any operation of linalg on tensors: `linalg.x {...} ins(...) outs(...) {...} -> types`."""

    values = var_operand_def()
    res = var_result_def()
    body = var_region_def()
    strides = opt_prop_def()
    dilations = opt_prop_def()
    permutation = opt_prop_def()
    dimensions = opt_prop_def()
    dimension = opt_prop_def()
    indexing_maps = opt_prop_def()
    iterator_types = opt_prop_def()
    segments = opt_prop_def(prop_name="operandSegmentSizes")
    cast_ = opt_prop_def(prop_name="cast")
    doc = opt_prop_def()
    library_call = opt_prop_def()

    @property
    def ins(self) -> Sequence[SSAValue]:
        """What is read."""
        return self.operands[: len(self.operands) - len(self.results)]

    @property
    def outs(self) -> Sequence[SSAValue]:
        """What results begin as, one for each."""
        return self.operands[len(self.operands) - len(self.results) :]

    def given(self, name: str) -> Attribute | None:
        """A property or attribute."""
        return self.properties.get(name, self.attributes.get(name))

    @classmethod
    def parse(cls, parser: Parser) -> Structured:
        """The custom form; `key = value` and `dimension(n)` are attributes."""
        attributes = dict(parser.parse_optional_attr_dict())
        if parser.parse_optional_keyword("dimension"):
            parser.parse_punctuation("(")
            attributes["dimension"] = IntegerAttr(parser.parse_integer(), 64)
            parser.parse_punctuation(")")
        ins, outs = (_group(parser, word) for word in ("ins", "outs"))
        for word in ("permutation", "dimensions"):
            if parser.parse_optional_keyword(word):
                parser.parse_punctuation("=")
                numbers = parser.parse_comma_separated_list(
                    Parser.Delimiter.SQUARE, parser.parse_integer
                )
                attributes[word] = DenseArrayBase.from_list(i64, numbers)
        if parser.parse_optional_keyword("attrs"):
            parser.parse_punctuation("=")
            attributes |= parser.parse_optional_attr_dict()
        arguments = parser.parse_optional_comma_separated_list(
            Parser.Delimiter.PAREN, parser.parse_argument
        )
        region = parser.parse_optional_region(arguments)
        results = [value.type for value in outs]
        if parser.parse_optional_punctuation("->"):
            several = parser.parse_optional_comma_separated_list(
                Parser.Delimiter.PAREN, parser.parse_type
            )
            results = list(several) if several is not None else [parser.parse_type()]
        return cls.build(
            operands=[[*ins, *outs]], result_types=[results], attributes=attributes,
            regions=[[] if region is None else [region]],
        )  # fmt: skip


def _group(parser: Parser, word: str) -> list[SSAValue]:
    """`ins(%a, %b : type, type)`."""
    if not parser.parse_optional_keyword(word):
        return []
    start = parser.pos
    parser.parse_punctuation("(")
    if parser.parse_optional_punctuation(")"):
        return []
    names = parser.parse_comma_separated_list(
        Parser.Delimiter.NONE, parser.parse_unresolved_operand
    )
    parser.parse_punctuation(":")
    types = parser.parse_comma_separated_list(Parser.Delimiter.NONE, parser.parse_type)
    parser.parse_punctuation(")")
    return list(parser.resolve_operands(names, types, start))


def _structured(name: str) -> type[Operation]:
    """A class for `linalg.name`."""
    made = type(name, (Structured,), {"name": f"linalg.{name}", "__module__": __name__})
    return irdl_op_definition(made)  # pyright: ignore[reportArgumentType]


@irdl_op_definition
class Index(IRDLOperation):
    """`linalg.index n`: where in the iteration an element is, along dimension n."""

    name = "linalg.index"
    dim = prop_def(IntegerAttr)
    res = result_def(IndexType)

    @classmethod
    def parse(cls, parser: Parser) -> Index:
        """The custom form."""
        dim = IntegerAttr(parser.parse_integer(), i64)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.build(
            properties={"dim": dim}, result_types=[parser.parse_type()], attributes=attributes
        )


@irdl_op_definition
class TorchOperator(IRDLOperation):
    """`torch.operator "onnx.X"(...) {torch.onnx.key = ...} : (...) -> ...`."""

    name = "torch.operator"
    inputs = var_operand_def()
    res = var_result_def()
    regions_ = var_region_def()
    kind = opt_prop_def(StringAttr, prop_name="name")

    @classmethod
    def parse(cls, parser: Parser) -> TorchOperator:
        """The custom form."""
        kind = parser.parse_str_literal()
        start = parser.pos
        names = parser.parse_comma_separated_list(
            Parser.Delimiter.PAREN, parser.parse_unresolved_operand
        )
        attributes = parser.parse_optional_attr_dict()
        regions: list[Any] = []
        while (region := parser.parse_optional_region()) is not None:
            regions.append(region)
            parser.parse_optional_punctuation(",")
        parser.parse_punctuation(":")
        type_ = parser.parse_type()
        if not isinstance(type_, FunctionType):
            parser.raise_error("expected the operator's type: (...) -> ...")
        inputs = parser.resolve_operands(names, type_.inputs.data, start)
        return cls.build(
            operands=[inputs], result_types=[list(type_.outputs.data)], attributes=attributes,
            properties={"name": StringAttr(kind)}, regions=[regions],
        )  # fmt: skip


@irdl_op_definition
class TorchNone(IRDLOperation):
    """`torch.constant.none`: an operand that is left out."""

    name = "torch.constant.none"
    res = var_result_def()

    @classmethod
    def parse(cls, parser: Parser) -> TorchNone:
        """The custom form."""
        attributes = parser.parse_optional_attr_dict()
        return cls.build(result_types=[[_none(parser)]], attributes=attributes)


def _none(parser: Parser) -> Attribute:
    """The type !torch.none."""
    return Parser(parser.ctx, "!torch.none").parse_type()


TORCH = Dialect("torch", [TorchOperator, TorchNone], [])


class _Reader(LocatedParser):
    """Keeps the data of resources."""

    def __init__(self, ctx: Context, text: str, name: str):
        super().__init__(ctx, text, name)
        self.resources: dict[str, bytes] = {}

    def _parse_dialect_resource_handle(
        self, dialect_name: str, interface: OpAsmDialectInterface
    ) -> str:
        quoted = self.parse_optional_str_literal()
        return quoted if quoted is not None else self.parse_identifier(" for resource handle")

    def _parse_resource(self, dialect_name: str, interface: OpAsmDialectInterface) -> None:
        key = self._parse_dialect_resource_handle(dialect_name, interface)
        self.parse_punctuation(":")
        start = self.pos
        text = self.parse_str_literal()
        try:
            self.resources[key] = bytes.fromhex(text.removeprefix("0x"))[_HEADER:]
        except ValueError:
            self.raise_error(f"resource {key}: no data in hexadecimal", start, self.pos)

    def _parse_external_resources(self) -> None:
        """Skipped: reproducers of passes and the like."""
        depth = 0
        while True:
            text = self._consume_token().text
            depth += {"{": 1, "}": -1}.get(text, 0)
            if depth == 0:
                return


def _context(text: str) -> Context:
    """xDSL's dialects, with a linalg that has all that `text` names, and torch."""
    ctx = Context(allow_unregistered=True)
    for name, factory in get_all_dialects().items():
        if name != "linalg":
            ctx.register_dialect(name, factory)
    ops = [_structured(n) for n in sorted({*_NAMED.findall(text)} - _OTHERS)]
    ctx.load_dialect(Dialect("linalg", [*ops, YieldOp, Index], [IteratorTypeAttr]))
    ctx.load_dialect(TORCH)
    return ctx


def read(text: str, name: str) -> tuple[ModuleOp, dict[str, bytes]]:
    """The module, verified, and its resources. Raises `SourceError`, with position and caret."""
    module: ModuleOp | None = None
    parser = _Reader(_context(text), text, name)
    try:
        module = parser.parse_module()
        module.verify()
    except ParseError as e:
        raise SourceError(parse_error_message(_clearer(e, text))) from e
    except VerifyException as e:
        message = " ".join(str(e).split())
        raise SourceError(
            op_error_message(message, culprit(e, module), {name: text.split("\n")})
        ) from e
    return module, parser.resources


def _clearer(error: ParseError, text: str) -> ParseError:
    """An operation that nobody knows is named, where it stands."""
    if "does not have a custom format" not in error.msg:
        return error
    names = list(_OPERATION.finditer(text, 0, error.span.start))
    if not names:
        return error
    span = replace(error.span, start=names[-1].start(), end=names[-1].end())
    return ParseError(span, f"{names[-1][0]} is not supported")


def text_of(path: Path) -> str:
    """A file's text. Raises `DstcError`."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise DstcError(f"{path}: not UTF-8 text at byte {e.start}; give MLIR text") from e
    except OSError as e:
        raise DstcError(f"{path}: {e.strerror}") from e
